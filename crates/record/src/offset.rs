//! A record's place in its partition.

use crate::newtype::int_newtype;

int_newtype! {
    /// The place of a record in a partition, from 0, dense as appended. Used for positions (log end, high watermark)
    /// as well: a position is the offset of the record that would stand there.
    Offset(u64)
}

impl Offset {
    /// The first offset of a partition.
    pub const ZERO: Self = Self::new(0);
    /// The greatest offset: the wire's offsets are signed 64-bit integers.
    pub const MAX: Self = Self::new(i64::MAX as u64);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// This offset moved up by `records`, stopping at [`Offset::MAX`].
    #[must_use]
    pub const fn plus(self, records: u64) -> Self {
        let sum = self.get().saturating_add(records);
        Self::new(if sum > Self::MAX.get() {
            Self::MAX.get()
        } else {
            sum
        })
    }

    /// How many offsets lie in `earlier..self`; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.get().saturating_sub(earlier.get())
    }

    /// From the wire's signed integer; `None` for a negative one.
    #[must_use]
    pub const fn from_wire(value: i64) -> Option<Self> {
        if value < 0 {
            None
        } else {
            Some(Self::new(value.unsigned_abs()))
        }
    }

    /// As the wire's signed integer.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.get().cast_signed()
    }
}
