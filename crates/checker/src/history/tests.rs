//! The rules of histories, and their lines.

use super::*;
use proptest::prelude::*;
use quipu_record::{BrokerId, LeaderEpoch, MetadataVersion, Offset};

fn event(time: u64, process: Process, kind: Kind, op: Op) -> Event {
    Event {
        time: Time(time),
        process,
        kind,
        op,
    }
}

fn send(value: u64, offset: Option<u64>) -> Op {
    Op::Send(Send {
        producer: Some(4),
        offset: offset.map(Offset::new),
        ..Send::new(Key::new("orders/3"), vec![Value::from((value, 912))])
    })
}

const P0: Process = Process::Client(0);

#[test]
fn operations_are_paired_by_process() {
    let mut history = History::default();
    history.push(event(1, P0, Kind::Invoke, send(1, None))).unwrap();
    history
        .push(event(2, Process::Client(1), Kind::Invoke, send(2, None)))
        .unwrap();
    history.push(event(3, P0, Kind::Ok, send(1, Some(9)))).unwrap();
    let [first, second] = history.operations() else {
        panic!()
    };
    assert_eq!(history.outcome(*first), Kind::Ok);
    assert_eq!(
        history.outcome(*second),
        Kind::Info,
        "still under way is nobody knows"
    );
    assert_eq!(
        history.sender(ValueId(2)).map(|op| op.invoke),
        Some(second.invoke)
    );
}

#[test]
fn an_event_is_found_by_the_id_that_it_got() {
    let mut history = History::default();
    for number in 1..4 {
        let process = Process::Client(number);
        let sent = event(number, process, Kind::Invoke, send(number, None));
        let id = history.push(sent).unwrap();
        assert_eq!(history.event(id).process, process);
        assert_eq!(history.operation_of(id).map(|of| of.invoke), Some(id));
    }
}

#[test]
fn what_breaks_a_rule_is_no_history() {
    let mut history = History::default();
    assert!(matches!(
        history.push(event(1, P0, Kind::Ok, send(1, None))),
        Err(HistoryError::NotInvoked { .. })
    ));
    history.push(event(5, P0, Kind::Invoke, send(1, None))).unwrap();
    assert!(matches!(
        history.push(event(4, P0, Kind::Ok, send(1, None))),
        Err(HistoryError::TimeWentBack { .. })
    ));
    assert!(matches!(
        history.push(event(6, P0, Kind::Invoke, send(2, None))),
        Err(HistoryError::AlreadyBusy { .. })
    ));
    assert!(matches!(
        history.push(event(6, P0, Kind::Ok, send(2, None))),
        Err(HistoryError::Mismatch { .. })
    ));
    assert!(matches!(
        history.push(event(6, Process::Client(1), Kind::Invoke, send(1, None))),
        Err(HistoryError::ValueReused { .. })
    ));
    history.push(event(6, P0, Kind::Info, send(1, None))).unwrap();
    assert!(matches!(
        history.push(event(7, P0, Kind::Invoke, send(3, None))),
        Err(HistoryError::Retired { .. })
    ));
    assert_eq!(history.events().len(), 2, "what was refused left no trace");
}

#[test]
fn of_a_send_that_is_refused_the_new_values_may_be_sent_and_the_old_ones_may_not() {
    let sends = |process: u64, values: &[u64]| {
        let values = values.iter().map(|value| Value::from((*value, 912)));
        let send = Send::new(Key::new("orders/3"), values.collect());
        event(1, Process::Client(process), Kind::Invoke, Op::Send(send))
    };
    for before in [&[1][..], &[1, 2], &[1, 2, 3, 4]] {
        let mut history = History::default();
        history.push(sends(0, before)).unwrap();
        for again in before {
            for refused in [&[11, 12, 13, *again][..], &[*again, 11], &[*again]] {
                let refused = history.push(sends(1, refused));
                assert!(matches!(refused, Err(HistoryError::ValueReused { .. })));
            }
        }
        history.push(sends(1, &[13, 11, 12])).unwrap();
        let sent_by = |value| history.sender(ValueId(value)).map(|op| op.invoke);
        assert_eq!(sent_by(1), Some(EventId(0)));
        assert_eq!([11, 12, 13].map(sent_by), [Some(EventId(1)); 3]);
    }
}

