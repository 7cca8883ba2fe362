//! One segment as it is read: raw or sealed, the same bytes at the same offsets.

use super::frame::Home;
use super::header::HEADER;
use super::seal::Block;
use crate::disk::DiskFile;
use crate::event::Timestamp;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How far points of a raw segment's index lie apart.
pub(super) const STRIDE: u64 = 64 << 10;
/// What is read of a raw segment at once.
const READ: u64 = 256 << 10;
/// Bytes of unpacked blocks that are kept for random access.
const CACHE: usize = 8 << 20;

/// A place to begin reading: a frame's, and what is known before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// Offset in the segment before compression.
    pub offset: u64,
    /// The entry there.
    pub lsn: u64,
    /// Its first record, or the next to come.
    pub seq: u64,
    /// The greatest time of all entries before it.
    pub before: Option<Timestamp>,
}

/// Bytes of a segment.
#[derive(Clone)]
pub(super) struct Piece {
    /// Their offset.
    pub start: u64,
    /// The bytes.
    pub bytes: Arc<Vec<u8>>,
}

/// Why bytes of a segment cannot be had.
pub(super) enum Broken {
    /// The disk says so.
    Io(io::Error),
    /// A block's checksum does not fit.
    Block,
}

/// Blocks unpacked lately, of all segments.
#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<(u64, Piece)>>);

/// A mutex that a panicking thread left is as good as any: nothing here is left half-done.
pub(super) fn hold<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    fn get(&self, segment: u64, start: u64) -> Option<Piece> {
        hold(&self.0).iter().find(|(s, p)| *s == segment && p.start == start).map(|(_, p)| p.clone())
    }

    fn put(&self, segment: u64, piece: Piece) {
        let mut all = hold(&self.0);
        all.push_front((segment, piece));
        let mut sum = 0;
        let fit = all.iter().take_while(|(_, p)| {
            sum += p.bytes.len();
            sum <= CACHE
        });
        let fit = fit.count();
        all.truncate(fit);
    }
}

/// How a segment's file holds its bytes.
pub(super) enum Form {
    /// As they were written.
    Raw,
    /// In compressed blocks.
    Sealed(Vec<Block>),
}

/// A segment.
pub(super) struct Segment {
    /// Where its frames belong.
    pub home: Home,
    /// Its file.
    pub path: PathBuf,
    /// The file, open.
    pub file: Arc<dyn DiskFile>,
    /// How the file holds the bytes.
    pub form: Form,
    /// Its first frame.
    pub first: Point,
    end: AtomicU64,
    limit: AtomicU64,
    limit_seq: AtomicU64,
    stored: AtomicU64,
    points: Mutex<Vec<Point>>,
    scanned: AtomicBool,
    /// The time of its first entry that has one, once it has been looked for.
    pub oldest: OnceLock<Timestamp>,
    cache: Arc<Cache>,
}

impl Segment {
    /// A segment that ends at this offset, the points of a raw one not known yet.
    pub fn new(home: Home, path: PathBuf, file: Arc<dyn DiskFile>, form: Form, first: Point, end: u64, cache: Arc<Cache>) -> Segment {
        Segment {
            home,
            path,
            file,
            scanned: AtomicBool::new(matches!(form, Form::Sealed(_))),
            form,
            first,
            end: AtomicU64::new(end),
            limit: AtomicU64::new(u64::MAX),
            limit_seq: AtomicU64::new(u64::MAX),
            stored: AtomicU64::new(end),
            points: Mutex::default(),
            oldest: OnceLock::new(),
            cache,
        }
    }

    /// The offset behind its last byte.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The first lsn, and seq, that is not in it.
    pub fn limit(&self) -> (u64, u64) {
        // The seq is stored before the lsn.
        let lsn = self.limit.load(Ordering::Acquire);
        (lsn, self.limit_seq.load(Ordering::Acquire))
    }

    /// Says where it ends.
    pub fn set_limit(&self, lsn: u64, seq: u64) {
        self.limit_seq.store(seq, Ordering::Release);
        self.limit.store(lsn, Ordering::Release);
    }

