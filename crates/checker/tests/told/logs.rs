//! Partitions: sends, polls, high watermarks, and what replicas hold in the end.

use super::{PARTITIONS, Teller, hash, key};
use quipu_checker::{
    Assign, Final, FinalBatch, Kind, Latest, Op, Poll, PolledPartition, Process, ReadRecord, Send, Value,
    ValueId,
};
use quipu_record::{BrokerId, LeaderEpoch, Offset};

/// A partition's log, and who works on it.
pub(super) struct Log {
    partition: usize,
    values: Vec<u64>,
    batches: Vec<FinalBatch>,
    epoch: u32,
    consumer: Process,
    fetcher: Process,
    asker: Process,
    position: usize,
    producer: Producer,
}

/// An idempotent producer with two processes.
struct Producer {
    id: u64,
    processes: [Process; 2],
    sequence: u64,
}

impl Log {
    pub(super) fn new(partition: usize) -> Self {
        let number = partition as u64 * 10;
        Self {
            partition,
            values: Vec::new(),
            batches: Vec::new(),
            epoch: 3,
            consumer: Process::Client(number),
            fetcher: Process::Client(number + 1),
            asker: Process::Client(number + 2),
            position: 0,
            producer: Producer {
                id: number,
                processes: [3, 4].map(|more| Process::Client(number + more)),
                sequence: 0,
            },
        }
    }

    fn end(&self) -> Offset {
        Offset::new(self.values.len() as u64)
    }

    pub(super) fn records(&self, from: usize, most: usize) -> Vec<ReadRecord> {
        let to = self.values.len().min(from + most);
        (from as u64..)
            .zip(&self.values[from..to])
            .map(|(offset, value)| ReadRecord {
                offset: Offset::new(offset),
                value: Some(ValueId(*value)),
                hash: hash(*value),
            })
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn append(&mut self, send: &Send) -> Send {
        let base = self.end();
        self.values.extend(send.values.iter().map(|value| value.id.0));
        let leader_epoch = LeaderEpoch::new(self.epoch);
        self.batches.push(FinalBatch {
            base,
            last: base.plus(send.values.len() as u64 - 1),
            leader_epoch,
            crc: hash(send.values[0].id.0),
        });
        Send {
            offset: Some(base),
            leader_epoch: Some(leader_epoch),
            ..send.clone()
        }
    }
}

impl Teller {
    fn values(&mut self, count: usize) -> Vec<Value> {
        let first = self.next_value;
        self.next_value += count as u64;
        (first..self.next_value)
            .map(|id| Value {
                id: ValueId(id),
                hash: hash(id),
            })
            .collect()
    }

    pub(super) fn assign_consumers(&mut self) {
        for partition in 0..PARTITIONS {
            let assign = Op::Assign(Assign {
                keys: vec![key(partition)],
                from_beginning: true,
            });
            let consumer = self.logs[partition].consumer;
            self.did(consumer, assign.clone(), assign);
        }
    }

    /// What the partition's producer sends next.
    fn next_send(&mut self, partition: usize, count: usize) -> Send {
        let values = self.values(count);
        let producer = &mut self.logs[partition].producer;
        producer.sequence += 1;
        Send {
            producer: Some(producer.id),
            sequence: Some(producer.sequence),
            ..Send::new(key(partition), values)
        }
    }

    /// Two sends of one producer, both under way at once.
    pub(super) fn send_two(&mut self) {
        let partition = self.choose(PARTITIONS);
        let counts = [self.choose(3) + 1, self.choose(3) + 1];
        self.send_both(partition, counts);
    }

    fn send_both(&mut self, partition: usize, counts: [usize; 2]) {
        let sends = counts.map(|count| self.next_send(partition, count));
        let processes = self.logs[partition].producer.processes;
        for (process, send) in processes.into_iter().zip(&sends) {
            self.tell(process, Kind::Invoke, Op::Send(send.clone()));
        }
        for (process, send) in processes.into_iter().zip(&sends) {
            let done = self.logs[partition].append(send);
            self.tell(process, Kind::Ok, Op::Send(done));
        }
    }

    /// Two sends of one producer, of which a new leader gets the second.
    pub(super) fn send_across_leaders(&mut self, partition: usize) {
        let sends = [1, 1].map(|count| self.next_send(partition, count));
        let processes = self.logs[partition].producer.processes;
        for (process, send) in processes.into_iter().zip(&sends) {
            self.tell(process, Kind::Invoke, Op::Send(send.clone()));
        }
        for (process, send) in processes.into_iter().zip(&sends) {
            let done = self.logs[partition].append(send);
            self.logs[partition].epoch += 1;
            self.tell(process, Kind::Ok, Op::Send(done));
        }
    }

