//! Whom a client believes to lead what.

use crate::cluster::message::{
    Address, Ask, BrokerIndex, ClientIndex, Message, PartitionIndex, Request, RequestId,
};
use crate::cluster::shared::Shared;
use quipu_record::{BrokerId, LeaderEpoch};

/// Leaders as a client knows them.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Vec<Route>);

#[derive(Clone, Copy, Default, Debug)]
struct Route {
    leader: Option<BrokerIndex>,
    /// Nothing older is believed.
    epoch: Option<LeaderEpoch>,
}

impl Routes {
    pub(crate) fn new(partitions: usize) -> Self {
        Self(vec![Route::default(); partitions])
    }

    /// The leader, if one is known; else somebody is asked.
    pub(crate) fn leader(
        &self,
        shared: &mut Shared,
        client: ClientIndex,
        partition: PartitionIndex,
    ) -> Option<BrokerIndex> {
        if let Some(leader) = self.0[partition].leader {
            return Some(leader);
        }
        let broker = shared.chance.below(shared.plan.brokers.len());
        let request = Request {
            id: RequestId(0),
            client,
            partition,
            ask: Ask::Metadata,
        };
        shared.send(
            Address::Client(client),
            Address::Broker(broker),
            Message::Request(request),
        );
        None
    }

    /// The leader is another one now, or does not answer.
    pub(crate) fn doubt(&mut self, partition: PartitionIndex) {
        self.0[partition].leader = None;
    }

    /// A broker says who leads.
    pub(crate) fn told(&mut self, shared: &Shared, partition: PartitionIndex, who: (BrokerId, LeaderEpoch)) {
        let (leader, epoch) = who;
        let route = &mut self.0[partition];
        if route.epoch.is_none_or(|known| epoch >= known) {
            *route = Route {
                leader: shared.plan.broker(leader),
                epoch: Some(epoch),
            };
        }
    }
}
