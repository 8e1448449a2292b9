//! Real controllers, three of them: their Raft, their logs and snapshots on disks of their own, driven from the seed in
//! step with the rest of the world.

use super::message::{Address, RequestId};
use super::shared::Shared;
use crate::chance::Chance;
use crate::invariants;
use crate::report::Violation;
use quipu_controller::Subscription;
use quipu_controller::Update;
use quipu_controller::test_util::{Crash, Fate, Settings, SimCluster, Ticket as Asked};
use quipu_metadata::{Command, Delta, Image, Reply, Settled, Ticket};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const PLACES: usize = 3;
/// Nobody is cut off.
const NOBODY: usize = usize::MAX;

/// A command that was handed to the active controller.
#[derive(Debug)]
struct UnderWay {
    asked: Asked,
    from: Option<(Address, RequestId)>,
    ticket: Option<Ticket>,
}

/// What a step of the group brought.
#[derive(Default)]
pub(super) struct News {
    pub(super) deltas: Vec<Arc<Delta>>,
    pub(super) replies: Vec<(Address, RequestId, Reply)>,
    pub(super) settled: Vec<(Ticket, Settled)>,
    /// Another controller is active than before, or none.
    pub(super) changed: bool,
}

/// The group.
#[derive(Debug)]
pub(crate) struct Real {
    group: SimCluster,
    followed: Vec<Option<Subscription>>,
    under_way: Vec<UnderWay>,
    /// Where the active one is, and its term.
    active: Option<(usize, u64)>,
    /// What was seen of each version, at whichever place first.
    seen: BTreeMap<u64, Arc<Delta>>,
    /// Who is cut off from the others.
    far: Arc<AtomicUsize>,
}

impl Real {
    pub(super) fn new(seed: u64) -> Self {
        let far = Arc::new(AtomicUsize::new(NOBODY));
        let (cut, mut chance) = (Arc::clone(&far), Chance::new(seed ^ 0x5eed));
        let decide = move |envelope: &quipu_controller::test_util::Envelope| {
            let far = cut.load(Ordering::Relaxed);
            if (envelope.from == far) != (envelope.to == far) || chance.one_in(60) {
                return Fate::Lost;
            }
            let longest = if chance.one_in(20) { 30_000 } else { 1500 };
            let mut late = || Duration::from_micros(100 + chance.below(longest) as u64);
            let (first, second) = (late(), late());
            if chance.one_in(50) {
                Fate::Twice(first, second)
            } else {
                Fate::Arrives(first)
            }
        };
        let mut real = Self {
            group: SimCluster::new(Settings::new(seed), decide),
            followed: (0..PLACES).map(|_| None).collect(),
            under_way: Vec::new(),
            active: None,
            seen: BTreeMap::new(),
            far,
        };
        for place in 0..PLACES {
            real.start(place);
        }
        real
    }

    /// Starts the controller at a place, unless it runs.
    pub(super) fn start(&mut self, place: usize) {
        if self.group.controller(place).is_none() && self.group.start(place).is_ok() {
            self.followed[place] = self
                .group
                .controller(place)
                .map(|controller| controller.subscribe());
        }
    }

    /// The image by which the active one judges.
    pub(super) fn image(&self) -> Option<Arc<Image>> {
        self.group.image(self.active?.0)
    }

    pub(super) fn propose(
        &mut self,
        command: Command,
        from: Option<(Address, RequestId)>,
        ticket: Option<Ticket>,
    ) {
        if let Some((place, _)) = self.active {
            self.under_way.push(UnderWay {
                asked: self.group.propose(place, command),
                from,
                ticket,
            });
        }
    }

    /// What died with a controller is never answered: whoever asked asks again.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_some()
    }

    /// The active one dies, or is cut off. Says where, so that it comes back.
    pub(super) fn fail(&mut self, chance: &mut Chance) -> Option<usize> {
        let (place, _) = self.active?;
        match chance.below(3) {
            0 => self.far.store(place, Ordering::Relaxed),
            1 => self.crash(place, Crash::Kill),
            _ => self.crash(place, Crash::PowerCut(chance.seed())),
        }
        Some(place)
    }

    fn crash(&mut self, place: usize, how: Crash) {
        self.followed[place] = None;
        self.group.crash(place, how);
    }

    /// A place that failed comes back.
    pub(super) fn come_back(&mut self, place: usize) {
        if self.far.load(Ordering::Relaxed) == place {
            self.far.store(NOBODY, Ordering::Relaxed);
        }
        self.start(place);
    }

    /// Lets time go by.
    pub(super) fn step(&mut self, shared: &mut Shared, time: Duration) -> News {
        self.group.run_for(time);
        let mut news = News::default();
        for place in 0..PLACES {
            self.follow(shared, place);
        }
        let mut next = shared.truth.version().get() + 1;
        while let Some(delta) = self.seen.get(&next) {
            news.deltas.push(Arc::clone(delta));
            next += 1;
        }
        let known = next - 1;
        self.under_way.retain(|it| match it.asked.outcome() {
            None => true,
            Some(Ok(committed)) if committed.version.get() > known => true,
            Some(Ok(committed)) => {
                let version = Settled::At(committed.version);
                news.settled.extend(it.ticket.map(|ticket| (ticket, version)));
                news.replies
                    .extend(it.from.map(|(to, id)| (to, id, committed.outcome)));
                false
            }
            Some(Err(_)) => {
                news.settled
                    .extend(it.ticket.map(|ticket| (ticket, Settled::Failed)));
                false
            }
        });
        let active = self.group.active().and_then(|place| {
            let activity = self.group.activity(place)?;
            Some((place, activity.term))
        });
        news.changed = active != self.active;
        if news.changed {
            shared.note(format_args!("active controller: {active:?}"));
            self.active = active;
            for it in &mut self.under_way {
                it.ticket = None;
            }
        }
        news
    }

    /// Takes in what the controller at a place has published since.
    fn follow(&mut self, shared: &mut Shared, place: usize) {
        let Some(followed) = &mut self.followed[place] else {
            return;
        };
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let update = match pin!(followed.next()).poll(&mut context) {
                Poll::Ready(Some(update)) => update,
                Poll::Ready(None) | Poll::Pending => return,
            };
            let Update::Delta(delta) = update else { continue };
            let version = delta.version.get();
            let first = self.seen.entry(version).or_insert_with(|| Arc::clone(&delta));
            if **first != *delta {
                let what =
                    format!("version {version} is {first:?} at one controller and {delta:?} at another");
                shared.violated(Violation {
                    invariant: invariants::METADATA,
                    what,
                });
            }
        }
    }
}
