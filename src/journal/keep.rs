//! Sealing and deleting, on a thread of its own.

use super::seal::seal;
use super::shared::Shared;
use std::io;
use std::sync::Arc;

/// Keeps house: seals segments that are full, and deletes the oldest beyond the limits.
///
/// Nothing is deleted before [`Keeper::hold`] has said for the first time from where on entries are needed.
#[derive(Clone)]
pub struct Keeper {
    pub(super) shared: Arc<Shared>,
}

impl Keeper {
    /// Nothing from this entry on may be deleted; `u64::MAX` lets everything go.
    pub fn hold(&self, lsn: u64) {
        self.shared.set_held(lsn);
    }

    /// Deletes a segment or seals one; true if there was something to do. After an error the next call tries the same again; a segment
    /// that the disk does not give stays as it is, and is read as far as it can be.
    pub fn step(&mut self) -> io::Result<bool> {
        let o = &self.shared.options;
        if (self.shared.over() || self.shared.disk.free(&self.shared.dir)? < o.min_free) && self.shared.delete_oldest()? {
            return Ok(true);
        }
        let all = self.shared.segments();
        // The newest one is written to.
        let full = all.iter().rev().skip(1).rev().find(|s| s.is_raw());
        match full {
            Some(s) => seal(&self.shared, s).map(|()| true),
            None => Ok(false),
        }
    }
}
