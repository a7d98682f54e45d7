//! The demo: three peers, real events, answers as they change, and a verdict against an independent count.

use clap::{Args as ClapArgs, ValueEnum};
use std::process::ExitCode;

/// The demos there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// The 27,004 flights that left New York in January 2013.
    Flights,
}

/// What `shoal demo` takes.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Which demo to run.
    #[arg(value_enum)]
    pub story: Story,
    /// How many times faster than life the events are sent, or `max`.
    #[arg(long, default_value = "134000")]
    pub speed: String,
    /// Leave once the verdict is known.
    #[arg(long)]
    pub exit: bool,
    /// Keep the folder of the peers.
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo; blocks. Exit code 0 only if every total is equal.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the demo is not built yet")
}
