//! The stages put together: open what is on disk, bring the engine to where the journal ends, and start the threads.

use super::bundle::{Bundle, Loaded};
use super::durable::Durable;
use super::evaluate::{self, Evaluate, Sources};
use super::index::{self as indexing, Indexing};
use super::intake::{self, Intake};
use super::lead::{Ahead, Lead};
use super::own::Own;
use super::past::Past;
use super::record::{self, Record};
use super::recover::{self, Recover, Recovered};
use super::snapshot::Snapshots;
use super::states::States;
use super::{Inbox, Queue, lines};
use crate::clock;
use crate::config::Config;
use crate::disk::{Disk, crash};
use crate::engine::group::lifetime;
use crate::event::{Span, Timestamp};
use crate::index::Index;
use crate::journal::{self, Journal, Keeper, Reader};
use crate::metrics::Metrics;
use crate::service::Progress;
use crate::store::{self, Store};
use crossbeam_channel::{bounded, unbounded};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// What follows from so many entries waits for the store at most.
const OUT: usize = 256;
/// How often segments are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the store is swept, in looks.
const SWEEP: u32 = 600;
/// The windows of changed rules are rebuilt from so far back at most.
const REBUILD: Span = Span::seconds(86_400);

/// Why the stages cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[source] journal::JournalError),
    /// The store.
    #[error("the store cannot be opened")]
    Store(#[source] store::StoreError),
    /// A file or folder in the data directory.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// What is on disk, open, with nothing running yet.
pub struct Opened {
    data: PathBuf,
    journal: Journal,
    last_time: Option<Timestamp>,
    snapshots: Snapshots,
    inbox: Inbox,
    /// The sources' end of the queue.
    pub queue: Queue,
    /// The store.
    pub store: Arc<Store>,
    /// The journal, for those who read it.
    pub reader: Reader,
    /// How far it is durable.
    pub durable: Arc<Durable>,
    /// What the journal knows of sources.
    pub known: crate::source::Known,
    /// The index.
    pub index: Arc<Index>,
    /// What was in force when.
    pub past: Arc<Past>,
    /// The bounds of the index; none if nothing is to be indexed.
    indexes: Option<indexing::Options>,
    metrics: Arc<Metrics>,
    progress: Progress,
    journal_bytes: usize,
    queue_bytes: usize,
    backlog_bytes: usize,
    replay: Duration,
}

/// The running stages.
pub struct Spine {
    /// The bundle that is in force, or about to be.
    pub loaded: Arc<Loaded>,
    /// Changes, or is gone, when the last stage has ended.
    pub ended: watch::Receiver<()>,
    keeping: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
    indexing: Option<Indexing>,
    past: Arc<Past>,
    snapshots: Snapshots,
    queue: Queue,
    reader: Reader,
}

/// Opens what is in a data directory; `current` is what the configuration says now.
pub fn open(data: &Path, config: &Config, current: &Arc<Loaded>, metrics: Arc<Metrics>, progress: &Progress) -> Result<Opened, StartError> {
    let file = |source| StartError::File { path: data.to_owned(), source };
    let disk: Arc<dyn Disk> = crash::disk();
    let limits = options(config, data);
    let indexes = indexing::Options::of(&config.index, limits.min_free);
    let (journal, opened) = Journal::open(disk.clone(), &data.join("journal"), limits, seed).map_err(StartError::Journal)?;
    for r in &opened.repairs {
        tracing::warn!("the journal was repaired: {r}");
    }
    let store = Arc::new(Store::open(data, config.store.options()).map_err(StartError::Store)?);
    let (queue, inbox) = Queue::new(config.limits.queue_bytes, metrics.clone());
    let snapshots = Snapshots::open(disk, data, journal.seed()).map_err(file)?;
    let at = data.join("index");
    let index = if config.index.enabled { Index::open(&at, journal.seed()) } else { Index::look(&at, journal.seed()) };
    let index = Arc::new(index.map_err(|source| StartError::File { path: at, source })?);
    let durable = Arc::new(Durable::default());
    durable.set(journal.durable());
    Ok(Opened {
        data: data.to_owned(),
        last_time: opened.last_time,
        past: Arc::new(Past::of(snapshots.clone(), current.clone(), &index.manifests())),
        index,
        indexes: Some(indexes).filter(|_| config.index.enabled),
        snapshots,
        inbox,
        queue,
        store,
        reader: journal.reader(),
        durable,
        known: crate::source::Known::of(journal.state()),
        journal,
        metrics,
        progress: progress.clone(),
        journal_bytes: config.journal.max_bytes,
        queue_bytes: config.limits.queue_bytes,
        backlog_bytes: config.limits.backlog_bytes,
        replay: config.limits.replay,
    })
}

/// The journal's limits; by default the lesser of 2 GiB and 5 % of the file system stays free.
fn options(config: &Config, data: &Path) -> journal::Options {
    let least = || rustix::fs::statvfs(data).map_or(0, |s| (s.f_blocks.saturating_mul(s.f_frsize) / 20).min(2 << 30));
    journal::Options { min_free: config.journal.min_free.map_or_else(least, |m| m as u64), ..config.journal.options(&config.limits) }
}

/// The seed of a new journal's hashes: nobody who sends records can know it.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    match File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => clock::now().0 as u64,
    }
}

