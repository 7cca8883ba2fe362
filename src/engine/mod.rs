//! The engine: a function of rules and an ordered log of events and ticks. It reads no clock and no random number.
//!
//! Matches wait, level by level of the rule graph, until the watermark has passed them ([`queue`]); then they are applied
//! in the order of events, for good, and what fires is final. That alone decides what the final alerts are, so they are
//! the same whatever the order of arrival. Where alerts are wanted at once ([`Options::provisional`]), [`tell`] applies
//! the waiting matches of a key to a copy of its state and tells what would fire, amends and withdraws.
//!
//! Bounds: `keys` groups a rule and [`Options::budget`] bytes in all, beyond which the least recently touched group goes;
//! [`Options::pending`] waiting matches a key and [`Options::waiting`] in all, beyond which the oldest become final early. All are counted.

mod blob;
pub mod collect;
mod copies;
mod early;
pub mod evidence;
pub mod group;
pub mod hit;
pub mod key;
mod part;
mod queue;
mod reach;
mod restore;
mod save;
mod saved;
mod steps;
mod storm;
pub mod stream;
mod table;
mod tell;
mod window;

pub use restore::Restored;
pub use save::{Both, Work, in_turn};
pub use saved::StateError;
pub use saved::{Parts, Saved};
pub(crate) use saved::{Reader, put};
pub use stream::{Arrival, StreamId};

use crate::alert::{self, Alert, Step};
use crate::event::{Arena, Event, Field, Layout, Out, Slot, Span, Timestamp, field};
use crate::parse::Estate;
use crate::rule::compile::Matcher;
use crate::rule::{Kind, MetricKind, RuleSet};
use early::{Unit, UnitKey};
use evidence::AlertRef;
use foldhash::fast::FixedState;
use group::{Effect, Fired, Group, Quiet};
use hashbrown::HashMap;
use hit::{Hit, Payload, Pos};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use storm::Storm;
use stream::Streams;
use table::Table;

/// How an engine is to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether alerts are told before they are final.
    pub provisional: bool,
    /// Whether time passes by ticks, so that a stream can fall idle.
    pub live: bool,
    /// Bytes of state in all.
    pub budget: usize,
    /// Groups of a rule that does not say `keys` itself.
    pub keys: usize,
    /// Waiting matches a key.
    pub pending: usize,
    /// Waiting matches in all.
    pub waiting: usize,
    /// Seed of the hashes: the log's.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { provisional: false, live: false, budget: 128 << 20, keys: 100_000, pending: 256, waiting: 200_000, seed: 0 }
    }
}

/// What is known of an event beside its fields.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// Its stream.
    pub stream: StreamId,
    /// What [`Engine::arrive`] made of it.
    pub arrival: Arrival,
    /// Its number.
    pub seq: u64,
    /// Its original record.
    pub record: &'a [u8],
}

/// What the engine has to say.
#[derive(Clone, Debug)]
pub enum Output {
    /// An alert has come to this.
    Alert(Step, Box<Alert>),
    /// An open alert has matched again.
    Update {
        /// Its id.
        id: [u8; 16],
        /// Its count by now.
        count: u64,
        /// Its latest match by now.
        last: Timestamp,
        /// Whether that can still change; it is told once more when it cannot.
        early: bool,
    },
    /// An alert has taken one more match, at this time: of a rule that may open no more, or a late one.
    Joined([u8; 16], Timestamp),
    /// A rule's metric moves.
    Metric {
        /// The rule.
        rule: usize,
        /// When.
        ts: Timestamp,
        /// By how much, or to what.
        value: f64,
        /// The values of its `label_fields`.
        labels: Vec<String>,
    },
}

/// What has happened so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Events that came after their time.
    pub late: u64,
    /// Events whose clock ran ahead.
    pub ahead: u64,
    /// Groups dropped with live progress, by rule. Saved state has them beside each rule.
    #[serde(skip)]
    pub evicted: Vec<u64>,
    /// Matches that became final early because their key had too many waiting.
    pub final_early: u64,
    /// Matches that came before one of their key that had become final early; windows do not see them.
    pub after_final: u64,
    /// Matches for which a key field was missing.
    pub without_key: u64,
    /// Keys left out because one event had more than eight.
    pub keys_left_out: u64,
    /// Alerts that joined another because their rule had opened as many as it may.
    pub stormed: u64,
}

