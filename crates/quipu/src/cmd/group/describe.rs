//! `quipu group describe`: how far a group is, who is in it, and what it waits for.

use super::dash;
use crate::output::{Ending, Outcome, Output, table};
use clap::Args;
use quipu_client::{Admin, GroupDescription, GroupOffset, GroupPartition, MemberDescription, Timestamp};
use serde::Serialize;

/// Describe groups: state, offsets, lag and who has which partition
///
/// LAG is how many records are there and not processed. CURRENT-OFFSET is what was committed; where
/// nothing was, it is empty, and LAG counts all there is.
///
/// Examples:
///   quipu group describe billing
///   quipu group describe billing --members
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Describe {
    /// Which; all if none is named
    groups: Vec<String>,
    /// The members: where they are, what they have, what they still have to give up
    #[arg(long)]
    members: bool,
}

pub(super) async fn run(admin: &Admin, args: &Describe, out: Output) -> Outcome {
    let mut names = args.groups.clone();
    if names.is_empty() {
        let listed = admin.list_groups().await?;
        names.extend(listed.groups.into_iter().map(|group| group.group));
    }
    let mut groups = Vec::new();
    for name in &names {
        groups.push(GroupJson::from(admin.describe_group(name).await?));
    }
    out.result(&groups, |groups| {
        let described = groups.iter().map(|group| group.describe(args.members));
        described.collect::<Vec<_>>().join("\n")
    })?;
    Ok(Ending::Done)
}

/// A group in JSON.
#[derive(Serialize)]
struct GroupJson {
    group: String,
    state: &'static str,
    epoch: u32,
    target_epoch: u32,
    assignor: String,
    coordinator: u32,
    expires_at: Option<String>,
    members: Vec<MemberJson>,
    partitions: Vec<OffsetJson>,
}

#[derive(Serialize)]
struct MemberJson {
    member_id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    rack: Option<String>,
    topics: Vec<String>,
    topic_pattern: Option<String>,
    epoch: u32,
    owned: Vec<PartitionJson>,
    target: Vec<PartitionJson>,
    revoking: Vec<PartitionJson>,
    revocation_left_ms: Option<u64>,
}

#[derive(Serialize)]
struct PartitionJson {
    topic: String,
    partition: u32,
}

#[derive(Serialize)]
struct OffsetJson {
    topic: String,
    topic_id: Option<String>,
    partition: u32,
    /// What was committed; absent if nothing was, or if it expired.
    current_offset: Option<u64>,
    log_start: Option<u64>,
    log_end_offset: Option<u64>,
    lag: Option<u64>,
    committed_at: Option<String>,
    metadata: String,
    member_id: Option<String>,
    host: Option<String>,
    /// Where it stood when it expired.
    expired_at_offset: Option<u64>,
}

impl From<GroupDescription> for GroupJson {
    fn from(group: GroupDescription) -> Self {
        let members = &group.members;
        let offsets = group.offsets.iter().map(|known| offset(known, members));
        let partitions = offsets.collect();
        Self {
            state: group.state.name(),
            epoch: group.epoch.get(),
            target_epoch: group.target_epoch.get(),
            assignor: group.assignor,
            coordinator: group.coordinator.get(),
            expires_at: group.expires_at.map(time),
            partitions,
            members: group.members.into_iter().map(MemberJson::from).collect(),
            group: group.group,
        }
    }
}

fn offset(known: &GroupOffset, members: &[MemberDescription]) -> OffsetJson {
    let owner = known.member_id.as_ref();
    let owner = owner.and_then(|id| members.iter().find(|member| member.member_id == *id));
    let committed = known.committed.map(|offset| offset.get());
    OffsetJson {
        topic: known.partition.topic.to_string(),
        topic_id: known.partition.topic_id.map(|id| id.to_string()),
        partition: known.partition.partition.get(),
        current_offset: committed.filter(|_| !known.expired),
        log_start: known.log_start.map(|offset| offset.get()),
        log_end_offset: known.high_watermark.map(|offset| offset.get()),
        lag: known.lag(),
        committed_at: known.committed_at.map(time),
        metadata: known.metadata.clone(),
        member_id: known.member_id.clone(),
        host: owner.map(|member| member.client_host.clone()),
        expired_at_offset: committed.filter(|_| known.expired),
    }
}

impl From<MemberDescription> for MemberJson {
    fn from(member: MemberDescription) -> Self {
        let left = member.revocation_left.map(|left| left.as_millis());
        Self {
            owned: partitions(&member.owned),
            target: partitions(&member.target),
            revoking: partitions(&member.revoking),
            revocation_left_ms: left.and_then(|left| u64::try_from(left).ok()),
            member_id: member.member_id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.client_host,
            rack: member.rack,
            topics: member.topics,
            topic_pattern: member.topic_pattern,
            epoch: member.epoch.get(),
        }
    }
}

fn partitions(all: &[GroupPartition]) -> Vec<PartitionJson> {
    let each = all.iter().map(|partition| PartitionJson {
        topic: partition.topic.to_string(),
        partition: partition.partition.get(),
    });
    each.collect()
}

/// As RFC 3339 has it.
fn time(time: Timestamp) -> String {
    let instant = jiff::Timestamp::from_millisecond(time.get());
    instant.map_or_else(|_| time.get().to_string(), |instant| instant.to_string())
}

