//! `shoal gen`: makes what other commands and programs need; it prints, and changes nothing.

mod container;
mod grafana;
mod haproxy;
mod prometheus;

use crate::ask::Asker;
use crate::show;
use clap::{Args, Subcommand};
use model::Problem;

/// What can be made.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// A token for a new mesh: `shoal start --new --token T`, and the same T for all that join.
    #[command(before_help = "Example:\n  shoal gen token")]
    Token,
    /// A configuration of Prometheus that reads all peers.
    #[command(before_help = "Example:\n  shoal gen prometheus --rules alerts.yml > prometheus.yml")]
    Prometheus {
        /// The file of `shoal gen alerts`, as Prometheus finds it.
        #[arg(long, value_name = "FILE")]
        rules: Option<String>,
        #[command(flatten)]
        from: From,
    },
    /// Rules for Prometheus that say when somebody should look.
    #[command(before_help = "Example:\n  shoal gen alerts > alerts.yml")]
    Alerts,
    /// A dashboard for Grafana.
    #[command(before_help = "Example:\n  shoal gen grafana > shoal.json")]
    Grafana,
    /// A configuration of HAProxy before the HTTP ports of all peers.
    #[command(before_help = "Example:\n  shoal gen haproxy --listen :8000 > haproxy.cfg")]
    Haproxy {
        /// Where the proxy listens.
        #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
        listen: String,
        #[command(flatten)]
        from: From,
    },
    /// A compose file: peers in containers, HAProxy, Prometheus.
    #[command(before_help = "Example:\n  shoal gen compose -n 3 > compose.yaml")]
    Compose {
        /// How many peers.
        #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
        peers: u16,
    },
    /// A unit for systemd.
    #[command(before_help = "Example:\n  shoal gen systemd > /etc/systemd/system/shoal.service")]
    Systemd,
}

/// Which peers a file names.
#[derive(Debug, Args)]
pub(crate) struct From {
    /// The peers by hand, instead of asking the mesh.
    #[arg(long, value_delimiter = ',', value_name = "NAME=HOST:PORT")]
    targets: Vec<String>,
    /// HTTP address of any peer.
    #[arg(long, env = "SHOAL_PEER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    peer: String,
}

/// A peer's HTTP listener, as others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    name: String,
    http: String,
}

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::Token => show::print(&token()),
        Verb::Prometheus { rules, from } => {
            put(&prometheus::scrape(&from.targets()?, rules.as_deref()));
        }
        Verb::Alerts => put(prometheus::ALERTS),
        Verb::Grafana => show::print(&format!("{:#}", grafana::dashboard())),
        Verb::Haproxy { listen, from } => put(&haproxy::file(&from.targets()?, listen)),
        Verb::Compose { peers } => put(&container::compose(*peers)),
        Verb::Systemd => put(container::SYSTEMD),
    }
    Ok(())
}

fn put(file: &str) {
    show::print(file.trim_end());
}

/// A fresh token of the first generation.
pub(crate) fn token() -> String {
    peer::Token::new(rand::random()).text()
}

impl From {
    fn targets(&self) -> Result<Vec<Target>, Problem> {
        if !self.targets.is_empty() {
            return self.targets.iter().map(|text| target(text)).collect();
        }
        let members = Asker::new(&self.peer)?.get("/v1/members", &[])?;
        let of = |member: &serde_json::Value| Target {
            name: show::words(&member["name"]),
            http: show::words(&member["http"]),
        };
        Ok(members["members"].as_array().into_iter().flatten().map(of).collect())
    }
}

fn target(text: &str) -> Result<Target, Problem> {
    let parts = text.split_once('=').filter(|(name, http)| {
        // Both go into other programs' files: nothing but what names and addresses are made of.
        let plain = |word: &str, more: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        plain(name, "._-") && plain(http, "._-:[]") && http.contains(':')
    });
    let (name, http) = parts.ok_or_else(|| {
        Problem::new(
            "SH0001",
            format!("{text:?} is no peer"),
            "a peer is written NAME=HOST:PORT",
            "--targets p1=10.0.0.1:8080,p2=10.0.0.2:8080",
        )
    })?;
    Ok(Target { name: name.to_owned(), http: http.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_names_with_addresses_and_nothing_that_could_steer_a_file() {
        let one = target("p1=10.0.0.1:8080").expect("a peer");
        assert_eq!((&*one.name, &*one.http), ("p1", "10.0.0.1:8080"));
        for bad in ["p1", "p1=host", "=h:1", "p1=h:1\n  evil", "p 1=h:1", "p1=h:1 # x"] {
            assert_eq!(target(bad).expect_err(bad).code, "SH0001");
        }
    }

    #[test]
    fn haproxy_has_a_line_for_each_peer_that_is_checked() {
        let peers = ["p1=a:1", "p2=b:2"].map(|text| target(text).expect("a peer"));
        let file = haproxy::file(&peers, ":8000");
        assert!(file.contains("    server p1 a:1 check\n    server p2 b:2 check\n"), "{file}");
    }

    #[test]
    fn the_unit_of_systemd_starts_what_there_is_and_gives_it_time_to_stop() {
        let of = |key: &str| {
            let found = container::SYSTEMD.lines().find_map(|line| line.strip_prefix(key));
            found.unwrap_or_else(|| panic!("{key} is not in the unit"))
        };
        let start = of("ExecStart=/usr/local/bin/");
        let words = start.split(' ').map(std::ffi::OsString::from);
        assert!(crate::cli::read(words).is_ok(), "{start} is no command");
        let seconds: u64 = of("TimeoutStopSec=").parse().expect("seconds");
        assert!(std::time::Duration::from_secs(seconds) > super::super::start::STOP, "{seconds} s");
        assert_ne!(of("User="), "root");
        for section in ["[Unit]", "[Service]", "[Install]"] {
            assert!(container::SYSTEMD.lines().any(|line| line == section), "{section}");
        }
    }

    #[test]
    fn the_compose_file_of_the_repository_is_what_the_command_makes() {
        let kept = include_str!("../../../../testnet/compose.yaml");
        assert_eq!(kept, container::compose(3), "shoal gen compose > testnet/compose.yaml");
    }
}
