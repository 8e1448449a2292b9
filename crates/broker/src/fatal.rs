//! The end: a failed fsync, a dead controller. Said once, by whoever sees it first; the broker then exits non-zero.

use std::sync::Arc;
use tokio::sync::watch;

/// Where the unrecoverable is announced. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct Fatal {
    reason: Arc<watch::Sender<Option<Arc<str>>>>,
}

impl Default for Fatal {
    fn default() -> Self {
        Self {
            reason: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Fatal {
    /// Announces that the broker cannot go on. The first reason stands; all are logged.
    pub fn announce(&self, reason: impl std::fmt::Display) {
        let reason: Arc<str> = reason.to_string().into();
        tracing::error!(%reason, "the broker cannot go on and stops");
        self.reason.send_if_modified(|first| {
            let unset = first.is_none();
            if unset {
                *first = Some(reason);
            }
            unset
        });
    }

    /// The reason, once there is one.
    #[must_use]
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    /// Waits for an announcement; for ever, if all goes well.
    pub async fn announced(&self) -> Arc<str> {
        let mut watch = self.reason.subscribe();
        match watch.wait_for(Option::is_some).await.map(|r| r.clone()) {
            Ok(Some(reason)) => reason,
            // The sender lives in `self`: it cannot be closed.
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fatal;

    #[tokio::test]
    async fn the_first_reason_stands() {
        let fatal = Fatal::default();
        assert_eq!(fatal.reason(), None);
        fatal.announce("fsync of a.log failed");
        fatal.announce("and then some");
        assert_eq!(&*fatal.announced().await, "fsync of a.log failed");
    }
}
