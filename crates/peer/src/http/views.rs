//! Views: a row, a scan, and how far they have read.

use super::answer::ok;
use super::row_cache::{Answer, Key};
use super::{Asked, Failure, Json, known};
use crate::limits;
use crate::shards::{Found, Query as Look};
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use door::http::{
    Consistency, Position, PositionsQuery, Row, RowPosition, RowQuery, RowsQuery, ShardPosition,
    Shown, ViewPositions, ViewRow, ViewRows, ViewSummary, Views,
};
use model::catalogue::View;
use model::entry::row;
use model::hash::shard_of;
use model::{PartitionId, Problem, ShardId, TaskId};
use std::collections::BTreeMap;
use std::time::Instant;

pub async fn list(State(asked): State<Asked>) -> Result<Json<Views>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let shown = |view: &View| ViewSummary {
        name: view.name.clone(),
        pipeline: view.pipeline.clone(),
        stage: catalogue.stage(view.stage).map(|(_, stage)| stage.name.clone()).unwrap_or_default(),
        buckets: view.buckets,
        format: view.format.clone(),
    };
    ok(Views { views: catalogue.views.values().map(shown).collect() })
}

/// The view of this name.
pub(super) async fn find(asked: &Asked, name: &str) -> Result<View, Failure> {
    let catalogue = known::catalogue(asked, |known| known.views.contains_key(name)).await?;
    catalogue.views.get(name).cloned().ok_or_else(|| {
        Problem::new(
            "SH0303",
            format!("there is no view `{name}`"),
            "no pipeline that runs here makes it",
            "shoal view list",
        )
        .into()
    })
}

fn table_key(key: &[u8]) -> Bytes {
    [&[row::VIEW], key].concat().into()
}

pub async fn row(
    State(asked): State<Asked>,
    Path((name, key)): Path<(String, String)>,
    Query(query): Query<RowQuery>,
) -> Result<Json<Row>, Failure> {
    ok(find_row(&asked, &name, &key, &query).await?)
}

/// One row, or that there is none.
pub(super) async fn find_row(
    asked: &Asked,
    name: &str,
    key: &str,
    query: &RowQuery,
) -> Result<Row, Failure> {
    let view = find(asked, name).await?;
    let bucket = flow::bucket_of_row(key.as_bytes(), view.buckets);
    let task = TaskId { stage: view.stage, bucket };
    let shard = shard_of(view.stage.0, bucket, asked.router.board.shards());
    let at = (task, table_key(key.as_bytes()));
    let Answer { row, place } = match query.age_max()? {
        Some(age_max) => {
            // Only what the leader says behind a barrier is known to be current after the question: a replica that
            // is behind, or was deposed, does not know how old its answer is.
            let leader = look(asked, shard, at.clone(), true);
            asked.rows.find_or_ask(&at, age_max, Instant::now, leader).await?
        }
        None => look(asked, shard, at, query.consistency == Consistency::Leader).await?,
    };
    let Some(value) = row else { return Err(no_row(name, key, place.age_ms).into()) };
    Ok(Row {
        key: Shown::of(Some(key.as_bytes())),
        value: Shown::row(&view.format, &value),
        shard: shard.0,
        term: place.term,
        position: RowPosition { index: place.index },
        age_ms: place.age_ms,
        stale: place.stale,
        peer: place.peer.0,
    })
}

async fn look(asked: &Asked, shard: ShardId, at: Key, linear: bool) -> Result<Answer, Failure> {
    let (task, key) = at;
    match asked.router.ask(shard, Look::Row { task, key }, linear).await? {
        (Found::Row(row), place) => Ok(Answer { row, place }),
        _ => Err(crate::problems::internal("an unexpected answer", "no row").into()),
    }
}

fn no_row(name: &str, key: &str, age_ms: u64) -> Problem {
    let because = match age_ms {
        0 => "no event has made it yet".to_owned(),
        _ => format!("no event had made it {age_ms} ms ago"),
    };
    let fix = format!("shoal view scan {name}");
    Problem::new("SH0307", format!("view `{name}` has no row `{key}`"), because, fix)
}

