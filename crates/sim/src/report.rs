//! What a run came to.

use quipu_checker::Verdict;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $( $(#[$what:meta])* $kind:ident, )* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $( $(#[$what])* $kind, )* }

        impl $name {
            /// All kinds.
            pub const ALL: &'static [Self] = &[ $( Self::$kind, )* ];
        }
    };
}

kinds! {
    /// A kind of fault.
    Fault {
        /// The process dies; what it wrote stays.
        Kill,
        /// The power of one machine goes; what was not synced is kept, dropped or torn.
        PowerCut,
        /// The power of all machines goes at once.
        PowerCutOfAll,
        /// The process is told to stop, and stops in order.
        CleanStop,
        /// Every broker in turn is stopped in order and started again.
        RollingRestart,
        /// A sync fails.
        SyncFails,
        /// A write fails.
        WriteFails,
        /// Pages cannot be written back, at random for a while: the next sync of a handle that was open says so, once.
        WriteBackFails,
        /// Reads fail for a while.
        ReadsFail,
        /// Writes are short, or find no room, at random for a while.
        ShortWrites,
        /// The disk is full for a while.
        DiskFull,
        /// Syncs are slow for a while.
        SlowDisk,
        /// A bit flips in a log below what was flushed, on a minority of its replicas.
        BitFlip,
        /// A broker comes back with an empty disk.
        WipedDisk,
        /// The process stands still for a while, its clock runs on.
        Pause,
        /// The wall clock jumps.
        ClockJump,
        /// Messages are lost for a while.
        MessagesLost,
        /// Messages are late, so that they overtake each other, for a while.
        MessagesLate,
        /// Messages arrive twice for a while.
        MessagesTwice,
        /// The network falls apart into two halves.
        Halves,
        /// One node is cut off from all the others.
        Isolated,
        /// One node is not heard by some others, and hears them.
        OneWay,
        /// Two halves that see each other only through one node.
        Bridge,
        /// Each node sees its neighbours in a ring only.
        Ring,
        /// The active controller dies; another one takes over in a while.
        ControllerFailover,
        /// What the controllers decide is answered to nobody for a while.
        RepliesLost,
        /// A broker hears of decisions late.
        DeltasLate,
        /// `min.insync.replicas` changes while leaders do not know.
        MinInsyncChanged,
        /// Somebody asks for the preferred leaders.
        PreferredElection,
        /// Nobody leads for a moment; then the same broker does, in a new epoch.
        Reelection,
        /// `min.insync.replicas` is more than there are, for a while.
        TooFewInSync,
        /// A producer's process is replaced while batches are under way: its epoch rises.
        ProducerReplaced,
        /// Another broker coordinates groups.
        CoordinatorMoved,
        /// A member's process dies.
        MemberKilled,
        /// A member takes its time.
        MemberSlow,
        /// The connection of a member breaks.
        StreamBroken,
        /// A member wants other topics.
        SubscriptionChanged,
        /// A topic appears, or gets another partition.
        TopicsChanged,
    }
}

impl Fault {
    /// Those of a broker by itself.
    pub const ALONE: &'static [Self] = &[
        Self::Kill,
        Self::PowerCut,
        Self::CleanStop,
        Self::SyncFails,
        Self::WriteFails,
        Self::WriteBackFails,
        Self::ReadsFail,
        Self::ShortWrites,
        Self::DiskFull,
        Self::SlowDisk,
        Self::MessagesLost,
        Self::MessagesLate,
        Self::MessagesTwice,
        Self::ClockJump,
        Self::Reelection,
        Self::TooFewInSync,
        Self::ProducerReplaced,
    ];

    /// Those of a cluster.
    pub const CLUSTER: &'static [Self] = &[
        Self::Kill,
        Self::PowerCut,
        Self::PowerCutOfAll,
        Self::CleanStop,
        Self::RollingRestart,
        Self::SyncFails,
        Self::WriteFails,
        Self::ReadsFail,
        Self::ShortWrites,
        Self::DiskFull,
        Self::SlowDisk,
        Self::BitFlip,
        Self::WipedDisk,
        Self::Pause,
        Self::ClockJump,
        Self::MessagesLost,
        Self::MessagesLate,
        Self::MessagesTwice,
        Self::Halves,
        Self::Isolated,
        Self::OneWay,
        Self::Bridge,
        Self::Ring,
        Self::ControllerFailover,
        Self::RepliesLost,
        Self::DeltasLate,
        Self::MinInsyncChanged,
        Self::PreferredElection,
        Self::ProducerReplaced,
    ];

    /// Those of groups.
    pub const GROUPS: &'static [Self] = &[
        Self::CoordinatorMoved,
        Self::Isolated,
        Self::Kill,
        Self::Pause,
        Self::MessagesLost,
        Self::MessagesLate,
        Self::MessagesTwice,
        Self::MemberKilled,
        Self::MemberSlow,
        Self::StreamBroken,
        Self::SubscriptionChanged,
        Self::TopicsChanged,
    ];

    /// Whether it cuts the network apart.
    pub(crate) const fn is_a_cut(self) -> bool {
        matches!(
            self,
            Self::Halves | Self::Isolated | Self::OneWay | Self::Bridge | Self::Ring
        )
    }

    /// Whether a process, and what it led, goes with it.
    pub(crate) const fn moves_leaders(self) -> bool {
        matches!(
            self,
            Self::Kill
                | Self::PowerCut
                | Self::PowerCutOfAll
                | Self::CleanStop
                | Self::RollingRestart
                | Self::SyncFails
                | Self::WriteFails
                | Self::BitFlip
                | Self::WipedDisk
                | Self::Pause
                | Self::PreferredElection
        )
    }

    /// Whether it may take back what was written and not synced.
    pub(crate) const fn loses_what_was_written(self) -> bool {
        matches!(
            self,
            Self::PowerCut | Self::PowerCutOfAll | Self::SyncFails | Self::WriteFails | Self::WriteBackFails
        )
    }
}

