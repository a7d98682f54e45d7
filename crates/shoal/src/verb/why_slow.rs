//! `shoal why-slow`: names what holds everything else up, from what all peers measure.

use crate::ask::Asker;
use crate::cli::Talk;
use crate::progress::Progress;
use crate::show;
use model::Problem;
use serde_json::{Value, json};
use std::time::Duration;

/// Below these nobody waits for it.
const SYNC_MS: f64 = 50.0;
const APPEND_MS: f64 = 100.0;
const BEHIND: f64 = 1_000.0;
const CORE: f64 = 0.9;

/// Between the two pictures whose difference is looked at.
const MEASURE: Duration = Duration::from_secs(3);

/// One thing that may hold others up, and how badly; 1 is where it begins to be felt.
struct Edge {
    kind: &'static str,
    place: String,
    because: String,
    fix: String,
    weight: f64,
}

pub(crate) fn run(talk: &Talk) -> Result<(), Problem> {
    let asker = Asker::new(&talk.peer)?;
    // The first picture has no rates yet: they are differences.
    asker.get("/v1/overview", &[])?;
    let mut progress = Progress::endless(MEASURE);
    progress.at(0, "measuring for 3 s");
    std::thread::sleep(MEASURE);
    drop(progress);
    let overview = asker.get("/v1/overview", &[])?;
    let mut edges = edges(&overview);
    edges.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let told: Vec<Value> = edges
        .iter()
        .map(|it| {
            json!({ "kind": it.kind, "place": it.place, "because": it.because, "try": it.fix,
                    "weight": (it.weight * 10.0).round() / 10.0 })
        })
        .collect();
    show::answer(talk.output, &json!({ "edges": told, "rates": overview["rates"] }), sentences);
    Ok(())
}

fn sentences(answer: &Value) -> String {
    let rates = &answer["rates"];
    let took = |of: &str, done: &str, none: &str| {
        let ms = |part: &str| rates[of][part].as_f64();
        match (ms("p50_ms"), ms("p99_ms")) {
            (Some(half), Some(most)) => format!("{done} in {half:.1} ms (p99 {most:.1} ms)"),
            _ => none.to_owned(),
        }
    };
    let mut text = match answer["edges"].as_array().and_then(|edges| edges.first()) {
        None => "nothing is slow: no disk, shard, task or client waits noticeably".to_owned(),
        Some(worst) => format!(
            "the slowest edge is the {} of {}",
            show::words(&worst["kind"]),
            show::words(&worst["place"])
        ),
    };
    for edge in answer["edges"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n- {} {}\n  because: {}\n  try: {}",
            show::words(&edge["kind"]),
            show::words(&edge["place"]),
            show::words(&edge["because"]),
            show::words(&edge["try"])
        ));
    }
    text.push_str(&format!(
        "\nin the last seconds: {}, {}, {}",
        took("append", "acknowledged", "nothing was appended"),
        took("event", "in the view", "no pipeline has read an event"),
        took("sync", "synced", "nothing was synced"),
    ));
    text
}

fn edges(overview: &Value) -> Vec<Edge> {
    let mut edges = Vec::new();
    let list = |field: &str| overview[field].as_array().cloned().unwrap_or_default();
    let peers = list("peers");
    peers.iter().for_each(|peer| of_peer(peer, &mut edges));
    of_shards(overview, &mut edges);
    of_links(overview, &peers, &mut edges);
    for pipeline in list("pipelines") {
        for stage in pipeline["stages"].as_array().into_iter().flatten() {
            let name =
                format!("{}.{}", show::words(&pipeline["name"]), show::words(&stage["name"]));
            of_stage(name, stage, &mut edges);
        }
    }
    let refused = overview["rates"]["refused_per_s"].as_f64().unwrap_or(0.0);
    if refused > 0.0 {
        edges.push(Edge {
            kind: "client",
            place: "all peers".into(),
            because: format!("{refused} appends a second are refused or not decided"),
            fix: "shoal health; send more slowly, or through several peers".into(),
            weight: 2.0 + refused / 100.0,
        });
    }
    edges
}

fn of_peer(peer: &Value, edges: &mut Vec<Edge>) {
    let name = show::words(&peer["name"]);
    let load = &peer["load"];
    if peer["answers"] != Value::Bool(true) {
        edges.push(Edge {
            kind: "peer",
            place: name,
            because: "it does not answer; its shards have a voter less, and wait for the others"
                .into(),
            fix: "shoal members; start it again on its folder".into(),
            weight: 5.0,
        });
        return;
    }
    if load["disk_full"] == Value::Bool(true) {
        edges.push(Edge {
            kind: "disk",
            place: name.clone(),
            because: "it is full, so events for its shards are refused".into(),
            fix: "shoal explain SH0502".into(),
            weight: 100.0,
        });
    }
    if let Some(sync) = load["sync_p99_ms"].as_f64().filter(|ms| *ms >= SYNC_MS) {
        edges.push(Edge {
            kind: "disk",
            place: name.clone(),
            because: format!("one sync in a hundred takes {sync:.0} ms, and acknowledgements wait for it"),
            fix: "iostat -x 1 on that machine: what else writes there? A faster disk, or --weight lower".into(),
            weight: sync / SYNC_MS,
        });
    }
    if let Some(cpu) = load["cpu"].as_f64().filter(|cpu| *cpu >= CORE) {
        edges.push(Edge {
            kind: "processor",
            place: name,
            because: format!("it uses {:.0} % of a core", cpu * 100.0),
            fix: "add a peer: shoal start --join; shoal mesh plan --add 1 says what would move"
                .into(),
            weight: 0.5 * cpu / CORE,
        });
    }
}

