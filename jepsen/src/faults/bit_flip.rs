//! Bits flip in a segment of one replica while its node is down.

use super::Fault;
use super::damage::{self, Damaged};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use std::fs::File;
use std::path::Path;

#[derive(Default)]
pub(super) struct BitFlip {
    damaged: Option<Damaged>,
}

impl BitFlip {
    pub(super) const NAME: &str = "bit-flip";
}

fn flip(path: &Path, chance: &mut Chance) -> Result<String> {
    let mut bytes = std::fs::read(path)?;
    let count = chance.between(1, 4);
    let mut words = Vec::new();
    for _ in 0..count {
        let at = chance.below(bytes.len());
        let bit = chance.below(8);
        bytes[at] ^= 1 << bit;
        words.push(format!("bit {bit} of byte {at}"));
    }
    std::fs::write(path, &bytes)?;
    File::open(path)?.sync_all()?;
    Ok(words.join(", "))
}

impl Fault for BitFlip {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (damaged, what) = damage::begin(cluster, chance, flip)?;
        self.damaged = Some(damaged);
        Ok(what)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        damage::heal(cluster, self.damaged.as_ref().ok_or("it never began")?)
    }
}