impl Opened {
    /// Brings the engine to where the journal ends and starts the stages; takes as long as that takes.
    pub fn start(self, bundle: &Bundle, current: Arc<Loaded>, sources: Sources, to: Box<dyn Write + Send>) -> Result<Spine, StartError> {
        let file = |source| StartError::File { path: self.data.clone(), source };
        let thread = |name: &str, f: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(f).map_err(StartError::Thread);
        self.snapshots.put_bundle(bundle).map_err(file)?;
        let (metrics, reader, queue) = (self.metrics, self.reader, self.queue);
        let durable = self.durable;
        let store_full = Arc::new(AtomicBool::new(false));
        let keeper = self.journal.keeper();
        let (out, outs) = bounded(OUT);
        let lines = lines::start(to, self.store.clone(), metrics.clone()).map_err(StartError::Thread)?;
        let record = Record {
            out: outs,
            store: self.store.clone(),
            reader: reader.clone(),
            durable: durable.clone(),
            queue: queue.clone(),
            states: States::start(self.snapshots.clone(), keeper.clone()).map_err(StartError::Thread)?,
            lines,
            store_full: store_full.clone(),
            stage: self.progress.stage("record"),
        };
        let (end, ended) = watch::channel(());
        if self.store.mark() > reader.last() {
            tracing::error!(
                mark = self.store.mark(),
                last = reader.last(),
                "the store knows of entries that the journal has lost; their numbers are given again"
            );
            self.store.rewind(reader.last()).map_err(StartError::Store)?;
        }
        let mark = self.store.mark();
        thread(
            "vigild-record",
            Box::new(move || {
                record::run(record);
                drop(end);
            }),
        )?;

        let with = Recover {
            reader: &reader,
            snapshots: &self.snapshots,
            current: &current,
            seed: self.journal.seed(),
            mark,
            replay: self.replay,
            metrics: &metrics,
        };
        let begin = clock::monotonic();
        let Recovered { mut brain, lsn, needed, replayed, saved, busy, saving } = recover::recover(&with, &out);
        tracing::info!(entries = lsn, replayed, seconds = begin.elapsed().as_secs_f64(), "the engine is where the journal ends");
        keeper.hold(needed);
        brain.settle();
        let now = clock::now();
        let mut own = Own::new(sources.clone());
        own.begin(&brain.evicted(), &brain.stormed());
        match self.store.open_since("vigild-", now.minus(Span::seconds(86_400))) {
            Ok(all) => all.iter().for_each(|a| own.reopen(&a.line)),
            Err(e) => tracing::error!(error = %e, "open alerts of vigild's own cannot be read"),
        }
        if let Some(from) = self.last_time {
            queue.gap(from, now.max(from));
        }
        if reader.last() == 0 || brain.loaded().hash != current.hash {
            let rebuild = if reader.last() == 0 { 0 } else { rebuild_from(brain.loaded(), &current, &reader, now) };
            self.snapshots.comes(current.hash);
            queue.load(current.clone(), rebuild);
        }
        // What waits between the two threads takes room in the queue, which bounds it.
        let (work, works) = unbounded();
        let lead = Arc::new(Lead::new(lsn));
        let evaluate = Evaluate {
            work: works,
            out,
            brain,
            own,
            sources,
            reader: reader.clone(),
            lead: lead.clone(),
            durable: durable.clone(),
            metrics: metrics.clone(),
            queue: queue.clone(),
            lsn,
            saved,
            busy,
            saving,
            journal_bytes: self.journal_bytes,
            replay: self.replay,
            stage: self.progress.stage("engine"),
        };
        let with = |options| indexing::With {
            index: self.index,
            past: self.past.clone(),
            reader: reader.clone(),
            durable: durable.clone(),
            metrics: metrics.clone(),
            options,
        };
        let indexing = self.indexes.map(|o| Indexing::start(with(o))).transpose().map_err(StartError::Thread)?;
        let intake = Intake {
            inbox: self.inbox,
            journal: self.journal,
            engine: work,
            ahead: Ahead::new(lead, self.queue_bytes / 2, self.backlog_bytes),
            durable,
            store_full,
            formats: current.formats.clone(),
            metrics: metrics.clone(),
            stage: self.progress.stage("journal"),
        };
        thread("vigild-engine", Box::new(move || evaluate::run(evaluate)))?;
        thread("vigild-journal", Box::new(move || intake::run(intake)))?;
        let keeping = Arc::new(AtomicBool::new(true));
        let (on, store, look) = (keeping.clone(), self.store, reader.clone());
        let keeper = thread("vigild-keeper", Box::new(move || keep(&on, keeper, &store, &look, &metrics)))?;
        Ok(Spine { loaded: current, ended, keeping, keeper: Some(keeper), indexing, past: self.past, snapshots: self.snapshots, queue, reader })
    }
}

