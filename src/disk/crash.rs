//! Named moments at which a debug build can be told to end as if it had been killed, or an operation to fail: the trials of the
//! delivery contract use them, a release build has none.
//!
//! `VIGILD_CRASH=sync:before:12` ends the process before its 12th [`DiskFile::sync_data`]; so for `write`, `create`,
//! `rename`, `remove` and `sync_dir`, `commit` for the store's transactions, and `index_write` and the like for the index. `VIGILD_FAIL=sync:12:EIO` has the 12th
//! fail, once and without having been done, with `EIO` or `ENOSPC`. With `VIGILD_CRASH_FROM=PATH` nothing is counted before
//! there is a file of that name: so a trial chooses what has begun by then.

use super::{Disk, DiskFile, Lock};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// One operation, counted down to.
struct Moment {
    operation: String,
    then: Then,
    left: AtomicU64,
}

/// What happens at it.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    EndBefore,
    EndAfter,
    Fail(rustix::io::Errno),
}

fn parse(crash: Option<&str>, fail: Option<&str>) -> Vec<Moment> {
    let moment = |operation: &str, then, n: &str| Some(Moment { operation: operation.to_owned(), then, left: AtomicU64::new(n.parse().ok()?) });
    let parts = |text: Option<&str>| {
        let mut parts = text?.split(':').map(str::to_owned);
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    let end = parts(crash).and_then(|(operation, when, n)| moment(&operation, if when == "before" { Then::EndBefore } else { Then::EndAfter }, &n));
    let fail = parts(fail).and_then(|(operation, n, error)| {
        let error = if error == "ENOSPC" { rustix::io::Errno::NOSPC } else { rustix::io::Errno::IO };
        moment(&operation, Then::Fail(error), &n)
    });
    end.into_iter().chain(fail).collect()
}

#[allow(clippy::disallowed_methods)] // Set by trials alone, never by an operator.
fn moments() -> &'static [Moment] {
    static MOMENTS: OnceLock<Vec<Moment>> = OnceLock::new();
    MOMENTS.get_or_init(|| {
        let var = |name| if cfg!(debug_assertions) { std::env::var(name).ok() } else { None };
        parse(var("VIGILD_CRASH").as_deref(), var("VIGILD_FAIL").as_deref())
    })
}

/// Whether operations are counted by now.
#[allow(clippy::disallowed_methods)] // As above.
fn has_begun() -> bool {
    static FROM: OnceLock<Option<PathBuf>> = OnceLock::new();
    FROM.get_or_init(|| std::env::var_os("VIGILD_CRASH_FROM").map(PathBuf::from)).as_ref().is_none_or(|p| p.exists())
}

/// Whether this is the moment, which comes once.
fn is_due(m: &Moment, operation: &str, then: impl Fn(Then) -> bool) -> bool {
    m.operation == operation && then(m.then) && has_begun() && m.left.fetch_sub(1, Ordering::Relaxed) == 1
}

fn pass(operation: &str, then: Then) {
    if moments().iter().any(|m| is_due(m, operation, |t| t == then)) {
        std::process::abort();
    }
}

/// Does something between the moments of an operation, unless it is to fail.
pub fn around<T, E: From<io::Error>>(operation: &str, f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    pass(operation, Then::EndBefore);
    for m in moments() {
        if let Then::Fail(error) = m.then
            && is_due(m, operation, |t| t == m.then)
        {
            tracing::warn!(operation, %error, "made to fail");
            return Err(io::Error::from(error).into());
        }
    }
    let r = f();
    pass(operation, Then::EndAfter);
    r
}

/// The disk to use: the real one, with the moments around its operations if one was asked for.
pub fn disk() -> Arc<dyn Disk> {
    if moments().is_empty() { Arc::new(super::Real) } else { Arc::new(Watched) }
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
