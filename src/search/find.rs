//! The search itself: every slice answers for what it covers, the journal is read for what it leaves open.
//!
//! What comes of it is a set of documents for each slice, and the records that were found where no slice is. Everything else
//! (pages, histograms, values) is made of that. It is exact, or says in which way it is not.

use super::missing::{self, Missing};
use super::query::Query;
use super::reading::Readings;
use super::sets;
use super::tally::Tally;
use crate::clock;
use crate::event::{Field, Timestamp};
use crate::index::{Answer, Index, Slice};
use crate::journal::{Address, Entry, Reader, What};
use crate::pipeline::past::Past;
use roaring::RoaringBitmap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is searched.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The journal.
    pub reader: &'a Reader,
    /// Its index.
    pub index: &'a Index,
    /// What was in force at its entries.
    pub past: &'a Past,
    /// Set when nobody waits any longer.
    pub stop: &'a AtomicBool,
}

/// Bounds of one search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// It takes so long at most.
    pub time: Duration,
    /// It holds so many bytes at most.
    pub memory: usize,
    /// It reads so many records of the journal at most.
    pub records: u64,
}

impl From<&crate::config::Search> for Bounds {
    fn from(c: &crate::config::Search) -> Bounds {
        Bounds { time: c.time, memory: c.memory, records: c.records as u64 }
    }
}

/// Which part of the journal, and of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Events from this instant on.
    pub since: Option<Timestamp>,
    /// Events before this instant.
    pub until: Option<Timestamp>,
    /// Up to this entry of the journal …
    pub last_lsn: u64,
    /// … and this record.
    pub last_seq: u64,
}

impl Range {
    /// Whether an instant lies in it.
    pub fn holds(&self, t: Timestamp) -> bool {
        self.since.is_none_or(|s| t >= s) && self.until.is_none_or(|u| t < u)
    }
}

/// Why a search ended before it was through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// By time.
    #[error("it took longer than `[search] time` allows")]
    Time,
    /// By records.
    #[error("more records had to be read than `[search] records` allows")]
    Records,
    /// By memory.
    #[error("it needed more memory than `[search] memory` allows")]
    Memory,
    /// Nobody waits.
    #[error("it was ended")]
    Stopped,
}

impl Cut {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Cut::Time => "time",
            Cut::Records => "records",
            Cut::Memory => "memory",
            Cut::Stopped => "stopped",
        }
    }
}

/// What was found in one slice.
pub struct Part {
    /// The slice.
    pub slice: Arc<Slice>,
    /// Its documents; at least one.
    pub docs: RoaringBitmap,
}

/// A record that was found where no slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loose {
    /// Its time.
    pub time: Timestamp,
    /// Its number.
    pub seq: u64,
    /// Its entry.
    pub lsn: u64,
}

/// What was found.
#[derive(Default)]
pub struct Found {
    /// In slices, those of the newest entries first.
    pub parts: Vec<Part>,
    /// Elsewhere.
    pub loose: Vec<Loose>,
    /// How many events have each value of the fields that were asked for.
    pub tallies: Vec<Tally>,
    /// Events in all.
    pub total: u64,
    /// How many records had to be read.
    pub scanned: u64,
    /// What was not searched.
    pub missing: Vec<Missing>,
    /// Why it ended early, if it did.
    pub cut: Option<Cut>,
}

/// How often the time is looked at, in records.
const LOOK: u64 = 64;

/// Looks for the events of a query, and counts the values of these fields of its schema.
pub fn find(ground: &Ground<'_>, query: &Query, range: &Range, fields: &[Field], bounds: &Bounds) -> Found {
    let found = Found { tallies: fields.iter().map(|_| Tally::default()).collect(), ..Found::default() };
    let end = clock::monotonic() + bounds.time;
    let readings = Readings::new(query, fields, ground.past);
    let mut search = Search { ground, query, range, fields, bounds, end, readings, first_seq: ground.reader.size().first_seq, found };
    search.run();
    search.found
}

/// A slice, or a stretch of entries that none covers.
pub enum Piece {
    /// A slice.
    Slice(Arc<Slice>),
    /// Entries of the journal.
    Bare(RangeInclusive<u64>),
}

