//! `quipu topic`.

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, Output, print, table};
use crate::text::key_value;
use clap::{Args, Subcommand};
use quipu_client::{
    Admin, BrokerId, ConfigChange, ErrorCode, NewTopic, Offset, PartitionDescription, PartitionId,
    TopicDescription,
};
use serde::Serialize;

/// Create topics, look at them, change and delete them
#[derive(Subcommand)]
pub(crate) enum Command {
    Create(Create),
    List(List),
    Describe(Describe),
    Alter(Alter),
    Delete(Delete),
    DeleteRecords(DeleteRecords),
}

/// Create a topic
///
/// Examples:
///   quipu topic create flights --partitions 6
///   quipu topic create clicks -p 12 --config retention.ms=86400000 --config durability=replicated
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Create {
    /// 1 to 249 of a-z A-Z 0-9 . _ -
    name: String,
    /// How many partitions: records of one key stay in one, in order [default: 1]
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// How many copies of each [default: 3, or the number of brokers if that is less]
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    replication_factor: Option<u32>,
    /// A config by Kafka's name; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Be content if the topic is there already, whatever it is like
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it could be created
    #[arg(long)]
    validate_only: bool,
}

/// List the topics
#[derive(Args)]
pub(crate) struct List {
    /// Those internal to the cluster as well
    #[arg(long)]
    internal: bool,
}

/// Describe topics: partitions, leaders, replicas and configs
#[derive(Args)]
pub(crate) struct Describe {
    /// Which; all if none is named
    names: Vec<String>,
    /// Only partitions with fewer replicas in sync than there should be
    #[arg(long)]
    under_replicated: bool,
    /// Only partitions without a leader
    #[arg(long)]
    offline: bool,
}

/// Change a topic's configs, or give it more partitions
///
/// Examples:
///   quipu topic alter flights --config retention.ms=-1 --unset segment.bytes
///   quipu topic alter flights --partitions 12        keys go to other partitions from then on
#[derive(Args)]
#[command(verbatim_doc_comment)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["config", "unset", "partitions"]))]
pub(crate) struct Alter {
    /// The topic
    name: String,
    /// A config to set, by Kafka's name; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// A config to put back to its default; may be repeated
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// How many partitions there shall be; more than now
    #[arg(long, short)]
    partitions: Option<u32>,
    /// Change the configs only if they are still of this version (`describe -o json` tells it)
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<u64>,
    /// Only check whether it could be changed
    #[arg(long)]
    validate_only: bool,
}

/// Delete topics with all their records
#[derive(Args)]
pub(crate) struct Delete {
    /// Which
    #[arg(required = true)]
    names: Vec<String>,
    /// Only check whether they could be deleted
    #[arg(long)]
    validate_only: bool,
}

/// Delete a topic's oldest records
///
/// Examples:
///   quipu topic delete-records flights --partition 3 --before 1000
///   quipu topic delete-records flights --all
#[derive(Args)]
#[command(verbatim_doc_comment)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["partition", "all"]))]
pub(crate) struct DeleteRecords {
    /// The topic
    name: String,
    /// The partition; may be repeated
    #[arg(long, short)]
    partition: Vec<u32>,
    /// All partitions
    #[arg(long)]
    all: bool,
    /// The first offset to keep; without it, everything acknowledged so far goes
    #[arg(long, value_name = "OFFSET")]
    before: Option<u64>,
    /// Only check whether they could be deleted
    #[arg(long)]
    validate_only: bool,
}

pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    let out = session.output();
    session.block_on(async {
        let admin = session.client().await?.admin();
        match command {
            Command::Create(args) => create(&admin, args, out).await,
            Command::List(args) => list(&admin, &args, out).await,
            Command::Describe(args) => describe(&admin, &args, out).await,
            Command::Alter(args) => alter(&admin, args, out).await,
            Command::Delete(args) => delete(&admin, &args, out).await,
            Command::DeleteRecords(args) => delete_records(&admin, &args, out).await,
        }
    })
}

async fn create(admin: &Admin, args: Create, out: Output) -> Outcome {
    let topic = NewTopic {
        name: args.name.clone(),
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        configs: args.config.into_iter().collect(),
        validate_only: args.validate_only,
    };
    let (topic, made) = match admin.create_topic(topic).await {
        Ok(changed) => (
            changed.topic,
            if args.validate_only {
                "could be created"
            } else {
                "created"
            },
        ),
        Err(error) if args.if_not_exists && error.code() == ErrorCode::TopicAlreadyExists => {
            (admin.get_topic(&args.name).await?, "was there already")
        }
        Err(error) => return Err(error.into()),
    };
    out.result(&TopicJson::from(&topic), |topic| {
        let copies = topic.partitions.first().map_or(0, |p| p.replicas.len());
        let count = topic.partitions.len();
        format!(
            "{}: {made}, partitions: {count}, replicas of each: {copies}, id: {}",
            topic.name, topic.topic_id
        )
    })?;
    Ok(Ending::Done)
}

