use super::*;
use quipu_checker::{
    Event, Fault, Key, Kind, Op, Phase, Poll, PolledPartition, Process, ReadRecord, Send, Time, Value,
    ValueId, check,
};
use quipu_record::Offset;

const MILLI: u64 = 1_000_000;
const READER: u64 = 1_000_000;

/// What happened, in any order.
#[derive(Clone, Default)]
struct Story {
    events: Vec<Event>,
    values: u64,
}

impl Story {
    fn push(&mut self, at: u64, process: Process, kind: Kind, op: Op) {
        self.events.push(Event {
            time: Time(at * MILLI),
            process,
            kind,
            op,
        });
    }

    fn history(&self) -> History {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.time);
        let mut history = History::default();
        for event in events {
            history.push(event).unwrap();
        }
        history
    }

    fn report(&self, about: About) -> Report {
        let history = self.history();
        Report::new(about, &history, &check(&history))
    }

    /// A write sent at `at` that ended so after `took`, both in milliseconds.
    fn write(&mut self, at: u64, took: u64, kind: Kind) {
        let value = self.values;
        self.values += 1;
        let id = ValueId(value);
        let mut send = Send {
            producer: Some(1),
            ..Send::new(Key::new("orders/0"), vec![Value { id, hash: 7 }])
        };
        let process = Process::Client(value);
        self.push(at, process, Kind::Invoke, Op::Send(send.clone()));
        if kind == Kind::Ok {
            send.offset = Some(Offset::new(value));
        }
        self.push(at + took, process, kind, Op::Send(send));
    }

    fn read(&mut self, at: u64, records: &[(u64, u64)]) {
        let asked = PolledPartition::asked(Key::new("orders/0"), Offset::ZERO);
        let records = records.iter().map(|(offset, value)| ReadRecord {
            offset: Offset::new(*offset),
            value: Some(ValueId(*value)),
            hash: 7,
        });
        let got = PolledPartition {
            records: records.collect(),
            ..asked.clone()
        };
        let process = Process::Client(READER);
        self.push(at, process, Kind::Invoke, Op::Poll(Poll::of(vec![asked])));
        self.push(at + 1, process, Kind::Ok, Op::Poll(Poll::of(vec![got])));
    }

    fn fault(&mut self, kind: &str, begin: u64, end: u64) {
        for (at, phase) in [(begin, Phase::Begin), (end, Phase::End)] {
            let what = "broker 1 <leader of 0 & 3>".to_owned();
            let op = Op::Fault(Fault::of(kind, phase, what));
            self.push(at, Process::Nemesis, Kind::Info, op);
        }
    }
}

fn about() -> About {
    About {
        title: "quipu check, local cluster".to_owned(),
        command: "quipu check --local --seed 7".to_owned(),
        seed: Some(7),
        version: "0.1.0".to_owned(),
        commit: Some("0123abcd".to_owned()),
        nodes: 3,
        not_exercised: vec!["power cuts".to_owned()],
        ..About::default()
    }
}

/// Twenty writes, then a kill with one write that fails, one that waits and one unknown; then ten more and a read.
fn small() -> Story {
    let mut story = Story::default();
    for number in 0..20 {
        story.write(number * 10, 2 + number % 3, Kind::Ok);
    }
    story.fault("kill", 205, 430);
    story.write(210, 5, Kind::Fail);
    story.write(220, 280, Kind::Ok);
    story.write(510, 30, Kind::Info);
    for number in 0..10 {
        story.write(550 + number * 10, 3, Kind::Ok);
    }
    story.read(7000, &[(0, 0), (1, 1), (2, 2)]);
    story
}

#[test]
fn the_markdown_of_a_small_run_is_as_it_was() {
    let report = small().report(about());
    let told = report.markdown();
    // What a history has nothing of is the checker's to say.
    let (told, rest) = told.split_once("## What was not exercised").unwrap();
    assert_eq!(told, include_str!("golden/small.md"), "\n{told}");
    assert!(rest.starts_with("\n\n- power cuts\n- "), "{rest}");
}