    /// One value by one process.
    fn send_one(&mut self, partition: usize, process: Process, producer: u64) {
        let send = Send {
            producer: Some(producer),
            ..Send::new(key(partition), self.values(1))
        };
        let done = self.logs[partition].append(&send);
        self.did(process, Op::Send(send), Op::Send(done));
    }

    pub(super) fn send_in_turn(&mut self, partition: usize) {
        let process = self.process();
        self.send_one(partition, process, self.next_process);
    }

    /// A send that nobody knows of; `there`: its value is in the log all the same.
    fn send_unknown(&mut self, partition: usize, there: bool) {
        let process = self.process();
        let send = Send {
            producer: Some(self.next_process),
            ..Send::new(key(partition), self.values(1))
        };
        if there {
            self.logs[partition].append(&send);
        }
        let op = Op::Send(send);
        self.tell(process, Kind::Invoke, op.clone());
        self.tell(process, Kind::Info, op);
    }

    pub(super) fn leave_a_ghost(&mut self) {
        let partition = self.choose(PARTITIONS);
        self.send_unknown(partition, false);
    }

    pub(super) fn send_without_an_answer(&mut self) {
        let partition = self.choose(PARTITIONS);
        self.send_unknown(partition, true);
    }

    fn read(&mut self, process: Process, partition: usize, from: usize, most: usize) -> usize {
        let log = &self.logs[partition];
        let asked = PolledPartition::asked(key(partition), Offset::new(from as u64));
        let got = PolledPartition {
            records: log.records(from, most),
            high_watermark: Some(log.end()),
            ..asked.clone()
        };
        let count = got.records.len();
        self.did(
            process,
            Op::Poll(Poll::of(vec![asked])),
            Op::Poll(Poll::of(vec![got])),
        );
        count
    }

    /// The partition's consumer reads on.
    pub(super) fn poll(&mut self) {
        let partition = self.choose(PARTITIONS);
        let most = self.choose(8) + 1;
        let (process, from) = (self.logs[partition].consumer, self.logs[partition].position);
        self.logs[partition].position += self.read(process, partition, from, most);
    }

    /// Somebody reads from an offset of his choice.
    pub(super) fn fetch_anywhere(&mut self) {
        let partition = self.choose(PARTITIONS);
        let from = self.choose(self.logs[partition].len() + 1);
        let process = self.logs[partition].fetcher;
        self.read(process, partition, from, 5);
    }

    pub(super) fn ask_latest(&mut self) {
        let partition = self.choose(PARTITIONS);
        let process = self.logs[partition].asker;
        self.latest(partition, process);
    }

    fn latest(&mut self, partition: usize, process: Process) {
        let latest = |high_watermark| {
            Op::Latest(Latest {
                key: key(partition),
                high_watermark,
            })
        };
        let end = self.logs[partition].end();
        self.did(process, latest(None), latest(Some(end)));
    }

    /// What every partition's story ends with: reads of some records each; a value that is there though nobody knows of its send, and two questions
    /// for the high watermark; two sends of one producer at once; two of one process, and one each of two others, the
    /// last of whom asks for the high watermark; and again a value that nobody knows of.
    pub(super) fn end_of_log(&mut self, partition: usize) {
        let [one, another, last] = [self.process(), self.process(), self.process()];
        let (asker, consumer) = (self.logs[partition].asker, self.logs[partition].consumer);
        self.send_both(partition, [3, 3]);
        self.send_both(partition, [3, 3]);
        for most in [4, 4, usize::MAX / 2] {
            let from = self.logs[partition].position;
            self.logs[partition].position += self.read(consumer, partition, from, most);
        }
        self.read(self.logs[partition].fetcher, partition, 0, 5);
        self.send_unknown(partition, true);
        self.latest(partition, asker);
        self.latest(partition, asker);
        self.send_both(partition, [1, 1]);
        self.send_one(partition, one, 501);
        self.send_one(partition, one, 501);
        self.send_one(partition, another, 502);
        self.send_one(partition, last, 503);
        self.latest(partition, last);
        self.send_unknown(partition, true);
        self.latest(partition, asker);
    }

    pub(super) fn poll_to_the_end(&mut self) {
        for partition in 0..PARTITIONS {
            let process = self.process();
            let assign = Op::Assign(Assign {
                keys: vec![key(partition)],
                from_beginning: true,
            });
            self.did(process, assign.clone(), assign);
            self.read(process, partition, 0, usize::MAX / 2);
        }
    }

    pub(super) fn final_logs(&mut self) {
        for partition in 0..PARTITIONS {
            for replica in 1..3_u32 {
                let log = &self.logs[partition];
                let records = log.records(0, usize::MAX / 2);
                let last = Final {
                    high_watermark: Some(log.end()),
                    batches: log.batches.clone(),
                    ..Final::new(BrokerId::new(replica), key(partition), Offset::ZERO, records)
                };
                self.nemesis(Op::Final(last));
            }
        }
    }
}
