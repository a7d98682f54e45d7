//! A stream's settings under Kafka's names. What can be set is kept; what is true anyway can be said but
//! not changed; everything else is refused: a client must not believe in a promise that is not kept.

use super::{KafkaError, Refused};
use crate::{BATCH_BYTES_LIMIT, BATCH_BYTES_MAX};
use model::Settings;

/// Kafka's numbers of what a value is.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// One setting as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: &'static str,
    pub value: String,
    /// Nobody has set it.
    pub usual: bool,
    pub fixed: bool,
    pub kind: i8,
    pub text: &'static str,
}

/// One change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    pub name: String,
    pub how: How,
}

/// How a setting is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    Set(Option<String>),
    /// Back to what is usual.
    Clear,
    /// Adding to or taking from a list; no setting here is one that can be changed.
    List,
}

/// A setting that can be changed.
struct Open {
    name: &'static str,
    kind: i8,
    usual: &'static str,
    text: &'static str,
    read: fn(&Settings) -> Option<String>,
    /// Sets it, or puts it back; false if the value is none.
    write: fn(&mut Settings, Option<&str>) -> bool,
}

const OPEN: &[Open] = &[
    Open {
        name: "retention.ms",
        kind: LONG,
        usual: "-1",
        text: "events older than this may be forgotten; -1: never",
        read: |settings| settings.retention_ms.map(|it| it.to_string()),
        write: |settings, value| number(value, -1, i64::MAX, &mut settings.retention_ms),
    },
    Open {
        name: "retention.bytes",
        kind: LONG,
        usual: "-1",
        text: "bytes of one partition above which its oldest events may be forgotten; -1: none",
        read: |settings| settings.retention_bytes.map(|it| it.to_string()),
        write: |settings, value| number(value, -1, i64::MAX, &mut settings.retention_bytes),
    },
    Open {
        name: "max.message.bytes",
        kind: INT,
        usual: "1048588",
        text: "the largest batch that may be appended",
        read: |settings| settings.batch_bytes_max.map(|it| it.to_string()),
        write: |settings, value| {
            let max = BATCH_BYTES_LIMIT as u32;
            number(value, 0, max, &mut settings.batch_bytes_max)
        },
    },
];

/// A setting with the values that are true here; the first is the one that is shown.
struct Fixed {
    name: &'static str,
    kind: i8,
    values: &'static [&'static str],
    text: &'static str,
}

const FIXED: &[Fixed] = &[
    Fixed {
        name: "cleanup.policy",
        kind: LIST,
        values: &["delete"],
        text: "old events are deleted",
    },
    Fixed {
        name: "compression.type",
        kind: STRING,
        values: &["producer"],
        text: "batches are kept as they came",
    },
    Fixed {
        name: "message.timestamp.type",
        kind: STRING,
        values: &["CreateTime"],
        text: "events keep the time their client gave them",
    },
    Fixed {
        name: "min.insync.replicas",
        kind: INT,
        values: &["2", "1"],
        text: "a quorum of the voters has an event on disk before it is acknowledged",
    },
    Fixed {
        name: "unclean.leader.election.enable",
        kind: BOOLEAN,
        values: &["false"],
        text: "only who has all that was acknowledged leads",
    },
];

fn number<T: std::str::FromStr + PartialOrd>(
    value: Option<&str>,
    min: T,
    max: T,
    slot: &mut Option<T>,
) -> bool {
    let Some(value) = value else {
        *slot = None;
        return true;
    };
    match value.trim().parse() {
        Ok(value) if value >= min && value <= max => {
            *slot = Some(value);
            true
        }
        _ => false,
    }
}

/// All settings of a stream.
pub fn shown(settings: &Settings) -> Vec<Shown> {
    let open = OPEN.iter().map(|it| {
        let set = (it.read)(settings);
        Shown {
            name: it.name,
            usual: set.is_none(),
            value: set.unwrap_or_else(|| it.usual.to_owned()),
            fixed: false,
            kind: it.kind,
            text: it.text,
        }
    });
    let fixed = FIXED.iter().map(|it| Shown {
        name: it.name,
        value: it.values[0].to_owned(),
        usual: true,
        fixed: true,
        kind: it.kind,
        text: it.text,
    });
    let mut all: Vec<Shown> = open.chain(fixed).collect();
    all.sort_by_key(|it| it.name);
    all
}

/// The settings of every peer that clients ask for; none of them can be changed by a client.
pub fn of_peer(partitions: u32, replication: u8) -> Vec<Shown> {
    let fixed = |name, value: String, kind, text| Shown {
        name,
        value,
        usual: true,
        fixed: true,
        kind,
        text,
    };
    vec![
        fixed("auto.create.topics.enable", "true".into(), BOOLEAN, "unknown streams are made"),
        fixed("default.replication.factor", replication.to_string(), INT, "copies of a shard"),
        fixed("message.max.bytes", BATCH_BYTES_MAX.to_string(), INT, "the largest batch, usually"),
        fixed("num.partitions", partitions.to_string(), INT, "partitions of a stream, usually"),
    ]
}

/// The settings after some changes, or why that cannot be.
pub fn altered(settings: Settings, alterations: &[Alteration]) -> Result<Settings, Refused> {
    let mut altered = settings;
    for Alteration { name, how } in alterations {
        match how {
            How::Set(value) => set(&mut altered, name, value.as_deref())?,
            How::Clear => set(&mut altered, name, None)?,
            How::List => {
                return Err(refused(format!("{name:.64} is no list that can be changed")));
            }
        }
    }
    Ok(altered)
}

/// Sets one setting; `None` puts it back to what is usual.
pub(super) fn set(settings: &mut Settings, name: &str, value: Option<&str>) -> Result<(), Refused> {
    if let Some(open) = OPEN.iter().find(|it| it.name == name) {
        return match (open.write)(settings, value) {
            true => Ok(()),
            false => Err(refused(format!("{name} cannot be {:.64}", value.unwrap_or_default()))),
        };
    }
    let Some(fixed) = FIXED.iter().find(|it| it.name == name) else {
        let known = OPEN.iter().map(|it| it.name).chain(FIXED.iter().map(|it| it.name));
        let known: Vec<_> = known.collect();
        return Err(refused(format!("unknown setting {name:.64}; known: {}", known.join(", "))));
    };
    if value.is_some_and(|value| !fixed.values.contains(&value)) {
        let values = fixed.values.join(" or ");
        return Err(refused(format!("{name} can only be {values} so far")));
    }
    Ok(())
}

fn refused(text: String) -> Refused {
    Refused::new(KafkaError::InvalidSetting, text)
}
