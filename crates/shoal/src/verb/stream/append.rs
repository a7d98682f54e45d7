//! `shoal stream append`: values given, or each line of the standard input.
//!
//! Promises that a line is one event, byte for byte, in order within its key; each request carries a key of its own,
//! so that a request asked again is one append.

use super::events_path;
use crate::ask::Asker;
use crate::cli::Talk;
use crate::progress::Progress;
use crate::show::{self, Output};
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::{Value, json};
use std::io::BufRead;
use std::time::Duration;

/// Events of one request; the peer takes 10,000 and 16 MiB.
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// How often it is told how far a long input is.
const TELL: Duration = Duration::from_secs(5);

/// What `shoal stream append` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    stream: String,
    /// The events' values; without any, each line of the standard input is one.
    values: Vec<String>,
    /// The events' key; it decides the partition.
    #[arg(long, conflicts_with = "separator")]
    key: Option<String>,
    /// Parts each line of the standard input into key and value.
    #[arg(long, conflicts_with = "values")]
    separator: Option<String>,
    /// The partition, instead of the one that the key decides.
    #[arg(long)]
    partition: Option<u32>,
    /// The events' time in milliseconds since 1970, instead of now.
    #[arg(long, value_name = "MS")]
    time: Option<i64>,
    /// One append for all requests with this key; only for values given on the command line.
    #[arg(long, value_name = "KEY", requires = "values")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    talk: Talk,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let mut appended = Vec::new();
    if args.values.is_empty() {
        from_input(args, &asker, &mut appended)?;
    } else {
        let events = args.values.iter().map(|v| event(args, args.key.as_deref(), v)).collect();
        send(args, &asker, events, &mut appended)?;
    }
    show::answer(args.talk.output, &json!({ "appended": appended }), table);
    Ok(())
}

fn from_input(args: &Args, asker: &Asker, appended: &mut Vec<Value>) -> Result<(), Problem> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut progress = Progress::endless(TELL);
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let parsed = line.map_err(|error| unread(number, &error.to_string()));
        match parsed.and_then(|line| of_line(args, number, &line).map(|event| (event, line.len())))
        {
            Ok((event, size)) => {
                bytes += size;
                events.push(event);
            }
            Err(problem) => {
                // What came before it is appended, as the problem says.
                if !events.is_empty() {
                    send(args, asker, events, appended)?;
                }
                return Err(problem);
            }
        }
        if events.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES {
            send(args, asker, std::mem::take(&mut events), appended)?;
            progress.at(0, &format!("{} lines are appended", number + 1));
            bytes = 0;
        }
    }
    if events.is_empty() { Ok(()) } else { send(args, asker, events, appended) }
}

fn of_line(args: &Args, number: usize, line: &str) -> Result<Value, Problem> {
    let Some(separator) = &args.separator else {
        return Ok(event(args, args.key.as_deref(), line));
    };
    let parts = line.split_once(separator.as_str());
    let (key, value) =
        parts.ok_or_else(|| unread(number, &format!("there is no {separator:?} in it")))?;
    Ok(event(args, Some(key), value))
}

fn unread(number: usize, because: &str) -> Problem {
    Problem::new(
        "SH0404",
        format!("line {} of the input is not an event", number + 1),
        because,
        "lines before it were appended; go on after mending that one",
    )
}

fn event(args: &Args, key: Option<&str>, value: &str) -> Value {
    let mut event = json!({ "key": key, "value": value });
    if let Some(time) = args.time {
        event["time_ms"] = json!(time);
    }
    event
}

fn send(
    args: &Args,
    asker: &Asker,
    events: Vec<Value>,
    appended: &mut Vec<Value>,
) -> Result<(), Problem> {
    let mut body = json!({ "events": events });
    if let Some(partition) = args.partition {
        body["partition"] = json!(partition);
    }
    let drawn;
    let key = match &args.idempotency_key {
        Some(key) => key,
        None => {
            drawn = format!("cli-{:032x}", rand::random::<u128>());
            &drawn
        }
    };
    let answer = asker.post(&events_path(&args.stream), &body, Some(key))?;
    if args.talk.output == Output::Table && args.values.is_empty() {
        // Of a long input only the sum is of interest.
        let count: u64 = counts(&answer).sum();
        let before = appended.first().and_then(|sum| sum["count"].as_u64()).unwrap_or(0);
        *appended = vec![json!({ "count": before + count })];
    } else {
        appended.extend(answer["appended"].as_array().into_iter().flatten().cloned());
    }
    Ok(())
}

fn counts(answer: &Value) -> impl Iterator<Item = u64> {
    answer["appended"].as_array().into_iter().flatten().filter_map(|part| part["count"].as_u64())
}

fn table(answer: &Value) -> String {
    let places = answer["appended"].as_array().map_or(&[][..], Vec::as_slice);
    match places {
        [] => "nothing to append".to_owned(),
        [sum] if sum["partition"].is_null() => format!("{} events appended", sum["count"]),
        _ => {
            let columns = [("PARTITION", "partition"), ("OFFSET", "offset"), ("COUNT", "count")];
            show::list(&answer["appended"], &columns)
        }
    }
}