impl Spine {
    /// Lets other rules and settings be in force from the next entry on.
    pub fn load(&mut self, bundle: &Bundle, loaded: Arc<Loaded>) -> io::Result<()> {
        if loaded.hash == self.loaded.hash {
            return Ok(());
        }
        self.snapshots.put_coming(bundle)?;
        let rebuild = rebuild_from(&self.loaded, &loaded, &self.reader, clock::now());
        self.queue.load(loaded.clone(), rebuild);
        self.past.now(loaded.clone());
        self.loaded = loaded;
        Ok(())
    }

    /// Ends the stages once they have taken all that was sent.
    pub fn stop(&mut self) {
        self.queue.stop();
        self.keeping.store(false, Ordering::Relaxed);
        // What is not indexed by now is by the next start.
        self.indexing.iter().for_each(Indexing::stop);
    }
}

impl Drop for Spine {
    fn drop(&mut self) {
        self.keeping.store(false, Ordering::Relaxed);
        if let Some(k) = self.keeper.take() {
            k.thread().unpark();
            // A segment that is being sealed is left as it is: the next start seals it.
        }
    }
}

/// The entry from which the windows of new and changed rules are rebuilt; 0 if there are none.
fn rebuild_from(old: &Loaded, new: &Loaded, reader: &Reader, now: Timestamp) -> u64 {
    let same = |r: &crate::rule::Rule| old.rules.rules.iter().any(|o| o.id == r.id && o.meaning == r.meaning);
    let longest = new.rules.rules.iter().filter(|r| !same(r) && r.kind.within().is_some()).map(lifetime).max();
    longest.map_or(0, |l| reader.at(now.minus(l.min(REBUILD))).max(1))
}

/// Seals and deletes segments, and sweeps the store.
fn keep(on: &AtomicBool, mut keeper: Keeper, store: &Store, reader: &Reader, metrics: &Metrics) {
    let mut looks = 0;
    let mut told = store::Counts::default();
    while on.load(Ordering::Relaxed) {
        match keeper.step() {
            Ok(true) => {}
            Ok(false) => std::thread::park_timeout(LOOK),
            Err(e) => {
                tracing::error!(error = %e, "a segment of the journal cannot be sealed or deleted");
                std::thread::park_timeout(LOOK * 10);
            }
        }
        let counts = store.counts();
        metrics.alerts_lost.inc_by(counts.lines_lost - told.lines_lost);
        metrics.evidence_lost.inc_by(counts.copies_lost - told.copies_lost);
        told = counts;
        let size = reader.size();
        metrics.journal_bytes.set(size.bytes as i64);
        looks += 1;
        if looks % SWEEP == 1
            && let Err(e) = store.sweep(clock::now())
        {
            tracing::error!(error = %e, "old alerts cannot be let go of");
        }
    }
}
