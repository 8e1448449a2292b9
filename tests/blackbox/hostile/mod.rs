//! Hostile requests: each gets an error that names the fault, none moves the broker's memory, and it serves on.

mod batches;
mod raw;
mod requests;

use crate::support::{Broker, Result, anonymous_memory, quipu, quipu_with_input};
use quipu_proto::Failure;
use quipu_record::ErrorCode;
use tonic::transport::Channel;

/// RssAnon may grow by so much over all of a test's requests.
const GROWTH_BYTES: u64 = 16 << 20;

/// A broker with a topic `t`, warmed up, and how much memory it had then.
struct Target {
    broker: Broker,
    channel: Channel,
    anonymous: u64,
    highest: u64,
}

impl Target {
    async fn start() -> Result<Self> {
        let broker = Broker::start()?;
        let at = broker.address();
        quipu(at, &["topic", "create", "t"])?;
        // Whatever serving costs at all is paid before the measuring begins.
        for codec in ["none", "zstd"] {
            quipu(
                at,
                &[
                    "bench",
                    "produce",
                    "--topic",
                    "t",
                    "--records",
                    "20000",
                    "--compression",
                    codec,
                ],
            )?;
        }
        quipu(at, &["bench", "consume", "--topic", "t", "--records", "40000"])?;
        let channel = Channel::from_shared(format!("http://{at}"))?.connect().await?;
        let anonymous = anonymous_memory(broker.pid())?;
        Ok(Self {
            broker,
            channel,
            anonymous,
            highest: anonymous,
        })
    }

    /// Looks at the memory; to be called after each request.
    fn look(&mut self) -> Result<()> {
        self.highest = self.highest.max(anonymous_memory(self.broker.pid())?);
        Ok(())
    }

    /// The broker has not grown, and serves as before.
    fn unharmed(mut self, requests: usize) -> Result<()> {
        self.look()?;
        let grown = self.highest.saturating_sub(self.anonymous);
        println!(
            "{requests} hostile requests: RssAnon {} KiB, grown by {} KiB",
            self.anonymous >> 10,
            grown >> 10
        );
        assert!(
            grown <= GROWTH_BYTES,
            "RssAnon grew by {grown} bytes\n{}",
            self.broker.log()
        );
        let at = self.broker.address();
        quipu(at, &["topic", "create", "after"])?;
        quipu_with_input(at, &["produce", "after"], b"still here\n")?;
        assert_eq!(quipu(at, &["consume", "after", "--exit-at-end"])?, "still here\n");
        quipu(at, &["cluster", "check"])?;
        assert!(!self.broker.log().contains("panicked"), "{}", self.broker.log());
        Ok(())
    }
}

/// What is wrong with the answer to a case, if anything: the failure must have the code, and its message a word of the
/// fault.
fn unnamed(case: &str, failure: &Failure, code: ErrorCode, word: &str) -> Option<String> {
    let named = failure.code == code && failure.message.contains(word);
    (!named).then(|| format!("{case}: {failure}; expected {code} and {word:?}"))
}

fn assert_named(case: &str, failure: &Failure, code: ErrorCode, word: &str) {
    assert_eq!(unnamed(case, failure, code, word), None);
}
