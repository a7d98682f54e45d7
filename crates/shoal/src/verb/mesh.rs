//! `shoal mesh plan`, `shoal mesh moves`: what would move, and what does.

use super::Names;
use super::shape::find;
use crate::ask::Asker;
use crate::cli::Talk;
use crate::show;
use clap::{Args, Subcommand};
use model::Problem;
use serde_json::Value;
use std::time::Duration;

/// How often `moves --watch` looks.
const LOOK: Duration = Duration::from_secs(1);

/// What can be asked of the mesh's shape.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What would move if peers joined or were drained. Nothing happens.
    #[command(before_help = "Example:\n  shoal mesh plan --add 2 --drain p3")]
    Plan(Plan),
    /// The shards that are not yet where the ring wants them.
    #[command(before_help = "Example:\n  shoal mesh moves --watch")]
    Moves(Moves),
}

/// What `shoal mesh plan` takes.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// So many ordinary peers would join.
    #[arg(long, default_value_t, value_name = "N")]
    add: u16,
    /// Name or id of a peer that would hold nothing any more; may be given several times.
    #[arg(long, value_name = "PEER")]
    drain: Vec<String>,
    #[command(flatten)]
    talk: Talk,
}

/// What `shoal mesh moves` takes.
#[derive(Debug, Args)]
pub(crate) struct Moves {
    /// Look again every second until nothing moves any more.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    talk: Talk,
}

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::Plan(args) => plan(args),
        Verb::Moves(args) => moves(args),
    }
}

fn plan(args: &Plan) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let members = asker.get("/v1/members", &[])?;
    let mut drained = Vec::new();
    for wanted in &args.drain {
        drained.push(find(&members, wanted)?["id"].to_string());
    }
    let (add, drain) = (args.add.to_string(), drained.join(","));
    let answer = asker.get("/v1/mesh/plan", &[("add", &add), ("drain", &drain)])?;
    show::answer(args.talk.output, &answer, |answer| planned(answer, &Names::of(&members)));
    Ok(())
}

fn planned(answer: &Value, names: &Names) -> String {
    let rows = answer["moves"].as_array().map_or(&[][..], Vec::as_slice);
    let cells = |row: &Value| {
        vec![show::words(&row["shard"]), names.peer(&row["from"]), names.peer(&row["to"])]
    };
    let mut text = show::table(&["SHARD", "FROM", "TO"], rows.iter().map(cells));
    let coming = rows.iter().filter(|row| !row["to"].is_null()).count();
    let bytes = match (answer["bytes_about"].as_u64(), answer["seconds_about"].as_u64()) {
        (Some(bytes), Some(seconds)) => format!(
            "about {:.1} MiB of events travel, in {seconds} s or more",
            bytes as f64 / 1_048_576.0
        ),
        _ => "the peer that was asked holds no shard and cannot say how many bytes".to_owned(),
    };
    text.push_str(&format!(
        "\n{coming} of {} copies move, {} shards get another leader, {bytes}",
        show::words(&answer["replicas"]),
        show::words(&answer["leads"]),
    ));
    text
}

fn moves(args: &Moves) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    loop {
        let answer = asker.get("/v1/mesh/moves", &[])?;
        show::answer(args.talk.output, &answer, |answer| table(answer, &Names::ask(&asker)));
        if !args.watch || answer["moves"].as_array().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn table(answer: &Value, names: &Names) -> String {
    let rows = answer["moves"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "nothing moves: every shard is where the ring wants it".to_owned();
    }
    let cells = |row: &Value| {
        let peers = |key: &str| names.peers(&row[key]);
        vec![show::words(&row["shard"]), peers("come"), peers("fetching"), peers("go")]
    };
    let heading = ["SHARD", "TO COME", "FETCHING", "TO GO"];
    let mut text = show::table(&heading, rows.iter().map(cells));
    text.push_str(&format!("\n{} shards are on their way", rows.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_moves_is_told_by_the_names_of_peers() {
        let answer = json!({"moves": [{"shard": 1, "come": [4], "fetching": [4], "go": [1]}]});
        let names = Names::of(&json!({"members": [{"id": 4, "name": "new"}]}));
        assert!(table(&answer, &names).contains("new"), "{}", table(&answer, &names));
        let still = json!({"moves": []});
        assert!(table(&still, &names).starts_with("nothing moves"));
    }

    #[test]
    fn a_plan_tells_moves_leads_and_bytes() {
        let names = Names::of(&json!({}));
        let answer = json!({"moves": [{"shard": 3, "from": 1, "to": 4}], "replicas": 9, "leads": 2,
            "bytes_about": 3_145_728, "seconds_about": 2});
        let text = planned(&answer, &names);
        let last = "1 of 9 copies move, 2 shards get another leader, about 3.0 MiB of events travel, in 2 s or more";
        assert!(text.ends_with(last), "{text}");
    }
}
