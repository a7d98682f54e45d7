//! `/v1/overview` and its watch: the picture that [`super::lookout`] makes.

use super::answer::ok;
use super::{Asked, Failure, Json};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use door::http::Overview;
use futures::stream;
use model::Problem;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};

type Pictures = watch::Receiver<Option<Arc<Overview>>>;

/// The latest picture, with the last two minutes.
pub async fn overview(State(asked): State<Asked>) -> Result<Json<Overview>, Failure> {
    let mut pictures = asked.lookout.watch();
    let mut picture = next(&mut pictures).await.ok_or_else(stopping)?;
    picture.history = asked.lookout.history();
    ok(picture)
}

/// The picture of each second, as server-sent events.
pub async fn watch(
    State(asked): State<Asked>,
) -> Result<Sse<impl futures::Stream<Item = Result<Event, Infallible>>>, Failure> {
    let place = place(&asked)?;
    let pictures = asked.lookout.watch();
    let begin = (asked, pictures, place, true);
    let events = stream::unfold(begin, |(asked, mut pictures, place, first)| async move {
        if !first && pictures.changed().await.is_err() || asked.router.board.stopping() {
            return None;
        }
        let mut picture = next(&mut pictures).await?;
        if first {
            picture.history = asked.lookout.history();
        }
        // An overview has no map with keys that JSON lacks: it can always be written.
        let event = Event::default().json_data(&picture).ok()?;
        Some((Ok(event), (asked, pictures, place, false)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// A place among those who watch.
pub fn place(asked: &Asked) -> Result<OwnedSemaphorePermit, Failure> {
    asked.lookout.places.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            "SH0503",
            "too many watch this peer already",
            format!("{} can", crate::limits::WATCHERS),
            "watch another peer, or close a page",
        )
        .into()
    })
}

async fn next(pictures: &mut Pictures) -> Option<Overview> {
    let picture = pictures.wait_for(Option::is_some).await.ok()?;
    picture.as_ref().map(|picture| (**picture).clone())
}

fn stopping() -> Failure {
    Problem::new("SH0505", "this peer stops", "it gathers nothing any more", "ask another peer")
        .into()
}
