//! Where the shell calls the core: parsers and engine in the engine's thread, and what becomes of what they say.

use super::output::Lines;
use super::{Chunk, Stream};
use crate::alert::{Alert, Step};
use crate::config::Config;
use crate::engine::{Engine, Options, Output, StreamId};
use crate::event::Timestamp;
use crate::metrics::Metrics;
use crate::parse::{Context, Estate, declared};
use crate::rule::RuleSet;
use crate::worker::{Origin, Row, Worker};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// So many alerts are remembered, so that further matches can be told; those of older ones are counted as lost.
const REMEMBERED: usize = 10_000;

/// Rules and formats, loaded and checked.
pub struct Loaded {
    /// The rules.
    pub rules: RuleSet,
    /// The declared formats.
    pub formats: declared::Formats,
    /// The inventory and the proxies.
    pub estate: Arc<Estate>,
}

/// What became of the records of a chunk.
#[derive(Default)]
pub struct Taken {
    /// Taken by no parser.
    pub errors: u64,
    /// Given their arrival time.
    pub ahead: u64,
    /// Too late for windows.
    pub late: u64,
    /// The greatest event time.
    pub last: Timestamp,
}

/// Parsers and engine, and what has been said of alerts.
pub struct Brain {
    rules: Arc<RuleSet>,
    estate: Arc<Estate>,
    provisional: bool,
    worker: Worker,
    row: Row,
    said: Vec<Output>,
    alerts: Alerts,
    /// What has been counted of the engine's counters.
    counted: BTreeMap<&'static str, u64>,
}

/// The alerts that may be told of again.
#[derive(Default)]
struct Alerts {
    /// By id; no copies of evidence.
    known: HashMap<[u8; 16], Known>,
    /// The id that goes under a delivery key now, the oldest first to be forgotten.
    current: HashMap<[u8; 16], [u8; 16]>,
    order: VecDeque<[u8; 16]>,
    /// Those with matches that have not been told.
    changed: BTreeSet<[u8; 16]>,
    /// Matches that joined another alert since their rule may open no more, by rule.
    stormed: BTreeMap<String, u64>,
}

struct Known {
    alert: Alert,
    joined: u64,
    is_final: bool,
}

impl Brain {
    /// Of what was loaded.
    pub fn new(loaded: Loaded, config: &Config) -> Brain {
        let rules = Arc::new(loaded.rules);
        let options = Options {
            provisional: config.provisional,
            live: true,
            budget: config.state.budget,
            keys: config.state.keys_per_rule,
            waiting: config.state.waiting,
            ..Options::default()
        };
        let worker = Worker::new(rules.clone(), &loaded.formats, loaded.estate.clone(), options);
        Brain {
            rules,
            estate: loaded.estate,
            provisional: config.provisional,
            worker,
            row: Row::default(),
            said: Vec::new(),
            alerts: Alerts::default(),
            counted: BTreeMap::new(),
        }
    }

    fn engine(&mut self) -> &mut Engine {
        self.worker.engine()
    }

    /// Opens a stream.
    pub fn open(&mut self, stream: &Stream) -> StreamId {
        self.engine().stream(&stream.name, stream.source.lateness)
    }

    /// Takes the records of a chunk in their order.
    pub fn take(&mut self, chunk: &Chunk, lines: &mut Lines, metrics: &Metrics) -> Taken {
        let mut taken = Taken { last: Timestamp::MIN, ..Taken::default() };
        let source = &chunk.stream.source;
        let estate = self.estate.clone();
        let ctx = Context { zone: &source.zone, near: chunk.near, named: chunk.format.is_some(), estate: &estate };
        let origin = Origin { ctx, format: chunk.format, stream: &chunk.stream.name, lateness: source.lateness, received: Some(chunk.received) };
        let before = (self.engine().counters().late, self.engine().counters().ahead);
        for &r in &chunk.batch.records {
            let (seen, ts) = self.worker.parse(&chunk.batch, r, &origin, &mut self.row);
            self.worker.feed(&chunk.batch, r, &origin, &mut self.row, &mut self.said);
            taken.errors += seen.error as u64;
            taken.last = taken.last.max(ts.min(chunk.received));
            if !self.said.is_empty() {
                self.drain(lines, metrics);
            }
        }
        let after = self.engine().counters();
        (taken.late, taken.ahead) = (after.late - before.0, after.ahead - before.1);
        taken
    }

    /// Holds the watermark for a stream with a backlog, or no longer.
    pub fn behind(&mut self, id: StreamId, yes: bool, lines: &mut Lines, metrics: &Metrics) {
        let mut said = std::mem::take(&mut self.said);
        self.engine().hold(id, yes, &mut said);
        self.said = said;
        self.drain(lines, metrics);
    }

