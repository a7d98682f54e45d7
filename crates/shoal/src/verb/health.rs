//! `shoal health`: one sentence, then reasons.

use crate::ask::Asker;
use crate::cli::Talk;
use crate::show;
use model::Problem;
use serde_json::Value;
use std::time::Duration;

/// The exit code of a mesh that would refuse work.
const NOT_READY: u8 = 5;
/// A peer asks the others for less than a second; one that takes longer is paused or overwhelmed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(talk: &Talk) -> Result<u8, Problem> {
    Asker::new(&talk.peer)?;
    let answer = Asker::with_wait(&talk.peer, PATIENCE).get("/v1/health", &[])?;
    show::answer(talk.output, &answer, sentences);
    Ok(if answer["ready"] == Value::Bool(true) { 0 } else { NOT_READY })
}

fn sentences(answer: &Value) -> String {
    let mut text = show::words(&answer["verdict"]);
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        text.push_str(&format!("\n- {}", show::words(reason)));
    }
    let (shards, peers) = (&answer["shards"], &answer["peers"]);
    text.push_str(&format!(
        "\nshards: {} of {} led, {} under-replicated; peers: {} of {} alive",
        shards["led"], shards["total"], shards["under_replicated"], peers["alive"], peers["total"]
    ));
    text
}
