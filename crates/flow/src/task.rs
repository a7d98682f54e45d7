//! One stage on one bucket: folds chunks into commits.
//!
//! T1 A commit is a pure function of the rows, the positions, the chunks and the failures so far: it may be computed
//!    again anywhere, from the last commit on.
//! T2 Positions and rows move together, in one commit; one commit is under way at a time.
//! T3 The watermark never falls.
//! T4 An event of a source is in exactly one commit: folded, or as a dead letter that says why.
//! T5 A timer that is not behind the committed watermark has fired, and what it emitted is committed with it.
//!
//! Partial aggregates are folded as if they were their items. Where that cannot be (one of them is late, user code
//! fails, they are too much for a commit) the step ends before them, and the task asks for the items.
//!
//! A panic or error of user code takes the step back; what lies before the failing event is computed again and
//! committed, and the event is what the next step begins with. After three failures it is a dead letter.

mod restored;
mod settle;
mod source;
mod work;

pub use restored::{Restored, SourceStream, TaskStreams};

use crate::carry::Failure;
use crate::chunk::Chunk;
use crate::core::{Core, Turn, Unit};
use crate::exchange::ATTEMPTS_MAX;
use crate::hot::{Heat, Hot};
use crate::stage::StageCode;
use crate::state::State;
use crate::{Action, Error, Input};
use model::entry::row;
use model::planted::{self, Mutant};
use model::{PartitionId, TaskId};
use source::{Place, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use work::{Fault, Limits};

/// Positions that only moved are committed after so long, since retention waits for them.
const HOLD_MS: u64 = 10_000;
/// Where others wait for what a stage emits, its watermark is committed after so long though nothing is emitted.
const HOLD_EMITTING_MS: u64 = 500;
/// How often one step is computed again, for different failures, before the task is parked.
const RERUNS_MAX: usize = 32;
/// How many rows of an older version a newer one must be able to read before it runs.
const SAMPLE_ROWS: usize = 1_000;
/// The wait after a first failure; it doubles.
const WAIT_MS: u64 = 100;

/// What a task has done since it was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Items that the stage got.
    pub items: u64,
    /// The rows in which they came: fewer, where they were aggregated before they travelled.
    pub rows: u64,
    /// Items that came too late for their window.
    pub late: u64,
    /// Events and timers that were given up.
    pub dead: u64,
    /// Failures of user code.
    pub failures: u64,
}

/// What is known of a unit that failed.
#[derive(Debug)]
struct Tried {
    attempts: u32,
    cause: String,
}

/// A task. See the head of this file; [`Task::step`] is all there is to drive it.
pub struct Task {
    id: TaskId,
    code: Arc<StageCode>,
    term: u64,
    sequence: u64,
    watermark_ms: i64,
    /// That of the last commit.
    committed_watermark_ms: i64,
    committed_idle: bool,
    sources: BTreeMap<PartitionId, Source>,
    streams: TaskStreams,
    turn: Turn,
    /// None until it is opened, and after a failure.
    core: Option<Box<dyn Core>>,
    tried: BTreeMap<Unit, Tried>,
    /// Up to where a source's items must come one by one, since partial aggregates of them could not be folded.
    apart: BTreeMap<PartitionId, i64>,
    is_pending: bool,
    /// Timers that are due did not fit into the last commit.
    has_more: bool,
    held_since_ms: Option<u64>,
    tally: Tally,
    hot: Hot,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({:?} of {:?}, sequence {})", self.id, self.code, self.sequence)
    }
}

