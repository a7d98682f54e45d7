//! `shoal stream`: make, list, write, read, set and delete streams.

mod append;
mod read;
mod settings;

use super::{Names, confirm};
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::look::Look;
use crate::show::{self, words};
use clap::Subcommand;
use model::Problem;
use serde_json::{Value, json};

/// What can be done with streams.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a stream. One that is there with the same settings is no error.
    #[command(before_help = "Example:\n  shoal stream create words --partitions 4")]
    Create {
        name: String,
        /// How many partitions; 16 unless told otherwise.
        #[arg(long)]
        partitions: Option<u32>,
        #[command(flatten)]
        talk: Talk,
    },
    /// All streams.
    #[command(before_help = "Example:\n  shoal stream list")]
    List(Look),
    /// A stream's partitions, where each is led and how far it reaches.
    #[command(before_help = "Example:\n  shoal stream describe words")]
    Describe {
        name: String,
        #[command(flatten)]
        look: Look,
    },
    /// Set how a stream's events are kept, or show how they are.
    #[command(before_help = "Examples:
  shoal stream configure words
  shoal stream configure words --retention-ms 604800000 --retention-bytes usual")]
    Configure(settings::Args),
    /// Forget a stream and its events for good. One that a pipeline uses stays.
    #[command(before_help = "Example:\n  shoal stream delete words --yes")]
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        talk: Talk,
    },
    /// Append events: the values given, or each line of the standard input.
    #[command(before_help = "Examples:
  shoal stream append words --key a hello
  seq 5 | shoal stream append numbers
  printf 'a=1\\nb=2\\n' | shoal stream append pairs --separator =")]
    Append(append::Args),
    /// Read events, from the first on unless told otherwise.
    #[command(before_help = "Examples:
  shoal stream read words
  shoal stream read words --partition 3 --offset 17 --max 5
  shoal stream read words --follow")]
    Read(read::Args),
}

const COLUMNS: &[(&str, &str)] =
    &[("NAME", "name"), ("PARTITIONS", "partitions"), ("WRITTEN BY", "written_by"), ("ID", "id")];

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::Create { name, partitions, talk } => {
            let mut body = json!({ "name": name });
            if let Some(partitions) = partitions {
                body["partitions"] = json!(partitions);
            }
            let answer = Asker::new(&talk.peer)?.post("/v1/streams", &body, None)?;
            show::answer(talk.output, &answer, |stream| {
                let (name, partitions) = (words(&stream["name"]), words(&stream["partitions"]));
                format!("stream {name} with {partitions} partitions")
            });
        }
        Verb::List(look) => look.each(|talk| {
            let answer = Asker::new(&talk.peer)?.get("/v1/streams", &[])?;
            show::answer(talk.output, &answer, |a| show::list(&a["streams"], COLUMNS));
            Ok(())
        })?,
        Verb::Describe { name, look } => look.each(|talk| {
            let asker = Asker::new(&talk.peer)?;
            let answer = describe(&asker, name)?;
            show::answer(talk.output, &answer, |stream| parts(stream, &Names::ask(&asker)));
            Ok(())
        })?,
        Verb::Configure(args) => settings::run(args)?,
        Verb::Delete { name, yes, talk } => {
            if !yes {
                let fix = format!("shoal stream delete {name} --yes");
                confirm(name, &format!("All events of {name} will be gone. Delete it?"), &fix)?;
            }
            let path = format!("/v1/streams/{}", encoded(name));
            let answer = Asker::new(&talk.peer)?.delete(&path)?;
            show::answer(talk.output, &answer, |_| format!("{name} is deleted"));
        }
        Verb::Append(args) => append::run(args)?,
        Verb::Read(args) => read::run(args)?,
    }
    Ok(())
}

fn describe(asker: &Asker, name: &str) -> Result<Value, Problem> {
    asker.get(&format!("/v1/streams/{}", encoded(name)), &[])
}

fn events_path(stream: &str) -> String {
    format!("/v1/streams/{}/events", encoded(stream))
}

fn parts(stream: &Value, names: &Names) -> String {
    let rows = stream["parts"].as_array().into_iter().flatten().map(|part| {
        vec![
            words(&part["partition"]),
            words(&part["shard"]),
            names.peer(&part["leader"]),
            words(&part["start"]),
            words(&part["next"]),
        ]
    });
    let heading = ["PARTITION", "SHARD", "LEADER", "START", "NEXT"];
    let by = match stream["written_by"].as_str() {
        Some(stage) => format!(", written by {stage}"),
        None => String::new(),
    };
    format!(
        "{} ({}){by}\n{}",
        words(&stream["name"]),
        words(&stream["id"]),
        show::table(&heading, rows)
    )
}
