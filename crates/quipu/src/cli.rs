//! The command line's shape: what there is, and what holds for all of it.

use crate::cmd;
use crate::output::{Failure, Outcome, Output, OutputFormat};
use clap::{Args, Parser, Subcommand};
use quipu_client::{Client, ClientConfig, ConnectError};
use std::time::Duration;

/// A partitioned commit log in one small binary: broker, command line, benchmark, offline log reader and demo.
#[derive(Parser)]
#[command(name = "quipu", version, after_help = EXAMPLES)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    session: Session,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
First steps:
  quipu demo                                     see it work, and proven, in half a minute
  quipu check --local                            see it broken on purpose, and checked
  quipu dev --data-dir /tmp/quipu                a broker that stays up; --brokers 3: a cluster

Then, elsewhere:
  quipu topic create flights --partitions 6
  echo 'N14228:UA 1545' | quipu produce flights --key-separator :
  quipu consume flights --exit-at-end --format '%p %o %k %v\\n'

Exit codes: 0 done, 1 failed, 2 wrong usage.
`cluster check` answers as Nagios does: 0 fine, 1 warning, 2 critical.";

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Session {
    /// Where the cluster is: host:port of one broker or of several, with commas
    #[arg(
        long,
        global = true,
        env = "QUIPU_BOOTSTRAP",
        default_value = "127.0.0.1:4600"
    )]
    #[arg(value_name = "HOST:PORT,...", value_delimiter = ',', hide_env_values = true)]
    bootstrap: Vec<String>,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    output: OutputFormat,
}

/// Nobody waits longer at a prompt to hear that there is no broker.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of the cluster behind `bootstrap`.
pub(crate) async fn connect(bootstrap: &[String]) -> Result<Client, ConnectError> {
    connect_within(bootstrap, CALL_TIMEOUT).await
}

async fn connect_within(bootstrap: &[String], call_timeout: Duration) -> Result<Client, ConnectError> {
    Client::connect(client_config(bootstrap, call_timeout)).await
}

/// How clients of the command line are made.
pub(crate) fn client_config(bootstrap: &[String], call_timeout: Duration) -> ClientConfig {
    ClientConfig::new(bootstrap)
        .with_client_id("quipu-cli")
        .with_call_timeout(call_timeout)
}

impl Session {
    /// A client of the cluster, connected.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        Ok(connect(&self.bootstrap).await?)
    }

    /// Where the cluster is, as it was said.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap.join(",")
    }

    /// How clients of the cluster are made that this command does not make itself.
    pub(crate) fn client_config(&self) -> ClientConfig {
        client_config(&self.bootstrap, CALL_TIMEOUT)
    }

    /// A client whose calls may take so long. Whether anybody is there is found out as soon as ever.
    pub(crate) async fn patient_client(&self, call_timeout: Duration) -> Result<Client, Failure> {
        self.client().await?;
        Ok(connect_within(&self.bootstrap, call_timeout).await?)
    }

    /// Runs a command to its end.
    pub(crate) fn block_on(&self, command: impl Future<Output = Outcome>) -> Outcome {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(format_args!("cannot start threads: {e}")))?;
        let outcome = runtime.block_on(command);
        // A thread that still reads standard input must not hold up the end.
        runtime.shutdown_background();
        outcome
    }

    /// Where results go.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.output)
    }
}

#[derive(Subcommand)]
enum Command {
    Serve(cmd::serve::Args),
    Dev(cmd::dev::Args),
    Demo(cmd::demo::Args),
    Check(cmd::check::Args),
    #[command(subcommand)]
    Topic(cmd::topic::Command),
    Produce(cmd::produce::Args),
    Consume(cmd::consume::Args),
    #[command(subcommand)]
    Group(cmd::group::Command),
    #[command(subcommand)]
    Cluster(cmd::cluster::Command),
    #[command(subcommand)]
    Controller(cmd::controller::Command),
    #[command(subcommand)]
    Bench(cmd::bench::Command),
    #[command(subcommand)]
    Log(cmd::log::Command),
    Completions(cmd::completions::Args),
}

impl Cli {
    /// Does what was asked.
    pub(crate) fn run(self) -> Outcome {
        let session = self.session;
        match self.command {
            Command::Serve(args) => cmd::serve::run(args, &session),
            Command::Dev(args) => cmd::dev::run(args, &session),
            Command::Demo(args) => cmd::demo::run(args, &session),
            Command::Check(args) => cmd::check::run(args, &session),
            Command::Topic(command) => cmd::topic::run(command, &session),
            Command::Produce(args) => cmd::produce::run(args, &session),
            Command::Consume(args) => cmd::consume::run(args, &session),
            Command::Group(command) => cmd::group::run(command, &session),
            Command::Cluster(command) => cmd::cluster::run(command, &session),
            Command::Controller(command) => cmd::controller::run(command, &session),
            Command::Bench(command) => cmd::bench::run(command, &session),
            Command::Log(command) => cmd::log::run(command, &session),
            Command::Completions(args) => cmd::completions::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    /// Paragraphs whose lines are broken by hand, and too long for the width that help is printed in.
    fn too_wide(command: &clap::Command) -> Vec<String> {
        let texts = [command.get_long_about(), command.get_after_help()];
        let texts: Vec<String> = texts.into_iter().flatten().map(ToString::to_string).collect();
        let paragraphs = texts.iter().flat_map(|text| text.split("\n\n"));
        let by_hand = paragraphs.filter(|paragraph| paragraph.contains('\n'));
        let long = by_hand
            .flat_map(str::lines)
            .filter(|line| line.chars().count() > 100);
        let own = long.map(|line| format!("{}: {line}", command.get_name()));
        own.chain(command.get_subcommands().flat_map(too_wide)).collect()
    }

    #[test]
    fn what_help_says_fits_its_width() {
        assert_eq!(too_wide(&Cli::command()), [""; 0]);
        let wide = clap::Command::new("x").after_help(format!("a\n{}", "b".repeat(101)));
        assert_eq!(too_wide(&wide).len(), 1);
    }
}