impl Task {
    /// A task as the fold has it. User code is not called before the first step, unless to see whether it can
    /// read what an older version kept.
    ///
    /// Fails if a newer version runs than `code` is, or if that is not so.
    pub fn new(
        id: TaskId,
        code: Arc<StageCode>,
        restored: Restored,
        streams: TaskStreams,
    ) -> Result<Self, Error> {
        assert_eq!(code.sources.len(), streams.sources.len(), "each source has its stream");
        assert_eq!(code.sides.len(), streams.sides.len(), "each side output has its stream");
        if restored.version > code.version {
            return Err(Error::Version { running: restored.version, held: code.version });
        }
        if (1..code.version).contains(&restored.version) {
            let step = restored.rows.len().div_ceil(SAMPLE_ROWS).max(1);
            let sample = restored.rows.iter().step_by(step).map(|(key, value)| (key, value));
            code.check(restored.version, sample)?;
        }
        let mut restored = restored;
        if planted::is(Mutant::WatermarkFalls) {
            restored.watermark_ms = i64::MIN;
        }
        let mut sources = BTreeMap::new();
        let mut names = BTreeMap::new();
        for (source, of) in streams.sources.iter().zip(&code.sources) {
            names.insert(source.stream, of.stream.clone());
            for partition in 0..source.partitions {
                let partition = PartitionId { stream: source.stream, partition };
                let at = restored.positions.get(&partition).copied().unwrap_or((0, i64::MIN));
                let place = Place { offset: at.0, watermark_ms: at.1 };
                let source = Source {
                    committed: place,
                    reached: place,
                    idle_after_ms: of.idle_after_ms,
                    moved_ms: None,
                    is_idle: false,
                    is_written: false,
                };
                sources.insert(partition, source);
            }
        }
        let side_of = |stream: &String| code.sides.iter().position(|side| side == stream);
        let turn = Turn {
            state: State::restored(id.stage.0 as u64, restored.rows, code.sides.len()),
            clock_ms: i64::MIN,
            sides: code.sides.clone(),
            late_side: code.late.as_ref().and_then(side_of),
            counters: Vec::new(),
            unit: Unit::Start,
            watermark_ms: restored.watermark_ms,
            bucket: id.bucket,
            buckets: code.buckets,
            emits: streams.output.is_some(),
            shows: code.view.is_some(),
            stage: format!("{}.{}", code.pipeline, code.name),
            streams: names,
        };
        Ok(Self {
            id,
            code,
            term: restored.term,
            sequence: restored.sequence,
            watermark_ms: restored.watermark_ms,
            committed_watermark_ms: restored.watermark_ms,
            committed_idle: false,
            sources,
            streams,
            turn,
            core: None,
            tried: BTreeMap::new(),
            apart: BTreeMap::new(),
            is_pending: false,
            has_more: false,
            held_since_ms: None,
            tally: Tally::default(),
            hot: Hot::default(),
        })
    }

    /// Lets one thing happen. `now_ms` is any monotonic time. `Err` means refused, nothing changed; only after
    /// [`Error::Sequence`] and [`Error::Version`] must the task be built again.
    pub fn step(
        &mut self,
        now_ms: u64,
        input: Input,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        match input {
            Input::Chunks(chunks) => self.on_chunks(now_ms, chunks, actions),
            Input::Committed { sequence } => self.on_committed(now_ms, sequence, actions),
            Input::Time => self.on_time(now_ms, actions),
        }
    }

    /// Says what time it is for timers of processing time, ms since 1970. It never goes back.
    pub fn set_clock(&mut self, clock_ms: i64) {
        self.turn.clock_ms = self.turn.clock_ms.max(clock_ms);
    }

    /// When the next timer of processing time is due.
    pub fn next_clock_ms(&self) -> Option<i64> {
        self.turn.state.next_timer(row::CLOCK).map(|(at_ms, _)| at_ms)
    }

    /// What user code has counted since the task was built.
    pub fn counters(&self) -> &[(&'static str, u64)] {
        &self.turn.counters
    }

    /// Where each source partition is to be asked from.
    pub fn positions(&self) -> impl Iterator<Item = (PartitionId, i64)> + '_ {
        self.sources.iter().map(|(partition, source)| (*partition, source.reached.offset))
    }

