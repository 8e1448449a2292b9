//! Proof that the checks can fail: sound histories are clean, and each planted fault is caught and rightly named, as
//! that and as nothing else.

#![allow(clippy::ptr_arg, reason = "all plantings have one shape, and some add events")]

mod told;

use proptest::prelude::*;
use quipu_checker::{
    AnomalyKind, Commit, Committed, Event, Final, History, Kind, Member, MetadataRead, MetadataWrite, Op,
    PolledPartition, Process, ReadRecord, Send, Time, ValueId, Verdict, check,
};
use quipu_record::{LeaderEpoch, MetadataVersion, Offset};

fn verdict(events: Vec<Event>) -> Verdict {
    let mut history = History::default();
    for event in events {
        history.push(event).expect("a history");
    }
    check(&history)
}

/// What changes in a sound history.
type Plant = fn(&mut Vec<Event>);

/// The faults, by what they are.
const FAULTS: &[(AnomalyKind, Plant)] = &[
    (AnomalyKind::InconsistentOffsets, another_value_at_an_offset),
    (AnomalyKind::Duplicate, a_value_again_at_the_end),
    (AnomalyKind::AbortedRead, a_failed_send_is_read),
    (AnomalyKind::UnsentRead, a_value_of_nobody),
    (AnomalyKind::CorruptRead, other_bytes),
    (AnomalyKind::RealTimeOrder, the_later_of_two_stands_first),
    (
        AnomalyKind::NonmonotonicSend,
        the_later_of_one_process_stands_first,
    ),
    (AnomalyKind::ProducerOrder, the_later_of_one_producer_stands_first),
    (AnomalyKind::LostWrite, a_replica_lacks_an_acknowledged_value),
    (AnomalyKind::BelowLogStart, logs_begin_too_high),
    (
        AnomalyKind::StaleHighWatermark,
        a_high_watermark_below_an_acknowledgement,
    ),
    (AnomalyKind::ReadYourWrites, a_sender_sees_less_than_it_sent),
    (
        AnomalyKind::HighWatermarkWentBack,
        a_high_watermark_less_than_before,
    ),
    (AnomalyKind::HighWatermarkTooHigh, a_high_watermark_above_all_sent),
    (AnomalyKind::Gap, a_read_begins_too_late),
    (AnomalyKind::ReadPastHighWatermark, a_read_past_its_high_watermark),
    (AnomalyKind::PollSkip, a_consumer_skips),
    (AnomalyKind::NonmonotonicPoll, a_consumer_goes_back),
    (AnomalyKind::IntPollSkip, one_poll_skips),
    (AnomalyKind::IntNonmonotonicPoll, one_poll_repeats),
    (AnomalyKind::Unseen, the_last_value_is_never_read),
    (AnomalyKind::TailNotReached, the_final_polls_are_slow),
    (AnomalyKind::NoWriteAfterHealing, no_acknowledgement_after_healing),
    (AnomalyKind::StaleEpochAck, an_old_leader_acknowledges),
    (AnomalyKind::EpochWentBack, an_epoch_below_the_one_before),
    (AnomalyKind::DivergedReplicas, another_checksum),
    (
        AnomalyKind::CutBelowHighWatermark,
        a_log_cut_below_its_high_watermark,
    ),
    (AnomalyKind::StaleCommit, the_commit_before_the_last_is_read),
    (AnomalyKind::UnknownCommit, a_commit_of_nobody_is_read),
    (AnomalyKind::UnfencedCommit, somebody_else_commits),
    (AnomalyKind::WronglyFencedCommit, an_owner_is_refused),
    (AnomalyKind::TwoOwners, a_partition_is_owned_before_it_is_given_up),
    (AnomalyKind::GroupEpochWentBack, a_lesser_group_epoch),
    (AnomalyKind::MetadataMismatch, a_topic_is_missing),
    (AnomalyKind::StaleMetadata, metadata_before_an_acknowledged_change),
    (AnomalyKind::MetadataWentBack, earlier_metadata_than_before),
    (
        AnomalyKind::MetadataWriteOrder,
        the_later_change_has_the_earlier_version,
    ),
];

/// The partition that most faults are planted in.
const HERE: usize = 1;

fn sends(events: &[Event], kind: Kind) -> Vec<(usize, Send)> {
    let here = told::key(HERE);
    let found = events
        .iter()
        .enumerate()
        .filter_map(|(at, event)| match &event.op {
            Op::Send(send) if event.kind == kind && send.key == here => Some((at, send.clone())),
            _ => None,
        });
    found.collect()
}

