//! A group's committed offset of a partition is a linearizable register.
//!
//! Every commit has a name of its own, so no search is needed (Gibbons and Korach, 1997): a commit and the reads that
//! found it are a zone, from the first of their ends to the last of their beginnings. If that is forward, the register
//! certainly held the commit all through it; else the commit may have passed within it. The register is linearizable
//! if no two forward zones overlap and no backward one lies within a forward one.

use crate::history::{Commit, Committed, EventId, Group, History, Key, Kind, Op, Operation};
use crate::numbered::FastMap;
use crate::observed::Observed;
use crate::verdict::{AnomalyKind, Evidence, Verdict};

/// A commit and the reads that found it.
#[derive(Clone, Copy)]
struct Zone {
    /// The operation that ends first, and when.
    first: (Operation, Moment),
    /// The operation that begins last, and when.
    last: (Operation, Moment),
}

/// When something begins or ends, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Moment {
    /// Before the history.
    BeforeAll,
    At(EventId),
    /// It is not known to end, so it ends after everything.
    Never,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.first.1 < self.last.1
    }

    fn take(&mut self, operation: Operation, begins: Moment, ends: Moment) {
        if ends < self.first.1 {
            self.first = (operation, ends);
        }
        if begins > self.last.1 {
            self.last = (operation, begins);
        }
    }
}

/// What is done to one register: the zones by the commit's invocation; `None`: before anything was committed.
#[derive(Default)]
struct Register {
    zones: Vec<(Option<EventId>, Zone)>,
    /// Places in `zones`.
    by_commit: FastMap<Option<EventId>, usize>,
}

impl Register {
    fn take(&mut self, of: Option<Operation>, operation: Operation, begins: Moment, ends: Moment) {
        let start = if of.is_none() { Moment::BeforeAll } else { ends };
        let of = of.map(|commit| commit.invoke);
        let zone = Zone {
            first: (operation, start),
            last: (operation, begins),
        };
        let at = *self.by_commit.entry(of).or_insert(self.zones.len());
        if at == self.zones.len() {
            self.zones.push((of, zone));
        }
        self.zones[at].1.take(operation, begins, ends);
    }
}

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut registers: FastMap<(&Group, &Key), Register> = FastMap::default();
    for operation in &observed.told.commits {
        let begins = Moment::At(operation.invoke);
        let told = history.last_word(*operation);
        let ends = operation.completion.map_or(Moment::Never, Moment::At);
        match (&told.op, history.outcome(*operation)) {
            (Op::Commit(commit), outcome @ (Kind::Ok | Kind::Info)) => {
                // What nobody knows of may happen at any time after it began.
                let ends = if outcome == Kind::Ok { ends } else { Moment::Never };
                let register = registers.entry((&commit.group, &commit.key)).or_default();
                register.take(Some(*operation), *operation, begins, ends);
            }
            (Op::Committed(read), Kind::Ok) => {
                let register = registers.entry((&read.group, &read.key)).or_default();
                match found(history, read) {
                    Ok(commit) => register.take(commit, *operation, begins, ends),
                    Err(why) => tell_unknown(history, verdict, *operation, read, &why),
                }
            }
            _ => {}
        }
    }
    verdict.exercised("committed offsets (none)", !registers.is_empty());
    let mut registers: Vec<_> = registers.into_iter().collect();
    registers.sort_unstable_by_key(|(name, _)| *name);
    for (_, register) in &registers {
        check_register(history, verdict, register);
    }
}

/// Which commit a read found.
fn found(history: &History, read: &Committed) -> Result<Option<Operation>, String> {
    let Some(found) = read.found else { return Ok(None) };
    let operation = found.id.and_then(|id| history.committer(id));
    let operation = operation.ok_or_else(|| "nobody made".to_owned())?;
    let told = history.last_word(operation);
    let Op::Commit(commit) = &told.op else {
        return Err("nobody made".to_owned());
    };
    if (&commit.group, &commit.key, commit.offset) != (&read.group, &read.key, found.offset) {
        return Err(format!(
            "was made of offset {} of {} for {}",
            commit.offset, commit.key, commit.group
        ));
    }
    if history.outcome(operation) == Kind::Fail {
        return Err("had certainly failed".to_owned());
    }
    Ok(Some(operation))
}

fn tell_unknown(history: &History, verdict: &mut Verdict, operation: Operation, read: &Committed, why: &str) {
    verdict.add(AnomalyKind::UnknownCommit, || {
        let read = read_words(read);
        let event = operation.completion.unwrap_or(operation.invoke);
        let commit = match &history.event(event).op {
            Op::Committed(Committed {
                found: Some(found), ..
            }) => found.id.and_then(|id| history.committer(id)),
            _ => None,
        };
        let mut evidence = vec![Evidence::of(history, event, &read)];
        evidence.extend(commit.map(|commit| told(history, commit)));
        (format!("{read}, a commit that {why}"), evidence)
    });
}

fn read_words(read: &Committed) -> String {
    let place = format!("of {} for {}", read.key, read.group);
    match read.found {
        Some(found) => {
            let id = found
                .id
                .map_or_else(|| "without a name".to_owned(), |id| id.to_string());
            format!("committed offset {place} read: {}, commit {id}", found.offset)
        }
        None => format!("committed offset {place} read: none"),
    }
}

fn commit_words(commit: &Commit) -> String {
    let Commit {
        id,
        offset,
        key,
        group,
        ..
    } = commit;
    format!("commit {id} of offset {offset} of {key} for {group}")
}

/// An operation by its last word.
fn told(history: &History, operation: Operation) -> Evidence {
    let event = operation.completion.unwrap_or(operation.invoke);
    let words = match &history.event(event).op {
        Op::Commit(commit) => commit_words(commit),
        Op::Committed(read) => read_words(read),
        _ => String::new(),
    };
    Evidence::of(history, event, &words)
}

fn check_register(history: &History, verdict: &mut Verdict, register: &Register) {
    // A read that ended before its commit began saw the future.
    for (commit, zone) in &register.zones {
        if commit.is_some_and(|commit| zone.first.1 < Moment::At(commit)) {
            tell(
                history,
                verdict,
                [zone.first.0, zone.first.0, zone.last.0, zone.last.0],
            );
            return;
        }
    }
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = register
        .zones
        .iter()
        .map(|(_, zone)| *zone)
        .partition(Zone::is_forward);
    forward.sort_unstable_by_key(|zone| zone.first.1);
    for pair in forward.windows(2) {
        if pair[1].first.1 < pair[0].last.1 {
            tell(
                history,
                verdict,
                [pair[0].first.0, pair[0].last.0, pair[1].first.0, pair[1].last.0],
            );
            return;
        }
    }
    for zone in backward {
        let after = forward.partition_point(|around| around.first.1 < zone.last.1);
        let Some(around) = after.checked_sub(1).map(|at| forward[at]) else {
            continue;
        };
        if zone.first.1 < around.last.1 {
            tell(
                history,
                verdict,
                [around.first.0, around.last.0, zone.first.0, zone.last.0],
            );
            return;
        }
    }
}

fn tell(history: &History, verdict: &mut Verdict, operations: [Operation; 4]) {
    verdict.add(AnomalyKind::StaleCommit, || {
        let summary = "these commits and reads of one committed offset fit into no order".to_owned();
        (
            summary,
            operations.map(|operation| told(history, operation)).to_vec(),
        )
    });
}
