//! A network in memory: each message's fate is decided by whoever runs the simulation, and all is written down.

use crate::transport::{Header, PeerStatus, SnapshotChunk, Transport, TransportError};
use crate::{Controller, RpcError};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a message is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Entries, or a heartbeat.
    Append,
    /// An election.
    Vote,
    /// A whole snapshot.
    Snapshot,
    /// Who is there?
    Status,
}

/// A message that is about to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// When, since the beginning.
    pub at: Duration,
    /// Who sends it, by its number.
    pub from: usize,
    /// For whom.
    pub to: usize,
    /// What it is about.
    pub kind: Kind,
    /// It is an answer.
    pub answer: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It arrives so much later, even after the sender has given up.
    Arrives(Duration),
    /// It arrives twice. An answer arrives once, after the first.
    Twice(Duration, Duration),
    /// It is lost.
    Lost,
}

/// A message that went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Which.
    pub envelope: Envelope,
    /// CRC-32C of its bytes.
    pub crc: u32,
    /// What became of it.
    pub fate: Fate,
}

type Decide = Box<dyn FnMut(&Envelope) -> Fate + Send>;

struct State {
    began: Instant,
    decide: Decide,
    addresses: Vec<String>,
    running: Vec<Option<Controller>>,
    trace: Vec<Event>,
}

/// The network. Cheap to clone; the clones are one.
#[derive(Clone)]
pub(super) struct Bus(Arc<Mutex<State>>);

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus")
    }
}

