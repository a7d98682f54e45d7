//! `shoal config`: the settings that a start here would have, or a running peer has, and where each comes from.

use super::start;
use crate::ask::Asker;
use crate::cli::Talk;
use crate::show;
use clap::{Args, Subcommand};
use model::Problem;
use serde_json::json;
use std::path::PathBuf;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All settings as `shoal start` would have them here; secrets are masked.
    #[command(before_help = "Examples:
  shoal config show --origin
  shoal config show --origin --running     those of the peer that answers")]
    Show {
        /// Say where each value comes from.
        #[arg(long)]
        origin: bool,
        /// Those that the peer of --peer was started with.
        #[arg(long)]
        running: bool,
        #[command(flatten)]
        talk: Talk,
        #[command(flatten)]
        file: File,
    },
    /// Whether the file and the variables say nothing that a start would refuse.
    #[command(before_help = "Example:\n  shoal config check --config shoal.toml")]
    Check(File),
}

#[derive(Debug, Args)]
pub(crate) struct File {
    /// File with settings [default: shoal.toml here or in /etc/shoal].
    #[arg(long, env = "SHOAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::Show { origin, running, talk, file } => {
            let settings = match running {
                true => Asker::new(&talk.peer)?.get("/v1/settings", &[])?["settings"].take(),
                false => json!(start::gathered(Vec::new(), file.config.as_deref())?.shown()),
            };
            show::answer(talk.output, &settings, |list| {
                let mut columns = vec![("SETTING", "setting"), ("VALUE", "value")];
                if *origin {
                    columns.extend([("FROM", "from"), ("FLAG", "flag")]);
                }
                show::list(list, &columns)
            });
        }
        Verb::Check(file) => {
            let settings = start::gathered(Vec::new(), file.config.as_deref())?;
            start::check(&settings)?;
            show::print("all settings are known and have values that a start takes");
        }
    }
    Ok(())
}