    /// Ends a stream.
    pub fn close(&mut self, stream: &Stream, lines: &mut Lines, metrics: &Metrics) {
        self.worker.close(&stream.name, &mut self.said);
        // A file that was opened and never gave a record is known to the engine alone.
        if let Some(&id) = stream.id.get() {
            let mut said = std::mem::take(&mut self.said);
            self.engine().close(id, &mut said);
            self.said = said;
        }
        self.drain(lines, metrics);
    }

    /// Tells the engine what time it is, and tells of alerts that have matched again.
    pub fn tick(&mut self, now: Timestamp, lines: &mut Lines, metrics: &Metrics) {
        let mut said = std::mem::take(&mut self.said);
        self.engine().tick(now, &mut said);
        self.said = said;
        self.drain(lines, metrics);
        self.updates(lines);
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
            metrics.limited(limit, n - before);
        }
    }

    /// Groups given up so far, by rule.
    pub fn evicted(&mut self) -> Vec<(String, u64)> {
        let rules = self.rules.clone();
        let counts = &self.engine().counters().evicted;
        rules.rules.iter().zip(counts).filter(|&(_, &n)| n > 0).map(|(r, &n)| (r.id.to_string(), n)).collect()
    }

    /// Matches so far that opened no alert of their own since their rule had opened as many as it may, by rule.
    pub fn stormed(&self) -> Vec<(String, u64)> {
        self.alerts.stormed.iter().map(|(r, n)| (r.clone(), *n)).collect()
    }

    /// Writes what the engine has said.
    fn drain(&mut self, lines: &mut Lines, metrics: &Metrics) {
        for o in self.said.drain(..) {
            match o {
                Output::Alert(step, alert) => {
                    lines.line(|out| alert.write(&self.rules, Some((step, step == Step::Final)), out));
                    let rule = &self.rules.rules[alert.rule];
                    // It is counted when it is first told, and once, whatever becomes of it.
                    if self.alerts.told(step, *alert) {
                        metrics.alert(&rule.id, rule.severity.name());
                    }
                }
                Output::Update { id, count, last, early } => {
                    if !early || self.provisional {
                        self.alerts.more(id, last, metrics, |k| k.alert.count = count);
                    }
                }
                Output::Joined(id, at) => {
                    self.alerts.more(id, at, metrics, |k| k.joined += 1);
                    if let Some(k) = self.alerts.known.get(&id)
                        && !k.alert.late
                    {
                        *self.alerts.stormed.entry(self.rules.rules[k.alert.rule].id.to_string()).or_default() += 1;
                    }
                }
                Output::Metric { rule, value, labels, .. } => {
                    if let Some(m) = self.rules.rules.get(rule).and_then(|r| r.metric.as_ref()) {
                        metrics.fed.feed(m, &labels, value);
                    }
                }
            }
        }
    }

    /// Writes the alerts that have matched again, once for all matches since the last time.
    fn updates(&mut self, lines: &mut Lines) {
        for id in std::mem::take(&mut self.alerts.changed) {
            if let Some(k) = self.alerts.known.get(&id) {
                let all = Alert { count: k.alert.count + k.joined, ..k.alert.clone() };
                lines.line(|out| all.write(&self.rules, Some((Step::Updated, k.is_final)), out));
            }
        }
    }
}

impl Alerts {
    /// Remembers an alert as it was told last; `true` if nothing had been told of it before.
    fn told(&mut self, step: Step, mut alert: Alert) -> bool {
        let (id, delivery) = (alert.id, alert.delivery);
        let before = self.current.get(&delivery).copied();
        if step == Step::Withdrawn {
            self.known.remove(&id);
            self.changed.remove(&id);
            return false;
        }
        // Copies of evidence are large, and have been written.
        alert.evidence.iter_mut().for_each(|e| e.kept = None);
        if let Some(old) = before.filter(|o| *o != id) {
            self.known.remove(&old);
            self.changed.remove(&old);
        }
        let (joined, count, last) = self.known.get(&id).map_or((0, 0, alert.last), |k| (k.joined, k.alert.count, k.alert.last));
        // What was told of its matches while it could still change is not taken back by telling that it is final.
        (alert.count, alert.last) = (alert.count.max(count), alert.last.max(last));
        self.known.insert(id, Known { alert, joined, is_final: step == Step::Final });
        self.current.insert(delivery, id);
        if before.is_none() {
            self.order.push_back(delivery);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front().and_then(|d| self.current.remove(&d))
            {
                self.known.remove(&oldest);
                self.changed.remove(&oldest);
            }
        }
        before.is_none()
    }

    fn more(&mut self, id: [u8; 16], last: Timestamp, metrics: &Metrics, change: impl FnOnce(&mut Known)) {
        match self.known.get_mut(&id) {
            Some(k) => {
                change(k);
                k.alert.last = k.alert.last.max(last);
                self.changed.insert(id);
            }
            None => {
                metrics.updates_lost.inc();
            }
        }
    }
}
