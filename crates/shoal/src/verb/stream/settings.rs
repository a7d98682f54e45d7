//! `shoal stream configure`: how a stream's events are kept.

use crate::ask::{Asker, encoded};
use crate::cli::Talk;
use crate::show;
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::{Map, Value};

/// What `shoal stream configure` takes. Without a setting it shows what is set.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    stream: String,
    /// Forget events older than so many milliseconds; `never`, or `usual` for what is usual in this mesh.
    #[arg(long, value_name = "MS", value_parser = bound)]
    retention_ms: Option<Value>,
    /// Forget the oldest events of a partition above so many bytes; `never`, or `usual`.
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    retention_bytes: Option<Value>,
    /// The largest batch that clients may append, in bytes; or `usual`.
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    batch_bytes_max: Option<Value>,
    #[command(flatten)]
    talk: Talk,
}

/// The settings, under the HTTP API's names.
const NAMES: [&str; 3] = ["retention_ms", "retention_bytes", "batch_bytes_max"];

pub(super) fn run(args: &Args) -> Result<(), Problem> {
    let path = format!("/v1/streams/{}/settings", encoded(&args.stream));
    let asker = Asker::new(&args.talk.peer)?;
    let wanted = [&args.retention_ms, &args.retention_bytes, &args.batch_bytes_max];
    let new: Map<String, Value> = NAMES
        .iter()
        .zip(wanted)
        .filter_map(|(name, wanted)| Some(((*name).to_owned(), wanted.clone()?)))
        .collect();
    let answer = match new.is_empty() {
        true => asker.get(&path, &[])?,
        false => asker.patch(&path, &Value::Object(new))?,
    };
    show::answer(args.talk.output, &answer, table);
    Ok(())
}

fn bound(text: &str) -> Result<Value, String> {
    match text {
        "usual" => Ok(Value::Null),
        "never" => Ok(Value::from(-1)),
        number => match number.parse::<u64>() {
            Ok(number) if i64::try_from(number).is_ok() => Ok(Value::from(number)),
            _ => Err("a number, `never` or `usual`".to_owned()),
        },
    }
}

fn table(answer: &Value) -> String {
    let rows = NAMES.iter().map(|name| {
        let value = match &answer[*name] {
            Value::Null => "usual".to_owned(),
            value if value.as_i64().is_some_and(|it| it < 0) => "never".to_owned(),
            value => show::words(value),
        };
        vec![(*name).to_owned(), value]
    });
    show::table(&["SETTING", "VALUE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bound_is_a_number_never_or_usual() {
        assert_eq!(bound("usual"), Ok(Value::Null));
        assert_eq!(bound("never"), Ok(json!(-1)));
        assert_eq!(bound("60000"), Ok(json!(60_000)));
        for nonsense in ["", "-5", "1d", "9223372036854775808"] {
            assert!(bound(nonsense).is_err(), "{nonsense}");
        }
        let shown = table(&json!({"retention_ms": 5, "retention_bytes": -1}));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[1..],
            ["retention_ms     5", "retention_bytes  never", "batch_bytes_max  usual"]
        );
    }
}
