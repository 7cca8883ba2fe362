//! Named moments at which a debug build can be told to end as if it had been killed: the trials of the delivery contract
//! use them, a release build has none.
//!
//! `VIGILD_CRASH=sync:before:12` ends the process before its 12th [`DiskFile::sync_data`]; so for `write`, `create`,
//! `rename`, `remove` and `sync_dir`, and `commit` for the store's transactions.

use super::{Disk, DiskFile, Lock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where to end.
struct Moment {
    operation: String,
    before: bool,
    left: AtomicU64,
}

static MOMENT: std::sync::OnceLock<Option<Moment>> = std::sync::OnceLock::new();

#[allow(clippy::disallowed_methods)] // Set by trials alone, never by an operator.
fn moment() -> &'static Option<Moment> {
    MOMENT.get_or_init(|| {
        let text = if cfg!(debug_assertions) { std::env::var("VIGILD_CRASH").ok()? } else { return None };
        let mut parts = text.split(':');
        let (operation, when, n) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        Some(Moment { operation: operation.to_owned(), before: when == "before", left: AtomicU64::new(n) })
    })
}

fn pass(operation: &str, before: bool) {
    let Some(m) = moment() else { return };
    if m.operation == operation && m.before == before && m.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}

/// Does something between the two moments of an operation.
pub fn around<T>(operation: &str, f: impl FnOnce() -> T) -> T {
    pass(operation, true);
    let r = f();
    pass(operation, false);
    r
}

/// The disk to use: the real one, with the moments around its operations if one was asked for.
pub fn disk() -> Arc<dyn Disk> {
    if moment().is_some() { Arc::new(Watched) } else { Arc::new(super::Real) }
}

struct Watched;
struct WatchedFile(Arc<dyn DiskFile>);

impl DiskFile for WatchedFile {
    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(to, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        around("write", || self.0.write_all_at(bytes, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        around("sync", || self.0.sync_data())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        around("write", || self.0.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

impl Disk for Watched {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        around("create", || Ok(Arc::new(WatchedFile(super::Real.create(path)?)) as Arc<dyn DiskFile>))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile(super::Real.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        super::Real.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        around("rename", || super::Real.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        around("remove", || super::Real.remove(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        super::Real.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        around("sync_dir", || super::Real.sync_dir(path))
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        super::Real.free(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        super::Real.lock(path)
    }
}
