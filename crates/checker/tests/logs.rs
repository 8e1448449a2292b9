//! Proof that the checks can fail: sound histories are clean, and each planted fault is caught and rightly named.

mod words;

use proptest::prelude::*;
use quipu_checker::{
    Acks, AnomalyKind, Event, Final, History, Key, Kind, Op, Outcomes, Poll, PolledPartition, Process,
    ReadRecord, Send, Time, Trim, Value, ValueId, Verdict, check, from_lines, to_line,
};
use quipu_record::{BrokerId, Offset};
use words::told;

/// Tells stories that a sound log would tell: a model of one, and a generator of pseudo-random choices.
struct Teller {
    events: Vec<Event>,
    logs: Vec<Vec<Value>>,
    state: u64,
    time: u64,
    next_process: u64,
    next_value: u64,
}

const PARTITIONS: usize = 3;

impl Teller {
    fn new(seed: u64) -> Self {
        Self {
            events: Vec::new(),
            logs: vec![Vec::new(); PARTITIONS],
            state: seed,
            time: 0,
            next_process: 100,
            next_value: 1,
        }
    }

    fn choose(&mut self, below: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).expect("31 bits") % below
    }

    fn tell(&mut self, process: Process, kind: Kind, op: Op) {
        self.time += 1_000_000;
        self.events.push(Event {
            time: Time(self.time),
            process,
            kind,
            op,
        });
    }

    fn values(&mut self) -> Vec<Value> {
        let count = self.choose(3) as u64 + 1;
        let first = self.next_value;
        self.next_value += count;
        (first..self.next_value)
            .map(|id| Value {
                id: ValueId(id),
                hash: crc(id),
            })
            .collect()
    }

    /// Two sends at once, one after the other in the log, with every kind of ending.
    fn sends(&mut self, acks: Acks) {
        let process = self.next_process;
        self.next_process += 2;
        let partition = self.choose(PARTITIONS);
        let batches = [self.values(), self.values()];
        let idempotent = self.choose(4) > 0;
        let send = |values: &[Value], offset: Option<usize>| {
            Op::Send(Send {
                acks,
                producer: idempotent.then_some(process),
                offset: offset.map(|at| Offset::new(at as u64)),
                ..Send::new(key(partition), values.to_vec())
            })
        };
        for (index, values) in (0..).zip(&batches) {
            self.tell(Process::Client(process + index), Kind::Invoke, send(values, None));
        }
        for (index, values) in (0..).zip(&batches) {
            let who = Process::Client(process + index);
            let log = &mut self.logs[partition];
            let base = log.len();
            match self.choose(8) {
                0 => self.tell(who, Kind::Fail, send(values, None)),
                1 => self.tell(who, Kind::Info, send(values, None)),
                2 => {
                    self.logs[partition].extend_from_slice(values);
                    self.tell(who, Kind::Info, send(values, None));
                }
                _ => {
                    self.logs[partition].extend_from_slice(values);
                    self.tell(who, Kind::Ok, send(values, Some(base)));
                }
            }
        }
    }

    fn poll(&mut self) {
        let partition = self.choose(PARTITIONS);
        let length = self.logs[partition].len();
        let from = self.choose(length + 1);
        let records = self.records(partition, from);
        let poll = |records: Vec<ReadRecord>| {
            Op::Poll(Poll::of(vec![PolledPartition {
                records,
                ..PolledPartition::asked(key(partition), Offset::new(from as u64))
            }]))
        };
        self.tell(Process::Client(0), Kind::Invoke, poll(Vec::new()));
        self.tell(Process::Client(0), Kind::Ok, poll(records));
    }

    fn records(&self, partition: usize, from: usize) -> Vec<ReadRecord> {
        let log = &self.logs[partition];
        (from as u64..)
            .zip(&log[from..])
            .map(|(offset, value)| ReadRecord {
                offset: Offset::new(offset),
                value: Some(value.id),
                hash: value.hash,
            })
            .collect()
    }

    /// Deletes the lower third of a partition and lets two replicas tell their logs.
    fn end(mut self) -> Vec<Event> {
        let cut = self.logs[0].len() / 3;
        let trim = Op::Trim(Trim {
            key: key(0),
            before: Offset::new(cut as u64),
        });
        self.tell(Process::Client(1), Kind::Invoke, trim.clone());
        self.tell(Process::Client(1), Kind::Ok, trim);
        for partition in 0..PARTITIONS {
            let log_start = if partition == 0 { cut } else { 0 };
            for replica in 1..3_u32 {
                let records = self.records(partition, log_start);
                let log_start = Offset::new(log_start as u64);
                let op = Op::Final(Final::new(
                    BrokerId::new(replica),
                    key(partition),
                    log_start,
                    records,
                ));
                self.tell(Process::Nemesis, Kind::Info, op);
            }
        }
        self.events
    }
}

