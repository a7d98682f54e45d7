//! The verbs, a file each: what they take, whom they ask, how they show it.

pub(crate) mod config;
pub(crate) mod dead;
pub(crate) mod debug;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod members;
pub(crate) mod mesh;
pub(crate) mod pipeline;
pub(crate) mod recent;
pub(crate) mod recover;
pub(crate) mod ring;
pub(crate) mod shape;
pub(crate) mod start;
pub(crate) mod stream;
pub(crate) mod testnet;
pub(crate) mod top;
pub(crate) mod view;
pub(crate) mod why_slow;

use crate::ask::Asker;
use crate::show;
use model::Problem;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

/// What people call the peers: answers tell ids, and the two need not agree.
struct Names(BTreeMap<i64, String>);

impl Names {
    /// Asks who is there; where that fails, peers are called by their ids.
    fn ask(asker: &Asker) -> Self {
        Self::of(&asker.get("/v1/members", &[]).unwrap_or_default())
    }

    /// A name that several have (one of them was wiped and came back) is told with its id.
    fn of(members: &Value) -> Self {
        let list = || members["members"].as_array().into_iter().flatten();
        let name = |member: &Value| {
            let shared = list().filter(|other| other["name"] == member["name"]).count() > 1;
            let name = show::words(&member["name"]);
            Some((
                member["id"].as_i64()?,
                if shared { format!("{name}#{}", member["id"]) } else { name },
            ))
        };
        Self(list().filter_map(name).collect())
    }

    /// A peer's name; nobody is "-".
    fn peer(&self, id: &Value) -> String {
        let Some(id) = id.as_i64() else {
            return "-".to_owned();
        };
        self.0.get(&id).cloned().unwrap_or_else(|| format!("p{id}"))
    }

    /// Several peers, in the order they came.
    fn peers(&self, ids: &Value) -> String {
        let names: Vec<String> =
            ids.as_array().into_iter().flatten().map(|id| self.peer(id)).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(" ") }
    }
}

/// Asks a person before something is gone for good; `fix` says it without being asked.
fn confirm(name: &str, question: &str, fix: &str) -> Result<(), Problem> {
    let refused = |because: &str| Problem::new("SH0001", format!("{name} stays"), because, fix);
    if !std::io::stdin().is_terminal() {
        return Err(refused("nobody is there to say yes"));
    }
    eprint!("{question} [y/N] ");
    // Who cannot be asked does not say yes.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    match read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(refused("nobody said yes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn peers_are_called_by_their_names_and_twins_by_name_and_id() {
        let names = Names::of(&json!({"members": [
            {"id": 1, "name": "p1"}, {"id": 2, "name": "harbour"}, {"id": 3, "name": "p1"},
        ]}));
        assert_eq!(names.peers(&json!([2, 3, 1, 4])), "harbour p1#3 p1#1 p4");
        assert_eq!(names.peer(&json!(null)), "-");
        assert_eq!(names.peers(&json!([])), "-");
    }
}
