//! The engine's thread: takes entries in the journal's order through the brain, and hands on what is to be told.
//!
//! Entries come from memory while there is room for them ([`super::lead`]); the others are read in the journal.

use super::brain::Brain;
use super::durable::Durable;
use super::lead::Lead;
use super::own::Own;
use super::record::Out;
use super::states::{Save, Saving};
use super::tell::Tale;
use super::{Queue, Source, Stream};
use crate::clock;
use crate::event::Timestamp;
use crate::journal::{Entries, Entry, Reader, What};
use crate::metrics::Metrics;
use crate::service::Stage;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// After so many bytes of records the state is saved, or an eighth of a smaller journal: what lies before a saved state is
/// what retention may delete …
const SAVE_BYTES: usize = 256 << 20;
/// … or once entries have taken as long to evaluate as a restart may take again, but with so many times the time that saving
/// takes between …
pub(super) const SHARE: u32 = 4;
/// … or after so long.
const SAVE_AFTER: Duration = Duration::from_secs(300);
/// … or, while the disk is full, after so long.
const SAVE_FULL: Duration = Duration::from_secs(10);
/// How often it is looked whether the disk is full.
const LOOK: Duration = Duration::from_secs(1);

/// All sources that there are; a reload changes them.
pub type Sources = Arc<RwLock<Vec<Arc<Source>>>>;

/// When it is to stop, what is in the journal is evaluated for so long; the rest is left for the next start.
const LEAVE: Duration = Duration::from_secs(2);

/// What the thread is given, in the journal's order.
pub enum Work {
    /// An entry from memory; what lies between it and the one before is in the journal.
    Entry(Box<Entry>, Live),
    /// What goes with an entry that is to be read in the journal.
    Beside(u64, Live),
    /// There are entries to read in the journal.
    Look,
    /// The end: the state is saved.
    Stop,
}

/// What an entry has beside it while it is new.
#[derive(Default)]
pub struct Live {
    /// Its stream.
    pub stream: Option<Arc<Stream>>,
    /// Told when it has been through the engine.
    pub seen: Option<oneshot::Sender<()>>,
    /// The room it takes in the queue, free when it has been through.
    pub room: Option<OwnedSemaphorePermit>,
}

/// What the thread works with.
pub struct Evaluate {
    /// What comes.
    pub work: Receiver<Work>,
    /// Who tells.
    pub out: Sender<Out>,
    /// Parsers and engine.
    pub brain: Brain,
    /// The daemon's own alerts.
    pub own: Own,
    /// The sources, for what they count.
    pub sources: Sources,
    /// The journal, to read what does not come from memory, and to rebuild windows from.
    pub reader: Reader,
    /// How far the journal is ahead.
    pub lead: Arc<Lead>,
    /// Whether entries are durable: others are not read in the journal.
    pub durable: Arc<Durable>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The queue, to show what waits in it.
    pub queue: Queue,
    /// The last entry taken.
    pub lsn: u64,
    /// The last entry of the saved state.
    pub saved: u64,
    /// How long what is not in it took to evaluate.
    pub busy: Duration,
    /// Held by the state that is on its way to the disk: there is one at a time.
    pub saving: Arc<Saving>,
    /// How large the journal becomes.
    pub journal_bytes: usize,
    /// How much evaluation a restart may repeat.
    pub replay: Duration,
    /// Says that it moves.
    pub stage: Stage,
}

/// A neighbour is gone, and so this thread ends.
struct Gone;

/// What has happened since the state was saved.
struct Saved {
    at: u64,
    when: Instant,
    bytes: usize,
    /// How long saving took.
    cost: Duration,
}

/// The thread, and where it stands.
struct Run {
    e: Evaluate,
    saved: Saved,
    /// Where the journal is read, if it is.
    past: Option<Entries>,
    /// Since when it is to stop.
    leaving: Option<Instant>,
}

/// Runs until it is told to stop, or until a neighbour is gone.
pub fn run(e: Evaluate) {
    let saved = Saved { at: e.saved, when: clock::monotonic(), bytes: 0, cost: Duration::ZERO };
    let mut run = Run { e, saved, past: None, leaving: None };
    while let Ok(true) = run.step() {}
}

