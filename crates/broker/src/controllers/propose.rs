//! A change, brought to the active controller wherever that is.

use super::{Controllers, Places};
use bytes::Bytes;
use quipu_controller::{Committed, Controller, Unavailable};
use quipu_metadata::{Command, Reply};
use quipu_proto::internal::controller_service_client::ControllerServiceClient;
use quipu_proto::internal::{GetStatusRequest, GetStatusResponse, ProposeRequest};
use quipu_proto::{Failure, active_controller};
use quipu_record::{ErrorCode, MetadataVersion};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

/// A controller that does not answer within this time may have lost its majority: another may be the active one by now.
const ATTEMPT: Duration = Duration::from_secs(4);
/// A controller says at once who it is.
const STATUS: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// The largest message between brokers and controllers: what one entry changed, at worst a record for each partition.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Why one attempt brought nothing.
#[derive(Debug)]
enum Missed {
    /// The command did not reach a controller that could decide it.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
    /// It will not be, however often it is tried.
    Final(Unavailable),
}

pub(super) type Client = ControllerServiceClient<Channel>;

impl Controllers {
    /// Asks for a change, for no longer than `patience`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn propose_command(
        &self,
        command: Command,
        patience: Duration,
    ) -> Result<Committed<Reply>, Unavailable> {
        if let Some(alone) = self.alone() {
            return alone.propose_command(command).await;
        }
        let until = Instant::now() + patience;
        let repeat = may_repeat(&command);
        let mut pause = BACKOFF_FIRST;
        let mut doubtful = false;
        loop {
            let missed = match timeout_at(until, self.attempt(&command)).await {
                Ok(Ok(committed)) => return Ok(committed),
                Ok(Err(missed)) => missed,
                Err(_) => Missed::Unknown("the active controller did not answer in time".to_owned()),
            };
            let why = match missed {
                Missed::Final(unavailable) => return Err(unavailable),
                Missed::NotDone(why) => why,
                Missed::Unknown(why) => {
                    doubtful = true;
                    why
                }
            };
            if (doubtful && !repeat) || Instant::now() + pause >= until {
                return Err(gave_up(doubtful, &why));
            }
            tracing::debug!(command = command.name(), why, "a change is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    /// This process's controller, where there is no other.
    fn alone(&self) -> Option<&Controller> {
        self.local().filter(|_| self.others().is_empty())
    }

    async fn attempt(&self, command: &Command) -> Result<Committed<Reply>, Missed> {
        match self.active().await {
            Some(address) if address != self.inner.own => self.attempt_at(&address, command).await,
            _ => match self.local() {
                Some(local) => self.attempt_here(local, command).await,
                None => Err(Missed::NotDone(
                    "no controller says who the active one is".to_owned(),
                )),
            },
        }
    }

    async fn attempt_here(&self, local: &Controller, command: &Command) -> Result<Committed<Reply>, Missed> {
        match timeout(ATTEMPT, local.propose_command(command.clone())).await {
            Ok(Ok(committed)) => Ok(committed),
            Ok(Err(Unavailable::NotActive { address, leader })) => {
                match address.filter(|address| *address != self.inner.own) {
                    Some(address) => self.heard_of(&address),
                    None => self.not_at(&self.inner.own),
                }
                Err(Missed::NotDone(
                    Unavailable::NotActive {
                        address: None,
                        leader,
                    }
                    .to_string(),
                ))
            }
            Ok(Err(Unavailable::NoQuorum)) => Err(Missed::NotDone(Unavailable::NoQuorum.to_string())),
            Ok(Err(Unavailable::Unknown)) => Err(Missed::Unknown(Unavailable::Unknown.to_string())),
            Ok(Err(other)) => Err(Missed::Final(other)),
            Err(_) => Err(Missed::Unknown(
                "this process's controller did not get an answer from a majority in time".to_owned(),
            )),
        }
    }

    async fn attempt_at(&self, address: &str, command: &Command) -> Result<Committed<Reply>, Missed> {
        let mut client = match self.client(address).await {
            Ok(client) => client,
            Err(why) => {
                self.not_at(address);
                return Err(Missed::NotDone(why));
            }
        };
        let request = ProposeRequest {
            cluster_id: self.cluster_text(),
            command: Bytes::from(command.encode()),
        };
        let answered = timeout(ATTEMPT, client.propose(request)).await;
        let response = match answered {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(self.missed(address, &status)),
            Err(_) => {
                self.not_at(address);
                return Err(Missed::Unknown(format!("{address} did not answer in time")));
            }
        };
        let outcome = Reply::decode(&response.reply).map_err(|error| {
            let why = format!("{address} answered what cannot be read: {error}");
            Missed::Final(Unavailable::Unanswered {
                code: ErrorCode::RequestTimedOut,
                why,
            })
        })?;
        Ok(Committed {
            version: MetadataVersion::new(response.version),
            outcome,
        })
    }

    /// What a status says about a command that was sent to `address`.
    fn missed(&self, address: &str, status: &Status) -> Missed {
        let failure = self.failed(address, status);
        if never_left(status) {
            return Missed::NotDone(failure.message);
        }
        match failure.code {
            ErrorCode::NotController | ErrorCode::NoQuorum | ErrorCode::NotReady | ErrorCode::Throttled => {
                Missed::NotDone(failure.message)
            }
            code if failure.retryable => Missed::Unknown(format!("{} ({code})", failure.message)),
            code => Missed::Final(Unavailable::Unanswered {
                code,
                why: failure.message,
            }),
        }
    }

    /// Learns from the status of a call to `address` where the active controller is, or is not.
    pub(super) fn failed(&self, address: &str, status: &Status) -> Failure {
        self.not_at(address);
        if let Some(active) = active_controller(status) {
            self.heard_of(&active);
        }
        Failure::from_status(status).unwrap_or_else(|| {
            self.inner.peers.forget(address);
            let why = format!("{address} does not answer: {}", status.message());
            // The transport's: nobody knows how far the call got.
            Failure::new(ErrorCode::RequestTimedOut, why)
        })
    }

    /// A client of the controller at `address`.
    pub(super) async fn client(&self, address: &str) -> Result<Client, String> {
        let channel = self.inner.peers.connect(address).await?;
        Ok(ControllerServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Where the active controller is; `None`: nobody knows, or it is here for all that is known.
    pub(super) async fn active(&self) -> Option<String> {
        if self.is_active_here() {
            return None;
        }
        let told = self.places().active.clone();
        if told.is_some() || self.local().is_some() {
            return told;
        }
        for address in self.others() {
            if let Some(status) = self.status_of(&address).await
                && let Some(leader) = status.leader
            {
                self.heard_of(&leader.address);
                return Some(leader.address);
            }
        }
        None
    }

    /// What the controller at `address` says of itself.
    pub(crate) async fn status_of(&self, address: &str) -> Option<GetStatusResponse> {
        let asking = async {
            let mut client = self.client(address).await.ok()?;
            match client.get_status(GetStatusRequest {}).await {
                Ok(status) => Some(status.into_inner()),
                Err(status) => {
                    self.failed(address, &status);
                    None
                }
            }
        };
        let status = timeout(STATUS, asking).await.ok().flatten()?;
        let Places { known, .. } = &mut *self.places();
        let named = status.voters.iter().chain(&status.learners);
        known.extend(named.map(|named| named.address.clone()));
        Some(status)
    }
}

/// Whether a call failed before anything of it was sent.
fn never_left(status: &Status) -> bool {
    let mut at = std::error::Error::source(status);
    while let Some(error) = at {
        let unconnected = error.is::<tonic::ConnectError>();
        let unsent = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        if unconnected || unsent {
            return true;
        }
        at = error.source();
    }
    false
}

fn gave_up(doubtful: bool, why: &str) -> Unavailable {
    match doubtful {
        true => Unavailable::Unanswered {
            code: ErrorCode::RequestTimedOut,
            why: format!("the controllers did not answer, and whether the change was made is unknown: {why}"),
        },
        false => Unavailable::Unanswered {
            code: ErrorCode::NoQuorum,
            why: format!("no active controller was found, and nothing was changed: {why}"),
        },
    }
}

/// Whether doing it twice is as good as once. What clients ask for is not repeated in doubt: the second answer ("exists
/// already") would be a lie about the first.
fn may_repeat(command: &Command) -> bool {
    matches!(
        command,
        Command::RegisterBroker(_)
            | Command::UnfenceBroker(_)
            | Command::FenceBrokers(_)
            | Command::BeginShutdown(_)
            | Command::AllocProducerIds(_)
            | Command::EnsureOffsetsTopic(_)
    )
}