impl Piece {
    fn lsns(&self) -> RangeInclusive<u64> {
        match self {
            Piece::Slice(s) => s.first()..=s.last(),
            Piece::Bare(r) => r.clone(),
        }
    }
}

/// All that is to be searched, the newest entries first.
pub fn pieces(ground: &Ground<'_>, range: &Range) -> Vec<Piece> {
    let (first, last) = (ground.reader.size().first_lsn, range.last_lsn);
    let view = ground.index.view(first..=last, |m| {
        m.first <= last && m.last >= first && m.docs > 0 && range.since.is_none_or(|s| m.newest >= s) && range.until.is_none_or(|u| m.oldest < u)
    });
    let slices = view.slices.into_iter().map(Piece::Slice);
    let mut all: Vec<Piece> = slices.chain(view.uncovered.into_iter().map(Piece::Bare)).collect();
    all.sort_by_key(|p| std::cmp::Reverse(*p.lsns().start()));
    all
}

struct Search<'a> {
    ground: &'a Ground<'a>,
    query: &'a Query,
    range: &'a Range,
    fields: &'a [Field],
    bounds: &'a Bounds,
    end: Instant,
    readings: Readings<'a>,
    first_seq: u64,
    found: Found,
}

impl Search<'_> {
    fn run(&mut self) {
        for piece in pieces(self.ground, self.range) {
            if self.found.cut.is_none()
                && let Err(c) = self.on()
            {
                self.found.cut = Some(c);
            }
            // Beyond the limit of records slices still know what they surely have.
            if matches!(self.found.cut, Some(c) if c != Cut::Records) {
                let lsns = piece.lsns();
                self.unreached(*lsns.start(), *lsns.end(), "not reached");
                continue;
            }
            match piece {
                Piece::Slice(s) => {
                    let index = self.ground.index;
                    if let Err(e) = index.ask(&s, |e| cut(e).is_some(), || self.slice(&s)) {
                        let (first, next) = s.manifest().seqs;
                        match cut(&e) {
                            Some(c) => {
                                self.found.cut = Some(c);
                                self.miss(first, next.saturating_sub(1), "not reached");
                            }
                            None => self.miss(first, next.saturating_sub(1), &format!("the index cannot be read: {e}")),
                        }
                    }
                }
                Piece::Bare(lsns) => self.bare(*lsns.start(), *lsns.end()),
            }
        }
    }

    /// Whether to go on.
    fn on(&self) -> Result<(), Cut> {
        going(self.ground.stop, self.end)?;
        let bytes = self.found.tallies.iter().map(Tally::bytes).sum::<usize>() + self.found.loose.len() * size_of::<Loose>();
        if bytes > self.bounds.memory { Err(Cut::Memory) } else { Ok(()) }
    }

    /// Counts a record that is about to be read.
    fn reads(&mut self) -> Result<(), Cut> {
        if self.found.scanned >= self.bounds.records {
            return Err(Cut::Records);
        }
        self.found.scanned += 1;
        if self.found.scanned.is_multiple_of(LOOK) { self.on() } else { Ok(()) }
    }

    fn miss(&mut self, first: u64, last: u64, why: &str) {
        missing::add(&mut self.found.missing, first.max(self.first_seq), last, why);
    }

    /// Entries that were not searched.
    fn unreached(&mut self, first: u64, last: u64, why: &str) {
        let (from, to) = (self.seq_at(first), self.seq_at(last.saturating_add(1)).min(self.range.last_seq.saturating_add(1)));
        self.miss(from, to.saturating_sub(1), why);
    }

    /// The number of the first record of this entry or of those behind it.
    fn seq_at(&self, lsn: u64) -> u64 {
        if lsn > self.range.last_lsn {
            return self.range.last_seq.saturating_add(1);
        }
        match self.ground.reader.entries(lsn).next() {
            Some(Ok(e)) => e.seq,
            Some(Err(d)) => d.first_seq,
            None => self.range.last_seq.saturating_add(1),
        }
    }

    fn slice(&mut self, s: &Arc<Slice>) -> io::Result<()> {
        let at = |seq: u64| point(s.docs(), |d| s.seq(d) < seq);
        let mut base = RoaringBitmap::new();
        base.insert_range(at(self.first_seq)..at(self.range.last_seq.saturating_add(1)));
        if self.range.since.is_some_and(|t| t > s.oldest()) || self.range.until.is_some_and(|t| t <= s.newest()) {
            // The greatest instant is behind none.
            let within = s.within(self.range.since.unwrap_or(Timestamp::MIN), self.range.until.unwrap_or(Timestamp::MAX));
            let last = self.range.until.is_none() && s.newest() == Timestamp::MAX;
            base = if last { base.into_iter().filter(|d| self.range.holds(s.time(*d))).collect() } else { base & within };
        }
        if base.is_empty() {
            return Ok(());
        }
        let (stop, end) = (self.ground.stop, self.end);
        let go_on = || going(stop, end).map_err(io::Error::other);
        let Answer { mut sure, may } = match self.query.expr() {
            Some(e) => sets::of(s, e, self.query.schema(), &go_on)?,
            None => Answer { sure: sets::all(s), may: RoaringBitmap::new() },
        };
        sure &= &base;
        let asked = (may & &base) - &sure;
        let unread = self.count(s, &sure)?;
        let halted = self.read(s, &asked, &unread, &mut sure);
        if !sure.is_empty() {
            self.found.total += sure.len();
            self.found.parts.push(Part { slice: s.clone(), docs: sure });
        }
        if let Err(c) = halted {
            self.found.cut.get_or_insert(c);
        }
        Ok(())
    }

    /// Counts the values of documents that were found, as far as they are terms. What is left for each field is the answer.
    fn count(&mut self, s: &Slice, docs: &RoaringBitmap) -> io::Result<Vec<RoaringBitmap>> {
        let mut left = Vec::new();
        if docs.is_empty() {
            return Ok(self.fields.iter().map(|_| RoaringBitmap::new()).collect());
        }
        for (i, f) in self.fields.iter().enumerate() {
            let name = self.query.schema().name(*f);
            if !s.indexes(name) {
                left.push(docs.clone());
                continue;
            }
            let unread = s.unsure(name)? & docs;
            let among = docs - &unread;
            let (stop, end, memory) = (self.ground.stop, self.end, self.bounds.memory);
            let tally = &mut self.found.tallies[i];
            let mut n = 0u32;
            s.tally(name, (among.len() < u64::from(s.docs())).then_some(&among), &mut |v, events| {
                n = n.wrapping_add(1);
                if n.is_multiple_of(1024) {
                    going(stop, end).map_err(io::Error::other)?;
                    if tally.bytes() > memory {
                        return Err(io::Error::other(Cut::Memory));
                    }
                }
                tally.add(&v, events);
                Ok(())
            })?;
            left.push(unread);
        }
        Ok(left)
    }

    /// Reads the documents that are asked, and those whose values were not all counted; adds those for which the query holds.
    fn read(&mut self, s: &Slice, asked: &RoaringBitmap, unread: &[RoaringBitmap], to: &mut RoaringBitmap) -> Result<(), Cut> {
        let all = unread.iter().fold(asked.clone(), |a, b| a | b);
        let mut held: Option<(Address, Entry)> = None;
        for doc in all.iter().rev() {
            self.reads()?;
            let (at, seq) = (s.address(doc), s.seq(doc));
            let same = held.as_ref().is_some_and(|(h, _)| (h.segment, h.offset) == (at.segment, at.offset));
            if !same {
                held = match self.ground.reader.entry(at) {
                    Ok(Some(e)) => Some((at, e)),
                    // It has been deleted since the search began.
                    Ok(None) => {
                        held = None;
                        continue;
                    }
                    Err(e) => {
                        self.miss(seq, seq, &format!("the journal cannot be read: {e}"));
                        held = None;
                        continue;
                    }
                };
            }
            let Some((_, Entry { lsn, what: What::Records(r), .. })) = &held else { continue };
            let Some(one) = r.batch.records.get(at.record as usize) else { continue };
            let read = self.readings.at(*lsn).read(r, *one, seq);
            let new = asked.contains(doc);
            if new && !read.holds() {
                continue;
            }
            for (i, tally) in self.found.tallies.iter_mut().enumerate() {
                if new || unread[i].contains(doc) {
                    tally.event(read.also(i));
                }
            }
            if new {
                to.insert(doc);
            }
        }
        Ok(())
    }

    /// Reads entries that no slice covers; of too many the newest.
    fn bare(&mut self, first: u64, last: u64) {
        let room = self.bounds.records - self.found.scanned.min(self.bounds.records);
        let end = self.seq_at(last.saturating_add(1));
        let mut from = first;
        if end.saturating_sub(self.seq_at(first)) > room {
            // The first entry with which there is room for all behind it.
            let (mut low, mut high) = (first, last.saturating_add(1));
            while low < high {
                let middle = low + (high - low) / 2;
                if end.saturating_sub(self.seq_at(middle)) > room { low = middle + 1 } else { high = middle }
            }
            from = low;
            if let Err(c) = self.loads(first, from) {
                self.found.cut = Some(c);
                self.unreached(first, last, "not reached");
                return;
            }
            self.unreached(first, from - 1, "not in the index yet, and too much to be read");
            self.found.cut.get_or_insert(Cut::Records);
            if from > last {
                return;
            }
        }
        for entry in self.ground.reader.entries(from) {
            let e = match entry {
                Ok(e) => e,
                Err(d) if d.first_lsn > last => break,
                Err(d) => {
                    self.miss(d.first_seq, d.last_seq.min(end.saturating_sub(1)), &format!("the journal cannot be read: {d}"));
                    continue;
                }
            };
            if e.lsn > last {
                break;
            }
            match &e.what {
                What::Records(r) => {
                    if let Err(c) = self.entry(&e, r) {
                        self.found.cut = Some(c);
                        self.miss(e.seq, end.saturating_sub(1), "not reached");
                        break;
                    }
                }
                // The index, which notes what holds when, has not come here yet.
                What::Load { hash, .. } => self.ground.past.note(e.lsn, *hash),
                _ => {}
            }
        }
    }

    /// Notes what was loaded in entries that are not read, so that those behind them are read as they were.
    fn loads(&mut self, first: u64, end: u64) -> Result<(), Cut> {
        for (n, e) in self.ground.reader.entries(first).enumerate() {
            match e {
                Ok(e) if e.lsn >= end => break,
                Ok(Entry { lsn, what: What::Load { hash, .. }, .. }) => self.ground.past.note(lsn, hash),
                Err(d) if d.first_lsn >= end => break,
                _ => {}
            }
            if (n as u64).is_multiple_of(LOOK) {
                self.on()?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, e: &Entry, r: &crate::journal::Records) -> Result<(), Cut> {
        for (i, one) in r.batch.records.iter().enumerate() {
            let seq = e.seq + i as u64;
            if seq > self.range.last_seq {
                break;
            }
            self.reads()?;
            let read = self.readings.at(e.lsn).read(r, *one, seq);
            if self.range.holds(read.time) && read.holds() {
                self.found.loose.push(Loose { time: read.time, seq, lsn: e.lsn });
                self.found.total += 1;
                for (i, tally) in self.found.tallies.iter_mut().enumerate() {
                    tally.event(read.also(i));
                }
            }
        }
        Ok(())
    }
}

/// Why a slice was not asked to the end, if it was not for the slice.
fn cut(e: &io::Error) -> Option<Cut> {
    e.get_ref().and_then(|e| e.downcast_ref::<Cut>()).copied()
}

/// Whether somebody waits and there is time.
fn going(stop: &AtomicBool, end: Instant) -> Result<(), Cut> {
    if stop.load(Ordering::Relaxed) {
        return Err(Cut::Stopped);
    }
    if clock::monotonic() > end { Err(Cut::Time) } else { Ok(()) }
}

/// How many documents at the front satisfy `before`, which none behind one that does not satisfies.
fn point(docs: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, docs);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