/// The sends at the end that are acknowledged: two of one producer, two of one process, one each of two others.
fn last_acks(events: &[Event]) -> [(usize, Send); 6] {
    let mut acks = sends(events, Kind::Ok);
    let last = acks.split_off(acks.len() - 6);
    last.try_into().expect("six")
}

/// The ok reads of a partition by somebody, by the places of their events.
fn reads(events: &[Event], by: impl Fn(Process) -> bool) -> Vec<usize> {
    let here = told::key(HERE);
    let is_read = |event: &Event| match &event.op {
        Op::Poll(poll) => {
            event.kind == Kind::Ok && by(event.process) && poll.partitions.iter().any(|part| part.key == here)
        }
        _ => false,
    };
    (0..events.len()).filter(|at| is_read(&events[*at])).collect()
}

fn consumer() -> Process {
    Process::Client(HERE as u64 * 10)
}

fn part(event: &mut Event) -> &mut PolledPartition {
    match &mut event.op {
        Op::Poll(poll) => &mut poll.partitions[0],
        _ => panic!("a poll"),
    }
}

/// A read of the partition's consumer of four records, which follows another one.
fn full_read(events: &[Event]) -> usize {
    let reads = reads(events, |process| process == consumer());
    reads[reads.len() - 2]
}

fn finals(events: &mut [Event]) -> Vec<&mut Final> {
    let here = told::key(HERE);
    let found = events.iter_mut().filter_map(|event| match &mut event.op {
        Op::Final(last) if last.key == here => Some(last),
        _ => None,
    });
    found.collect()
}

/// Every record list of the partition.
fn each_log(events: &mut [Event], mut change: impl FnMut(&mut Vec<ReadRecord>)) {
    let here = told::key(HERE);
    for event in events {
        match &mut event.op {
            Op::Final(last) if last.key == here => change(&mut last.records),
            Op::Poll(poll) => {
                let parts = poll.partitions.iter_mut().filter(|part| part.key == here);
                parts.for_each(|part| change(&mut part.records));
            }
            _ => {}
        }
    }
}

/// Two values change places, wherever they are told of.
fn swap(events: &mut [Event], a: &(usize, Send), b: &(usize, Send)) {
    for ((at, _), (_, other)) in [(a, b), (b, a)] {
        match &mut events[*at].op {
            Op::Send(send) => send.offset = other.offset,
            _ => panic!("a send"),
        }
    }
    let [in_a, in_b] = [a, b].map(|(_, send)| send.values[0]);
    each_log(events, |records| {
        for record in records {
            let other = match record.value {
                Some(value) if value == in_a.id => in_b,
                Some(value) if value == in_b.id => in_a,
                _ => continue,
            };
            (record.value, record.hash) = (Some(other.id), other.hash);
        }
    });
}

fn beyond_the_end(events: &mut [Event], value: u64) {
    for last in finals(events) {
        let offset = last.records.last().expect("a record").offset.next();
        let (value, hash) = (Some(ValueId(value)), told::hash(value));
        last.records.push(ReadRecord { offset, value, hash });
    }
}

fn another_value_at_an_offset(events: &mut Vec<Event>) {
    // A value that nobody knows of, seen where another one stands that was sent later.
    let ghost = told_ghost(events);
    let at = *reads(events, |process| process == consumer())
        .last()
        .expect("a read");
    let record = part(&mut events[at]).records.last_mut().expect("a record");
    (record.value, record.hash) = (Some(ghost), told::hash(ghost.0));
}

/// A value that was sent and is nowhere.
fn told_ghost(events: &mut Vec<Event>) -> ValueId {
    let ghost = ValueId(1 << 30);
    let hash = told::hash(ghost.0);
    let before = sends(events, Kind::Invoke)[0].0;
    let send = Send::new(told::key(HERE), vec![quipu_checker::Value { id: ghost, hash }]);
    for kind in [Kind::Info, Kind::Invoke] {
        let event = Event {
            time: events[before].time,
            process: Process::Client(1 << 40),
            kind,
            op: Op::Send(Send {
                producer: Some(1 << 40),
                ..send.clone()
            }),
        };
        events.insert(before, event);
    }
    ghost
}

fn a_value_again_at_the_end(events: &mut Vec<Event>) {
    let value = last_acks(events)[0].1.values[0].id;
    beyond_the_end(events, value.0);
}

fn a_failed_send_is_read(events: &mut Vec<Event>) {
    let (at, _) = sends(events, Kind::Info).pop().expect("the last one of the end");
    events[at].kind = Kind::Fail;
}

fn a_value_of_nobody(events: &mut Vec<Event>) {
    beyond_the_end(events, 1 << 50);
}

