//! The command line: verbs, flags, and what the parser says in our form of errors.

use crate::show::Output;
use crate::verb::{self, pipeline, start, stream, testnet, view};
use crate::{Mesh, bench, demo};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
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
  shoal start                        goes on with ./shoal-data

Every setting also stands in shoal.toml ([mesh] port = 7946) or in SHOAL_MESH__PORT; a flag beats
a variable, a variable the file. SHOAL_LOG filters the traces.")]
    Start(Box<start::Args>),
    /// Who belongs to the mesh, and how each peer is.
    #[command(before_help = "Example:\n  shoal members -o json")]
    Members(Talk),
    /// Which peers hold which shard, or where a key lies.
    #[command(before_help = "Examples:\n  shoal ring\n  shoal ring --key JFK --stream flights")]
    Ring(verb::ring::Args),
    /// How the mesh is: one sentence, then reasons. Leaves with 5 when it is not ready.
    #[command(before_help = "Example:\n  shoal health")]
    Health(Talk),
    /// Make, list, write and read streams.
    #[command(
        subcommand,
        before_help = "Examples:
  shoal stream create words --partitions 4
  shoal stream append words --key a hello
  shoal stream read words"
    )]
    Stream(stream::Verb),
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
    #[command(before_help = "Example:\n  shoal demo flights --exit")]
    Demo(demo::Args),
    /// Measure a mesh under load.
    #[command(before_help = "Example:\n  shoal bench --rate 100000 --seconds 60")]
    Bench(bench::Args),
    /// Make things that other commands need.
    #[command(subcommand, before_help = "Example:\n  shoal gen token")]
    Gen(verb::generate::Verb),
    /// What an error code means.
    #[command(before_help = "Example:\n  shoal explain SH0301")]
    Explain {
        /// The code, as SH0301.
        code: String,
    },
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
        Command::Members(talk) => verb::members::run(&talk)?,
        Command::Ring(args) => verb::ring::run(&args)?,
        Command::Health(talk) => return Ok(verb::health::run(&talk)?),
        Command::Stream(verb) => stream::run(&verb)?,
        Command::View(verb) => view::run(&verb)?,
        Command::Pipeline(verb) => pipeline::run(&verb)?,
        Command::Leave(args) => verb::shape::leave(&args)?,
        Command::Drain(args) => verb::shape::drain(&args)?,
        Command::Undrain(args) => verb::shape::undrain(&args)?,
        Command::Remove(args) => verb::shape::remove(&args)?,
        Command::Mesh(verb) => verb::mesh::run(&verb)?,
        Command::Testnet(verb) => testnet::run(&verb)?,
        Command::Demo(args) => return demo::run(&args).map(code),
        Command::Bench(args) => return bench::run(&args).map(code),
        Command::Gen(verb) => verb::generate::run(&verb),
        Command::Explain { code } => verb::explain::run(&code)?,
    }
    Ok(0)
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
        let fix = tip.map_or_else(|| help_for(usage), str::to_owned);
        Problem::new("SH0001", what, because, fix)
    }
}

/// The help of the deepest verb that a usage line names.
fn help_for(usage: &str) -> String {
    let verb = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    let words: Vec<&str> = usage.split_whitespace().take_while(verb).collect();
    match words.as_slice() {
        [] => "shoal --help".to_owned(),
        words => format!("{} --help", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

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
        for verb in Cli::command().get_subcommands().filter(|verb| verb.get_name() != "help") {
            let text = verb.get_before_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.starts_with("Example"), "{}", verb.get_name());
            assert!(text.contains(&format!("shoal {}", verb.get_name())), "{}", verb.get_name());
        }
    }

    #[test]
    fn a_mistake_is_told_in_the_form_of_all_errors() {
        let problem = refused("shoal stream craete x");
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("SH0001", 2));
        assert!(problem.what.contains("craete"), "{problem}");
        assert!(problem.fix.contains("create"), "{problem}");
        let problem = refused("shoal start --new --replace p3");
        assert!(problem.what.contains("--replace"), "{problem}");
        assert_eq!(problem.fix, "shoal start --help");
    }
}
