//! The verbs, a file each: what they take, whom they ask, how they show it.

pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod members;
pub(crate) mod pipeline;
pub(crate) mod remove;
pub(crate) mod ring;
pub(crate) mod start;
pub(crate) mod stream;
pub(crate) mod testnet;
pub(crate) mod view;

use serde_json::Value;

/// Peers are shown as `p1`; nobody as "-".
fn peer(id: &Value) -> String {
    id.as_i64().map_or_else(|| "-".to_owned(), |id| format!("p{id}"))
}

/// Several peers, in the order they came.
fn peers(ids: &Value) -> String {
    let ids: Vec<String> = ids.as_array().into_iter().flatten().map(peer).collect();
    if ids.is_empty() { "-".to_owned() } else { ids.join(" ") }
}