fn other_bytes(events: &mut Vec<Event>) {
    let at = full_read(events);
    part(&mut events[at]).records[1].hash ^= 1;
}

fn the_later_of_two_stands_first(events: &mut Vec<Event>) {
    let [.., a, b] = last_acks(events);
    swap(events, &a, &b);
}

fn the_later_of_one_process_stands_first(events: &mut Vec<Event>) {
    let [_, _, a, b, ..] = last_acks(events);
    swap(events, &a, &b);
}

fn the_later_of_one_producer_stands_first(events: &mut Vec<Event>) {
    let [a, b, ..] = last_acks(events);
    swap(events, &a, &b);
}

fn a_replica_lacks_an_acknowledged_value(events: &mut Vec<Event>) {
    let [.., (_, lost)] = last_acks(events);
    let replica = finals(events).pop().expect("a replica");
    replica
        .records
        .retain(|record| Some(record.offset) != lost.offset);
}

fn logs_begin_too_high(events: &mut Vec<Event>) {
    let [.., (_, lost)] = last_acks(events);
    let start = lost.offset.expect("acknowledged").next();
    for last in finals(events) {
        last.log_start = start;
        last.records.retain(|record| record.offset >= start);
    }
}

/// The answers about the high watermark, by the places of their events.
fn answers(events: &[Event]) -> Vec<usize> {
    let here = told::key(HERE);
    let is_answer = |event: &Event| match &event.op {
        Op::Latest(latest) => event.kind == Kind::Ok && latest.key == here,
        _ => false,
    };
    (0..events.len()).filter(|at| is_answer(&events[*at])).collect()
}

fn lower(event: &mut Event, by: u64) {
    match &mut event.op {
        Op::Latest(latest) => {
            let told = latest.high_watermark.expect("an answer").get();
            latest.high_watermark = Some(Offset::new(told - by));
        }
        _ => panic!("an answer"),
    }
}

fn a_high_watermark_below_an_acknowledgement(events: &mut Vec<Event>) {
    let at = answers(events).pop().expect("the last answer");
    lower(&mut events[at], 2);
}

fn a_sender_sees_less_than_it_sent(events: &mut Vec<Event>) {
    let answers = answers(events);
    lower(&mut events[answers[answers.len() - 2]], 1);
}

fn a_high_watermark_less_than_before(events: &mut Vec<Event>) {
    let answers = answers(events);
    lower(&mut events[answers[answers.len() - 3]], 1);
}

fn a_high_watermark_above_all_sent(events: &mut Vec<Event>) {
    let end = finals(events)[0].high_watermark;
    let at = full_read(events);
    part(&mut events[at]).high_watermark = end;
}

fn a_read_begins_too_late(events: &mut Vec<Event>) {
    let fetcher = Process::Client(HERE as u64 * 10 + 1);
    let at = reads(events, |process| process == fetcher).pop().expect("a read");
    part(&mut events[at]).records.remove(0);
}

fn a_read_past_its_high_watermark(events: &mut Vec<Event>) {
    let at = full_read(events);
    let part = part(&mut events[at]);
    part.high_watermark = part.records.last().map(|record| record.offset);
}

/// The read's invocation asks for the same place.
fn moves_to(events: &mut [Event], at: usize, from: Offset) {
    part(&mut events[at]).from = from;
    part(&mut events[at - 1]).from = from;
}

fn a_consumer_skips(events: &mut Vec<Event>) {
    let at = full_read(events);
    part(&mut events[at]).records.remove(0);
    let from = part(&mut events[at]).records[0].offset;
    moves_to(events, at, from);
}

fn a_consumer_goes_back(events: &mut Vec<Event>) {
    let all = reads(events, |process| process == consumer());
    let [.., before, at, _] = all[..] else {
        panic!("three reads")
    };
    let again = *part(&mut events[before]).records.last().expect("a record");
    part(&mut events[at]).records.insert(0, again);
    moves_to(events, at, again.offset);
}

fn one_poll_skips(events: &mut Vec<Event>) {
    let at = full_read(events);
    part(&mut events[at]).records.remove(1);
}

fn one_poll_repeats(events: &mut Vec<Event>) {
    let at = full_read(events);
    let again = part(&mut events[at]).records[1];
    part(&mut events[at]).records.insert(1, again);
}

fn the_last_value_is_never_read(events: &mut Vec<Event>) {
    let [.., (_, unseen)] = last_acks(events);
    let at = reads(events, |_| true).pop().expect("the final poll");
    let read = part(&mut events[at]);
    read.records.retain(|record| Some(record.offset) < unseen.offset);
}