struct Plan {
    kept: Vec<Field>,
    key: Vec<Field>,
    heard: bool,
    lifetime: Span,
    /// For each field of a shared cooldown, its place in `by`.
    shared: Option<Vec<usize>>,
    /// Whether the cooldown has keys and the state has none: then units share a group.
    loose: bool,
    /// Of the tables' hashes.
    seed: u64,
}

struct RuleState {
    groups: Table<Group>,
    quiets: Table<Quiet>,
    storm: Storm,
}

impl RuleState {
    fn new(seed: u64) -> RuleState {
        RuleState { groups: Table::new(seed), quiets: Table::new(seed), storm: Storm::default() }
    }
}

/// How many late hits of a rule have had one key, time and content.
#[derive(Clone, Debug)]
struct LateRank {
    rule: u32,
    /// Hash of the rest.
    name: u64,
    rank: u32,
}

/// At most so many are remembered.
const MAX_LATE_RANKS: usize = 1024;

/// The bookkeeping of one group in the table, beside its key and its heap.
const GROUP_BYTES: usize = 192;

/// Keys of an event, and keys with the steps that they fill: reused from event to event.
type KeyScratch = (Vec<Arc<[u8]>>, Vec<(Arc<[u8]>, u32)>);

/// See the module.
pub struct Engine {
    rules: Arc<RuleSet>,
    layout: Arc<Layout>,
    estate: Arc<Estate>,
    options: Options,
    matcher: Matcher,
    streams: Streams,
    plans: Vec<Plan>,
    states: Vec<RuleState>,
    queues: Vec<Queue>,
    /// For each level the place up to which hits became final early because too many waited in all.
    floors: Vec<Option<Pos>>,
    hits: Vec<Option<Hit>>,
    free: Vec<u32>,
    units: HashMap<UnitKey, Unit, FixedState>,
    /// By level the units in which something has changed that has not been told; empty where alerts are told when they are final.
    dirty: Vec<Vec<UnitKey>>,
    used: usize,
    late_ranks: VecDeque<LateRank>,
    counters: Counters,
    matched: Vec<crate::rule::compile::Hit>,
    scratch: Vec<u8>,
    made: Vec<Hit>,
    keys: KeyScratch,
    row: (Arena, Vec<Slot>),
}

impl Engine {
    /// An engine for these rules, whose events have this layout ([`fields`] says what it must hold).
    pub fn new(rules: Arc<RuleSet>, layout: Arc<Layout>, estate: Arc<Estate>, options: Options) -> Engine {
        let heard = |i: usize| {
            rules.rules.iter().any(|r| {
                std::iter::once(&r.when).chain(r.kind.steps().iter().map(|s| &s.when)).any(|w| w.rules.as_ref().is_some_and(|l| l.contains(&i)))
            })
        };
        let plans = rules
            .rules
            .iter()
            .enumerate()
            .map(|(i, r)| {
                let shared = match &r.rearm {
                    crate::rule::Rearm::Cooldown { by: Some(by), .. } if !r.by.is_empty() => {
                        Some(by.iter().filter_map(|f| r.by.iter().position(|b| b == f)).collect())
                    }
                    _ => None,
                };
                let loose = r.by.is_empty() && matches!(r.rearm, crate::rule::Rearm::Cooldown { by: Some(_), .. });
                Plan {
                    kept: hit::kept_fields(r),
                    key: hit::key_fields(r).to_vec(),
                    heard: heard(i),
                    lifetime: group::lifetime(r),
                    shared,
                    loose,
                    seed: options.seed,
                }
            })
            .collect();
        let levels = rules.rules.iter().map(|r| r.level).max().unwrap_or(0) as usize;
        let seed = options.seed;
        let states = rules.rules.iter().map(|_| RuleState::new(seed)).collect();
        Engine {
            matcher: Matcher::new(&rules, &layout),
            streams: Streams::new(options.live),
            plans,
            states,
            queues: (0..levels).map(|_| Queue::default()).collect(),
            floors: vec![None; levels],
            hits: Vec::new(),
            free: Vec::new(),
            units: HashMap::with_hasher(FixedState::with_seed(seed)),
            dirty: if options.provisional { vec![Vec::new(); levels] } else { Vec::new() },
            used: 0,
            late_ranks: Default::default(),
            counters: Counters { evicted: vec![0; rules.rules.len()], ..Counters::default() },
            matched: Vec::new(),
            scratch: Vec::new(),
            made: Vec::new(),
            keys: Default::default(),
            row: (Arena::default(), vec![Slot::Missing; layout.len()]),
            rules,
            layout,
            estate,
            options,
        }
    }

