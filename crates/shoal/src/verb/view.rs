//! `shoal view`: the rows that pipelines keep.

use super::Names;
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::show::{self, words};
use clap::{Subcommand, ValueEnum};
use model::Problem;
use serde_json::Value;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All views.
    #[command(before_help = "Example:\n  shoal view list")]
    List(Talk),
    /// One row.
    #[command(before_help = "Example:\n  shoal view get counts JFK")]
    Get {
        view: String,
        key: String,
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency,
        #[command(flatten)]
        talk: Talk,
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
        talk: Talk,
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

const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("PIPELINE", "pipeline"),
    ("STAGE", "stage"),
    ("BUCKETS", "buckets"),
    ("FORMAT", "format"),
];

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::List(talk) => {
            let answer = Asker::new(&talk.peer)?.get("/v1/views", &[])?;
            show::answer(talk.output, &answer, |a| show::list(&a["views"], COLUMNS));
        }
        Verb::Get { view, key, consistency, talk } => {
            let path = format!("/v1/views/{}/rows/{}", encoded(view), encoded(key));
            let query = [("consistency", consistency.text())];
            let asker = Asker::new(&talk.peer)?;
            let answer = asker.get(&path, &query)?;
            show::answer(talk.output, &answer, |answer| row(answer, &Names::ask(&asker)));
        }
        Verb::Scan { view, from, limit, consistency, talk } => {
            let path = format!("/v1/views/{}/rows", encoded(view));
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str()), ("consistency", consistency.text())];
            query.extend(from.as_deref().map(|from| ("from", from)));
            let answer = Asker::new(&talk.peer)?.get(&path, &query)?;
            show::answer(talk.output, &answer, rows);
        }
    }
    Ok(())
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
