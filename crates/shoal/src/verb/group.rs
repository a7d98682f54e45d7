//! `shoal group`: consumers that share streams, how far each group is, and from where it goes on.

mod seek;

use super::confirm;
use crate::ask::{Asker, encoded};
use crate::cli::Talk;
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
    /// Let a group go on from elsewhere in a stream. Nobody may be in it.
    ///
    /// Shows where each partition would go on, and asks before it is so.
    #[command(before_help = "Examples:
  shoal group seek billing orders --to earliest --dry-run
  shoal group seek billing orders --to latest --yes
  shoal group seek billing orders --to 2026-11-24T08:00:00Z
  shoal group seek billing orders --to 4711 --partition 3")]
    Seek(seek::Args),
    /// Forget a group and how far it has read. Nobody may be in it.
    #[command(before_help = "Example:\n  shoal group delete billing --yes")]
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        talk: Talk,
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
        Verb::Seek(args) => seek::run(args),
        Verb::Delete { name, yes, talk } => {
            if !yes {
                let question = format!("How far {name} has read will be forgotten. Delete it?");
                confirm(name, &question, &format!("shoal group delete {name} --yes"))?;
            }
            let path = format!("/v1/groups/{}", encoded(name));
            let answer = Asker::new(&talk.peer)?.delete(&path)?;
            show::answer(talk.output, &answer, |_| format!("{name} is deleted"));
            Ok(())
        }
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
