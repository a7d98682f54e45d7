//! Ports of a testnet: the usual ones and ten more for each further peer; a hundred on when one of them is taken.
//!
//! Kafka's ports end in 2, HTTP's in 0, the mesh's in 6 and 7: no two of any two testnets are the same by accident.

use super::Peer;
use model::Problem;
use std::net::TcpListener;

const KAFKA: u16 = 9092;
const HTTP: u16 = 8080;
const MESH: u16 = 7946;
/// From one peer to the next.
const PEER_STEP: u16 = 10;
/// From one try to the next.
pub(super) const STEP: u16 = 100;
/// No shift is larger: above lie the ports that systems give to outgoing connections, which a peer that is down
/// could lose to one.
const SHIFT_MAX: u16 = 20_000;

/// The ports of a whole testnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) shift: u16,
}

impl Ports {
    /// Peer `number` (from 1) with its addresses, without a process.
    pub(super) fn peer(self, number: usize) -> Peer {
        let [kafka, http, mesh, _] = self.of(number).map(|port| format!("127.0.0.1:{port}"));
        Peer { name: format!("p{number}"), pid: 0, kafka, http, mesh, out: false }
    }

    fn of(self, number: usize) -> [u16; 4] {
        let add = self.shift + PEER_STEP * (number - 1) as u16;
        [KAFKA, HTTP, MESH, MESH + 1].map(|port| port + add)
    }

    fn are_free(self, peers: usize) -> bool {
        (1..=peers).flat_map(|number| self.of(number)).all(is_free)
    }
}

/// The first free ports for this many peers, from `shift` on.
pub(super) fn free(peers: usize, shift: u16) -> Result<Ports, Problem> {
    let mut tries = (shift..=SHIFT_MAX).step_by(STEP.into()).map(|shift| Ports { shift });
    tries.find(|ports| ports.are_free(peers)).ok_or_else(|| {
        Problem::new(
            "SH0201",
            format!("there are no free ports for {peers} peers"),
            format!("tried from {KAFKA}, {HTTP} and {MESH} on, up to {SHIFT_MAX} further"),
            "shoal testnet down in the folders of other testnets",
        )
    })
}

/// The first free ports for one more peer of a testnet, from its own shift on.
pub(super) fn free_one(number: usize, first: &Peer) -> Result<Ports, Problem> {
    let port = first.kafka.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let shift = port.unwrap_or(KAFKA).saturating_sub(KAFKA);
    let mut tries = (shift..=SHIFT_MAX).step_by(STEP.into()).map(|shift| Ports { shift });
    tries.find(|ports| ports.of(number).into_iter().all(is_free)).ok_or_else(|| {
        Problem::new(
            "SH0201",
            format!("there are no free ports for peer {number}"),
            format!("tried from {shift} further than the usual ones on, up to {SHIFT_MAX} further"),
            "shoal testnet down in the folders of other testnets",
        )
    })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_peer_has_the_usual_ports_and_each_next_ten_more() {
        let ports = Ports { shift: 0 };
        assert_eq!(ports.peer(1).kafka, "127.0.0.1:9092");
        assert_eq!(ports.peer(3).http, "127.0.0.1:8100");
        assert_eq!(ports.of(2), [9102, 8090, 7956, 7957]);
    }

    #[test]
    fn a_taken_port_moves_the_whole_testnet_on() {
        let first = free(2, 12_000).expect("free ports");
        let taken = TcpListener::bind(("127.0.0.1", first.of(2)[2])).expect("just found free");
        let next = free(2, first.shift).expect("free ports");
        assert!(next.shift > first.shift);
        drop(taken);
    }
}
