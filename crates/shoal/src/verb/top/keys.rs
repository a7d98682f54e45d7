//! `shoal top keys`: which keys get the most events, and where.

use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::look::Look;
use crate::show;
use crate::verb::Names;
use model::Problem;
use serde_json::{Value, json};

/// Which pipeline's.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this one.
    pipeline: Option<String>,
    #[command(flatten)]
    look: Look,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    args.look.each(|talk| show(args.pipeline.as_deref(), talk))
}

fn show(pipeline: Option<&str>, talk: &Talk) -> Result<(), Problem> {
    let asker = Asker::new(&talk.peer)?;
    let pipelines = match pipeline {
        Some(name) => vec![name.to_owned()],
        None => names_of(&asker.get("/v1/pipelines", &[])?),
    };
    let (mut keys, mut silent) = (Vec::new(), Vec::new());
    for name in &pipelines {
        let told = asker.get(&format!("/v1/pipelines/{}/keys", encoded(name)), &[])?;
        keys.extend(list(&told["keys"]).iter().cloned());
        silent.extend(list(&told["silent"]).iter().cloned());
    }
    silent.sort_by_key(Value::as_i64);
    silent.dedup();
    let told = json!({ "keys": keys, "silent": silent });
    let names = Names::ask(&asker);
    show::answer(talk.output, &told, |told| table(told, &names));
    Ok(())
}

fn names_of(told: &Value) -> Vec<String> {
    let names = list(&told["pipelines"]).iter();
    names.filter_map(|it| it["name"].as_str()).map(str::to_owned).collect()
}

fn list(told: &Value) -> &[Value] {
    told.as_array().map_or(&[], Vec::as_slice)
}

fn table(told: &Value, names: &Names) -> String {
    let keys = list(&told["keys"]);
    let mut text = if keys.is_empty() {
        "no stage with a key has had an event in the last minute".to_owned()
    } else {
        let part = |of: &Value| of.as_f64().unwrap_or(0.0) * 100.0;
        let rows = keys.iter().map(|it| {
            vec![
                show::words(&it["pipeline"]),
                show::words(&it["stage"]),
                show::words(&it["key"]),
                format!("{:.1}", it["rate"].as_f64().unwrap_or(0.0)),
                format!("{:.1} %", part(&it["share"])),
                show::words(&it["bucket"]),
                names.peer(&it["peer"]),
            ]
        });
        let heading = ["PIPELINE", "STAGE", "KEY", "EVENTS/S", "SHARE", "BUCKET", "PEER"];
        show::table(&heading, rows)
    };
    for peer in list(&told["silent"]) {
        text +=
            &format!("\n{} did not answer: the keys of its tasks are missing", names.peer(peer));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_says_its_stage_rate_share_and_place() {
        let told = json!({"keys": [{"pipeline": "flights", "stage": "delays", "key": "JFK",
            "rate": 1_250.04, "share": 0.381, "over": 0.001, "bucket": 3, "peer": 2}], "silent": [1]});
        let text = table(&told, &Names::of(&json!({})));
        let row: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        let expected = ["flights", "delays", "JFK", "1250.0", "38.1", "%", "3", "p2"];
        assert_eq!(row, expected, "{text}");
        assert!(text.ends_with("p1 did not answer: the keys of its tasks are missing"), "{text}");
        let none = table(&json!({"keys": [], "silent": []}), &Names::of(&json!({})));
        assert!(none.starts_with("no stage with a key"), "{none}");
    }
}
