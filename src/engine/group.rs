//! One key of one rule: its state, its quiet, and what a match does to them.
//!
//! [`apply`] is the whole meaning of the kinds and of rearming, for matches in the order of events. The engine calls it
//! once for good when the watermark has passed a match, and before that on copies, to say early what is to come.

use super::evidence::{Evidence, Kept};
use super::hit::{Hit, Payload};
use super::reach::Reach;
use super::steps::{AllOf, Fill, Sequence};
use super::window::{Count, Distinct, Sum};
use crate::event::{Span, Timestamp};
use crate::rule::{Kind, Rearm, Rule};
use serde::{Deserialize, Serialize};

/// State of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    Single,
    Count(Count),
    Distinct(Distinct),
    /// The large ones stand apart, so that a key of the small ones stays small.
    Sum(Box<Sum>),
    Sequence(Box<Sequence>),
    AllOf(Box<AllOf>),
}

/// A key counted apart at most so many times by `per`; then the value seen longest ago goes.
const MAX_PER: usize = 8;

/// The state of one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Group {
    /// Of the value of `per` seen last; most keys have one.
    latest: Option<(u128, State)>,
    /// Of the other values, the more recently seen later.
    others: Vec<(u128, State)>,
    /// The time of the last hit, and how many there have been at it.
    rank: (Timestamp, u32),
}

/// Quiet after firing, of a key or of all keys that share a cooldown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Quiet {
    /// The one that holds, with the alert that matches update.
    pub now: Option<Silence>,
    /// Ended ones, the latest last: a late event may fall into them.
    pub past: Vec<Silence>,
}

/// A stretch of quiet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// From the firing on.
    pub from: Timestamp,
    /// The first instant after it; [`Timestamp::MAX`] where a value has to fall first.
    pub until: Timestamp,
    /// The alert that opened it.
    pub alert: [u8; 16],
    /// How often it has matched by now, its evidence included.
    pub count: u64,
    /// The latest match.
    pub last: Timestamp,
    /// Whether the alert is another key's: the rule had opened as many as it may, and its newest takes the matches.
    pub joined: bool,
}

/// At most so many ended silences are remembered for late events.
const MAX_PAST: usize = 8;

/// An alert in the making: what fired.
#[derive(Clone, Debug)]
pub struct Fired {
    /// Oldest first.
    pub evidence: Vec<Evidence>,
    /// How many matches that is.
    pub count: u64,
    /// The greatest time of the evidence.
    pub last: Timestamp,
    /// By how many millionths the sum may be too low at most.
    pub short: i128,
}

/// What a match does.
#[derive(Clone, Debug)]
pub enum Effect {
    /// It moves the state and nothing else.
    None,
    /// It completes an alert, which gets its id from the caller by [`settle`].
    Fired(Fired),
    /// It updates an alert that is open.
    Update(Silence),
}

/// Takes one match into a key's state. Hits come in order; `quiet` is that of the cooldown key.
pub fn apply(rule: &Rule, hit: &Hit, group: &mut Group, quiet: &mut Quiet) -> Effect {
    let t = hit.pos.ts;
    let evidence = group.evidence(hit);
    if let Some(s) = quiet.now.take_if(|s| t >= s.until) {
        if quiet.past.len() == MAX_PAST {
            quiet.past.remove(0);
        }
        quiet.past.push(s);
    }
    if let (Rearm::Reset, Some(s)) = (&rule.rearm, &mut quiet.now) {
        return update(s, t);
    }
    let (value, fired) = group.state(rule, hit.per).take(rule, hit, evidence);
    match (&rule.rearm, &mut quiet.now, fired) {
        (Rearm::Below(b), Some(_), _) if value < *b => {
            quiet.now = None;
            Effect::None
        }
        (_, Some(s), _) => update(s, t),
        (_, None, Some(f)) => Effect::Fired(f),
        (_, None, None) => Effect::None,
    }
}

fn update(s: &mut Silence, t: Timestamp) -> Effect {
    s.count += 1;
    s.last = s.last.max(t);
    Effect::Update(s.clone())
}

