//! `shoal view`: the rows that pipelines keep.

use super::Names;
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::look::Look;
use crate::sent::Sent;
use crate::show::{self, words};
use clap::{Subcommand, ValueEnum};
use model::Problem;
use serde_json::Value;

/// Pause before a peer that ended is asked again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All views.
    #[command(before_help = "Example:\n  shoal view list")]
    List(Look),
    /// One row again and again: printed whenever it changes, until Ctrl-C.
    #[command(before_help = "Example:\n  shoal view watch counts JFK")]
    Watch {
        view: String,
        key: String,
        #[command(flatten)]
        talk: Talk,
    },
    /// One row.
    #[command(
        before_help = "Examples:\n  shoal view get counts JFK\n  shoal view get counts JFK --max-age 500ms"
    )]
    Get {
        view: String,
        key: String,
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency,
        /// The peer may answer with what it remembers, if that was current so long ago (500ms, 2s) or less.
        #[arg(long, value_parser = age, conflicts_with = "consistency")]
        max_age: Option<Age>,
        #[command(flatten)]
        look: Look,
    },
    /// Rows in the order of their keys.
    #[command(before_help = "Example:\n  shoal view scan counts --from J --limit 10")]
    Scan {
        view: String,
        /// The first key.
        #[arg(long)]
        from: Option<String>,
        /// At most so many rows.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency,
        #[command(flatten)]
        look: Look,
    },
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// Everything acknowledged before the question is in it; the shard's leader asks its quorum.
    #[default]
    Leader,
    /// What the nearest copy has, with its age.
    Any,
}

impl Consistency {
    fn text(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Any => "any",
        }
    }
}

/// How old an answer may be, in the API's words: ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Age(String);

fn age(text: &str) -> Result<Age, String> {
    let age = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // The peer counts in u64.
    let ms = u64::try_from(age.as_millis()).map_err(|error| error.to_string())?;
    Ok(Age(ms.to_string()))
}

const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("PIPELINE", "pipeline"),
    ("STAGE", "stage"),
    ("BUCKETS", "buckets"),
    ("FORMAT", "format"),
];

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::List(look) => look.each(|talk| {
            let answer = Asker::new(&talk.peer)?.get("/v1/views", &[])?;
            show::answer(talk.output, &answer, |a| show::list(&a["views"], COLUMNS));
            Ok(())
        })?,
        Verb::Watch { view, key, talk } => watch(view, key, talk)?,
        Verb::Get { view, key, consistency, max_age, look } => look.each(|talk| {
            let path = format!("/v1/views/{}/rows/{}", encoded(view), encoded(key));
            let query = match max_age {
                Some(Age(ms)) => vec![("consistency", "any"), ("max_age_ms", ms)],
                None => vec![("consistency", consistency.text())],
            };
            let asker = Asker::new(&talk.peer)?;
            let answer = asker.get(&path, &query)?;
            show::answer(talk.output, &answer, |answer| row(answer, &Names::ask(&asker)));
            Ok(())
        })?,
        Verb::Scan { view, from, limit, consistency, look } => look.each(|talk| {
            let path = format!("/v1/views/{}/rows", encoded(view));
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str()), ("consistency", consistency.text())];
            query.extend(from.as_deref().map(|from| ("from", from)));
            let answer = Asker::new(&talk.peer)?.get(&path, &query)?;
            show::answer(talk.output, &answer, rows);
            Ok(())
        })?,
    }
    Ok(())
}

/// Shows what the nearest copy has, and what it has whenever that changes. A peer that ends is told and asked again.
fn watch(view: &str, key: &str, talk: &Talk) -> Result<(), Problem> {
    let path = format!("/v1/views/{}/watch", encoded(view));
    let asker = Asker::new(&talk.peer)?;
    let mut last = None;
    loop {
        let sent = Sent::of(&asker, &path, &[("key", key)]);
        let ended = match sent {
            Ok(mut sent) => loop {
                match sent.next() {
                    Ok(row) if last.as_ref() == Some(&row["value"]) => {}
                    Ok(row) => {
                        show::answer(talk.output, &row["value"], words);
                        last = Some(row["value"].clone());
                    }
                    Err(problem) => break problem,
                }
            },
            Err(problem) => problem,
        };
        if ended.exit_code() != 3 {
            return Err(ended);
        }
        eprintln!("{ended}");
        std::thread::sleep(AGAIN);
    }
}

fn row(answer: &Value, names: &Names) -> String {
    let stale = if answer["stale"] == Value::Bool(true) { ", age unknown" } else { "" };
    format!(
        "{}\nfrom {} at index {} of shard {} (term {}), {} ms old{stale}",
        words(&answer["value"]),
        names.peer(&answer["peer"]),
        words(&answer["position"]["index"]),
        words(&answer["shard"]),
        words(&answer["term"]),
        words(&answer["age_ms"]),
    )
}

fn rows(answer: &Value) -> String {
    let mut text = show::list(&answer["rows"], &[("KEY", "key"), ("VALUE", "value")]);
    let shards = answer["shards"].as_array().map_or(&[][..], Vec::as_slice);
    let oldest = shards.iter().filter_map(|shard| shard["age_ms"].as_u64()).max().unwrap_or(0);
    text.push_str(&format!("\n{} shards, the oldest answer {oldest} ms old", shards.len()));
    if answer["more"] == Value::Bool(true) {
        text.push_str("; there are more rows: --limit, or --from the last key");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        assert_eq!(age("500ms"), Ok(Age("500".to_owned())));
        assert_eq!(age("1m 2s"), Ok(Age("62000".to_owned())));
        assert_eq!(age("0s"), Ok(Age("0".to_owned())));
        for odd in ["", "500", "-1s", "soon", "999999999999999999999s"] {
            assert!(age(odd).is_err(), "{odd}");
        }
    }
}
