//! `shoal group seek`: shows where a group would go on from, asks, and lets it.

use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::show::{self, words};
use crate::verb::confirm;
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;

/// What `shoal group seek` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    group: String,
    stream: String,
    /// earliest, latest, an offset, or a time in UTC as 2026-11-24T08:00:00Z: its first event at or after that.
    #[arg(long, value_parser = place, value_name = "earliest|latest|OFFSET|TIME")]
    to: Value,
    /// Only this partition, instead of all.
    #[arg(long)]
    partition: Option<u32>,
    /// Only show what would be.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    talk: Talk,
}

const COLUMNS: &[(&str, &str)] = &[("PARTITION", "partition"), ("FROM", "from"), ("TO", "to")];

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let Args { group, stream, to, partition, dry_run, yes, talk } = args;
    let asker = Asker::new(&talk.peer)?;
    let ask = |dry: bool| {
        let body = json!({ "stream": stream, "to": to, "partition": partition, "dry": dry });
        asker.post(&format!("/v1/groups/{}/seek", encoded(group)), &body, None)
    };
    if !yes {
        let would = ask(true)?;
        if *dry_run {
            show::answer(talk.output, &would, told);
            return Ok(());
        }
        eprintln!("{}", told(&would));
        let fix = format!("the same with --yes; shoal group describe {group}");
        confirm(group, &format!("{group} will go on from there. Move it?"), &fix)?;
    }
    show::answer(talk.output, &ask(false)?, told);
    Ok(())
}

fn told(answer: &Value) -> String {
    let (group, stream) = (words(&answer["group"]), words(&answer["stream"]));
    let goes = if answer["done"] == Value::Bool(true) { "goes" } else { "would go" };
    format!("{group} {goes} on in {stream} from\n\n{}", show::list(&answer["offsets"], COLUMNS))
}

/// A place in the API's words.
fn place(text: &str) -> Result<Value, String> {
    match text {
        "earliest" | "latest" => return Ok(json!(text)),
        _ if text.bytes().all(|it| it.is_ascii_digit()) => {
            let offset = text.parse::<i64>().map_err(|error| error.to_string())?;
            return Ok(json!({ "offset": offset }));
        }
        _ => {}
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| {
        "neither earliest, latest, an offset nor a time as 2026-11-24T08:00:00Z".to_owned()
    })?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| "before 1970".to_owned())?;
    let time_ms = i64::try_from(since.as_millis()).map_err(|error| error.to_string())?;
    Ok(json!({ "time_ms": time_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_or_a_time_in_utc() {
        assert_eq!(place("earliest"), Ok(json!("earliest")));
        assert_eq!(place("4711"), Ok(json!({ "offset": 4711 })));
        assert_eq!(place("1970-01-01T00:00:02.5Z"), Ok(json!({ "time_ms": 2_500 })));
        assert_eq!(place("2026-11-24T08:00:00Z"), Ok(json!({ "time_ms": 1_795_507_200_000_i64 })));
        for odd in ["", "first", "-1", "99999999999999999999", "8:00", "2026-13-01T00:00:00Z"] {
            assert!(place(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_was_done_and_what_would_be_are_told_apart() {
        let offsets = json!([{ "partition": 0, "from": null, "to": 7 }]);
        let answer = |done: bool| {
            told(&json!({ "group": "g", "stream": "s", "done": done, "offsets": offsets }))
        };
        assert!(answer(true).starts_with("g goes on in s from\n"), "{}", answer(true));
        assert!(answer(false).starts_with("g would go on in s from\n"), "{}", answer(false));
        assert!(answer(true).contains("0          -     7"), "{}", answer(true));
    }
}
