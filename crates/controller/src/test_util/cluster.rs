//! Some controllers, their disks and the network between them, in one thread and without chance: one seed, one history.

use super::bus::{Bus, BusTransport, Envelope, Event, Fate};
use crate::controller::{Activity, Identity};
use crate::raft::{Process, Seeded};
use crate::{
    Committed, Controller, ControllerConfig, ControllerId, ControllerStatus, Member, MembershipError,
    StartError, Unavailable,
};
use quipu_metadata::{ClusterId, Command, Image, Reply};
use quipu_storage::test_util::FakeDisk;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How a simulated group is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// All chance comes from here.
    pub seed: u64,
    /// How many places there are for controllers.
    pub places: usize,
    /// How many of them, the first ones, are the voters that the group begins with.
    pub voters: usize,
    /// All else; directory, address and voters are set for each.
    pub config: ControllerConfig,
}

impl Settings {
    /// Three voters, short timeouts, and snapshots often.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let config = ControllerConfig {
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(300),
            snapshot_every: 30,
            entries_kept: 10,
            wal_segment_bytes: 4096,
            ..ControllerConfig::new(PathBuf::from("/metadata"))
        };
        Self {
            seed,
            places: 3,
            voters: 3,
            config,
        }
    }
}

/// How a controller ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process dies: what was written is there.
    Kill,
    /// The power goes: of what was not synced, some is there, as the seed decides.
    PowerCut(u64),
    /// The disk is gone: whoever comes back there is another.
    DiskLost,
}

type Outcome = Result<Committed<Reply>, Unavailable>;

/// A command on its way.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<Mutex<Option<Outcome>>>);

impl Ticket {
    /// What came of it, once that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Place {
    disk: FakeDisk,
    process: Option<Process>,
    /// Counts the disks that were here.
    disks: u64,
}

/// The group. All its calls must come from one thread, and no other simulation may run on it meanwhile.
#[derive(Debug)]
pub struct SimCluster {
    settings: Settings,
    bus: Bus,
    places: Vec<Place>,
    runtime: Runtime,
}

