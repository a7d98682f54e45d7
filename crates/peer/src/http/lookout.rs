//! Gathers what all peers tell of themselves, each second while somebody looks, and makes one picture of it.
//!
//! However many look, the peers are asked once. Promises that a peer which does not answer is shown as such within
//! a second and delays nobody else's picture by more than [`PATIENCE`]. Keeps two minutes, in memory, for the charts.

mod picture;

use super::Asked;
use crate::call::{Ask, Said};
use crate::figures::Figures;
use crate::limits;
use crate::meter::Note;
use door::http::{Moment, Overview};
use model::PeerId;
use net::Lane;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};

/// How often a picture is made.
const EVERY: Duration = Duration::from_secs(1);
/// A peer that does not answer in this time is shown without numbers.
const PATIENCE: Duration = Duration::from_millis(600);
/// Pictures are made for so long after somebody looked last: who comes back finds the charts filled.
const LINGER: Duration = Duration::from_secs(120);
/// Points of a chart.
const HISTORY: usize = 120;
/// Rates are means over so many looks: fresh, and not jumpy.
const WINDOW: usize = 4;
/// Notes that are kept of all peers together.
const NOTES: usize = 100;

/// What all peers told at one moment.
pub struct Look {
    pub at: Instant,
    pub told: BTreeMap<PeerId, Figures>,
}

/// The latest picture, and those who wait for the next.
pub struct Lookout {
    latest: watch::Sender<Option<Arc<Overview>>>,
    history: Mutex<VecDeque<Moment>>,
    wanted: Notify,
    /// When somebody looked last; nobody has right after the start.
    looked: Mutex<Option<Instant>>,
    /// Places for those who watch.
    pub places: Arc<Semaphore>,
}

impl Default for Lookout {
    fn default() -> Self {
        Self {
            latest: watch::Sender::new(None),
            history: Mutex::default(),
            wanted: Notify::new(),
            looked: Mutex::default(),
            places: Arc::new(Semaphore::new(limits::WATCHERS)),
        }
    }
}

impl Lookout {
    /// Pictures from now on; the first may be up to a second old.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Overview>>> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.wanted.notify_one();
        self.latest.subscribe()
    }

    pub fn history(&self) -> Vec<Moment> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.iter().copied().collect()
    }

    fn is_wanted(&self) -> bool {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        self.latest.receiver_count() > 0 || looked.is_some_and(|at| at.elapsed() < LINGER)
    }

    fn show(&self, picture: Overview) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Moment { at_ms: picture.at_ms, rates: picture.rates });
        drop(history);
        self.latest.send_replace(Some(Arc::new(picture)));
    }

    /// Nobody looks: what is known gets old.
    fn rest(&self) {
        self.latest.send_replace(None);
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Makes pictures for ever, while somebody looks.
pub async fn run(asked: Asked) {
    let mut looks: VecDeque<Look> = VecDeque::new();
    let mut notes = Notes::default();
    loop {
        if !asked.lookout.is_wanted() {
            looks.clear();
            asked.lookout.rest();
            asked.lookout.wanted.notified().await;
        }
        let next = tokio::time::Instant::now() + EVERY;
        let look = gather(&asked).await;
        notes.hear(&look);
        if looks.len() > WINDOW {
            looks.pop_front();
        }
        looks.push_back(look);
        asked.lookout.show(picture::paint(&asked, &looks, &notes).await);
        tokio::time::sleep_until(next).await;
    }
}

/// What all peers tell now; those that do not answer are missing.
pub async fn gather(asked: &Asked) -> Look {
    let board = &asked.router.board;
    let me = board.me();
    let others: Vec<_> =
        board.catalogue().roster.keys().copied().filter(|peer| *peer != me).collect();
    let ask = |peer: PeerId| async move {
        let key = board.key_of(peer)?;
        let asked = asked.router.calls.ask(&key, Lane::Request, Ask::Figures);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Said::Figures(figures))) => Some((peer, *figures)),
            _ => None,
        }
    };
    let answers = futures::future::join_all(others.into_iter().map(ask));
    let (answers, own) = futures::future::join(answers, asked.teller.figures()).await;
    let mut told: BTreeMap<_, _> = answers.into_iter().flatten().collect();
    told.insert(me, own);
    Look { at: Instant::now(), told }
}

/// What happened lately, of all peers; what one told before it died stays.
#[derive(Default)]
pub struct Notes {
    kept: BTreeMap<(u64, PeerId, u64), Note>,
}

impl Notes {
    fn hear(&mut self, look: &Look) {
        for (peer, figures) in &look.told {
            for note in &figures.notes {
                self.kept.insert((note.at_ms, *peer, note.number), note.clone());
            }
        }
        while self.kept.len() > NOTES {
            self.kept.pop_first();
        }
    }

    /// The latest first.
    pub fn latest(&self) -> impl Iterator<Item = (PeerId, &Note)> {
        self.kept.iter().rev().map(|((_, peer, _), note)| (*peer, note))
    }
}