/// Stands for a hash of the value's bytes.
fn crc(id: u64) -> u32 {
    u32::try_from(id * 7).expect("stories are short")
}

fn key(partition: usize) -> Key {
    Key::new(&format!("orders/{partition}"))
}

fn sound(seed: u64) -> Vec<Event> {
    let mut teller = Teller::new(seed);
    for _ in 0..60 {
        match teller.choose(3) {
            0 => teller.poll(),
            _ => teller.sends(Acks::All),
        }
    }
    for _ in 0..3 {
        teller.poll();
    }
    teller.end()
}

fn verdict(events: Vec<Event>) -> Verdict {
    let mut history = History::default();
    for event in events {
        history.push(event).expect("a history");
    }
    check(&history)
}

/// The sends with an offset, newest last: (event, partition, first value, offset).
fn acks(events: &[Event]) -> Vec<(usize, Send)> {
    let sends = events.iter().enumerate().filter_map(|(at, event)| {
        let Op::Send(send) = &event.op else { return None };
        (event.kind == Kind::Ok && send.offset.is_some()).then(|| (at, send.clone()))
    });
    sends.collect()
}

fn finals_of<'a>(events: &'a mut [Event], of: &'a Key) -> impl Iterator<Item = &'a mut Final> {
    events.iter_mut().filter_map(move |event| match &mut event.op {
        Op::Final(last) if last.key == *of => Some(last),
        _ => None,
    })
}

/// An acknowledged batch that is still in the final logs: the last one.
fn target(events: &[Event]) -> (usize, Send) {
    acks(events)
        .pop()
        .expect("a story of sixty acts has an acknowledgement")
}

const PLANTED: &[AnomalyKind] = &[
    AnomalyKind::InconsistentOffsets,
    AnomalyKind::Duplicate,
    AnomalyKind::AbortedRead,
    AnomalyKind::UnsentRead,
    AnomalyKind::CorruptRead,
    AnomalyKind::RealTimeOrder,
    AnomalyKind::LostWrite,
    AnomalyKind::BelowLogStart,
];

