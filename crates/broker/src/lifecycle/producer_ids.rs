//! Blocks of producer ids, from the controllers.

use crate::controllers::Controllers;
use crate::service::produce::ProducerIdSource;
use quipu_metadata::{AllocProducerIds, ProducerIdBlock};
use quipu_proto::Failure;
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode};
use std::pin::Pin;
use std::sync::OnceLock;

/// Asks the controllers in the name of this broker.
#[derive(Debug)]
pub(super) struct ControllerIds {
    controllers: Controllers,
    id: BrokerId,
    epoch: OnceLock<BrokerEpoch>,
}

impl ControllerIds {
    pub(super) fn new(controllers: Controllers, id: BrokerId) -> Self {
        Self {
            controllers,
            id,
            epoch: OnceLock::new(),
        }
    }

    /// The broker is registered: it may ask.
    pub(super) fn registered(&self, epoch: BrokerEpoch) {
        // A process registers once.
        let _ = self.epoch.set(epoch);
    }

    async fn ask(&self) -> Result<ProducerIdBlock, Failure> {
        let Some(&epoch) = self.epoch.get() else {
            return Err(Failure::new(
                ErrorCode::NotReady,
                "this broker is not registered yet; try again in a moment",
            ));
        };
        let block = self
            .controllers
            .propose(AllocProducerIds { id: self.id, epoch })
            .await;
        let block = block.map_err(|error| Failure::new(error.code(), error.to_string()))?;
        Ok(block.outcome)
    }
}

impl ProducerIdSource for ControllerIds {
    fn next_block(&self) -> Pin<Box<dyn Future<Output = Result<ProducerIdBlock, Failure>> + Send + '_>> {
        Box::pin(self.ask())
    }
}
