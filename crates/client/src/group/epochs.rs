//! The epochs of a group that a client hears of.

macro_rules! epoch {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
        pub struct $name(u32);

        impl $name {
            /// From its number.
            #[must_use]
            pub const fn new(epoch: u32) -> Self {
                Self(epoch)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }
        }
    };
}

epoch! {
    /// Counts the target assignments of a group.
    GroupEpoch
}
epoch! {
    /// How far a member has followed its group; 0: it has not joined.
    MemberEpoch
}
epoch! {
    /// The member epoch in which a member got a partition.
    AssignmentEpoch
}