/// Plants `kind` in a sound history.
fn plant(kind: AnomalyKind, events: &mut Vec<Event>) {
    let (at, mut send) = target(events);
    let (value, offset) = (send.values[0], send.offset.expect("acknowledged"));
    match kind {
        AnomalyKind::InconsistentOffsets => {
            // One replica swaps in a value that stands elsewhere: another value at the offset.
            let other = acks(events)[0].1.values[0];
            let replica = finals_of(events, &send.key).next().expect("a replica");
            for record in replica.records.iter_mut().filter(|r| r.offset == offset) {
                (record.value, record.hash) = (Some(other.id), other.hash);
            }
        }
        AnomalyKind::Duplicate => {
            send.producer = Some(7);
            for event in events.iter_mut() {
                match &mut event.op {
                    Op::Send(sent) if sent.values == send.values => sent.producer = Some(7),
                    _ => {}
                }
            }
            for replica in finals_of(events, &send.key) {
                let end = replica.records.last().expect("a record").offset.next();
                replica.records.push(ReadRecord {
                    offset: end,
                    value: Some(value.id),
                    hash: value.hash,
                });
            }
        }
        AnomalyKind::AbortedRead => {
            events[at].kind = Kind::Fail;
            let Op::Send(failed) = &mut events[at].op else {
                panic!()
            };
            failed.offset = None;
        }
        AnomalyKind::UnsentRead => {
            for replica in finals_of(events, &send.key) {
                let end = replica.records.last().expect("a record").offset.next();
                replica.records.push(ReadRecord {
                    offset: end,
                    value: Some(ValueId(1 << 50)),
                    hash: 1,
                });
            }
        }
        AnomalyKind::CorruptRead => {
            let replica = finals_of(events, &send.key).next().expect("a replica");
            for record in replica.records.iter_mut().filter(|r| r.offset == offset) {
                record.hash ^= 1;
            }
        }
        AnomalyKind::RealTimeOrder => {
            // Somebody sends after the last acknowledgement, and lands at its place.
            for replica in finals_of(events, &send.key) {
                for record in &mut replica.records {
                    if record.offset >= offset {
                        record.offset = record.offset.plus(1);
                    }
                }
                replica.records.push(ReadRecord {
                    offset,
                    value: Some(ValueId(1 << 50)),
                    hash: 1,
                });
            }
            let late = Op::Send(Send::new(send.key.clone(), vec![Value::from((1 << 50, 1))]));
            let time = events[at].time;
            let event = Event {
                time,
                process: Process::Client(1 << 40),
                kind: Kind::Invoke,
                op: late,
            };
            events.insert(at + 1, event);
        }
        AnomalyKind::LostWrite => {
            let replica = finals_of(events, &send.key).last().expect("a replica");
            replica.records.retain(|record| record.offset < offset);
        }
        AnomalyKind::BelowLogStart => {
            for replica in finals_of(events, &send.key) {
                replica.log_start = offset.next();
                replica.records.retain(|record| record.offset > offset);
            }
        }
        other => panic!("nobody plants {other}"),
    }
}

#[test]
fn every_planted_fault_is_caught_and_rightly_named() {
    for kind in PLANTED {
        for seed in 0..50 {
            let mut events = sound(seed);
            plant(*kind, &mut events);
            let verdict = verdict(events);
            assert!(
                verdict.found.contains_key(kind),
                "seed {seed}: {kind} was planted, and the verdict is\n{verdict}"
            );
            let shown = verdict.anomalies.iter().find(|a| a.kind == *kind).unwrap();
            assert!(
                (1..=4).contains(&shown.evidence.len()),
                "the shortest piece, not\n{shown}"
            );
        }
    }
}

#[test]
fn a_fault_is_not_taken_for_another() {
    // What each planted fault may bring along, since it truly is that as well.
    let also = |kind| match kind {
        AnomalyKind::InconsistentOffsets => {
            vec![
                AnomalyKind::LostWrite,
                AnomalyKind::Duplicate,
                AnomalyKind::RealTimeOrder,
                AnomalyKind::UnsentRead,
            ]
        }
        AnomalyKind::RealTimeOrder => {
            vec![
                AnomalyKind::InconsistentOffsets,
                AnomalyKind::LostWrite,
                AnomalyKind::Duplicate,
            ]
        }
        _ => vec![],
    };
    for kind in PLANTED {
        for seed in 0..50 {
            let mut events = sound(seed);
            plant(*kind, &mut events);
            let verdict = verdict(events);
            let strange: Vec<_> = verdict
                .found
                .keys()
                .filter(|found| *found != kind && !also(*kind).contains(found))
                .collect();
            assert!(
                strange.is_empty(),
                "seed {seed}: {kind} was planted, and {strange:?} found\n{verdict}"
            );
        }
    }
}

proptest! {
    #[test]
    fn sound_histories_are_clean(seed: u64) {
        let verdict = verdict(sound(seed));
        prop_assert!(verdict.is_clean(), "{}", verdict);
        prop_assert!(verdict.unchecked.is_empty(), "{}", verdict);
        prop_assert!(verdict.counts.acked > 0 && verdict.counts.final_logs == 6, "{}", verdict);
    }
}

#[test]
fn weak_acknowledgements_promise_nothing() {
    let mut teller = Teller::new(3);
    teller.sends(Acks::Leader);
    let mut events = teller.end();
    for partition in 0..PARTITIONS {
        finals_of(&mut events, &key(partition)).for_each(|last| last.records.clear());
    }
    let verdict = verdict(events);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.counts.acked, 0);
}