kinds! {
    /// Something that replicas, leaders and controllers did in answer to faults.
    Deed {
        /// A leader was elected.
        Election,
        /// It was one that was eligible and not in sync.
        EligibleElection,
        /// It was neither: the operator gave up what was lost.
        UncleanElection,
        /// A leader had a replica taken out of the in-sync ones.
        Shrink,
        /// A leader had a replica taken into the in-sync ones.
        Expand,
        /// A broker was fenced.
        Fence,
        /// A follower cut its log where the leader's parts from it.
        Truncation,
        /// A follower threw its log away and began anew at the leader's log start.
        FullReset,
        /// A broker registered a replica whose torn tail recovery had cut.
        CutRegistered,
        /// A damaged or lost replica was copied again, up to being in sync.
        Repair,
        /// A replica that was being added was taken away, since its broker was gone for long.
        TakenAway,
    }
}

/// What was done and seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Events that the schedule brought.
    pub steps: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Records acknowledged under `acks=all`.
    pub acked: u64,
    /// Records read by consumers.
    pub read: u64,
    /// Batches sent again.
    pub retries: u64,
    /// Answers that said "duplicate".
    pub duplicates: u64,
    /// Answers that said that the outcome is unknown.
    pub unknown: u64,
    /// Refusals, by code.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Flush rounds that ended well.
    pub rounds: u64,
    /// Times a broker started.
    pub boots: u64,
    /// Torn tails that recovery cut.
    pub cuts: u64,
    /// Records deleted, by request or by retention.
    pub deleted: u64,
    /// Times that an invariant was looked at.
    pub checks: u64,
    /// What the protocol did, by kind.
    pub deeds: BTreeMap<Deed, u64>,
    /// Partitions whose losses were within the rules, so that their histories were not judged.
    pub forgiven: u64,
    /// What members of groups did and saw.
    pub members: BTreeMap<&'static str, u64>,
}

/// How many faults each seed of a cluster must have, so that it proves something.
pub const FAULTS_MIN: u64 = 30;
/// How many records must have been acknowledged in it under `acks=all`.
pub const ACKED_MIN: u64 = 200;

impl Counts {
    /// Faults of all kinds.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Whether a seed of a cluster saw enough, of faults and of what clients got done in spite of them.
    #[must_use]
    pub fn reach_the_floors(&self) -> bool {
        self.faults() >= FAULTS_MIN && self.acked >= ACKED_MIN
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acked += other.acked;
        self.read += other.read;
        self.retries += other.retries;
        self.duplicates += other.duplicates;
        self.unknown += other.unknown;
        self.rounds += other.rounds;
        self.boots += other.boots;
        self.cuts += other.cuts;
        self.deleted += other.deleted;
        self.checks += other.checks;
        self.forgiven += other.forgiven;
        for (what, count) in &other.members {
            *self.members.entry(what).or_default() += count;
        }
        for (deed, count) in &other.deeds {
            *self.deeds.entry(*deed).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (code, count) in &other.refusals {
            *self.refusals.entry(code).or_default() += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} steps, {} records acknowledged, {} read, {} deleted, {} checks of invariants",
            self.steps, self.acked, self.read, self.deleted, self.checks
        )?;
        writeln!(
            f,
            "{} boots, {} torn tails cut, {} flush rounds, {} retries, {} duplicates recognised, {} outcomes unknown",
            self.boots, self.cuts, self.rounds, self.retries, self.duplicates, self.unknown
        )?;
        let faults: Vec<String> = (self.faults.iter())
            .map(|(fault, count)| format!("{fault:?} {count}"))
            .collect();
        writeln!(f, "faults: {}", faults.join(", "))?;
        if !self.deeds.is_empty() {
            let deeds = self.deeds.iter().map(|(deed, count)| format!("{deed:?} {count}"));
            let deeds: Vec<String> = deeds.collect();
            writeln!(
                f,
                "protocol: {}; {} partitions forgiven",
                deeds.join(", "),
                self.forgiven
            )?;
        }
        if !self.members.is_empty() {
            let members = self.members.iter().map(|(what, count)| format!("{what} {count}"));
            let members: Vec<String> = members.collect();
            writeln!(f, "members: {}", members.join(", "))?;
        }
        let refusals: Vec<String> = self
            .refusals
            .iter()
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        write!(f, "refusals: {}", refusals.join(", "))
    }
}

/// A property that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its name, as in `I7 no acknowledged record lost`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub trace_hash: u64,
    /// What was done.
    pub counts: Counts,
    /// The first property that did not hold; the run ended there.
    pub violation: Option<Violation>,
    /// What the clients' history came to; not looked at after a violation.
    pub verdict: Option<Verdict>,
    /// What happened, in words, if that was wanted.
    pub told: Vec<String>,
}

impl Outcome {
    /// Whether everything held.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violation.is_none() && self.verdict.as_ref().is_none_or(Verdict::is_clean)
    }

    /// What did not hold, in words.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if let Some(violation) = &self.violation {
            return Some(violation.to_string());
        }
        let verdict = self.verdict.as_ref()?;
        (!verdict.is_clean()).then(|| verdict.to_string())
    }
}