#[test]
fn an_operation_is_completed_by_the_same_one() {
    // What each asks for, and others of the same kind.
    let asked = [
        [
            r#""f":"send","key":"t/0","values":[[1,0]],"acks":"all""#,
            r#""f":"send","key":"t/1","values":[[1,0]],"acks":"all""#,
            r#""f":"send","key":"t/0","values":[[2,0]],"acks":"all""#,
        ],
        [
            r#""f":"commit","group":"g","key":"t/0","offset":1,"id":1"#,
            r#""f":"commit","group":"g","key":"t/1","offset":1,"id":1"#,
            r#""f":"commit","group":"g","key":"t/0","offset":1,"id":2"#,
        ],
        [
            r#""f":"committed","group":"g","key":"t/0""#,
            r#""f":"committed","group":"h","key":"t/0""#,
            r#""f":"committed","group":"g","key":"t/1""#,
        ],
        [
            r#""f":"metadata-write","topic":"t","partitions":1"#,
            r#""f":"metadata-write","topic":"u","partitions":1"#,
            r#""f":"metadata-write","topic":"t""#,
        ],
        [
            r#""f":"metadata-read","linearizable":true"#,
            r#""f":"metadata-read""#,
            r#""f":"latest","key":"t/0""#,
        ],
        [
            r#""f":"latest","key":"t/0""#,
            r#""f":"latest","key":"t/1""#,
            r#""f":"crash""#,
        ],
        [
            r#""f":"trim","key":"t/0","before":1"#,
            r#""f":"trim","key":"t/1","before":1"#,
            r#""f":"trim","key":"t/0","before":2"#,
        ],
        [
            r#""f":"assign","keys":["t/0"]"#,
            r#""f":"assign","keys":["t/0","t/1"]"#,
            r#""f":"assign","keys":["t/0"],"from_beginning":true"#,
        ],
        [
            r#""f":"subscribe","group":"g","topics":["t"]"#,
            r#""f":"subscribe","group":"h","topics":["t"]"#,
            r#""f":"subscribe","group":"g","topics":["u"]"#,
        ],
    ];
    asked.into_iter().for_each(completed_by_the_first_alone);
}

