//! `shoal dead`: events that pipelines gave up, and what becomes of them.

use super::confirm;
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::look::Look;
use crate::show::{self, Output, words};
use clap::{Args, Subcommand};
use model::Problem;
use serde_json::{Value, json};

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// How many letters each stage has, pipeline by pipeline.
    #[command(before_help = "Example:\n  shoal dead list")]
    List(Look),
    /// The letters of a stage: why, and about which event.
    #[command(before_help = "Example:\n  shoal dead show flights.carrier_hours")]
    Show {
        /// PIPELINE.STAGE, as `shoal dead list` shows it.
        stage: String,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        max: usize,
        #[command(flatten)]
        look: Look,
    },
    /// Try the events again: the stage that gave them up, and no other, gets each once more.
    ///
    /// The event is appended to the stream that it came from, with a header that says for whom. Clients that
    /// read that stream see it again.
    #[command(before_help = "Examples:
  shoal dead retry flights.carrier_hours
  shoal dead retry flights.carrier_hours --partition 3 --offset 7    up to that letter")]
    Retry(Which),
    /// Forget letters for good.
    #[command(before_help = "Example:\n  shoal dead drop flights.carrier_hours --yes")]
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters are meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// PIPELINE.STAGE, as `shoal dead list` shows it.
    stage: String,
    /// Only the letters of this partition.
    #[arg(long)]
    partition: Option<u32>,
    /// Only those up to this one.
    #[arg(long, requires = "partition")]
    offset: Option<i64>,
    #[command(flatten)]
    talk: Talk,
}

const COLUMNS: &[(&str, &str)] =
    &[("PIPELINE", "pipeline"), ("STAGE", "stage"), ("LETTERS", "letters"), ("STREAM", "stream")];

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::List(look) => look.each(|talk| {
            let answer = Asker::new(&talk.peer)?.get("/v1/dead", &[])?;
            show::answer(talk.output, &answer, |a| show::list(&a["stages"], COLUMNS));
            Ok(())
        })?,
        Verb::Show { stage, max, look } => look.each(|talk| {
            let path = format!("/v1/dead/{}", encoded(stage));
            let max = max.to_string();
            let answer = Asker::new(&talk.peer)?.get(&path, &[("max", &max)])?;
            show::answer(talk.output, &answer, table);
            if talk.output == Output::Table && answer["more"] == true {
                eprintln!("there are more than {max}: --max N");
            }
            Ok(())
        })?,
        Verb::Retry(which) => change(which, "retry", "tried again")?,
        Verb::Drop { which, yes } => {
            if !yes {
                let name = format!("what {} gave up", which.stage);
                let question = format!("Letters of {} will be gone. Forget them?", which.stage);
                confirm(&name, &question, &format!("shoal dead drop {} --yes", which.stage))?;
            }
            change(which, "drop", "dropped")?;
        }
    }
    Ok(())
}

fn table(answer: &Value) -> String {
    let heading = ["PARTITION", "OFFSET", "CAUSE", "ABOUT", "KEY", "VALUE"];
    let rows = answer["letters"].as_array().into_iter().flatten().map(|letter| {
        vec![
            words(&letter["partition"]),
            words(&letter["offset"]),
            words(&letter["cause"]),
            about(letter),
            words(&letter["key"]),
            words(&letter["value"]),
        ]
    });
    show::table(&heading, rows)
}

/// Where the event lies, as `stream/partition@offset`, or which timer it was.
fn about(letter: &Value) -> String {
    let of = &letter["about"];
    match of.is_null() {
        true => format!("timer {}", words(&letter["timer_ms"])),
        false => {
            format!("{}/{}@{}", words(&of["stream"]), words(&of["partition"]), words(&of["offset"]))
        }
    }
}

fn change(which: &Which, verb: &str, done: &str) -> Result<(), Problem> {
    let path = format!("/v1/dead/{}/{verb}", encoded(&which.stage));
    let body = json!({ "partition": which.partition, "offset": which.offset });
    let answer = Asker::new(&which.talk.peer)?.post(&path, &body, None)?;
    show::answer(which.talk.output, &answer, |answer| said(answer, done));
    Ok(())
}

fn said(answer: &Value, done: &str) -> String {
    let mut lines = vec![format!("{} letters {done}", words(&answer["letters"]))];
    for stop in answer["stopped"].as_array().into_iter().flatten() {
        lines.push(format!(
            "partition {} stops at letter {}: {}; drop it to go on behind it",
            words(&stop["partition"]),
            words(&stop["offset"]),
            words(&stop["because"])
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_shown_with_their_cause_and_the_event_they_are_about() {
        let letters = json!({"letters": [
            {"partition": 3, "offset": 0, "cause": "a\nb", "key": "k", "value": {"n": 1},
             "about": {"stream": "lines", "partition": 1, "offset": 7}, "timer_ms": null},
            {"partition": 4, "offset": 2, "cause": "c", "key": "k", "value": null,
             "about": null, "timer_ms": 99},
        ]});
        let shown = table(&letters);
        assert!(shown.contains("a\\nb") && shown.contains("lines/1@7"), "{shown}");
        assert!(shown.contains("timer 99"), "{shown}");
        let stopped = json!({"letters": 2, "stopped": [
            {"partition": 4, "offset": 2, "because": "it is about a timer"}]});
        let said = said(&stopped, "tried again");
        assert!(said.starts_with("2 letters tried again\npartition 4 stops at letter 2"), "{said}");
    }
}
