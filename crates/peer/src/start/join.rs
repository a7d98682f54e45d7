//! Belonging to a mesh: read it from the folder, found one, or ask to be let in.

use super::{Belonging, JOIN, REPLICATION, SHARDS, default_name, draw_mesh, empty_catalogue};
use crate::call::{self, Ask, Calls, Said};
use crate::options::{Options, Token};
use crate::peer::End;
use crate::{keep_catalogue, problems};
use model::catalogue::Enrolled;
use model::{Catalogue, PeerId, Problem, id};
use net::{Event, Events, Lane, PeerKey};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Folder, Head};

pub(super) async fn belong(
    options: &Options,
    folder: &mut Folder,
    token: &Token,
    me: &mut Enrolled,
    calls: &Arc<Calls>,
    events: &mut Events,
) -> Result<Belonging, Problem> {
    if let Some(head) = folder.head().cloned() {
        let kept = keep_catalogue::read(folder).filter(|kept| kept.mesh == head.mesh);
        let catalogue = kept.unwrap_or_else(|| empty_catalogue(&head));
        agrees(options, &head, &catalogue)?;
        return Ok(Belonging { head, catalogue, founding: false });
    }
    let (head, catalogue, founding) = if options.join.is_empty() {
        let peer = id::FOUNDER;
        let name = options.name.clone().unwrap_or_else(|| default_name(peer));
        let head = Head {
            mesh: draw_mesh(),
            recovery: 0,
            peer,
            name,
            secret: token.prologue(),
            shards: options.shards.unwrap_or(SHARDS),
            replication: REPLICATION,
        };
        let catalogue = empty_catalogue(&head);
        (head, catalogue, true)
    } else {
        let (peer, catalogue) = join(options, me, calls, events).await?;
        let name = catalogue.roster.get(&peer).map(|known| known.name.clone());
        let name = name.unwrap_or_else(|| default_name(peer));
        let head = Head {
            mesh: catalogue.mesh,
            recovery: 0,
            peer,
            name,
            secret: token.prologue(),
            shards: catalogue.shards,
            replication: catalogue.replication,
        };
        (head, catalogue, false)
    };
    keep_catalogue::write(folder, &catalogue);
    folder.write_head(&head).map_err(|e| problems::folder(folder.path(), &e))?;
    Ok(Belonging { head, catalogue, founding })
}

/// A folder that holds a mesh goes on, but not under other settings than it was made with.
fn agrees(options: &Options, head: &Head, catalogue: &Catalogue) -> Result<(), Problem> {
    let shown = options.folder.display();
    if let Some(wanted) = options.shards.filter(|shards| *shards != head.shards) {
        return Err(Problem::new(
            "SH0203",
            format!("the data folder {shown} holds a mesh of {} shards", head.shards),
            format!("{wanted} were asked for, and a mesh keeps its number for ever"),
            "leave --shards away, or start with another folder: --data DIR",
        ));
    }
    if catalogue.has_removed(head.peer) {
        return Err(End::Removed.problem().expect("to be removed is one"));
    }
    Ok(())
}

/// Asks each address in turn until one lets this peer in.
async fn join(
    options: &Options,
    me: &Enrolled,
    calls: &Arc<Calls>,
    events: &mut Events,
) -> Result<(PeerId, Catalogue), Problem> {
    let until = Instant::now() + JOIN;
    let mut last = problems::internal("nobody was asked", "the list of addresses is empty");
    while Instant::now() < until {
        for address in &options.join {
            match join_through(address, options, me, calls, events).await {
                Ok(joined) => return Ok(joined),
                // Waiting does not mend these.
                Err(problem) if problem.code != "SH0101" => return Err(problem),
                Err(problem) => last = problem,
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Err(last)
}

async fn join_through(
    address: &str,
    options: &Options,
    me: &Enrolled,
    calls: &Arc<Calls>,
    events: &mut Events,
) -> Result<(PeerId, Catalogue), Problem> {
    let net = calls.net();
    let peer = net.dial(address).await.map_err(|e| problems::dial(address, &e))?;
    let mut me = me.clone();
    me.name = options.name.clone().unwrap_or_default();
    let (shards, replaces) = (options.shards, options.replaces.clone());
    let ask = Ask::Join { enrolled: Box::new(me), shards, replaces };
    let asked = calls.ask(&peer, Lane::Request, ask);
    let said = with_events(asked, calls, events).await;
    let because = match said {
        Ok(Said::Joined { peer, catalogue }) => return Ok((peer, *catalogue)),
        Ok(Said::Refused(problem)) => return Err(*problem),
        Ok(Said::No(why)) => why,
        Ok(_) => "its answer makes no sense".into(),
        Err(error) => error.to_string(),
    };
    let what = format!("cannot join through {address}");
    Err(Problem::new("SH0101", what, because, "try again, or through another peer: --join ADDR"))
}

/// Waits for an answer while nothing else takes the network's events yet.
async fn with_events(
    asked: impl Future<Output = Result<Said, call::Failed>>,
    calls: &Arc<Calls>,
    events: &mut Events,
) -> Result<Said, call::Failed> {
    let mut asked = std::pin::pin!(asked);
    loop {
        tokio::select! {
            said = &mut asked => return said,
            event = events.recv() => match event {
                Some(Event::Frame { peer, lane: Lane::Request, bytes }) => answered(&peer, &bytes, calls),
                Some(_) => {}
                None => return Err(call::Failed::Down),
            },
        }
    }
}

fn answered(peer: &PeerKey, bytes: &[u8], calls: &Arc<Calls>) {
    if let Ok(call::Frame::Said { id, said }) = call::decode(bytes) {
        calls.answered(peer, id, said);
    }
}