impl Bus {
    pub(super) fn new(addresses: Vec<String>, decide: Decide) -> Self {
        Self(Arc::new(Mutex::new(State {
            began: Instant::now(),
            decide,
            running: addresses.iter().map(|_| None).collect(),
            addresses,
            trace: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.state().began.elapsed()
    }

    /// Who answers at a place from now on.
    pub(super) fn set(&self, place: usize, controller: Option<Controller>) {
        let before = std::mem::replace(&mut self.state().running[place], controller);
        drop(before);
    }

    pub(super) fn running(&self, place: usize) -> Option<Controller> {
        self.state().running[place].clone()
    }

    pub(super) fn trace(&self) -> Vec<Event> {
        self.state().trace.clone()
    }

    /// Decides a message's fate, and writes it down.
    fn fate(&self, from: usize, to: usize, kind: Kind, answer: bool, crc: u32) -> Fate {
        let mut state = self.state();
        let envelope = Envelope {
            at: state.began.elapsed(),
            from,
            to,
            kind,
            answer,
        };
        let fate = (state.decide)(&envelope);
        state.trace.push(Event { envelope, crc, fate });
        fate
    }
}

/// One controller's access to the bus.
#[derive(Clone, Debug)]
pub(super) struct BusTransport {
    pub(super) bus: Bus,
    pub(super) from: usize,
}

/// What goes over the bus.
#[derive(Clone)]
enum Message {
    Append(Header, Bytes),
    Vote(Header, Bytes),
    Snapshot(Header, Bytes, Vec<SnapshotChunk>),
    Status,
}

enum Answer {
    Bytes(Bytes),
    Status(Box<PeerStatus>),
}

impl Message {
    fn kind(&self) -> Kind {
        match self {
            Self::Append(..) => Kind::Append,
            Self::Vote(..) => Kind::Vote,
            Self::Snapshot(..) => Kind::Snapshot,
            Self::Status => Kind::Status,
        }
    }

    fn crc(&self) -> u32 {
        match self {
            Self::Append(_, payload) | Self::Vote(_, payload) => crc32c::crc32c(payload),
            Self::Snapshot(_, meta, chunks) => chunks.iter().fold(crc32c::crc32c(meta), |crc, chunk| {
                crc32c::crc32c_append(crc, &chunk.bytes)
            }),
            Self::Status => 0,
        }
    }

    async fn handle(self, controller: Controller) -> Result<Answer, RpcError> {
        match self {
            Self::Append(header, payload) => {
                controller.handle_append(header, payload).await.map(Answer::Bytes)
            }
            Self::Vote(header, payload) => controller.handle_vote(header, payload).await.map(Answer::Bytes),
            Self::Snapshot(header, meta, chunks) => controller
                .handle_snapshot(header, meta, chunks)
                .await
                .map(Answer::Bytes),
            Self::Status => Ok(Answer::Status(Box::new(controller.peer_status()))),
        }
    }
}

impl BusTransport {
    /// Sends a message, and waits for its answer. What is on its way stays there when the sender gives up, or dies.
    async fn send(&self, address: &str, message: Message, ttl: Duration) -> Result<Answer, TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable {
            address: address.to_owned(),
            why: why.to_owned(),
        };
        let place = self
            .bus
            .state()
            .addresses
            .iter()
            .position(|known| known == address);
        let to = place.ok_or_else(|| unreachable("nobody has this address"))?;
        let kind = message.kind();
        let (tell, told) = oneshot::channel();
        let fate = self.bus.fate(self.from, to, kind, false, message.crc());
        match fate {
            Fate::Lost => {}
            Fate::Arrives(after) => self.post(to, message, after, Some(tell)),
            Fate::Twice(after, again) => {
                self.post(to, message.clone(), after, Some(tell));
                self.post(to, message, again, None);
            }
        }
        match tokio::time::timeout(ttl, told).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(TransportError::Refused {
                address: address.to_owned(),
                why: error.to_string(),
            }),
            Ok(Err(_)) => Err(unreachable("lost")),
            Err(_) => Err(unreachable("no answer in time")),
        }
    }

    /// A task of the network, and of no controller.
    fn post(
        &self,
        to: usize,
        message: Message,
        after: Duration,
        tell: Option<oneshot::Sender<Result<Answer, RpcError>>>,
    ) {
        let (bus, from) = (self.bus.clone(), self.from);
        let kind = message.kind();
        drop(tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let Some(controller) = bus.running(to) else { return };
            let answer = message.handle(controller).await;
            let Some(tell) = tell else { return };
            let crc = match &answer {
                Ok(Answer::Bytes(bytes)) => crc32c::crc32c(bytes),
                Ok(Answer::Status(status)) => u32::from(status.is_empty()),
                Err(_) => u32::MAX,
            };
            match bus.fate(to, from, kind, true, crc) {
                Fate::Lost => {}
                Fate::Arrives(after) | Fate::Twice(after, _) => {
                    tokio::time::sleep(after).await;
                    // The sender may have given up.
                    let _ = tell.send(answer);
                }
            }
        }));
    }

    async fn bytes(&self, address: &str, message: Message, ttl: Duration) -> Result<Bytes, TransportError> {
        match self.send(address, message, ttl).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            Answer::Status(_) => Ok(Bytes::new()),
        }
    }
}

impl Transport for BusTransport {
    fn append(
        &self,
        address: &str,
        header: Header,
        payload: Bytes,
        ttl: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send {
        self.bytes(address, Message::Append(header, payload), ttl)
    }

    fn vote(
        &self,
        address: &str,
        header: Header,
        payload: Bytes,
        ttl: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send {
        self.bytes(address, Message::Vote(header, payload), ttl)
    }

    fn snapshot(
        &self,
        address: &str,
        header: Header,
        meta: Bytes,
        chunks: Vec<SnapshotChunk>,
        ttl: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send {
        self.bytes(address, Message::Snapshot(header, meta, chunks), ttl)
    }

    async fn status(&self, address: &str, ttl: Duration) -> Result<PeerStatus, TransportError> {
        match self.send(address, Message::Status, ttl).await? {
            Answer::Status(status) => Ok(*status),
            Answer::Bytes(_) => Err(TransportError::Refused {
                address: address.to_owned(),
                why: "this is no status".to_owned(),
            }),
        }
    }
}
