//! Where the shell calls the core: a function of the journal's entries, whose answers are what is to be told.

use super::bundle::Loaded;
use super::known::Known;
use super::loads::Loads;
use super::tell::Tale;
use crate::engine::{Engine, Options, Output};
use crate::event::Timestamp;
use crate::journal::{Damage, Entry, Reader, Records, What};
use crate::metrics::Metrics;
use crate::parse::{Context, Format};
use crate::worker::{Origin, Parts, Row, Saved, Work, Worker};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What became of an entry.
#[derive(Default)]
pub struct Taken {
    /// Records taken by no parser.
    pub errors: u64,
    /// Records given their arrival time.
    pub ahead: u64,
    /// Records too late for windows.
    pub late: u64,
    /// The greatest event time that is not ahead of its arrival; the least instant without records.
    pub last: Timestamp,
    /// The time of the last event, as it says itself.
    pub event: Option<Timestamp>,
}

/// Parsers and engine, and what has been said of alerts.
pub struct Brain {
    loaded: Arc<Loaded>,
    seed: u64,
    worker: Worker,
    row: Row,
    said: Vec<Output>,
    tales: Vec<Tale>,
    known: Known,
    loads: Loads,
    /// Delivery ids of alerts that a saved state had told and nobody is left to judge.
    left: Vec<[u8; 16]>,
    /// What has been counted of the engine's counters.
    counted: BTreeMap<&'static str, u64>,
    /// Whether alerts are counted: not those that had been told before a restart.
    muted: bool,
    metrics: Arc<Metrics>,
}

/// Does two pieces of work on two threads, or on this one where there is no other.
fn at_once(a: Work<'_>, b: Work<'_>) {
    let b = Mutex::new(Some(b));
    let other = || b.lock().unwrap_or_else(PoisonError::into_inner).take().map(|b| b());
    std::thread::scope(|s| {
        let spawned = std::thread::Builder::new().name("vigild-save".into()).spawn_scoped(s, other);
        a();
        if spawned.is_err() {
            other();
        }
    });
}

/// What is kept of a brain through a restart, beside the worker's state, which follows it.
#[derive(Serialize, Deserialize)]
struct Own<'a> {
    known: Cow<'a, Known>,
    #[serde(with = "serde_bytes")]
    fed: Vec<u8>,
    loads: Cow<'a, Loads>,
}

impl Brain {
    /// Of what was loaded; `seed` is the journal's.
    pub fn new(loaded: Arc<Loaded>, seed: u64, metrics: Arc<Metrics>) -> Brain {
        let worker = worker(&loaded, seed, loaded.provisional);
        Brain {
            loaded,
            seed,
            worker,
            row: Row::default(),
            said: Vec::new(),
            tales: Vec::new(),
            known: Known::default(),
            loads: Loads::default(),
            left: Vec::new(),
            counted: BTreeMap::new(),
            muted: false,
            metrics,
        }
    }

