//! `shoal gen`: makes things that other commands need.

use crate::show;
use clap::Subcommand;

/// What can be made.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// A token for a new mesh: `shoal start --new --token T`, and the same T for all that join.
    Token,
}

pub(crate) fn run(verb: &Verb) {
    match verb {
        Verb::Token => show::print(&token()),
    }
}

/// A fresh token of the first generation.
pub(crate) fn token() -> String {
    peer::Token::new(rand::random()).text()
}
