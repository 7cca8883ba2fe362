//! Making a backup.

use super::copy::{self, Sum};
use super::manifest::{FILE, Manifest, VERSION};
use super::{BackupError, FOLDERS, STORE, at};
use crate::event::Timestamp;
use crate::index::is_slice;
use crate::journal::Reader;
use crate::store::{GoOn, Store};
use rustix::fs::statvfs;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is copied.
pub struct Ground<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Its journal, held by whoever asks.
    pub reader: &'a Reader,
    /// Its store, where it is open; else nobody may write to its file.
    pub store: Option<&'a Store>,
    /// Set when nobody waits any longer.
    pub stop: &'a AtomicBool,
    /// The time.
    pub now: Timestamp,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the index is copied; it can be built from the journal.
    pub index: bool,
}

/// States are looked for so often where those that were listed have gone meanwhile.
const AGAIN: usize = 5;

/// Makes a backup in an empty or new folder. What is there of one that fails is removed.
///
/// Files of the journal and of the index that do not change any more are not copied but get a second name where the folder is on the
/// same file system.
pub fn make(ground: &Ground<'_>, to: &Path, options: &Options) -> Result<Manifest, BackupError> {
    let new = !to.exists();
    copy::folder(to).map_err(at(to))?;
    let made = checked(ground, to, options).and_then(|()| {
        let made = Making::new(ground, to).all(options);
        if made.is_err() {
            clear(to);
        }
        made
    });
    if made.is_err() && new {
        // It may hold what is not ours by now, and stays then.
        let _ = fs::remove_dir(to);
    }
    made
}

/// Removes what a backup makes.
fn clear(to: &Path) {
    for (folder, _) in FOLDERS {
        let _ = fs::remove_dir_all(to.join(folder));
    }
    for file in [STORE.to_owned(), FILE.to_owned(), format!("{FILE}.new")] {
        let _ = fs::remove_file(to.join(file));
    }
}

/// Whether there is a place, and room in it.
fn checked(ground: &Ground<'_>, to: &Path, options: &Options) -> Result<(), BackupError> {
    if fs::read_dir(to).map_err(at(to))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let (real, data) = (fs::canonicalize(to).map_err(at(to))?, fs::canonicalize(ground.data).map_err(at(ground.data))?);
    if real.starts_with(&data) {
        return Err(BackupError::Inside(to.to_owned()));
    }
    let same = fs::metadata(&real).map_err(at(to))?.dev() == fs::metadata(&data).map_err(at(&data))?.dev();
    let size = |name: &str| folder_bytes(&data.join(name));
    let journal = if same { ground.reader.raw_bytes() } else { ground.reader.size().bytes };
    let index = if options.index && !same { size("index") } else { 0 };
    let needed = journal + index + size("snapshots") + size("bundles") + fs::metadata(data.join(STORE)).map_or(0, |m| m.len());
    let s = statvfs(&real).map_err(io::Error::from).map_err(at(to))?;
    // What the daemon keeps free is not there for a copy of it.
    let free = s.f_bavail.saturating_mul(s.f_frsize).saturating_sub(if same { ground.reader.min_free() } else { 0 });
    if needed > free { Err(BackupError::Room { path: to.to_owned(), needed, free }) } else { Ok(()) }
}

