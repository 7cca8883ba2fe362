//! The journal's files as they stand at one moment, for a copy that can be opened like what a crash leaves.

use super::read::Reader;
use super::segment::Segment;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Segments that stay readable, even if they are sealed or deleted.
pub struct Pinned(Arc<Vec<Arc<Segment>>>);

impl Pinned {
    /// The first entry that is held.
    pub fn first_lsn(&self) -> u64 {
        self.0.first().map_or(1, |s| s.first.lsn)
    }
}

/// One file of the journal.
pub struct Part {
    segment: Arc<Segment>,
    len: u64,
}

impl Reader {
    /// Holds all segments that there are.
    pub fn pin(&self) -> Pinned {
        Pinned(self.shared.segments())
    }

    /// Files that make a journal of all that has been written by now, and that goes back as far as what is held. `None` where segments
    /// have come and gone since then, so that there is a gap.
    pub fn image(&self, pinned: &Pinned) -> Option<Vec<Part>> {
        let now = self.shared.segments();
        let first = now.first().map_or(u64::MAX, |s| s.first.lsn);
        let gone = pinned.0.iter().filter(|s| s.first.lsn < first);
        if gone.clone().next_back().is_some_and(|s| s.limit().0 < first) {
            return None;
        }
        let all = gone.chain(now.iter()).map(|s| Part { segment: s.clone(), len: s.stored() });
        Some(all.collect())
    }

    /// Bytes of the segments that are not sealed.
    pub fn raw_bytes(&self) -> u64 {
        self.shared.segments().iter().filter(|s| s.is_raw()).map(|s| s.stored()).sum()
    }

    /// What stays free on the file system.
    pub fn min_free(&self) -> u64 {
        self.shared.options.min_free
    }
}

impl Part {
    /// The file's name.
    pub fn name(&self) -> String {
        let kind = if self.segment.is_raw() { "log" } else { "seal" };
        format!("{:020}.{kind}", self.segment.first.lsn)
    }

    /// The file, where it is sealed, so that nothing is written to it any more. It may have gone.
    pub fn settled(&self) -> Option<&Path> {
        (!self.segment.is_raw()).then_some(self.segment.path.as_path())
    }

    /// What it holds, also when it has gone.
    pub fn bytes(&self) -> impl Read + '_ {
        Bytes { part: self, at: 0 }
    }
}

struct Bytes<'a> {
    part: &'a Part,
    at: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.part.len - self.at).unwrap_or(usize::MAX);
        let to_read = left.min(to.len());
        let n = self.part.segment.file.read_at(&mut to[..to_read], self.at)?;
        if n == 0 && to_read > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}
