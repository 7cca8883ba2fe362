//! Which records may match, and in which order they are taken.
//!
//! One pass goes over the times and the streams of all records, in the order of the journal. Places of candidates are kept up to
//! a limit; where there are more, the first of them are taken, and another pass finds those behind them.

use super::bounds::Limit;
use super::order::{Order, Place};
use super::run::Readers;
use crate::event::{Value, field};
use crate::index::Slice;
use crate::journal::{Entry, What};
use crate::rule::{Expr, RuleSet};
use crate::search::{self, Ground, Missing, Piece, missing};
use crate::worker::{Row, Worker};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Where the bytes of a candidate are.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A document of a slice.
    Doc {
        /// The place of the slice among the pieces.
        piece: u32,
        /// The document.
        doc: u32,
    },
    /// A record of an entry that no slice covers.
    Bare {
        /// The entry.
        lsn: u64,
        /// Which of its records.
        record: u32,
    },
}

/// A stretch of the journal.
struct Stretch {
    piece: Piece,
    /// Of a slice, the documents that may match.
    may: RoaringBitmap,
    /// Of a slice, the first document that cannot be had.
    end: u32,
}

/// Told which part of the records has been gone through; its error ends it.
pub type On<'a> = &'a mut dyn FnMut(f64) -> io::Result<()>;

/// See the module.
pub struct Candidates<'a> {
    ground: &'a Ground<'a>,
    range: search::Range,
    stretches: Vec<Stretch>,
    /// The streams of the records.
    pub order: Order,
    held: usize,
    limit: Limit<'a>,
    /// Records of the range.
    pub events: u64,
    /// How many of them may match.
    pub total: u64,
    /// Records that the first pass has come by.
    passed: u64,
    /// What could not be read.
    pub missing: Vec<Missing>,
}

/// So many documents are looked at between two looks at the clock.
const LOOK: u32 = 1 << 16;