impl SimCluster {
    /// Empty controllers, all of them down. Each message's fate is asked of `decide`.
    ///
    /// # Panics
    /// If there is no runtime to be had.
    #[must_use]
    pub fn new(settings: Settings, decide: impl FnMut(&Envelope) -> Fate + Send + 'static) -> Self {
        Seeded::seed(settings.seed);
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        // Of what tokio draws at random, the order in which the watchers of one value are woken, nothing here depends;
        // where it can be had from the seed, it is.
        #[cfg(tokio_unstable)]
        builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&settings.seed.to_le_bytes()));
        let runtime = builder.build().expect("a runtime");
        let addresses = (0..settings.places).map(address).collect();
        let bus = runtime.block_on(async { Bus::new(addresses, Box::new(decide)) });
        let places = (0..settings.places)
            .map(|place| Place {
                disk: FakeDisk::new(mix(settings.seed, place, 0)),
                process: None,
                disks: 0,
            })
            .collect();
        Self {
            settings,
            bus,
            places,
            runtime,
        }
    }

    /// Starts the controller at a place, unless it runs.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(&mut self, place: usize) -> Result<(), StartError> {
        let Place {
            disk,
            process: process @ None,
            disks,
        } = &mut self.places[place]
        else {
            return Ok(());
        };
        let config = ControllerConfig {
            address: address(place),
            voters: (0..self.settings.voters).map(address).collect(),
            ..self.settings.config.clone()
        };
        let fresh = mix(self.settings.seed, place, *disks + 1);
        let identity = Identity {
            controller: ControllerId::new((fresh >> 1).max(1)),
            cluster: ClusterId::from_u128(u128::from(fresh)),
        };
        let transport = BusTransport {
            bus: self.bus.clone(),
            from: place,
        };
        let begun = Process::default();
        let starting =
            Controller::start_on::<Seeded, FakeDisk, BusTransport>(config, disk.clone(), transport, identity);
        let controller = self.runtime.block_on(begun.run(starting));
        match controller {
            Ok(controller) => {
                *process = Some(begun);
                self.bus.set(place, Some(controller));
                Ok(())
            }
            Err(error) => {
                begun.end();
                disk.kill();
                Err(error)
            }
        }
    }

    /// Ends the controller at a place, at once and without a word. Its messages that are on their way stay there.
    pub fn crash(&mut self, place: usize, how: Crash) {
        let seed = self.settings.seed;
        let here = &mut self.places[place];
        if let Some(process) = here.process.take() {
            process.end();
        }
        self.bus.set(place, None);
        match how {
            Crash::Kill => here.disk.kill(),
            Crash::PowerCut(seed) => drop(here.disk.crash(seed)),
            Crash::DiskLost => {
                here.disks += 1;
                here.disk = FakeDisk::new(mix(seed, place, here.disks));
            }
        }
    }

    /// Lets time go by.
    pub fn run_for(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Lets time go by until something holds, looking every few milliseconds; whether it came to hold.
    pub fn run_until(&self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now() + limit;
        loop {
            if holds(self) {
                return true;
            }
            if self.now() >= end {
                return false;
            }
            self.run_for(Duration::from_millis(5));
        }
    }

    /// Lets time go by until this is done: for what a [`Controller`] is asked.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.runtime.block_on(async { self.bus.now() })
    }

    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The controller that runs at a place.
    #[must_use]
    pub fn controller(&self, place: usize) -> Option<Controller> {
        self.bus.running(place)
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self, place: usize) -> Option<ControllerStatus> {
        self.controller(place).map(|controller| controller.status())
    }

    /// Whether it is active.
    #[must_use]
    pub fn activity(&self, place: usize) -> Option<Activity> {
        self.controller(place)
            .map(|controller| *controller.activity().borrow())
    }

    /// Its image.
    #[must_use]
    pub fn image(&self, place: usize) -> Option<Arc<Image>> {
        self.controller(place).map(|controller| controller.image())
    }

    /// Where the active controller runs: of the newest term, if some do not know yet that they were deposed.
    #[must_use]
    pub fn active(&self) -> Option<usize> {
        let term = |place: &usize| {
            self.activity(*place)
                .filter(Activity::is_active)
                .map(|activity| activity.term)
        };
        (0..self.places.len())
            .filter(|place| term(place).is_some())
            .max_by_key(term)
    }

    /// The disk at a place, for faults.
    #[must_use]
    pub fn disk(&self, place: usize) -> FakeDisk {
        self.places[place].disk.clone()
    }

    /// Asks the controller at a place for a change. Nothing comes of it if none runs there.
    pub fn propose(&self, place: usize, command: Command) -> Ticket {
        let ticket = Ticket(Arc::default());
        let slot = Arc::clone(&ticket.0);
        if let Some(controller) = self.controller(place) {
            drop(self.runtime.spawn(async move {
                let outcome = controller.propose_command(command).await;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            }));
        }
        ticket
    }

    /// Makes the controller at `place` a voter, in place of a dead one if that is named, by the one that is active now.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn join(&self, place: usize, replaces: Option<ControllerId>) -> Result<Vec<Member>, MembershipError> {
        let active = self.active().and_then(|active| self.controller(active));
        let nobody = MembershipError::Unavailable(Unavailable::NoQuorum);
        let (Some(active), Some(joining)) = (active, self.controller(place)) else {
            return Err(nobody);
        };
        self.block_on(active.join(joining.id(), address(place), replaces))
    }

    /// Every message so far, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Event> {
        self.bus.trace()
    }
}

fn address(place: usize) -> String {
    format!("c{place}:4601")
}

/// A number for each place and life, with no pattern.
fn mix(seed: u64, place: usize, life: u64) -> u64 {
    let mut mixed = seed ^ (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ life.rotate_left(48);
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    mixed ^ (mixed >> 31)
}
