//! `shoal recent`: what happened lately, at all peers.

use super::Names;
use crate::ask::Asker;
use crate::cli::Talk;
use crate::show::{self, words};
use model::Problem;
use serde_json::{Value, json};

pub(crate) fn run(talk: &Talk) -> Result<(), Problem> {
    let answer = Asker::new(&talk.peer)?.get("/v1/overview", &[])?;
    let told = json!({ "at_ms": answer["at_ms"], "recent": answer["recent"] });
    let names = Names::of(&json!({ "members": answer["peers"] }));
    show::answer(talk.output, &told, |told| table(told, &names));
    Ok(())
}

/// The latest last, as in a log.
fn table(told: &Value, names: &Names) -> String {
    let now = told["at_ms"].as_u64().unwrap_or(0);
    let list = told["recent"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = list.iter().rev().map(|it| {
        let ago = now.saturating_sub(it["at_ms"].as_u64().unwrap_or(0)) / 1_000;
        vec![format!("{ago} s"), names.peer(&it["peer"]), words(&it["kind"]), words(&it["text"])]
    });
    show::table(&["AGO", "SEEN BY", "KIND", "WHAT"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_comes_last_with_its_age() {
        let told = json!({"at_ms": 9_000, "recent": [
            {"at_ms": 8_000, "peer": 1, "kind": "member", "text": "p2 is gone"},
            {"at_ms": 1_000, "peer": 2, "kind": "start", "text": "p2 has started"},
        ]});
        let text = table(&told, &Names::of(&json!({})));
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("1 s  p1") && last.ends_with("p2 is gone"), "{text}");
    }
}