fn of_shards(overview: &Value, edges: &mut Vec<Edge>) {
    let rows = overview["ring"].as_array().map_or(&[][..], Vec::as_slice);
    let unled: Vec<String> = rows
        .iter()
        .filter(|row| row["leader"].is_null())
        .map(|row| row["shard"].to_string())
        .collect();
    if !unled.is_empty() {
        let shown = unled.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        edges.push(Edge {
            kind: "shard",
            place: shown,
            because: format!(
                "{} shards have no leader: what belongs to them waits, then is refused",
                unled.len()
            ),
            fix: "shoal health; shoal explain SH0501".into(),
            weight: 200.0,
        });
    }
}

/// What appends take beyond the syncs of all disks is the way between peers, and waiting for a turn.
fn of_links(overview: &Value, peers: &[Value], edges: &mut Vec<Edge>) {
    let Some(append) = overview["rates"]["append"]["p99_ms"].as_f64() else { return };
    let sync = |peer: &Value| peer["load"]["sync_p99_ms"].as_f64().unwrap_or(0.0);
    let slowest = peers.iter().map(sync).fold(0.0, f64::max);
    let rest = append - 2.0 * slowest;
    if append >= APPEND_MS && rest > append / 2.0 {
        edges.push(Edge {
            kind: "link",
            place: "peers".into(),
            because: format!(
                "appends take {append:.0} ms (p99) where the slowest disk takes {slowest:.0} ms: the rest is \
                 the way between peers, or waiting for a turn"
            ),
            fix: "ping between the machines; look for a peer whose processor is busy".into(),
            weight: rest / APPEND_MS,
        });
    }
}

fn of_stage(name: String, stage: &Value, edges: &mut Vec<Edge>) {
    let parked = stage["parked"].as_array().map_or(&[][..], Vec::as_slice);
    if !parked.is_empty() {
        edges.push(Edge {
            kind: "task",
            place: name.clone(),
            because: format!(
                "the tasks of buckets {} failed too often and are parked",
                show::words(&stage["parked"])
            ),
            fix: "the log of the peer that leads them says why; shoal pipeline describe".into(),
            weight: 50.0,
        });
    }
    let backlog = stage["backlog"].as_f64().unwrap_or(0.0);
    let rate = stage["per_s"].as_f64().unwrap_or(0.0);
    if backlog >= BEHIND && backlog > rate {
        edges.push(Edge {
            kind: "task",
            place: name,
            because: format!("it is {backlog} events behind and reads {rate} a second"),
            fix: "more peers that hold the pipeline's code, or less work an event".into(),
            weight: backlog / (rate + BEHIND),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(overview: Value) -> Option<(&'static str, String)> {
        let found = edges(&overview).into_iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
        found.map(|it| (it.kind, it.place))
    }

    fn peer(sync: f64, full: bool) -> Value {
        json!({"name": "p2", "answers": true,
               "load": {"sync_p99_ms": sync, "disk_full": full, "cpu": 0.1}})
    }

    #[test]
    fn the_worst_of_what_is_wrong_is_named() {
        assert_eq!(worst(json!({"peers": [peer(3.0, false)]})), None);
        assert_eq!(worst(json!({"peers": [peer(300.0, false)]})), Some(("disk", "p2".into())));
        let stage = json!({"name": "count", "parked": [4], "backlog": 10, "per_s": 1});
        let parked =
            json!({"peers": [peer(300.0, false)], "pipelines": [{"name": "w", "stages": [stage]}]});
        assert_eq!(worst(parked), Some(("task", "w.count".into())));
        let unled = json!({"peers": [peer(1.0, true)], "ring": [{"shard": 7, "leader": null}]});
        assert_eq!(worst(unled), Some(("shard", "7".into())));
        let rates = json!({"sync": {"p50_ms": 0.5, "p99_ms": 9.0}});
        let said = sentences(&json!({"edges": [], "rates": rates}));
        assert!(said.contains("nothing was appended"), "{said}");
        assert!(said.ends_with("synced in 0.5 ms (p99 9.0 ms)"), "{said}");
        let link = json!({"peers": [peer(2.0, false)], "rates": {"append": {"p99_ms": 400.0}}});
        assert_eq!(worst(link), Some(("link", "peers".into())));
    }
}
