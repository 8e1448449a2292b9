//! What happened, folded into one number, so that two runs of a seed can be compared; in words on demand.

use quipu_replication::Tick;
use std::fmt;

/// A running hash over everything that happened.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    /// The words of every event, if somebody wants to read them.
    told: Option<Vec<String>>,
}

impl Trace {
    /// An empty trace; `keep` keeps the words as well.
    #[must_use]
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            told: keep.then(Vec::new),
        }
    }

    /// Takes note of something.
    pub(crate) fn note(&mut self, at: Tick, what: fmt::Arguments<'_>) {
        let mut folding = Folding(self.hash);
        // Writing into a number cannot fail.
        let _ = fmt::write(&mut folding, format_args!("{} {what}\n", at.nanos()));
        self.hash = folding.0;
        if let Some(told) = &mut self.told {
            told.push(format!("{:>13.6} {what}", at.nanos() as f64 / 1e9));
        }
    }

    /// The hash so far.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The words so far, if they were kept.
    #[must_use]
    pub(crate) fn told(&self) -> &[String] {
        self.told.as_deref().unwrap_or_default()
    }
}

/// FNV-1a, 64 bits.
struct Folding(u64);

impl fmt::Write for Folding {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
