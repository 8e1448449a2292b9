//! The one macro behind our integer types: private field, ordered, printable, explicit conversion.

/// Declares an ordered integer newtype with `new`, `get` and `Display`.
macro_rules! int_newtype {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($int);

        impl $name {
            /// Wraps a value that the caller has checked.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The bare integer, for encoding and arithmetic at the edges.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}
pub(crate) use int_newtype;
