//! Ends the tasks of stages that are no more, where their shards are led.
//!
//! Promises that what is kept of a task goes by entries of its shard alone, and only if its stage was in no catalogue
//! that was read after the task was seen. Never looks through a shard in which nothing can have ended.

use crate::router::Router;
use crate::shards::{Found, Query};
use model::{Op, ShardId, TaskId};
use replica::Answer;
use std::collections::BTreeMap;

/// Looks at the same state of things: what was on its way at the first is in the log at the second.
const LOOKS: u8 = 2;

/// Which shards were looked through.
#[derive(Default)]
pub struct Ended {
    looked: BTreeMap<ShardId, Looked>,
}

/// A look through a shard that found nothing to end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Looked {
    /// Stages go by changes of the catalogue …
    index: u64,
    /// … and a new leader knows nothing of what the last one has looked at.
    term: u64,
    times: u8,
}

impl Ended {
    pub async fn sweep(&mut self, router: &Router) {
        let suspects = self.suspects(router).await;
        if suspects.is_empty() {
            return;
        }
        // What had committed before this moment had its stage in the catalogue before this moment, or it is no more.
        let Ok(catalogue) = router.catalogue_now().await else { return };
        let needed = catalogue.needed_stages();
        for (shard, task) in suspects.into_iter().filter(|(_, it)| !needed.contains(&it.stage)) {
            end(router, shard, task).await;
        }
    }

    /// Tasks of the shards led here whose stage is not in the catalogue as it is known here.
    async fn suspects(&mut self, router: &Router) -> Vec<(ShardId, TaskId)> {
        let board = &router.board;
        let catalogue = board.catalogue();
        let needed = catalogue.needed_stages();
        let mut suspects = Vec::new();
        for shard in (0..board.shards()).map(ShardId).filter(|shard| board.leading(*shard)) {
            let now = Looked { index: catalogue.index, term: board.term(shard), times: 0 };
            let before = self.looked.get(&shard).filter(|it| Looked { times: 0, ..**it } == now);
            let times = before.map_or(0, |before| before.times);
            if times >= LOOKS {
                continue;
            }
            let found = router.ask_here(shard, Query::Tasks, false).await;
            let Some((Found::Tasks(tasks), _)) = found else { continue };
            let gone = tasks.into_iter().filter(|task| !needed.contains(&task.stage));
            let count = suspects.len();
            suspects.extend(gone.map(|task| (shard, task)));
            if suspects.len() == count {
                self.looked.insert(shard, Looked { times: times + 1, ..now });
            }
        }
        suspects
    }
}

/// Takes all that is kept of a task, some rows an entry. Each makes it less, since it commits nothing more.
async fn end(router: &Router, shard: ShardId, task: TaskId) {
    loop {
        match router.propose_here(shard, Op::End { task }).await {
            Ok(Answer::Ended { more: true }) => {}
            Ok(_) => return,
            Err(refusal) => {
                tracing::debug!(%shard, ?task, ?refusal, "a task is to end; it is tried again");
                return;
            }
        }
    }
}
