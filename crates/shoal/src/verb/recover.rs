//! `shoal recover --unsafe`: one peer goes on alone, when a quorum is lost for good.

use super::start;
use crate::show;
use clap::Args as ClapArgs;
use model::Problem;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What `shoal recover` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Needed: events that were acknowledged may be lost.
    #[arg(long = "unsafe")]
    accepts: bool,
    /// Data folder of the peer that is to go on [default: ./shoal-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// File with settings [default: shoal.toml here or in /etc/shoal].
    #[arg(long, env = "SHOAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let data = args.data.iter().map(|data| data.display().to_string()).collect();
    let settings = start::gathered(vec![("peer.data", data)], args.config.as_deref())?;
    let folder = PathBuf::from(settings.text("peer.data").unwrap_or("shoal-data"));
    if !args.accepts {
        return Err(Problem::new(
            "SH0001",
            "recover gives up what only the lost peers had",
            "where a majority can come back, nothing needs to be given up: start them instead",
            format!("shoal recover --unsafe --data {}", folder.display()),
        ));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Problem::new("SH0901", "no threads", error.to_string(), "look at the limits: ulimit -u")
    })?;
    let recovery = runtime.block_on(peer::Recovery::open(&folder))?;
    let price = recovery.price();
    for line in told(&price, SystemTime::now()) {
        eprintln!("{line}");
    }
    if !args.yes {
        confirm(&price.name, &folder)?;
    }
    recovery.carry_out()?;
    let (name, number) = (&price.name, price.recovery);
    show::print(&format!(
        "{name} is its whole mesh now, by recovery {number}: shoal start --data {}",
        folder.display()
    ));
    Ok(())
}

/// What may be lost, a line each.
fn told(price: &peer::Price, now: SystemTime) -> Vec<String> {
    let peer::Price { name, mesh, recovery, others, kept, newest_ms, lost, streams } = price;
    let newest = SystemTime::UNIX_EPOCH + Duration::from_millis(*newest_ms);
    let ago = now.duration_since(newest).unwrap_or_default().as_secs();
    let mut lines = vec![
        format!("{name} would go on alone, as recovery {recovery} of mesh {mesh}."),
        format!(
            "{kept} of its shards have a copy here. What the others acknowledged and this one never got is lost: the \
             newest that was applied here is {ago} s old."
        ),
    ];
    if *lost > 0 {
        lines.push(format!("{lost} shards have no copy here: ALL that was in them is lost."));
    }
    for (stream, gone, partitions) in streams {
        lines.push(format!("  stream {stream}: {gone} of {partitions} partitions are lost"));
    }
    let others: Vec<String> = others.iter().map(|(name, at)| format!("{name} ({at})")).collect();
    if !others.is_empty() {
        lines.push(format!(
            "Out of the mesh for good, their folders refused from now on: {}. If a majority with them can still be \
             started, do that instead.",
            others.join(", ")
        ));
    }
    lines
}

/// A slip of one key must not be enough.
fn confirm(name: &str, folder: &std::path::Path) -> Result<(), Problem> {
    let fix = format!("shoal recover --unsafe --yes --data {}", folder.display());
    let refused = |because: &str| Problem::new("SH0001", "nothing was changed", because, &fix);
    if !std::io::stdin().is_terminal() {
        return Err(refused("nobody is there to say yes"));
    }
    eprint!("Type the peer's name, {name}, to do it: ");
    // Who cannot be asked does not agree.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    match read.is_ok() && line.trim() == name {
        true => Ok(()),
        false => Err(refused("the name was not typed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_named() {
        let price = peer::Price {
            name: "p3".into(),
            mesh: "ab".into(),
            recovery: 1,
            others: vec![("p1".into(), "a:7946".into()), ("p2".into(), "b:7946".into())],
            kept: 60,
            newest_ms: 1_000,
            lost: 4,
            streams: vec![("orders".into(), 2, 16)],
        };
        let text = told(&price, SystemTime::UNIX_EPOCH + Duration::from_secs(11)).join("\n");
        for words in [
            "recovery 1 of mesh ab",
            "60 of its shards have a copy here",
            "10 s old",
            "4 shards have no copy here: ALL",
            "stream orders: 2 of 16 partitions are lost",
            "p1 (a:7946), p2 (b:7946)",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }
}
