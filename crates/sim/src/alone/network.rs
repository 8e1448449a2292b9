//! Messages on their way: in order on each link while all is well; late, lost or twice while it is not.

use crate::alone::message::{Address, Event, Message};
use crate::alone::shared::Shared;
use quipu_replication::Tick;
use std::collections::HashMap;
use std::time::Duration;

/// What the network does to messages now.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) lost: bool,
    pub(crate) late: bool,
    pub(crate) twice: bool,
    /// When the last message of a link arrives.
    last: HashMap<(Address, Address), Tick>,
}

impl Shared {
    /// Sends a message. Says how many copies are on their way: of a request there may be two, and each is answered.
    pub(crate) fn send(&mut self, from: Address, to: Address, message: &Message) -> u32 {
        let copies = if self.network.lost && self.chance.one_in(4) {
            0
        } else if self.network.twice && matches!(message, Message::Request(_)) && self.chance.one_in(3) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let longest = if self.network.late && self.chance.one_in(3) {
                400
            } else {
                3
            };
            let wait = self
                .chance
                .between(Duration::from_micros(50), Duration::from_millis(longest));
            let mut at = self.schedule.now().after(wait);
            if !self.network.late {
                let last = self.network.last.entry((from, to)).or_default();
                at = at.max(*last);
                *last = at;
            }
            let message = message.clone();
            self.schedule.at(at, Event::Deliver { to, message });
        }
        copies
    }
}