impl<'a> Candidates<'a> {
    /// Of a range, before anything is looked up; so many are held at once.
    pub fn new(ground: &'a Ground<'a>, range: search::Range, held: usize, limit: Limit<'a>) -> Candidates<'a> {
        let (stretches, order) = (Vec::new(), Order::default());
        Candidates { ground, range, stretches, order, held, limit, events: 0, total: 0, passed: 0, missing: Vec::new() }
    }

    /// Asks the index for the candidates of these rules. What a slice has that cannot be read is missing.
    pub fn look(&mut self, rules: &RuleSet) -> io::Result<()> {
        let asked = conditions(rules);
        let mut pieces = search::pieces(self.ground, &self.range);
        pieces.reverse();
        for piece in pieces {
            let (mut may, mut end) = (RoaringBitmap::new(), 0);
            if let Piece::Slice(s) = &piece {
                match self.ground.index.ask(s, Limit::ends, || self.sets(s, &asked, rules)) {
                    Ok(docs) => (may, end) = (docs, s.docs()),
                    Err(e) if Limit::ends(&e) => return Err(e),
                    Err(e) => self.miss_from(s, s.manifest().seqs.0, &e),
                }
            }
            self.stretches.push(Stretch { piece, may, end });
        }
        Ok(())
    }

    fn sets(&self, s: &Slice, asked: &[&Expr], rules: &RuleSet) -> io::Result<RoaringBitmap> {
        let mut may = RoaringBitmap::new();
        for e in asked {
            may |= search::sets::of(s, e, &rules.schema, &|| self.limit.check())?.may;
        }
        Ok(may)
    }

    /// The first candidates behind a place, in order; all there are, if the second says so. `worker` parses what no slice covers.
    pub fn behind(&mut self, last: Option<Place>, worker: &Worker, readers: &mut Readers, on: On<'_>) -> io::Result<(Vec<(Place, Source)>, bool)> {
        let mut kept = Kept { all: Vec::new(), held: self.held, last, bound: None, added: 0 };
        self.order.rewind();
        let mut stretches = std::mem::take(&mut self.stretches);
        let done = stretches.iter_mut().enumerate().try_for_each(|(i, s)| match &s.piece {
            Piece::Slice(slice) => self.slice(i as u32, slice, (&s.may, &mut s.end), &mut kept, on),
            Piece::Bare(lsns) => self.bare(*lsns.start(), *lsns.end(), &mut kept, (worker, readers), on),
        });
        self.stretches = stretches;
        done?;
        if last.is_none() {
            self.total = kept.added;
        }
        let all = kept.bound.is_none();
        let mut found = kept.all;
        found.sort_unstable_by_key(|c| c.0);
        let more = found.len() > self.held;
        found.truncate(self.held);
        Ok((found, all && !more))
    }

    /// Whether to go on.
    pub fn check(&self) -> io::Result<()> {
        self.limit.check()
    }

    /// The same, and says how far the first pass is.
    fn going(&self, on: On<'_>, first: bool) -> io::Result<()> {
        self.limit.check()?;
        let all = self.range.last_seq.saturating_add(1).saturating_sub(self.ground.reader.size().first_seq);
        if first { on((self.passed as f64 / all.max(1) as f64).min(1.0)) } else { Ok(()) }
    }

    fn slice(&mut self, piece: u32, s: &Arc<Slice>, docs: (&RoaringBitmap, &mut u32), kept: &mut Kept, on: On<'_>) -> io::Result<()> {
        let (index, (may, end)) = (self.ground.index, docs);
        let mut at = (0, s.manifest().seqs.0);
        match index.ask(s, Limit::ends, || self.docs(piece, s, (may, *end), &mut at, kept, on)) {
            Err(e) if !Limit::ends(&e) => {
                // So that no other pass takes what this one has not.
                *end = at.0;
                self.miss_from(s, at.1, &e);
                Ok(())
            }
            done => done,
        }
    }

    /// Goes through the documents of a slice up to one; `at` is the one that it is at, and the least number that it can have.
    fn docs(&mut self, piece: u32, s: &Slice, docs: (&RoaringBitmap, u32), at: &mut (u32, u64), kept: &mut Kept, on: On<'_>) -> io::Result<()> {
        let mut streams: HashMap<u64, u32> = HashMap::new();
        let (may, end) = docs;
        let (mut may, mut next) = (may.iter().peekable(), at.1);
        let (first_seq, first) = (self.ground.reader.size().first_seq, kept.last.is_none());
        for doc in 0..end {
            *at = (doc, next);
            if doc.is_multiple_of(LOOK) {
                self.going(on, first)?;
            }
            let is = may.next_if_eq(&doc).is_some();
            let (t, seq) = (s.time(doc), s.seq(doc));
            (at.1, next) = (seq, seq.saturating_add(1));
            self.passed += u64::from(first);
            if !self.range.holds(t) || seq < first_seq || seq > self.range.last_seq {
                continue;
            }
            let of = s.stream(doc);
            let stream = match streams.get(&of) {
                Some(id) => *id,
                None => *streams.entry(of).or_insert(self.order.stream(&s.stream_name(of)?)),
            };
            self.events += u64::from(first);
            let place = self.order.place(stream, t, seq);
            if is {
                kept.add(place, Source::Doc { piece, doc });
            }
        }
        Ok(())
    }

    fn bare(&mut self, first_lsn: u64, last_lsn: u64, kept: &mut Kept, by: (&Worker, &mut Readers), on: On<'_>) -> io::Result<()> {
        let ((worker, readers), first) = (by, kept.last.is_none());
        let mut row = Row::default();
        for e in self.ground.reader.entries(first_lsn) {
            self.going(on, first)?;
            let e = match e {
                Ok(e) if e.lsn > last_lsn => break,
                Ok(e) => e,
                Err(d) if d.first_lsn > last_lsn => break,
                Err(d) => {
                    if first {
                        self.miss(d.first_seq, d.last_seq, format!("the journal cannot be read: {d}"));
                    }
                    continue;
                }
            };
            if let What::Load { hash, .. } = &e.what {
                self.ground.past.note(e.lsn, *hash);
            }
            self.entry(&e, kept, worker, readers, &mut row, first);
        }
        Ok(())
    }

    fn entry(&mut self, e: &Entry, kept: &mut Kept, worker: &Worker, readers: &mut Readers, row: &mut Row, count: bool) {
        let What::Records(r) = &e.what else { return };
        let loaded = self.ground.past.at(e.lsn);
        for (i, one) in r.batch.records.iter().enumerate() {
            let seq = e.seq + i as u64;
            if seq > self.range.last_seq {
                break;
            }
            self.passed += u64::from(count);
            let t = readers.parse(worker, &loaded, r, *one, row);
            if !self.range.holds(t) {
                continue;
            }
            self.events += u64::from(count);
            let event = worker.event(&r.batch, row);
            let named = if let Value::Str(s) = event.get(field::EVENT_STREAM) { std::str::from_utf8(s).ok() } else { None };
            let stream = self.order.stream(named.unwrap_or(&r.stream));
            let place = self.order.place(stream, t, seq);
            kept.add(place, Source::Bare { lsn: e.lsn, record: i as u32 });
        }
    }

    /// The entry of a candidate, and which of its records it is; `None`, said, where it cannot be had.
    pub fn fetch(&mut self, of: Source, place: &Place) -> Option<(Entry, u32)> {
        let found = match of {
            Source::Doc { piece, doc } => match self.stretches.get(piece as usize).map(|s| &s.piece) {
                Some(Piece::Slice(s)) => {
                    let at = self.ground.index.ask(s, |_| false, || Ok(s.address(doc)));
                    at.and_then(|at| self.ground.reader.entry(at).map(|e| Some((e?, at.record))))
                }
                _ => Ok(None),
            },
            Source::Bare { lsn, record } => match self.ground.reader.entries(lsn).next() {
                Some(Ok(e)) if e.lsn == lsn => Ok(Some((e, record))),
                Some(Err(d)) => Err(io::Error::other(d)),
                _ => Ok(None),
            },
        };
        let why = match found {
            Ok(Some(e)) => return Some(e),
            Ok(None) => "deleted before it was read".to_owned(),
            Err(e) => format!("the journal cannot be read: {e}"),
        };
        self.miss(place.seq, place.seq, why);
        None
    }

    /// The records of a slice from this number on.
    fn miss_from(&mut self, s: &Slice, first: u64, e: &io::Error) {
        let last = s.manifest().seqs.1.saturating_sub(1);
        self.miss(first.max(self.ground.reader.size().first_seq), last, format!("the index cannot be read: {e}"));
    }

    fn miss(&mut self, first: u64, last: u64, why: String) {
        missing::add(&mut self.missing, first, last.min(self.range.last_seq), &why);
    }
}

/// The candidates with the least places behind one, at most twice as many as are to be held.
struct Kept {
    all: Vec<(Place, Source)>,
    held: usize,
    last: Option<Place>,
    bound: Option<Place>,
    /// All that were given.
    added: u64,
}

impl Kept {
    fn add(&mut self, place: Place, source: Source) {
        self.added += 1;
        if self.last.is_some_and(|l| place <= l) || self.bound.is_some_and(|b| place > b) {
            return;
        }
        self.all.push((place, source));
        if self.all.len() >= 2 * self.held.max(1) {
            let nth = self.held.max(1) - 1;
            self.bound = Some(self.all.select_nth_unstable_by_key(nth, |c| c.0).1.0);
            self.all.truncate(nth + 1);
        }
    }
}

/// The conditions that events may satisfy, of all rules.
fn conditions(rules: &RuleSet) -> Vec<&Expr> {
    let whens = rules.rules.iter().flat_map(|r| std::iter::once(&r.when).chain(r.kind.steps().iter().map(|s| &s.when)));
    whens.filter(|w| w.rules.is_none()).filter_map(|w| w.where_.as_ref()).collect()
}
