//! Every bound of this room, with its reason.

/// Times and sizes of gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How often one member is asked whether it lives.
    pub probe_period_us: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { probe_period_us: 500_000 }
    }
}
