//! A node loses its disk. It is started again with an empty one and its old id, and its controller is made a voter in
//! place of the one that is gone, as `docs/operations.md` tells operators.

use super::{Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::{Cluster, PATIENCE, internal_address};
use quipu_client::{BrokerId, ControllerDescription};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct WipedDisk {
    node: Option<BrokerId>,
    /// The id of the controller that was lost.
    dead: Option<String>,
}

impl WipedDisk {
    pub(super) const NAME: &str = "wiped-disk";
}

fn controller_at(cluster: &Cluster, address: &str) -> Result<Option<ControllerDescription>> {
    let found = cluster.ask(|admin| async move { admin.controllers().await })?;
    let there = found.controllers.into_iter();
    Ok(there
        .filter(|controller| controller.voter)
        .find(|controller| controller.address == address))
}

impl WipedDisk {
    /// Makes the new controller a voter, once there is one.
    fn replace(&self, cluster: &Cluster, node: BrokerId) -> Result<()> {
        let address = internal_address(node);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (address, dead) = (address.clone(), self.dead.clone());
            let joined =
                cluster.ask(|admin| async move { admin.join_controller(&address, dead.as_deref()).await });
            let Err(error) = joined else { return Ok(()) };
            // It may have been done, and only the answer be lost.
            let voter = controller_at(cluster, &internal_address(node)).ok().flatten();
            if voter.is_some_and(|voter| Some(voter.id) != self.dead) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the controller of node {node} does not come to vote: {error}").into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Fault for WipedDisk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        // One disk at a time: while another copy is catching up, this may be the only one.
        if !cluster.until_in_sync(PATIENCE)? {
            cluster.incident(format!("replicas are not in sync within {PATIENCE:?}"));
        }
        let (node, words) = target::one(cluster, chance)?;
        self.dead = controller_at(cluster, &internal_address(node))?.map(|controller| controller.id);
        cluster.kill(&[node])?;
        cluster.node(node)?.volume().wipe()?;
        self.node = Some(node);
        Ok(words)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        let node = self.node.ok_or("it never began")?;
        // Until its former life counts as over, it is another broker with the same id, which is refused; it is started again.
        cluster.node(node)?.let_end(true);
        cluster.spawn(&[node])?;
        self.replace(cluster, node)?;
        cluster.until_ready(&[node])?;
        cluster.node(node)?.let_end(false);
        Ok(format!("node {node} with an empty disk"))
    }
}
