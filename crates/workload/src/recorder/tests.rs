//! What is recorded is a history, in the order of its times, and is counted as it comes.

use super::*;
use crate::live::What;
use crate::value::{value_bytes, value_of};
use quipu_checker::{Assign, Send, from_lines};
use quipu_client::Offset;
use std::time::Duration;

fn key() -> Key {
    Key::new("t/0")
}

fn send(recorder: &Recorder, count: u64) -> Send {
    let values = recorder
        .new_values(count)
        .map(|id| value_of(id, &value_bytes(id, 20)));
    Send::new(key(), values.collect())
}

#[test]
fn an_operation_is_counted_by_how_it_ends() {
    let recorder = Recorder::new();
    let mut actor = recorder.actor();
    let before = recorder.now();
    let mut op = send(&recorder, 3);
    actor.invoke(Op::Send(op.clone())).expect("a history");
    assert_eq!(recorder.first_ack_after(&key(), before), None);
    op.offset = Some(Offset::ZERO);
    let acked = actor.ok(Op::Send(op)).expect("a history");
    assert_eq!(recorder.acked(), 3);
    assert_eq!(recorder.first_ack_after(&key(), before), Some(acked));
    assert_eq!(recorder.first_ack_after(&key(), acked), None);
    assert_eq!(recorder.last_ack(&key()), Some(acked));
    assert_eq!(recorder.first_ack_of_all_after(&[key()], before), Some(acked));
    let other = Key::new("t/1");
    assert_eq!(recorder.first_ack_of_all_after(&[key(), other], before), None);

    let op = send(&recorder, 1);
    actor.invoke(Op::Send(op.clone())).expect("a history");
    actor.fail(Op::Send(op)).expect("a history");
    let op = send(&recorder, 1);
    actor.invoke(Op::Send(op.clone())).expect("a history");
    actor.info(Op::Send(op)).expect("a history");
    recorder.fault("a kill").expect("a history");
    let live = recorder.live();
    assert_eq!((live.invoked, live.ok, live.fail, live.info), (3, 1, 1, 1));
    assert_eq!((live.acked, live.events, live.last_ack), (3, 7, Some(acked)));
    let samples = recorder.samples();
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().all(|sample| sample.what == What::Send));
    assert!(samples.iter().all(|sample| sample.took < Duration::from_secs(60)));
}

#[test]
fn a_process_ends_with_an_info_and_its_client_goes_on_as_another() {
    let recorder = Recorder::new();
    let mut actor = recorder.actor();
    let first = actor.process();
    let op = send(&recorder, 1);
    actor.invoke(Op::Send(op.clone())).expect("a history");
    actor.info(Op::Send(op)).expect("a history");
    assert_ne!(actor.process(), first);
    // An operation that is left in the middle stays open.
    let op = send(&recorder, 1);
    actor.invoke(Op::Send(op)).expect("a history");
    actor.renew();
    let op = send(&recorder, 1);
    actor.invoke(Op::Send(op.clone())).expect("a history");
    actor.ok(Op::Send(op)).expect("a history");
    let outcomes = recorder.with_history(|history| {
        let outcomes = history.operations().iter().map(|one| history.outcome(*one));
        outcomes.collect::<Vec<_>>()
    });
    assert_eq!(outcomes, [Kind::Info, Kind::Info, Kind::Ok]);
}

#[test]
fn what_is_no_history_is_refused() {
    let recorder = Recorder::new();
    let mut actor = recorder.actor();
    let op = send(&recorder, 1);
    assert!(actor.ok(Op::Send(op.clone())).is_err());
    actor.invoke(Op::Send(op.clone())).expect("a history");
    assert!(actor.invoke(Op::Send(op.clone())).is_err());
    assert!(
        recorder.actor().invoke(Op::Send(op)).is_err(),
        "a value sent twice"
    );
}

#[test]
fn many_at_once_make_one_history_in_the_order_of_time() {
    const EACH: u64 = 500;
    let recorder = Recorder::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut actor = recorder.actor();
                for _ in 0..EACH {
                    let op = send(&recorder, 2);
                    actor.invoke(Op::Send(op.clone())).expect("a history");
                    actor.ok(Op::Send(op)).expect("a history");
                }
            });
        }
    });
    assert_eq!(recorder.acked(), 4 * EACH * 2);
    let history = recorder.into_history().expect("nobody else has it");
    assert!(history.events().is_sorted_by_key(|event| event.time));
    assert_eq!(history.operations().len() as u64, 4 * EACH);
}

#[test]
fn a_history_is_written_as_it_grows() {
    let recorder = Recorder::new();
    let mut actor = recorder.actor();
    let (mut text, mut at) = (format!("{}\n", quipu_checker::FORMAT_LINE).into_bytes(), 0);
    for _ in 0..3 {
        for _ in 0..WRITTEN_AT_A_TIME {
            let op = Op::Assign(Assign {
                keys: vec![key()],
                from_beginning: true,
            });
            actor.invoke(op.clone()).expect("a history");
            actor.ok(op).expect("a history");
        }
        write_lines(&recorder, &mut at, &mut text).expect("it is memory");
    }
    let text = String::from_utf8(text).expect("text");
    let read = from_lines(text.lines()).expect("a history");
    assert_eq!(read.events().len(), 6 * WRITTEN_AT_A_TIME);
    let same = recorder.with_history(|history| history.events() == read.events());
    assert!(same);
}
