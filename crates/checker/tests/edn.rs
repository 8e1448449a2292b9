//! The history as Jepsen's checker reads it says what the history says: read back by a small reader of EDN.

mod told;

use quipu_checker::{
    Assign, Event, Fault, Group, History, Key, Kind, Op, Phase, Process, Subscribe, Time, Topic, to_edn,
};
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Edn {
    Nil,
    True,
    Number(u64),
    Keyword(String),
    Text(String),
    Vector(Vec<Edn>),
    Map(BTreeMap<Edn, Edn>),
}

impl Edn {
    fn numbers(&self) -> Vec<u64> {
        let Self::Vector(all) = self else {
            panic!("a vector: {self:?}")
        };
        all.iter().filter_map(Self::number).collect()
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn vector(&self) -> &[Self] {
        let Self::Vector(all) = self else {
            panic!("a vector: {self:?}")
        };
        all
    }

    fn get(&self, name: &str) -> &Self {
        let Self::Map(map) = self else {
            panic!("a map: {self:?}")
        };
        &map[&Self::Keyword(name.to_owned())]
    }
}

/// Reads one form, and gives what follows it.
fn form(text: &str) -> (Edn, &str) {
    let text = text.trim_start_matches([' ', ',']);
    let first = text.chars().next().expect("a form");
    match first {
        '[' => {
            let (forms, rest) = forms(&text[1..], ']');
            (Edn::Vector(forms), rest)
        }
        '{' => {
            let (forms, rest) = forms(&text[1..], '}');
            let pairs = forms.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            (Edn::Map(pairs.collect()), rest)
        }
        '"' => string(&text[1..]),
        _ => {
            let end = text.find([' ', ',', ']', '}']).unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            let form = match word {
                "nil" => Edn::Nil,
                "true" => Edn::True,
                _ => match word.strip_prefix(':') {
                    Some(name) => Edn::Keyword(name.to_owned()),
                    None => Edn::Number(word.parse().expect("a number")),
                },
            };
            (form, rest)
        }
    }
}

fn forms(text: &str, end: char) -> (Vec<Edn>, &str) {
    let (mut all, mut text) = (Vec::new(), text.trim_start_matches([' ', ',']));
    while !text.starts_with(end) {
        let (one, rest) = form(text);
        all.push(one);
        text = rest.trim_start_matches([' ', ',']);
    }
    (all, &text[1..])
}

fn string(text: &str) -> (Edn, &str) {
    let (mut read, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (Edn::Text(read), &text[at + 1..]),
            '\\' => match chars.next().expect("what is escaped").1 {
                'n' => read.push('\n'),
                't' => read.push('\t'),
                'r' => read.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, digit)| digit).collect();
                    let number = u32::from_str_radix(&digits, 16).expect("four digits");
                    read.push(char::from_u32(number).expect("a character"));
                }
                same @ ('"' | '\\') => read.push(same),
                other => panic!("EDN knows no \\{other}"),
            },
            _ => read.push(char),
        }
    }
    panic!("the string ends")
}

fn read(history: &History) -> Vec<Edn> {
    let lines = to_edn(history).map(|line| {
        let (edn, rest) = form(&line);
        assert_eq!(rest, "", "{line}");
        edn
    });
    lines.collect()
}

/// What was acknowledged or read: partition, offset and value.
type Placed = Vec<(u64, u64, u64)>;

fn placed(line: &Edn) -> Placed {
    let mut all = Placed::new();
    for step in line.get("value").vector() {
        match step.vector() {
            [Edn::Keyword(_), key, Edn::Vector(place)] => {
                let place = Edn::Vector(place.clone()).numbers();
                all.push((key.number().expect("a key"), place[0], place[1]));
            }
            [Edn::Keyword(_), Edn::Map(keys)] => {
                for (key, records) in keys {
                    let records = records.vector().iter().map(Edn::numbers);
                    let key = key.number().expect("a key");
                    all.extend(records.map(|place| (key, place[0], place[1])));
                }
            }
            _ => {}
        }
    }
    all
}

