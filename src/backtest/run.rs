//! The engine over candidates.

use super::bounds::{Bounds, Cut, Limit};
use super::candidates::{Candidates, On, Source};
use super::order::{Order, Place};
use crate::alert::Alert;
use crate::engine::collect::Collected;
use crate::engine::stream::AHEAD;
use crate::engine::{Options, Output};
use crate::event::{Record, Timestamp};
use crate::journal::{Entry, Records, What};
use crate::parse::{Context, Format, Parsers, declared};
use crate::pipeline::bundle::Loaded;
use crate::rule::RuleSet;
use crate::search::{Ground, Missing, Range};
use crate::worker::{FILE_LATENESS, Origin, Row, Worker};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What is tried.
pub struct Trial<'a> {
    /// The rules, with all that they listen to.
    pub rules: Arc<RuleSet>,
    /// What is in force now: formats and bounds.
    pub today: &'a Loaded,
    /// Bounds.
    pub bounds: Bounds,
    /// When it has to be through, see [`Bounds::end`].
    pub end: Instant,
}

/// What a trial came to.
pub struct Ran {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// The alerts of all rules, by time, rule and key.
    pub alerts: Vec<Alert>,
    /// Records of the range.
    pub events: u64,
    /// How many of them had to be read.
    pub read: u64,
    /// What could not be read.
    pub missing: Vec<Missing>,
    /// Why it ended early, and the instant up to which events had been judged, if any had.
    pub cut: Option<(Cut, Option<Timestamp>)>,
}

/// Entries held ready: candidates of one entry come one behind the other, but streams alternate.
const ENTRIES: usize = 1024;
/// … and their bytes.
const ENTRY_BYTES: usize = 32 << 20;
/// After so many candidates all streams are told how late it is, so that little waits in the engine.
const BEACON: u64 = 4096;
/// After so many it is looked whether somebody waits, and said how far it is.
const LOOK: u64 = 256;

/// How much of the bar is for going through the index; the rest is for the candidates.
const SCAN: f64 = 0.2;

/// Runs the rules over the range. `progress` is told the share that is done and ends it with an error.
pub fn run(ground: &Ground<'_>, range: Range, trial: &Trial<'_>, progress: &mut dyn FnMut(f64) -> io::Result<()>) -> io::Result<Ran> {
    let state = &trial.today.state;
    let options = Options { budget: state.budget, keys: state.keys_per_rule, waiting: state.waiting, ..Options::default() };
    let mut worker = Worker::new(trial.rules.clone(), &trial.today.formats, trial.today.estate.clone(), options);
    let limit = Limit { stop: ground.stop, end: trial.end };
    let mut candidates = Candidates::new(ground, range, trial.bounds.candidates, limit);
    let mut feed = Feed {
        worker: &mut worker,
        readers: Readers::default(),
        row: Row::default(),
        entries: BTreeMap::new(),
        came: VecDeque::new(),
        bytes: 0,
        read: 0,
        passed: None,
    };
    let mut got = Collected::default();
    let mut last = None;
    let ended = feed.all(ground, &mut candidates, trial, &mut got, &mut last, progress);
    let cut = match ended {
        Ok(()) => None,
        Err(e) => Some((Cut::of(&e).ok_or(e)?, last.map(|l| l.at))),
    };
    let (read, mut said) = (feed.read, Vec::new());
    worker.engine().finish(&mut said);
    got.take(&mut said);
    progress(1.0)?;
    Ok(Ran { rules: trial.rules.clone(), alerts: got.finish(), events: candidates.events, read, missing: candidates.missing, cut })
}

/// Reads records as they were read when they came, into rows of the worker.
#[derive(Default)]
pub(super) struct Readers(Vec<([u8; 32], declared::Formats, Parsers)>);

impl Readers {
    /// So many bundles are held ready.
    const HELD: usize = 8;

    /// Parses a record under the bundle that was in force; its time, as the engine takes it.
    pub fn parse(&mut self, worker: &Worker, loaded: &Loaded, r: &Records, one: Record, row: &mut Row) -> Timestamp {
        let i = match self.0.iter().position(|(hash, ..)| *hash == loaded.hash) {
            Some(i) => i,
            None => {
                if self.0.len() == Readers::HELD {
                    self.0.remove(0);
                }
                // Under the names that the worker's rules know; what these do not ask for has no place in its rows.
                let mut schema = worker.rules().schema.clone();
                let (formats, _) = declared::Formats::load(&loaded.format_texts, &mut schema);
                let parsers = worker.parsers(&formats);
                self.0.push((loaded.hash, formats, parsers));
                self.0.len() - 1
            }
        };
        let (_, formats, parsers) = &mut self.0[i];
        let said = worker.parse_by(parsers, &r.batch, one, &origin(loaded, formats, r), row);
        if said > r.received.plus(AHEAD) { r.received } else { said }
    }
}

