//! `/v1/groups`: consumers that share streams, and how far they are.

use model::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Groups {
    pub groups: Vec<GroupRow>,
}

/// A group in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupRow {
    pub name: String,
    /// What its clients are for, in their own word: `consumer` for Kafka's.
    pub kind: String,
    /// Whether somebody is in it now.
    pub active: bool,
}

/// `GET /v1/groups/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    pub name: String,
    pub kind: String,
    pub generation: i32,
    pub consumers: Vec<GroupConsumer>,
    pub offsets: Vec<GroupOffset>,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupConsumer {
    pub id: String,
    pub client: String,
    pub host: String,
}

/// How far a group has read one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupOffset {
    pub stream: String,
    pub partition: u32,
    /// The next offset to read.
    pub offset: i64,
    /// Events behind; null if the partition's leader does not answer.
    pub lag: Option<i64>,
}

/// `POST /v1/groups/{name}/seek`: from where a group without consumers goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Seek {
    pub stream: String,
    pub to: SeekTo,
    /// Only this partition; all of the stream's if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Only tell what would be: nothing is changed.
    #[serde(default)]
    pub dry: bool,
}

/// The place that a group is to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeekTo {
    /// The first event that is kept.
    Earliest,
    /// Behind the last event.
    Latest,
    /// This offset; each partition that is meant must have it.
    Offset(i64),
    /// The first event at or after this time, ms since 1970; behind the last event if none is so late.
    TimeMs(i64),
}

/// Where a group was, and where it is or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sought {
    pub group: String,
    pub stream: String,
    /// False for a dry run.
    pub done: bool,
    pub offsets: Vec<SoughtOffset>,
}

/// One partition of a group that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SoughtOffset {
    pub partition: u32,
    /// The next offset to read until now; null if the group had none.
    pub from: Option<i64>,
    pub to: i64,
}

/// What is known of a partition that a group is to go on in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub partition: u32,
    /// The first offset that is kept.
    pub start: i64,
    /// The offset behind the last event.
    pub next: i64,
    /// The first event at or after the time that was asked for, if one is so late.
    pub at_time: Option<i64>,
}

impl SeekTo {
    /// The offset that is meant in one partition: within [`Extent::start`] and [`Extent::next`].
    ///
    /// # Errors
    /// `SH0403` if the partition does not have the offset.
    pub fn within(self, stream: &str, extent: Extent) -> Result<i64, Problem> {
        let Extent { partition, start, next, at_time } = extent;
        match self {
            Self::Earliest => Ok(start),
            Self::Latest => Ok(next),
            Self::TimeMs(_) => Ok(at_time.unwrap_or(next).clamp(start, next)),
            Self::Offset(offset) if (start..=next).contains(&offset) => Ok(offset),
            Self::Offset(offset) => Err(Problem::new(
                "SH0403",
                format!("offset {offset} is outside of partition {partition} of `{stream}`"),
                format!("it has the offsets {start} to {next}"),
                "name a partition with --partition, or seek to earliest, latest or a time",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_lies_within_the_partition_or_is_refused() {
        let extent = |at_time| Extent { partition: 2, start: 10, next: 20, at_time };
        let within = |to: SeekTo, at_time| {
            to.within("orders", extent(at_time)).map_err(|problem| problem.code)
        };
        assert_eq!(within(SeekTo::Earliest, None), Ok(10));
        assert_eq!(within(SeekTo::Latest, None), Ok(20));
        assert_eq!(within(SeekTo::TimeMs(5), Some(13)), Ok(13));
        assert_eq!(within(SeekTo::TimeMs(5), Some(3)), Ok(10), "that event was trimmed meanwhile");
        assert_eq!(within(SeekTo::TimeMs(5), None), Ok(20), "no event is so late");
        for (offset, found) in [(9, None), (10, Some(10)), (20, Some(20)), (21, None)] {
            let found = found.ok_or_else(|| "SH0403".to_owned());
            assert_eq!(within(SeekTo::Offset(offset), None), found, "{offset}");
        }
    }

    #[test]
    fn a_seek_says_its_place_in_one_word_or_with_a_number_and_nothing_else() {
        for (to, place) in [
            (json!("earliest"), SeekTo::Earliest),
            (json!("latest"), SeekTo::Latest),
            (json!({"offset": 7}), SeekTo::Offset(7)),
            (json!({"time_ms": 9}), SeekTo::TimeMs(9)),
        ] {
            let seek: Seek =
                serde_json::from_value(json!({"stream": "s", "to": to})).expect("a seek");
            assert_eq!((seek.to, seek.partition, seek.dry), (place, None, false));
        }
        for odd in [
            json!({"stream": "s"}),
            json!({"stream": "s", "to": "begin"}),
            json!({"stream": "s", "to": "latest", "dryrun": true}),
        ] {
            assert!(serde_json::from_value::<Seek>(odd.clone()).is_err(), "{odd}");
        }
    }
}
