//! What comes, as it comes: events of a stream, and a row of a view, as server-sent events.

use super::overview::place;
use super::{Asked, Failure, events, known, streams, views};
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use door::http::{Consistency, EventsQuery, Row, RowQuery, TailQuery, WatchQuery};
use futures::stream::{self, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Events read at once from one partition.
const READ: usize = 500;
/// How often it is looked for news where nothing tells of them.
const LOOK: Duration = Duration::from_millis(200);

/// How far a tail is.
struct Tail {
    asked: Asked,
    name: String,
    /// Partition and next offset of each that is followed.
    next: Vec<(u32, i64)>,
    ready: VecDeque<door::http::Event>,
    _place: OwnedSemaphorePermit,
}

pub async fn tail(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<TailQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let catalogue = known::with_stream(&asked, &name).await?;
    let stream = catalogue.stream(&name).ok_or_else(|| streams::unknown(&name))?;
    let partitions = match query.partition {
        Some(partition) => partition..partition.saturating_add(1),
        None => 0..stream.partitions,
    };
    let mut next = Vec::new();
    for partition in partitions {
        let (start, end) = events::ends(&asked, stream, partition).await?;
        next.push((partition, query.offset.map_or(end, |offset| offset.clamp(start, end))));
    }
    let tail = Tail { _place: place(&asked)?, asked, name, next, ready: VecDeque::new() };
    let sent = stream::unfold(tail, |mut tail| async move {
        let event = tail.next_event().await?;
        let event = Event::default().json_data(&event).ok()?;
        Some((Ok(event), tail))
    });
    Ok(Sse::new(sent).keep_alive(KeepAlive::default()))
}

impl Tail {
    /// Waits for the next event; nothing when the stream is gone or this peer stops.
    async fn next_event(&mut self) -> Option<door::http::Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.asked.router.board.stopping() {
                return None;
            }
            self.asked.router.board.catalogue().stream(&self.name)?;
            for (partition, next) in &mut self.next {
                let query =
                    EventsQuery { partition: *partition, offset: *next, max: READ, wait_ms: 0 };
                // A leader that changes is asked again with the next look.
                if let Ok(found) = events::page(&self.asked, &self.name, &query).await {
                    *next = found.next;
                    self.ready.extend(found.events);
                }
            }
            if self.ready.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// A row as it was sent last.
struct Watched {
    asked: Asked,
    name: String,
    key: String,
    last: Option<Row>,
    _place: OwnedSemaphorePermit,
}

pub async fn watch(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<WatchQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    views::find(&asked, &name).await?;
    let watched = Watched { _place: place(&asked)?, asked, name, key: query.key, last: None };
    let sent = stream::unfold(watched, |mut watched| async move {
        let row = watched.next_row().await?;
        let event = Event::default().json_data(&row).ok()?;
        watched.last = Some(row);
        Some((Ok(event), watched))
    });
    Ok(Sse::new(sent).keep_alive(KeepAlive::default()))
}

impl Watched {
    async fn next_row(&self) -> Option<Row> {
        let query = RowQuery { consistency: Consistency::Any, ..RowQuery::default() };
        while !self.asked.router.board.stopping() {
            // A row that is not there yet may come.
            if let Ok(row) = views::find_row(&self.asked, &self.name, &self.key, &query).await
                && self.last.as_ref().is_none_or(|last| last.value != row.value)
            {
                return Some(row);
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }
}
