//! A group in whichever of the two ways it shares: its consumers share out themselves, or its coordinator deals.
//!
//! Promises that it is never both: who comes in the other way is refused while somebody is in it.

use crate::action::Action;
use crate::deal::Dealer;
use crate::group::Group;
use crate::input::Input;
use model::deal;
use model::group::{self, Ask, Described, Refusal, Said};

/// The machine of one group.
#[derive(Debug)]
pub struct Coordinator {
    dance: Group,
    dealer: Dealer,
}

impl Coordinator {
    /// A group as the log keeps it, if it does; all its consumers count as alive now.
    pub fn new(now_ms: u64, kept: Option<group::Group>) -> Self {
        let (formed, deal) = kept.map(|it| (it.formed, it.deal)).unzip();
        let dealer = Dealer::new(now_ms, deal.flatten());
        Self { dance: Group::new(now_ms, formed), dealer }
    }

    /// Takes one input at a moment of a clock that never falls.
    pub fn step(&mut self, now_ms: u64, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Asked { request, ask, fresh } => {
                self.on_ask(now_ms, (request, fresh), ask, actions);
            }
            Input::Dealt { number, result } => self.dealer.on_kept(number, result, actions),
            Input::Catalogue(catalogue) => {
                self.dealer.on_catalogue(now_ms, catalogue, actions);
            }
            Input::Tick => {
                self.dance.step(now_ms, Input::Tick, actions);
                self.dealer.on_tick(now_ms, actions);
            }
            Input::Kept { .. } => self.dance.step(now_ms, input, actions),
        }
    }

    fn on_ask(
        &mut self,
        now_ms: u64,
        (request, fresh): (u64, u128),
        ask: Ask,
        actions: &mut Vec<Action>,
    ) {
        let deals = self.dealer.has_consumers();
        let result = match ask {
            Ask::Hold(_) if !self.dance.is_empty() => Err(Refusal::NotDealt),
            Ask::Hold(beat) => {
                return self.dealer.on_beat(now_ms, (request, fresh), *beat, actions);
            }
            Ask::Read(caller) if deals => self.dealer.may_read(&caller).map(|()| Said::Done),
            Ask::Read(_) => Ok(Said::Done),
            Ask::DescribeDeal => self.described(),
            // To those who ask in the old way it is a group of which nothing is known.
            Ask::Describe if self.is_dealt() => {
                let state = "Dead".into();
                Ok(Said::Described(Described { state, ..Described::default() }))
            }
            Ask::Commit { caller, offsets } if deals => {
                match self.dealer.may_commit(&caller, &offsets) {
                    Ok(()) => return actions.push(Action::Commit { request, offsets }),
                    Err(refusal) => Err(refusal),
                }
            }
            Ask::Join(_) if deals => Err(Refusal::Inconsistent),
            Ask::Delete if deals => Err(Refusal::InUse),
            Ask::Join(_) | Ask::Delete => {
                self.dealer.end();
                return self.dance.step(now_ms, Input::Asked { request, ask, fresh }, actions);
            }
            ask => return self.dance.step(now_ms, Input::Asked { request, ask, fresh }, actions),
        };
        actions.push(Action::Answer { request, result });
    }

    fn described(&self) -> Result<Said, Refusal> {
        if !self.is_dealt() {
            return Err(Refusal::NotDealt);
        }
        let (state, deal) = (self.dealer.state().into(), self.dealer.deal());
        Ok(Said::DescribedDeal(deal::Described { state, deal }))
    }

    /// Nobody is or waits here: what the log keeps is all there is to know.
    pub fn is_idle(&self) -> bool {
        self.dance.is_idle() && self.dealer.is_idle()
    }

    /// It does not know what the log keeps: it is to be read again.
    pub fn is_lost(&self) -> bool {
        self.dealer.is_lost()
    }

    /// Its coordinator deals, or did so last.
    pub fn is_dealt(&self) -> bool {
        self.dealer.is_known() && self.dance.is_empty()
    }

    pub fn kind(&self) -> &str {
        if self.is_dealt() { group::DEALT_KIND } else { self.dance.kind() }
    }

    /// The group's state in Kafka's words; one that nobody knows of is `Dead`.
    pub fn state(&self) -> &'static str {
        if self.is_dealt() { self.dealer.state() } else { self.dance.state() }
    }
}
