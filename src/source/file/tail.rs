//! One open file: what has been read of it, and how far.

use super::content::{Content, Packing, read_full_at};
use super::head::{HEAD, hash};
use super::past::{ALL, Inode};
use crate::clock;
use crate::event::Timestamp;
use crate::journal::FilePosition;
use crate::pipeline::Stream;
use crate::source::frame::Framer;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// So many of the last bytes that were read are looked at again, to see whether the file is still the same.
const LAST: usize = 64;

/// Where a file stands among those of its stream: first those that rotation has renamed, the oldest first.
pub type Order = (bool, Timestamp, i64);

/// An open file.
pub struct Tail {
    pub stream: Arc<Stream>,
    pub content: Content,
    pub inode: Inode,
    /// Its first bytes, and their hash.
    head: Vec<u8>,
    hash: [u8; 16],
    /// The last bytes before `offset`.
    last: Vec<u8>,
    /// Where the framer began, and how many of the records that it cuts from there have been taken before.
    base: u64,
    skip: u64,
    /// How many of these are still to be dropped.
    pub left: u64,
    /// Read so far.
    pub offset: u64,
    /// Length when last looked at.
    pub size: u64,
    /// When it was last written.
    pub written: Timestamp,
    pub framer: Framer,
    pub order: Order,
    /// When bytes were last fed to the framer; `None` if open records have been ended since.
    pub fed: Option<Instant>,
    /// It could not be read; the next look tries again.
    pub failed: bool,
    /// Whether that has been told.
    pub complained: bool,
    /// The end of a compressed file has been reached.
    pub whole: bool,
    /// Since when a compressed file could not be decompressed any further.
    pub broken: Option<Instant>,
    /// Whether the engine waits for it.
    pub behind: bool,
    /// Since when it is not the one that its writer writes to, or was last seen to grow after that.
    pub retired: Option<Instant>,
    /// Chunks that the engine has not taken yet.
    pub flying: Vec<oneshot::Receiver<()>>,
}

impl Tail {
    /// A file that is read from its beginning, or from a position on.
    pub fn new(
        stream: Arc<Stream>,
        content: Content,
        m: &Metadata,
        head: Vec<u8>,
        from: Option<&FilePosition>,
        framer: Framer,
        order: Order,
    ) -> Tail {
        let (base, skip) = from.map_or((0, 0), |p| (p.offset, p.skip));
        let mut last = Vec::new();
        if content.packing == Packing::Plain && base > 0 {
            last = vec![0; LAST.min(base as usize)];
            // What cannot be read now differs from what is read next time, which then shows.
            let at = base - last.len() as u64;
            let _ = read_full_at(&content.file, &mut last, at);
        }
        Tail {
            stream,
            content,
            inode: (m.dev(), m.ino()),
            hash: hash(&head),
            head,
            last,
            base,
            skip,
            left: skip,
            offset: base,
            size: m.len(),
            written: written(m),
            framer,
            order,
            fed: None,
            failed: false,
            complained: false,
            whole: false,
            broken: None,
            behind: false,
            retired: None,
            flying: Vec::new(),
        }
    }

    /// Begins at its beginning again, since it has been emptied.
    pub fn restart(&mut self, framer: Framer) {
        (self.base, self.skip, self.left, self.offset) = (0, 0, 0, 0);
        (self.fed, self.framer) = (None, framer);
        self.head.clear();
        self.hash = hash(&[]);
        self.last.clear();
    }

    /// Its first bytes, as far as there were any when it was opened or read.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Where reading goes on behind the records that have been cut.
    pub fn position(&self) -> FilePosition {
        let (offset, cut) = self.framer.resume();
        FilePosition {
            source: self.stream.source.name.as_str().into(),
            path: self.stream.name.as_str().into(),
            inode: self.inode,
            head_len: self.head.len() as u32,
            head: self.hash,
            offset: if self.whole { ALL } else { self.base + offset },
            skip: if offset > 0 { cut } else { cut.max(self.skip) },
        }
    }

    /// Whether the file still is what has been read of it, and has so many bytes; true of compressed ones.
    pub fn is_same(&self, len: u64) -> bool {
        if self.content.packing != Packing::Plain {
            return true;
        }
        let holds = |want: &[u8], at: u64| {
            let mut now = [0; HEAD];
            let now = &mut now[..want.len()];
            // Where it cannot be read, reading will say so.
            read_full_at(&self.content.file, now, at).map_or(true, |n| n == want.len() && now == want)
        };
        self.content.file.metadata().map_or(true, |m| m.len() >= len)
            && holds(&self.head, 0)
            && holds(&self.last, self.offset.saturating_sub(self.last.len() as u64))
    }

    /// Takes note of how the file begins, if it was empty until now and nothing has been read of it; whether that is so.
    pub fn begins(&mut self) -> bool {
        if !self.head.is_empty() || self.offset > 0 || self.content.packing != Packing::Plain {
            return false;
        }
        self.head = self.content.head();
        self.hash = hash(&self.head);
        !self.head.is_empty()
    }

    /// Takes note of bytes that were read at `offset`.
    pub fn read(&mut self, bytes: &[u8]) {
        if self.head.len() < HEAD {
            // Some may have been seen before they were read.
            let at = (self.head.len() as u64).saturating_sub(self.offset) as usize;
            let new = bytes.get(at..).unwrap_or_default();
            self.head.extend_from_slice(&new[..new.len().min(HEAD - self.head.len())]);
            self.hash = hash(&self.head);
        }
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(LAST)..]);
        self.last.drain(..self.last.len().saturating_sub(LAST));
        self.offset += bytes.len() as u64;
        self.complained = false;
        self.fed = Some(clock::monotonic());
    }

    /// Whether there is something to read now.
    pub fn has_more(&self) -> bool {
        match self.content.packing {
            Packing::Plain => self.offset < self.size && !self.failed,
            _ => !self.whole && self.broken.is_none() && !self.failed,
        }
    }

    /// Bytes that have not been read.
    pub fn lag(&self) -> u64 {
        match self.content.packing {
            Packing::Plain => self.size.saturating_sub(self.offset),
            _ if self.whole => 0,
            _ => self.content.packed_rest(self.size),
        }
    }
}

/// When a file was last written.
pub fn written(m: &Metadata) -> Timestamp {
    m.modified().map_or_else(|_| clock::now(), clock::at)
}
