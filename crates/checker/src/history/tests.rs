//! The rules of histories, and their lines.

use super::*;
use proptest::prelude::*;
use quipu_record::{BrokerId, LeaderEpoch, Offset};

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
        key: Key::new("orders/3"),
        values: vec![Value::from((value, 912))],
        acks: Acks::All,
        producer: Some(4),
        offset: offset.map(Offset::new),
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
fn the_lines_in_the_documentation_are_a_history() {
    let lines = [
        FORMAT_LINE,
        r#"{"time":1000,"process":0,"type":"invoke","f":"send","key":"orders/3","values":[[17,912]],"acks":"all","producer":4}"#,
        r#"{"time":2500,"process":0,"type":"ok","f":"send","key":"orders/3","values":[[17,912]],"acks":"all","producer":4,"offset":42}"#,
        "",
        r#"{"time":2600,"process":1,"type":"invoke","f":"poll","partitions":[{"key":"orders/3","from":40}]}"#,
        r#"{"time":3100,"process":1,"type":"ok","f":"poll","partitions":[{"key":"orders/3","from":40,"records":[[42,17,912]],"high_watermark":43}]}"#,
        r#"{"time":3200,"process":"nemesis","type":"info","f":"fault","what":"SIGKILL of broker 1"}"#,
    ];
    let history = from_lines(lines).expect("a history");
    assert_eq!(history.events().len(), 5);
    let again: Vec<String> = history.events().iter().map(to_line).collect();
    assert_eq!(
        again,
        [&lines[1..3], &lines[4..]].concat(),
        "and writes them the same"
    );
}

#[test]
fn a_bad_line_is_named() {
    assert!(matches!(from_lines(["{}"]), Err(LineError::Format)));
    let error = from_lines([FORMAT_LINE, "", r#"{"time":1}"#]).expect_err("no event");
    assert!(error.to_string().starts_with("line 3: "), "{error}");
    let bad_process = r#"{"time":1,"process":"me","type":"info","f":"fault","what":""}"#;
    assert!(from_line(bad_process).is_err());
}

fn ops() -> impl Strategy<Value = Op> {
    let key = "[a-z]{1,4}/[0-9]".prop_map(|name| Key::new(&name));
    let record = (0..1_u64 << 40, any::<Option<u64>>(), any::<u32>()).prop_map(ReadRecord::from);
    let offset = (0..1_u64 << 40).prop_map(Offset::new);
    let records = prop::collection::vec(record, 0..4);
    prop_oneof![
        (
            key.clone(),
            prop::collection::vec(any::<(u64, u32)>(), 0..3),
            prop::option::of(offset.clone()),
            any::<Option<u64>>()
        )
            .prop_map(|(key, values, offset, producer)| Op::Send(Send {
                key,
                values: values.into_iter().map(Value::from).collect(),
                acks: Acks::Leader,
                producer,
                offset
            })),
        (
            key.clone(),
            offset.clone(),
            records.clone(),
            prop::option::of(offset.clone())
        )
            .prop_map(|(key, from, records, high_watermark)| Op::Poll(Poll {
                partitions: vec![PolledPartition {
                    key,
                    from,
                    records,
                    high_watermark
                }]
            })),
        (key.clone(), offset.clone()).prop_map(|(key, before)| Op::Trim(Trim { key, before })),
        (
            key,
            offset,
            records,
            any::<u32>(),
            prop::option::of(0..1_u32 << 30)
        )
            .prop_map(|(key, log_start, records, replica, epoch)| Op::Final(Final {
                replica: BrokerId::new(replica),
                key,
                log_start,
                leader_epoch: epoch.map(LeaderEpoch::new),
                records
            })),
        any::<String>().prop_map(|what| Op::Fault { what }),
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
