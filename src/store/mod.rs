//! The store: alerts, copies of their evidence, and what sinks still have to write, in one transactional file.
//!
//! - In: [`Commit`]s, each all or nothing and durable when [`Store::commit`] returns, each saying up to which entry of the
//!   journal the outputs are here.
//! - Out: alerts by id and by filter, the lines of an outbox, the mark after a restart.
//! - Faults of the disk are lived with: after one the file is opened anew, and it is looked whether the transaction in doubt
//!   took place. On a full disk the reserve is given back; when that is not enough, copies of evidence are left out.
//! - A file that cannot be made sense of is moved aside and a new one is begun.
//!
//! The file is a redb database. All that is read from it is checked; a panic of the library over a damaged file is caught
//! and told as damage.

mod backend;
mod copy;
mod error;
mod find;
mod reserve;
mod tables;
mod write;

pub(crate) use copy::GoOn;
pub use error::StoreError;
pub use find::{Cursor, Filter, Page, Stored, unhex};
pub use reserve::{Reserve, ReserveFile};
pub use tables::Status;

use crate::alert::Step;
use crate::event::{Span, Timestamp};
use crate::rule::Severity;
use backend::Shared;
use redb::backends::FileBackend;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, WriteTransaction};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tables::*;
use write::number;

/// The file in the data directory.
pub const FILE: &str = "store.redb";
/// The reserve beside it.
pub const RESERVE: &str = "store.reserve";
/// So many copies of evidence are kept of an alert, the latest.
pub const MAX_COPIES: usize = 100;
/// So many bytes of copies are kept of an alert.
pub const MAX_COPIED_BYTES: usize = 256 << 10;
/// So many alerts are removed by one [`Store::sweep`].
pub const SWEEP: u64 = 1000;

/// The limits of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// So many alerts are kept, the latest by time.
    pub max_alerts: usize,
    /// Alerts are kept so long.
    pub max_age: Span,
    /// Bytes of the file that is kept for a full disk.
    pub reserve: u64,
    /// Bytes of memory for pages of the file.
    pub cache: usize,
    /// The sinks that have an outbox. One that is new gets what comes from now on; of one that is gone nothing is kept.
    pub sinks: Vec<String>,
    /// Bytes of lines that wait for a sink; beyond them the oldest are given up, counted.
    pub max_outbox: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_alerts: 200_000,
            max_age: Span::seconds(400 * 86_400),
            reserve: 16 << 20,
            cache: 16 << 20,
            sinks: Vec::new(),
            max_outbox: 64 << 20,
        }
    }
}

/// What becomes durable together.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Outputs of journal entries up to this one are in the store after it; one that is not greater than the store's, such as 0,
    /// leaves that as it is.
    pub mark: u64,
    /// What is told.
    pub told: Vec<Told>,
    /// Sinks, each with the number up to which it has written.
    pub written: Vec<(String, u64)>,
}

/// One line about an alert: it replaces what the store has under its id, and goes to the outbox of each sink.
#[derive(Clone, Debug)]
pub struct Told {
    /// `event.id`.
    pub id: [u8; 16],
    /// What has become of it.
    pub step: Step,
    /// The JSON object, without a newline.
    pub line: Vec<u8>,
    /// `@timestamp`.
    pub ts: Timestamp,
    /// `rule.id`.
    pub rule: Arc<str>,
    /// `alert.severity`.
    pub severity: Severity,
    /// Whether the rule is a signal.
    pub signal: bool,
    /// Whether it is final.
    pub is_final: bool,
    /// Copies of evidence that are not in the store yet, by sequence number; of all of an alert the latest
    /// [`MAX_COPIES`] and [`MAX_COPIED_BYTES`] are kept.
    pub evidence: Vec<(u64, Vec<u8>)>,
}

/// What was found when the store was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Whether there was no store before.
    pub new: bool,
    /// Where a damaged file was moved to, and what was wrong with it. Its alerts, its mark and its outbox are not in the
    /// new one.
    pub damaged: Option<(PathBuf, String)>,
}

