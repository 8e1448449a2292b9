//! The W3C `traceparent` header, version 00.

/// A request's place in a distributed trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    /// The whole trace.
    pub trace_id: u128,
    /// The caller's span in it.
    pub span_id: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`; anything else is no trace, as the standard says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let hex = parts.next()?;
            let lower = hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            (hex.len() == digits && lower).then(|| u128::from_str_radix(hex, 16).ok())?
        };
        let version = part(2)?;
        let trace_id = part(32)?;
        let span_id = u64::try_from(part(16)?).ok()?;
        let flags = part(2)?;
        // Version 00 ends here; later ones may go on, and 255 is forbidden.
        let known = if version == 0 {
            parts.next().is_none()
        } else {
            version != 0xff
        };
        (known && trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}
