//! A cluster in this process: brokers that store in memory, do as they are told, and can be killed like processes.

pub(crate) mod groups;
mod services;

use bytes::Bytes;
use quipu_proto::v1;
use quipu_record::{Batch, BatchHeader, ErrorCode, LeaderEpoch, Offset, StoredBatch, TopicId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

/// What a broker does with the next batch.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// Refuses it.
    Refuse(ErrorCode),
    /// Refuses it, naming the leader there is.
    NotLeader,
    /// Refuses it, naming this broker as the leader of this epoch.
    Hint(u32, u32),
    /// Stores it and ends the stream without a word.
    StoreAndBreak,
    /// Ends the stream without storing it.
    Break,
    /// Stores it and says nothing, ever.
    StoreAndHang,
    /// Stores it and says that time ran out.
    StoreAndTimeOut,
}

#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) leader: Option<u32>,
    pub(crate) epoch: u32,
    pub(crate) log: Vec<StoredBatch>,
    pub(crate) log_start: u64,
    /// So often the leader does not know yet what may be read.
    pub(crate) not_available: u32,
    next: VecDeque<Next>,
}

pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Partition>,
}

pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) addresses: BTreeMap<u32, String>,
    pub(crate) version: u64,
    pub(crate) next_producer: u64,
    /// Requests seen, by name.
    pub(crate) calls: BTreeMap<&'static str, u32>,
    /// The next calls of this name fail like this, before anything is done.
    pub(crate) fail: BTreeMap<&'static str, VecDeque<tonic::Status>>,
    /// Batches taken in, each with its producer, also those sent again.
    pub(crate) sequences: Vec<(u32, BatchHeader)>,
    /// Sent once in place of the next batch that is read.
    pub(crate) damaged: Option<Bytes>,
    /// Credits seen on consume streams.
    pub(crate) credits: Vec<u64>,
    /// Brokers that hear of no change any more, and the routes that they know.
    pub(crate) cut_off: BTreeMap<u32, v1::GetRoutingResponse>,
    /// Brokers that take everything in and say nothing.
    pub(crate) silent: BTreeSet<u32>,
    /// Brokers whose disk is nearly full.
    pub(crate) disk_full: BTreeSet<u32>,
    pub(crate) groups: BTreeMap<String, groups::Group>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn changed(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn call(&self, name: &'static str) -> Result<(), tonic::Status> {
        let mut state = self.state();
        *state.calls.entry(name).or_default() += 1;
        match state.fail.get_mut(name).and_then(VecDeque::pop_front) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }
}

struct Running {
    runtime: Runtime,
}

pub(crate) struct Cluster {
    pub(crate) shared: Arc<Shared>,
    ports: BTreeMap<u32, SocketAddr>,
    running: BTreeMap<u32, Running>,
}

impl Cluster {
    /// Brokers 0 to `brokers - 1`, and a topic `t` with so many partitions, led in turn.
    pub(crate) fn start(brokers: u32, partitions: u32) -> Self {
        let state = State {
            topics: BTreeMap::new(),
            addresses: BTreeMap::new(),
            version: 1,
            next_producer: 1000,
            calls: BTreeMap::new(),
            fail: BTreeMap::new(),
            sequences: Vec::new(),
            damaged: None,
            credits: Vec::new(),
            cut_off: BTreeMap::new(),
            silent: BTreeSet::new(),
            disk_full: BTreeSet::new(),
            groups: BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: watch::channel(()).0,
        });
        let mut cluster = Self {
            shared,
            ports: BTreeMap::new(),
            running: BTreeMap::new(),
        };
        for broker in 0..brokers {
            cluster.start_broker(broker);
        }
        cluster.create("t", 7, partitions, brokers);
        cluster
    }

    pub(crate) fn create(&self, name: &str, id: u128, partitions: u32, brokers: u32) {
        let partition = |index| Partition {
            leader: Some(index % brokers),
            ..Partition::default()
        };
        let topic = Topic {
            id: TopicId::from_u128(id),
            partitions: (0..partitions).map(partition).collect(),
        };
        let mut state = self.shared.state();
        state.version += 1;
        state.topics.insert(name.to_owned(), topic);
    }

    /// Starts a broker, on the port that it had if it had one.
    pub(crate) fn start_broker(&mut self, broker: u32) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let wanted = self
            .ports
            .get(&broker)
            .copied()
            .unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        // Who was killed may take a moment to let go of its port.
        let bound = (0..500).find_map(|_| {
            let bound = std::net::TcpListener::bind(wanted);
            if bound.is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
            bound.ok()
        });
        let listener = bound.expect("the port is free again");
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        self.ports.insert(broker, address);
        self.shared.state().addresses.insert(broker, address.to_string());
        let inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let server = services::server(broker, self.shared.clone());
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        drop(inside);
        self.running.insert(broker, Running { runtime });
    }

    /// As by SIGKILL: sockets are closed by nobody but the kernel.
    pub(crate) fn kill(&mut self, broker: u32) {
        if let Some(running) = self.running.remove(&broker) {
            running.runtime.shutdown_background();
        }
    }

    pub(crate) fn bootstrap(&self) -> Vec<String> {
        self.ports.values().map(ToString::to_string).collect()
    }

    /// What the broker will do with the next batches of a partition of `t`.
    pub(crate) fn next(&self, partition: usize, next: impl IntoIterator<Item = Next>) {
        self.shared.state().topics.get_mut("t").unwrap().partitions[partition]
            .next
            .extend(next);
    }

    pub(crate) fn elect(&self, partition: usize, leader: Option<u32>) {
        let mut state = self.shared.state();
        state.version += 1;
        let partition = &mut state.topics.get_mut("t").unwrap().partitions[partition];
        partition.leader = leader;
        partition.epoch += 1;
        drop(state);
        self.shared.changed();
    }

    /// From now on this broker hears of no change.
    pub(crate) fn cut_off(&self, broker: u32) {
        let mut state = self.shared.state();
        let routes = state.routes(&[]);
        state.cut_off.insert(broker, routes);
    }

    /// From now on this broker says nothing on its streams.
    pub(crate) fn silence(&self, broker: u32) {
        self.shared.state().silent.insert(broker);
    }

    /// The values of all records of a partition of `t`, in order.
    pub(crate) fn values(&self, partition: usize) -> Vec<String> {
        let state = self.shared.state();
        let mut values = Vec::new();
        for batch in &state.topics["t"].partitions[partition].log {
            for record in &batch.records(1 << 20).unwrap() {
                values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            }
        }
        values
    }

    pub(crate) fn calls(&self, name: &str) -> u32 {
        self.shared.state().calls.get(name).copied().unwrap_or(0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, running) in std::mem::take(&mut self.running) {
            running.runtime.shutdown_background();
        }
    }
}

