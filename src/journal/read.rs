//! Reading while others write: entries in order, and single records.

use super::entry::Entry;
use super::frame::{HEAD, Head};
use super::segment::{Broken, Piece, Point, STRIDE, Segment};
use super::shared::Shared;
use super::walk::{Lost, Step, Walk};
use super::wire;
use crate::event::Timestamp;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Reads the journal. Clones are cheap; it never waits for a write or a sync. As long as there is one the journal is in use, also
/// when its writer is gone.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
}

/// Where a record stands. It stays the same when the segment is sealed. That of a record that is not durable yet may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The segment: its first lsn.
    pub segment: u64,
    /// Offset of the entry's frame, before compression.
    pub offset: u64,
    /// Which of the entry's records.
    pub record: u32,
}

/// How large the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes on disk.
    pub bytes: u64,
    /// Segments.
    pub segments: usize,
    /// The oldest entry.
    pub first_lsn: u64,
    /// The oldest record, or the next to come.
    pub first_seq: u64,
    /// The time of the oldest entry that has one, as far as the oldest segment knows.
    pub oldest: Option<Timestamp>,
}

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A checksum does not fit.
    Checksum,
    /// Segments are missing.
    Missing,
    /// It was deleted, by size or age, before it was read.
    Deleted,
    /// The disk does not give it.
    Io(io::ErrorKind),
}

/// A stretch that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment: its first lsn.
    pub segment: u64,
    /// Offset of its first byte, before compression.
    pub from: u64,
    /// Offset behind its last.
    pub to: u64,
    /// The first entry that is missing.
    pub first_lsn: u64,
    /// The last.
    pub last_lsn: u64,
    /// The first record that is missing.
    pub first_seq: u64,
    /// The last; less than `first_seq` if none is.
    pub last_seq: u64,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Checksum => "damaged",
            Why::Missing => "missing",
            Why::Deleted => "deleted before it was read",
            Why::Io(_) => "not given by the disk",
        };
        write!(f, "{why}: entries {} to {}", self.first_lsn, self.last_lsn)?;
        match self.last_seq.checked_sub(self.first_seq) {
            Some(_) => write!(f, ", records {} to {}", self.first_seq, self.last_seq)?,
            None => write!(f, ", no records")?,
        }
        if self.why != Why::Missing && self.why != Why::Deleted {
            write!(f, " (segment {}, bytes {} to {})", self.segment, self.from, self.to)?;
        }
        if let Why::Io(kind) = self.why { write!(f, ": {kind}") } else { Ok(()) }
    }
}

impl std::error::Error for Damage {}

impl Damage {
    fn of(segment: u64, l: &Lost) -> Damage {
        let why = l.error.as_ref().map_or(Why::Checksum, |e| Why::Io(e.kind()));
        Damage {
            segment,
            from: l.from,
            to: l.to,
            first_lsn: l.first.0,
            last_lsn: l.next.0.saturating_sub(1),
            first_seq: l.first.1,
            last_seq: l.next.1.saturating_sub(1),
            why,
        }
    }
}

/// The entries from one on. It ends at what is written now; later it goes on from there.
pub struct Entries {
    shared: Arc<Shared>,
    walk: Option<Walk>,
    lsn: u64,
    seq: Option<u64>,
}

impl Entries {
    /// The entry that comes next.
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// A walk that comes to the next entry, or what is missing before it.
    fn enter(&mut self) -> Option<Result<Walk, Damage>> {
        let all = self.shared.segments();
        let Some(i) = all.partition_point(|s| s.first.lsn <= self.lsn).checked_sub(1) else {
            let first = all.first()?.first;
            return self.skip(first, Why::Deleted).map(Err).or_else(|| self.enter());
        };
        let s = all.get(i)?;
        if self.lsn < s.limit().0 {
            return Some(Ok(Walk::new(s.clone(), s.last_point(|p| p.lsn <= self.lsn))));
        }
        let next = all.get(i + 1)?.first;
        self.skip(next, Why::Missing).map(Err).or_else(|| self.enter())
    }

    /// Goes on at this point; says what is left out, unless nothing was read yet.
    fn skip(&mut self, to: Point, why: Why) -> Option<Damage> {
        let damage = self.seq.filter(|_| self.lsn < to.lsn).map(|seq| Damage {
            segment: to.lsn,
            from: 0,
            to: 0,
            first_lsn: self.lsn,
            last_lsn: to.lsn - 1,
            first_seq: seq,
            last_seq: to.seq.saturating_sub(1),
            why,
        });
        (self.lsn, self.seq) = (to.lsn, Some(to.seq));
        damage
    }
}