async fn list(admin: &Admin, args: &List, out: Output) -> Outcome {
    let topics = admin.list_topics(args.internal).await?;
    let topics: Vec<_> = topics.iter().map(TopicJson::from).collect();
    out.result(&topics, |topics| {
        let rows: Vec<Vec<String>> = topics
            .iter()
            .map(|t| {
                let copies = t.partitions.first().map_or(0, |p| p.replicas.len());
                let id = t.topic_id.clone();
                vec![
                    t.name.clone(),
                    t.partitions.len().to_string(),
                    copies.to_string(),
                    id,
                ]
            })
            .collect();
        table(&["TOPIC", "PARTITIONS", "REPLICAS", "ID"], &rows, &[1, 2])
    })?;
    Ok(Ending::Done)
}

async fn describe(admin: &Admin, args: &Describe, out: Output) -> Outcome {
    let mut topics = Vec::new();
    if args.names.is_empty() {
        topics = admin.list_topics(true).await?;
    }
    for name in &args.names {
        topics.push(admin.get_topic(name).await?);
    }
    let filtered = args.under_replicated || args.offline;
    let wanted = |p: &PartitionDescription| {
        !filtered
            || args.under_replicated && p.in_sync_replicas.len() < p.replicas.len()
            || args.offline && p.leader.is_none()
    };
    for topic in &mut topics {
        topic.partitions.retain(wanted);
    }
    if filtered {
        topics.retain(|topic| !topic.partitions.is_empty());
    }
    let topics: Vec<_> = topics.iter().map(TopicJson::from).collect();
    out.result(&topics, |topics| {
        let described = topics.iter().map(|topic| topic.describe(!filtered));
        described.collect::<Vec<_>>().join("\n")
    })?;
    Ok(Ending::Done)
}

async fn alter(admin: &Admin, args: Alter, out: Output) -> Outcome {
    let mut after = None;
    if !args.config.is_empty() || !args.unset.is_empty() {
        let change = ConfigChange {
            set: args.config.into_iter().collect(),
            unset: args.unset,
            expected_version: args.expected_version,
            validate_only: args.validate_only,
        };
        after = Some(admin.update_topic_config(&args.name, change).await?.topic);
    }
    if let Some(partitions) = args.partitions {
        after = Some(
            admin
                .create_partitions(&args.name, partitions, args.validate_only)
                .await?
                .topic,
        );
    }
    let Some(topic) = after else {
        return Err(Failure::usage("nothing to change").next("give --config, --unset or --partitions"));
    };
    let changed = if args.validate_only {
        "could be changed"
    } else {
        "changed"
    };
    out.result(&TopicJson::from(&topic), |topic| {
        format!("{}: {changed}\n{}", topic.name, topic.describe(true))
    })?;
    Ok(Ending::Done)
}

async fn delete(admin: &Admin, args: &Delete, out: Output) -> Outcome {
    for name in &args.names {
        admin.delete_topic(name, args.validate_only).await?;
        if !out.is_json() {
            print(&format!(
                "{name}: {}",
                if args.validate_only {
                    "could be deleted"
                } else {
                    "deleted"
                }
            ))?;
        }
    }
    if out.is_json() {
        crate::output::json_line(
            &serde_json::json!({ "deleted": args.names, "validate_only": args.validate_only }),
        )?;
    }
    Ok(Ending::Done)
}

/// What became of one partition's records.
#[derive(Serialize)]
struct DeletedJson {
    partition: u32,
    log_start: Option<u64>,
    error: Option<String>,
}

