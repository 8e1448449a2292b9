//! How much a consume stream may send.

/// What is left of the permission that a consumer gave. Zero is legal for ever: the stream then only lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Credits {
    bytes: u64,
    /// `None`: the number of records does not limit.
    records: Option<u64>,
}

impl Credits {
    /// Adds a grant. A number of records, once given, limits from then on.
    pub(crate) fn grant(&mut self, bytes: u64, records: Option<u64>) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(more) = records {
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

    /// Takes off what a frame carried. Its last record or batch may exceed what was left; that is forgiven.
    pub(crate) fn spend(&mut self, bytes: u64, records: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.records = self.records.map(|left| left.saturating_sub(records));
    }
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
    fn the_last_item_may_exceed_and_is_forgiven() {
        let mut credits = Credits::default();
        credits.grant(10, Some(1));
        credits.spend(1_000, 7);
        assert_eq!(credits, {
            let mut used_up = Credits::default();
            used_up.grant(0, Some(0));
            used_up
        });
        credits.grant(3, Some(3));
        assert_eq!((credits.bytes(), credits.records()), (3, 3));
    }

    #[test]
    fn endless_credit_does_not_overflow() {
        let mut credits = Credits::default();
        credits.grant(u64::MAX, Some(u64::MAX));
        credits.grant(u64::MAX, Some(u64::MAX));
        assert_eq!(credits.bytes(), u64::MAX);
    }
}
