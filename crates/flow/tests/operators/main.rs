//! Operators give the answers of a plain computation over the same events, whatever dies on the way.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

mod aggregates;
mod joins;
mod processors;
mod versions;
mod windows;

use flow::testing::TestMesh;
use serde_json::Value;
use std::collections::BTreeMap;

/// How many courses of things each story is told in.
const SEEDS: u64 = 20;
/// 2013-01-01T05:00:00Z.
const BEGIN_MS: i64 = 1_357_016_400_000;

/// Any numbers: a small generator of its own, so that tests do not share the mesh's luck.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
    move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    }
}

fn row_key(key: &str, start_ms: i64) -> String {
    String::from_utf8(flow::row_key_of_window(key.as_bytes(), start_ms)).unwrap()
}

/// A stream's events as (key, value), sorted.
fn said(mesh: &TestMesh, stream: &str) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let events = mesh.events(stream);
    let mut said: Vec<_> = events.iter().map(|e| (text(&e.key()), text(e.value()))).collect();
    said.sort();
    said
}

fn rows<K: AsRef<str>, V: Into<Value>>(
    of: impl IntoIterator<Item = (K, V)>,
) -> BTreeMap<String, Value> {
    of.into_iter().map(|(key, value)| (key.as_ref().to_owned(), value.into())).collect()
}
