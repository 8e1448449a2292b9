//! A segment of one replica loses its end while its node is down.

use super::Fault;
use super::damage::{self, Damaged};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use std::fs::File;
use std::path::Path;

#[derive(Default)]
pub(super) struct Truncated {
    damaged: Option<Damaged>,
}

impl Truncated {
    pub(super) const NAME: &str = "truncated";
}

fn cut(path: &Path, chance: &mut Chance) -> Result<String> {
    let file = File::options().write(true).open(path)?;
    let before = file.metadata()?.len();
    let after = chance.between(0, before.saturating_sub(1));
    file.set_len(after)?;
    file.sync_all()?;
    Ok(format!("{after} of {before} bytes are left"))
}

impl Fault for Truncated {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (damaged, what) = damage::begin(cluster, chance, cut)?;
        self.damaged = Some(damaged);
        Ok(what)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        damage::heal(cluster, self.damaged.as_ref().ok_or("it never began")?)
    }
}
