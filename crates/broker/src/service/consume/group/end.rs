//! How a member's stream ends.

use super::super::session::{Frame, Session};
use super::News;
use crate::admit::RequestContext;
use crate::groups::failure_of;
use quipu_coordinator::{Finish, MemberInput};
use quipu_proto::Failure;
use quipu_record::ErrorCode;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// What the client is still told may wait so long for it to read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a stream ends.
pub(in super::super) enum End {
    /// The client has said its last word.
    Over,
    /// The client is gone.
    Gone,
    /// The connection broke, or what came by it cannot be read.
    Broken(Status),
    /// The client asked for something that no stream does.
    Refused(Status),
    /// The broker goes down.
    Draining,
    /// Another stream goes on as the member.
    Replaced,
    /// The group does not take the member in.
    Failed(Failure),
}

impl End {
    /// What the client is told, if it is there.
    pub(in super::super) fn status(self) -> Result<(), Status> {
        match self {
            Self::Over | Self::Gone => Ok(()),
            Self::Broken(status) | Self::Refused(status) => Err(status),
            Self::Draining => Err(RequestContext::draining_status()),
            Self::Replaced => Err(Failure::new(
                ErrorCode::FencedMemberEpoch,
                "another stream goes on as this member",
            )
            .into_status()),
            Self::Failed(failure) => Err(failure.into_status()),
        }
    }

    const fn finish(&self) -> Finish {
        match self {
            Self::Over | Self::Refused(_) | Self::Failed(_) => Finish::Closed,
            Self::Gone | Self::Broken(_) => Finish::Broken,
            Self::Draining => Finish::Draining,
            Self::Replaced => Finish::Replaced,
        }
    }
}

impl Session {
    /// Why the member's stream ends of itself.
    pub(in super::super) fn member_end(&self) -> Option<End> {
        let hosting = self.hosting.as_ref()?;
        if let Some(error) = hosting.failure() {
            self.plane.metrics.error(self.context.api, error.code());
            return Some(End::Failed(failure_of(error)));
        }
        hosting.is_replaced().then_some(End::Replaced)
    }

    /// Commits what was acknowledged, and leaves if it is to.
    pub(in super::super) async fn wind_down(&mut self, end: &End, out: &mpsc::Sender<Frame>) {
        if matches!(end, End::Gone | End::Broken(_)) {
            self.outbox.clear();
        }
        let context = self.context.clone();
        let mut drained = pin!(context.drained());
        let mut draining = matches!(end, End::Draining);
        self.finish(end.finish());
        loop {
            self.obey_member();
            let Some(hosting) = self.hosting.as_mut().filter(|hosting| !hosting.done) else {
                break;
            };
            tokio::select! {
                Ok(permit) = out.reserve(), if !self.outbox.is_empty() => {
                    if let Some(frame) = self.outbox.pop_front() {
                        permit.send(Ok(frame));
                    }
                    continue;
                }
                () = &mut drained, if !draining => {
                    draining = true;
                    self.finish(Finish::Draining);
                }
                news = hosting.next() => {
                    let replaced = matches!(news, News::Replaced);
                    self.member_news(news);
                    if replaced {
                        self.finish(Finish::Replaced);
                    }
                }
            }
        }
        let words = std::mem::take(&mut self.outbox);
        let tell = async {
            for frame in words {
                if out.send(Ok(frame)).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, tell).await;
    }

    fn finish(&mut self, finish: Finish) {
        if let Some(hosting) = &mut self.hosting {
            hosting.step(MemberInput::Finish(finish));
        }
    }
}