impl Entries {
    /// The next entry, and where its first record stands.
    pub fn next_at(&mut self) -> Option<Result<(Address, Entry), Damage>> {
        loop {
            if self.walk.is_none() {
                if self.lsn > self.shared.last() {
                    return None;
                }
                match self.enter()? {
                    Ok(w) => self.walk = Some(w),
                    Err(d) => return Some(Err(d)),
                }
            }
            let walk = self.walk.as_mut()?;
            match walk.step() {
                Step::State { .. } => {}
                Step::Entry { head, .. } if head.lsn < self.lsn => {}
                Step::Entry { offset, head } => {
                    (self.lsn, self.seq) = (head.lsn + 1, Some(head.seq + u64::from(head.count)));
                    let what = wire::get(walk.body()).filter(|w| wire::count(w) == head.count);
                    return Some(match what {
                        Some(what) => {
                            let at = Address { segment: walk.segment.home.segment, offset, record: 0 };
                            Ok((at, Entry { lsn: head.lsn, seq: head.seq, what }))
                        }
                        None => {
                            let next = (walk.lsn, walk.seq);
                            let lost = Lost { from: offset, to: walk.offset, first: (head.lsn, head.seq), next, error: None };
                            Err(Damage::of(walk.segment.home.segment, &lost))
                        }
                    });
                }
                Step::Lost(mut l) => {
                    if l.next.0 <= self.lsn {
                        continue;
                    }
                    // What was read last knows better than a segment whose beginning is damaged.
                    if l.first.0 <= self.lsn {
                        l.first = (self.lsn, self.seq.unwrap_or(l.first.1));
                    }
                    (self.lsn, self.seq) = (l.next.0, Some(l.next.1));
                    return Some(Err(Damage::of(walk.segment.home.segment, &l)));
                }
                Step::End => {
                    if self.lsn > self.shared.last() {
                        return None;
                    }
                    if walk.lsn >= walk.segment.limit().0 {
                        self.walk = None;
                    }
                }
            }
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Damage>;

    fn next(&mut self) -> Option<Result<Entry, Damage>> {
        Some(self.next_at()?.map(|e| e.1))
    }
}

impl Reader {
    /// The entries from this one on; from the oldest on, if that is later.
    pub fn entries(&self, from_lsn: u64) -> Entries {
        Entries { shared: self.shared.clone(), walk: None, lsn: from_lsn, seq: None }
    }

    /// The last entry that has been written, 0 if none has.
    pub fn last(&self) -> u64 {
        self.shared.last()
    }

    /// The bytes of a record; `None` if it is not there yet, or no longer. An error says that it is damaged, or what the disk said.
    pub fn record(&self, seq: u64) -> io::Result<Option<Vec<u8>>> {
        match self.find(seq)? {
            Some((walk, _, n)) => wire::record(walk.body(), n).map(|r| Some(r.to_vec())).ok_or_else(damaged),
            None => Ok(None),
        }
    }

    /// Where a record stands.
    pub fn locate(&self, seq: u64) -> io::Result<Option<Address>> {
        Ok(self.find(seq)?.map(|(walk, offset, record)| Address { segment: walk.segment.home.segment, offset, record }))
    }

    /// The bytes of the record that stands there; `None` if its segment has been deleted.
    pub fn read(&self, at: Address) -> io::Result<Option<Vec<u8>>> {
        self.body(at, |_, body| wire::record(body, at.record).map(<[u8]>::to_vec))
    }

    /// The entry in which the record stands there; `None` if its segment has been deleted.
    pub fn entry(&self, at: Address) -> io::Result<Option<Entry>> {
        self.body(at, |head, body| Some(Entry { lsn: head.lsn, seq: head.seq, what: wire::get(body)? }))
    }

    /// What `f` reads in the entry that stands there.
    fn body<T>(&self, at: Address, f: impl FnOnce(&Head, &[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let all = self.shared.segments();
        let Ok(i) = all.binary_search_by_key(&at.segment, |s| s.first.lsn) else { return Ok(None) };
        let Some(s) = all.get(i) else { return Ok(None) };
        let end = s.end();
        if at.offset >= end {
            return Err(damaged());
        }
        let fetch = |want| match s.piece(at.offset, want, end) {
            Ok(p) => Ok(p),
            Err(Broken::Io(e)) => Err(e),
            Err(Broken::Block) => Err(damaged()),
        };
        let inside = |p: &Piece| usize::try_from(at.offset.wrapping_sub(p.start)).unwrap_or(usize::MAX);
        let mut piece = fetch(HEAD)?;
        let head = piece.bytes.get(inside(&piece)..).and_then(|b| Head::read(b, s.home, at.offset)).ok_or_else(damaged)?;
        if piece.bytes.len().saturating_sub(inside(&piece)) < head.size() {
            piece = fetch(head.size())?;
        }
        let body = piece.bytes.get(inside(&piece)..).and_then(|b| head.body(b, s.home.id)).ok_or_else(damaged)?;
        f(&head, body).map(Some).ok_or_else(damaged)
    }

    /// The walk that came to a record's entry, the entry's offset, and which of its records it is.
    fn find(&self, seq: u64) -> io::Result<Option<(Walk, u64, u32)>> {
        if seq == 0 || seq >= self.shared.next_seq() {
            return Ok(None);
        }
        let all = self.shared.segments();
        let Some(s) = all.partition_point(|s| s.first.seq <= seq).checked_sub(1).and_then(|i| all.get(i)) else { return Ok(None) };
        scan(s);
        let mut walk = Walk::new(s.clone(), s.last_point(|p| p.seq <= seq));
        loop {
            match walk.step() {
                Step::State { .. } => {}
                Step::Entry { offset, head } if head.seq <= seq && seq - head.seq < u64::from(head.count) => {
                    return Ok(Some((walk, offset, (seq - head.seq) as u32)));
                }
                Step::Entry { head, .. } if head.seq > seq => return Err(damaged()),
                Step::Entry { .. } => {}
                Step::Lost(l) if l.first.1 <= seq && seq < l.next.1 => return Err(l.error.unwrap_or_else(damaged)),
                Step::Lost(_) => {}
                // It is in a segment that is missing.
                Step::End => return Err(damaged()),
            }
        }
    }

    /// The first entry whose time is this or later, 0 if there is none. Entries without a time have none.
    pub fn at(&self, t: Timestamp) -> u64 {
        let all = self.shared.segments();
        let Some(s) = all.get(all.partition_point(|s| s.first.before < Some(t)).saturating_sub(1)) else { return 0 };
        scan(s);
        let point = s.last_point(|p| p.before < Some(t));
        let mut from = self.entries(point.lsn).filter_map(Result::ok);
        from.find(|e| wire::tell(&e.what).0 >= Some(t)).map_or(0, |e| e.lsn)
    }

    /// How large the journal is.
    pub fn size(&self) -> Size {
        let all = self.shared.segments();
        let first = all.first();
        Size {
            bytes: all.iter().map(|s| s.stored()).sum(),
            segments: all.len(),
            first_lsn: first.map_or(1, |s| s.first.lsn),
            first_seq: first.map_or(1, |s| s.first.seq),
            oldest: first.and_then(oldest),
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the record is damaged or missing")
}

/// The time of a segment's first entry that has one.
fn oldest(s: &Arc<Segment>) -> Option<Timestamp> {
    if let Some(t) = s.oldest.get() {
        return Some(*t);
    }
    let mut walk = Walk::new(s.clone(), s.first);
    loop {
        match walk.step() {
            Step::Entry { .. } => {
                if let Some((Some(t), _)) = wire::told(walk.body()) {
                    return Some(*s.oldest.get_or_init(|| t));
                }
            }
            Step::State { .. } | Step::Lost(_) => {}
            Step::End => return None,
        }
    }
}

/// Finds the points of a raw segment that was written before this process began.
fn scan(s: &Arc<Segment>) {
    if s.is_scanned() {
        return;
    }
    let mut walk = Walk::new(s.clone(), s.first);
    let mut points = Points::default();
    let mut time = s.first.before;
    loop {
        match walk.step() {
            Step::Entry { offset, head } => {
                points.add(Point { offset, lsn: head.lsn, seq: head.seq, before: time });
                time = time.max(wire::told(walk.body()).and_then(|t| t.0));
            }
            Step::State { .. } | Step::Lost(_) => {}
            Step::End => break,
        }
    }
    s.set_points(points.0);
}

/// Points, not too many.
#[derive(Default)]
pub(super) struct Points(pub Vec<Point>);

impl Points {
    /// Adds one behind the others, if the last is far enough.
    pub fn add(&mut self, p: Point) {
        if self.0.last().is_none_or(|l| l.offset + STRIDE <= p.offset) {
            self.0.push(p);
        }
    }
}
