//! Folders of slices, and how Tantivy writes into one: every file is hashed as it is written, and nothing counts before it is published.
//!
//! Operations pass the named moments of [`crash`], so that trials can end or refuse each of them.

use crate::disk::crash;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, TerminatingWrite, WatchCallback, WatchHandle, WritePtr};
use xxhash_rust::xxh3::Xxh3;

/// What a folder begins with in which a slice is being built.
pub(super) const BUILDING: &str = "building-";
/// What Tantivy writes is handed on in pieces of this size.
const BUFFER: usize = 128 << 10;

/// A slice is published under so many names at most, see [`publish`].
const PLACES: u32 = 16;

/// The name of the folder of a slice.
pub(super) fn name(lsns: &RangeInclusive<u64>) -> String {
    format!("{:020}-{:020}", lsns.start(), lsns.end())
}

/// The entries that a slice of this name covers; of several for the same entries all but one have a number behind it.
pub(super) fn lsns(name: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = name.split_once('-')?;
    let last = match last.split_once('.') {
        Some((last, n)) => n.parse().ok().filter(|n| (1..PLACES).contains(n)).map(|_| last)?,
        None => last,
    };
    let number = |s: &str| if s.len() == 20 && s.bytes().all(|b| b.is_ascii_digit()) { s.parse::<u64>().ok() } else { None };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

/// Whether a folder of this name is a slice's.
pub fn is_slice(name: &str) -> bool {
    lsns(name).is_some()
}

/// Length and hash of a file.
pub(super) type Sum = (u64, u128);

/// The sum of what a file holds.
pub(super) fn sum(path: &Path) -> io::Result<Sum> {
    let mut to = Summing { len: 0, hash: Xxh3::new() };
    io::copy(&mut File::open(path)?, &mut to)?;
    Ok((to.len, to.hash.digest128()))
}

struct Summing {
    len: u64,
    hash: Xxh3,
}

impl Write for Summing {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.len += b.len() as u64;
        self.hash.update(b);
        Ok(b.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A new folder, open to its owner alone; it is no error if it is there.
pub(super) fn create(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        done => done,
    }
}

/// Makes durable which names a folder has.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    crash::around("index_sync_dir", || File::open(dir)?.sync_all())
}

/// Gives a folder another name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    crash::around("index_rename", || fs::rename(from, to))
}

/// Gives the folder of a slice its name; where it is. What has the name already and cannot be replaced is nothing of ours, or could not
/// be moved away: then it gets a number behind it, so that whatever lies there does not keep a slice from being published.
pub(super) fn publish(from: &Path, root: &Path, lsns: &RangeInclusive<u64>) -> io::Result<PathBuf> {
    let name = name(lsns);
    let mut taken = io::ErrorKind::AlreadyExists.into();
    for n in 0..PLACES {
        let to = root.join(if n == 0 { name.clone() } else { format!("{name}.{n}") });
        match rename(from, &to) {
            Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory) => taken = e,
            done => return done.map(|()| to),
        }
    }
    Err(taken)
}

/// Removes a folder and what is in it, or a file of its name, if it is there.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    let removed = crash::around("index_remove", || match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => fs::remove_file(dir),
        done => done,
    });
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Puts a small file in place of what has its name.
pub(super) fn put(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    let mut f = crash::around("index_create", || open.open(&new))?;
    crash::around("index_write", || f.write_all(bytes))?;
    crash::around("index_sync", || f.sync_all())?;
    rename(&new, &dir.join(name))?;
    sync(dir)
}

/// A folder in which a slice is built. Clones are the same folder.
#[derive(Clone)]
pub(super) struct Folder {
    dir: PathBuf,
    read: MmapDirectory,
    sums: Arc<Mutex<BTreeMap<String, Sum>>>,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folder({})", self.dir.display())
    }
}

impl Folder {
    /// An empty folder in place of what is there under that name. Once `stop` is set, every write fails.
    pub fn new(dir: PathBuf, stop: Arc<AtomicBool>) -> io::Result<Folder> {
        remove(&dir)?;
        create(&dir)?;
        let read = MmapDirectory::open(&dir).map_err(io::Error::other)?;
        Ok(Folder { dir, read, sums: Arc::default(), stop })
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What has been written so far, by name.
    pub fn sums(&self) -> BTreeMap<String, Sum> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn file(&self, name: &Path) -> io::Result<Hashed> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(STOPPED));
        }
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(true).mode(0o600);
        let file = crash::around("index_create", || open.open(self.dir.join(name)))?;
        let name = name.to_string_lossy().into_owned();
        Ok(Hashed { file, name, sum: Summing { len: 0, hash: Xxh3::new() }, folder: self.clone() })
    }

    /// Writes a whole file.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut f = self.file(Path::new(name))?;
        f.write_all(bytes)?;
        f.done();
        Ok(())
    }

    /// Writes a file piece by piece, so that it is not in memory as a whole.
    pub fn stream(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut to = BufWriter::with_capacity(BUFFER, self.file(Path::new(name))?);
        write(&mut to)?;
        to.flush()?;
        to.get_mut().done();
        Ok(())
    }

    /// Makes all of it durable.
    pub fn settle(&self) -> io::Result<()> {
        for name in self.sums().keys() {
            crash::around("index_sync", || File::open(self.dir.join(name))?.sync_all())?;
        }
        sync(&self.dir)
    }
}

const STOPPED: &str = "the index is being closed";

/// A file that is hashed as it is written.
struct Hashed {
    file: File,
    name: String,
    sum: Summing,
    folder: Folder,
}

impl Hashed {
    fn done(&mut self) {
        let sum = (self.sum.len, self.sum.hash.digest128());
        self.folder.sums.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name.clone(), sum);
    }
}

impl Write for Hashed {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        if self.folder.stop.load(Ordering::Relaxed) {
            // Not of the kind that is tried again.
            return Err(io::Error::other(STOPPED));
        }
        let n = crash::around("index_write", || self.file.write(b))?;
        self.sum.write(&b[..n])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gathers small writes in front of a file.
struct Gathered(BufWriter<Hashed>);

impl Write for Gathered {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.0.write(b)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for Gathered {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.flush()?;
        self.0.get_mut().done();
        Ok(())
    }
}

impl Directory for Folder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.read.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.read.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.read.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let wrong = |io_error| OpenWriteError::IoError { io_error: Arc::new(io_error), filepath: path.to_owned() };
        let gathered = Gathered(BufWriter::with_capacity(BUFFER, self.file(path).map_err(wrong)?));
        Ok(BufWriter::new(Box::new(gathered)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.read.atomic_read(path)
    }

    /// The whole folder appears at once, so its files need not.
    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.put(&path.to_string_lossy(), data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nobody else knows of the folder.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
