//! `shoal pipeline`: what runs, and where; stopping it for a while or for good.

mod check;

use super::{Names, confirm};
use crate::Mesh;
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::look::Look;
use crate::show::{self, words};
use clap::{Args, Subcommand};
use model::Problem;
use serde_json::{Value, json};

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All pipelines.
    #[command(before_help = "Example:\n  shoal pipeline list")]
    List(Look),
    /// The stages of one, and where each task is.
    #[command(before_help = "Example:\n  shoal pipeline describe flights")]
    Describe {
        name: String,
        #[command(flatten)]
        look: Look,
    },
    /// Whether this binary's code can read what the running versions keep: to be run with a new binary, before it
    /// becomes a peer.
    #[command(before_help = "Example:\n  my-binary pipeline check orders")]
    Check {
        /// Only this one.
        name: Option<String>,
        #[command(flatten)]
        talk: Talk,
    },
    /// Stop its tasks where they are. Nothing is lost: streams keep what comes meanwhile.
    #[command(before_help = "Example:\n  shoal pipeline pause flights")]
    Pause(Which),
    /// Let its tasks begin again from their last commits; parked ones, too.
    #[command(before_help = "Example:\n  shoal pipeline resume flights")]
    Resume(Which),
    /// Forget one for good: its state, its views, and the streams that it writes. The streams it reads stay. Refused
    /// while a peer's binary has its code, which would register it again.
    #[command(before_help = "Example:\n  shoal pipeline delete flights --yes")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// The pipeline that is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    name: String,
    #[command(flatten)]
    talk: Talk,
}

const COLUMNS: &[(&str, &str)] =
    &[("NAME", "name"), ("VERSION", "version"), ("STAGES", "stages"), ("STATE", "state")];

pub(crate) fn run(verb: &Verb, register: impl FnOnce(&mut Mesh)) -> Result<(), Problem> {
    match verb {
        Verb::List(look) => look.each(|talk| {
            let answer = Asker::new(&talk.peer)?.get("/v1/pipelines", &[])?;
            show::answer(talk.output, &answer, |a| show::list(&a["pipelines"], COLUMNS));
            Ok(())
        })?,
        Verb::Describe { name, look } => look.each(|talk| {
            let path = format!("/v1/pipelines/{}", encoded(name));
            let asker = Asker::new(&talk.peer)?;
            let answer = asker.get(&path, &[])?;
            show::answer(talk.output, &answer, |answer| describe(answer, &Names::ask(&asker)));
            Ok(())
        })?,
        Verb::Check { name, talk } => {
            let mut mesh = Mesh::default();
            register(&mut mesh);
            check::run(&Asker::new(&talk.peer)?, name.as_deref(), &mesh)?;
        }
        Verb::Pause(which) => steer(which, "pause", "stops where it is")?,
        Verb::Resume(which) => steer(which, "resume", "goes on from its last commits")?,
        Verb::Delete { which, yes } => delete(which, *yes)?,
    }
    Ok(())
}

fn delete(which: &Which, yes: bool) -> Result<(), Problem> {
    let Which { name, talk } = which;
    if !yes {
        let fix = format!("shoal pipeline delete {name} --yes");
        let question = format!("All that {name} keeps and writes will be gone. Delete it?");
        confirm(name, &question, &fix)?;
    }
    let path = format!("/v1/pipelines/{}", encoded(name));
    let answer = Asker::new(&talk.peer)?.delete(&path)?;
    show::answer(talk.output, &answer, |_| format!("{name} is deleted"));
    Ok(())
}

fn steer(which: &Which, verb: &str, what: &str) -> Result<(), Problem> {
    let path = format!("/v1/pipelines/{}/{verb}", encoded(&which.name));
    let answer = Asker::new(&which.talk.peer)?.post(&path, &json!({}), None)?;
    show::answer(which.talk.output, &answer, |_| format!("{} {what}", which.name));
    Ok(())
}

fn describe(answer: &Value, names: &Names) -> String {
    let mut text = format!("{} v{}", words(&answer["name"]), words(&answer["version"]));
    for stage in answer["stages"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n\n{}: reads {}; view {}, output {}, dead letters {}\n",
            words(&stage["name"]),
            words(&stage["sources"]),
            words(&stage["view"]),
            words(&stage["output"]),
            words(&stage["dead"]),
        ));
        let tasks = stage["tasks"].as_array().into_iter().flatten().map(|task| {
            vec![
                words(&task["bucket"]),
                words(&task["shard"]),
                names.peer(&task["peer"]),
                words(&task["state"]),
                words(&task["sequence"]),
                watermark(&task["watermark_ms"]),
                words(&task["restarts"]),
                words(&task["because"]),
            ]
        });
        let heading = [
            "BUCKET",
            "SHARD",
            "PEER",
            "STATE",
            "SEQUENCE",
            "WATERMARK (MS)",
            "RESTARTS",
            "BECAUSE",
        ];
        text.push_str(&show::table(&heading, tasks));
    }
    text
}

/// A task has none before the first event of its sources.
fn watermark(value: &Value) -> String {
    if value.is_null() { "none yet".to_owned() } else { words(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_a_watermark_says_so() {
        let task = |mark: Value| json!({"bucket": 0, "state": "running", "watermark_ms": mark});
        let of = |mark| {
            let stages = json!([{"name": "counts", "tasks": [task(mark)]}]);
            describe(
                &json!({"name": "words", "version": 1, "stages": stages}),
                &Names::of(&json!({})),
            )
        };
        assert!(of(Value::Null).contains("none yet"), "{}", of(Value::Null));
        assert!(of(json!(17)).contains("17") && !of(json!(17)).contains("none yet"));
    }
}
