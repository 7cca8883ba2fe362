//! Which records may match, and in which order they are taken.
//!
//! One pass goes over the times and the streams of all records, in the order of the journal. Places of candidates are kept up to
//! a limit; where there are more, the first of them are taken, and another pass finds those behind them.

use super::order::{Order, Place};
use super::run::Readers;
use crate::event::{Value, field};
use crate::index::Slice;
use crate::journal::{Entry, What};
use crate::rule::{Expr, RuleSet};
use crate::search::{self, Ground, Piece};
use crate::worker::{Row, Worker};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

/// Bounds of a backtest.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// So many candidates are held at once.
    pub held: usize,
    /// So many alerts are made; a rule that makes more has been judged by then.
    pub alerts: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { held: 512 << 10, alerts: 100_000 }
    }
}

/// Records that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub why: String,
}

/// A stretch of the journal.
struct Stretch {
    piece: Piece,
    /// Of a slice, the documents that may match.
    may: RoaringBitmap,
}

/// See the module.
pub struct Candidates<'a> {
    ground: &'a Ground<'a>,
    range: search::Range,
    stretches: Vec<Stretch>,
    /// The streams of the records.
    pub order: Order,
    held: usize,
    /// Records of the range.
    pub events: u64,
    /// What could not be read.
    pub missing: Vec<Missing>,
}

/// So many stretches that could not be read are told apart.
const MISSING: usize = 100;
/// So many documents are looked at between two looks at the clock.
const LOOK: u32 = 1 << 16;

impl<'a> Candidates<'a> {
    /// The candidates of these rules.
    pub fn new(ground: &'a Ground<'a>, range: search::Range, rules: &RuleSet, held: usize) -> io::Result<Candidates<'a>> {
        let asked = conditions(rules);
        let go_on = || going(ground);
        let mut stretches = Vec::new();
        let mut pieces = search::pieces(ground, &range);
        pieces.reverse();
        for piece in pieces {
            let mut may = RoaringBitmap::new();
            if let Piece::Slice(s) = &piece {
                for e in &asked {
                    may |= search::sets::of(s, e, &rules.schema, &go_on)?.may;
                }
            }
            stretches.push(Stretch { piece, may });
        }
        Ok(Candidates { ground, range, stretches, order: Order::default(), held, events: 0, missing: Vec::new() })
    }

    /// The first candidates behind a place, in order; all there are, if the second says so. `worker` parses what no slice covers.
    pub fn behind(
        &mut self,
        last: Option<Place>,
        worker: &Worker,
        readers: &mut Readers,
        first_pass: bool,
    ) -> io::Result<(Vec<(Place, Source)>, bool)> {
        let mut kept = Kept { all: Vec::new(), held: self.held, last, bound: None };
        self.order.rewind();
        let stretches = std::mem::take(&mut self.stretches);
        let done = stretches.iter().enumerate().try_for_each(|(i, s)| match &s.piece {
            Piece::Slice(slice) => self.slice(i as u32, slice, &s.may, &mut kept, first_pass),
            Piece::Bare(lsns) => self.bare(*lsns.start(), *lsns.end(), &mut kept, (worker, readers), first_pass),
        });
        self.stretches = stretches;
        done?;
        let all = kept.bound.is_none();
        let mut found = kept.all;
        found.sort_unstable_by_key(|c| c.0);
        let more = found.len() > self.held;
        found.truncate(self.held);
        Ok((found, all && !more))
    }

    fn slice(&mut self, piece: u32, s: &Arc<Slice>, may: &RoaringBitmap, kept: &mut Kept, count: bool) -> io::Result<()> {
        let mut streams: HashMap<u64, u32> = HashMap::new();
        let mut may = may.iter().peekable();
        let first = self.ground.reader.size().first_seq;
        for doc in 0..s.docs() {
            if doc.is_multiple_of(LOOK) {
                going(self.ground)?;
            }
            let is = may.next_if_eq(&doc).is_some();
            let (t, seq) = (s.time(doc), s.seq(doc));
            if !self.range.holds(t) || seq < first || seq > self.range.last_seq {
                continue;
            }
            self.events += u64::from(count);
            let of = s.stream(doc);
            let stream = match streams.get(&of) {
                Some(id) => *id,
                None => *streams.entry(of).or_insert(self.order.stream(&s.stream_name(of)?)),
            };
            let place = self.order.place(stream, t, seq);
            if is {
                kept.add(place, Source::Doc { piece, doc });
            }
        }
        Ok(())
    }

    fn bare(&mut self, first: u64, last: u64, kept: &mut Kept, by: (&Worker, &mut Readers), count: bool) -> io::Result<()> {
        let (worker, readers) = by;
        let mut row = Row::default();
        for e in self.ground.reader.entries(first) {
            going(self.ground)?;
            let e = match e {
                Ok(e) if e.lsn > last => break,
                Ok(e) => e,
                Err(d) if d.first_lsn > last => break,
                Err(d) => {
                    self.miss(d.first_seq, d.last_seq, format!("the journal cannot be read: {d}"), count);
                    continue;
                }
            };
            if let What::Load { hash, .. } = &e.what {
                self.ground.past.note(e.lsn, *hash);
            }
            self.entry(&e, kept, worker, readers, &mut row, count);
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
                    let at = s.address(doc);
                    self.ground.reader.entry(at).map(|e| Some((e?, at.record)))
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
        self.miss(place.seq, place.seq, why, true);
        None
    }

    fn miss(&mut self, first: u64, last: u64, why: String, count: bool) {
        if !count || first > last {
            return;
        }
        let full = self.missing.len() == MISSING;
        match self.missing.last_mut().filter(|m| full || m.why == why && m.last + 1 == first) {
            Some(m) => (m.first, m.last) = (m.first.min(first), m.last.max(last)),
            None => self.missing.push(Missing { first, last, why }),
        }
    }
}

/// The candidates with the least places behind one, at most twice as many as are to be held.
struct Kept {
    all: Vec<(Place, Source)>,
    held: usize,
    last: Option<Place>,
    bound: Option<Place>,
}

impl Kept {
    fn add(&mut self, place: Place, source: Source) {
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

/// Whether somebody still waits.
fn going(ground: &Ground<'_>) -> io::Result<()> {
    if ground.stop.load(Ordering::Relaxed) { Err(io::Error::new(io::ErrorKind::Interrupted, "it was ended")) } else { Ok(()) }
}
