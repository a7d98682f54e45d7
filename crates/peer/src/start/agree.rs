//! Agreeing with the other peers of a list on who founds a mesh, before there is one.
//!
//! Promises that only peers with the secret hear of it: it goes over the same handshake as all else. Never decides: it
//! asks, answers, and does what [`mesh::founding`] says.

use super::attend::attend;
use crate::call::{Ask, Calls, Failed, Said};
use crate::links::News;
use crate::options::Options;
use mesh::founding::{self, Decision, Heard, Waiting};
use model::{MeshId, Problem};
use net::{DialError, Lane, PeerKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two rounds of questions: people wait for it, and it costs a question an address.
const PAUSE: Duration = Duration::from_millis(500);

/// What is agreed upon.
pub(super) enum Agreed {
    /// A mesh answers at these addresses.
    Join(Vec<String>),
    Found,
}

/// One start of a peer that may found.
pub(super) struct Agreement<'a> {
    calls: &'a Arc<Calls>,
    /// What people are told of the waiting.
    told: &'a tokio::sync::watch::Sender<String>,
    /// What this peer says of itself.
    waiting: Waiting,
    /// The addresses under which it is told and bound.
    own: Vec<String>,
    /// Who answered at an address; none: this peer itself.
    known: BTreeMap<String, Option<PeerKey>>,
}

impl<'a> Agreement<'a> {
    pub(super) fn new(
        options: &'a Options,
        own: Vec<String>,
        calls: &'a Arc<Calls>,
    ) -> Result<Self, Problem> {
        let mut list: Vec<String> = Vec::new();
        for address in &options.join {
            if !list.contains(address) {
                list.push(address.clone());
            }
        }
        founding::check(&list).map_err(|because| {
            let what = "the list of addresses to found or join through cannot be used";
            Problem::new("SH0001", what, because, "name some of the peers: --join HOST:PORT")
        })?;
        let waiting = Waiting { list, start: rand::random(), first: None };
        Ok(Self { calls, told: &options.told, waiting, own, known: BTreeMap::new() })
    }

    /// Asks and answers until it is clear what is to be done, for as long as that takes.
    pub(super) async fn reach(&mut self, news: &mut News) -> Result<Agreed, Problem> {
        loop {
            let heard = self.round(news).await?;
            let why = match founding::decide(self.waiting.start, &heard) {
                Decision::Join(through) => return Ok(Agreed::Join(through)),
                Decision::Found => return Ok(Agreed::Found),
                Decision::Wait(why) => why,
            };
            tracing::debug!(why, "no mesh yet");
            self.told.send_replace(why);
            attend(tokio::time::sleep(PAUSE), self.calls, news, without_mesh(&self.waiting))
                .await?;
        }
    }

    /// Asks at all addresses, side by side.
    async fn round(&mut self, news: &mut News) -> Result<Vec<(String, Heard)>, Problem> {
        let this = &*self;
        let asked = this.waiting.list.iter().map(|address| async move {
            if this.own.contains(address) {
                return (address.clone(), Some(None), Heard::Own);
            }
            let (who, heard) = probe(this.calls, address, this.known.get(address)).await;
            (address.clone(), who, heard)
        });
        let asked = futures::future::join_all(asked);
        let answers = attend(asked, this.calls, news, without_mesh(&this.waiting)).await?;
        let mut heard = Vec::new();
        for (address, who, it) in answers {
            match who {
                Some(who) => drop(self.known.insert(address.clone(), who)),
                None => drop(self.known.remove(&address)),
            }
            heard.push((address, it));
        }
        self.waiting.first = match heard.first() {
            Some((_, Heard::Own)) => Some(self.waiting.start),
            Some((_, Heard::Waits(first))) => Some(first.start),
            _ => None,
        };
        Ok(heard)
    }
}

/// Asks at one address. Gives who is there, if somebody with the secret is; none inside: this peer itself.
async fn probe(
    calls: &Arc<Calls>,
    address: &str,
    known: Option<&Option<PeerKey>>,
) -> (Option<Option<PeerKey>>, Heard) {
    match known {
        Some(None) => return (Some(None), Heard::Own),
        Some(Some(key)) => match ask(calls, address, key).await {
            // It may have been started again.
            Err(Failed::Down) => {}
            heard => return (Some(Some(key.clone())), heard.unwrap_or_else(|e| mute(address, &e))),
        },
        None => {}
    }
    match calls.net().dial(address).await {
        Ok(key) => {
            let heard = ask(calls, address, &key).await;
            (Some(Some(key)), heard.unwrap_or_else(|error| mute(address, &error)))
        }
        Err(DialError::Ourselves(_)) => (Some(None), Heard::Own),
        Err(error) => (None, Heard::Nothing(error.to_string())),
    }
}

async fn ask(calls: &Arc<Calls>, address: &str, key: &PeerKey) -> Result<Heard, Failed> {
    Ok(match calls.ask(key, Lane::Request, Ask::Holds).await? {
        Said::Holds(mesh) => Heard::Mesh(mesh),
        Said::Waits(waiting) => Heard::Waits(waiting),
        Said::No(why) => Heard::Nothing(format!("{address}: {why}")),
        _ => Heard::Nothing(format!("{address}: its answer makes no sense")),
    })
}

fn mute(address: &str, error: &Failed) -> Heard {
    Heard::Nothing(format!("{address}: {error}"))
}

/// What a peer without a mesh says to who asks it something.
fn without_mesh(waiting: &Waiting) -> impl Fn(MeshId, &Ask) -> Option<Said> {
    move |_, ask| match ask {
        Ask::Holds => Some(Said::Waits(waiting.clone())),
        _ => Some(Said::No("this peer holds no mesh yet".into())),
    }
}
