//! `shoal pipeline`: what runs, and where.

use super::Names;
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::show::{self, words};
use clap::Subcommand;
use model::Problem;
use serde_json::Value;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All pipelines.
    #[command(before_help = "Example:\n  shoal pipeline list")]
    List(Talk),
    /// The stages of one, and where each task is.
    #[command(before_help = "Example:\n  shoal pipeline describe flights")]
    Describe {
        name: String,
        #[command(flatten)]
        talk: Talk,
    },
}

const COLUMNS: &[(&str, &str)] =
    &[("NAME", "name"), ("VERSION", "version"), ("STAGES", "stages"), ("STATE", "state")];

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::List(talk) => {
            let answer = Asker::new(&talk.peer)?.get("/v1/pipelines", &[])?;
            show::answer(talk.output, &answer, |a| show::list(&a["pipelines"], COLUMNS));
        }
        Verb::Describe { name, talk } => {
            let path = format!("/v1/pipelines/{}", encoded(name));
            let asker = Asker::new(&talk.peer)?;
            let answer = asker.get(&path, &[])?;
            show::answer(talk.output, &answer, |answer| describe(answer, &Names::ask(&asker)));
        }
    }
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
                words(&task["watermark_ms"]),
                words(&task["restarts"]),
            ]
        });
        let heading =
            ["BUCKET", "SHARD", "PEER", "STATE", "SEQUENCE", "WATERMARK (MS)", "RESTARTS"];
        text.push_str(&show::table(&heading, tasks));
    }
    text
}
