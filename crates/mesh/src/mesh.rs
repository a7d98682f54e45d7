//! The membership machine.

use crate::{Action, Identity, Input, Limits, Member};
use thiserror::Error;

/// Why an input was refused. Nothing changed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not a packet of this protocol: drop them, and say who sent them.
    #[error("malformed packet: {0}")]
    Packet(String),
    /// The packet names us as its sender: two peers have one key.
    #[error("a packet from a peer with our own key")]
    Ourselves,
}

/// What one peer believes of the others.
pub struct Mesh {
    identity: Identity,
}

impl Mesh {
    /// A machine that knows only itself. Equal seeds and inputs give equal actions.
    pub fn new(_seed: u64, identity: Identity, _limits: Limits) -> Self {
        Self { identity }
    }

    /// Takes one input at a moment of monotonic time and says what must be done.
    pub fn step(
        &mut self,
        _now_us: u64,
        _input: Input,
        _actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// This peer as it tells itself to others.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// All other members ever heard of, by key.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::empty()
    }
}