    /// Opens a stream, or finds the one of that name.
    pub fn stream(&mut self, name: &str, lateness: Span) -> StreamId {
        self.streams.open(name, lateness)
    }

    /// A stream has a backlog: the watermark waits for it however far it trails, until it has caught up.
    pub fn hold(&mut self, stream: StreamId, yes: bool, out: &mut Vec<Output>) {
        self.streams.hold(stream, yes);
        self.advance(out);
        self.tell(out);
    }

    /// A stream has ended: nothing waits for it any more.
    pub fn close(&mut self, stream: StreamId, out: &mut Vec<Output>) {
        self.streams.close(stream);
        self.advance(out);
        self.tell(out);
    }

    /// Takes an event's time in. Call it once for each event, before [`Engine::event`].
    pub fn arrive(&mut self, stream: StreamId, ts: Timestamp, received: Option<Timestamp>) -> Arrival {
        let a = self.streams.arrive(stream, ts, received);
        self.counters.late += a.late as u64;
        self.counters.ahead += a.ahead as u64;
        a
    }

    /// Takes an event in. What it comes to before it is final is told by [`Engine::tell`].
    pub fn event(&mut self, ev: &Event<'_>, meta: &Meta<'_>, out: &mut Vec<Output>) {
        let mut matched = std::mem::take(&mut self.matched);
        matched.clear();
        self.matcher.event(ev, meta.arrival.ts, &mut matched);
        if !matched.is_empty() {
            let pos = Pos {
                ts: meta.arrival.ts,
                stream: self.streams.rank(meta.stream),
                place: meta.arrival.place,
                level: 0,
                rule: 0,
                origin: None,
                ord: 0,
            };
            let content = xxhash_rust::xxh3::xxh3_64(meta.record);
            let mut hits = std::mem::take(&mut self.made);
            self.hits_of(ev, &matched, &pos, content, meta.seq, None, &mut hits);
            self.take_in(&mut hits, meta.arrival.late, out);
            self.made = hits;
            self.relieve(out);
        }
        self.matched = matched;
        self.advance(out);
    }

    /// Nobody listened between these two instants: every stream has ended, held ones too, and the watermark stays until one of
    /// them goes on.
    ///
    /// Such time is no silence. No kind of rule waits for silence here; what comes to wait for an instant moves by the gap, here.
    pub fn gap(&mut self, _from: Timestamp, _to: Timestamp, out: &mut Vec<Output>) {
        self.streams.gap();
        self.advance(out);
        self.tell(out);
    }

