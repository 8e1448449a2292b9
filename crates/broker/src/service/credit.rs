//! How much a consume stream may send.

/// What is left of the permission that a consumer gave. Zero is legal for ever: the stream then only lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Credits {
    bytes: u64,
    /// What was sent beyond: taken off the next grants, so that a consumer that grants what it has used up keeps the
    /// window that it began with.
    bytes_owed: u64,
    /// `None`: the number of records does not limit.
    records: Option<u64>,
    records_owed: u64,
}

impl Credits {
    /// Adds a grant. A number of records, once given, limits from then on.
    pub(crate) fn grant(&mut self, bytes: u64, records: Option<u64>) {
        self.bytes = self.bytes.saturating_add(paid(&mut self.bytes_owed, bytes));
        if let Some(more) = records {
            let more = paid(&mut self.records_owed, more);
            self.records = Some(self.records.unwrap_or(0).saturating_add(more));
        }
    }

    /// Whether one more record or batch may be sent.
    pub(crate) fn open(&self) -> bool {
        self.bytes > 0 && self.records != Some(0)
    }

    /// Bytes that may be sent before the last record or batch.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records that may be sent; `u64::MAX` where their number does not limit.
    pub(crate) fn records(&self) -> u64 {
        self.records.unwrap_or(u64::MAX)
    }

    /// Takes off what a frame carried. Its last record or batch may exceed what was left.
    pub(crate) fn spend(&mut self, bytes: u64, records: u64) {
        self.bytes_owed = self.bytes_owed.saturating_add(bytes.saturating_sub(self.bytes));
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(left) = &mut self.records {
            self.records_owed = self.records_owed.saturating_add(records.saturating_sub(*left));
            *left = left.saturating_sub(records);
        }
    }
}

/// Pays what is owed out of a grant; returns what is left of it.
fn paid(owed: &mut u64, grant: u64) -> u64 {
    let payment = grant.min(*owed);
    *owed -= payment;
    grant - payment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_flows_before_a_grant_and_grants_add_up() {
        let mut credits = Credits::default();
        assert!(!credits.open());
        credits.grant(0, None);
        assert!(!credits.open());
        credits.grant(10, None);
        credits.grant(5, None);
        assert!(credits.open());
        assert_eq!((credits.bytes(), credits.records()), (15, u64::MAX));
    }

    #[test]
    fn records_limit_once_given() {
        let mut credits = Credits::default();
        credits.grant(100, Some(2));
        credits.spend(10, 2);
        assert!(!credits.open(), "90 bytes but no records are left");
        credits.grant(0, Some(1));
        assert!(credits.open());
        credits.grant(10, None);
        assert_eq!((credits.bytes(), credits.records()), (100, 1));
    }

    #[test]
    fn what_the_last_item_exceeds_comes_off_the_next_grants() {
        let mut credits = Credits::default();
        credits.grant(10, Some(1));
        credits.spend(1_000, 7);
        assert!(!credits.open());
        credits.grant(989, Some(5));
        assert!(!credits.open());
        credits.grant(4, Some(4));
        assert_eq!((credits.bytes(), credits.records()), (3, 3));
    }

    #[test]
    fn granting_what_came_keeps_the_window() {
        let mut credits = Credits::default();
        credits.grant(100, None);
        for came in [30, 90, 250, 1, 99] {
            credits.spend(came, 1);
            credits.grant(came, None);
            assert_eq!(credits.bytes(), 100);
        }
    }

    #[test]
    fn endless_credit_does_not_overflow() {
        let mut credits = Credits::default();
        credits.grant(u64::MAX, Some(u64::MAX));
        credits.grant(u64::MAX, Some(u64::MAX));
        assert_eq!(credits.bytes(), u64::MAX);
    }
}