pub async fn rows(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<RowsQuery>,
) -> Result<Json<ViewRows>, Failure> {
    let view = find(&asked, &name).await?;
    let limit = query.limit.clamp(1, door::http::ROWS_MAX);
    let from = table_key(query.from.unwrap_or_default().as_bytes());
    let linear = query.consistency == Consistency::Leader;
    let scans =
        (0..view.buckets).map(|bucket| scan(&asked, &view, bucket, from.clone(), limit, linear));
    let mut all: Vec<(Bytes, Bytes)> = Vec::new();
    let mut shards = BTreeMap::new();
    let mut more = false;
    for scanned in futures::future::join_all(scans).await {
        let (rows, more_there, position) = scanned?;
        all.extend(rows);
        more |= more_there;
        shards.insert(position.shard, position);
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    more |= all.len() > limit;
    all.truncate(limit);
    let shown = |(key, value): (Bytes, Bytes)| ViewRow {
        key: Shown::of(Some(&key[1..])),
        value: Shown::row(&view.format, &value),
    };
    ok(ViewRows {
        rows: all.into_iter().map(shown).collect(),
        linearizable: ViewRows::LINEARIZABLE.to_owned(),
        shards: shards.into_values().collect(),
        more,
    })
}

/// The rows of one bucket, page by page, up to `limit`.
async fn scan(
    asked: &Asked,
    view: &View,
    bucket: u32,
    mut from: Bytes,
    limit: usize,
    linear: bool,
) -> Result<(Vec<(Bytes, Bytes)>, bool, ShardPosition), Failure> {
    let task = TaskId { stage: view.stage, bucket };
    let shard = shard_of(view.stage.0, bucket, asked.router.board.shards());
    let mut rows = Vec::new();
    loop {
        let page = (limit - rows.len()).min(limits::SCAN_ROWS);
        let look = Look::Rows { task, from: from.clone(), limit: page };
        let (found, place) = asked.router.ask(shard, look, linear).await?;
        let Found::Rows(found, more) = found else {
            return Err(crate::problems::internal("an unexpected answer", "no rows").into());
        };
        let count = found.len();
        rows.extend(found.into_iter().take_while(|(key, _)| key.first() == Some(&row::VIEW)));
        let position = ShardPosition {
            shard: shard.0,
            term: place.term,
            index: place.index,
            age_ms: place.age_ms,
            peer: place.peer.0,
        };
        let ended = !more || rows.len() < count || count == 0;
        match rows.last() {
            Some((last, _)) if !ended && rows.len() < limit => {
                // The next page begins right behind the last key.
                from = [&last[..], &[0]].concat().into();
            }
            _ => return Ok((rows, more && !ended, position)),
        }
    }
}

pub async fn positions(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<PositionsQuery>,
) -> Result<Json<ViewPositions>, Failure> {
    let view = find(&asked, &name).await?;
    let catalogue = asked.router.board.catalogue();
    let linear = query.consistency == Consistency::Leader;
    let Some((_, stage)) = catalogue.stage(view.stage) else {
        return ok(ViewPositions { positions: Vec::new() });
    };
    let mut least: BTreeMap<PartitionId, i64> = BTreeMap::new();
    for source in stage.sources.iter().filter_map(|id| catalogue.streams.get(id)) {
        for partition in 0..source.partitions {
            least.insert(PartitionId { stream: source.id, partition }, i64::MAX);
        }
    }
    let stand = |bucket| {
        let task = TaskId { stage: view.stage, bucket };
        let shard: ShardId = shard_of(view.stage.0, bucket, asked.router.board.shards());
        asked.router.ask(shard, Look::Task { task }, linear)
    };
    // A bucket that the view does not have has read nothing.
    let buckets = query.bucket.map_or(0..view.buckets, |bucket| bucket..bucket.saturating_add(1));
    for standing in futures::future::join_all(buckets.map(stand)).await {
        let (Found::Task(standing), _) = standing? else { continue };
        let standing = standing.unwrap_or_default();
        for (partition, offset) in &mut least {
            let at = standing.positions.get(partition).map_or(0, |(at, _)| *at);
            *offset = (*offset).min(at);
        }
    }
    let shown = |(partition, offset): (PartitionId, i64)| {
        let stream = catalogue.streams.get(&partition.stream)?.name.clone();
        Some(Position { stream, partition: partition.partition, offset })
    };
    ok(ViewPositions { positions: least.into_iter().filter_map(shown).collect() })
}
