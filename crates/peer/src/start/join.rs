//! Belonging to a mesh: read it from the folder, found one, or ask to be let in.

use super::agree::{Agreed, Agreement};
use super::attend::attend;
use super::{
    Begins, Belonging, JOIN, REPLICATION, SHARDS, default_name, draw_mesh, empty_catalogue,
};
use crate::call::{Ask, Calls, Said};
use crate::end::End;
use crate::links::News;
use crate::options::{Options, Token};
use crate::{keep_catalogue, problems};
use model::catalogue::Enrolled;
use model::{Catalogue, PeerId, Problem, id};
use net::Lane;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Folder, Head};

pub(super) async fn belong(
    options: &Options,
    folder: &mut Folder,
    token: &Token,
    me: &mut Enrolled,
    calls: &Arc<Calls>,
    news: &mut News,
) -> Result<Belonging, Problem> {
    if let Some(head) = folder.head().cloned() {
        let kept = keep_catalogue::read(folder).filter(|kept| kept.mesh == head.mesh);
        let catalogue = kept.unwrap_or_else(|| empty_catalogue(&head));
        agrees(options, &head, &catalogue)?;
        return Ok(Belonging { head, catalogue, begins: Begins::Held });
    }
    let joined = admitted(options, me, calls, news).await?;
    let begins = if joined.is_some() { Begins::Joined } else { Begins::Founded };
    let (head, catalogue) = match joined {
        None => {
            let head = founded(options, token);
            let catalogue = empty_catalogue(&head);
            (head, catalogue)
        }
        Some((peer, catalogue)) => {
            let name = catalogue.roster.get(&peer).map(|known| known.name.clone());
            let head = Head {
                mesh: catalogue.mesh,
                recovery: 0,
                peer,
                name: name.unwrap_or_else(|| default_name(peer)),
                secret: token.prologue(),
                shards: catalogue.shards,
                replication: catalogue.replication,
            };
            (head, catalogue)
        }
    };
    keep_catalogue::write(folder, &catalogue);
    folder.write_head(&head).map_err(|e| problems::folder(folder.path(), &e))?;
    Ok(Belonging { head, catalogue, begins })
}

/// The head of a mesh that begins here.
fn founded(options: &Options, token: &Token) -> Head {
    let peer = id::FOUNDER;
    Head {
        mesh: draw_mesh(),
        recovery: 0,
        peer,
        name: options.name.clone().unwrap_or_else(|| default_name(peer)),
        secret: token.prologue(),
        shards: options.shards.unwrap_or(SHARDS),
        replication: REPLICATION,
    }
}

/// Who let this peer in, as what; none: it is to found.
async fn admitted(
    options: &Options,
    me: &Enrolled,
    calls: &Arc<Calls>,
    news: &mut News,
) -> Result<Option<(PeerId, Catalogue)>, Problem> {
    match (options.found, options.join.as_slice()) {
        (_, []) => return Ok(None),
        (false, all) => return join(all, options, me, calls, news).await.map(Some),
        (true, _) => {}
    }
    let port = calls.net().listening().0.port();
    let bound = SocketAddr::new(options.bind, port).to_string();
    let mut agreement = Agreement::new(options, vec![me.addresses.mesh.clone(), bound], calls)?;
    loop {
        let through = match agreement.reach(news).await? {
            Agreed::Found => return Ok(None),
            Agreed::Join(through) => through,
        };
        match join(&through, options, me, calls, news).await {
            // It may have no quorum yet, or have gone: whoever of the list answers next may know better.
            Err(problem) if problem.code == "SH0101" => {
                let why = format!("{}: {}", problem.what, problem.because);
                options.told.send_replace(why);
            }
            joined => return joined.map(Some),
        }
    }
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
    addresses: &[String],
    options: &Options,
    me: &Enrolled,
    calls: &Arc<Calls>,
    news: &mut News,
) -> Result<(PeerId, Catalogue), Problem> {
    let until = Instant::now() + JOIN;
    let mut last = problems::internal("nobody was asked", "the list of addresses is empty");
    while Instant::now() < until {
        for address in addresses {
            match join_through(address, options, me, calls, news).await {
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
    news: &mut News,
) -> Result<(PeerId, Catalogue), Problem> {
    let net = calls.net();
    let peer = net.dial(address).await.map_err(|e| problems::dial(address, &e))?;
    let mut me = me.clone();
    me.name = options.name.clone().unwrap_or_default();
    let (shards, replaces) = (options.shards, options.replaces.clone());
    let ask = Ask::Join { enrolled: Box::new(me), shards, replaces };
    let asked = calls.ask(&peer, Lane::Request, ask);
    let said = attend(asked, calls, news, |_, _| None).await?;
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