impl Run {
    /// Takes what comes next; `false` at the end.
    fn step(&mut self) -> Result<bool, Gone> {
        self.e.stage.idle();
        // Read before the messages are: what is sent beside an entry comes no later than leave to read it.
        let given = self.e.lead.given();
        let work = match self.e.work.try_recv() {
            Ok(w) => w,
            Err(TryRecvError::Disconnected) => return Err(Gone),
            Err(TryRecvError::Empty) if self.e.lsn < given => {
                self.catch_up(given)?;
                return Ok(true);
            }
            Err(TryRecvError::Empty) => match self.e.work.recv_timeout(LOOK) {
                Ok(w) => w,
                Err(RecvTimeoutError::Timeout) => {
                    self.save_if_full()?;
                    return Ok(true);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Gone),
            },
        };
        match work {
            Work::Entry(entry, live) => {
                if self.catch_up(entry.lsn.saturating_sub(1))? && self.e.lsn < entry.lsn {
                    self.take(*entry, live)?;
                }
            }
            Work::Beside(lsn, live) => {
                if self.catch_up(lsn.saturating_sub(1))? && self.e.lsn < lsn {
                    self.read(lsn, live)?;
                }
            }
            Work::Look => self.e.lead.looks(),
            Work::Stop => {
                let all = self.catch_up(self.e.lead.given())?;
                if !all {
                    tracing::info!(entries = self.e.lead.given() - self.e.lsn, "the next start evaluates what is left in the journal");
                }
                self.save()?;
                drop(self.e.out.send(Out::Stop));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the entries up to this one from the journal; `false` if they are left for the next start.
    fn catch_up(&mut self, to: u64) -> Result<bool, Gone> {
        while self.e.lsn < to {
            if self.leaves() {
                return Ok(false);
            }
            self.read(to, Live::default())?;
        }
        self.past = None;
        Ok(!self.leaves())
    }

    /// Whether it has been told to stop, and has gone on for long enough.
    fn leaves(&mut self) -> bool {
        if !self.e.lead.is_stopping() {
            return false;
        }
        self.leaving.get_or_insert_with(clock::monotonic).elapsed() >= LEAVE
    }

    /// Takes the next entry from the journal, which has one up to `to`.
    fn read(&mut self, to: u64, live: Live) -> Result<(), Gone> {
        let next = self.e.lsn + 1;
        // What is not durable may come to stand elsewhere.
        if self.e.durable.get() < next {
            self.e.queue.sync();
            if !self.e.durable.wait(next) {
                return Err(Gone);
            }
        }
        let past = self.past.get_or_insert_with(|| self.e.reader.entries(next));
        match past.next() {
            Some(Ok(entry)) if entry.lsn <= to => self.take(entry, live),
            // Behind damage that was greater than what was to be read.
            Some(Ok(_)) => {
                self.past = None;
                self.took(to);
                Ok(())
            }
            Some(Err(damage)) => {
                tracing::error!(%damage, "a part of the journal cannot be read, and is not evaluated");
                self.took(damage.last_lsn.clamp(next, to));
                Ok(())
            }
            None => {
                tracing::error!(entry = next, "the journal does not have what was written to it");
                self.took(to);
                Ok(())
            }
        }
    }

    fn took(&mut self, lsn: u64) {
        self.e.lsn = lsn;
        self.e.lead.took(lsn);
    }

    /// Takes an entry in, and saves the state when it is time.
    fn take(&mut self, entry: Entry, live: Live) -> Result<(), Gone> {
        self.e.stage.beat();
        if let What::Records(r) = &entry.what {
            self.saved.bytes += r.batch.bytes.len();
        }
        // What was rebuilt for it may soon be gone from the journal.
        let loads = matches!(entry.what, What::Load { .. });
        let begin = clock::cpu();
        let lsn = entry.lsn;
        take(&mut self.e, entry, live)?;
        self.took(lsn);
        // Not what it waits for: a restart need not.
        self.e.busy += clock::cpu().saturating_sub(begin);
        let s = &self.saved;
        let due =
            s.bytes >= SAVE_BYTES.min(self.e.journal_bytes / 8) || self.e.busy >= self.e.replay.max(s.cost * SHARE) || s.when.elapsed() >= SAVE_AFTER;
        if loads || due && Arc::strong_count(&self.e.saving) == 1 {
            let begin = clock::monotonic();
            self.save()?;
            self.saved.cost = begin.elapsed();
        }
        self.e.stage.idle();
        Ok(())
    }

    /// On a full disk nothing moves, and a saved state lets the journal give way.
    fn save_if_full(&mut self) -> Result<(), Gone> {
        if self.e.queue.is_full() && self.saved.when.elapsed() >= SAVE_FULL { self.save() } else { Ok(()) }
    }

    /// Hands the state on to be saved, unless it has been.
    fn save(&mut self) -> Result<(), Gone> {
        (self.saved.bytes, self.saved.when, self.e.busy) = (0, clock::monotonic(), Duration::ZERO);
        if self.e.lsn == self.saved.at {
            return Ok(());
        }
        self.saved.at = self.e.lsn;
        let first = self.e.reader.size().first_lsn;
        let state = Save::of(&mut self.e.brain, self.e.lsn, first, &self.e.saving);
        self.e.out.send(Out::State(state)).map_err(|_| Gone)
    }
}

/// Takes an entry in.
fn take(e: &mut Evaluate, entry: Entry, live: Live) -> Result<(), Gone> {
    let mut tales = Vec::new();
    let taken = e.brain.take(&entry, &mut tales);
    match &entry.what {
        What::Tick(now) => {
            e.brain.gauge();
            e.metrics.engine_lag.set(e.reader.last().saturating_sub(entry.lsn) as i64);
            for s in e.sources.read().unwrap_or_else(PoisonError::into_inner).iter() {
                s.metrics.show(&s.sight);
            }
            e.own.tick(*now, &e.brain.evicted(), &e.brain.stormed(), &e.metrics, &mut tales);
        }
        What::Load { rebuild, hash } => match e.lead.loaded(hash) {
            Some(loaded) => e.brain.load(loaded, *rebuild, entry.lsn, &e.reader, &mut tales, &|| e.stage.beat()),
            None => tracing::error!("rules and settings that were to be loaded are not there"),
        },
        What::Records(r) => {
            if let Some(source) = source(e, &live, &r.source) {
                let m = &source.metrics;
                m.parse_errors.inc_by(taken.errors);
                m.ahead.inc_by(taken.ahead);
                m.late.inc_by(taken.late);
                if let Some(event) = taken.event {
                    source.sight.look(event, r.received);
                }
            }
            if let Some(stream) = live.stream.filter(|_| taken.last > Timestamp::MIN) {
                stream.last.fetch_max(taken.last.0, Ordering::Relaxed);
            }
        }
        _ => {}
    }
    drop(live.room);
    e.queue.gauge();
    e.metrics.alerts_waiting.inc_by(waiting(&tales));
    e.metrics.engine_entry.set(entry.lsn as i64);
    // The store may stand still for want of space, and a restart would not move it.
    e.stage.idle();
    if !tales.is_empty() {
        e.out.send(Out::Tales { lsn: entry.lsn, tales }).map_err(|_| Gone)?;
    }
    // Whoever asked may have gone.
    let _ = live.seen.map(|s| s.send(()));
    Ok(())
}

/// The source of records: that of their stream, else the one of that name.
fn source(e: &Evaluate, live: &Live, name: &str) -> Option<Arc<Source>> {
    match &live.stream {
        Some(s) => Some(s.source.clone()),
        None => e.sources.read().unwrap_or_else(PoisonError::into_inner).iter().find(|s| s.name == name).cloned(),
    }
}

/// Bytes of lines that are on their way to be written.
pub fn waiting(tales: &[Tale]) -> i64 {
    tales.iter().map(|t| t.line.len() as i64).sum()
}
