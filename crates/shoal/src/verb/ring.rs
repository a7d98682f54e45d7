//! `shoal ring`: which peers hold which shard, or where a key lies.

use super::Names;
use crate::ask::Asker;
use crate::cli::Talk;
use crate::show;
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::Value;

/// What `shoal ring` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show only the shard of this key.
    #[arg(long, requires = "stream")]
    key: Option<String>,
    /// The stream that the key belongs to.
    #[arg(long)]
    stream: Option<String>,
    #[command(flatten)]
    talk: Talk,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let asked = [("key", &args.key), ("stream", &args.stream)];
    let query: Vec<(&str, &str)> =
        asked.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?))).collect();
    let asker = Asker::new(&args.talk.peer)?;
    let answer = asker.get("/v1/ring", &query)?;
    show::answer(args.talk.output, &answer, |answer| table(answer, &Names::ask(&asker)));
    Ok(())
}

fn table(answer: &Value, names: &Names) -> String {
    let place = &answer["key"];
    let asked = |row: &&Value| place.is_null() || row["shard"] == place["shard"];
    let rows = answer["rows"].as_array().into_iter().flatten().filter(asked).map(|row| {
        vec![
            show::words(&row["shard"]),
            names.peer(&row["leader"]),
            show::words(&row["term"]),
            names.peers(&row["voters"]),
            names.peers(&row["learners"]),
            names.peers(&row["target"]),
        ]
    });
    let heading = ["SHARD", "LEADER", "TERM", "VOTERS", "LEARNERS", "TARGET"];
    let mut text = show::table(&heading, rows);
    text.push_str(&format!(
        "\nepoch {}, {} shards, {} copies each",
        show::words(&answer["epoch"]),
        show::words(&answer["shards"]),
        show::words(&answer["replication"])
    ));
    if !place.is_null() {
        let (partition, shard) = (show::words(&place["partition"]), show::words(&place["shard"]));
        text.push_str(&format!("; the key lies in partition {partition}, shard {shard}"));
    }
    text
}
