//! One peer as one drive sees it: its connections, where to dial it, what runs for it.

use crate::{lane::Lane, limits, link::Links, writer::Route};
use libp2p::swarm::ConnectionId;
use std::time::{Duration, Instant};
use tokio::{sync::watch, task::JoinHandle};

pub(crate) struct Contact {
    pub links: Links,
    /// Where to dial it; none for a peer that only came to us.
    pub address: Option<String>,
    pub dial: Dial,
    /// Dials that failed since the last connection.
    pub failures: u32,
    /// Tells the writers which connection is in use; none without one.
    pub route: Option<watch::Sender<Route>>,
    /// The last reader of each lane.
    pub readers: [Option<JoinHandle<()>>; Lane::ALL.len()],
}

/// How far reaching a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    Idle,
    At(Instant),
    /// Its name is being resolved.
    Resolving,
    Running(ConnectionId),
}

impl Contact {
    pub fn new(follows: bool) -> Self {
        Self {
            links: Links::new(follows),
            address: None,
            dial: Dial::Idle,
            failures: 0,
            route: None,
            readers: Default::default(),
        }
    }

    /// Nothing stands and nothing is wanted.
    pub fn is_over(&self) -> bool {
        self.links.is_empty() && self.address.is_none()
    }

    /// Plans the next dial of a known peer, unless one is under way.
    pub fn plan(&mut self, at: Instant) {
        if self.address.is_some() && !self.is_dialling() {
            self.dial = Dial::At(at);
        }
    }

    pub fn is_dialling(&self) -> bool {
        matches!(self.dial, Dial::Resolving | Dial::Running(_))
    }

    /// A dial failed: the next one waits longer. `luck` in 0..1 spreads peers that lost the same
    /// one.
    pub fn on_failure(&mut self, now: Instant, luck: f64) {
        self.dial = Dial::Idle;
        self.plan(now + wait(self.failures, luck));
        self.failures = self.failures.saturating_add(1);
    }

    /// The connection in use has been silent for so long that another is tried beside it.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        let silent = |heard: Instant| now.duration_since(heard) > limits::DOUBT_AFTER;
        self.dial == Dial::Idle && self.links.chosen().is_some_and(|link| silent(link.heard))
    }
}

/// Doubles with each failure, within a quarter either way.
fn wait(failures: u32, luck: f64) -> Duration {
    let doubled = limits::REDIAL_FIRST.saturating_mul(1 << failures.min(10));
    doubled.min(limits::REDIAL_MAX).mul_f64(0.75 + luck / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_between_dials_grow_to_a_limit() {
        assert_eq!(wait(0, 0.5), Duration::from_millis(100));
        assert_eq!(wait(1, 0.5), Duration::from_millis(200));
        for failures in [5, 9, 31, u32::MAX] {
            assert_eq!(wait(failures, 0.0), Duration::from_millis(1500));
            assert_eq!(wait(failures, 1.0), Duration::from_millis(2500));
        }
    }
}
