//! The power goes.

use super::{Chance, Content, Ino, Outcome, State, failed};
use crate::medium::Medium;
use rustix::io::Errno;

/// How the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// All that was not synced is gone.
    Drop,
    /// A random part of it survives, as the seed decides.
    Torn(u64),
}

impl<M: Medium> State<M> {
    /// The power goes: afterwards live and durable are one, the faults are over, and the kernel holds nothing.
    ///
    /// # Errors
    /// If the medium fails.
    pub fn cut(&mut self, how: Cut) -> Result<(), Errno> {
        self.stats.cuts += 1;
        self.clear_faults();
        // In the order of their numbers, so that a seed means the same each time.
        let mut inos: Vec<Ino> = self.nodes.keys().copied().collect();
        inos.sort_unstable();
        let mut chance = match how {
            Cut::Drop => None,
            Cut::Torn(seed) => Some(Chance::new(seed)),
        };
        for ino in inos {
            self.cut_node(ino, chance.as_mut())?;
        }
        self.sweep_now();
        self.used = self.nodes.values().map(super::Node::len).sum();
        Ok(())
    }

    fn cut_node(&mut self, ino: Ino, chance: Option<&mut Chance>) -> Outcome<()> {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return Ok(());
        };
        node.lookups = 0;
        match (&mut node.content, chance) {
            (Content::Dir(names), chance) => {
                self.stats.names_at_stake += names.unsynced() as u64;
                match chance {
                    None => names.drop_unsynced(),
                    Some(chance) => names.tear(chance),
                }
            }
            (Content::File(contents), None) => self.stats.sectors_lost += contents.drop_unsynced(),
            (Content::File(contents), Some(chance)) => {
                self.stats.sectors_lost += contents.tear(chance).map_err(failed)?;
            }
        }
        Ok(())
    }
}