async fn delete_records(admin: &Admin, args: &DeleteRecords, out: Output) -> Outcome {
    let partitions: Vec<PartitionId> = if args.all {
        admin
            .get_topic(&args.name)
            .await?
            .partitions
            .iter()
            .map(|p| p.partition)
            .collect()
    } else {
        args.partition.iter().copied().map(PartitionId::new).collect()
    };
    let before = args.before.map(Offset::new);
    let wanted = partitions
        .into_iter()
        .map(|partition| (partition, before))
        .collect();
    let deleted = admin
        .delete_records(&args.name, wanted, args.validate_only)
        .await?;
    let results: Vec<DeletedJson> = deleted
        .into_iter()
        .map(|d| DeletedJson {
            partition: d.partition.get(),
            log_start: d.log_start.as_ref().ok().map(|offset| offset.get()),
            error: d.log_start.err().map(|failure| failure.to_string()),
        })
        .collect();
    out.result(&results, |results| {
        let rows: Vec<Vec<String>> = results
            .iter()
            .map(|r| {
                let start = r.log_start.map_or("-".to_owned(), |offset| offset.to_string());
                vec![
                    r.partition.to_string(),
                    start,
                    r.error.clone().unwrap_or_default(),
                ]
            })
            .collect();
        table(&["PARTITION", "LOG-START", "ERROR"], &rows, &[0, 1])
    })?;
    let failed = results.iter().filter(|r| r.error.is_some()).count();
    if failed > 0 {
        return Err(Failure::new(format_args!(
            "nothing was deleted from {failed} of {} partitions",
            results.len()
        )));
    }
    Ok(Ending::Done)
}

/// A topic in JSON.
#[derive(Serialize)]
struct TopicJson {
    name: String,
    topic_id: String,
    internal: bool,
    partitions: Vec<PartitionJson>,
    configs: Vec<ConfigJson>,
    config_version: u64,
}

#[derive(Serialize)]
struct PartitionJson {
    partition: u32,
    leader: Option<u32>,
    leader_epoch: u32,
    partition_epoch: u64,
    replicas: Vec<u32>,
    in_sync_replicas: Vec<u32>,
    eligible_leader_replicas: Vec<u32>,
    min_insync_replicas: u32,
}

#[derive(Serialize)]
struct ConfigJson {
    key: String,
    value: String,
    is_default: bool,
}

impl From<&TopicDescription> for TopicJson {
    fn from(topic: &TopicDescription) -> Self {
        let config = |entry: &quipu_client::ConfigEntry| ConfigJson {
            key: entry.key.clone(),
            value: entry.value.clone(),
            is_default: entry.is_default,
        };
        Self {
            name: topic.name.clone(),
            topic_id: topic.id.to_string(),
            internal: topic.internal,
            partitions: topic.partitions.iter().map(PartitionJson::from).collect(),
            configs: topic.configs.iter().map(config).collect(),
            config_version: topic.config_version,
        }
    }
}

impl From<&PartitionDescription> for PartitionJson {
    fn from(partition: &PartitionDescription) -> Self {
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.get()).collect();
        Self {
            partition: partition.partition.get(),
            leader: partition.leader.map(BrokerId::get),
            leader_epoch: partition.leader_epoch.get(),
            partition_epoch: partition.partition_epoch.get(),
            replicas: ids(&partition.replicas),
            in_sync_replicas: ids(&partition.in_sync_replicas),
            eligible_leader_replicas: ids(&partition.eligible_leader_replicas),
            min_insync_replicas: partition.min_insync_replicas,
        }
    }
}

impl TopicJson {
    /// As text: the topic, its configs if wanted, a line for each partition.
    fn describe(&self, configs: bool) -> String {
        let internal = if self.internal {
            ", internal to the cluster"
        } else {
            ""
        };
        let mut text = format!("{} (id {}{internal})\n", self.name, self.topic_id);
        if configs {
            let rows: Vec<Vec<String>> = self
                .configs
                .iter()
                .map(|c| {
                    vec![
                        c.key.clone(),
                        c.value.clone(),
                        if c.is_default { "default" } else { "" }.to_owned(),
                    ]
                })
                .collect();
            text.push_str(&table(&["CONFIG", "VALUE", ""], &rows, &[]));
            text.push('\n');
        }
        let list = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let rows: Vec<Vec<String>> = self
            .partitions
            .iter()
            .map(|p| {
                vec![
                    p.partition.to_string(),
                    p.leader.map_or("none".to_owned(), |leader| leader.to_string()),
                    p.leader_epoch.to_string(),
                    list(&p.replicas),
                    list(&p.in_sync_replicas),
                    p.min_insync_replicas.to_string(),
                ]
            })
            .collect();
        let header = [
            "PARTITION",
            "LEADER",
            "EPOCH",
            "REPLICAS",
            "IN-SYNC",
            "MIN-IN-SYNC",
        ];
        text.push_str(&table(&header, &rows, &[0, 2, 5]));
        text
    }
}
