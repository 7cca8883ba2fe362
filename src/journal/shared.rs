//! What the writer, the readers and the keeper share: the list of segments, and what is known of the newest entry.

use super::Options;
use super::segment::{Cache, Segment, hold};
use crate::disk::{Disk, Lock};
use crate::event::Timestamp;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Shared by all of a journal. No lock in it is held over an operation of the disk, but that of whoever renames or removes.
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub options: Options,
    pub seed: u64,
    pub cache: Arc<Cache>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    keeping: Mutex<()>,
    sealing: Mutex<()>,
    /// Whether a removal may not be durable.
    removed: AtomicBool,
    held: AtomicU64,
    last: AtomicU64,
    next_seq: AtomicU64,
    latest: AtomicI64,
    _lock: Box<dyn Lock>,
}

impl Shared {
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
        seed: u64,
        cache: Arc<Cache>,
        lock: Box<dyn Lock>,
        segments: Vec<Arc<Segment>>,
    ) -> Shared {
        Shared {
            disk,
            dir,
            options,
            seed,
            cache,
            segments: RwLock::new(Arc::new(segments)),
            keeping: Mutex::default(),
            sealing: Mutex::default(),
            removed: AtomicBool::new(false),
            held: AtomicU64::new(0),
            last: AtomicU64::new(0),
            next_seq: AtomicU64::new(1),
            latest: AtomicI64::new(i64::MIN),
            _lock: lock,
        }
    }

    /// The file of the segment that begins with this entry.
    pub fn path(&self, lsn: u64, kind: &str) -> PathBuf {
        self.dir.join(format!("{lsn:020}{kind}"))
    }

    /// The segments, the oldest first.
    pub fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, f: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut all = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        f(Arc::make_mut(&mut all));
    }

    /// Adds the newest segment.
    pub fn add(&self, s: Arc<Segment>) {
        self.change(|all| {
            all.retain(|o| o.first.lsn != s.first.lsn);
            if let Some(last) = all.last().filter(|l| l.limit().0 > s.first.lsn) {
                last.set_limit(s.first.lsn, s.first.seq);
                last.forget_points(s.first.lsn);
            }
            all.push(s);
        });
    }

    /// Puts a segment in another's place.
    pub fn replace(&self, old: &Arc<Segment>, new: Arc<Segment>) {
        self.change(|all| all.iter_mut().filter(|s| Arc::ptr_eq(s, old)).for_each(|s| *s = new.clone()));
    }

    /// Whether a segment is in the list.
    pub fn has(&self, s: &Arc<Segment>) -> bool {
        self.segments().iter().any(|o| Arc::ptr_eq(o, s))
    }

    /// Whoever renames or removes a segment's file holds this meanwhile.
    pub fn keep(&self) -> MutexGuard<'_, ()> {
        hold(&self.keeping)
    }

    /// One segment is sealed at a time.
    pub fn sealing(&self) -> MutexGuard<'_, ()> {
        hold(&self.sealing)
    }

    /// Nothing from this entry on may be deleted.
    pub fn set_held(&self, lsn: u64) {
        self.held.store(lsn, Ordering::Release);
    }

    /// Entries have been written: the last one, the record that comes next, and the time of the last entry that has one.
    pub fn written(&self, last: u64, next_seq: u64, latest: Option<Timestamp>) {
        self.latest.store(latest.map_or(i64::MIN, |t| t.0), Ordering::Release);
        self.next_seq.store(next_seq, Ordering::Release);
        self.last.store(last, Ordering::Release);
    }

    /// The last entry that has been written.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// The record that comes next.
    pub fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    /// Whether the oldest segment has to go by size or age.
    pub fn over(&self) -> bool {
        let all = self.segments();
        if all.iter().map(|s| s.stored()).sum::<u64>() > self.options.max_bytes {
            return true;
        }
        let latest = self.latest.load(Ordering::Acquire);
        // All entries of a segment are as old as what the next one knows of them, or older.
        let newest = all.get(1).and_then(|s| s.first.before);
        self.options.max_age.zip(newest).is_some_and(|(age, t)| latest != i64::MIN && latest.saturating_sub(t.0) > age.0)
    }

    /// Whether the oldest segment stays for no other reason than that entries from it on are still needed.
    pub fn waits(&self) -> bool {
        let all = self.segments();
        let left = all.iter().skip(1).map(|s| s.stored()).sum::<u64>();
        all.get(1).is_some_and(|second| second.first.lsn > self.held.load(Ordering::Acquire) && left >= self.options.floor_bytes)
    }

    /// Deletes the oldest segment, if it may go. Each removal is durable before the next, so that what is left has no hole.
    pub fn delete_oldest(&self) -> io::Result<bool> {
        let _keeping = self.keep();
        let all = self.segments();
        let (Some(first), Some(second)) = (all.first(), all.get(1)) else { return Ok(false) };
        let left = all.iter().skip(1).map(|s| s.stored()).sum::<u64>();
        if second.first.lsn > self.held.load(Ordering::Acquire) || left < self.options.floor_bytes {
            return Ok(false);
        }
        if self.removed.load(Ordering::Acquire) {
            self.disk.sync_dir(&self.dir)?;
        }
        self.removed.store(true, Ordering::Release);
        // Sealing that failed halfway may have left the other form.
        let other = if first.is_raw() { ".seal" } else { ".log" };
        gone(self.disk.remove(&self.path(first.first.lsn, other)))?;
        gone(self.disk.remove(&first.path))?;
        self.change(|all| all.retain(|s| !Arc::ptr_eq(s, first)));
        self.disk.sync_dir(&self.dir)?;
        self.removed.store(false, Ordering::Release);
        Ok(true)
    }
}

/// A file that is not there need not be removed.
pub(super) fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
