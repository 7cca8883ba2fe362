//! The engine's thread: takes entries in the journal's order through the brain, and hands on what is to be told.

use super::brain::Brain;
use super::bundle::Loaded;
use super::own::Own;
use super::record::Out;
use super::snapshot::Snapshot;
use super::tell::Tale;
use super::{Queue, Source, Stream};
use crate::clock;
use crate::event::Timestamp;
use crate::journal::{Entry, Reader, What};
use crate::metrics::Metrics;
use crate::service::Stage;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// After so many bytes of records the state is saved, or an eighth of a smaller journal: what lies before a saved state is
/// what retention may delete …
const SAVE_BYTES: usize = 256 << 20;
/// … or once entries have taken so long to evaluate, which a restart would take again …
const SAVE_BUSY: Duration = Duration::from_secs(1);
/// … but with so many times the time that saving takes between …
const SHARE: u32 = 4;
/// … or after so long.
const SAVE_AFTER: Duration = Duration::from_secs(300);
/// … or, while the disk is full, after so long.
const SAVE_FULL: Duration = Duration::from_secs(10);
/// How often it is looked whether the disk is full.
const LOOK: Duration = Duration::from_secs(1);

/// All sources that there are; a reload changes them.
pub type Sources = Arc<RwLock<Vec<Arc<Source>>>>;

/// What the thread is given.
pub enum Work {
    /// An entry, in the journal's order.
    Entry(Box<Entry>, Live),
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
    /// What a load loads.
    pub loaded: Option<Arc<Loaded>>,
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
    /// The journal, to rebuild windows from.
    pub reader: Reader,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The queue, to show what waits in it.
    pub queue: Queue,
    /// The last entry taken.
    pub lsn: u64,
    /// How long what is not in a saved state took to evaluate.
    pub busy: Duration,
    /// Held by the state that is on its way to the disk: there is one at a time.
    pub saving: Arc<()>,
    /// How large the journal becomes.
    pub journal_bytes: usize,
    /// Says that it moves.
    pub stage: Stage,
}

/// Runs until it is told to stop, or until a neighbour is gone.
pub fn run(mut e: Evaluate) {
    let (mut bytes, mut saved): (usize, Instant) = (0, clock::monotonic());
    let (mut saved_at, mut cost) = (e.lsn, Duration::ZERO);
    loop {
        e.stage.idle();
        let work = e.work.recv_timeout(LOOK);
        e.stage.beat();
        let (entry, live) = match work {
            Ok(Work::Entry(entry, live)) => (entry, live),
            Err(RecvTimeoutError::Timeout) => {
                // On a full disk nothing moves, and a saved state lets the journal give way.
                if e.queue.is_full() && e.lsn > saved_at && saved.elapsed() >= SAVE_FULL {
                    saved = clock::monotonic();
                    match save(&mut e, saved_at) {
                        Some(at) => saved_at = at,
                        None => return,
                    }
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(Work::Stop) => {
                let _ = save(&mut e, saved_at);
                drop(e.out.send(Out::Stop));
                return;
            }
        };
        if let What::Records(r) = &entry.what {
            bytes += r.batch.bytes.len();
        }
        // What was rebuilt for it may soon be gone from the journal.
        let loads = matches!(entry.what, What::Load { .. });
        let begin = clock::monotonic();
        if !take(&mut e, *entry, live) {
            return;
        }
        e.busy += begin.elapsed();
        let due = bytes >= SAVE_BYTES.min(e.journal_bytes / 8) || e.busy >= SAVE_BUSY.max(cost * SHARE) || saved.elapsed() >= SAVE_AFTER;
        if loads || due && Arc::strong_count(&e.saving) == 1 {
            (bytes, saved, e.busy) = (0, clock::monotonic(), Duration::ZERO);
            match save(&mut e, saved_at) {
                Some(at) => saved_at = at,
                None => return,
            }
            cost = saved.elapsed();
        }
    }
}

/// Takes an entry in; `false` if nobody tells any more.
fn take(e: &mut Evaluate, entry: Entry, live: Live) -> bool {
    let mut tales = Vec::new();
    let taken = e.brain.take(&entry, &mut tales);
    e.lsn = entry.lsn;
    match (&entry.what, live.loaded) {
        (What::Tick(now), _) => {
            e.brain.gauge();
            e.metrics.engine_lag.set(e.reader.last().saturating_sub(entry.lsn) as i64);
            for s in e.sources.read().unwrap_or_else(PoisonError::into_inner).iter() {
                s.metrics.show(&s.sight);
            }
            e.own.tick(*now, &e.brain.evicted(), &e.brain.stormed(), &e.metrics, &mut tales);
        }
        (What::Load { rebuild, .. }, Some(loaded)) => {
            e.brain.load(loaded, *rebuild, entry.lsn, &e.reader, &mut tales, &|| e.stage.beat());
        }
        _ => {}
    }
    if let Some(stream) = live.stream {
        let m = &stream.source.metrics;
        m.parse_errors.inc_by(taken.errors);
        m.ahead.inc_by(taken.ahead);
        m.late.inc_by(taken.late);
        if taken.last > Timestamp::MIN {
            stream.last.fetch_max(taken.last.0, Ordering::Relaxed);
        }
        if let (Some(event), What::Records(r)) = (taken.event, &entry.what) {
            stream.source.sight.look(event, r.received);
        }
    }
    drop(live.room);
    e.queue.gauge();
    e.metrics.alerts_waiting.inc_by(waiting(&tales));
    e.metrics.engine_entry.set(entry.lsn as i64);
    // The store may stand still for want of space, and a restart would not move it.
    e.stage.idle();
    if !tales.is_empty() && e.out.send(Out::Tales { lsn: entry.lsn, tales }).is_err() {
        return false;
    }
    // Whoever asked may have gone.
    let _ = live.seen.map(|s| s.send(()));
    true
}

/// Bytes of lines that are on their way to be written.
pub fn waiting(tales: &[Tale]) -> i64 {
    tales.iter().map(|t| t.line.len() as i64).sum()
}

/// Hands the state on to be saved, unless it has been: up to which entry, or none if nobody saves any more.
fn save(e: &mut Evaluate, before: u64) -> Option<u64> {
    if e.lsn == before {
        return Some(before);
    }
    let named = e.brain.named(e.reader.size().first_lsn);
    let state = Box::new(Snapshot { lsn: e.lsn, load: e.brain.loaded().hash, state: e.brain.save() });
    e.out.send(Out::Snapshot { state, named, saving: e.saving.clone() }).ok()?;
    Some(e.lsn)
}