impl GroupJson {
    /// As text: what it is doing, what is out of the ordinary, then its partitions or its members.
    fn describe(&self, members: bool) -> String {
        let mut text = format!(
            "{}: {}, members: {}, coordinator: broker {}, assignor: {}\n",
            self.group,
            self.state,
            self.members.len(),
            self.coordinator,
            self.assignor
        );
        if let Some(at) = &self.expires_at {
            text.push_str(&format!("  its offsets expire at {at} unless somebody joins\n"));
        }
        for member in self.members.iter().filter(|member| !member.revoking.is_empty()) {
            let left = member.revocation_left_ms.unwrap_or(0) / 1000;
            text.push_str(&format!(
                "  waiting for {} at {} to give up {}: they are taken from it in {left} s\n",
                member.name(),
                member.host,
                list(&member.revoking)
            ));
        }
        for gone in &self.partitions {
            if let Some(stood) = gone.expired_at_offset {
                text.push_str(&format!(
                    "  the offset of {}/{} has expired: it stood at {stood}\n",
                    gone.topic, gone.partition
                ));
            }
        }
        text.push('\n');
        text.push_str(&if members { self.members() } else { self.offsets() });
        text
    }

    fn offsets(&self) -> String {
        let row = |known: &OffsetJson| {
            let owner = self
                .members
                .iter()
                .find(|member| Some(&member.member_id) == known.member_id.as_ref());
            vec![
                self.group.clone(),
                if known.topic.is_empty() {
                    "(deleted)".to_owned()
                } else {
                    known.topic.clone()
                },
                known.partition.to_string(),
                dash(known.current_offset),
                dash(known.log_end_offset),
                dash(known.lag),
                dash(owner.map(MemberJson::name).or(known.member_id.as_deref())),
                dash(known.host.as_ref()),
            ]
        };
        let rows: Vec<Vec<String>> = self.partitions.iter().map(row).collect();
        let header = [
            "GROUP",
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "MEMBER",
            "HOST",
        ];
        table(&header, &rows, &[2, 3, 4, 5])
    }

    fn members(&self) -> String {
        let row = |member: &MemberJson| {
            vec![
                self.group.clone(),
                member.member_id.clone(),
                dash(member.instance_id.as_ref()),
                member.client_id.clone(),
                member.host.clone(),
                dash(member.rack.as_ref()),
                member.epoch.to_string(),
                member.owned.len().to_string(),
                list(&member.owned),
            ]
        };
        let rows: Vec<Vec<String>> = self.members.iter().map(row).collect();
        let header = [
            "GROUP",
            "MEMBER",
            "INSTANCE",
            "CLIENT",
            "HOST",
            "RACK",
            "EPOCH",
            "PARTITIONS",
            "ASSIGNMENT",
        ];
        table(&header, &rows, &[6, 7])
    }
}

impl MemberJson {
    /// What a person knows it by.
    fn name(&self) -> &str {
        self.instance_id.as_deref().unwrap_or(&self.member_id)
    }
}

/// `t/0,1,2 u/5`.
fn list(partitions: &[PartitionJson]) -> String {
    let mut text = String::new();
    let mut last: Option<&str> = None;
    for PartitionJson { topic, partition } in partitions {
        match last {
            Some(same) if same == topic => text.push(','),
            Some(_) => text.push_str(&format!(" {topic}/")),
            None => text.push_str(&format!("{topic}/")),
        }
        text.push_str(&partition.to_string());
        last = Some(topic);
    }
    if text.is_empty() {
        text.push('-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_listed_by_topic() {
        let each = [("t", 0), ("t", 1), ("u", 5)].map(|(topic, partition)| PartitionJson {
            topic: topic.to_owned(),
            partition,
        });
        assert_eq!(list(&each), "t/0,1 u/5");
        assert_eq!(list(&[]), "-");
    }

    #[test]
    fn what_stalls_and_what_expired_is_told() {
        let group = GroupJson {
            group: "g".into(),
            state: "reconciling",
            epoch: 2,
            target_epoch: 2,
            assignor: "uniform".into(),
            coordinator: 1,
            expires_at: None,
            members: vec![MemberJson {
                member_id: "m".into(),
                instance_id: Some("one".into()),
                client_id: "c".into(),
                host: "10.0.0.1".into(),
                rack: None,
                topics: vec!["t".into()],
                topic_pattern: None,
                epoch: 1,
                owned: vec![],
                target: vec![],
                revoking: vec![PartitionJson {
                    topic: "t".into(),
                    partition: 3,
                }],
                revocation_left_ms: Some(12_300),
            }],
            partitions: vec![OffsetJson {
                topic: "t".into(),
                topic_id: None,
                partition: 3,
                current_offset: None,
                log_start: Some(0),
                log_end_offset: Some(9),
                lag: Some(9),
                committed_at: None,
                metadata: String::new(),
                member_id: Some("m".into()),
                host: Some("10.0.0.1".into()),
                expired_at_offset: Some(7),
            }],
        };
        let text = group.describe(false);
        assert!(text.contains("waiting for one at 10.0.0.1 to give up t/3: they are taken from it in 12 s"));
        assert!(text.contains("the offset of t/3 has expired: it stood at 7"));
        let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(row, ["g", "t", "3", "-", "9", "9", "one", "10.0.0.1"]);
    }
}
