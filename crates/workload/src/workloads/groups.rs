//! Groups: members that join, read, are slow, leave, crash and come back; what was handed out is committed by itself.

use super::Workload;
use super::members::{Member, config};
use crate::chance::Chance;
use crate::error::WorkloadError;
use crate::site::{AGAIN_AFTER, Site};
use crate::tasks::{Stop, Tasks};
use std::time::Duration;

/// Without a record for so long, a read comes back empty.
const POLL_WITHIN: Duration = Duration::from_millis(500);
/// How long a member takes over a batch at most; now and then it is slow.
const PROCESSING: Duration = Duration::from_millis(40);
const SLOW_PROCESSING: Duration = Duration::from_secs(2);
const SLOW_ONE_IN: u64 = 200;
/// How long a member is one, and how long until it is one again.
const LIFE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));
const AWAY: Duration = Duration::from_secs(2);
const CRASH_ONE_IN: u64 = 3;
/// Members of which one has an instance id, which outlives its crashes.
const STATIC_ONE_IN: u32 = 4;

/// Groups: members that join, read, are slow, leave, crash and come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Groups {
    /// How many.
    pub groups: u32,
    /// Members of each.
    pub members: u32,
    /// How long a member is one: between these two.
    pub life: (Duration, Duration),
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            groups: 2,
            members: 4,
            life: LIFE,
        }
    }
}

impl Groups {
    /// The group's name.
    pub(crate) fn group(site: &Site, number: u32) -> String {
        format!("{}-readers-{number}", site.topic)
    }
}

impl Workload for Groups {
    fn name(&self) -> &'static str {
        "groups"
    }

    fn spawn(&self, site: &Site, mut chance: Chance, tasks: &mut Tasks) {
        for group in 0..self.groups {
            for number in 0..self.members {
                let name = Self::group(site, group);
                let (site, work, chance) = (site.clone(), *self, chance.fork());
                let instance =
                    (number % STATIC_ONE_IN == STATIC_ONE_IN - 1).then(|| format!("{name}-{number}"));
                tasks.spawn(|stop| work.member(site, name, instance, chance, stop));
            }
        }
    }
}

impl Groups {
    /// One life in the group after the other.
    async fn member(
        self,
        site: Site,
        group: String,
        instance: Option<String>,
        mut chance: Chance,
        mut stop: Stop,
    ) -> Result<(), WorkloadError> {
        let mut actor = site.recorder.actor();
        while let Some(client) = site.client(&mut stop).await {
            let mut config = config(&site, &group);
            config.instance_id.clone_from(&instance);
            let mut member = Member::join(&site, &client, &mut actor, config)?;
            let until = tokio::time::Instant::now() + chance.between(self.life.0, self.life.1);
            let mut is_member = true;
            while is_member && !stop.requested() && tokio::time::Instant::now() < until {
                is_member = member.poll(&mut actor, POLL_WITHIN).await?;
                let longest = if chance.one_in(SLOW_ONE_IN) {
                    SLOW_PROCESSING
                } else {
                    PROCESSING
                };
                stop.pause(chance.between(Duration::ZERO, longest)).await;
            }
            if !stop.requested() && chance.one_in(CRASH_ONE_IN) {
                member.crash(&site, &mut actor)?;
            } else {
                member.close().await?;
                actor.renew();
            }
            let away = chance.around(AWAY).max(AGAIN_AFTER);
            if !stop.pause(away).await {
                break;
            }
        }
        Ok(())
    }
}
