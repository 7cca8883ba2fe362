//! Files behind a small interface: the journal's only way to the disk, so that tests can lose, tear and refuse writes.
//!
//! What is written is durable only after [`DiskFile::sync_data`]; that a file has a name, or no longer has it, only after
//! [`Disk::sync_dir`] of its folder. Whoever writes here assumes nothing about the order in which the rest reaches the disk.

pub mod crash;
mod real;
pub mod sim;

pub use real::Real;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// An open file, read and written at positions. It stays readable when its name has gone.
pub trait DiskFile: Send + Sync {
    /// Reads at most `to.len()` bytes from this offset; fewer, down to 0, only at the end of the file.
    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all bytes at this offset. After an error any part of them may have been written.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes content and length durable. After an error what was written since the last success may never become durable,
    /// even if a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A lock that lasts until it is dropped, or its process ends.
pub trait Lock: Send + Sync {}

/// A file system.
pub trait Disk: Send + Sync {
    /// A new file, readable by its owner alone; an error if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a folder, in no order; those that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name in the same folder, in place of what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// A new folder, open to its owner alone; it is no error if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes durable which names a folder has.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that we may still write below this folder.
    fn free(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the lock that this file stands for, which is made if it is not there; [`io::ErrorKind::WouldBlock`] if another has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}
