//! Wall-clock time as records carry it.

use crate::newtype::int_newtype;

int_newtype! {
    /// Milliseconds since 1970-01-01T00:00:00Z; may lie before it.
    Timestamp(i64)
}

impl Timestamp {
    /// This time moved by `millis`, stopping at the ends of the range.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::new(self.get().saturating_add(millis))
    }
}
