//! Reads a segment frame by frame, and finds the way on behind what is damaged.

use super::frame::{ENTRY, HEAD, Head, STATE};
use super::segment::{Broken, Piece, Point, Segment};
use std::io;
use std::sync::Arc;

/// What comes next in a segment.
pub(super) enum Step {
    /// The folded state, if it is whole. Not an entry.
    State {
        /// All up to this was durable when it was written.
        durable: u64,
        /// The first record behind it.
        seq: u64,
        /// Whether the body is whole; [`Walk::body`] has it.
        whole: bool,
    },
    /// An entry; [`Walk::body`] has its bytes.
    Entry {
        /// Where it stands.
        offset: u64,
        /// What its head says.
        head: Head,
    },
    /// Something else stood here.
    Lost(Lost),
    /// Nothing more, now.
    End,
}

/// A stretch of a segment that cannot be read.
pub(super) struct Lost {
    /// Offset of its first byte.
    pub from: u64,
    /// Offset behind its last.
    pub to: u64,
    /// The first entry that is missing, and record.
    pub first: (u64, u64),
    /// The first entry behind it, and record; as far as is known `u64::MAX`.
    pub next: (u64, u64),
    /// What the disk said.
    pub error: Option<io::Error>,
}

/// A place in a segment, and what is expected there.
pub(super) struct Walk {
    /// The segment.
    pub segment: Arc<Segment>,
    /// The next frame's offset.
    pub offset: u64,
    /// The next entry.
    pub lsn: u64,
    /// The next record.
    pub seq: u64,
    generation: u32,
    piece: Option<Piece>,
    body: (usize, usize),
}

impl Walk {
    /// A walk that begins at this point.
    pub fn new(segment: Arc<Segment>, at: Point) -> Walk {
        Walk { segment, offset: at.offset, lsn: at.lsn, seq: at.seq, generation: 0, piece: None, body: (0, 0) }
    }

    /// The body of the frame that the last step came to.
    pub fn body(&self) -> &[u8] {
        self.piece.as_ref().and_then(|p| p.bytes.get(self.body.0..self.body.1)).unwrap_or_default()
    }

    /// The greatest generation seen.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Makes `piece` hold `want` bytes from this offset, or as many as there are.
    fn fetch(&mut self, offset: u64, want: usize, end: u64) -> Result<&[u8], Broken> {
        let holds = |p: &Piece| offset >= p.start && offset + (want as u64).min(end - offset) <= p.start + p.bytes.len() as u64;
        if !self.piece.as_ref().is_some_and(holds) {
            self.piece = Some(self.segment.piece(offset, want, end)?);
        }
        let piece = self.piece.as_ref().map(|p| (p.start, &p.bytes[..]));
        Ok(piece.and_then(|(start, b)| b.get((offset - start) as usize..)).unwrap_or_default())
    }

    fn lost(&mut self, to: Point, error: Option<io::Error>) -> Step {
        let lost = Lost { from: self.offset, to: to.offset, first: (self.lsn, self.seq), next: (to.lsn, to.seq), error };
        (self.offset, self.lsn, self.seq) = (to.offset, to.lsn, to.seq);
        Step::Lost(lost)
    }

    fn broken(&mut self, b: Broken) -> Step {
        let to = self.segment.after(self.offset);
        let error = if let Broken::Io(e) = b { Some(e) } else { None };
        self.lost(to, error)
    }

    /// Whether an entry may stand here or further on.
    fn fits(&self, h: &Head, limit: u64) -> bool {
        h.kind == ENTRY && h.lsn >= self.lsn && h.lsn < limit && h.seq >= self.seq && h.generation >= self.generation
    }

    /// The next frame, or what stands in its place.
    pub fn step(&mut self) -> Step {
        let (limit, limit_seq) = self.segment.limit();
        let end = self.segment.end();
        if self.lsn >= limit {
            return Step::End;
        }
        if self.offset >= end {
            if limit == u64::MAX {
                return Step::End;
            }
            return self.lost(Point { offset: self.offset, lsn: limit, seq: limit_seq, before: None }, None);
        }
        let (offset, home) = (self.offset, self.segment.home);
        let head = match self.fetch(offset, HEAD, end) {
            Ok(b) => Head::read(b, home, offset),
            Err(b) => return self.broken(b),
        };
        let Some(h) = head.filter(|h| self.fits(h, limit) || h.kind == STATE && offset == self.segment.begin()) else {
            return self.resync(offset + 8, limit, limit_seq, end);
        };
        if h.kind == ENTRY && h.lsn > self.lsn {
            return self.lost(Point { offset, lsn: h.lsn, seq: h.seq, before: None }, None);
        }
        let body = match self.fetch(offset, h.size(), end) {
            Ok(b) => h.body(b, home.id).is_some(),
            Err(b) => return self.broken(b),
        };
        let next = offset + h.size() as u64;
        self.generation = self.generation.max(h.generation);
        if h.kind == STATE {
            self.place(offset, &h, body);
            self.offset = next;
            return Step::State { durable: h.durable, seq: h.seq, whole: body };
        }
        // A record number that is not the expected one can only follow damage to what was before.
        if !body || h.seq != self.seq {
            return self.lost(Point { offset: next, lsn: h.lsn + 1, seq: h.seq.saturating_add(u64::from(h.count)), before: None }, None);
        }
        self.place(offset, &h, true);
        (self.offset, self.lsn, self.seq) = (next, h.lsn + 1, h.seq.saturating_add(u64::from(h.count)));
        Step::Entry { offset, head: h }
    }

    fn place(&mut self, offset: u64, h: &Head, whole: bool) {
        let start = self.piece.as_ref().map_or(0, |p| (offset - p.start) as usize) + HEAD;
        self.body = if whole { (start, start + h.len as usize) } else { (0, 0) };
    }

    /// Looks for the next frame from this offset on. All frames begin at multiples of 8.
    fn resync(&mut self, mut at: u64, limit: u64, limit_seq: u64, end: u64) -> Step {
        let home = self.segment.home;
        while at + HEAD as u64 <= end {
            let fetched = match self.fetch(at, HEAD, end) {
                Ok(b) => b.len(),
                Err(Broken::Io(e)) => {
                    let to = self.segment.after(at);
                    return self.lost(to, Some(e));
                }
                Err(Broken::Block) => {
                    let to = self.segment.after(at);
                    return self.lost(to, None);
                }
            };
            if self.segment.is_raw() && fetched < HEAD {
                // The file is shorter than it should be.
                break;
            }
            let from = at;
            let found = self.piece.as_ref().and_then(|p| {
                let b = p.bytes.get((from - p.start) as usize..)?;
                let here = (0..b.len().saturating_sub(HEAD - 1)).step_by(8);
                let heads = here.filter_map(|i| Some((i, Head::plausible(&b[i..]).filter(|h| self.fits(h, limit))?)));
                heads.filter(|(i, _)| Head::read(&b[*i..], home, from + *i as u64).is_some()).map(|(i, h)| (from + i as u64, h)).next()
            });
            if let Some((offset, h)) = found {
                return self.lost(Point { offset, lsn: h.lsn, seq: h.seq, before: None }, None);
            }
            // The next piece overlaps by what a head may begin with; a sealed one begins where this one ends.
            let past = if self.segment.is_raw() { (fetched + 1).saturating_sub(HEAD).next_multiple_of(8) } else { fetched };
            at += past.max(8) as u64;
        }
        self.lost(Point { offset: end, lsn: limit, seq: limit_seq, before: None }, None)
    }
}