/// What has been given up since the store was opened, and why it was opened again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Copies of evidence that were not kept: too many, too large, or no room on the disk.
    pub copies_lost: u64,
    /// Lines that a sink will not get since its outbox was full.
    pub lines_lost: u64,
    /// Alerts removed for their age or for their number.
    pub swept: u64,
    /// How often the file was opened again after an error.
    pub reopened: u64,
    /// How often a damaged file was moved aside while the daemon ran.
    pub damaged: u64,
}

/// How large it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the file.
    pub bytes: u64,
    /// Alerts in it.
    pub alerts: u64,
    /// Bytes of lines that wait for sinks.
    pub outbox: u64,
}

/// Alerts and outboxes on disk. One writer at a time, readers beside it; shared in an `Arc`.
pub struct Store {
    options: Options,
    place: Place,
    reserve: Option<Box<dyn Reserve>>,
    reserve_missing: AtomicBool,
    /// Nothing after an error, until it is opened again. Taken after `writer` where both are.
    db: RwLock<Option<Database>>,
    writer: Mutex<Writer>,
    mark: AtomicU64,
    counts: Mutex<Counts>,
    opened: Opened,
}

enum Place {
    Directory(PathBuf),
    Given(Shared),
}

/// What the writer knows of the file.
#[derive(Default)]
struct Writer {
    /// Transactions in the file.
    commits: u64,
    /// The number of the latest line.
    number: u64,
    /// A transaction that failed and may be in the file all the same: its number, and the mark of its commit.
    doubt: Option<(u64, Option<u64>)>,
    /// The mark of a commit that was told to have failed and is in the file.
    landed: Option<u64>,
}

impl Store {
    /// Opens or makes [`FILE`] (mode 0600) in a directory, which is there.
    ///
    /// An open after a crash takes as long as any other. A damaged file is moved aside and a new one made, which
    /// [`Store::opened`] tells. Errors: the disk's, another process that has the file, a file of a later version.
    pub fn open(dir: &Path, options: Options) -> Result<Store, StoreError> {
        let reserve = ReserveFile { path: dir.join(RESERVE), bytes: options.reserve };
        let reserve: Option<Box<dyn Reserve>> = (options.reserve > 0).then(|| Box::new(reserve) as Box<dyn Reserve>);
        Store::begin(Place::Directory(dir.to_owned()), reserve, options)
    }

    /// The same over any storage, in memory or simulated, without a reserve. Damage is an error here.
    pub fn with_backend(backend: impl StorageBackend, options: Options) -> Result<Store, StoreError> {
        Store::begin(Place::Given(Shared(Arc::new(backend))), None, options)
    }

    /// The same with a reserve.
    pub fn with_reserve(backend: impl StorageBackend, reserve: impl Reserve + 'static, options: Options) -> Result<Store, StoreError> {
        Store::begin(Place::Given(Shared(Arc::new(backend))), Some(Box::new(reserve)), options)
    }

    fn begin(place: Place, reserve: Option<Box<dyn Reserve>>, options: Options) -> Result<Store, StoreError> {
        let mut store = Store {
            options,
            place,
            reserve,
            reserve_missing: AtomicBool::new(false),
            db: RwLock::new(None),
            writer: Mutex::new(Writer::default()),
            mark: AtomicU64::new(0),
            counts: Mutex::new(Counts::default()),
            opened: Opened::default(),
        };
        if let Place::Directory(dir) = &store.place {
            store.opened.new = !dir.join(FILE).exists();
        }
        let opened = {
            let mut w = store.lock();
            let mut r = store.settle(&mut w);
            if matches!(r, Err(StoreError::Full(_))) && store.release() {
                r = store.settle(&mut w);
            }
            match r {
                Err(StoreError::Damaged(why)) if matches!(store.place, Place::Directory(_)) => {
                    let aside = store.replace(&mut w, &why)?;
                    Opened { new: false, damaged: Some((aside, why)) }
                }
                r => r.map(|()| store.opened.clone())?,
            }
        };
        store.opened = opened;
        store.counts = Mutex::default();
        if !store.reserve_missing() && store.reserve.as_ref().is_some_and(|r| r.fill().is_err()) {
            store.reserve_missing.store(true, Ordering::Relaxed);
        }
        Ok(store)
    }

