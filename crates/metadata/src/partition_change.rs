//! One change of one partition: who is in sync, who is eligible, who leads. Every such decision is made here.
//!
//! Rules (KIP-966 with our own additions):
//! - In-sync replicas are never fenced. They may become nobody, but then who was in sync stays eligible.
//! - Below `min_insync` in-sync replicas nothing can be committed, so who leaves them then still holds everything that
//!   was: it becomes an eligible leader replica. At `min_insync` or above nobody is eligible.
//! - A replica that lost data in this very change is neither; it must catch up from a leader first.
//! - A leader stays while it may. Else: the first in replica order that is in sync and active; else an eligible one;
//!   else nobody. Never another one, unless an unclean election is allowed and nobody runs who lacks nothing.
//! - Replicas whose recovery cut their log stand back behind the uncut; if there are only cut ones, it is waited until
//!   all are here (or the caller says that the wait is over), then the longest log wins.
//! - `leader_epoch` grows with every change of leader, to nobody too; `partition_epoch` with every change.

use crate::{CutReplica, Partition, ReplicaSet};
use quipu_record::{BrokerId, PlantedBug};

/// What brokers are worth once the command that is being decided has happened.
pub(crate) trait Standing {
    /// Registered and not fenced.
    fn is_unfenced(&self, broker: BrokerId) -> bool;
    /// Unfenced, and not on its way out: may be given leadership.
    fn is_active(&self, broker: BrokerId) -> bool;
}

/// How far an election may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Election {
    /// Do not wait for eligible replicas that are away before choosing among cut ones.
    pub(crate) wait_is_over: bool,
    /// Take any active replica if nobody else is left: acknowledged records may be lost.
    pub(crate) unclean: bool,
}

/// Builds the next state of a partition, or finds that nothing changes.
pub(crate) struct PartitionChange<'a, S> {
    before: &'a Partition,
    standing: &'a S,
    isr: ReplicaSet,
    min_insync: u8,
    replicas: ReplicaSet,
    adding: ReplicaSet,
    lost: ReplicaSet,
    cut: Option<CutReplica>,
    preferred: Option<BrokerId>,
    election: Election,
}

impl<'a, S: Standing> PartitionChange<'a, S> {
    /// Starts from `before`. What is fenced leaves the in-sync replicas, whatever else the change is about.
    pub(crate) fn new(before: &'a Partition, standing: &'a S) -> Self {
        Self {
            before,
            standing,
            isr: before.isr.clone(),
            min_insync: before.min_insync,
            replicas: before.replicas.clone(),
            adding: before.adding().iter().copied().collect(),
            lost: ReplicaSet::EMPTY,
            cut: None,
            preferred: None,
            election: Election::default(),
        }
    }

    /// The in-sync replicas shall be these.
    pub(crate) fn isr(mut self, isr: ReplicaSet) -> Self {
        self.isr = isr;
        self
    }

    /// `min.insync.replicas` shall be this.
    pub(crate) fn min_insync(mut self, min_insync: u8) -> Self {
        self.min_insync = min_insync;
        self
    }

    /// The replicas shall be these, and of them these have yet to come in sync for the first time. None of those before
    /// may be missing that is in sync or eligible.
    pub(crate) fn replicas(mut self, replicas: ReplicaSet, adding: ReplicaSet) -> Self {
        self.replicas = replicas;
        self.adding = adding;
        self
    }

    /// This replica may lack what it had acknowledged: neither in sync nor eligible.
    pub(crate) fn lost(mut self, broker: BrokerId) -> Self {
        self.lost = ReplicaSet::only(broker);
        self
    }

    /// This replica's recovery cut its log.
    pub(crate) fn cut(mut self, cut: CutReplica) -> Self {
        self.cut = Some(cut);
        self
    }

    /// This replica shall lead if it is in sync and active, even if another one does.
    pub(crate) fn prefer(mut self, broker: BrokerId) -> Self {
        self.preferred = Some(broker);
        self
    }

    /// How far an election may go.
    pub(crate) fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    /// The state after the change; `None`: it is the state before.
    pub(crate) fn build(self) -> Option<Partition> {
        let before = self.before;
        let isr = self
            .isr
            .without(|b| self.lost.contains(b) || !self.standing.is_unfenced(b));
        let candidates = Candidates {
            isr: &isr,
            elr: &self.eligible(&isr),
        };
        let (leader, isr, unclean) = match self.elect(&candidates) {
            Elected::InSync(leader) => (Some(leader), isr, false),
            Elected::Eligible(leader) => (Some(leader), ReplicaSet::only(leader), false),
            Elected::Unclean(leader) => (Some(leader), ReplicaSet::only(leader), true),
            Elected::Nobody => (None, isr, false),
        };
        let elr = if unclean {
            ReplicaSet::EMPTY
        } else {
            self.eligible(&isr)
        };

        let mut after = before.clone();
        let mut rare = after.take_rare();
        if let Some(cut) = self.cut {
            rare.cut.retain(|c| c.broker != cut.broker);
            rare.cut.push(cut);
        }
        // Whoever is not eligible must catch up from a leader before it counts again, and is then cut no longer.
        rare.cut.retain(|c| elr.contains(c.broker));
        rare.last_known_elr = self.last_known(&rare.last_known_elr, &isr, &elr, unclean);
        rare.possible_loss |= unclean;
        rare.adding = self.adding;
        after.set_rare(rare);
        after.replicas = self.replicas;
        after.isr = isr;
        after.elr = elr;
        after.min_insync = self.min_insync;
        if leader != before.leader {
            after.leader = leader;
            after.leader_epoch = before.leader_epoch.next();
        }
        if after == *before {
            return None;
        }
        after.partition_epoch = before.partition_epoch.next();
        Some(after)
    }

