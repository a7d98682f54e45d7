//! `shoal members`: who belongs to the mesh.

use crate::ask::Asker;
use crate::cli::Talk;
use crate::show;
use model::Problem;
use serde_json::Value;

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("ZONE", "zone"),
    ("WEIGHT", "weight"),
    ("LEADS", "leads"),
    ("REPLICAS", "replicas"),
    ("KAFKA", "kafka"),
    ("HTTP", "http"),
    ("MESH", "mesh"),
    ("VERSION", "version"),
    ("PIPELINES", "pipelines"),
];

pub(crate) fn run(talk: &Talk) -> Result<(), Problem> {
    let answer = Asker::new(&talk.peer)?.get("/v1/members", &[])?;
    show::answer(talk.output, &answer, table);
    Ok(())
}

fn table(answer: &Value) -> String {
    let mut text = show::list(&answer["members"], COLUMNS);
    for member in answer["members"].as_array().into_iter().flatten() {
        let note = member["note"].as_str().unwrap_or_default();
        if !note.is_empty() {
            text.push_str(&format!("\n{}: {}", show::words(&member["name"]), show::plain(note)));
        }
    }
    text
}