    /// What was found when it was opened.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Outputs of journal entries up to and including this one are in the store; 0 at first.
    pub fn mark(&self) -> u64 {
        self.mark.load(Ordering::Acquire)
    }

    /// Says that outputs are here up to this earlier entry alone: the journal has lost what came behind it, and gives those
    /// numbers again. Alerts that followed from it stay.
    pub fn rewind(&self, mark: u64) -> Result<(), StoreError> {
        let mut w = self.lock();
        self.settle(&mut w)?;
        self.transact(&mut w, None, |tx| {
            tx.open_table(META)?.insert(MARK, mark)?;
            Ok(())
        })?;
        self.mark.store(mark, Ordering::Release);
        Ok(())
    }

    /// One transaction, durable when it returns: all or nothing.
    ///
    /// After an error the same commit is given again until it succeeds; where it had taken place in spite of the error, that
    /// is found out and nothing is written twice. Errors: [`StoreError::Behind`] for one with alerts whose mark is not
    /// greater than the store's; [`StoreError::Sink`]; what the disk says.
    pub fn commit(&self, c: &Commit) -> Result<(), StoreError> {
        let mut w = self.lock();
        let mut copies = true;
        loop {
            match self.try_commit(&mut w, c, copies) {
                Err(StoreError::Full(_)) if self.release() => {}
                Err(StoreError::Full(_)) if copies && c.told.iter().any(|t| !t.evidence.is_empty()) => copies = false,
                Err(StoreError::Damaged(why)) if matches!(self.place, Place::Directory(_)) => drop(self.replace(&mut w, &why)?),
                r => return r,
            }
        }
    }

    fn try_commit(&self, w: &mut Writer, c: &Commit, copies: bool) -> Result<(), StoreError> {
        self.settle(w)?;
        if !c.told.is_empty() {
            if w.landed.take_if(|m| *m == c.mark).is_some() {
                return Ok(());
            }
            if c.mark <= self.mark() {
                return Err(StoreError::Behind { mark: self.mark(), asked: c.mark });
            }
        }
        let mark = (!c.told.is_empty()).then_some(c.mark);
        let done = self.transact(w, mark, |tx| write::apply(tx, c, &self.options, copies))?;
        self.mark.fetch_max(c.mark, Ordering::AcqRel);
        w.number = done.number;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.copies_lost += done.copies;
        counts.lines_lost += done.lines;
        counts.swept += done.alerts;
        Ok(())
    }

    /// Lines not yet written by a sink, oldest first, with their numbers: so many bytes at most, but one line at least.
    pub fn outbox(&self, sink: &str, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read(|tx| find::outbox(tx, sink, bytes))
    }

    /// The alerts that a filter lets through, page by page.
    pub fn alerts(&self, f: &Filter) -> Result<Page, StoreError> {
        self.read(|tx| find::page(tx, f))
    }

    /// The JSON of the first of these alerts until it is more than so many bytes, one alert at least, and how many ids that
    /// was; an alert that is gone has no line.
    pub fn lines(&self, ids: &[[u8; 16]], bytes: usize) -> Result<(usize, Vec<Vec<u8>>), StoreError> {
        self.read(|tx| find::lines(tx, ids, bytes))
    }

    /// One alert with copies of its evidence.
    pub fn alert(&self, id: &[u8; 16]) -> Result<Option<Stored>, StoreError> {
        self.read(|tx| find::alert(tx, id))
    }