    /// The eligible leader replicas, once `isr` is in sync.
    fn eligible(&self, isr: &ReplicaSet) -> ReplicaSet {
        if isr.len() >= usize::from(self.min_insync) {
            return ReplicaSet::EMPTY;
        }
        if self.min_insync != self.before.min_insync && PlantedBug::ElrEmptiedByConfigChange.planted() {
            return ReplicaSet::EMPTY;
        }
        let kept = self.before.elr.iter().chain(self.before.isr.iter());
        if PlantedBug::ElrIgnored.planted() {
            return kept.filter(|_| isr.is_empty()).collect();
        }
        kept.filter(|b| !isr.contains(*b) && !self.lost.contains(*b))
            .collect()
    }

    /// Who was eligible last, once nobody is any more through loss: for the operator's eyes.
    fn last_known(
        &self,
        known: &ReplicaSet,
        isr: &ReplicaSet,
        elr: &ReplicaSet,
        unclean: bool,
    ) -> ReplicaSet {
        if isr.len() >= usize::from(self.min_insync) && !unclean {
            return ReplicaSet::EMPTY;
        }
        let was_safe = |b: &BrokerId| self.before.is_safe(*b);
        let gone = self
            .before
            .replicas
            .iter()
            .filter(was_safe)
            .filter(|b| unclean || self.lost.contains(*b));
        known
            .iter()
            .chain(gone)
            .filter(|b| !isr.contains(*b) && !elr.contains(*b) && self.replicas.contains(*b))
            .collect()
    }

    fn elect(&self, candidates: &Candidates<'_>) -> Elected {
        let preferred = self.preferred.filter(|b| candidates.isr.contains(*b));
        if let Some(preferred) = preferred.filter(|b| self.standing.is_active(*b)) {
            return Elected::InSync(preferred);
        }
        let leader_in_sync = self.before.leader.filter(|b| candidates.isr.contains(*b));
        if let Some(leader) = leader_in_sync.filter(|b| self.standing.is_active(*b)) {
            return Elected::InSync(leader);
        }
        let active = || {
            self.before
                .replicas
                .iter()
                .filter(|b| self.standing.is_active(*b))
        };
        // Whoever is in sync has caught up: it is cut no longer.
        if let Some(next) = active().find(|b| candidates.isr.contains(*b)) {
            return Elected::InSync(next);
        }
        // On its way out, but nobody else is in sync: it serves until it is gone.
        if let Some(leader) = leader_in_sync {
            return Elected::InSync(leader);
        }
        if let Some(next) = active().find(|b| candidates.elr.contains(*b) && self.cut_of(*b).is_none()) {
            return Elected::Eligible(next);
        }
        if let Some(next) = self.longest_cut(candidates) {
            return Elected::Eligible(next);
        }
        // One that is being added may have nothing at all.
        let grown = |b: &BrokerId| !self.before.adding().contains(b);
        match active().find(grown) {
            Some(any) if self.election.unclean && !self.somebody_has_everything(candidates) => {
                Elected::Unclean(any)
            }
            _ => Elected::Nobody,
        }
    }

    /// Whether somebody runs who lacks nothing, though on its way out: nothing need be lost while it does.
    fn somebody_has_everything(&self, candidates: &Candidates<'_>) -> bool {
        let mut safe = candidates.isr.iter().chain(candidates.elr.iter());
        safe.any(|b| self.standing.is_unfenced(b))
    }

    /// Among candidates that are all cut, the one whose log goes furthest; the first in replica order among equals.
    fn longest_cut(&self, candidates: &Candidates<'_>) -> Option<BrokerId> {
        let mut safe = candidates.isr.iter().chain(candidates.elr.iter());
        if !self.election.wait_is_over && !self.election.unclean && !safe.all(|b| self.standing.is_active(b))
        {
            return None;
        }
        let here = |b: &BrokerId| self.standing.is_active(*b) && candidates.elr.contains(*b);
        let cut = self
            .before
            .replicas
            .iter()
            .filter(here)
            .filter_map(|b| self.cut_of(b));
        let mut best: Option<CutReplica> = None;
        for cut in cut {
            if best.is_none_or(|best| (cut.last_epoch, cut.log_end) > (best.last_epoch, best.log_end)) {
                best = Some(cut);
            }
        }
        best.map(|cut| cut.broker)
    }

    fn cut_of(&self, broker: BrokerId) -> Option<CutReplica> {
        let new = self.cut.as_ref().filter(|c| c.broker == broker);
        new.or_else(|| self.before.cut().iter().find(|c| c.broker == broker))
            .copied()
    }
}

/// Who may be elected without loss.
struct Candidates<'a> {
    isr: &'a ReplicaSet,
    elr: &'a ReplicaSet,
}

enum Elected {
    InSync(BrokerId),
    Eligible(BrokerId),
    Unclean(BrokerId),
    Nobody,
}

#[cfg(test)]
mod small_scope;
#[cfg(test)]
mod tests;
