//! What the queries answer, and how it differs from what they must.

use examples::nexmark::{Bid, Timed};
use serde_json::{Value, json};
use shoal::row_key_of_window;
use std::collections::BTreeMap;
use testnet::scene::Scene;

/// Three standard errors of the sketches of distinct things.
const SKETCH_ERROR: f64 = 0.048;

/// What the oracle said: of each query the rows of its view, or the events of its stream.
pub struct Expected(BTreeMap<String, Value>);

impl Expected {
    pub fn read(json: &[u8]) -> Self {
        let said: BTreeMap<String, Value> =
            serde_json::from_slice(json).expect("the oracle says JSON");
        assert_eq!(said.len(), 15, "an answer for each query: {:?}", said.keys());
        for (query, answer) in &said {
            assert!(size(answer) > 0, "a query without an answer shows nothing: {query}");
        }
        Self(said)
    }

    pub fn queries(&self) -> usize {
        // Q16 is asked in three views, and Q12 has no batch computation.
        self.0.keys().filter(|name| !name.contains('_')).count() + 1
    }

    /// Rows and events that are compared.
    pub fn rows(&self) -> usize {
        self.0.values().map(size).sum()
    }

    /// The first difference of what a peer says.
    pub fn differs(&self, scene: &Scene, peer: usize) -> Result<(), String> {
        for (query, expected) in &self.0 {
            match expected {
                Value::Object(rows) => {
                    let found = view(scene, peer, query)?;
                    let estimated = query.contains('_');
                    same_rows(
                        query,
                        rows.iter().map(|(key, row)| (key.clone(), row)),
                        &found,
                        estimated,
                    )?;
                }
                events => {
                    let found = stream(scene, peer, query)?;
                    same_events(query, events.as_array().expect("a list"), found)?;
                }
            }
        }
        clocked(scene, peer, self.0["q0"].as_array().expect("a list"))
    }
}

fn size(answer: &Value) -> usize {
    answer.as_object().map_or_else(|| answer.as_array().map_or(0, Vec::len), serde_json::Map::len)
}

/// Q12: every bid was counted in one window of processing time, the one that its event tells.
fn clocked(scene: &Scene, peer: usize, bids: &[Value]) -> Result<(), String> {
    let read = |event: Value| serde_json::from_value::<Timed>(event).expect("as it was emitted");
    let timed: Vec<Timed> = stream(scene, peer, "q12_bids")?.into_iter().map(read).collect();
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for Timed { start_ms, bid: Bid { bidder, .. } } in &timed {
        let key = row_key_of_window(bidder.to_string().as_bytes(), *start_ms);
        *rows.entry(String::from_utf8(key).expect("text")).or_default() += 1;
    }
    same_events("q12_bids", bids, timed.into_iter().map(|timed| json!(timed.bid)).collect())?;
    let rows: BTreeMap<String, Value> = rows.into_iter().map(|(key, n)| (key, json!(n))).collect();
    same_rows(
        "q12",
        rows.iter().map(|(key, row)| (key.clone(), row)),
        &view(scene, peer, "q12")?,
        false,
    )
}

fn same_rows<'a>(
    query: &str,
    expected: impl Iterator<Item = (String, &'a Value)>,
    found: &BTreeMap<String, Value>,
    estimated: bool,
) -> Result<(), String> {
    let mut wanted = 0;
    for (key, row) in expected {
        wanted += 1;
        let near = |found: &Value| match (row.as_f64(), found.as_f64()) {
            (Some(exact), Some(found)) => {
                let most = if estimated { exact * SKETCH_ERROR + 1.0 } else { 0.0 };
                (exact - found).abs() <= most
            }
            _ => found == row,
        };
        if !found.get(&key).is_some_and(near) {
            return Err(format!("{query}: {key} is {:?}, should be {row}", found.get(&key)));
        }
    }
    if wanted == found.len() {
        return Ok(());
    }
    Err(format!("{query} has {} rows, should have {wanted}", found.len()))
}

fn same_events(query: &str, expected: &[Value], found: Vec<Value>) -> Result<(), String> {
    let texts = |events: &mut dyn Iterator<Item = &Value>| {
        let mut texts: Vec<String> = events.map(Value::to_string).collect();
        texts.sort_unstable();
        texts
    };
    let (expected, found) = (texts(&mut expected.iter()), texts(&mut found.iter()));
    if expected == found {
        return Ok(());
    }
    let first = expected.iter().zip(&found).find(|(one, other)| one != other);
    Err(format!(
        "{query} has {} events, should have {}; the first that differ: {first:?}",
        found.len(),
        expected.len()
    ))
}

fn get(scene: &Scene, peer: usize, path: &str) -> Result<Value, String> {
    match scene.get(peer, path) {
        Ok((200, body)) => Ok(body),
        Ok((status, body)) => Err(format!("{path} answers {status} {body}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Every row of a view, as its leader has it.
fn view(scene: &Scene, peer: usize, name: &str) -> Result<BTreeMap<String, Value>, String> {
    let mut found = BTreeMap::new();
    let mut from = String::new();
    loop {
        let body = get(scene, peer, &format!("/v1/views/{name}/rows?limit=5000&from={from}"))?;
        let rows = body["rows"].as_array().cloned().unwrap_or_default();
        for row in &rows {
            let key = row["key"].as_str().unwrap_or_default().to_owned();
            found.insert(key, row["value"].clone());
        }
        match rows.last().and_then(|row| row["key"].as_str()) {
            // A space sorts below what keys are made of.
            Some(last) if body["more"] == true => from = format!("{}%20", escaped(last)),
            _ => return Ok(found),
        }
    }
}

/// Every event's value of a stream.
fn stream(scene: &Scene, peer: usize, name: &str) -> Result<Vec<Value>, String> {
    let body = get(scene, peer, &format!("/v1/streams/{name}"))?;
    let mut found = Vec::new();
    for partition in 0..body["partitions"].as_u64().unwrap_or(0) {
        let mut offset = 0;
        loop {
            let path = format!(
                "/v1/streams/{name}/events?partition={partition}&offset={offset}&max=10000"
            );
            let body = get(scene, peer, &path)?;
            let events = body["events"].as_array().cloned().unwrap_or_default();
            found.extend(events.iter().map(|event| meant(&event["value"])));
            let next = body["next"].as_i64().unwrap_or(offset);
            if next == offset || Some(next) >= body["high"].as_i64() {
                break;
            }
            offset = next;
        }
    }
    Ok(found)
}

/// The JSON that an event's value is the text of.
fn meant(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_| value.clone())
}

fn escaped(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~@:".contains(c);
    let each = |c: char| {
        if plain(c) {
            c.to_string()
        } else {
            c.to_string().bytes().map(|b| format!("%{b:02X}")).collect()
        }
    };
    key.chars().map(each).collect()
}