/// Bytes of all files in a folder; what cannot be looked at counts for nothing.
fn folder_bytes(dir: &Path) -> u64 {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    all.map(|e| if e.path().is_dir() { folder_bytes(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}

struct Making<'a> {
    ground: &'a Ground<'a>,
    to: &'a Path,
    files: BTreeMap<String, Sum>,
}

impl<'a> Making<'a> {
    fn new(ground: &'a Ground<'a>, to: &'a Path) -> Making<'a> {
        Making { ground, to, files: BTreeMap::new() }
    }

    /// See [`super`] for the order.
    fn all(mut self, options: &Options) -> Result<Manifest, BackupError> {
        for (name, _) in FOLDERS.iter().filter(|(n, _)| *n != "index" || options.index) {
            let dir = self.to.join(name);
            copy::folder(&dir).map_err(at(&dir))?;
        }
        let pinned = self.ground.reader.pin();
        self.folder("bundles")?;
        self.states()?;
        self.store()?;
        if options.index {
            self.index()?;
        }
        let (first_lsn, last_lsn) = (pinned.first_lsn(), self.ground.reader.last());
        self.journal(&pinned)?;
        // The journal may name one by now that was not there before.
        self.folder("bundles")?;
        for dir in FOLDERS.iter().map(|f| self.to.join(f.0)).chain([self.to.to_owned()]).filter(|d| d.is_dir()) {
            File::open(&dir).and_then(|d| d.sync_all()).map_err(at(&dir))?;
        }
        let (made, program) = (self.ground.now.to_string(), env!("CARGO_PKG_VERSION").to_owned());
        let m = Manifest { format: VERSION, program, made, first_lsn, last_lsn, files: self.files };
        m.write(self.to)?;
        Ok(m)
    }

    fn go_on(stop: &AtomicBool) -> impl Fn() -> io::Result<()> + '_ {
        move || if stop.load(Ordering::Relaxed) { Err(io::Error::other("it was ended")) } else { Ok(()) }
    }

    /// Copies a file that may be gone; whether it was there.
    fn file(&mut self, name: &str, link: bool) -> Result<bool, BackupError> {
        if self.files.contains_key(name) {
            return Ok(true);
        }
        let (from, to) = (self.ground.data.join(name), self.to.join(name));
        let go_on = Making::go_on(self.ground.stop);
        let linked = if link { copy::link(&from, &to, &go_on).ok() } else { None };
        let sum = match linked {
            Some(sum) => sum,
            None => match File::open(&from) {
                Ok(mut f) => fresh(&to, &mut f, &go_on).map_err(at(&to))?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(at(&from)(e)),
            },
        };
        self.files.insert(name.to_owned(), sum);
        Ok(true)
    }

    /// The names in a folder of the data directory, but of files that are being written; none if it is not there.
    fn names(&self, folder: &str) -> Result<Vec<String>, BackupError> {
        let dir = self.ground.data.join(folder);
        let all = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            all => all.map_err(at(&dir))?,
        };
        let names = all.filter_map(|e| e.map(|e| e.file_name().into_string().ok()).transpose());
        let names: Vec<String> = names.collect::<io::Result<_>>().map_err(at(&dir))?;
        Ok(names.into_iter().filter(|n| !n.ends_with(".new") && !n.ends_with(".tmp")).collect())
    }

    /// Copies all files of a folder; how many there were, and how many are there.
    fn folder(&mut self, folder: &str) -> Result<(usize, usize), BackupError> {
        let names = self.names(folder)?;
        let mut copied = 0;
        for n in &names {
            copied += usize::from(self.file(&format!("{folder}/{n}"), false)?);
        }
        Ok((names.len(), copied))
    }

    /// At least one of the engine's states, where there are any.
    fn states(&mut self) -> Result<(), BackupError> {
        for _ in 0..AGAIN {
            let (there, copied) = self.folder("snapshots")?;
            if there == 0 || copied > 0 {
                break;
            }
        }
        Ok(())
    }

    fn store(&mut self) -> Result<(), BackupError> {
        let Some(store) = self.ground.store else { return self.file(STORE, false).map(drop) };
        let (to, go_on) = (self.to.join(STORE), Making::go_on(self.ground.stop));
        store.copy_to(&to, &go_on).map_err(BackupError::Store)?;
        let sum = copy::sum(&to, &go_on).map_err(at(&to))?;
        self.files.insert(STORE.to_owned(), sum);
        Ok(())
    }

    /// Slices do not change. One that has become part of another meanwhile is left out: it is built again.
    fn index(&mut self) -> Result<(), BackupError> {
        let names = self.names("index")?;
        let root = self.ground.data.join("index");
        for slice in names.iter().filter(|n| is_slice(n) && root.join(n).is_dir()) {
            let folder = format!("index/{slice}");
            let dir = self.to.join(&folder);
            copy::folder(&dir).map_err(at(&dir))?;
            let mut whole = true;
            for n in self.names(&folder)? {
                whole &= self.file(&format!("{folder}/{n}"), true)?;
            }
            if whole && self.ground.data.join(&folder).is_dir() {
                File::open(&dir).and_then(|d| d.sync_all()).map_err(at(&dir))?;
            } else {
                fs::remove_dir_all(&dir).map_err(at(&dir))?;
                self.files.retain(|n, _| !n.starts_with(&format!("{folder}/")));
            }
        }
        self.file("index/floor", false).map(drop)
    }

    fn journal(&mut self, pinned: &crate::journal::Pinned) -> Result<(), BackupError> {
        self.file("journal/identity", false)?;
        for part in self.ground.reader.image(pinned).ok_or(BackupError::Overtaken)? {
            let name = format!("journal/{}", part.name());
            let (to, go_on) = (self.to.join(&name), Making::go_on(self.ground.stop));
            let linked = part.settled().and_then(|from| copy::link(from, &to, &go_on).ok());
            let sum = match linked {
                Some(sum) => sum,
                None => fresh(&to, &mut part.bytes(), &go_on).map_err(at(&to))?,
            };
            self.files.insert(name, sum);
        }
        Ok(())
    }
}

/// Writes a new file, in place of one that an attempt to link has left.
fn fresh(to: &Path, from: &mut dyn io::Read, go_on: GoOn<'_>) -> io::Result<Sum> {
    match fs::remove_file(to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    copy::write_new(to, from, go_on)
}