    /// Time has come to `now`, of the system's clock: streams fall idle, groups expire. Once a second.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.streams.tick(now);
        self.advance(out);
        let mark = self.streams.watermark();
        for r in 0..self.states.len() {
            self.expire(r, mark);
        }
        self.tell(out);
        self.sweep_units();
    }

    /// The input has ended: all that has come is final.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        self.commit_before(Timestamp::MAX, out);
        self.tell(out);
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Groups with state, and the bytes that state is reckoned at.
    pub fn size(&self) -> (usize, usize) {
        (self.states.iter().map(|s| s.groups.len()).sum(), self.used)
    }

    /// Matches that wait for the watermark.
    pub fn waiting(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    /// The one watermark.
    pub fn watermark(&self) -> Timestamp {
        self.streams.watermark()
    }

    /// Applies what the watermark has passed.
    pub fn advance(&mut self, out: &mut Vec<Output>) {
        let before = self.streams.watermark();
        let mark = self.streams.advance();
        if mark > before || mark > Timestamp::MIN && self.queues.iter().any(|q| q.len() > 0) {
            self.commit_before(mark, out);
        }
    }

    /// Applies, for good, all hits before `mark`: level by level, each level in the order of events.
    fn commit_before(&mut self, mark: Timestamp, out: &mut Vec<Output>) {
        for level in 0..self.queues.len() {
            while let Some(slot) = self.queues[level].pop(mark) {
                if let Some(h) = self.hits[slot as usize].take() {
                    self.leave_unit(&h, slot);
                    self.commit(h, slot, out);
                }
                self.free.push(slot);
            }
        }
    }

    /// Too many hits wait in all, as when a flood has a new key for each event: the oldest of the fullest level become
    /// final now, and what comes before them is counted and left out.
    fn relieve(&mut self, out: &mut Vec<Output>) {
        while self.waiting() > self.options.waiting {
            let Some(level) = (0..self.queues.len()).max_by_key(|&l| self.queues[l].len()) else { return };
            let Some(slot) = self.queues[level].pop(Timestamp::MAX) else { return };
            if let Some(h) = self.hits[slot as usize].take() {
                self.floors[level] = Some(h.pos.clone());
                self.counters.final_early += 1;
                self.leave_unit(&h, slot);
                self.commit(h, slot, out);
            }
            self.free.push(slot);
        }
    }

    /// The hits of an event or alert, appended: one for each rule and key, and one for each metric.
    #[allow(clippy::too_many_arguments)]
    fn hits_of(
        &mut self,
        ev: &Event<'_>,
        matched: &[crate::rule::compile::Hit],
        pos: &Pos,
        content: u64,
        seq: u64,
        alert: Option<Arc<AlertRef>>,
        all: &mut Vec<Hit>,
    ) {
        let rules = self.rules.clone();
        let (mut made, mut keys) = std::mem::take(&mut self.keys);
        for same in matched.chunk_by(|a, b| a.rule == b.rule) {
            let r = same[0].rule;
            let (rule, plan) = (&rules.rules[r as usize], &self.plans[r as usize]);
            let base = |key: Arc<[u8]>, quiet: Arc<[u8]>, payload: Payload| Hit {
                pos: pos.clone(),
                rule: r,
                mask: 1,
                key,
                quiet,
                per: 0,
                payload,
                content,
                seq,
                alert: alert.clone(),
                kept: None,
                tentative: false,
            };
            if let Some(m) = &rule.metric
                && let Some(p) = metric(ev, m)
            {
                all.push(base(Arc::from([]), Arc::from([]), p));
            }
            if !rule.alert {
                continue;
            }
            let Some(payload) = hit::payload(ev, &rule.kind, &mut self.scratch) else { continue };
            keys.clear();
            for m in same {
                let by = rule.kind.steps().get(m.step as usize).and_then(|s| s.by.as_deref()).unwrap_or(&rule.by);
                hit::keys(ev, by, rule.missing_null, &mut self.scratch, &mut self.counters.keys_left_out, &mut made);
                for k in made.drain(..) {
                    match keys.iter_mut().find(|(x, _)| *x == k) {
                        Some((_, mask)) => *mask |= 1 << m.step,
                        None => keys.push((k, 1 << m.step)),
                    }
                }
            }
            if keys.is_empty() {
                self.counters.without_key += 1;
                continue;
            }
            let per = hit::per(ev, rule.per, &mut self.scratch);
            let kept = hit::keep(ev, &plan.kept);
            // A cooldown of other fields than the (missing) `by` has keys of its own.
            let mut quiets = Vec::new();
            if let crate::rule::Rearm::Cooldown { by: Some(by), .. } = &rule.rearm
                && rule.by.is_empty()
            {
                hit::keys(ev, by, true, &mut self.scratch, &mut self.counters.keys_left_out, &mut quiets);
            }
            let mut ord = 0;
            for (key, mask) in keys.drain(..).take(hit::MAX_KEYS) {
                let own = match &plan.shared {
                    Some(places) => project(&key, places),
                    None => key.clone(),
                };
                for quiet in if quiets.is_empty() { std::slice::from_ref(&own) } else { &quiets } {
                    let mut h = base(key.clone(), quiet.clone(), payload.clone());
                    (h.mask, h.per, h.kept, h.pos.ord) = (mask, per, kept.clone(), ord);
                    ord = ord.saturating_add(1);
                    all.push(h);
                }
            }
        }
        self.keys = (made, keys);
    }

    fn take_in(&mut self, hits: &mut Vec<Hit>, late: bool, out: &mut Vec<Output>) {
        for h in hits.drain(..) {
            if late { self.late(h, out) } else { self.enqueue(h, out) }
        }
    }

    /// The place of a rule's level in lists by level.
    fn level(&self, rule: u32) -> usize {
        self.rules.rules[rule as usize].level.max(1) as usize - 1
    }

    fn enqueue(&mut self, h: Hit, out: &mut Vec<Output>) {
        let level = self.level(h.rule);
        if self.floors[level].as_ref().is_some_and(|f| h.pos < *f) {
            self.counters.after_final += 1;
            return;
        }
        if matches!(h.payload, Payload::Metric(_)) {
            let pos = h.pos.clone();
            let slot = self.keep_hit(h);
            self.queues[level].push(pos, slot);
            return;
        }
        let pos = h.pos.clone();
        if let Some((slot, over)) = self.join_unit(h) {
            self.queues[level].push(pos, slot);
            if let Some(unit) = over {
                self.finish_oldest(&unit, out);
            }
        }
    }

    fn keep_hit(&mut self, h: Hit) -> u32 {
        match self.free.pop() {
            Some(i) => {
                self.hits[i as usize] = Some(h);
                i
            }
            None => {
                self.hits.push(Some(h));
                self.hits.len() as u32 - 1
            }
        }
    }

    /// Applies a hit for good.
    fn commit(&mut self, h: Hit, slot: u32, out: &mut Vec<Output>) {
        if let Payload::Metric(m) = h.payload {
            out.push(Output::Metric { rule: h.rule as usize, ts: h.pos.ts, value: m.0, labels: m.1 });
            return;
        }
        let rules = self.rules.clone();
        let (r, t) = (h.rule as usize, h.pos.ts);
        let rule = &rules.rules[r];
        self.expire(r, t.min(self.streams.watermark()));
        let st = &mut self.states[r];
        let (g, new) = st.groups.touch(&h.key, t);
        let before = if new { 0 } else { g.bytes() };
        // Quiet is rare: only a key that has fired has an entry.
        let mut none = Quiet::default();
        let known = !st.quiets.is_empty() && st.quiets.get(&h.quiet).is_some();
        let quiet = if known { st.quiets.touch(&h.quiet, t).0 } else { &mut none };
        let effect = group::apply(rule, &h, g, quiet);
        let after = g.bytes();
        match effect {
            Effect::None => {}
            Effect::Update(s) if s.joined => out.push(Output::Joined(s.alert, t)),
            Effect::Update(s) => out.push(Output::Update { id: s.alert, count: s.count, last: s.last, early: false }),
            Effect::Fired(f) => {
                let id = self.alert_id(&h, &f);
                let st = &mut self.states[r];
                let joined = st.storm.open(t, rule.max_alerts, id);
                let (g, _) = st.groups.touch(&h.key, t);
                let quiet = if known { st.quiets.touch(&h.quiet, t).0 } else { &mut none };
                group::settle(rule, t, (joined.unwrap_or(id), joined.is_some()), &f, g, quiet);
                if !known && none.now.is_some() {
                    *st.quiets.touch(&h.quiet, t).0 = none;
                    self.used += GROUP_BYTES + h.quiet.len();
                }
                match joined {
                    Some(newest) => {
                        self.counters.stormed += 1;
                        self.settle_told(&h, slot, None, out);
                        self.again(&(h.rule, h.quiet.clone()));
                        out.push(Output::Joined(newest, t));
                    }
                    None => {
                        let alert = self.alert(&h, &f, id, false);
                        self.settle_told(&h, slot, Some(alert), out);
                    }
                }
                let after = self.states[r].groups.get(&h.key).map_or(0, Group::bytes);
                self.account(r, &h, new, before, after);
                return;
            }
        }
        self.settle_told(&h, slot, None, out);
        self.account(r, &h, new, before, after);
    }

    /// Keeps the reckoning of bytes, and the caps.
    fn account(&mut self, r: usize, h: &Hit, new: bool, before: usize, after: usize) {
        self.used = (self.used + after).saturating_sub(before);
        if new {
            self.used += GROUP_BYTES + h.key.len();
        }
        while self.states[r].groups.len() > self.rules.rules[r].keys.unwrap_or(self.options.keys) {
            self.evict(r);
        }
        while self.used > self.options.budget {
            // The rule whose least recently touched group has been left alone for longest gives it up.
            let Some(r) = (0..self.states.len()).filter(|&r| self.states[r].groups.len() > 1).min_by_key(|&r| self.states[r].groups.oldest()) else {
                break;
            };
            for _ in 0..64.min(self.states[r].groups.len() - 1) {
                self.evict(r);
            }
        }
    }

    fn evict(&mut self, r: usize) {
        if let Some(key) = self.drop_oldest(r) {
            self.group_gone(r, &key);
        }
        self.counters.evicted[r] += 1;
    }

    fn drop_oldest(&mut self, r: usize) -> Option<Arc<[u8]>> {
        let (key, g) = self.states[r].groups.pop_oldest()?;
        self.used = self.used.saturating_sub(GROUP_BYTES + key.len() + g.bytes());
        Some(key)
    }

    /// Forgets what can matter no more at `now`.
    fn expire(&mut self, r: usize, now: Timestamp) {
        let lifetime = self.plans[r].lifetime;
        while self.states[r].groups.oldest().is_some_and(|t| t <= now.minus(lifetime)) {
            self.drop_oldest(r);
        }
        // An ended quiet is remembered as long again, at least an hour, for events that come late.
        let memory = Span(lifetime.0.saturating_mul(2).max(Span::seconds(3600).0));
        let most = self.rules.rules[r].keys.unwrap_or(self.options.keys);
        let goes = |q: &Table<Quiet>| q.oldest().is_some_and(|t| t <= now.minus(memory)) || q.len() > most;
        while goes(&self.states[r].quiets) {
            let Some((key, _)) = self.states[r].quiets.pop_oldest() else { break };
            self.used = self.used.saturating_sub(GROUP_BYTES + key.len());
            self.again(&(r as u32, key));
        }
    }

    /// A late event, or the alert of one: rules without windows see it.
    fn late(&mut self, h: Hit, out: &mut Vec<Output>) {
        if let Payload::Metric(m) = h.payload {
            out.push(Output::Metric { rule: h.rule as usize, ts: h.pos.ts, value: m.0, labels: m.1 });
            return;
        }
        let rules = self.rules.clone();
        let (r, t) = (h.rule as usize, h.pos.ts);
        if rules.rules[r].kind != Kind::Single {
            return;
        }
        if let Some(s) = self.states[r].quiets.get(&h.quiet).and_then(|q| q.covers(t)) {
            out.push(Output::Joined(s.alert, t));
            return;
        }
        // Late hits come in no order, so their rank at one instant is counted apart from the group.
        self.scratch.clear();
        self.scratch.extend_from_slice(&h.key);
        self.scratch.extend_from_slice(&t.0.to_le_bytes());
        let name = xxhash_rust::xxh3::xxh3_64_with_seed(&self.scratch, h.content);
        let rank = match self.late_ranks.iter_mut().find(|l| l.rule == h.rule && l.name == name) {
            Some(l) => {
                l.rank += 1;
                l.rank
            }
            None => {
                if self.late_ranks.len() == MAX_LATE_RANKS {
                    self.late_ranks.pop_front();
                }
                self.late_ranks.push_back(LateRank { rule: h.rule, name, rank: 0 });
                0
            }
        };
        let e = evidence::Evidence { ts: t, seq: h.seq, mark: group::mark(h.content, rank), alert: h.alert.clone(), kept: h.kept.clone() };
        let f = Fired { evidence: vec![e], count: 1, last: t, short: 0 };
        let id = self.alert_id(&h, &f);
        if let Some(newest) = self.states[r].storm.open(t, rules.rules[r].max_alerts, id) {
            self.counters.stormed += 1;
            out.push(Output::Joined(newest, t));
            return;
        }
        let alert = self.alert(&h, &f, id, true);
        let mut chained = self.chain(&h.pos, h.seq, &alert);
        out.push(Output::Alert(Step::Final, Box::new(alert)));
        self.take_in(&mut chained, true, out);
    }

    fn alert_id(&self, h: &Hit, f: &Fired) -> [u8; 16] {
        let rule = &self.rules.rules[h.rule as usize];
        let key = self.alert_key(h);
        let mark = |e: Option<&evidence::Evidence>| e.map_or(0, |e| e.mark);
        let completing = f.evidence.iter().rev().find(|e| e.seq == h.seq && e.ts == h.pos.ts).or(f.evidence.last());
        alert::id(rule, key, mark(f.evidence.iter().min_by_key(|e| e.ts)), mark(completing))
    }

    fn alert_key<'h>(&self, h: &'h Hit) -> &'h Arc<[u8]> {
        if self.rules.rules[h.rule as usize].by.is_empty() { &h.quiet } else { &h.key }
    }

    fn alert(&self, h: &Hit, f: &Fired, id: [u8; 16], late: bool) -> Alert {
        let plan = &self.plans[h.rule as usize];
        let key = self.alert_key(h).clone();
        let keys: Vec<_> = plan.key.iter().copied().zip(key::scalars(&key)).collect();
        let values = f.kept(h.kept.as_ref(), plan.kept.len());
        let carried = plan.kept.iter().zip(values).filter(|(f, _)| !plan.key.contains(f)).map(|(f, v)| (*f, key::scalars(&v))).collect();
        Alert {
            id,
            delivery: id,
            rule: h.rule as usize,
            ts: h.pos.ts,
            key,
            keys,
            carried,
            count: f.count,
            first: f.first(),
            last: f.last,
            evidence: Alert::cited(f.evidence.clone()),
            short: f.short,
            late,
        }
    }

    /// The hits that an alert makes as an event, if anybody listens to its rule: behind the hit that completed it.
    fn chain(&mut self, behind: &Pos, seq: u64, a: &Alert) -> Vec<Hit> {
        if !self.plans[a.rule].heard {
            return Vec::new();
        }
        let rules = self.rules.clone();
        let (layout, estate) = (self.layout.clone(), self.estate.clone());
        let rule = &rules.rules[a.rule];
        let (mut arena, mut slots) = std::mem::take(&mut self.row);
        arena.clear();
        let mut o = Out::new(&[], &mut arena, &mut slots, &layout, None);
        o.time(field::TIMESTAMP, a.ts);
        o.word(field::EVENT_KIND, "alert");
        o.word(field::EVENT_MODULE, "vigild");
        o.str(field::RULE_ID, rule.id.as_bytes());
        o.str(field::RULE_NAME, rule.title.as_bytes());
        o.word(field::ALERT_SEVERITY, rule.severity.name());
        rule.tactics.iter().for_each(|t| o.add(field::RULE_TACTIC, t.as_bytes()));
        let carried = a.carried.iter().filter(|(f, _)| rule.carry.contains(f)).map(|(f, v)| (*f, &v[..]));
        let all = a.keys.iter().map(|(f, s)| (*f, std::slice::from_ref(s))).chain(carried);
        for (f, values) in all.filter(|(f, _)| !alert::is_own(*f)) {
            for v in values {
                let s = slot_of(&mut o, v);
                if values.len() == 1 {
                    o.put(f, s)
                } else {
                    o.push(f, s)
                }
                related(&mut o, f, v, &estate);
            }
        }
        let ev = Event::new(&[], &arena, &slots, &layout);
        let mut matched = Vec::new();
        self.matcher.alert(&ev, a.rule, a.ts, &mut matched);
        let pos = Pos { level: rule.level, rule: a.rule as u32, origin: Some(a.key.clone()), ord: 0, ..behind.clone() };
        let content = xxhash_rust::xxh3::xxh3_64(&a.id);
        let mut hits = Vec::new();
        let source = Some(Arc::new(AlertRef { id: a.id, rule: rule.id.clone() }));
        self.hits_of(&ev, &matched, &pos, content, seq, source, &mut hits);
        self.row = (arena, slots);
        hits
    }
}