    /// With which watermark it takes partial aggregates; none if it wants each item by itself, as after a failure.
    pub fn partials(&self) -> Option<i64> {
        self.apart.is_empty().then_some(self.watermark_ms)
    }

    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The sequence of the last commit that is known to be applied.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms
    }

    /// Whether a commit is under way.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Whether there is work as soon as the last commit is known: timers that did not fit into it.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether a moving watermark may be all it waits for.
    pub fn has_timers(&self) -> bool {
        self.turn.state.has_timers()
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Which keys it gets most. What was computed again after a failure is counted again.
    pub fn heat(&mut self, now_ms: u64) -> Heat {
        self.hot.tick(now_ms);
        self.hot.heat(now_ms)
    }

    /// Tells user code that the task leaves in good order.
    pub fn close(mut self) {
        if let Some(mut core) = self.core.take() {
            work::quietly(move || core.close());
        }
    }

    fn on_chunks(
        &mut self,
        now_ms: u64,
        mut chunks: Vec<Chunk>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        if self.is_pending {
            return Err(Error::Busy);
        }
        chunks.sort_by_key(|chunk| chunk.source);
        self.check(&chunks)?;
        self.hot.tick(now_ms);
        for chunk in &chunks {
            if let Some(source) = self.sources.get_mut(&chunk.source) {
                source.observe(now_ms, chunk.to > chunk.from, chunk.activity);
            }
        }
        self.run(now_ms, &chunks, actions)
    }

    fn check(&self, chunks: &[Chunk]) -> Result<(), Error> {
        for pair in chunks.windows(2) {
            if pair[0].source == pair[1].source {
                return Err(Error::Chunk("a partition has two chunks"));
            }
        }
        for chunk in chunks {
            let source = self.sources.get(&chunk.source).ok_or(Error::NotASource(chunk.source))?;
            if chunk.from != source.reached.offset {
                return Err(Error::Gap {
                    source_partition: chunk.source,
                    expected: source.reached.offset,
                    found: chunk.from,
                });
            }
            if chunk.to < chunk.from {
                return Err(Error::Chunk("it ends before it begins"));
            }
        }
        Ok(())
    }

    fn on_committed(
        &mut self,
        now_ms: u64,
        sequence: u64,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let expected = self.sequence + 1;
        if !self.is_pending || sequence != expected {
            return Err(Error::Sequence { found: sequence, expected });
        }
        self.sequence = sequence;
        self.is_pending = false;
        if self.has_more { self.run(now_ms, &[], actions) } else { Ok(()) }
    }

    fn on_time(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> Result<(), Error> {
        let hold_ms =
            if self.turn.emits && self.promises_more() { HOLD_EMITTING_MS } else { HOLD_MS };
        if self.next_clock_ms().is_some_and(|at_ms| at_ms <= self.turn.clock_ms) && !self.is_pending
        {
            self.run(now_ms, &[], actions)?;
        }
        let is_due = self.held_since_ms.is_some_and(|at| now_ms.saturating_sub(at) >= hold_ms);
        if is_due && !self.is_pending {
            self.commit(actions);
        }
        Ok(())
    }

    /// Computes a step, again without what fails, and commits what it comes to.
    fn run(
        &mut self,
        now_ms: u64,
        chunks: &[Chunk],
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let mut limits = Limits { stop: None, units_max: usize::MAX, takes_partials: true };
        let mut said = Vec::new();
        for _ in 0..RERUNS_MAX {
            let fault = match self.attempt(chunks, &limits) {
                Ok(progress) => {
                    actions.append(&mut said);
                    self.settle(now_ms, progress, actions);
                    return Ok(());
                }
                Err(fault) => fault,
            };
            self.turn.state.take_back();
            self.drop_core();
            match fault {
                Fault::Chunk(error) => return Err(error),
                Fault::Partials => {
                    limits.takes_partials = false;
                    self.want_apart(chunks);
                }
                Fault::TooMuch { units } => limits.units_max = (units / 2).max(1),
                Fault::User { unit: Unit::Start, failure } => return Err(self.parked(&failure)),
                Fault::User { unit, failure } => {
                    let (action, is_given_up) = self.blame(&unit, &failure);
                    said.push(action);
                    if !is_given_up {
                        limits.stop = Some(unit);
                    }
                }
            }
        }
        Err(self.parked(&Failure::new("it fails at too many events of one step")))
    }

    /// From now on, asks for the items of these partial aggregates.
    fn want_apart(&mut self, chunks: &[Chunk]) {
        for chunk in chunks.iter().filter(|chunk| chunk.pieces.iter().any(|p| p.is_partial)) {
            self.apart.insert(chunk.source, chunk.to);
        }
    }

    fn parked(&self, failure: &Failure) -> Error {
        Error::Parked { stage: self.turn.stage.clone(), cause: failure.cause() }
    }

    /// Notes a failure of a unit; true if it is to be given up.
    fn blame(&mut self, unit: &Unit, failure: &Failure) -> (Action, bool) {
        self.tally.failures += 1;
        let (place, cause) = (self.turn.place(unit), failure.cause());
        let tried = self.tried.entry(unit.clone());
        let tried = tried.or_insert(Tried { attempts: 0, cause: String::new() });
        tried.attempts += 1;
        tried.cause.clone_from(&cause);
        let attempt = tried.attempts;
        if attempt >= ATTEMPTS_MAX {
            return (Action::Dead { place, cause }, true);
        }
        let wait_ms = WAIT_MS << (attempt - 1);
        (Action::Failed { place, cause, attempt, wait_ms }, false)
    }
}
