//! The cluster's metadata is one map with a version: a read of a version holds exactly what was written up to it; a
//! linearizable read's version is no less than any acknowledged before it was asked; a client's reads never go back;
//! and a change made after another was acknowledged has a later version.
//!
//! Only topics that this history creates, and of whose changes it knows the versions, are looked at: others may be
//! somebody else's.

use crate::history::{EventId, History, Kind, MetadataRead, MetadataWrite, Op, Process, Topic};
use crate::numbered::FastMap;
use crate::observed::Observed;
use crate::rising::Rising;
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::MetadataVersion;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let story = Story::of(history, observed);
    let mut acked: Rising<MetadataVersion> = Rising::default();
    let mut seen: FastMap<Process, (MetadataVersion, EventId)> = FastMap::default();
    let mut looked_at = false;
    let operations = observed.told.metadata.iter();
    let mut completed: Vec<(EventId, EventId)> = operations
        .filter(|operation| history.outcome(**operation) == Kind::Ok)
        .filter_map(|operation| Some((operation.completion?, operation.invoke)))
        .collect();
    completed.sort_unstable();
    for (event, invoke) in completed {
        let before = acked.before(invoke);
        let told = history.event(event);
        match &told.op {
            Op::MetadataWrite(MetadataWrite {
                version: Some(version),
                ..
            }) => {
                if let Some(before) = before.filter(|(_, earlier)| earlier >= version) {
                    let kind = AnomalyKind::MetadataWriteOrder;
                    tell_versions(history, verdict, kind, (event, *version), before);
                }
                acked.raise(event, *version);
            }
            Op::MetadataRead(read) => {
                let Some(version) = read.version else { continue };
                looked_at = true;
                let stale = before.filter(|(_, earlier)| read.linearizable && *earlier > version);
                let back = seen.insert(told.process, (version, event));
                let back = back.filter(|(earlier, _)| *earlier > version);
                if let Some(before) = stale {
                    tell_versions(
                        history,
                        verdict,
                        AnomalyKind::StaleMetadata,
                        (event, version),
                        before,
                    );
                } else if let Some((earlier, of)) = back {
                    let kind = AnomalyKind::MetadataWentBack;
                    tell_versions(history, verdict, kind, (event, version), (of, earlier));
                }
                if read.linearizable {
                    acked.raise(event, version);
                }
                story.check(history, verdict, event, read, version);
            }
            _ => {}
        }
    }
    verdict.exercised("metadata (no reads with a version)", looked_at);
}

fn tell_versions(
    history: &History,
    verdict: &mut Verdict,
    kind: AnomalyKind,
    (event, version): (EventId, MetadataVersion),
    (before, earlier): (EventId, MetadataVersion),
) {
    verdict.add(kind, || {
        let summary = format!("metadata of version {version}, after version {earlier}");
        let words = |event: EventId, version: MetadataVersion| match &history.event(event).op {
            Op::MetadataWrite(write) => format!("{} in version {version}", words(write)),
            _ => format!("metadata of version {version} read"),
        };
        let evidence = [(before, earlier), (event, version)];
        let evidence = evidence.map(|(of, version)| Evidence::of(history, of, &words(of, version)));
        (summary, evidence.to_vec())
    });
}

fn words(write: &MetadataWrite) -> String {
    match write.partitions {
        Some(partitions) => format!("topic {} has {partitions} partitions", write.topic),
        None => format!("topic {} deleted", write.topic),
    }
}

/// A version in which something changed, to what, and by which event.
type Change = (MetadataVersion, Option<u32>, EventId);

/// What was written, by version.
struct Story<'a> {
    changes: FastMap<&'a Topic, Vec<Change>>,
    /// How many topics there are from each version on.
    alive: Vec<(MetadataVersion, usize)>,
}

