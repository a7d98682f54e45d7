//! `shoal group`: consumers that share streams, and how far each group is.

use crate::ask::{Asker, encoded};
use crate::look::Look;
use crate::show::{self, words};
use clap::Subcommand;
use model::Problem;
use serde_json::Value;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All groups.
    #[command(before_help = "Example:\n  shoal group list")]
    List(Look),
    /// Who is in a group, how far it has read each partition, and how many events it is behind.
    #[command(before_help = "Example:\n  shoal group describe billing --watch")]
    Describe {
        name: String,
        #[command(flatten)]
        look: Look,
    },
}

const COLUMNS: &[(&str, &str)] = &[("NAME", "name"), ("KIND", "kind"), ("ACTIVE", "active")];
const CONSUMERS: &[(&str, &str)] = &[("CONSUMER", "id"), ("CLIENT", "client"), ("HOST", "host")];
const OFFSETS: &[(&str, &str)] =
    &[("STREAM", "stream"), ("PARTITION", "partition"), ("NEXT", "offset"), ("LAG", "lag")];

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::List(look) => look.each(|talk| {
            let answer = Asker::new(&talk.peer)?.get("/v1/groups", &[])?;
            show::answer(talk.output, &answer, |answer| show::list(&answer["groups"], COLUMNS));
            Ok(())
        }),
        Verb::Describe { name, look } => look.each(|talk| {
            let path = format!("/v1/groups/{}", encoded(name));
            let answer = Asker::new(&talk.peer)?.get(&path, &[])?;
            show::answer(talk.output, &answer, described);
            Ok(())
        }),
    }
}

fn described(group: &Value) -> String {
    let lags = group["offsets"].as_array().into_iter().flatten();
    let lag: i64 = lags.filter_map(|offset| offset["lag"].as_i64()).sum();
    format!(
        "{}, generation {}, {lag} events behind\n\n{}\n\n{}",
        words(&group["name"]),
        words(&group["generation"]),
        show::list(&group["consumers"], CONSUMERS),
        show::list(&group["offsets"], OFFSETS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_is_told_with_who_is_in_it_and_how_far_it_is_behind() {
        let offset = |partition: u32, lag: Value| json!({"stream": "orders", "partition": partition, "offset": 7, "lag": lag});
        let shown = described(&json!({
            "name": "billing", "kind": "consumer", "generation": 3,
            "consumers": [{"id": "rdkafka-1", "client": "rdkafka", "host": "/127.0.0.1"}],
            "offsets": [offset(0, json!(2)), offset(1, json!(5)), offset(2, json!(null))],
        }));
        assert!(shown.starts_with("billing, generation 3, 7 events behind\n"), "{shown}");
        assert!(
            shown.contains("rdkafka-1") && shown.contains("orders  2          7     -"),
            "{shown}"
        );
    }
}
