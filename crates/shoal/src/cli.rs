//! The command line: verbs, flags, and what the parser says in our form of errors.

use crate::look::Look;
use crate::show::Output;
use crate::verb::{self, dead, group, pipeline, start, stream, testnet, view};
use crate::{Mesh, bench, demo};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use model::Problem;
use std::ffi::OsString;
use std::process::ExitCode;

/// A peer-to-peer mesh that keeps streams of events and computes on them, exactly once.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, max_term_width = 100, arg_required_else_help = true)]
#[command(before_help = "Examples:
  shoal demo flights                 real events through three peers, and the answers
  shoal testnet up -n 3              three peers on this machine that stay
  shoal start --new                  found a mesh; prints how others join")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a peer: found a mesh, join one, or go on with the data folder that is there.
    #[command(before_help = "Examples:
  shoal start --new
  shoal start --join 192.0.2.7:7946 --token shoal1-1-…
  shoal start --new --join a:7946 --join b:7946 --join c:7946 --token T    the same on three machines
  shoal start                        goes on with ./shoal-data

Every setting also stands in shoal.toml ([mesh] port = 7946) or in SHOAL_MESH__PORT; a flag beats
a variable, a variable the file. SHOAL_LOG filters the traces.")]
    Start(Box<start::Args>),
    /// Who belongs to the mesh, and how each peer is.
    #[command(before_help = "Example:\n  shoal members -o json")]
    Members(Look),
    /// Which peers hold which shard, or where a key lies.
    #[command(
        before_help = "Examples:\n  shoal ring\n  shoal ring --key JFK\n  shoal ring --key JFK --stream flights"
    )]
    Ring(verb::ring::Args),
    /// How the mesh is: one sentence, then reasons. Leaves with 5 when it is not ready.
    #[command(alias = "status", before_help = "Example:\n  shoal health")]
    Health(Look),
    /// The mesh, live: verdict, peers, rates, pipelines, what happened. q quits.
    #[command(
        args_conflicts_with_subcommands = true,
        before_help = "Examples:
  shoal top
  shoal top -o json      the same once, for programs
  shoal top keys         the keys that get the most events"
    )]
    Top(verb::top::Args),
    /// What happened lately, at all peers: who came and went, leads, failed tasks, dead letters, odd addresses.
    #[command(before_help = "Example:\n  shoal recent --watch")]
    Recent(Look),
    /// Make, list, write, read, set and delete streams.
    #[command(
        subcommand,
        alias = "topic",
        before_help = "Examples:
  shoal stream create words --partitions 4
  shoal stream append words --key a hello
  shoal stream read words"
    )]
    Stream(stream::Verb),
    /// Who reads streams together, and how far behind each group is.
    #[command(
        subcommand,
        before_help = "Examples:\n  shoal group list\n  shoal group describe billing"
    )]
    Group(group::Verb),
    /// Ask the views that pipelines keep.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal view get counts JFK
  shoal view scan counts --consistency any"
    )]
    View(view::Verb),
    /// What runs, and where.
    #[command(subcommand, before_help = "Example:\n  shoal pipeline describe flights")]
    Pipeline(pipeline::Verb),
    /// Events that pipelines gave up: look at them, try them again, forget them.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal dead list
  shoal dead show flights.carrier_hours
  shoal dead retry flights.carrier_hours"
    )]
    Dead(dead::Verb),
    /// Hand over all that a peer holds, then take it out of the mesh; its process ends.
    #[command(
        before_help = "Examples:\n  shoal leave p4\n  shoal leave --peer http://192.0.2.7:8080"
    )]
    Leave(verb::shape::Away),
    /// Hand over all that a peer holds; it stays and serves clients, and gets no shards.
    #[command(before_help = "Example:\n  shoal drain p3")]
    Drain(verb::shape::Away),
    /// Give a drained or leaving peer shards again.
    #[command(before_help = "Example:\n  shoal undrain p3")]
    Undrain(verb::shape::Back),
    /// Take a dead peer out of the mesh for good. It cannot come back with its old folder.
    #[command(before_help = "Example:\n  shoal remove p3 --yes")]
    Remove(verb::shape::Gone),
    /// Go on alone when a quorum is lost for good; the peer must not run. What only the lost ones had is lost.
    #[command(before_help = "Example:\n  shoal recover --unsafe --data shoal-data")]
    Recover(verb::recover::Args),
    /// What would move if the mesh changed its shape, and what moves now.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal mesh plan --add 2 --drain p3
  shoal mesh moves --watch"
    )]
    Mesh(verb::mesh::Verb),
    /// A mesh of real processes on this machine.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal testnet up -n 3
  shoal testnet kill 2               nothing should stop
  shoal testnet down --purge"
    )]
    Testnet(testnet::Verb),
    /// Real events through three peers, and a verdict on the answers.
    #[command(before_help = "Examples:\n  shoal demo flights --exit\n  shoal demo ads --check")]
    Demo(demo::Args),
    /// Measure a mesh under load.
    #[command(before_help = "Example:\n  shoal bench --rate 100000 --seconds 60")]
    Bench(bench::Args),
    /// Make what other commands and programs need: a token, files for Prometheus, Grafana, HAProxy, containers.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal gen token
  shoal gen haproxy --listen :8000 > haproxy.cfg"
    )]
    Gen(verb::generate::Verb),
    /// What an error code means.
    #[command(before_help = "Example:\n  shoal explain SH0301")]
    Explain {
        /// The code, as SH0301.
        code: String,
    },
    /// What holds the mesh up: the slowest disk, link, shard, task or client.
    #[command(before_help = "Example:\n  shoal why-slow")]
    WhySlow(Talk),
    /// Which settings a start here would have, and whether they are right.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal config show --origin
  shoal config check --config shoal.toml"
    )]
    Config(verb::config::Verb),
    /// What somebody who helps needs to see.
    #[command(subcommand, before_help = "Example:\n  shoal debug bundle")]
    Debug(verb::debug::Verb),
    /// Completions for a shell.
    #[command(before_help = "Example:\n  shoal completions bash > /etc/bash_completion.d/shoal")]
    Completions { shell: clap_complete::Shell },
}