    /// The open alerts of rules whose id begins so, of this time or later, the oldest first.
    pub fn open_since(&self, rule_prefix: &str, since: Timestamp) -> Result<Vec<Stored>, StoreError> {
        self.read(|tx| find::open_since(tx, rule_prefix, since))
    }

    /// Removes alerts that are too old or too many, [`SWEEP`] at most; the answer is how many.
    pub fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut w = self.lock();
        self.settle(&mut w)?;
        let due = self.read_once(|tx| {
            let times = tx.open_table(TIMES)?;
            let oldest = place(now.minus(self.options.max_age), &[0; 16]);
            let old = times.first()?.is_some_and(|(at, _)| *at.value() < oldest);
            Ok(old || times.len()? > self.options.max_alerts as u64)
        })?;
        if !due {
            return Ok(0);
        }
        let swept = self.transact(&mut w, None, |tx| write::sweep(tx, &self.options, now, SWEEP))?;
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).swept += swept;
        Ok(swept)
    }

    /// Writes a copy as of now to a new file; commits go on meanwhile. `go_on` is asked now and then, and ends it with an error.
    pub fn copy_to(&self, to: &Path, go_on: GoOn<'_>) -> Result<(), StoreError> {
        // The transaction holds what it sees, so the lock need not be held.
        let tx = guarded(|| {
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            Ok(db.as_ref().ok_or_else(closed)?.begin_read()?)
        })?;
        guarded(|| copy::all(&tx, to, go_on))
    }

    /// How large it is.
    pub fn size(&self) -> Result<Size, StoreError> {
        let (alerts, outbox) = self.read(|tx| Ok((tx.open_table(ALERTS)?.len()?, number(&tx.open_table(META)?, OUTBOX_BYTES)?)))?;
        let bytes = match &self.place {
            Place::Directory(dir) => std::fs::metadata(dir.join(FILE))?.len(),
            Place::Given(b) => b.len()?,
        };
        Ok(Size { bytes, alerts, outbox })
    }

    /// What has been given up since it was opened.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the reserve was used, or could not be had.
    pub fn reserve_missing(&self) -> bool {
        self.reserve_missing.load(Ordering::Relaxed)
    }

    /// Tries to take the reserve again. Errors: the disk's; then nothing is held.
    pub fn refill(&self) -> Result<(), StoreError> {
        let _w = self.lock();
        if let Some(r) = self.reserve.as_ref().filter(|_| self.reserve_missing()) {
            r.fill()?;
            self.reserve_missing.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the reserve back to the disk; `false` if there is none.
    fn release(&self) -> bool {
        let Some(r) = &self.reserve else { return false };
        if self.reserve_missing.swap(true, Ordering::Relaxed) {
            return false;
        }
        tracing::error!("the disk is full: the store's reserve is used");
        if let Err(e) = r.free() {
            tracing::error!(error = %e, "the reserve cannot be given back");
        }
        true
    }

    /// One write transaction. After a fault the file is opened again; the transaction may have taken place all the same,
    /// which is then success.
    fn transact<T>(&self, w: &mut Writer, mark: Option<u64>, f: impl Fn(&WriteTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut made = None;
        let next = w.commits + 1;
        let done = guarded(|| {
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            let db = db.as_ref().ok_or_else(closed)?;
            let mut tx = db.begin_write()?;
            tx.set_quick_repair(true);
            made = Some(f(&tx)?);
            tx.open_table(META)?.insert(COMMITS, next)?;
            Ok(tx.commit()?)
        });
        let e = match done {
            Ok(()) => {
                w.commits = next;
                return made.ok_or_else(closed);
            }
            Err(e) => e,
        };
        if e.is_fault() || matches!(e, StoreError::Damaged(_)) {
            self.close();
            w.doubt = Some((next, mark));
        }
        // Where the disk still fails, the next call finds out.
        if e.is_fault() && self.settle(w).is_ok() && w.commits >= next {
            w.landed = None;
            return made.ok_or(e);
        }
        Err(e)
    }

    /// Lets go of the file.
    fn close(&self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        // What it could not write is in doubt already.
        let _ = guarded(|| {
            drop(db);
            Ok(())
        });
    }

    /// Sees to it that the file is open and that nothing is in doubt.
    fn settle(&self, w: &mut Writer) -> Result<(), StoreError> {
        if self.db.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            let before = w.commits;
            let (db, found) = guarded(|| self.open_file(w.number))?;
            if found.commits < before {
                return Err(StoreError::Damaged(format!("it holds {} transactions of {before}", found.commits)));
            }
            *self.db.write().unwrap_or_else(PoisonError::into_inner) = Some(db);
            (w.commits, w.number) = (found.commits, found.number);
            self.mark.fetch_max(found.mark, Ordering::AcqRel);
            self.counts.lock().unwrap_or_else(PoisonError::into_inner).reopened += 1;
        }
        if let Some((commit, mark)) = w.doubt {
            if w.commits >= commit {
                // It is there; that it is durable is known when the next transaction is.
                let next = w.commits + 1;
                let confirmed = guarded(|| {
                    let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
                    let mut tx = db.as_ref().ok_or_else(closed)?.begin_write()?;
                    tx.set_quick_repair(true);
                    tx.open_table(META)?.insert(COMMITS, next)?;
                    Ok(tx.commit()?)
                });
                if let Err(e) = confirmed {
                    self.close();
                    return Err(e);
                }
                w.commits = next;
                if mark.is_some() {
                    w.landed = mark;
                }
            }
            w.doubt = None;
        }
        Ok(())
    }

    /// Opens the file and makes what is missing in it; a new one begins with the mark that is known, and with a line's number.
    fn open_file(&self, number_before: u64) -> Result<(Database, Found), StoreError> {
        let db = match &self.place {
            Place::Given(shared) => self.builder().create_with_backend(shared.clone())?,
            Place::Directory(dir) => {
                let path = dir.join(FILE);
                if !path.exists() {
                    self.make_file(dir, &path, number_before)?;
                }
                let file = OpenOptions::new().read(true).write(true).open(&path)?;
                self.builder().create_with_backend(FileBackend::new(file)?)?
            }
        };
        if !self.is_made(&db)? {
            self.make_tables(&db, number_before)?;
        }
        let tx = db.begin_read()?;
        let meta = tx.open_table(META)?;
        let found = Found { commits: number(&meta, COMMITS)?, number: number(&meta, NUMBER)?, mark: number(&meta, MARK)? };
        drop(meta);
        // Each table is there and of its type, and its first page can be read.
        for _ in [tx.open_table(ALERTS)?.len()?, tx.open_table(TIMES)?.len()?, tx.open_table(EVIDENCE)?.len()?, tx.open_table(OUTBOX)?.len()?] {}
        drop(tx);
        Ok((db, found))
    }

    fn builder(&self) -> redb::Builder {
        let mut builder = Database::builder();
        builder.set_cache_size(self.options.cache);
        builder
    }

    /// Makes the file beside its place and renames it: a crash in between leaves no half a store.
    fn make_file(&self, dir: &Path, path: &Path, number_before: u64) -> Result<(), StoreError> {
        let new = path.with_extension("redb.new");
        if new.exists() {
            std::fs::remove_file(&new)?;
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
        let db = self.builder().create_with_backend(FileBackend::new(file)?)?;
        self.make_tables(&db, number_before)?;
        db.close()?;
        std::fs::rename(&new, path)?;
        Ok(File::open(dir)?.sync_all()?)
    }

    fn make_tables(&self, db: &Database, number_before: u64) -> Result<(), StoreError> {
        let mut tx = db.begin_write()?;
        tx.set_quick_repair(true);
        make(&tx, &self.options, self.mark(), number_before)?;
        Ok(tx.commit()?)
    }

    /// Whether the file has its tables and just these sinks.
    fn is_made(&self, db: &Database) -> Result<bool, StoreError> {
        let tx = db.begin_read()?;
        let meta = match tx.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(false),
            meta => meta?,
        };
        match number(&meta, LAYOUT)? {
            VERSION => {}
            v if v > VERSION => return Err(StoreError::Later(v)),
            v => return Err(StoreError::Damaged(format!("it has the layout {v}"))),
        }
        let mut sinks = Vec::new();
        for sink in tx.open_table(SINKS)?.iter()? {
            sinks.push(sink?.0.value().to_owned());
        }
        let mut named = self.options.sinks.clone();
        named.sort();
        named.dedup();
        Ok(sinks == named)
    }

    /// Moves a damaged file aside and begins another, with the mark and the numbers that are known.
    fn replace(&self, w: &mut Writer, why: &str) -> Result<PathBuf, StoreError> {
        let Place::Directory(dir) = &self.place else { return Err(StoreError::Damaged(why.to_owned())) };
        self.close();
        let seconds = crate::clock::now().0 / crate::event::time::SECOND;
        let path = dir.join(FILE);
        let mut aside = dir.join(format!("{FILE}.damaged-{seconds}"));
        for n in 1.. {
            if !aside.exists() {
                break;
            }
            aside = dir.join(format!("{FILE}.damaged-{seconds}-{n}"));
        }
        std::fs::rename(&path, &aside)?;
        tracing::error!(
            why,
            moved_to = %aside.display(),
            mark = self.mark(),
            "the store is damaged: a new one is begun, without the alerts and the outbox of the old"
        );
        *w = Writer { number: w.number, ..Writer::default() };
        self.settle(w)?;
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).damaged += 1;
        Ok(aside)
    }

    /// Reads; after a fault the file is opened again and it is tried once more.
    fn read<T>(&self, f: impl Fn(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.read_once(&f) {
            Err(e) if e.is_fault() => {
                let mut w = self.lock();
                self.close();
                self.settle(&mut w)?;
                self.read_once(&f)
            }
            r => r,
        }
    }

    fn read_once<T>(&self, f: impl Fn(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        guarded(|| {
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            f(&db.as_ref().ok_or_else(closed)?.begin_read()?)
        })
    }
}

/// What a file says of itself.
struct Found {
    commits: u64,
    number: u64,
    mark: u64,
}

/// Makes the tables that are missing, and the outboxes as they are configured.
fn make(tx: &WriteTransaction, options: &Options, mark: u64, number_before: u64) -> Result<(), StoreError> {
    tx.open_table(ALERTS)?;
    tx.open_table(TIMES)?;
    tx.open_table(EVIDENCE)?;
    tx.open_table(RULES)?;
    tx.open_table(RULE_NAMES)?;
    let mut meta = tx.open_table(META)?;
    meta.insert(LAYOUT, VERSION)?;
    let last = number(&meta, NUMBER)?.max(number_before);
    meta.insert(NUMBER, last)?;
    let mark = number(&meta, MARK)?.max(mark);
    meta.insert(MARK, mark)?;
    let mut sinks = tx.open_table(SINKS)?;
    let mut before = BTreeMap::new();
    for sink in sinks.iter()? {
        let (name, n) = sink?;
        before.insert(name.value().to_owned(), n.value());
    }
    for gone in before.keys().filter(|s| !options.sinks.contains(s)) {
        sinks.remove(gone.as_str())?;
    }
    for new in options.sinks.iter().filter(|s| !before.contains_key(*s)) {
        sinks.insert(new.as_str(), last)?;
    }
    write::clear_outbox(&mut meta, &sinks, &mut tx.open_table(OUTBOX)?)
}

fn closed() -> StoreError {
    StoreError::Io(std::io::Error::other("the file is not open after an earlier error"))
}

/// Calls the library, which may panic over a damaged file.
fn guarded<T>(f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(StoreError::Damaged("what is in it contradicts itself".into())))
}