fn the_final_polls_are_slow(events: &mut Vec<Event>) {
    let begin = events
        .iter()
        .position(|event| event.op == Op::FinalPolls)
        .expect("the mark");
    later(&mut events[begin + 1..], 31);
}

fn later(events: &mut [Event], seconds: u64) {
    for event in events {
        event.time = Time(event.time.0 + seconds * 1_000_000_000);
    }
}

fn no_acknowledgement_after_healing(events: &mut Vec<Event>) {
    let healed = events
        .iter()
        .position(|event| matches!(event.op, Op::Healed { .. }));
    // The first send begins in time.
    later(&mut events[healed.expect("the mark") + 2..], 10);
}

fn set_epoch(event: &mut Event, epoch: u32) {
    match &mut event.op {
        Op::Send(send) => send.leader_epoch = Some(LeaderEpoch::new(epoch)),
        _ => panic!("a send"),
    }
}

fn an_old_leader_acknowledges(events: &mut Vec<Event>) {
    let [.., (at, _)] = last_acks(events);
    set_epoch(&mut events[at], 3);
}

fn an_epoch_below_the_one_before(events: &mut Vec<Event>) {
    // Both were under way as the fault began: neither was sent after the other was acknowledged.
    let here = told::key(HERE);
    let fault = events
        .iter()
        .position(|event| matches!(event.op, Op::Fault(_)))
        .expect("a fault");
    let sent = events[fault..].iter_mut().filter(|event| event.kind == Kind::Ok);
    let mut acks = sent.filter(|event| matches!(&event.op, Op::Send(send) if send.key == here));
    set_epoch(acks.next().expect("an acknowledgement"), 4);
    set_epoch(acks.next().expect("another"), 3);
}

fn another_checksum(events: &mut Vec<Event>) {
    finals(events)[1].batches[2].crc ^= 1;
}

fn a_log_cut_below_its_high_watermark(events: &mut Vec<Event>) {
    let mut finals = finals(events);
    let replica = &mut finals[1];
    replica.records.pop();
    let last = replica.batches.pop().expect("a batch");
    replica.high_watermark = Some(last.base);
}

fn commits(events: &mut [Event]) -> Vec<&mut Event> {
    let here = told::key(HERE);
    let found = events.iter_mut().filter(|event| match &event.op {
        Op::Commit(Commit { key, .. }) => event.kind == Kind::Ok && *key == here,
        _ => false,
    });
    found.collect()
}

fn commit(event: &mut Event) -> &mut Commit {
    match &mut event.op {
        Op::Commit(commit) => commit,
        _ => panic!("a commit"),
    }
}

fn last_read_of_a_commit(events: &mut [Event]) -> &mut Committed {
    let here = told::key(HERE);
    let mut found = events.iter_mut().rev().filter_map(|event| match &mut event.op {
        Op::Committed(read) if event.kind == Kind::Ok && read.key == here => Some(read),
        _ => None,
    });
    found.next().expect("a read")
}

fn the_commit_before_the_last_is_read(events: &mut Vec<Event>) {
    let mut commits = commits(events);
    let before = commits.len() - 2;
    let (id, offset) = (commit(commits[before]).id, commit(commits[before]).offset);
    let found = last_read_of_a_commit(events).found.as_mut().expect("a commit");
    (found.id, found.offset) = (Some(id), offset);
}

fn a_commit_of_nobody_is_read(events: &mut Vec<Event>) {
    let found = last_read_of_a_commit(events).found.as_mut().expect("a commit");
    found.id = Some(quipu_checker::CommitId(1 << 50));
}

fn somebody_else_commits(events: &mut Vec<Event>) {
    let last = commits(events).pop().expect("a commit");
    let by = commit(last).by.as_mut().expect("a member");
    by.member = Member::new("somebody");
}

fn an_owner_is_refused(events: &mut Vec<Event>) {
    // The last but one: nobody reads it.
    let mut commits = commits(events);
    let before = commits.len() - 2;
    commits[before].kind = Kind::Fail;
    commit(commits[before]).fenced = true;
}

fn a_partition_is_owned_before_it_is_given_up(events: &mut Vec<Event>) {
    let here = told::key(HERE);
    let released = events
        .iter()
        .position(|event| matches!(&event.op, Op::Released(released) if released.key == here))
        .expect("a release");
    let (a, b) = (events[released].time, events[released + 1].time);
    events.swap(released, released + 1);
    (events[released].time, events[released + 1].time) = (a, b);
}

fn a_lesser_group_epoch(events: &mut Vec<Event>) {
    let owned = events.iter_mut().filter_map(|event| match &mut event.op {
        Op::Owned(owned) => Some(owned),
        _ => None,
    });
    owned.last().expect("a mark").group_epoch = Some(quipu_checker::GroupEpoch(1));
}