impl<'a> Story<'a> {
    fn of(history: &'a History, observed: &Observed<'_>) -> Self {
        let mut changes: FastMap<&Topic, Vec<Change>> = FastMap::default();
        let mut unsure: Vec<&Topic> = Vec::new();
        for operation in &observed.told.metadata {
            let event = operation.completion.unwrap_or(operation.invoke);
            let Op::MetadataWrite(write) = &history.event(event).op else {
                continue;
            };
            match (history.outcome(*operation), write.version) {
                (Kind::Fail, _) => {}
                (Kind::Ok, Some(version)) => {
                    let change = (version, write.partitions, event);
                    changes.entry(&write.topic).or_default().push(change);
                }
                _ => unsure.push(&write.topic),
            }
        }
        for topic in unsure {
            changes.remove(topic);
        }
        for of_topic in changes.values_mut() {
            of_topic.sort_unstable_by_key(|(version, ..)| *version);
        }
        // What is deleted first was created by somebody else.
        changes.retain(|_, of_topic| {
            of_topic
                .first()
                .is_some_and(|(_, partitions, _)| partitions.is_some())
        });
        let alive = Self::alive(&changes);
        Self { changes, alive }
    }

    fn alive(changes: &FastMap<&Topic, Vec<Change>>) -> Vec<(MetadataVersion, usize)> {
        let mut steps: Vec<(MetadataVersion, bool)> = Vec::new();
        for of_topic in changes.values() {
            let mut was = false;
            for (version, partitions, _) in of_topic {
                if partitions.is_some() != was {
                    was = !was;
                    steps.push((*version, was));
                }
            }
        }
        steps.sort_unstable();
        let mut count = 0_usize;
        let counted = steps.into_iter().map(|(version, created)| {
            count = if created {
                count + 1
            } else {
                count.saturating_sub(1)
            };
            (version, count)
        });
        counted.collect()
    }

    /// What a topic is in a version, and since which change.
    fn at(&self, topic: &Topic, version: MetadataVersion) -> Option<(Option<u32>, EventId)> {
        let of_topic = self.changes.get(topic)?;
        let later = of_topic.partition_point(|(changed, ..)| *changed <= version);
        let (_, partitions, event) = of_topic[later.checked_sub(1)?];
        Some((partitions, event))
    }

    fn check(
        &self,
        history: &History,
        verdict: &mut Verdict,
        event: EventId,
        read: &MetadataRead,
        version: MetadataVersion,
    ) {
        let known = |topic: &&Topic| self.changes.contains_key(*topic);
        let wrong = read.topics.iter().find(|(topic, partitions)| {
            known(topic) && self.at(topic, version).and_then(|(is, _)| is) != Some(**partitions)
        });
        let found = read.topics.keys().filter(known).count();
        let later = self.alive.partition_point(|(changed, _)| *changed <= version);
        let expected = later.checked_sub(1).map_or(0, |at| self.alive[at].1);
        let missing = || {
            let topics = self.changes.keys().filter(|topic| {
                !read.topics.contains_key(**topic)
                    && self.at(topic, version).is_some_and(|(is, _)| is.is_some())
            });
            topics.min()
        };
        let topic = match wrong {
            Some((topic, _)) => topic,
            None if found < expected => match missing() {
                Some(topic) => *topic,
                None => return,
            },
            None => return,
        };
        verdict.add(AnomalyKind::MetadataMismatch, || {
            let partitions = |of: Option<u32>| {
                of.map_or_else(
                    || "is not there".to_owned(),
                    |count| format!("has {count} partitions"),
                )
            };
            let is = self.at(topic, version);
            let (told, is_words) = (
                partitions(read.topics.get(topic).copied()),
                partitions(is.and_then(|(is, _)| is)),
            );
            let summary = format!(
                "topic {topic} {told} in version {version} as it was read, and {is_words} as it was written"
            );
            let what = format!("metadata of version {version} read: topic {topic} {told}");
            let mut evidence = vec![Evidence::of(history, event, &what)];
            evidence.extend(is.map(|(_, change)| {
                let what = format!("topic {topic} {is_words}");
                Evidence::of(history, change, &what)
            }));
            (summary, evidence)
        });
    }
}