/// Feeds candidates to the engine.
struct Feed<'w> {
    worker: &'w mut Worker,
    readers: Readers,
    row: Row,
    /// By the number of their first record.
    entries: BTreeMap<u64, Held>,
    /// These, as they came.
    came: VecDeque<u64>,
    bytes: usize,
    read: u64,
    /// The instant that all streams were last told of.
    passed: Option<Timestamp>,
}

/// An entry that has been read.
struct Held {
    lsn: u64,
    entry: Entry,
}

impl Feed<'_> {
    /// Feeds all candidates; `last` is the last that was taken. A [`Cut`] is an error of it.
    fn all(
        &mut self,
        ground: &Ground<'_>,
        candidates: &mut Candidates<'_>,
        trial: &Trial<'_>,
        got: &mut Collected,
        last: &mut Option<Place>,
        progress: On<'_>,
    ) -> io::Result<()> {
        let (mut said, mut all) = (Vec::new(), false);
        candidates.look(&trial.rules)?;
        while !all {
            let found;
            (found, all) = candidates.behind(*last, self.worker, &mut self.readers, &mut |part| progress(part * SCAN))?;
            all |= found.is_empty();
            for (place, source) in &found {
                if self.read.is_multiple_of(LOOK) {
                    candidates.check()?;
                    progress(SCAN + (1.0 - SCAN) * self.read as f64 / candidates.total.max(1) as f64)?;
                }
                self.take(candidates, ground, place, *source, &mut said);
                *last = Some(*place);
                got.take(&mut said);
                if got.len() > trial.bounds.alerts {
                    return Err(io::Error::other(Cut::Alerts));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, candidates: &mut Candidates<'_>, ground: &Ground<'_>, place: &Place, source: Source, said: &mut Vec<Output>) {
        // What made it late need not be a candidate, and what is final by then decides what becomes of it.
        if place.late || self.read.is_multiple_of(BEACON) {
            self.comes_to(place.at, &candidates.order, said);
        }
        self.read += 1;
        let Some((first, record)) = self.entry(candidates, place, source) else { return };
        let Some(Held { lsn, entry }) = self.entries.get(&first) else { return };
        let What::Records(r) = &entry.what else { return };
        let Some(one) = r.batch.records.get(record as usize) else { return };
        let loaded = ground.past.at(*lsn);
        let ts = self.readers.parse(self.worker, &loaded, r, *one, &mut self.row);
        self.worker.set_seq(place.seq - 1);
        let origin = origin(&loaded, &loaded.formats, r);
        self.worker.feed_at(ts, &r.batch, *one, &origin, &mut self.row, said);
    }

    /// No stream has anything older: all records before this instant have been taken.
    fn comes_to(&mut self, at: Timestamp, order: &Order, said: &mut Vec<Output>) {
        if self.passed.is_none_or(|p| p < at) {
            self.passed = Some(at);
            self.worker.come(order.names().map(|n| &**n), FILE_LATENESS, at, said);
        }
    }

    /// The first record of a candidate's entry, which is read if it is not held, and which of its records the candidate is.
    fn entry(&mut self, candidates: &mut Candidates<'_>, place: &Place, source: Source) -> Option<(u64, u32)> {
        if let Some((first, h)) = self.entries.range(..=place.seq).next_back()
            && let What::Records(r) = &h.entry.what
            && place.seq - first < r.batch.records.len() as u64
        {
            return Some((*first, (place.seq - first) as u32));
        }
        let (entry, record) = candidates.fetch(source, place)?;
        let size = |e: &Entry| if let What::Records(r) = &e.what { r.batch.bytes.len() } else { 0 };
        let first = entry.seq;
        self.bytes += size(&entry);
        self.came.push_back(first);
        self.entries.insert(first, Held { lsn: entry.lsn, entry });
        while self.came.len() > 1 && (self.came.len() > ENTRIES || self.bytes > ENTRY_BYTES) {
            if let Some(h) = self.came.pop_front().and_then(|f| self.entries.remove(&f)) {
                self.bytes -= size(&h.entry);
            }
        }
        Some((first, record))
    }
}

/// Where a record comes from.
fn origin<'a>(loaded: &'a Loaded, formats: &declared::Formats, r: &'a Records) -> Origin<'a> {
    let setting = loaded.source(&r.source);
    let format = r.format.as_deref().and_then(|f| Format::named(f, formats));
    let ctx = Context { zone: &setting.zone, near: r.near, named: format.is_some(), estate: &setting.estate };
    Origin { ctx, format, stream: &r.stream, lateness: FILE_LATENESS, received: Some(r.received) }
}
