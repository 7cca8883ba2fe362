//! A copy of all that a daemon keeps, made while it runs or where it has stopped, and put in place again.
//!
//! What is copied first may be older than what is copied last, so the order is that in which one rests on the other, backwards:
//! engine's states, store, index, journal. The copy then has a journal that reaches at least as far as all else, which is what a
//! crash leaves; the next start replays the rest. Segments that the states need are held open from the beginning, so that they are
//! there even if they are deleted meanwhile. The list of files with their checksums is written last: without it there is no backup.

mod copy;
mod make;
mod manifest;
mod restore;

pub use make::{Ground, Options, make};
pub use manifest::{FILE, Manifest, VERSION};
pub use restore::{is_unfinished, restore};

use crate::store::StoreError;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no backup, or why it is not put in place.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder has something in it.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// The copy would lie in what is copied.
    #[error("{} lies in the data directory", .0.display())]
    Inside(PathBuf),
    /// There is too little room for it.
    #[error("it takes {needed} bytes, and {free} may be taken in {}", path.display())]
    Room {
        /// Where.
        path: PathBuf,
        /// How much it takes.
        needed: u64,
        /// How much there is, without what is to stay free.
        free: u64,
    },
    /// The list of files is not there: it was never finished.
    #[error("there is no whole backup in {}: {FILE} is missing", .0.display())]
    Unfinished(PathBuf),
    /// A later version of this program made it.
    #[error("the backup is of format {0}, this program reads up to format {VERSION}")]
    Later(u32),
    /// It is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// The journal let go of entries faster than they could be copied.
    #[error("the journal has let go of what was to be copied meanwhile: it is too small for what comes in")]
    Overtaken,
    /// The store.
    #[error("the store cannot be copied")]
    Store(#[source] StoreError),
    /// The disk.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// The disk's errors, with the place.
fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

/// The store's file, if it is copied under this name.
const STORE: &str = crate::store::FILE;
/// The folders of a data directory that are copied, each with folders of this depth in it.
const FOLDERS: [(&str, usize); 4] = [("snapshots", 0), ("bundles", 0), ("index", 1), ("journal", 0)];
