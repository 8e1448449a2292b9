//! `quipu controller`.

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, table};
use clap::Subcommand;
use quipu_client::{ControllerDescription, ErrorCode};
use serde::Serialize;
use std::time::Duration;

/// A controller that is taken in gets all of the metadata first, and that may take a while.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Look at the controllers, which vote on the cluster's metadata, and change who they are
///
/// A majority of the voters must run: of three, two. A voter that is only down needs nothing but to
/// be started again. One whose data directory is lost is another controller when it comes back:
/// `replace` gives it the place of the dead one.
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum Command {
    /// Show the controllers: who votes, who is active, who answers, how far behind they are
    Status,
    /// Make a running, empty controller a voter, in addition to those there are
    ///
    /// Example:
    ///   quipu controller join broker-3.example:4601
    #[command(verbatim_doc_comment)]
    Join {
        /// host:port of its internal listener
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Make a running, empty controller a voter in place of one that will not come back
    ///
    /// Example:
    ///   quipu controller replace --dead 6b1f0c2d9e8a7755 broker-1.example:4601
    #[command(verbatim_doc_comment)]
    Replace {
        /// The id of the one that will not come back, as `controller status` shows it
        #[arg(long, value_name = "ID")]
        dead: String,
        /// host:port of the new one's internal listener
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Take a controller out of the group, before its process is stopped for good
    ///
    /// Example:
    ///   quipu controller leave 6b1f0c2d9e8a7755
    #[command(verbatim_doc_comment)]
    Leave {
        /// Its id, as `controller status` shows it
        id: String,
    },
}

pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    session.block_on(async {
        match command {
            Command::Status => status(session).await,
            Command::Join { address } => join(session, &address, None).await,
            Command::Replace { dead, address } => join(session, &address, Some(&dead)).await,
            Command::Leave { id } => leave(session, &id).await,
        }
    })
}

#[derive(Serialize)]
struct StatusJson {
    term: u64,
    metadata_version: u64,
    controllers: Vec<ControllerJson>,
}

#[derive(Serialize)]
struct VotersJson {
    voters: Vec<ControllerJson>,
}

#[derive(Serialize)]
struct ControllerJson {
    controller_id: String,
    address: String,
    voter: bool,
    active: bool,
    reachable: bool,
    metadata_version: Option<u64>,
}

impl From<ControllerDescription> for ControllerJson {
    fn from(controller: ControllerDescription) -> Self {
        Self {
            controller_id: controller.id,
            address: controller.address,
            voter: controller.voter,
            active: controller.active,
            reachable: controller.reachable,
            metadata_version: controller.metadata_version.map(|version| version.get()),
        }
    }
}

async fn status(session: &Session) -> Outcome {
    let found = session.client().await?.admin().controllers().await?;
    let status = StatusJson {
        term: found.term,
        metadata_version: found.metadata_version.get(),
        controllers: found.controllers.into_iter().map(Into::into).collect(),
    };
    session.output().result(&status, status_text)?;
    Ok(Ending::Done)
}

fn status_text(status: &StatusJson) -> String {
    let rows: Vec<Vec<String>> = status
        .controllers
        .iter()
        .map(|controller| {
            let behind = controller
                .metadata_version
                .map(|version| status.metadata_version.saturating_sub(version).to_string());
            let part = match (controller.active, controller.voter) {
                (true, _) => "active",
                (false, true) => "voter",
                (false, false) => "learner",
            };
            vec![
                controller.controller_id.clone(),
                dash_if_empty(&controller.address),
                part.to_owned(),
                if controller.reachable { "up" } else { "DOWN" }.to_owned(),
                behind.unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let voters = status
        .controllers
        .iter()
        .filter(|controller| controller.voter)
        .count();
    let up = status
        .controllers
        .iter()
        .filter(|controller| controller.voter && controller.reachable)
        .count();
    format!(
        "voters up  {up} of {voters}; {} needed\nterm       {}\nmetadata   {}\n\n{}",
        voters / 2 + 1,
        status.term,
        status.metadata_version,
        table(&["CONTROLLER", "ADDRESS", "PART", "STATE", "BEHIND"], &rows, &[4])
    )
}

fn dash_if_empty(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

async fn join(session: &Session, address: &str, replaces: Option<&str>) -> Outcome {
    let admin = session.patient_client(CHANGE_TIMEOUT).await?.admin();
    let joined = admin.join_controller(address, replaces).await;
    let voters = joined.map_err(|error| {
        let next = match error.code() {
            ErrorCode::RequestTimedOut => "`quipu controller status` shows whether it votes by now",
            _ => "it must run with the role of a controller, an empty data directory, and the voters of this cluster",
        };
        Failure::new(error).next(next)
    })?;
    tell(session, voters)
}

async fn leave(session: &Session, id: &str) -> Outcome {
    let admin = session.patient_client(CHANGE_TIMEOUT).await?.admin();
    let left = admin.leave_controller(id).await;
    let voters = left.map_err(|error| {
        Failure::new(error).next("`quipu controller status` shows who votes, and who answers")
    })?;
    tell(session, voters)
}

fn tell(session: &Session, voters: Vec<ControllerDescription>) -> Outcome {
    let voters = VotersJson {
        voters: voters.into_iter().map(Into::into).collect(),
    };
    session.output().result(&voters, |voters| {
        let each = voters.voters.iter();
        let rows: Vec<Vec<String>> = each
            .map(|voter| vec![voter.controller_id.clone(), dash_if_empty(&voter.address)])
            .collect();
        format!(
            "These vote from now on:\n\n{}",
            table(&["CONTROLLER", "ADDRESS"], &rows, &[])
        )
    })?;
    Ok(Ending::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_how_many_are_needed_and_who_is_down() {
        let controller = |id: &str, active, reachable| ControllerJson {
            controller_id: id.to_owned(),
            address: format!("{id}:4601"),
            voter: true,
            active,
            reachable,
            metadata_version: reachable.then_some(40),
        };
        let text = status_text(&StatusJson {
            term: 3,
            metadata_version: 42,
            controllers: vec![
                controller("a", true, true),
                controller("b", false, true),
                controller("c", false, false),
            ],
        });
        assert!(text.starts_with("voters up  2 of 3; 2 needed\n"), "{text}");
        assert!(
            text.contains("c           c:4601   voter   DOWN        -"),
            "{text}"
        );
        assert!(
            text.contains("a           a:4601   active  up          2"),
            "{text}"
        );
    }
}
