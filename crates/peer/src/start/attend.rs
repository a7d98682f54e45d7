//! The network's events while a peer starts and nothing else takes them yet.
//!
//! Promises that an answer reaches who waits for it, and that what is not answered here waits for [`crate::links`].

use crate::call::{self, Ask, Calls, Said};
use crate::links::News;
use crate::problems;
use model::{MeshId, Problem};
use net::{Event, Lane};
use std::sync::Arc;

/// Does some work while answers come in and others ask; `says` answers them at once, or leaves them for later.
pub(super) async fn attend<T>(
    work: impl Future<Output = T>,
    calls: &Arc<Calls>,
    news: &mut News,
    says: impl Fn(MeshId, &Ask) -> Option<Said>,
) -> Result<T, Problem> {
    let mut work = std::pin::pin!(work);
    loop {
        let event = tokio::select! {
            done = &mut work => return Ok(done),
            event = news.fresh() => event,
        };
        let ended = || problems::internal("the network has ended", "nothing carries it any more");
        if let Some(later) = at_once(event.ok_or_else(ended)?, calls, &says) {
            news.keep(later);
        }
    }
}

/// Takes what can be done at once, and gives back the rest.
fn at_once(
    event: Event,
    calls: &Arc<Calls>,
    says: impl Fn(MeshId, &Ask) -> Option<Said>,
) -> Option<Event> {
    match &event {
        Event::Frame { peer, lane: Lane::Request, bytes } => match call::decode(bytes) {
            Ok(call::Frame::Said { id, said }) => {
                calls.answered(peer, id, said);
                None
            }
            Ok(call::Frame::Ask { mesh, id, ask }) => match says(mesh, &ask) {
                Some(said) => {
                    calls.answer(peer, Lane::Request, id, said);
                    None
                }
                None => Some(event),
            },
            // It is refused with a word for people where all frames are.
            Err(_) => Some(event),
        },
        Event::Down { peer, reach } => {
            if !reach.main {
                calls.lost(peer);
            }
            Some(event)
        }
        Event::Frame { .. } | Event::Up { .. } | Event::Refused { .. } => Some(event),
    }
}
