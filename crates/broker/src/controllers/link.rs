//! A stream of signs of life to the active controller, wherever it is: in this process by a channel, elsewhere over the
//! internal listener.

use super::Controllers;
use super::sessions::Sessions;
use quipu_metadata::{ClusterId, Heartbeat, HeartbeatAnswer};
use quipu_proto::Failure;
use quipu_proto::internal as wire;
use quipu_record::TopicPartition;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// Signs of life on their way.
const QUEUE: usize = 4;

/// The stream. It ends as it is dropped, which the controller notices at once.
#[derive(Debug)]
pub(crate) struct Link {
    beats: mpsc::Sender<Heartbeat>,
    answers: mpsc::Receiver<HeartbeatAnswer>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Sends a sign of life; one that finds the queue full is dropped, since one that waits says the same.
    pub(crate) fn send(&self, beat: Heartbeat) {
        let _ = self.beats.try_send(beat);
    }

    /// The next answer; `None`: the stream ended.
    pub(crate) async fn next(&mut self) -> Option<HeartbeatAnswer> {
        self.answers.recv().await
    }
}

impl Controllers {
    /// A stream to the active controller. `sessions` are those of this process's own.
    ///
    /// # Errors
    /// Why there is none now.
    pub(crate) async fn link(&self, sessions: Option<&Sessions>, cluster: ClusterId) -> Result<Link, String> {
        let (beats, sent) = mpsc::channel(QUEUE);
        let (answer, answers) = mpsc::channel(QUEUE);
        if let Some(sessions) = sessions.filter(|sessions| sessions.is_active()) {
            let task = tokio::spawn(sessions.clone().hear(sent, answer));
            return Ok(Link { beats, answers, task });
        }
        let Some(address) = self.whereabouts().await else {
            return Err("no controller says who the active one is".to_owned());
        };
        let mut client = match self.client(&address).await {
            Ok(client) => client,
            Err(why) => {
                self.not_at(&address);
                return Err(why);
            }
        };
        let requests = ReceiverStream::new(sent).map(move |beat: Heartbeat| request(&beat, cluster));
        let opened = client.heartbeat(requests).await;
        let mut stream = match opened {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Err(self.failed(&address, &status).message),
        };
        let (controllers, sessions) = (self.clone(), sessions.cloned());
        let task = tokio::spawn(async move {
            loop {
                match stream.message().await {
                    Ok(Some(message)) => {
                        if answer.send(read_answer(&message)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return controllers.not_at(&address),
                    Err(status) => {
                        controllers.failed(&address, &status);
                        // Should this process's controller be the next active one, it had better know.
                        if Failure::from_status(&status).is_none()
                            && let Some(sessions) = &sessions
                        {
                            sessions.connection_broke(&address);
                        }
                        return;
                    }
                }
            }
        });
        Ok(Link { beats, answers, task })
    }

    /// Where the active controller is, if it is elsewhere. What this process's own controller knows is the newest.
    pub(super) async fn whereabouts(&self) -> Option<String> {
        let known = self.local().and_then(|local| local.status().leader);
        let known = known
            .map(|leader| leader.address)
            .filter(|address| *address != self.inner.own);
        match known {
            Some(address) => Some(address),
            None => self.active().await.filter(|address| *address != self.inner.own),
        }
    }
}

fn request(beat: &Heartbeat, cluster: ClusterId) -> wire::HeartbeatRequest {
    wire::HeartbeatRequest {
        cluster_id: cluster.to_string(),
        broker_id: beat.id.get(),
        broker_epoch: beat.epoch.get(),
        metadata_version: beat.metadata_version.get(),
        want_fence: beat.want_fence,
        want_shutdown: beat.want_shutdown,
        offline: beat.offline.iter().map(offline).collect(),
    }
}

fn offline(at: &TopicPartition) -> wire::OfflinePartition {
    wire::OfflinePartition {
        topic_id: at.topic.into_bytes().to_vec().into(),
        partition: at.partition.get(),
    }
}

fn read_answer(message: &wire::HeartbeatResponse) -> HeartbeatAnswer {
    HeartbeatAnswer {
        fenced: message.fenced,
        should_shutdown: message.should_shutdown,
        stale: message.stale,
    }
}