    /// Entries have been added: first where they end, then that they are there.
    pub fn grow(&self, end: u64, lsn: u64, seq: u64) {
        self.end.store(end, Ordering::Release);
        self.stored.store(end, Ordering::Release);
        self.set_limit(lsn, seq);
    }

    /// Cuts it at this offset. Only before anybody reads it.
    pub fn cut(&self, end: u64) {
        self.end.store(end, Ordering::Release);
        self.stored.store(end, Ordering::Release);
    }

    /// Bytes on disk.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Says how many bytes it takes on disk.
    pub fn set_stored(&self, bytes: u64) {
        self.stored.store(bytes, Ordering::Release);
    }

    /// Whether its file is as it was written.
    pub fn is_raw(&self) -> bool {
        matches!(self.form, Form::Raw)
    }

    /// Whether its points are known.
    pub fn is_scanned(&self) -> bool {
        self.scanned.load(Ordering::Acquire)
    }

    /// Adds a point behind the others.
    pub fn add_point(&self, p: Point) {
        let mut all = hold(&self.points);
        if all.last().is_none_or(|l| l.offset + STRIDE <= p.offset) {
            all.push(p);
        }
    }

    /// Gives it all its points at once.
    pub fn set_points(&self, points: Vec<Point>) {
        *hold(&self.points) = points;
        self.scanned.store(true, Ordering::Release);
    }

    /// Forgets the points from this entry on: they have gone to the next segment.
    pub fn forget_points(&self, lsn: u64) {
        hold(&self.points).retain(|p| p.lsn < lsn);
    }

    /// The last point of which this is true; it is true of a beginning of all points.
    pub fn last_point(&self, is: impl Fn(&Point) -> bool) -> Point {
        let at = match &self.form {
            Form::Raw => {
                let all = hold(&self.points);
                all.partition_point(&is).checked_sub(1).and_then(|i| all.get(i).copied())
            }
            Form::Sealed(blocks) => blocks.partition_point(|b| is(&b.point)).checked_sub(1).and_then(|i| blocks.get(i)).map(|b| b.point),
        };
        at.unwrap_or(self.first)
    }

    /// The first point behind this offset; else the end.
    pub fn after(&self, offset: u64) -> Point {
        let at = match &self.form {
            Form::Raw => {
                let all = hold(&self.points);
                all.get(all.partition_point(|p| p.offset <= offset)).copied()
            }
            Form::Sealed(blocks) => blocks.get(blocks.partition_point(|b| b.point.offset <= offset)).map(|b| b.point),
        };
        let (lsn, seq) = self.limit();
        at.filter(|p| p.lsn < lsn).unwrap_or(Point { offset: self.end(), lsn, seq, before: None })
    }

    /// The bytes at this offset, before `end`: at least `want` of them, if there are as many in one piece.
    pub fn piece(&self, offset: u64, want: usize, end: u64) -> Result<Piece, Broken> {
        match &self.form {
            Form::Raw => {
                let len = READ.max(want as u64).min(end.saturating_sub(offset));
                let mut bytes = vec![0; len as usize];
                let n = self.file.read_at(&mut bytes, offset).map_err(Broken::Io)?;
                bytes.truncate(n);
                Ok(Piece { start: offset, bytes: Arc::new(bytes) })
            }
            Form::Sealed(blocks) => {
                let b = blocks.partition_point(|b| b.point.offset <= offset).checked_sub(1).and_then(|i| blocks.get(i)).ok_or(Broken::Block)?;
                if let Some(p) = self.cache.get(self.home.segment, b.point.offset) {
                    return Ok(p);
                }
                let piece = Piece { start: b.point.offset, bytes: Arc::new(b.unpack(&*self.file, self.home.id)?) };
                self.cache.put(self.home.segment, piece.clone());
                Ok(piece)
            }
        }
    }

    /// The offset of the first frame.
    pub fn begin(&self) -> u64 {
        HEADER as u64
    }
}
