//! Identities that only the metadata knows: clusters, data directories, processes, feature levels.

use std::fmt;
use uuid::Uuid;

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// From the 128 bits of a UUID.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// The 128 bits of the UUID.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }

            /// From its 16 bytes in network order.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes in network order.
            #[must_use]
            pub const fn into_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// Reads the hyphenated form that [`fmt::Display`] writes.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.as_hyphenated())
            }
        }
    };
}

uuid_newtype! {
    /// A cluster for ever; made when its first controllers start on empty directories.
    ClusterId
}
uuid_newtype! {
    /// A broker's data directory, random as it is formatted: another one under the same broker id means the data is gone.
    DirectoryId
}
uuid_newtype! {
    /// One run of a broker's process; tells a repeated registration from a new one.
    Incarnation
}

/// What the cluster's metadata may hold. Every record and command names the level it needs; the level is raised by a
/// command once every member understands it, and never lowered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FeatureLevel(u16);

impl FeatureLevel {
    /// The first level.
    pub const V1: Self = Self(1);
    /// The greatest level this version understands.
    pub const SUPPORTED: Self = Self::V1;

    /// From the stored number.
    #[must_use]
    pub const fn new(level: u16) -> Self {
        Self(level)
    }

    /// The stored number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