#[test]
fn what_was_not_looked_at_is_said() {
    let mut events = sound(1);
    events.retain(|event| !matches!(event.op, Op::Final(_) | Op::Poll(_)));
    let verdict = verdict(events);
    assert!(verdict.is_clean());
    assert_eq!(verdict.unchecked.len(), 2, "{verdict}");
}

#[test]
fn a_final_log_is_told_in_pieces_in_any_order() {
    let whole = sound(7);
    let mut pieces = Vec::new();
    for event in &whole {
        let Op::Final(last) = &event.op else {
            pieces.push(event.clone());
            continue;
        };
        let (lower, upper) = last.records.split_at(last.records.len() / 2);
        for records in [upper, lower] {
            let op = Op::Final(Final {
                records: records.to_vec(),
                ..last.clone()
            });
            pieces.push(Event { op, ..event.clone() });
        }
    }
    let (whole, pieces) = (verdict(whole), verdict(pieces));
    assert!(pieces.is_clean(), "{pieces}");
    assert!(whole.counts.final_records > whole.counts.final_logs);
    assert_eq!(pieces.counts.final_records, whole.counts.final_records);
    assert_eq!(pieces.counts.final_logs, whole.counts.final_logs);
}

#[test]
fn a_person_can_read_it() {
    let lines = r#"{"format":"quipu-history","version":1}
        {"time":1000000,"process":0,"type":"invoke","f":"send","key":"orders/3","values":[[17,5],[18,6]],"acks":"all","producer":4}
        {"time":2000000,"process":0,"type":"ok","f":"send","key":"orders/3","values":[[17,5],[18,6]],"acks":"all","producer":4,"offset":42}
        {"time":3000000,"process":"nemesis","type":"info","f":"fault","what":"power cut of broker 1"}
        {"time":4000000,"process":"nemesis","type":"info","f":"final","replica":1,"key":"orders/3","log_start":0,"records":[[42,17,5]]}"#;
    let history = from_lines(lines.lines()).expect("a history");
    let report = check(&history).to_string();
    let expected = "\
4 events on 1 partitions: 1 ok, 0 fail, 0 info, 1 faults; 2 values sent, 2 acknowledged, 0 read; 1 final logs with 1 records
not exercised: unseen (no final polls); P6 (nobody asked for a high watermark); P8 (no producer tells its order); P10 (no leader epochs are told); P11 (no replicas' batches are told); P9 and the anomalies of transactions (no transactions); committed offsets (none); fencing of commits (no commit by a member that tells what it owns); ownership of partitions (no groups); metadata (no reads with a version); availability after healing (no healing)
1 x P5 lost-write
P5 lost-write: value 18 was acknowledged at orders/3 offset 43, and replica 1 holds nothing there
    #0      0.001000 s  process 0 invoke: send value 18 to orders/3
    #1      0.002000 s  process 0 ok: value 18 acknowledged at orders/3 offset 43
    #3      0.004000 s  the final log of replica 1 holds nothing there";
    assert_eq!(report, expected);
}

#[test]
fn a_person_can_read_which_commit_was_read_too_late() {
    let events = [
        r#""process":0,"type":"invoke","f":"commit","group":"g","key":"t/0","offset":5,"id":1"#,
        r#""process":0,"type":"ok","f":"commit","group":"g","key":"t/0","offset":5,"id":1"#,
        r#""process":0,"type":"invoke","f":"commit","group":"g","key":"t/0","offset":6,"id":2"#,
        r#""process":0,"type":"ok","f":"commit","group":"g","key":"t/0","offset":6,"id":2"#,
        r#""process":1,"type":"invoke","f":"committed","group":"g","key":"t/0""#,
        r#""process":1,"type":"ok","f":"committed","group":"g","key":"t/0","found":{"offset":5,"id":1}"#,
    ];
    let expected = "\
stale-commit: these commits and reads of one committed offset fit into no order
    #1      2.000000 s  process 0 ok: commit 1 of offset 5 of t/0 for g
    #3      4.000000 s  process 0 ok: commit 2 of offset 6 of t/0 for g
    #5      6.000000 s  process 1 ok: committed offset of t/0 for g read: 5, commit 1";
    assert_eq!(told(&events), expected);
}

#[test]
fn a_person_can_read_which_operations_go_in_a_circle() {
    let txn = |kind: &str, process: u64, steps: &str| {
        format!(r#""process":{process},"type":"{kind}","f":"txn","steps":[{steps}]"#)
    };
    let send = |key: &str, value: u64, offset: &str| {
        format!(r#"{{"send":{{"key":"{key}","values":[[{value},0]],"acks":"all"{offset}}}}}"#)
    };
    let poll = |partitions: &str| format!(r#"{{"poll":{{"partitions":[{partitions}]}}}}"#);
    let at = r#","offset":0"#;
    let events = [
        txn("invoke", 0, &[send("t/0", 1, ""), poll("")].join(",")),
        txn("invoke", 1, &[send("t/1", 2, ""), poll("")].join(",")),
        txn(
            "ok",
            0,
            &[
                send("t/0", 1, at),
                poll(r#"{"key":"t/1","from":0,"records":[[0,2,0]]}"#),
            ]
            .join(","),
        ),
        txn(
            "ok",
            1,
            &[
                send("t/1", 2, at),
                poll(r#"{"key":"t/0","from":0,"records":[[0,1,0]]}"#),
            ]
            .join(","),
        ),
    ];
    let expected = "\
G1c: 2 operations each come before the next, in a circle
    #2      3.000000 s  process 0 ok: txn sends 1 to t/0 reads 2 from t/1 in the circle
    #3      4.000000 s  process 1 ok: txn sends 2 to t/1 reads 1 from t/0 in the circle";
    assert_eq!(told(&events.each_ref().map(String::as_str)), expected);
}

#[test]
fn operations_are_counted_by_what_they_are_and_how_they_ended() {
    let events = sound(2);
    let lines: Vec<String> = events.iter().map(to_line).collect();
    let counts = verdict(events).counts;
    let all = |of: fn(&Outcomes) -> usize| counts.operations.values().map(of).sum::<usize>();
    assert_eq!(
        [counts.ok, counts.fail, counts.info],
        [all(|it| it.ok), all(|it| it.fail), all(|it| it.info)]
    );
    assert!(counts.ok * counts.fail * counts.info > 0, "{counts:?}");
    let counted = counts.operations;
    for (name, counted) in &counted {
        let told = |kind: &str| {
            let words = format!(r#""type":"{kind}","f":"{name}""#);
            lines.iter().filter(|line| line.contains(&words)).count()
        };
        let (ok, fail, info) = (told("ok"), told("fail"), told("info"));
        assert_eq!(*counted, Outcomes { ok, fail, info }, "{name}");
    }
    assert_eq!(counted.into_keys().collect::<Vec<_>>(), ["poll", "send", "trim"]);
}

/// The batches of a replica's final log.
fn batches(replica: u32, batches: &str) -> String {
    format!(
        r#""process":"nemesis","type":"info","f":"final","replica":{replica},"key":"t/0","log_start":0,"records":[],"batches":[{batches}]"#
    )
}

#[test]
fn a_person_can_read_which_batches_differ_or_stand_in_the_wrong_order() {
    let first = r#"{"base":0,"last":4,"leader_epoch":7,"crc":10}"#;
    let second = r#"{"base":5,"last":9,"leader_epoch":6,"crc":11}"#;
    let one = batches(1, &format!("{first},{second}"));
    let other = batches(2, r#"{"base":0,"last":4,"leader_epoch":7,"crc":12}"#);
    let expected = "\
P10 epoch-went-back: replica 1 of t/0 holds offsets 0 to 4 of leader epoch 7 with checksum 0000000a, and then offsets 5 to 9 of leader epoch 6 with checksum 0000000b
    #0      1.000000 s  the final log of replica 1 holds offsets 0 to 4 of leader epoch 7 with checksum 0000000a, and then offsets 5 to 9 of leader epoch 6 with checksum 0000000b
P11 diverged-replicas: t/0: replica 1 holds offsets 0 to 4 of leader epoch 7 with checksum 0000000a, replica 2 offsets 0 to 4 of leader epoch 7 with checksum 0000000c
    #0      1.000000 s  the final log of replica 1 of t/0 holds offsets 0 to 4 of leader epoch 7 with checksum 0000000a
    #1      2.000000 s  the final log of replica 2 of t/0 holds offsets 0 to 4 of leader epoch 7 with checksum 0000000c";
    assert_eq!(told(&[&one, &other]), expected);
}

#[test]
fn batches_are_told_in_pieces_in_any_order() {
    let lower = r#"{"base":0,"last":4,"leader_epoch":6,"crc":10}"#;
    let upper = r#"{"base":5,"last":9,"leader_epoch":7,"crc":11}"#;
    let whole = batches(1, &format!("{lower},{upper}"));
    assert_eq!(told(&[&whole, &batches(2, upper), &batches(2, lower)]), "");
}

#[test]
fn a_person_can_read_whose_failed_or_changed_values_were_read() {
    let events = [
        r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,5]],"acks":"all""#,
        r#""process":0,"type":"fail","f":"send","key":"t/0","values":[[1,5]],"acks":"all""#,
        r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[2,6]],"acks":"all""#,
        r#""process":0,"type":"ok","f":"send","key":"t/0","values":[[2,6]],"acks":"all","offset":1"#,
        r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
        r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,7]]}]"#,
    ];
    let expected = "\
P3 G1a: value 1 at t/0 offset 0 was read, though its sender was told that it had certainly failed
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #1      2.000000 s  process 0 fail: value 1 was not appended
    #5      6.000000 s  process 1 ok: value 1 read at t/0 offset 0
P3 corrupt-read: value 2 at t/0 offset 1 has other bytes than were sent
    #2      3.000000 s  process 0 invoke: send value 2 to t/0
    #5      6.000000 s  process 1 ok: value 2 read at t/0 offset 1";
    assert_eq!(told(&events), expected);
}

#[test]
fn a_high_watermark_is_above_all_that_was_sent_where_a_value_may_be_stored_twice_or_marks_are_left() {
    let latest = [
        r#""process":1,"type":"invoke","f":"latest","key":"t/0""#,
        r#""process":1,"type":"ok","f":"latest","key":"t/0","high_watermark":2"#,
    ];
    let send = |producer: &str| {
        let send = |kind: &str, offset: &str| {
            format!(
                r#""process":0,"type":"{kind}","f":"send","key":"t/0","values":[[1,5]],"acks":"all"{producer}{offset}"#
            )
        };
        [send("invoke", ""), send("ok", r#","offset":0"#)]
    };
    let txn = |kind: &str, offset: &str| {
        let send = format!(r#""key":"t/0","values":[[1,5]],"acks":"all","producer":4{offset}"#);
        format!(r#""process":0,"type":"{kind}","f":"txn","steps":[{{"send":{{{send}}}}}]"#)
    };
    let found = |sent: [String; 2]| told(&[&sent[0], &sent[1], latest[0], latest[1]]);
    assert_eq!(found(send("")), "");
    assert_eq!(found([txn("invoke", ""), txn("ok", r#","offset":0"#)]), "");
    let too_high = found(send(r#","producer":4"#));
    assert!(too_high.starts_with("P6 high-watermark-too-high: "), "{too_high}");
}

#[test]
fn of_one_producer_no_batch_begins_where_or_before_the_one_before_it_ends() {
    let story = |offsets: [u64; 2]| {
        let send = |number: usize, kind: &str, offset: &str| {
            let values = [r#"[[1,5],[2,5]]"#, r#"[[3,5],[4,5]]"#][number];
            format!(
                r#""process":{number},"type":"{kind}","f":"send","key":"t/0","values":{values},"producer":4,"sequence":{number}{offset}"#
            )
        };
        let at = offsets.map(|offset| format!(r#","offset":{offset}"#));
        told(&[
            &send(0, "invoke", ""),
            &send(1, "invoke", ""),
            &send(0, "ok", &at[0]),
            &send(1, "ok", &at[1]),
        ])
    };
    assert_eq!(story([0, 2]), "");
    for wrong in [[0, 1], [2, 0], [0, 0]] {
        let found = story(wrong);
        assert!(found.contains("P8 producer-order: "), "{wrong:?}: {found}");
    }
}