fn metadata_reads(events: &mut [Event]) -> Vec<&mut MetadataRead> {
    let found = events.iter_mut().filter_map(|event| match &mut event.op {
        Op::MetadataRead(read) if event.kind == Kind::Ok => Some(read),
        _ => None,
    });
    found.collect()
}

fn a_topic_is_missing(events: &mut Vec<Event>) {
    let mut reads = metadata_reads(events);
    reads.pop().expect("a read").topics.pop_first();
}

fn metadata_before_an_acknowledged_change(events: &mut Vec<Event>) {
    let mut reads = metadata_reads(events);
    let before = reads[reads.len() - 2].clone();
    let last = reads.pop().expect("a read");
    (last.version, last.topics) = (before.version, before.topics);
}

fn earlier_metadata_than_before(events: &mut Vec<Event>) {
    // As it was before the last change that came before it, whatever that was.
    let mut reads = metadata_reads(events);
    let at = reads.len() - 2;
    let version = reads[at].version;
    let earlier = reads[..at].iter().rev().find(|read| read.version < version);
    let earlier = earlier.map_or_else(
        || (Some(MetadataVersion::new(1)), std::collections::BTreeMap::new()),
        |read| (read.version, read.topics.clone()),
    );
    (reads[at].version, reads[at].topics) = earlier;
}

fn the_later_change_has_the_earlier_version(events: &mut Vec<Event>) {
    let writes = events.iter_mut().filter_map(|event| match &mut event.op {
        Op::MetadataWrite(write) if event.kind == Kind::Ok => Some(write),
        _ => None,
    });
    let mut writes: Vec<&mut MetadataWrite> = writes.collect();
    let count = writes.len();
    let (a, b) = (writes[count - 2].version, writes[count - 1].version);
    (writes[count - 2].version, writes[count - 1].version) = (b, a);
}

#[test]
fn every_planted_fault_is_caught_and_rightly_named() {
    let mut wrong = Vec::new();
    for (kind, plant) in FAULTS {
        for seed in 0..12 {
            let mut events = told::story(seed, 300);
            plant(&mut events);
            let verdict = verdict(events);
            let found: Vec<AnomalyKind> = verdict.found.keys().copied().collect();
            let shortest = verdict
                .anomalies
                .iter()
                .all(|one| (1..=4).contains(&one.evidence.len()));
            if found != [*kind] || !shortest {
                wrong.push(format!(
                    "seed {seed}: {kind} was planted, and found was\n{verdict}"
                ));
                break;
            }
        }
    }
    let (all, right) = (FAULTS.len(), FAULTS.len() - wrong.len());
    println!("{right} of {all} planted faults caught and rightly named");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sound_histories_are_clean(seed: u64, acts in 0..600_usize) {
        let verdict = verdict(told::story(seed, acts));
        prop_assert!(verdict.is_clean() && verdict.unchecked.is_empty(), "{}", verdict);
        prop_assert_eq!(&verdict.not_exercised, &["P9 and the anomalies of transactions (no transactions)"]);
    }

    #[test]
    fn one_corruption_of_a_record_is_found(seed: u64, at: prop::sample::Index, offset: bool) {
        let mut events = told::story(seed, 200);
        let mut records: Vec<&mut ReadRecord> = Vec::new();
        for event in &mut events {
            match &mut event.op {
                Op::Final(last) => records.extend(&mut last.records),
                Op::Poll(poll) => records.extend(poll.partitions.iter_mut().flat_map(|part| &mut part.records)),
                _ => {}
            }
        }
        let at = at.index(records.len());
        if offset {
            records[at].offset = records[at].offset.plus(1);
        } else {
            records[at].hash ^= 1;
        }
        prop_assert!(!verdict(events).is_clean());
    }

    #[test]
    fn one_event_gone_is_no_false_alarm_unless_it_was_needed(seed: u64, at: prop::sample::Index) {
        // A read that never happened changes nothing: what it saw is seen elsewhere.
        let mut events = told::story(seed, 200);
        let fetches: Vec<usize> = (0..events.len())
            .filter(|at| matches!((&events[*at].op, events[*at].process), (Op::Poll(_), Process::Client(who)) if who % 10 == 1 && who < 900))
            .filter(|at| events[*at].kind == Kind::Ok)
            .collect();
        let at = fetches[at.index(fetches.len())];
        events.drain(at - 1..=at);
        let verdict = verdict(events);
        prop_assert!(verdict.is_clean(), "{}", verdict);
    }
}
