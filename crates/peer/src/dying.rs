//! Takes peers out of the roster that have been silent for long, while this peer leads the catalogue.
//!
//! Promises that as many live peers as shards have copies remain; who comes back is not removed, since the entry
//! names the incarnation that it is meant for.

use crate::router::Router;
use crate::shape;
use mesh::{LOOK_US, Seen, Silence};
use model::catalogue::Change;
use model::id::CATALOGUE;
use model::{Op, PeerId};
use std::time::{Duration, Instant};

/// Looks once a second, for ever.
pub async fn watch(router: Router, after: Duration) {
    let board = &router.board;
    let mut silence = Silence::new(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    let start = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_micros(LOOK_US)).await;
        let term = board.leading(CATALOGUE).then(|| board.term(CATALOGUE));
        let catalogue = board.catalogue();
        let seen = |(id, peer): (&PeerId, &model::catalogue::Enrolled)| Seen {
            peer: *id,
            incarnation: peer.incarnation,
            sign: shape::is_alive(&router, *id),
        };
        let roster: Vec<Seen> = catalogue.roster.iter().map(seen).collect();
        let overdue = silence.look(start.elapsed().as_micros() as u64, term, &roster);
        let live = |seen: &&Seen| seen.sign && catalogue.weight(seen.peer) > 0;
        let enough = roster.iter().filter(live).count() >= usize::from(catalogue.replication);
        for (peer, incarnation) in overdue.into_iter().filter(|_| enough) {
            tracing::warn!(%peer, ?after, "a peer has been silent for so long that it is removed");
            let change = Change::Remove { peer, incarnation, shrink: false };
            if let Err(error) = router.propose(CATALOGUE, Op::Catalogue(Box::new(change))).await {
                tracing::warn!(%peer, %error, "a silent peer was not removed");
            }
        }
    }
}
