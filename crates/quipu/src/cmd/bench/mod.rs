//! `quipu bench`.

mod consume;
mod e2e;
mod payload;
mod produce;

use crate::cli::Session;
use crate::output::{Failure, Outcome, Output, OutputFormat, say};
use clap::Subcommand;
use quipu_client::{Admin, ErrorCode, NewTopic};

/// Measure a cluster: throughput and latency, in the words of Kafka's tools
#[derive(Subcommand)]
pub(crate) enum Command {
    Produce(produce::Args),
    Consume(consume::Args),
    E2e(e2e::Args),
}

pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    session.block_on(async {
        match command {
            Command::Produce(args) => produce::run(args, session).await,
            Command::Consume(args) => consume::run(args, session).await,
            Command::E2e(args) => e2e::run(args, session).await,
        }
    })
}

/// What is measured on.
#[derive(clap::Args, Clone, Debug)]
struct TopicArgs {
    /// The topic; created if it is not there, and kept
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Partitions, if the topic is created
    #[arg(long, default_value_t = 6)]
    partitions: u32,
    /// Copies, if the topic is created [default: 3, or the number of brokers if that is less]
    #[arg(long)]
    replication_factor: Option<u32>,
    /// A config, if the topic is created; may be repeated, as in --config durability=replicated
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::text::key_value)]
    config: Vec<(String, String)>,
}

impl TopicArgs {
    async fn ensure(&self, admin: &Admin) -> Result<(), Failure> {
        let topic = NewTopic {
            name: self.topic.clone(),
            partitions: Some(self.partitions),
            replication_factor: self.replication_factor,
            configs: self.config.iter().cloned().collect(),
            validate_only: false,
        };
        match admin.create_topic(topic).await {
            Ok(_) => say(format_args!(
                "created topic {} with {} partitions",
                self.topic, self.partitions
            )),
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// `--json` is `-o json`.
fn output(session: &Session, json: bool) -> Output {
    if json {
        Output::new(OutputFormat::Json)
    } else {
        session.output()
    }
}
