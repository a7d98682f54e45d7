//! Lists that are shown once, or again every second.

use crate::cli::Talk;
use crate::show::{self, Output};
use clap::Args;
use model::Problem;
use std::io::IsTerminal;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// Which peer is asked, how the answer is shown, and how often.
#[derive(Clone, Debug, Args)]
pub(crate) struct Look {
    /// Ask again every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

impl Look {
    /// Shows once or for ever. While watching, a peer that does not answer is told and asked again.
    pub(crate) fn each<T>(
        &self,
        mut show: impl FnMut(&Talk) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if !self.watch {
            return show(&self.talk);
        }
        // A terminal shows the latest only; a file gets all of them, one after the other.
        let clears = std::io::stdout().is_terminal() && self.talk.output == Output::Table;
        loop {
            if clears {
                show::print("\u{1b}[2J\u{1b}[H\u{1b}[1A");
            }
            if let Err(problem) = show(&self.talk) {
                match problem.exit_code() {
                    3 => eprintln!("{problem}"),
                    _ => return Err(problem),
                }
            }
            std::thread::sleep(EVERY);
        }
    }
}