fn slot_of(o: &mut Out<'_>, v: &key::Scalar) -> Slot {
    use key::Scalar::*;
    match v {
        Null => Slot::Missing,
        Bool(b) => Slot::Bool(*b),
        Int(n) => i64::try_from(*n).map(Slot::Int).or_else(|_| u64::try_from(*n).map(Slot::Big)).unwrap_or_default(),
        Float(x) => Slot::Float(*x),
        Str(s) => o.text(s.as_bytes()),
        Ip(ip) => o.address(*ip),
        Time(t) => Slot::Time(*t),
    }
}

/// `related.*` of an alert, made of its key fields and what it carries; hosts only if the inventory has them.
fn related(o: &mut Out<'_>, f: Field, v: &key::Scalar, estate: &Estate) {
    let to = match (f, v) {
        (_, key::Scalar::Ip(_)) => field::RELATED_IP,
        (field::USER_NAME | field::USER_EFFECTIVE_NAME | field::RELATED_USER | field::SOURCE_USER_NAME, _) => field::RELATED_USER,
        (field::HOST_NAME, key::Scalar::Str(s)) if estate.named(s.as_bytes()).is_some() => field::RELATED_HOSTS,
        (field::RELATED_HOSTS, _) => field::RELATED_HOSTS,
        _ => return,
    };
    if let key::Scalar::Ip(ip) = v
        && let Some(h) = estate.at(*ip)
    {
        let s = o.text(h.name.as_bytes());
        o.add_once(field::RELATED_HOSTS, s);
    }
    if f != to {
        let s = slot_of(o, v);
        o.add_once(to, s);
    }
}

