//! Requests go through, their replies are held back; then the connections are cut, so that the replies are lost, or the
//! replies arrive late after all. Producers have to repeat what was stored already.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::proxy::Weather;

#[derive(Default)]
pub(super) struct LostReplies;

impl LostReplies {
    pub(super) const NAME: &str = "lost-replies";
}

fn hold(cluster: &Cluster, held: bool) {
    for node in cluster.ids() {
        cluster.proxy().set(node, Weather::holding(held));
    }
}

impl Fault for LostReplies {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        hold(cluster, true);
        Ok("replies of all nodes".to_owned())
    }

    fn during(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<()> {
        match chance.below(4) {
            0 => hold(cluster, false),
            1 => hold(cluster, true),
            2 => {
                // What was held back for these nodes is lost.
                for node in cluster
                    .ids()
                    .into_iter()
                    .filter(|_| chance.flip())
                    .collect::<Vec<_>>()
                {
                    cluster.proxy().cut(node);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        Ok(target::hindered(cluster))
    }

    fn end(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let lost = chance.flip();
        if lost {
            for node in cluster.ids() {
                cluster.proxy().cut(node);
            }
        }
        cluster.proxy().calm();
        let last = if lost {
            "the last are lost"
        } else {
            "the last arrive late"
        };
        Ok(format!("replies pass again; {last}"))
    }
}
