//! `quipu group reset-offsets`: moves a group, after having said where to.

use super::dash;
use crate::output::{Ending, Failure, Outcome, Output, say, table};
use clap::Args;
use quipu_client::{Admin, Offset, OffsetReset, PartitionId, ResetOffsets, ResetTo, Start, Timestamp};
use serde::Serialize;
use std::str::FromStr;

/// Move the offsets of a group that has no members
///
/// Only says what would be, unless --execute is given. A place outside of the log is moved to its
/// nearer end.
///
/// Examples:
///   quipu group reset-offsets billing --topic flights --to-earliest
///   quipu group reset-offsets billing --topic flights:0,3 --to-datetime 2013-01-31T19:00:00Z --execute
///   quipu group reset-offsets billing --all-topics --shift-by -100 --execute
#[derive(Args)]
#[command(verbatim_doc_comment)]
#[command(group = clap::ArgGroup::new("to").required(true).args(["to_earliest", "to_latest", "to_datetime", "shift_by", "to_offset"]))]
#[command(group = clap::ArgGroup::new("which").required(true).args(["topic", "all_topics"]))]
pub(crate) struct Reset {
    /// The group
    group: String,
    /// A topic, or some of its partitions; may be repeated
    #[arg(long, short, value_name = "TOPIC[:P,P...]")]
    topic: Vec<Which>,
    /// Everything that the group has committed
    #[arg(long)]
    all_topics: bool,
    /// To the oldest record there is
    #[arg(long)]
    to_earliest: bool,
    /// To the high watermark: what is there now is not processed
    #[arg(long)]
    to_latest: bool,
    /// To the first record not earlier than this, such as 2013-01-31T19:00:00Z
    #[arg(long, value_name = "TIME", value_parser = datetime)]
    to_datetime: Option<Timestamp>,
    /// So many records forward, or backward if negative
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To this offset, in each partition
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(u64).range(..=Offset::MAX.get()))]
    to_offset: Option<u64>,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Only say what would be: so it is without --execute
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
}

/// A topic, or some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Which {
    topic: String,
    partitions: Vec<PartitionId>,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, partitions) = match text.split_once(':') {
            Some((topic, partitions)) => (topic, Some(partitions)),
            None => (text, None),
        };
        let wrong = || "expected a topic, such as flights, or some of its partitions: flights:0,3".to_owned();
        if topic.is_empty() {
            return Err(wrong());
        }
        let each = partitions.iter().flat_map(|partitions| partitions.split(','));
        let partitions = each.map(|number| number.parse().map(PartitionId::new).map_err(|_| wrong()));
        Ok(Self {
            topic: topic.to_owned(),
            partitions: partitions.collect::<Result<_, _>>()?,
        })
    }
}

fn datetime(text: &str) -> Result<Timestamp, String> {
    crate::text::time(text).ok_or_else(|| {
        "expected a time such as 2013-01-31, 2013-01-31T19:00:00Z or 2013-01-31T14:00:00-05:00".to_owned()
    })
}

impl Reset {
    fn to(&self) -> Result<ResetTo, Failure> {
        if self.to_earliest {
            return Ok(ResetTo::Place(Start::Earliest));
        }
        if self.to_latest {
            return Ok(ResetTo::Place(Start::Latest));
        }
        let time = self
            .to_datetime
            .map(|time| ResetTo::Place(Start::Timestamp(time)));
        let offset = self
            .to_offset
            .map(|offset| ResetTo::Place(Start::Offset(Offset::new(offset))));
        let shift = self.shift_by.map(ResetTo::ShiftBy);
        time.or(offset)
            .or(shift)
            .ok_or_else(|| Failure::usage("where to?").next("give --to-earliest, or another of its kind"))
    }
}

#[derive(Serialize)]
struct ResetJson {
    group: String,
    executed: bool,
    partitions: Vec<MovedJson>,
}

#[derive(Serialize)]
struct MovedJson {
    topic: String,
    partition: u32,
    current_offset: Option<u64>,
    new_offset: Option<u64>,
    error: Option<String>,
}

impl From<OffsetReset> for MovedJson {
    fn from(reset: OffsetReset) -> Self {
        Self {
            topic: reset.partition.topic.to_string(),
            partition: reset.partition.partition.get(),
            current_offset: reset.from.map(|offset| offset.get()),
            new_offset: reset.to.as_ref().ok().map(|offset| offset.get()),
            error: reset.to.err().map(|failure| failure.to_string()),
        }
    }
}

pub(super) async fn run(admin: &Admin, args: Reset, out: Output) -> Outcome {
    let to = args.to()?;
    let topics = args
        .topic
        .into_iter()
        .map(|which| (which.topic, which.partitions));
    let reset = ResetOffsets {
        topics: topics.collect(),
        to,
        validate_only: !args.execute,
    };
    let moved = admin.reset_group_offsets(&args.group, reset).await?;
    let partitions: Vec<MovedJson> = moved.into_iter().map(MovedJson::from).collect();
    let failed = partitions.iter().filter(|moved| moved.error.is_some()).count();
    let json = ResetJson {
        group: args.group,
        executed: args.execute && failed == 0,
        partitions,
    };
    out.result(&json, |json| {
        let row = |moved: &MovedJson| {
            vec![
                json.group.clone(),
                moved.topic.clone(),
                moved.partition.to_string(),
                dash(moved.current_offset),
                dash(moved.new_offset),
                moved.error.clone().unwrap_or_default(),
            ]
        };
        let rows: Vec<Vec<String>> = json.partitions.iter().map(row).collect();
        let header = [
            "GROUP",
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "NEW-OFFSET",
            "ERROR",
        ];
        table(&header, &rows, &[2, 3, 4])
    })?;
    if failed > 0 {
        let count = json.partitions.len();
        return Err(Failure::new(format_args!(
            "{failed} of {count} offsets cannot be moved: none was"
        )));
    }
    if json.partitions.is_empty() {
        say("there is nothing to move: the group has committed nothing there");
    } else if !json.executed {
        say("nothing was changed: this is what --execute would do");
    }
    Ok(Ending::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_their_partitions() {
        let which = |text: &str| text.parse::<Which>();
        assert_eq!(which("flights").unwrap().partitions, []);
        let some = which("flights:0,3").unwrap();
        assert_eq!(
            (some.topic.as_str(), some.partitions),
            ("flights", [0, 3].map(PartitionId::new).to_vec())
        );
        for wrong in ["", ":1", "t:", "t:x", "t:1,"] {
            assert!(which(wrong).unwrap_err().contains("flights:0,3"), "{wrong:?}");
        }
    }
}
