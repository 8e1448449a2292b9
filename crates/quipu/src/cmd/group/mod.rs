//! `quipu group`.

mod describe;
mod reset;

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, Output, json_line, print, say, table};
use clap::{Args, Subcommand};
use quipu_client::Admin;
use serde::Serialize;

/// Look at consumer groups, move their offsets, delete them
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the groups
    List,
    Describe(describe::Describe),
    ResetOffsets(reset::Reset),
    Delete(Delete),
}

/// Delete groups that have no members, with what they have committed
#[derive(Args)]
pub(crate) struct Delete {
    /// Which
    #[arg(required = true)]
    groups: Vec<String>,
    /// Only check whether they could be deleted
    #[arg(long)]
    validate_only: bool,
}

pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    let out = session.output();
    session.block_on(async {
        let admin = session.client().await?.admin();
        match command {
            Command::List => list(&admin, out).await,
            Command::Describe(args) => describe::run(&admin, &args, out).await,
            Command::ResetOffsets(args) => reset::run(&admin, args, out).await,
            Command::Delete(args) => delete(&admin, &args, out).await,
        }
    })
}

#[derive(Serialize)]
struct GroupsJson {
    groups: Vec<SummaryJson>,
    /// Coordinators that did not answer.
    errors: Vec<String>,
}

#[derive(Serialize)]
struct SummaryJson {
    group: String,
    state: &'static str,
    members: u32,
    coordinator: u32,
}

async fn list(admin: &Admin, out: Output) -> Outcome {
    let listed = admin.list_groups().await?;
    let groups = listed.groups.into_iter().map(|group| SummaryJson {
        group: group.group,
        state: group.state.name(),
        members: group.members,
        coordinator: group.coordinator.get(),
    });
    let json = GroupsJson {
        groups: groups.collect(),
        errors: listed.errors.iter().map(ToString::to_string).collect(),
    };
    out.result(&json, |json| {
        let row = |group: &SummaryJson| {
            vec![
                group.group.clone(),
                group.state.to_owned(),
                group.members.to_string(),
                group.coordinator.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = json.groups.iter().map(row).collect();
        table(&["GROUP", "STATE", "MEMBERS", "COORDINATOR"], &rows, &[2, 3])
    })?;
    for error in &json.errors {
        say(format_args!("groups may be missing: {error}"));
    }
    if !json.errors.is_empty() {
        return Err(
            Failure::new("some coordinators did not answer").next("`quipu cluster check` says what is wrong")
        );
    }
    Ok(Ending::Done)
}

async fn delete(admin: &Admin, args: &Delete, out: Output) -> Outcome {
    for group in &args.groups {
        admin.delete_group(group, args.validate_only).await?;
        if !out.is_json() {
            let done = if args.validate_only {
                "could be deleted"
            } else {
                "deleted"
            };
            print(&format!("{group}: {done}"))?;
        }
    }
    if out.is_json() {
        json_line(&serde_json::json!({ "deleted": args.groups, "validate_only": args.validate_only }))?;
    }
    Ok(Ending::Done)
}

/// Nothing known.
fn dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
