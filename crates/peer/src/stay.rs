//! A peer's place in the roster: it leaves when it was told to and holds nothing any more, and it ends when it
//! hears that it was taken out, or that it was started once more elsewhere.

use crate::end::End;
use crate::router::Router;
use crate::survey;
use model::catalogue::{Away, Change, Changed, Enrolled};
use model::id::CATALOGUE;
use model::{Op, ShardId};
use replica::Answer;
use std::time::Duration;

/// How often a leaving peer looks whether it still holds something.
const LOOK: Duration = Duration::from_millis(500);

/// Watches the roster until this peer is in it no more, and says why.
pub async fn until_out(router: Router, told: Enrolled) -> End {
    let incarnation = told.incarnation;
    let board = &router.board;
    let me = board.me();
    let mut catalogue = board.watch_catalogue();
    let mut left = false;
    loop {
        let now = board.catalogue();
        if now.has_removed(me) {
            return if left { End::Left } else { End::Removed };
        }
        if now.roster.get(&me).is_some_and(|it| is_another(it, &told)) {
            return End::Twice;
        }
        if now.away.get(&me) != Some(&Away::Leaving) {
            left = false;
            tokio::select! {
                problem = router.calls.refused() => return End::Refused(Box::new(problem)),
                changed = catalogue.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
            }
            continue;
        }
        left = true;
        if holds_nothing(&router).await {
            let change = Change::Remove { peer: me, incarnation, shrink: false };
            let op = Op::Catalogue(Box::new(change));
            match router.propose(CATALOGUE, op).await {
                Ok(Answer::Changed(Changed::Done { .. })) => return End::Left,
                other => tracing::debug!(?other, "this peer's leave is not decided yet"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The roster names a later start of this peer; or this very one at another place, which only a copy of its folder tells.
fn is_another(known: &Enrolled, told: &Enrolled) -> bool {
    let same = known.incarnation == told.incarnation;
    known.incarnation > told.incarnation || same && known.addresses != told.addresses
}

/// No replica is here, and no group counts on one.
async fn holds_nothing(router: &Router) -> bool {
    let board = &router.board;
    let shards = || (0..board.shards()).map(ShardId);
    if shards().any(|shard| board.here(shard)) {
        return false;
    }
    let me = board.me();
    let all = survey::of_all(router).await;
    shards().all(|shard| {
        let led = survey::best(&all, shard).filter(|status| status.leading);
        led.is_some_and(|led| !led.voters.contains(&me) && !led.learners.contains(&me))
    })
}
