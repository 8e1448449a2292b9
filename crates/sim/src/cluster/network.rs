//! Messages on their way: in order on each link while all is well; late, lost or twice while it is not; and not at all
//! where the network has fallen apart.

use super::message::{Address, Event, Message};
use super::shared::Shared;
use quipu_replication::Tick;
use std::time::Duration;

/// What the network does to messages now.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Brokers, the controllers, then clients.
    nodes: usize,
    brokers: usize,
    pub(crate) lost: bool,
    pub(crate) late: bool,
    pub(crate) twice: bool,
    /// What goes from one node to another is cut off.
    cut: Vec<bool>,
    /// When the last message of a link arrives.
    last: Vec<Tick>,
}

impl Network {
    pub(crate) fn new(brokers: usize, clients: usize) -> Self {
        let nodes = brokers + 1 + clients;
        Self {
            nodes,
            brokers,
            cut: vec![false; nodes * nodes],
            last: vec![Tick::default(); nodes * nodes],
            ..Self::default()
        }
    }

    fn node(&self, address: Address) -> usize {
        match address {
            Address::Broker(broker) => broker,
            Address::Controller => self.brokers,
            Address::Client(client) => self.brokers + 1 + client,
        }
    }

    fn link(&self, from: Address, to: Address) -> usize {
        self.node(from) * self.nodes + self.node(to)
    }

    /// How many nodes may be cut off from each other: the brokers and the controllers.
    pub(crate) fn parts(&self) -> usize {
        self.brokers + 1
    }

    /// Cuts what goes from one node to another, by their numbers.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from * self.nodes + to] = true;
    }

    /// The network is whole.
    pub(crate) fn mend(&mut self) {
        self.cut.fill(false);
    }

    /// Whether nothing goes this way now.
    pub(crate) fn is_cut(&self, from: Address, to: Address) -> bool {
        self.cut[self.link(from, to)]
    }
}

impl Shared {
    /// Sends a message. Says how many copies are on their way: of a request there may be two, and each is answered.
    pub(crate) fn send(&mut self, from: Address, to: Address, message: Message) -> u32 {
        if self.network.is_cut(from, to) || (self.network.lost && self.chance.one_in(5)) {
            return 0;
        }
        // A client counts the answers to its copies, and each copy is answered once.
        let counted = matches!(message, Message::Reply(_));
        if self.network.twice && !counted && self.chance.one_in(4) {
            self.carry(from, to, Box::new(message.clone()));
            self.carry(from, to, Box::new(message));
            return 2;
        }
        self.carry(from, to, Box::new(message));
        1
    }

    fn carry(&mut self, from: Address, to: Address, message: Box<Message>) {
        let longest = if self.network.late && self.chance.one_in(4) {
            300
        } else {
            2
        };
        let wait = self
            .chance
            .between(Duration::from_micros(50), Duration::from_millis(longest));
        let mut at = self.schedule.now().after(wait);
        if !self.network.late {
            let link = self.network.link(from, to);
            at = at.max(self.network.last[link]);
            self.network.last[link] = at;
        }
        self.schedule.at(at, Event::Deliver { from, to, message });
    }
}
