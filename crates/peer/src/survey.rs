//! What all peers say of their replicas and tasks, asked when a person wants to know, or where no replica is here.

use crate::call::{Ask, Said, ShardStatus};
use crate::router::Router;
use crate::tasks::{self, TaskStatus};
use flow::Heat;
use model::{PeerId, ShardId, TaskId};
use net::Lane;
use ractor::ActorRef;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// A peer that does not answer in this time is left out.
const PATIENCE: Duration = Duration::from_millis(700);

/// Every peer's word, by peer; those that do not answer are missing.
pub async fn of_all(router: &Router) -> BTreeMap<PeerId, Vec<ShardStatus>> {
    let me = router.board.me();
    let ask = |peer: PeerId| async move {
        let key = router.board.key_of(peer)?;
        let asked = router.calls.ask(&key, Lane::Request, Ask::Status);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Said::Status(shards))) => Some((peer, shards)),
            _ => None,
        }
    };
    let answers = futures::future::join_all(others(router).into_iter().map(ask)).await;
    let mut all: BTreeMap<_, _> = answers.into_iter().flatten().collect();
    if let Some(own) = own(router).await {
        all.insert(me, own);
    }
    for shard in (0..router.board.shards()).map(ShardId) {
        if let Some(found) = best(&all, shard).filter(|found| found.leading) {
            router.board.heard(shard, found.peer, found.term);
        }
    }
    all
}

/// How the tasks of all peers are; those of peers that do not answer are missing.
pub async fn tasks_of_all(router: &Router, own: &ActorRef<tasks::Msg>) -> Vec<TaskStatus> {
    let others = others(router).into_iter().map(|peer| async move {
        let key = router.board.key_of(peer)?;
        let asked = router.calls.ask(&key, Lane::Request, Ask::Tasks);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Said::Tasks(tasks))) => Some(tasks),
            _ => None,
        }
    });
    let (own, answers) = futures::join!(tasks::here(own), futures::future::join_all(others));
    own.into_iter().chain(answers.into_iter().flatten().flatten()).collect()
}

/// The keys that a pipeline's tasks here get most.
pub fn keys_here(router: &Router, pipeline: &str) -> Vec<(TaskId, Heat)> {
    let catalogue = router.board.catalogue();
    let stages = catalogue.pipelines.get(pipeline).map_or(&[][..], |it| &it.stages[..]);
    let tasks = stages
        .iter()
        .flat_map(|stage| (0..stage.buckets).map(|bucket| TaskId { stage: stage.id, bucket }));
    tasks.filter_map(|task| Some((task, router.board.heat(task)?))).collect()
}

/// The same of all peers, and who did not answer.
pub async fn keys_of_all(
    router: &Router,
    pipeline: &str,
) -> (Vec<(PeerId, TaskId, Heat)>, Vec<PeerId>) {
    let ask = |peer: PeerId| async move {
        let ask = Ask::Keys { pipeline: pipeline.to_owned() };
        let Some(key) = router.board.key_of(peer) else { return (peer, None) };
        let asked = router.calls.ask(&key, Lane::Request, ask);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Said::Keys(keys))) => (peer, Some(keys)),
            _ => (peer, None),
        }
    };
    let mut told = futures::future::join_all(others(router).into_iter().map(ask)).await;
    told.push((router.board.me(), Some(keys_here(router, pipeline))));
    let (mut all, mut silent) = (Vec::new(), Vec::new());
    for (peer, keys) in told {
        match keys {
            Some(keys) => all.extend(keys.into_iter().map(|(task, heat)| (peer, task, heat))),
            None => silent.push(peer),
        }
    }
    (all, silent)
}

/// The other peers of the roster that are not known to be gone.
fn others(router: &Router) -> Vec<PeerId> {
    let gone = |peer: PeerId| {
        router.board.member(peer).is_some_and(|member| member.state == mesh::State::Gone)
    };
    let catalogue = router.board.catalogue();
    let roster = catalogue.roster.keys().copied();
    roster.filter(|peer| *peer != router.board.me() && !gone(*peer)).collect()
}

async fn own(router: &Router) -> Option<Vec<ShardStatus>> {
    let (reply, answer) = oneshot::channel();
    router.shards.cast(crate::shards::Msg::Status(reply)).ok()?;
    answer.await.ok()
}

/// Who knows most of a shard: its leader of the highest term, else whoever has the highest term.
pub fn best(all: &BTreeMap<PeerId, Vec<ShardStatus>>, shard: ShardId) -> Option<&ShardStatus> {
    let words = all.values().flatten().filter(|status| status.shard == shard);
    words.max_by_key(|status| (status.leading, status.term, status.applied))
}