/// The quiet key of a group key: the values at some places of it.
fn project(key: &Arc<[u8]>, places: &[usize]) -> Arc<[u8]> {
    let mut parts = Vec::new();
    let mut rest: &[u8] = key;
    while let Some((_, r)) = key::decode(rest) {
        parts.push(&rest[..rest.len() - r.len()]);
        rest = r;
    }
    let mut b = Vec::with_capacity(key.len());
    places.iter().filter_map(|&i| parts.get(i)).for_each(|p| b.extend_from_slice(p));
    b.into()
}

/// What an event does to a metric; `None` where it lacks the value.
fn metric(ev: &Event<'_>, m: &crate::rule::Metric) -> Option<Payload> {
    let value = match m.value {
        Some(f) => hit::millionths(ev.get(f))? as f64 / 1e6,
        None if m.kind == MetricKind::Counter => 1.0,
        None => return None,
    };
    let label = |f: Field| ev.get(f).each().map(alert::plain).collect();
    let labels = m.label_fields.iter().map(|(_, t)| alert::fill(t, label)).collect();
    Some(Payload::Metric(Box::new((value, labels))))
}

/// The fields that the engine itself reads or writes, beyond those of the rules' conditions.
pub fn fields(rules: &RuleSet) -> Vec<Field> {
    let mut all = vec![
        field::TIMESTAMP,
        field::EVENT_ORIGINAL,
        field::EVENT_INGESTED,
        field::EVENT_STREAM,
        field::EVENT_LATE,
        field::EVENT_AHEAD,
        field::EVENT_KIND,
    ];
    for r in &rules.rules {
        all.extend(hit::kept_fields(r));
        all.extend(hit::key_fields(r));
    }
    all
}