impl Partition {
    pub(crate) fn end(&self) -> u64 {
        self.log
            .last()
            .map_or(self.log_start, |last| last.header().next_offset().get())
    }

    /// Stores a batch as a leader does, recognising what it has.
    fn store(&mut self, bytes: Bytes) -> Result<(u64, bool), ErrorCode> {
        let batch = Batch::check(bytes, 1 << 20).map_err(|error| error.code())?;
        if let Some(stamp) = batch.header().producer() {
            let same = |there: &&StoredBatch| {
                there
                    .header()
                    .producer()
                    .is_some_and(|p| p.id == stamp.id && p.epoch == stamp.epoch)
            };
            let known: Vec<_> = self.log.iter().filter(same).collect();
            let again = known.iter().find(|there| {
                there
                    .header()
                    .producer()
                    .is_some_and(|p| p.base_sequence == stamp.base_sequence)
            });
            if let Some(there) = again {
                return Ok((there.header().base_offset().get(), true));
            }
            let next = known.last().and_then(|last| {
                let header = last.header();
                header
                    .producer()
                    .map(|p| p.base_sequence.plus(header.records_count()))
            });
            if stamp.base_sequence != next.unwrap_or_default() {
                return Err(ErrorCode::OutOfOrderSequence);
            }
        }
        let base = self.end();
        self.log
            .push(batch.stamp(Offset::new(base), LeaderEpoch::new(self.epoch)));
        Ok((base, false))
    }
}

impl State {
    pub(crate) fn routes(&self, names: &[String]) -> v1::GetRoutingResponse {
        let names: Vec<String> = if names.is_empty() {
            self.topics.keys().cloned().collect()
        } else {
            names.to_vec()
        };
        let topics = names.into_iter().map(|name| match self.topics.get(&name) {
            None => v1::TopicRoute {
                name,
                ..Default::default()
            },
            Some(topic) => v1::TopicRoute {
                name,
                topic_id: topic.id.to_string(),
                partitions: (0..)
                    .zip(&topic.partitions)
                    .map(|(index, partition)| v1::PartitionRoute {
                        partition: index,
                        leader: partition.leader,
                        leader_epoch: partition.epoch,
                    })
                    .collect(),
                max_message_bytes: 1 << 20,
            },
        });
        v1::GetRoutingResponse {
            topics: topics.collect(),
            brokers: self.brokers(),
            metadata_version: self.version,
            throttle_ms: 0,
            cluster_id: "c1".into(),
        }
    }

    pub(crate) fn brokers(&self) -> Vec<v1::Broker> {
        let broker = |(id, endpoint): (&u32, &String)| v1::Broker {
            broker_id: *id,
            endpoint: endpoint.clone(),
            ..Default::default()
        };
        self.addresses.iter().map(broker).collect()
    }
}

/// Waits until something holds, and fails after a minute.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not come to hold: {what}");
}
