//! `shoal ring`: which peers hold which shard, or where a key lies.

use super::Names;
use crate::ask::Asker;
use crate::look::Look;
use crate::show;
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::{Value, json};

/// What `shoal ring` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show only the shard of this key; where it lies in each stream, if none is named.
    #[arg(long)]
    key: Option<String>,
    /// The stream that the key belongs to.
    #[arg(long)]
    stream: Option<String>,
    #[command(flatten)]
    look: Look,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let asked = [("key", &args.key), ("stream", &args.stream)];
    let query: Vec<(&str, &str)> =
        asked.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?))).collect();
    args.look.each(|talk| {
        let asker = Asker::new(&talk.peer)?;
        if let (Some(key), None) = (&args.key, &args.stream) {
            let places = places(&asker, key)?;
            show::answer(talk.output, &places, |places| place_table(places, &Names::ask(&asker)));
            return Ok(());
        }
        let answer = asker.get("/v1/ring", &query)?;
        show::answer(talk.output, &answer, |answer| table(answer, &Names::ask(&asker)));
        Ok(())
    })
}

/// Where a key lies in each stream: streams have partitions of their own, and their partitions shards.
fn places(asker: &Asker, key: &str) -> Result<Value, Problem> {
    let list = asker.get("/v1/streams", &[])?;
    let names = list["streams"].as_array().into_iter().flatten();
    let place = |stream: &str| -> Result<Value, Problem> {
        let answer = asker.get("/v1/ring", &[("key", key), ("stream", stream)])?;
        Ok(place_of(stream, &answer))
    };
    names.filter_map(|stream| stream["name"].as_str()).map(place).collect()
}

/// What an answer about one key of one stream says, without the rest of the ring.
fn place_of(stream: &str, answer: &Value) -> Value {
    let place = &answer["key"];
    let mut rows = answer["rows"].as_array().into_iter().flatten();
    let leader = rows.find(|row| row["shard"] == place["shard"]).map(|row| row["leader"].clone());
    json!({ "stream": stream, "partition": place["partition"], "shard": place["shard"],
            "leader": leader })
}

fn place_table(places: &Value, names: &Names) -> String {
    let rows = places.as_array().into_iter().flatten().map(|place| {
        let [stream, partition, shard] =
            ["stream", "partition", "shard"].map(|field| show::words(&place[field]));
        vec![stream, partition, shard, names.peer(&place["leader"])]
    });
    show::table(&["STREAM", "PARTITION", "SHARD", "LEADER"], rows)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_place_in_each_stream_with_the_leader_of_its_shard() {
        let answer = json!({
            "key": {"partition": 3, "shard": 7},
            "rows": [{"shard": 6, "leader": 1}, {"shard": 7, "leader": 2}],
        });
        let places = json!([place_of("flights", &answer), place_of("words", &json!({}))]);
        let expected = json!({"stream": "flights", "partition": 3, "shard": 7, "leader": 2});
        assert_eq!(places[0], expected);
        let names = Names::of(&json!({"members": [{"id": 2, "name": "harbour"}]}));
        let shown = place_table(&places, &names);
        let rows: Vec<Vec<&str>> =
            shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["flights", "3", "7", "harbour"]);
        assert_eq!(rows[2], ["words", "-", "-", "-"]);
    }
}
