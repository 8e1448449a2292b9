//! Tells histories that a sound cluster would tell: a model of one, and what its clients do and see.
//!
//! The main part is drawn from a seed; the same things happen in every end, so that a test knows where to find them.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs of it")]

mod groups;
mod logs;
mod topics;

use groups::Groups;
use logs::Log;
use quipu_checker::{Event, Fault, Kind, Op, Phase, Process, Time};
use topics::Topics;

/// The partitions of every story.
pub const PARTITIONS: usize = 4;

pub struct Teller {
    pub events: Vec<Event>,
    time: u64,
    chance: u64,
    next_process: u64,
    next_value: u64,
    next_commit: u64,
    logs: Vec<Log>,
    groups: Groups,
    topics: Topics,
}

/// How a partition is called.
pub fn key(partition: usize) -> quipu_checker::Key {
    quipu_checker::Key::new(&format!("orders/{partition}"))
}

/// Stands for a hash of a value's bytes.
pub const fn hash(value: u64) -> u32 {
    (value % 1_000_003) as u32
}

/// A whole story: a main part of so many acts, and an end.
pub fn story(seed: u64, acts: usize) -> Vec<Event> {
    let mut teller = Teller::new(seed);
    teller.begin();
    for _ in 0..acts {
        teller.act();
    }
    teller.quiet_after_a_fault();
    teller.end();
    teller.events
}

impl Teller {
    pub fn new(seed: u64) -> Self {
        Self {
            events: Vec::new(),
            time: 0,
            chance: seed.wrapping_mul(2).wrapping_add(1),
            next_process: 1_000,
            next_value: 1,
            next_commit: 1,
            logs: (0..PARTITIONS).map(Log::new).collect(),
            groups: Groups::new(),
            topics: Topics::new(),
        }
    }

    fn choose(&mut self, below: usize) -> usize {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.chance >> 33).expect("31 bits") % below
    }

    fn process(&mut self) -> Process {
        self.next_process += 1;
        Process::Client(self.next_process)
    }

    fn tell(&mut self, process: Process, kind: Kind, op: Op) {
        self.time += 20_000;
        self.events.push(Event {
            time: Time(self.time),
            process,
            kind,
            op,
        });
    }

    /// An operation that succeeds, with nothing in between.
    fn did(&mut self, process: Process, asked: Op, done: Op) {
        self.tell(process, Kind::Invoke, asked);
        self.tell(process, Kind::Ok, done);
    }

    fn nemesis(&mut self, op: Op) {
        self.tell(Process::Nemesis, Kind::Info, op);
    }

    fn begin(&mut self) {
        self.assign_consumers();
        self.share_out();
        self.create_topic();
        self.create_topic();
    }

    fn act(&mut self) {
        match self.choose(64) {
            0 => self.rebalance(),
            1 => self.create_topic(),
            2 => self.delete_topic(),
            3..6 => self.read_metadata(),
            6..10 => self.ask_latest(),
            10..16 => self.commit(),
            16..18 => self.read_committed(),
            18..24 => self.group_poll(),
            24..40 => self.poll(),
            40 => self.fetch_anywhere(),
            41 => self.leave_a_ghost(),
            42 => self.send_without_an_answer(),
            _ => self.send_two(),
        }
    }

    /// Each partition gets a new leader; then everything is whole, for longer than the limit of availability.
    fn quiet_after_a_fault(&mut self) {
        let fault = |phase| Op::Fault(Fault::of("kill", phase, "broker 1".to_owned()));
        self.nemesis(fault(Phase::Begin));
        for partition in 0..PARTITIONS {
            self.send_across_leaders(partition);
        }
        self.nemesis(fault(Phase::End));
        let what = "all brokers are up".to_owned();
        self.nemesis(Op::Healed { what });
        for partition in 0..PARTITIONS {
            self.send_in_turn(partition);
        }
        self.time += 6_000_000_000;
    }

    fn end(&mut self) {
        self.end_of_groups();
        self.end_of_topics();
        for partition in 0..PARTITIONS {
            self.end_of_log(partition);
        }
        self.nemesis(Op::FinalPolls);
        self.poll_to_the_end();
        self.final_logs();
    }
}
