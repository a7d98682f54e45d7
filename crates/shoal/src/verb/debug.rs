//! `shoal debug bundle`: what somebody who helps needs to see, in one file, without secrets.

use crate::ask::Asker;
use crate::cli::Talk;
use crate::progress::Progress;
use crate::show;
use clap::{Args, Subcommand};
use flate2::Compression;
use flate2::write::GzEncoder;
use model::Problem;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a peer may take for one answer; of those that do not answer just that is told.
const WAIT: Duration = Duration::from_secs(5);
/// How often it is told how far it is where there is no terminal.
const TELL: Duration = Duration::from_secs(5);
/// Of each log only its end: what led to trouble is there.
const LOG_BYTES: u64 = 1 << 20;
const ASKED: [&str; 11] = [
    "/v1/overview",
    "/v1/members",
    "/v1/ring",
    "/v1/health",
    "/v1/settings",
    "/v1/mesh/moves",
    "/v1/groups",
    "/v1/streams",
    "/v1/pipelines",
    "/v1/views",
    "/readyz",
];

/// What can be made.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Gather what all peers say of themselves, and logs, into one file. Tokens are taken out.
    #[command(before_help = "Example:\n  shoal debug bundle --log testnet-data/p2/log")]
    Bundle(Bundle),
}

#[derive(Debug, Args)]
pub(crate) struct Bundle {
    /// The file to write.
    #[arg(long, default_value = "shoal-bundle.json.gz", value_name = "FILE")]
    file: PathBuf,
    /// A log or settings file to add; may be given several times.
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    #[command(flatten)]
    talk: Talk,
}

pub(crate) fn run(Verb::Bundle(args): &Verb) -> Result<(), Problem> {
    let text = redacted(&gather(args)?.to_string());
    write(&args.file, &text).map_err(|error| {
        Problem::new(
            "SH0206",
            format!("{} cannot be written", args.file.display()),
            error.to_string(),
            "--file with a path in a folder that is writable",
        )
    })?;
    let answer = json!({ "file": args.file, "bytes": text.len() });
    show::answer(args.talk.output, &answer, |_| {
        format!(
            "{file} holds {} KiB of text; look at it before you send it: zcat {file}",
            text.len() >> 10,
            file = args.file.display(),
        )
    });
    Ok(())
}

fn gather(args: &Bundle) -> Result<Value, Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    // One peer must answer at all; of the others it is a finding that they do not.
    let members = asker.get("/v1/members", &[])?;
    let members = members["members"].as_array().map_or(&[][..], Vec::as_slice);
    let mut progress = Progress::of(members.len() as u64, TELL);
    let mut peers = serde_json::Map::new();
    for (at, member) in members.iter().enumerate() {
        let (name, http) = (show::words(&member["name"]), show::words(&member["http"]));
        progress.at(at as u64, &format!("asking {name}"));
        let asker = Asker::with_wait(&http, WAIT);
        let mut said = serde_json::Map::new();
        for path in ASKED {
            let answer = asker.get(path, &[]).unwrap_or_else(|problem| json!(problem.to_string()));
            said.insert(path.to_owned(), answer);
        }
        for path in ["/metrics", "/metrics/internal"] {
            let text = asker.text(path).unwrap_or_else(|problem| problem.to_string());
            said.insert(path.to_owned(), json!(text));
        }
        peers.insert(name, Value::Object(said));
    }
    let logs: serde_json::Map<_, _> =
        args.log.iter().map(|path| (path.display().to_string(), json!(tail(path)))).collect();
    Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "peers": peers, "logs": logs }))
}

fn tail(path: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(size.saturating_sub(LOG_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("it cannot be read: {error}"))
}

/// Without what lets a stranger in.
fn redacted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("shoal1-") {
        clean.push_str(&rest[..at]);
        clean.push_str("(token)");
        let end = rest[at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        rest = end.map_or("", |end| &rest[at + end..]);
    }
    clean.push_str(rest);
    clean
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = GzEncoder::new(std::fs::File::create(path)?, Compression::default());
    file.write_all(text.as_bytes())?;
    file.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_out_wherever_they_stand() {
        let token = crate::verb::generate::token();
        let text = redacted(&format!("a \"{token}\", {token}\n{token}"));
        assert_eq!(text, "a \"(token)\", (token)\n(token)");
    }
}
