//! Producer ids: handed out one by one from blocks that the controller gives to this broker alone.

use quipu_metadata::ProducerIdBlock;
use quipu_proto::Failure;
use quipu_record::{ErrorCode, ProducerEpoch, ProducerId};
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Where blocks come from: the controller.
pub trait ProducerIdSource: Send + Sync + fmt::Debug {
    /// The next block.
    fn next_block(&self) -> Pin<Box<dyn Future<Output = Result<ProducerIdBlock, Failure>> + Send + '_>>;
}

/// The block in use. What is left of it is lost with the process, which does no harm: ids are not scarce.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    source: Arc<dyn ProducerIdSource>,
    left: Mutex<Range<u64>>,
}

impl ProducerIds {
    /// Nothing is fetched before the first id is wanted.
    pub(crate) fn new(source: Arc<dyn ProducerIdSource>) -> Self {
        Self {
            source,
            left: Mutex::new(0..0),
        }
    }

    /// A new id.
    pub(crate) async fn next(&self) -> Result<ProducerId, Failure> {
        let mut left = self.left.lock().await;
        if left.is_empty() {
            let block = self.source.next_block().await?;
            let first = block.first.get();
            *left = first..first.saturating_add(block.count);
        }
        left.next().map(ProducerId::new).ok_or_else(|| {
            Failure::new(
                ErrorCode::Internal,
                "the controller gave an empty block of producer ids",
            )
        })
    }

    /// The next epoch of an id, or a new id where epochs are used up.
    pub(crate) async fn bump(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
    ) -> Result<(ProducerId, ProducerEpoch), Failure> {
        match i16::try_from(epoch.get() + 1) {
            Ok(_) => Ok((id, ProducerEpoch::new(epoch.get() + 1))),
            Err(_) => Ok((self.next().await?, ProducerEpoch::FIRST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    struct Blocks(AtomicU64);

    impl ProducerIdSource for Blocks {
        fn next_block(&self) -> Pin<Box<dyn Future<Output = Result<ProducerIdBlock, Failure>> + Send + '_>> {
            let first = ProducerId::new(self.0.fetch_add(3, Ordering::Relaxed));
            Box::pin(async move { Ok(ProducerIdBlock { first, count: 3 }) })
        }
    }

    #[tokio::test]
    async fn ids_come_one_by_one_and_a_block_is_used_up_before_the_next() {
        let source = Arc::new(Blocks::default());
        let ids = ProducerIds::new(source.clone());
        assert_eq!(
            source.0.load(Ordering::Relaxed),
            0,
            "nothing is fetched before it is wanted"
        );
        for n in 0..7 {
            assert_eq!(ids.next().await.expect("an id"), ProducerId::new(n));
        }
        assert_eq!(source.0.load(Ordering::Relaxed), 9);
    }

    #[tokio::test]
    async fn epochs_rise_and_a_used_up_id_is_replaced() {
        let ids = ProducerIds::new(Arc::new(Blocks::default()));
        let id = ProducerId::new(77);
        let last = ProducerEpoch::new(i16::MAX.unsigned_abs());
        assert_eq!(
            ids.bump(id, ProducerEpoch::FIRST).await,
            Ok((id, ProducerEpoch::new(1)))
        );
        assert_eq!(
            ids.bump(id, last).await,
            Ok((ProducerId::new(0), ProducerEpoch::FIRST))
        );
    }
}