/// Opens the quiet that follows an alert, and clears what is to be cleared.
pub fn settle(rule: &Rule, t: Timestamp, alert: ([u8; 16], bool), fired: &Fired, group: &mut Group, quiet: &mut Quiet) {
    let until = match &rule.rearm {
        Rearm::Every => return,
        Rearm::Reset => {
            group.latest = None;
            group.others.clear();
            t.plus(rule.kind.within().unwrap_or_default())
        }
        Rearm::Cooldown { time, .. } => t.plus(*time),
        Rearm::Below(_) => Timestamp::MAX,
    };
    quiet.now = Some(Silence { from: t, until, alert: alert.0, joined: alert.1, count: fired.count, last: fired.last });
}

impl Quiet {
    /// The silence that covers an instant, ended ones included.
    pub fn covers(&self, t: Timestamp) -> Option<&Silence> {
        self.past.iter().chain(&self.now).find(|s| s.from <= t && t < s.until)
    }
}

impl Group {
    fn evidence(&mut self, hit: &Hit) -> Evidence {
        let t = hit.pos.ts;
        let n = if self.rank.0 == t { self.rank.1 + 1 } else { 0 };
        self.rank = (t, n);
        let mark = mark(hit.content, n);
        Evidence { ts: t, seq: hit.seq, mark, alert: hit.alert.clone(), kept: hit.kept.clone() }
    }

    fn state(&mut self, rule: &Rule, per: u128) -> &mut State {
        if self.latest.as_ref().is_some_and(|(p, _)| *p != per) {
            let found = self.others.iter().rposition(|(p, _)| *p == per).map(|i| self.others.remove(i));
            if found.is_none() && self.others.len() + 1 == MAX_PER {
                self.others.remove(0);
            }
            self.others.extend(self.latest.take());
            self.latest = found;
        }
        &mut self.latest.get_or_insert_with(|| (per, State::of(&rule.kind))).1
    }

    /// Whether its state is that of this kind.
    pub fn fits(&self, kind: &Kind) -> bool {
        let fits = |s: &State| {
            matches!(
                (s, kind),
                (State::Single, Kind::Single)
                    | (State::Count(_), Kind::Count { .. })
                    | (State::Distinct(_), Kind::Distinct { .. })
                    | (State::Sum(_), Kind::Sum { .. })
                    | (State::Sequence(_), Kind::Sequence { .. })
                    | (State::AllOf(_), Kind::AllOf { .. })
            )
        };
        self.latest.iter().chain(&self.others).all(|(_, s)| fits(s)) && self.others.len() < MAX_PER
    }

    /// Calls `f` with all evidence it holds.
    pub fn each(&mut self, f: &mut dyn FnMut(&mut Evidence)) {
        for (_, s) in self.latest.iter_mut().chain(&mut self.others) {
            match s {
                State::Single => {}
                State::Count(x) => x.each(f),
                State::Distinct(x) => x.each(f),
                State::Sum(x) => x.each(f),
                State::Sequence(x) => x.each(f),
                State::AllOf(x) => x.each(f),
            }
        }
    }

    /// Adds what it holds for the window that ends at `now`, or more.
    pub fn reach(&self, now: Timestamp, within: Span, all: &mut Reach) {
        for (_, s) in self.latest.iter().chain(&self.others) {
            match s {
                State::Single | State::Sequence(_) => {}
                State::Count(x) => all.matches += x.inside(now, within).count(),
                State::Distinct(x) => x.inside(now, within).for_each(|v| all.value(v)),
                State::Sum(x) => all.amount = all.amount.saturating_add(x.total()),
                State::AllOf(x) => all.mask |= x.filled(now, within),
            }
        }
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        let inner: usize = self
            .latest
            .iter()
            .chain(&self.others)
            .map(|(_, s)| match s {
                State::Single => 0,
                State::Count(x) => x.bytes(),
                State::Distinct(x) => x.bytes(),
                State::Sum(x) => size_of::<Sum>() + x.bytes(),
                State::Sequence(x) => size_of::<Sequence>() + x.bytes(),
                State::AllOf(x) => size_of::<AllOf>() + x.bytes(),
            })
            .sum();
        inner + super::table::grown(self.others.len()) * size_of::<(u128, State)>()
    }
}

/// Content and rank in one number.
pub fn mark(content: u64, rank: u32) -> u64 {
    let mut b = [0u8; 12];
    b[..8].copy_from_slice(&content.to_le_bytes());
    b[8..].copy_from_slice(&rank.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&b)
}

