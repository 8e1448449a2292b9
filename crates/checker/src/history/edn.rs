//! Histories for Jepsen's own checker (`jepsen.tests.kafka`): one EDN map a line.
//!
//! ```text
//! {:index 0, :time 1000, :process 0, :type :invoke, :f :send, :value [[:send 3 17]]}
//! {:index 1, :time 2500, :process 0, :type :ok, :f :send, :value [[:send 3 [42 17]]]}
//! {:index 2, :time 2600, :process 1, :type :invoke, :f :poll, :value [[:poll]]}
//! {:index 3, :time 3100, :process 1, :type :ok, :f :poll, :value [[:poll {3 [[42 17]]}]]}
//! {:index 4, :time 3200, :process :nemesis, :type :info, :f :kill, :value "broker 1"}
//! ```
//! With the lines in `history.edn`, in a checkout of Jepsen (`jepsen/`, `lein repl`):
//!
//! ```text
//! (require '[jepsen.history :as h] '[jepsen.tests.kafka :as k] '[clojure.edn :as edn])
//! (with-open [r (clojure.java.io/reader "history.edn")]
//!   (let [ops (mapv (comp h/op edn/read-string) (line-seq r))]
//!     (:errors (k/analysis (h/history ops) {:ww-deps true :directory "."}))))
//! ```
//! What that checker knows nothing of (commits, metadata, replicas) is left out. It knows no reads from an offset of the
//! reader's choice: before each read of a process that was assigned nothing stands an `assign` that lets it move.

use super::{Event, History, Key, Kind, Op, Poll, Process, Send, Step, Topic};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// The lines of a history, without their ends.
pub fn to_edn(history: &History) -> impl Iterator<Item = String> {
    let mut writer = Writer::of(history);
    history.events().iter().flat_map(move |event| writer.lines(event))
}

/// A string as EDN writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            char if char.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

struct Writer {
    /// Partitions as numbers, in the order in which the history names them.
    keys: HashMap<Key, usize>,
    ordered: Vec<Key>,
    /// Processes that were assigned partitions, or subscribed.
    placed: HashSet<Process>,
    next: usize,
}

impl Writer {
    fn of(history: &History) -> Self {
        let mut writer = Self {
            keys: HashMap::new(),
            ordered: Vec::new(),
            placed: HashSet::new(),
            next: 0,
        };
        for event in history.events() {
            let sent = event.op.sends().map(|send| &send.key);
            let read = event
                .op
                .polls()
                .flat_map(|poll| &poll.partitions)
                .map(|part| &part.key);
            let assigned = match &event.op {
                Op::Assign(assign) => assign.keys.as_slice(),
                _ => &[],
            };
            for key in sent.chain(read).chain(assigned) {
                writer.keys.entry(key.clone()).or_insert_with(|| {
                    writer.ordered.push(key.clone());
                    writer.ordered.len() - 1
                });
            }
        }
        writer
    }

    fn lines(&mut self, event: &Event) -> Vec<String> {
        let kind = event.kind;
        let mut lines = Vec::new();
        let told = match &event.op {
            Op::Send(send) => Some(("send", format!("[{}]", self.sent(send, kind)))),
            Op::Poll(poll) => {
                if kind == Kind::Invoke && !self.placed.contains(&event.process) {
                    lines = self.moves(event, poll);
                }
                Some(("poll", format!("[{}]", self.polled(poll, kind))))
            }
            Op::Txn(txn) => {
                let steps = txn.steps.iter().map(|step| match step {
                    Step::Send(send) => self.sent(send, kind),
                    Step::Poll(poll) => self.polled(poll, kind),
                });
                let steps: Vec<String> = steps.collect();
                Some(("txn", format!("[{}]", steps.join(" "))))
            }
            Op::Assign(assign) => {
                self.placed.insert(event.process);
                let begin = if assign.from_beginning {
                    ", :seek-to-beginning? true"
                } else {
                    ""
                };
                Some(("assign", format!("{}{begin}", self.numbers(&assign.keys))))
            }
            Op::Subscribe(subscribe) => {
                self.placed.insert(event.process);
                Some(("subscribe", self.of_topics(&subscribe.topics)))
            }
            Op::Crash => Some(("crash", "nil".to_owned())),
            Op::Fault(fault) => {
                let name = fault.kind.as_deref().unwrap_or("fault");
                Some((name, quoted(&fault.what)))
            }
            _ => None,
        };
        lines.extend(told.map(|(f, value)| self.line(event, kind, f, &value)));
        lines
    }

    fn line(&mut self, event: &Event, kind: Kind, f: &str, value: &str) -> String {
        let index = self.next;
        self.next += 1;
        let process = match event.process {
            Process::Client(number) => number.to_string(),
            Process::Nemesis => ":nemesis".to_owned(),
        };
        let time = event.time.0;
        format!(
            "{{:index {index}, :time {time}, :process {process}, :type :{kind}, :f :{f}, :value {value}}}"
        )
    }

    /// Before a read from where the reader chooses.
    fn moves(&mut self, event: &Event, poll: &Poll) -> Vec<String> {
        let keys: Vec<Key> = poll.partitions.iter().map(|part| part.key.clone()).collect();
        let value = format!("{}, :seek-to-beginning? true", self.numbers(&keys));
        [Kind::Invoke, Kind::Ok]
            .map(|kind| self.line(event, kind, "assign", &value))
            .to_vec()
    }

    fn numbers<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> String {
        let numbers: Vec<String> = keys.into_iter().map(|key| self.keys[key].to_string()).collect();
        format!("[{}]", numbers.join(" "))
    }

    fn of_topics(&self, topics: &[Topic]) -> String {
        let named = |key: &&Key| topics.iter().any(|topic| topic.as_str() == key.topic());
        self.numbers(self.ordered.iter().filter(named))
    }

    fn sent(&self, send: &Send, kind: Kind) -> String {
        let key = self.keys[&send.key];
        let offset = send.offset.filter(|_| kind != Kind::Invoke);
        let steps = send.values.iter().zip(0_u64..).map(|(value, delta)| {
            let value = value.id;
            match offset {
                Some(base) => format!("[:send {key} [{} {value}]]", base.plus(delta)),
                None => format!("[:send {key} {value}]"),
            }
        });
        steps.collect::<Vec<String>>().join(" ")
    }

    fn polled(&self, poll: &Poll, kind: Kind) -> String {
        if kind == Kind::Invoke {
            return "[:poll]".to_owned();
        }
        let mut text = String::new();
        for part in poll.partitions.iter().filter(|part| !part.records.is_empty()) {
            let records: Vec<String> = part
                .records
                .iter()
                .map(|record| {
                    let value = record
                        .value
                        .map_or_else(|| "nil".to_owned(), |value| value.to_string());
                    format!("[{} {value}]", record.offset)
                })
                .collect();
            let space = if text.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(text, "{space}{} [{}]", self.keys[&part.key], records.join(" "));
        }
        format!("[:poll {{{text}}}]")
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_string_is_one_line_of_what_can_be_seen() {
        assert_eq!(
            quoted("a\"b\\c\n\t\r\u{1}\u{7f}é"),
            r#""a\"b\\c\n\t\r\u0001\u007fé""#
        );
    }
}
