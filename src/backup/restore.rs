//! Putting a backup in place.

use super::copy;
use super::manifest::{FILE, Manifest};
use super::{BackupError, FOLDERS, STORE, at};
use rustix::fs::statvfs;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Where files stand until all of them are there and are right.
const ASIDE: &str = "restoring";
/// Where they stand then, while one after the other takes its place; the backup's description is with them.
const READY: &str = "restored";

/// Whether a restore into a data directory was begun and not finished: nothing may start there.
pub fn is_unfinished(data: &Path) -> bool {
    [ASIDE, READY].into_iter().any(|d| data.join(d).exists())
}

/// Puts the backup in `from` into a data directory that is empty or not there yet. Every file is compared with its checksum before
/// anything stands in its place; of one that fails nothing is left. Files are copied, so that nothing that happens to them changes
/// the backup. One that was killed is begun anew, or finished where all was there already.
pub fn restore(from: &Path, data: &Path) -> Result<Manifest, BackupError> {
    let m = Manifest::read(from)?;
    let ready = data.join(READY);
    if ready.exists() {
        if fs::read(ready.join(FILE)).ok() != fs::read(from.join(FILE)).ok() {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
        return finish(data, &ready).map(|()| m);
    }
    let new = !data.exists();
    copy::folder(data).map_err(at(data))?;
    let aside = data.join(ASIDE);
    for e in fs::read_dir(data).map_err(at(data))? {
        // That of a restore that was killed is made anew.
        if e.map_err(at(data))?.path() != aside {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
    }
    let done = room(&m, data).and_then(|()| put(&m, from, &aside));
    if done.is_err() {
        let _ = fs::remove_dir_all(&aside);
        if new {
            let _ = fs::remove_dir(data);
        }
    }
    done?;
    fs::rename(&aside, &ready).and_then(|()| File::open(data)?.sync_all()).map_err(at(data))?;
    finish(data, &ready).map(|()| m)
}

/// Gives each file its place.
fn finish(data: &Path, ready: &Path) -> Result<(), BackupError> {
    for name in [STORE].into_iter().chain(FOLDERS.iter().map(|f| f.0)) {
        match fs::rename(ready.join(name), data.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&data.join(name))(e)),
            _ => {}
        }
    }
    File::open(data).and_then(|d| d.sync_all()).map_err(at(data))?;
    fs::remove_dir_all(ready).map_err(at(ready))?;
    File::open(data).and_then(|d| d.sync_all()).map_err(at(data))
}

fn room(m: &Manifest, data: &Path) -> Result<(), BackupError> {
    let s = statvfs(data).map_err(io::Error::from).map_err(at(data))?;
    let (needed, free) = (m.bytes(), s.f_bavail.saturating_mul(s.f_frsize));
    if needed > free { Err(BackupError::Room { path: data.to_owned(), needed, free }) } else { Ok(()) }
}

fn put(m: &Manifest, from: &Path, aside: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(aside)(e)),
        _ => {}
    }
    copy::folder(aside).map_err(at(aside))?;
    for (name, sum) in &m.files {
        let (source, to) = (from.join(name), aside.join(name));
        let damaged = |what: &str| BackupError::Damaged(format!("{name} {what}"));
        if let Some(dir) = to.parent() {
            copy::folder(dir).map_err(at(dir))?;
        }
        match fs::symlink_metadata(&source) {
            Ok(s) if !s.is_file() => return Err(damaged("is no file")),
            Ok(s) if s.len() != sum.0 => return Err(damaged("has another length")),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged("is missing")),
            Err(e) => return Err(at(&source)(e)),
        }
        let mut file = File::open(&source).map_err(at(&source))?;
        if copy::write_new(&to, &mut file, &|| Ok(())).map_err(at(&to))? != *sum {
            return Err(damaged("is not what was written"));
        }
    }
    fs::copy(from.join(FILE), aside.join(FILE)).and_then(|_| File::open(aside.join(FILE))?.sync_all()).map_err(at(aside))?;
    sync(aside).map_err(at(aside))
}

/// Makes durable which names a folder has, and those in it.
fn sync(dir: &Path) -> io::Result<()> {
    for e in fs::read_dir(dir)? {
        let path = e?.path();
        if path.is_dir() {
            sync(&path)?;
        }
    }
    File::open(dir)?.sync_all()
}