/// Which peer is asked, and how the answer is shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct Talk {
    /// HTTP address of any peer.
    #[arg(long, env = "SHOAL_PEER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) peer: String,
    /// How the answer is shown.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// A command line that was not taken: a wish for help, or a mistake.
pub(crate) struct Refused(clap::Error);

/// Reads the command line.
pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Command, Refused> {
    Cli::try_parse_from(words).map(|cli| cli.command).map_err(Refused)
}

/// Does what the command says; the number is the process's exit code.
pub(crate) fn run(command: Command, register: impl FnOnce(&mut Mesh)) -> anyhow::Result<u8> {
    match command {
        Command::Start(args) => start::run(&args, register)?,
        Command::Members(look) => look.each(verb::members::run)?,
        Command::Ring(args) => verb::ring::run(&args)?,
        Command::Health(look) => return Ok(look.each(verb::health::run)?),
        Command::Top(args) => verb::top::run(&args)?,
        Command::Recent(look) => look.each(verb::recent::run)?,
        Command::Stream(verb) => stream::run(&verb)?,
        Command::Group(verb) => group::run(&verb)?,
        Command::View(verb) => view::run(&verb)?,
        Command::Pipeline(verb) => pipeline::run(&verb, register)?,
        Command::Dead(verb) => dead::run(&verb)?,
        Command::Leave(args) => verb::shape::leave(&args)?,
        Command::Drain(args) => verb::shape::drain(&args)?,
        Command::Undrain(args) => verb::shape::undrain(&args)?,
        Command::Remove(args) => verb::shape::remove(&args)?,
        Command::Recover(args) => verb::recover::run(&args)?,
        Command::Mesh(verb) => verb::mesh::run(&verb)?,
        Command::Testnet(verb) => testnet::run(&verb)?,
        Command::Demo(args) => return demo::run(&args).map(code),
        Command::Bench(args) => return bench::run(&args).map(code),
        Command::Gen(verb) => verb::generate::run(&verb)?,
        Command::Explain { code } => verb::explain::run(&code)?,
        Command::WhySlow(talk) => verb::why_slow::run(&talk)?,
        Command::Config(verb) => verb::config::run(&verb)?,
        Command::Debug(verb) => verb::debug::run(&verb)?,
        Command::Completions { shell } => crate::show::print(completions(shell).trim_end()),
    }
    Ok(0)
}

/// A script that a shell reads.
fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "shoal", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn code(exit: ExitCode) -> u8 {
    u8::from(exit != ExitCode::SUCCESS)
}

