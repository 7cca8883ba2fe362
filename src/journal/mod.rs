//! The journal: everything that came in, in one order, durable.
//!
//! A folder of segments, each a file named by its first entry. Only the newest is written to; the others are sealed
//! (compressed in blocks) and in the end deleted, oldest first. A segment begins with the folded [`State`], so that opening
//! reads the newest alone. What [`Journal::sync`] has made durable is there after any crash, once and in its order; what had
//! not been made durable is there as a prefix of what was appended, without a gap.
//!
//! One thread writes ([`Journal`]), any number read ([`Reader`]) without waiting for it, one keeps house ([`Keeper`]).

mod entry;
mod frame;
mod header;
mod image;
mod keep;
mod open;
mod read;
mod seal;
mod segment;
mod shared;
mod state;
mod walk;
mod wire;
mod write;

pub use entry::{Entry, FilePosition, Mark, Records, What};
pub use image::{Part, Pinned};
pub use keep::Keeper;
pub use open::{Opened, Repair};
pub use read::{Address, Damage, Entries, Reader, Size, Why};
pub use state::{Answer, State};
pub use write::{Journal, Place, WriteError};

use crate::event::Span;
use std::io;
use std::path::PathBuf;

/// The limits of a journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment gets no further group of entries that would take it beyond this. One group may be longer.
    pub segment_bytes: u64,
    /// All segments together, on disk. Beyond it the oldest go.
    pub max_bytes: u64,
    /// Segments whose entries are all older than this, by the time of the newest entry, go.
    pub max_age: Option<Span>,
    /// What stays free on the file system: below it the oldest segments go, then nothing is written.
    pub min_free: u64,
    /// Deleting never leaves less than this.
    pub floor_bytes: u64,
    /// Length of a block of a sealed segment before compression. One frame may be longer.
    pub block_bytes: usize,
    /// How many idempotency keys are known.
    pub keys: usize,
    /// How long a key is known, as long as there are not more of them.
    pub key_age: Span,
    /// How many positions of files are known.
    pub files: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            max_bytes: 4 << 30,
            max_age: None,
            min_free: 2 << 30,
            floor_bytes: 256 << 20,
            block_bytes: 256 << 10,
            keys: 100_000,
            key_age: Span::seconds(24 * 3600),
            files: 20_000,
        }
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("the journal in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It was written by a later version of this program.
    #[error("{} is of version {version}, this program reads up to version {}", path.display(), header::VERSION)]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A segment belongs to another journal.
    #[error("{} belongs to another journal than the segments beside it", .0.display())]
    Foreign(PathBuf),
    /// There are segments, but nothing says which journal they belong to.
    #[error("no segment in {} has a readable header, nor is its identity readable: move them away to begin a new journal", .0.display())]
    Unreadable(PathBuf),
    /// The disk.
    #[error("cannot open the journal: {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}
