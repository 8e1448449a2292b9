//! I9: nothing is accepted from a lower leader epoch, partition epoch or broker epoch: no append by a follower, no
//! follower's word by a leader, no change of the in-sync replicas by the controllers.

use super::{About, Decided, Place, Step};
use crate::report::Violation;
use quipu_metadata::{Command, Image, Reply};
use quipu_replication::Verdict;

const NAME: &str = "I9 epoch fencing";

pub(super) fn after_step(place: &Place<'_>, step: &Step<'_>) -> Result<(), Violation> {
    let me = place.plan.brokers[step.broker];
    match step.about {
        About::Word(epoch) => {
            let following = step.before.following.map(|following| following.epoch);
            let changed = !step.effects.appended.is_empty() || step.after.log_end != step.before.log_end;
            if changed && following != Some(epoch) {
                let what =
                    format_args!("broker {me} follows epoch {following:?} and took the word of {epoch}");
                return Err(place.violated(NAME, what));
            }
        }
        About::Fetch(fetch) => {
            let accepted =
                step.effects.fetches.iter().any(|(token, verdict)| {
                    *token == fetch.token && matches!(verdict, Verdict::Accepted { .. })
                });
            let leading = step.after.leading.map(|leading| leading.epoch);
            let heard = place
                .plan
                .broker(fetch.broker)
                .and_then(|at| *step.heard.get(at)?);
            let fenced = leading != Some(fetch.position.leader_epoch)
                || heard.is_some_and(|heard| fetch.broker_epoch < heard);
            if accepted && fenced {
                let what =
                    format_args!("broker {me} leads epoch {leading:?}, heard {heard:?}, and took {fetch:?}");
                return Err(place.violated(NAME, what));
            }
        }
        About::Deletion | About::Other => {}
    }
    Ok(())
}

/// What the controllers took, against the image that they took it by.
pub(super) fn decided(before: &Image, decided: &Decided<'_>) -> Result<(), Violation> {
    let (Command::AlterPartitions(command), Reply::AlterPartitions(Ok(answers))) =
        (decided.command, decided.reply)
    else {
        return Ok(());
    };
    let taken = command
        .changes
        .iter()
        .zip(answers)
        .filter(|(_, answer)| answer.is_ok());
    for (change, _) in taken {
        let Some(state) = before.partition(change.at) else {
            continue;
        };
        let epoch_of = |id| before.broker(id).map(|broker| broker.epoch);
        let sender = epoch_of(command.id) == Some(command.epoch) && state.leader == Some(command.id);
        let epochs =
            state.leader_epoch == change.leader_epoch && state.partition_epoch == change.partition_epoch;
        let members = change
            .isr
            .iter()
            .all(|member| epoch_of(member.id) == Some(member.epoch));
        if !(sender && epochs && members) {
            let what = format!("{command:?} was taken at {state:?}");
            return Err(Violation {
                invariant: NAME,
                what,
            });
        }
    }
    Ok(())
}