    /// The bundle in force.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    fn engine(&mut self) -> &mut Engine {
        self.worker.engine()
    }

    /// Whether what is told now has been told before a restart.
    pub fn mute(&mut self, yes: bool) {
        self.muted = yes;
    }

    /// The bundles that the journal names, which begins with this entry.
    pub fn named(&mut self, first: u64) -> BTreeSet<[u8; 32]> {
        self.loads.since(first)
    }

    /// The whole state. The engine stands still for it: `room` is best that of a state before, since the system clears what is new.
    pub fn save(&mut self, room: Parts) -> Saved {
        let (known, loads) = (Cow::Borrowed(&self.known), Cow::Borrowed(&self.loads));
        let own = postcard::to_allocvec(&Own { known, fed: self.metrics.fed.save(), loads }).unwrap_or_default();
        self.worker.save_behind(own, room, &at_once)
    }

    /// Puts a saved state into a fresh brain: one of the same bundle or, where that cannot be had any more, of another.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let (saved, worker): (Own<'_>, _) = postcard::take_from_bytes(state).map_err(|e| e.to_string())?;
        self.left = self.worker.restore(worker).map_err(|e| e.to_string())?.left_open;
        (self.known, self.loads) = (saved.known.into_owned(), saved.loads.into_owned());
        self.metrics.fed.restore(&saved.fed);
        Ok(())
    }

    /// Lets another bundle be in force. Rules that mean the same keep their state; windows of the others are rebuilt from
    /// the entries from `rebuild` up to this one, if that is not 0; `moves` is called for each. Alerts of the others that were
    /// told and are not final are withdrawn in `tales`.
    pub fn load(&mut self, new: Arc<Loaded>, rebuild: u64, lsn: u64, reader: &Reader, tales: &mut Vec<Tale>, moves: &dyn Fn()) {
        if new.hash == self.loaded.hash {
            return;
        }
        let saved = self.worker.save();
        let mut next = worker(&new, self.seed, new.provisional);
        match next.restore(&saved) {
            Ok(r) => {
                self.known.withdraw(&r.left_open, tales);
                tracing::info!(kept = r.kept.len(), fresh = r.fresh.len(), dropped = r.dropped, "other rules and settings hold");
                let fresh: BTreeSet<Arc<str>> = r.fresh.into_iter().collect();
                if rebuild > 0 && !fresh.is_empty() {
                    let past = reader.entries(rebuild).take_while(|e| e.as_ref().map_or(true, |e| e.lsn < lsn)).inspect(|_| moves());
                    self.rebuild(&new, &saved, &fresh, past, &mut next);
                }
            }
            Err(e) => {
                tracing::error!(error = %e, "the engine's state is lost by this reload");
                self.known.withdraw(&self.known.open(), tales);
            }
        }
        (self.worker, self.loaded) = (next, new);
        // The counters of the new engine go on from the old one's where these were kept.
        self.settle();
    }

    /// Feeds the journal's past to an engine beside the running one, and takes over its state of some rules.
    fn rebuild(&self, new: &Arc<Loaded>, saved: &[u8], ids: &BTreeSet<Arc<str>>, past: impl Iterator<Item = Result<Entry, Damage>>, to: &mut Worker) {
        let mut side = Brain::new(new.clone(), self.seed, Arc::default());
        side.worker = worker(new, self.seed, false);
        if let Err(e) = side.worker.restore_streams(saved) {
            tracing::error!(error = %e, "windows are not rebuilt");
            return;
        }
        let mut tales = Vec::new();
        for entry in past {
            match entry {
                Ok(e) => drop(side.take(&e, &mut tales)),
                Err(damage) => tracing::error!(%damage, "a part of the journal cannot be read; windows are rebuilt without it"),
            }
            tales.clear();
        }
        match to.restore_rules(&side.worker.save(), ids) {
            Ok(_) => tracing::info!(rules = ids.len(), "windows of new and changed rules are rebuilt"),
            Err(e) => tracing::error!(error = %e, "windows are not rebuilt"),
        }
    }

    /// What the engine has counted so far has been told.
    pub fn settle(&mut self) {
        let scratch = std::mem::take(&mut self.metrics);
        self.gauge();
        self.metrics = scratch;
        self.gauge();
    }

    /// Takes an entry in; what is to be told of it is appended to `tales`. A load is only noted: see [`Brain::load`].
    pub fn take(&mut self, entry: &Entry, tales: &mut Vec<Tale>) -> Taken {
        let mut taken = Taken { last: Timestamp::MIN, ..Taken::default() };
        if !self.muted && !self.left.is_empty() {
            self.known.withdraw(&std::mem::take(&mut self.left), tales);
        }
        std::mem::swap(&mut self.tales, tales);
        match &entry.what {
            What::Records(r) => {
                self.worker.set_seq(entry.seq.saturating_sub(1));
                self.records(r, &mut taken);
            }
            What::Tick(now) => self.tick(*now),
            What::Behind { source, stream, yes } => {
                let lateness = self.loaded.source(source).lateness;
                self.say(|b, out| {
                    let id = b.engine().stream(stream, lateness);
                    b.engine().hold(id, *yes, out);
                });
            }
            What::Closed { source, stream } => {
                let lateness = self.loaded.source(source).lateness;
                self.say(|b, out| {
                    let id = b.engine().stream(stream, lateness);
                    b.worker.close(stream, out);
                    b.engine().close(id, out);
                });
            }
            What::Gap { from, to } => self.say(|b, out| b.worker.gap(*from, *to, out)),
            What::Load { hash, .. } => self.loads.take(*hash, entry.lsn),
        }
        std::mem::swap(&mut self.tales, tales);
        taken
    }

    /// Lets the core say something, and makes of it what is to be told.
    fn say(&mut self, f: impl FnOnce(&mut Brain, &mut Vec<Output>)) {
        let mut said = std::mem::take(&mut self.said);
        f(self, &mut said);
        self.said = said;
        self.drain();
    }

    fn records(&mut self, r: &Records, taken: &mut Taken) {
        let loaded = self.loaded.clone();
        let setting = loaded.source(&r.source);
        let format = r.format.as_deref().and_then(|f| Format::named(f, &loaded.formats));
        let ctx = Context { zone: &setting.zone, near: r.near, named: format.is_some(), estate: &setting.estate };
        let origin = Origin { ctx, format, stream: &r.stream, lateness: setting.lateness, received: Some(r.received) };
        let before = (self.engine().counters().late, self.engine().counters().ahead);
        for &one in &r.batch.records {
            let (seen, ts) = self.worker.parse(&r.batch, one, &origin, &mut self.row);
            self.worker.feed(&r.batch, one, &origin, &mut self.row, &mut self.said);
            taken.errors += seen.error as u64;
            taken.last = taken.last.max(ts.min(r.received));
            taken.event = Some(ts);
            if !self.said.is_empty() {
                self.drain();
            }
        }
        // Once for the entry, which is the same on every replay: records of one key that came together are judged together.
        self.worker.tell(&mut self.said);
        self.drain();
        let after = self.engine().counters();
        (taken.late, taken.ahead) = (after.late - before.0, after.ahead - before.1);
    }

    /// Tells the engine what time it is, and tells of alerts that have matched again.
    fn tick(&mut self, now: Timestamp) {
        self.say(|b, out| b.engine().tick(now, out));
        self.known.updates(&mut self.tales);
    }

    /// Shows how the engine stands.
    pub fn gauge(&mut self) {
        let metrics = self.metrics.clone();
        let (groups, bytes) = self.engine().size();
        metrics.groups.set(groups as i64);
        metrics.state_bytes.set(bytes as i64);
        metrics.waiting.set(self.engine().waiting() as i64);
        let c = self.engine().counters();
        let limits = [
            ("pending", c.final_early),
            ("after_pending", c.after_final),
            ("missing_key", c.without_key),
            ("keys_of_event", c.keys_left_out),
            ("max_alerts", c.stormed),
        ];
        for (limit, n) in limits {
            let before = self.counted.insert(limit, n).unwrap_or(0);
            metrics.limited(limit, n.saturating_sub(before));
        }
    }

    /// Groups given up so far, by rule.
    pub fn evicted(&mut self) -> Vec<(String, u64)> {
        let rules = self.loaded.rules.clone();
        let counts = &self.engine().counters().evicted;
        rules.rules.iter().zip(counts).filter(|&(_, &n)| n > 0).map(|(r, &n)| (r.id.to_string(), n)).collect()
    }

    /// Matches so far that opened no alert of their own since their rule had opened as many as it may, by rule.
    pub fn stormed(&self) -> Vec<(String, u64)> {
        self.known.stormed()
    }

    /// Makes of what the engine has said what is to be told.
    fn drain(&mut self) {
        let (loaded, metrics) = (self.loaded.clone(), self.metrics.clone());
        let rules = &loaded.rules;
        for o in self.said.drain(..) {
            match o {
                Output::Alert(step, alert) => {
                    let tale = Tale::of(rules, &alert, step);
                    // It is counted when it is first told, and once, whatever becomes of it.
                    if self.known.told(&alert, &tale) && !self.muted {
                        metrics.alert(&tale.rule, tale.severity.name());
                    }
                    self.tales.push(tale);
                }
                Output::Update { id, count, last, early } => {
                    if !early || loaded.provisional {
                        metrics.updates_lost.inc_by(!self.known.counted(id, count, last) as u64);
                    }
                }
                Output::Joined(id, at) => {
                    metrics.updates_lost.inc_by(!self.known.joined(id, at) as u64);
                }
                Output::Metric { rule, value, labels, .. } => {
                    if let Some(m) = rules.rules.get(rule).and_then(|r| r.metric.as_ref()) {
                        metrics.fed.feed(m, &labels, value);
                    }
                }
            }
        }
    }
}

/// A worker for what was loaded.
fn worker(loaded: &Loaded, seed: u64, provisional: bool) -> Worker {
    let options = Options {
        provisional,
        live: true,
        budget: loaded.state.budget,
        keys: loaded.state.keys_per_rule,
        waiting: loaded.state.waiting,
        seed,
        ..Options::default()
    };
    Worker::new(loaded.rules.clone(), &loaded.formats, loaded.estate.clone(), options)
}