impl Refused {
    /// Prints help as asked, or the mistake in the form of all errors, and says with which code to leave.
    pub(crate) fn print(&self) -> u8 {
        let kind = self.0.kind();
        if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            // As everywhere: who does not read any more does not miss anything.
            let _ = self.0.print();
            return 0;
        }
        if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let _ = self.0.print();
            return 2;
        }
        let problem = self.problem();
        eprintln!("{problem}");
        problem.exit_code()
    }

    fn problem(&self) -> Problem {
        let text = self.0.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
        let mut because: Vec<&str> = Vec::new();
        let mut tip = None;
        let mut usage = None;
        for line in lines {
            match line.split_once(": ") {
                Some(("tip", text)) => tip = Some(text),
                Some(("Usage", text)) => usage = Some(text),
                _ if line.starts_with("For more information") => {}
                _ => because.push(line),
            }
        }
        let usage = usage.unwrap_or("shoal <COMMAND>");
        let because = match because.as_slice() {
            [] => format!("the form is: {usage}"),
            lines => lines.join(" "),
        };
        let fix = match tip.and_then(|tip| tip.strip_prefix("a similar subcommand exists: '")) {
            // A command that can be typed; which flags it takes its help says.
            Some(near) => format!("{} {} --help", verb_of(usage), near.trim_end_matches('\'')),
            None => tip.map_or_else(|| help_for(usage), str::to_owned),
        };
        Problem::new("SH0001", what, because, fix)
    }
}

/// The help of the deepest verb that a usage line names.
fn help_for(usage: &str) -> String {
    format!("{} --help", verb_of(usage))
}

/// The deepest verb that a usage line names.
fn verb_of(usage: &str) -> String {
    let verb = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        plain && !word.starts_with('-')
    };
    let words: Vec<&str> = usage.split_whitespace().take_while(verb).collect();
    if words.is_empty() { "shoal".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn refused(words: &str) -> Problem {
        let words = words.split(' ').map(OsString::from);
        let Err(refused) = read(words) else { panic!("taken") };
        refused.problem()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example_before_anything_else() {
        let walked = walk(&Cli::command(), "shoal");
        assert!(walked > 50, "{walked} verbs");
    }

    /// Looks at the help of each verb below one; how many there are.
    fn walk(above: &clap::Command, path: &str) -> usize {
        let verbs = above.get_subcommands().filter(|verb| verb.get_name() != "help");
        let one = |verb: &clap::Command| {
            let path = format!("{path} {}", verb.get_name());
            let help = verb.clone().render_help().to_string();
            assert!(help.starts_with("Example"), "{path}: {help}");
            let example = help.split("Usage:").next().unwrap_or_default();
            // One that is about a user's code is run with a user's binary.
            let own = path.replacen("shoal", "my-binary", 1);
            assert!(example.contains(&path) || example.contains(&own), "{path}: {help}");
            1 + walk(verb, &path)
        };
        verbs.map(one).sum()
    }

    #[test]
    fn every_list_is_told_as_a_table_as_json_and_as_yaml() {
        for verb in [
            "members",
            "ring",
            "health",
            "stream list",
            "view list",
            "pipeline list",
            "dead list",
            "group list",
            "testnet status",
            "config show",
            "mesh moves",
            "recent",
        ] {
            let taken = [("table", true), ("json", true), ("yaml", true), ("nonsense", false)];
            for (output, taken) in taken {
                let words = format!("shoal {verb} -o {output}");
                let read = read(words.split(' ').map(OsString::from));
                assert_eq!(read.is_ok(), taken, "{words}");
            }
        }
    }

    #[test]
    fn words_that_others_use_are_taken() {
        for words in ["shoal topic list", "shoal topic create x", "shoal status"] {
            assert!(read(words.split(' ').map(OsString::from)).is_ok(), "{words}");
        }
    }

    #[test]
    fn completions_know_every_verb_and_a_shell_reads_them() {
        for shell in clap_complete::Shell::value_variants() {
            let script = completions(*shell);
            for verb in Cli::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("shoal.bash");
        std::fs::write(&path, completions(clap_complete::Shell::Bash)).expect("written");
        let read = std::process::Command::new("bash").arg("-n").arg(&path).output();
        let read = read.expect("bash runs");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    }

    #[test]
    fn a_mistake_is_told_in_the_form_of_all_errors() {
        let problem = refused("shoal stream craete x");
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("SH0001", 2));
        assert!(problem.what.contains("craete"), "{problem}");
        assert_eq!(problem.fix, "shoal stream create --help");
        let problem = refused("shoal start --new --replace p3");
        assert!(problem.what.contains("--replace"), "{problem}");
        assert_eq!(problem.fix, "shoal start --help");
    }
}