impl State {
    fn of(kind: &Kind) -> State {
        match kind {
            Kind::Single => State::Single,
            Kind::Count { .. } => State::Count(Count::default()),
            Kind::Distinct { .. } => State::Distinct(Distinct::default()),
            Kind::Sum { .. } => State::Sum(Box::default()),
            Kind::Sequence { .. } => State::Sequence(Box::default()),
            Kind::AllOf { .. } => State::AllOf(Box::default()),
        }
    }

    /// The value in the window, as `below` judges it, and what would fire.
    fn take(&mut self, rule: &Rule, hit: &Hit, e: Evidence) -> (i128, Option<Fired>) {
        let t = e.ts;
        match (self, &rule.kind, &hit.payload) {
            (State::Count(s), Kind::Count { at_least, within }, _) => {
                if matches!(rule.rearm, Rearm::Below(_)) {
                    let n = s.take(e, *at_least, *within);
                    return (n as i128, (n >= *at_least).then(|| Fired::of(s.evidence().cloned().collect(), n as u64)));
                }
                s.push(e, *at_least);
                (0, s.is_full(t, *at_least, *within).then(|| Fired::of(s.evidence().cloned().collect(), *at_least as u64)))
            }
            (State::Distinct(s), Kind::Distinct { at_least, within, .. }, Payload::Values(v)) => {
                let n = s.take(&e, v, *at_least, *within);
                let fired = (n >= *at_least).then(|| {
                    let mut all: Vec<Evidence> = Vec::new();
                    for e in s.evidence() {
                        if all.last().is_none_or(|l| l.mark != e.mark || l.seq != e.seq) {
                            all.push(e.clone());
                        }
                    }
                    let n = all.len() as u64;
                    Fired::of(all, n)
                });
                (n as i128, fired)
            }
            (State::Sum(s), Kind::Sum { at_least, within, .. }, Payload::Amount(v)) => {
                let total = s.take(e, *v, *within);
                let fired = (total.value >= *at_least).then(|| {
                    let mut f = Fired::of(s.evidence().cloned().collect(), total.matches);
                    f.last = s.latest().map_or(f.last, |l| l.max(f.last));
                    f.short = total.short;
                    f
                });
                (total.value, fired)
            }
            (State::Sequence(s), Kind::Sequence { within, steps }, _) => {
                let stream = hit.alert.is_none().then_some(hit.pos.stream);
                let chain = s.take(Fill { e, mask: hit.mask, stream }, steps.len(), *within, rule.skew);
                (0, chain.map(|c| Fired::of(c, steps.len() as u64)))
            }
            (State::AllOf(s), Kind::AllOf { within, at_least, steps }, _) => {
                let required = steps.iter().enumerate().filter(|(_, s)| s.required).fold(0, |m, (k, _)| m | 1 << k);
                let all = s.take(Fill { e, mask: hit.mask, stream: None }, steps.len(), required, *at_least, *within);
                (0, all.map(|a| (a.len() as u64, a)).map(|(n, a)| Fired::of(a, n)))
            }
            _ => (0, Some(Fired::of(vec![e], 1))),
        }
    }
}

impl Fired {
    fn of(mut evidence: Vec<Evidence>, count: u64) -> Fired {
        // Only `skew` gives them in another order.
        evidence.sort_by_key(|e| e.ts);
        let last = evidence.iter().map(|e| e.ts).max().unwrap_or_default();
        Fired { evidence, count, last, short: 0 }
    }

    /// The least time of the evidence.
    pub fn first(&self) -> Timestamp {
        self.evidence.iter().map(|e| e.ts).min().unwrap_or_default()
    }

    /// What an alert takes along: each field's values from the completing evidence, else from the latest that has them.
    pub fn kept(&self, completing: Option<&Kept>, fields: usize) -> Vec<Vec<u8>> {
        let sources: Vec<&Kept> = completing.into_iter().chain(self.evidence.iter().rev().filter_map(|e| e.kept.as_ref())).collect();
        (0..fields).map(|i| sources.iter().find_map(|k| super::hit::kept_field(k, i)).map(<[u8]>::to_vec).unwrap_or_default()).collect()
    }
}

/// How long a group matters after its last match.
pub fn lifetime(rule: &Rule) -> Span {
    let cooldown = if let Rearm::Cooldown { time, .. } = &rule.rearm { *time } else { Span::default() };
    // At least a moment, so that the rank of hits at one instant is kept while that instant lasts.
    rule.kind.within().unwrap_or_default().max(cooldown).max(Span(1))
}
