//! `shoal stream read`: events of one partition, or of all in turn.

use super::{describe, events_path};
use crate::ask::Asker;
use crate::cli::Talk;
use crate::show::{self, Output, words};
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::Value;
use std::time::Duration;

/// How long a peer may hold a question of `--follow` for one partition.
const WAIT_MS: &str = "1000";
/// Pause between rounds of `--follow` over all partitions.
const ROUND: Duration = Duration::from_millis(200);
/// Events of one request.
const REQUEST_EVENTS: usize = 1_000;

/// What `shoal stream read` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    stream: String,
    /// Only this partition.
    #[arg(long)]
    partition: Option<u32>,
    /// The first offset; without it the first event that is kept.
    #[arg(long, requires = "partition")]
    offset: Option<i64>,
    /// At most so many events.
    #[arg(long, default_value_t = 100, conflicts_with = "follow")]
    max: usize,
    /// Go on with new events until interrupted.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    talk: Talk,
}

/// One partition and how far it is read.
struct Cursor {
    partition: u64,
    offset: i64,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let mut cursors = cursors(args, &describe(&asker, &args.stream)?)?;
    let mut left = if args.follow { usize::MAX } else { args.max };
    let mut kept = Vec::new();
    loop {
        let mut read = 0;
        for cursor in &mut cursors {
            let events = next(args, &asker, cursor, left)?;
            read += events.len();
            left -= events.len();
            match (args.talk.output, args.follow) {
                (Output::Table, false) => kept.extend(events),
                (Output::Table, true) => events.iter().for_each(|e| show::print(&line(e))),
                // An event a line is a document of YAML too.
                (Output::Json | Output::Yaml, _) => {
                    events.iter().for_each(|e| show::print(&e.to_string()));
                }
            }
        }
        if left == 0 || (read == 0 && !args.follow) {
            break;
        }
        if read == 0 && cursors.len() > 1 {
            std::thread::sleep(ROUND);
        }
    }
    if left == 0 && args.max > 0 {
        eprintln!("{} events were asked for; if there are more: --max N, --follow", args.max);
    }
    if args.talk.output == Output::Table && !args.follow {
        let heading = ["PARTITION", "OFFSET", "TIME (MS)", "KEY", "VALUE"];
        show::print(&show::table(&heading, kept.iter().map(columns)));
    }
    Ok(())
}

fn cursors(args: &Args, stream: &Value) -> Result<Vec<Cursor>, Problem> {
    let parts = stream["parts"].as_array().into_iter().flatten();
    let all = parts.filter_map(|part| {
        let partition = part["partition"].as_u64()?;
        // A partition whose leader does not answer says -1; the read itself will say why.
        let start = part["start"].as_i64().unwrap_or(0).max(0);
        Some(Cursor { partition, offset: args.offset.unwrap_or(start) })
    });
    let wanted = args.partition.map(u64::from);
    let cursors: Vec<Cursor> =
        all.filter(|cursor| wanted.is_none_or(|wanted| cursor.partition == wanted)).collect();
    match (cursors.is_empty(), wanted) {
        (true, Some(partition)) => Err(Problem::new(
            "SH0306",
            format!("{} has no partition {partition}", args.stream),
            format!("it has {} partitions, from 0", words(&stream["partitions"])),
            format!("shoal stream describe {}", args.stream),
        )),
        _ => Ok(cursors),
    }
}

fn next(
    args: &Args,
    asker: &Asker,
    cursor: &mut Cursor,
    left: usize,
) -> Result<Vec<Value>, Problem> {
    if left == 0 {
        return Ok(Vec::new());
    }
    let (partition, offset) = (cursor.partition.to_string(), cursor.offset.to_string());
    let max = left.min(REQUEST_EVENTS).to_string();
    let wait = if args.follow && args.partition.is_some() { WAIT_MS } else { "0" };
    let query = [
        ("partition", partition.as_str()),
        ("offset", offset.as_str()),
        ("max", max.as_str()),
        ("wait_ms", wait),
    ];
    let mut answer = asker.get(&events_path(&args.stream), &query)?;
    cursor.offset = answer["next"].as_i64().unwrap_or(cursor.offset);
    match answer["events"].take() {
        Value::Array(mut events) => {
            // A peer answers with no more than it was asked for; if it did, the count would go wrong.
            events.truncate(left);
            Ok(events)
        }
        _ => Ok(Vec::new()),
    }
}

fn columns(event: &Value) -> Vec<String> {
    ["partition", "offset", "time_ms", "key", "value"].map(|field| words(&event[field])).into()
}

fn line(event: &Value) -> String {
    columns(event).join("  ")
}
