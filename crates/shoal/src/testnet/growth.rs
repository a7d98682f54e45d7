//! A testnet that grows and shrinks: one more peer joins, one that left is not counted any more.

use super::{PEERS_MAX, READY, Testnet, ports, ready};
use model::Problem;

impl Testnet {
    /// Lets one more peer join, with further arguments of its own, and waits until it is ready. Its number.
    pub fn add(&mut self, arguments: &[String]) -> Result<usize, Problem> {
        let number = self.join(arguments)?;
        self.answers(number, READY)?;
        Ok(number)
    }

    /// Starts one more peer, with further arguments of its own, and waits until it is in the roster. Its number.
    pub fn join(&mut self, arguments: &[String]) -> Result<usize, Problem> {
        let number = self.peers.len() + 1;
        if number > PEERS_MAX {
            return Err(Problem::new(
                "SH0001",
                format!("a testnet cannot have {number} peers"),
                format!("it has 1 to {PEERS_MAX}"),
                "another testnet: --dir",
            ));
        }
        let peer = ports::free_one(number, &self.peers[0])?.peer(number);
        let here = self.peers.iter().filter(|other| !other.out);
        let others: Vec<&str> = here.map(|other| other.mesh.as_str()).collect();
        self.files.write_settings(number, &peer, &others, &self.files.token(1)?)?;
        self.peers.push(peer.clone());
        self.spawn_with(number, arguments)?;
        self.wait(&peer.name, &[number], READY, || ready::joined(&peer))?;
        Ok(number)
    }

    /// A peer has left the mesh: nobody starts it or waits for it any more.
    pub fn retire(&mut self, peer: usize) -> Result<(), Problem> {
        self.peers[peer - 1].out = true;
        self.reap(peer);
        self.files.write_peers(&self.peers)
    }
}