#[test]
fn a_poll_and_a_transaction_are_completed_by_the_same_one() {
    let asked = [
        [
            r#""f":"poll","partitions":[{"key":"t/0","from":1}]"#,
            r#""f":"poll","partitions":[{"key":"t/1","from":1}]"#,
            r#""f":"poll","partitions":[{"key":"t/0","from":2}]"#,
        ],
        [
            r#""f":"poll","partitions":[{"key":"t/0","from":1}]"#,
            r#""f":"poll","partitions":[]"#,
            r#""f":"poll","partitions":[{"key":"t/0","from":1},{"key":"t/1","from":1}]"#,
        ],
        [
            r#""f":"txn","steps":[{"send":{"key":"t/0","values":[[1,0]],"acks":"all"}}]"#,
            r#""f":"txn","steps":[{"send":{"key":"t/1","values":[[1,0]],"acks":"all"}}]"#,
            r#""f":"txn","steps":[{"send":{"key":"t/0","values":[[2,0]],"acks":"all"}}]"#,
        ],
        [
            r#""f":"txn","steps":[{"poll":{"partitions":[{"key":"t/0","from":1}]}}]"#,
            r#""f":"txn","steps":[{"poll":{"partitions":[{"key":"t/0","from":2}]}}]"#,
            r#""f":"txn","steps":[]"#,
        ],
    ];
    asked.into_iter().for_each(completed_by_the_first_alone);
    // Who asks for whatever it was given learns only from the answer what that is.
    let mut history = History::default();
    let given = r#""f":"poll","partitions":[{"key":"t/0","from":1}]"#;
    history
        .push(told("invoke", r#""f":"poll","partitions":[]"#))
        .unwrap();
    history.push(told("ok", given)).unwrap();
}

fn told(kind: &str, op: &str) -> Event {
    let line = format!(r#"{{"time":1,"process":0,"type":"{kind}",{op}}}"#);
    from_line(&line).expect("an event")
}

fn completed_by_the_first_alone([asked, others @ ..]: [&str; 3]) {
    let mut history = History::default();
    history.push(told("invoke", asked)).unwrap();
    for other in others {
        let refused = history.push(told("ok", other));
        assert!(matches!(refused, Err(HistoryError::Mismatch { .. })), "{other}");
    }
    history.push(told("ok", asked)).unwrap();
}

#[test]
fn the_lines_in_the_documentation_are_a_history() {
    let lines = [
        FORMAT_LINE,
        r#"{"time":1000,"process":0,"type":"invoke","f":"send","key":"orders/3","values":[[17,912]],"acks":"all","producer":4}"#,
        r#"{"time":2500,"process":0,"type":"ok","f":"send","key":"orders/3","values":[[17,912]],"acks":"all","producer":4,"offset":42}"#,
        "",
        r#"{"time":2600,"process":1,"type":"invoke","f":"poll","partitions":[{"key":"orders/3","from":40}]}"#,
        r#"{"time":3100,"process":1,"type":"ok","f":"poll","partitions":[{"key":"orders/3","from":40,"records":[[42,17,912]],"high_watermark":43}]}"#,
        r#"{"time":3200,"process":"nemesis","type":"info","f":"fault","what":"SIGKILL of broker 1","kind":"kill","phase":"begin"}"#,
        r#"{"time":3300,"process":2,"type":"invoke","f":"assign","keys":["orders/3"],"from_beginning":true}"#,
        r#"{"time":3400,"process":2,"type":"ok","f":"assign","keys":["orders/3"],"from_beginning":true}"#,
        r#"{"time":3500,"process":3,"type":"info","f":"owned","group":"g","member":"m1","key":"orders/3","assignment_epoch":2,"member_epoch":3}"#,
        r#"{"time":3600,"process":3,"type":"invoke","f":"commit","group":"g","key":"orders/3","offset":43,"id":7,"by":{"member":"m1","member_epoch":3}}"#,
        r#"{"time":3700,"process":3,"type":"ok","f":"commit","group":"g","key":"orders/3","offset":43,"id":7,"by":{"member":"m1","member_epoch":3}}"#,
        r#"{"time":3800,"process":2,"type":"invoke","f":"latest","key":"orders/3"}"#,
        r#"{"time":3900,"process":2,"type":"ok","f":"latest","key":"orders/3","high_watermark":43}"#,
        r#"{"time":4000,"process":4,"type":"invoke","f":"metadata-write","topic":"orders","partitions":4}"#,
        r#"{"time":4100,"process":4,"type":"ok","f":"metadata-write","topic":"orders","partitions":4,"version":17}"#,
        r#"{"time":4200,"process":"nemesis","type":"info","f":"healed","what":"all brokers are up"}"#,
        r#"{"time":4300,"process":"nemesis","type":"info","f":"final-polls"}"#,
        r#"{"time":4400,"process":"nemesis","type":"info","f":"final","replica":1,"key":"orders/3","log_start":0,"high_watermark":43,"records":[[42,17,912]],"batches":[{"base":42,"last":42,"leader_epoch":5,"crc":77}]}"#,
    ];
    let history = from_lines(lines).expect("a history");
    assert_eq!(history.events().len(), 17);
    let again: Vec<String> = history.events().iter().map(to_line).collect();
    assert_eq!(
        again,
        [&lines[1..3], &lines[4..]].concat(),
        "and writes them the same"
    );
}

#[test]
fn jepsens_checker_gets_its_lines() {
    let lines = r#"{"format":"quipu-history","version":1}
        {"time":1,"process":0,"type":"invoke","f":"send","key":"orders/3","values":[[17,912],[18,0]],"acks":"all"}
        {"time":2,"process":0,"type":"ok","f":"send","key":"orders/3","values":[[17,912],[18,0]],"acks":"all","offset":42}
        {"time":3,"process":1,"type":"invoke","f":"assign","keys":["orders/3","orders/4"]}
        {"time":4,"process":1,"type":"ok","f":"assign","keys":["orders/3","orders/4"]}
        {"time":5,"process":1,"type":"invoke","f":"poll","partitions":[]}
        {"time":6,"process":1,"type":"ok","f":"poll","partitions":[{"key":"orders/3","from":40,"records":[[42,17,912],[43,18,0]]}]}
        {"time":7,"process":2,"type":"invoke","f":"poll","partitions":[{"key":"orders/3","from":43}]}
        {"time":8,"process":2,"type":"info","f":"poll","partitions":[{"key":"orders/3","from":43}]}
        {"time":9,"process":3,"type":"invoke","f":"latest","key":"orders/3"}
        {"time":9,"process":"nemesis","type":"info","f":"fault","what":"broker 1","kind":"kill","phase":"begin"}
        {"time":9,"process":4,"type":"invoke","f":"txn","steps":[{"send":{"key":"orders/3","values":[[19,0]]}},{"poll":{"partitions":[]}}]}
        {"time":9,"process":4,"type":"ok","f":"txn","steps":[{"send":{"key":"orders/3","values":[[19,0]],"offset":44}},{"poll":{"partitions":[{"key":"orders/4","from":7,"records":[[7,null,912]]},{"key":"orders/5","from":7},{"key":"orders/3","from":42,"records":[[42,17,912]]}]}}]}
        {"time":9,"process":"nemesis","type":"info","f":"fault","what":"broker 1"}"#;
    let history = from_lines(lines.lines()).expect("a history");
    let expected = "\
{:index 0, :time 1, :process 0, :type :invoke, :f :send, :value [[:send 0 17] [:send 0 18]]}
{:index 1, :time 2, :process 0, :type :ok, :f :send, :value [[:send 0 [42 17]] [:send 0 [43 18]]]}
{:index 2, :time 3, :process 1, :type :invoke, :f :assign, :value [0 1]}
{:index 3, :time 4, :process 1, :type :ok, :f :assign, :value [0 1]}
{:index 4, :time 5, :process 1, :type :invoke, :f :poll, :value [[:poll]]}
{:index 5, :time 6, :process 1, :type :ok, :f :poll, :value [[:poll {0 [[42 17] [43 18]]}]]}
{:index 6, :time 7, :process 2, :type :invoke, :f :assign, :value [0], :seek-to-beginning? true}
{:index 7, :time 7, :process 2, :type :ok, :f :assign, :value [0], :seek-to-beginning? true}
{:index 8, :time 7, :process 2, :type :invoke, :f :poll, :value [[:poll]]}
{:index 9, :time 8, :process 2, :type :info, :f :poll, :value [[:poll {}]]}
{:index 10, :time 9, :process :nemesis, :type :info, :f :kill, :value \"broker 1\"}
{:index 11, :time 9, :process 4, :type :invoke, :f :txn, :value [[:send 0 19] [:poll]]}
{:index 12, :time 9, :process 4, :type :ok, :f :txn, :value [[:send 0 [44 19]] [:poll {1 [[7 nil]], 0 [[42 17]]}]]}
{:index 13, :time 9, :process :nemesis, :type :info, :f :fault, :value \"broker 1\"}";
    assert_eq!(to_edn(&history).collect::<Vec<_>>().join("\n"), expected);
}

#[test]
fn a_bad_line_is_named() {
    for first in [
        "{}",
        r#"{"format":"quipu-history","version":2}"#,
        r#"{"format":"another","version":1}"#,
        r#"{"format":"quipu-history","version":1,"more":0}"#,
    ] {
        assert!(matches!(from_lines([first]), Err(LineError::Format)), "{first}");
    }
    assert!(matches!(from_lines([]), Err(LineError::Format)));
    let error = from_lines([FORMAT_LINE, "", r#"{"time":1}"#]).expect_err("no event");
    assert!(error.to_string().starts_with("line 3: "), "{error}");
    let bad_process = r#"{"time":1,"process":"me","type":"info","f":"fault","what":""}"#;
    assert!(from_line(bad_process).is_err());
}

fn keys() -> impl Strategy<Value = Key> {
    "[a-z]{1,4}/[0-9]".prop_map(|name| Key::new(&name))
}

fn offsets() -> impl Strategy<Value = Offset> {
    (0..1_u64 << 40).prop_map(Offset::new)
}

fn records() -> impl Strategy<Value = Vec<ReadRecord>> {
    let record = (0..1_u64 << 40, any::<Option<u64>>(), any::<u32>()).prop_map(ReadRecord::from);
    prop::collection::vec(record, 0..4)
}

fn sends() -> impl Strategy<Value = Send> {
    let values = prop::collection::vec(any::<(u64, u32)>(), 0..3);
    let numbers = any::<(Option<u64>, Option<u64>)>();
    let epoch = prop::option::of((0..1_u32 << 30).prop_map(LeaderEpoch::new));
    (keys(), values, numbers, prop::option::of(offsets()), epoch).prop_map(
        |(key, values, (producer, sequence), offset, leader_epoch)| Send {
            acks: Acks::Leader,
            producer,
            sequence,
            offset,
            leader_epoch,
            ..Send::new(key, values.into_iter().map(Value::from).collect())
        },
    )
}

fn polls() -> impl Strategy<Value = Poll> {
    let watermarks = (prop::option::of(offsets()), prop::option::of(offsets()));
    (keys(), offsets(), records(), watermarks, any::<bool>()).prop_map(
        |(key, from, records, (high_watermark, last_stable), compacted)| Poll {
            rebalanced: if compacted { vec![key.clone()] } else { Vec::new() },
            partitions: vec![PolledPartition {
                records,
                high_watermark,
                last_stable,
                compacted,
                control: if compacted { vec![3, 4] } else { Vec::new() },
                ..PolledPartition::asked(key, from)
            }],
        },
    )
}

fn finals() -> impl Strategy<Value = Final> {
    let epoch = prop::option::of((0..1_u32 << 30).prop_map(LeaderEpoch::new));
    let batch = (offsets(), 0..9_u64, any::<u32>()).prop_map(|(base, more, crc)| FinalBatch {
        base,
        last: base.plus(more),
        leader_epoch: LeaderEpoch::new(3),
        crc,
    });
    let batches = prop::collection::vec(batch, 0..3);
    let latest = prop::option::of(prop::collection::btree_map("[a-z]{1,3}", any::<u32>(), 0..3));
    (
        keys(),
        offsets(),
        records(),
        any::<u32>(),
        (epoch, batches, latest),
    )
        .prop_map(
            |(key, log_start, records, replica, (leader_epoch, batches, latest))| Final {
                leader_epoch,
                high_watermark: leader_epoch.map(|_| log_start),
                batches,
                latest,
                ..Final::new(BrokerId::new(replica), key, log_start, records)
            },
        )
}

fn ops_of_groups() -> impl Strategy<Value = Op> {
    let (group, member) = (Group::new("g"), Member::new("m1"));
    (keys(), offsets(), any::<(u64, u32)>(), any::<bool>()).prop_flat_map(
        move |(key, offset, (id, epoch), flag)| {
            let (group, member, member_epoch) = (group.clone(), member.clone(), MemberEpoch(epoch));
            let group_epoch = flag.then_some(GroupEpoch(epoch));
            let by = flag.then(|| Committer {
                member: member.clone(),
                member_epoch,
            });
            let commit = Commit {
                group: group.clone(),
                key: key.clone(),
                offset,
                id: CommitId(id),
                by,
                fenced: flag,
            };
            let found = FoundCommit {
                offset,
                id: flag.then_some(CommitId(id)),
            };
            let owned = Owned {
                group: group.clone(),
                member: member.clone(),
                key: key.clone(),
                assignment_epoch: member_epoch,
                member_epoch,
                group_epoch,
            };
            prop::sample::select(vec![
                Op::Assign(Assign {
                    keys: vec![key.clone()],
                    from_beginning: flag,
                }),
                Op::Subscribe(Subscribe {
                    group: group.clone(),
                    topics: vec![Topic::new("t")],
                }),
                Op::Crash,
                Op::Latest(Latest {
                    key: key.clone(),
                    high_watermark: flag.then_some(offset),
                }),
                Op::Commit(commit),
                Op::Committed(Committed {
                    group: group.clone(),
                    key: key.clone(),
                    found: Some(found),
                }),
                Op::Committed(Committed {
                    group: group.clone(),
                    key: key.clone(),
                    found: None,
                }),
                Op::Owned(owned),
                Op::Released(Released {
                    group: group.clone(),
                    member: member.clone(),
                    key,
                    lost: flag,
                }),
                Op::Advanced(Advanced {
                    group,
                    member,
                    member_epoch,
                    group_epoch,
                }),
            ])
        },
    )
}

fn ops_of_the_world() -> impl Strategy<Value = Op> {
    (any::<String>(), any::<Option<u32>>(), any::<bool>()).prop_flat_map(|(what, partitions, flag)| {
        let version = flag.then(|| MetadataVersion::new(17));
        let topic = Topic::new("t");
        let topics = partitions
            .map(|count| (topic.clone(), count))
            .into_iter()
            .collect();
        prop::sample::select(vec![
            Op::MetadataWrite(MetadataWrite {
                topic,
                partitions,
                version,
            }),
            Op::MetadataRead(MetadataRead {
                linearizable: flag,
                version,
                topics,
            }),
            Op::Fault(Fault::told(what.clone())),
            Op::Fault(Fault::of("kill", Phase::End, what.clone())),
            Op::Healed { what },
            Op::FinalPolls,
        ])
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let steps = (sends(), polls()).prop_map(|(send, poll)| vec![Step::Send(send), Step::Poll(poll)]);
    prop_oneof![
        sends().prop_map(Op::Send),
        polls().prop_map(Op::Poll),
        steps.prop_map(|steps| Op::Txn(Txn { steps })),
        (keys(), offsets()).prop_map(|(key, before)| Op::Trim(Trim { key, before })),
        finals().prop_map(Op::Final),
        ops_of_groups(),
        ops_of_the_world(),
    ]
}

proptest! {
    #[test]
    fn every_event_survives_its_line(op in ops(), time in any::<u64>(), process in any::<u64>(), nemesis: bool) {
        let process = if nemesis { Process::Nemesis } else { Process::Client(process) };
        let event = event(time, process, Kind::Info, op);
        prop_assert_eq!(from_line(&to_line(&event)).expect("its own line"), event);
    }
}