#[test]
fn a_clean_run_says_what_it_did_on_a_few_lines() {
    let report = small().report(about());
    assert!(report.is_clean(), "{report:?}");
    let told = report.summary();
    assert!(told.starts_with("Clean: "), "{told}");
    for said in [
        "32 ok, 1 failed, 1 unknown",
        "1: 1 kill",
        "70.0 ms (worst), limit 5.00 s",
    ] {
        assert!(told.contains(said), "{said}:\n{told}");
    }
}

#[test]
fn what_was_found_is_told_with_its_piece_of_history() {
    let mut story = small();
    story.read(7010, &[(0, 0), (1, 5)]);
    let report = story.report(about());
    assert_eq!(report.outcome(), Outcome::Found);
    for told in [report.summary(), report.markdown()] {
        for said in [
            "P1 inconsistent-offsets",
            "acknowledged at orders/0 offset 1",
            "#3 ",
        ] {
            assert!(told.contains(said), "{said}:\n{told}");
        }
    }
}

#[test]
fn an_empty_run_is_vacuous_and_says_why() {
    let mut empty = Story::default();
    empty.fault("kill", 1, 2);
    let mut asked = about();
    asked.kinds_requested = vec!["kill".to_owned(), "pause".to_owned()];
    asked.floors.faults = Some(2);
    let report = empty.report(asked);
    assert_eq!(report.outcome(), Outcome::Vacuous);
    let told = report.summary();
    for said in [
        "no record was acknowledged",
        "no record was read",
        "1 faults injected, fewer than 2",
        "no fault of kind pause was injected",
    ] {
        assert!(told.contains(said), "{said}:\n{told}");
    }
}

#[test]
fn a_run_that_mostly_fails_is_vacuous() {
    let mut story = small();
    for number in 0..40 {
        story.write(8000 + number * 10, 3, Kind::Fail);
    }
    assert_eq!(story.report(about()).outcome(), Outcome::Vacuous);
}

/// An end is that of the fault with its words, or of its kind; what is told to be healed counts, where it is told.
#[test]
fn healings_are_those_told_else_the_ends_of_faults() {
    let mut story = small();
    story.fault("pause", 560, 575);
    let healing = story.report(about()).healing;
    assert_eq!((healing.healings, healing.worst_ms), (2, Some(70.0)));
    assert_eq!(healing.median_ms, Some(8.0));
    let what = "all".to_owned();
    story.push(581, Process::Nemesis, Kind::Info, Op::Healed { what });
    let healing = story.report(about()).healing;
    assert_eq!((healing.healings, healing.worst_ms), (1, Some(2.0)));
}

#[test]
fn the_picture_is_well_formed_and_holds_what_happened() {
    let report = small().report(about());
    let svg = report.latency_svg();
    well_formed(&svg);
    assert!(svg.contains("&lt;leader of 0 &amp; 3&gt;"), "{svg}");
    for said in [">kill</text>", ">10 ms</text>", ">1 s</text>", "acknowledged"] {
        assert!(svg.contains(said), "{said}:\n{svg}");
    }
    well_formed(&Story::default().report(about()).latency_svg());
}

#[test]
fn a_directory_holds_all_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let story = small();
    let (report, history) = (story.report(about()), story.history());
    let out = directory.path().join("a/new/one");
    report.write(&out, &history).unwrap();
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("report.md"), report.markdown());
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(json["outcome"], "clean");
    assert_eq!(json["operations"]["ok"], 32);
    assert_eq!(json["faults"][0]["next_ack_ms"], 70.0);
    well_formed(&read("latency.svg"));
    let again = quipu_checker::from_lines(read("history.jsonl").lines()).unwrap();
    assert_eq!(again.events(), history.events());
    let edn: Vec<String> = quipu_checker::to_edn(&history).collect();
    assert_eq!(read("history.edn").lines().collect::<Vec<_>>(), edn);
    let blocked = report.write(&out.join("report.md"), &history).unwrap_err();
    assert!(blocked.to_string().contains("report.md"), "{blocked}");
}

/// Every element is closed by its own end, and no text or attribute holds what XML does not allow.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('>'), "a stray > in {text:?}");
        for entity in text.split('&').skip(1) {
            assert!(entity.split_once(';').is_some(), "a stray & in {text:?}");
        }
        let (tag, after) = after.split_once('>').expect("an element ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag:?}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
        rest = after;
    }
    assert!(open.is_empty(), "{open:?} are open at the end");
    assert!(svg.starts_with("<svg "), "{svg}");
}
