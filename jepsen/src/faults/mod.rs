//! Faults, one file each, and the list of all of them.

mod bit_flip;
mod bridge;
mod busy_cut;
mod clock_jump;
mod clock_skew;
mod damage;
mod failing_fsync;
mod flap;
mod full_disk;
mod halves;
mod isolate_leader;
mod kill;
mod kill_all;
mod lost_replies;
mod one_way;
mod pause;
mod power_cut;
mod reset;
mod ring;
mod rolling_restart;
mod slow_disk;
mod slow_replies;
mod storm;
mod target;
mod truncated;
mod wiped_disk;

use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;

/// Something that goes wrong.
pub(crate) trait Fault: Send {
    /// What reports call it; one word in the list of faults.
    fn name(&self) -> &'static str;

    /// Begins it: what was done, and to whom.
    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String>;

    /// Goes on with it: called again and again between the two.
    fn during(&mut self, _cluster: &mut Cluster, _chance: &mut Chance) -> Result<()> {
        Ok(())
    }

    /// What it did, as others than the fault itself count it. Asked before it is healed.
    ///
    /// By default there is nothing to count: a process that was killed is gone.
    fn effect(&mut self, _cluster: &mut Cluster) -> Result<Effect> {
        Ok(Effect::Certain)
    }

    /// Heals it: what was done. From its return on the cluster has to work.
    fn end(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String>;
}

/// What came of a fault. A kind that never has any makes a run vacuous.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// It is what was done.
    Certain,
    /// So many of these.
    Counted(u64, &'static str),
}

impl Effect {
    /// Whether there was any.
    pub(crate) const fn is_any(&self) -> bool {
        !matches!(self, Self::Counted(0, _))
    }

    /// In words, if there are any.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Certain => String::new(),
            Self::Counted(count, what) => format!(" ({count} {what})"),
        }
    }
}

/// What a fault needs that runs do not always have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    Nothing,
    /// Nodes whose clocks can be moved. That costs them time, so they are not drawn unless they are asked for.
    Clocks,
    /// Disks that lose what was not synced.
    Disks,
}

/// A kind of fault.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> Box<dyn Fault>,
    pub(crate) needs: Needs,
}

/// A kind whose fault comes from `Default`.
macro_rules! kind {
    ($fault:ty, $needs:ident) => {
        Kind {
            name: <$fault>::NAME,
            make: || Box::new(<$fault>::default()),
            needs: Needs::$needs,
        }
    };
}

/// All of them.
pub(crate) const KINDS: &[Kind] = &[
    kind!(halves::Halves, Nothing),
    kind!(isolate_leader::IsolateLeader, Nothing),
    kind!(ring::Ring, Nothing),
    kind!(bridge::Bridge, Nothing),
    kind!(one_way::OneWay, Nothing),
    kind!(flap::Flap, Nothing),
    kind!(reset::Reset, Nothing),
    kind!(pause::Pause, Nothing),
    kind!(kill::Kill, Nothing),
    kind!(kill_all::KillAll, Nothing),
    kind!(rolling_restart::RollingRestart, Nothing),
    kind!(slow_replies::SlowReplies, Nothing),
    kind!(lost_replies::LostReplies, Nothing),
    kind!(storm::Storm, Nothing),
    kind!(wiped_disk::WipedDisk, Nothing),
    kind!(bit_flip::BitFlip, Disks),
    kind!(truncated::Truncated, Disks),
    kind!(power_cut::PowerCut, Disks),
    kind!(busy_cut::BusyCut, Disks),
    kind!(full_disk::FullDisk, Disks),
    kind!(slow_disk::SlowDisk, Disks),
    kind!(failing_fsync::FailingFsync, Disks),
    kind!(clock_jump::ClockJump, Clocks),
    kind!(clock_skew::ClockSkew, Clocks),
];

/// The kind with this name.
pub(crate) fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_makes_a_fault_of_its_name_and_no_name_is_used_twice() {
        for kind in KINDS {
            assert_eq!((kind.make)().name(), kind.name);
            let same = KINDS.iter().filter(|other| other.name == kind.name);
            assert_eq!(same.count(), 1, "{}", kind.name);
        }
    }
}