#[test]
fn what_jepsens_checker_gets_is_the_history() {
    let events = told::story(3, 400);
    let history = History::of(events).expect("a history");
    let lines = read(&history);
    // Partitions as they are named first, from nought.
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut expected = Vec::new();
    let is = |event: &&Event| event.kind == Kind::Ok && matches!(event.op, Op::Send(_) | Op::Poll(_));
    for event in history.events() {
        let mut number = |key: &quipu_checker::Key| {
            let next = numbers.len() as u64;
            *numbers.entry(key.to_string()).or_insert(next)
        };
        match &event.op {
            Op::Assign(assign) => assign.keys.iter().for_each(|key| {
                number(key);
            }),
            Op::Send(send) => {
                let key = number(&send.key);
                let offset = send.offset.map(quipu_record::Offset::get);
                let values = send.values.iter().zip(0..);
                let of_send =
                    values.map(|(value, more)| (key, offset.unwrap_or_default() + more, value.id.0));
                expected.extend(Some(of_send.collect::<Placed>()).filter(|_| is(&event)));
            }
            Op::Poll(poll) => {
                let mut of_poll = Placed::new();
                for part in &poll.partitions {
                    let key = number(&part.key);
                    let records = part
                        .records
                        .iter()
                        .filter_map(|record| Some((record.offset, record.value?)));
                    of_poll.extend(records.map(|(offset, value)| (key, offset.get(), value.0)));
                }
                expected.extend(Some(of_poll).filter(|_| is(&event)));
            }
            _ => {}
        }
    }
    let data = |line: &&Edn| {
        let name = |of: &str| Edn::Keyword(of.to_owned());
        *line.get("type") == name("ok") && [name("send"), name("poll")].contains(line.get("f"))
    };
    assert_eq!(
        lines.iter().filter(data).map(placed).collect::<Vec<_>>(),
        expected
    );
    follows_the_rules(&lines);
}

/// Jepsen's: dense indices, a clock that does not go back, one operation of a process at a time.
fn follows_the_rules(lines: &[Edn]) {
    let (mut time, mut busy): (u64, HashMap<u64, Edn>) = (0, HashMap::new());
    for (line, index) in lines.iter().zip(0..) {
        assert_eq!(line.get("index"), &Edn::Number(index));
        let now = line.get("time").number().expect("a time");
        assert!(now >= time, "{line:?}");
        time = now;
        let Some(process) = line.get("process").number() else {
            continue;
        };
        if *line.get("type") == Edn::Keyword("invoke".to_owned()) {
            assert_eq!(busy.insert(process, line.get("f").clone()), None, "{line:?}");
        } else {
            assert_eq!(busy.remove(&process).as_ref(), Some(line.get("f")), "{line:?}");
        }
    }
}

#[test]
fn who_crashes_does_so_for_jepsens_checker_too() {
    let crash = |(time, kind)| Event {
        time: Time(time),
        process: Process::Client(3),
        kind,
        op: Op::Crash,
    };
    let history = History::of([(1, Kind::Invoke), (2, Kind::Info)].map(crash).to_vec());
    let lines: Vec<String> = to_edn(&history.expect("a history")).collect();
    let expected = [
        "{:index 0, :time 1, :process 3, :type :invoke, :f :crash, :value nil}",
        "{:index 1, :time 2, :process 3, :type :info, :f :crash, :value nil}",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn who_subscribes_to_topics_does_so_to_all_their_partitions() {
    let of = |kind, op| Event {
        time: Time(1),
        process: Process::Client(3),
        kind,
        op,
    };
    let keys = ["t/0", "u/0", "t/1", "v/0"].map(Key::new);
    let assign = Op::Assign(Assign {
        keys: keys.to_vec(),
        from_beginning: false,
    });
    let subscribe = |topics: &[&str]| {
        Op::Subscribe(Subscribe {
            group: Group::new("g"),
            topics: topics.iter().map(|topic| Topic::new(topic)).collect(),
        })
    };
    let asked = [assign, subscribe(&["t"]), subscribe(&["v", "t"]), subscribe(&[])];
    let events = asked
        .into_iter()
        .flat_map(|op| [of(Kind::Invoke, op.clone()), of(Kind::Ok, op)]);
    let history = History::of(events.collect()).expect("a history");
    let values = read(&history).into_iter().map(|line| line.get("value").numbers());
    let expected = [&[0, 1, 2, 3][..], &[0, 2], &[0, 2, 3], &[]];
    let expected = expected.into_iter().flat_map(|numbers| [numbers, numbers]);
    assert_eq!(values.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn what_a_fault_says_is_escaped_as_edn_has_it() {
    let what = "broker \"1\" \\ 'two'\n\t\u{1b}[1m ü";
    let event = Event {
        time: Time(1),
        process: Process::Nemesis,
        kind: Kind::Info,
        op: Op::Fault(Fault::of("kill", Phase::Begin, what.to_owned())),
    };
    let lines = read(&History::of(vec![event]).expect("a history"));
    assert_eq!(lines[0].get("value"), &Edn::Text(what.to_owned()));
}
