//! An engine's whole state to bytes, see [`super::saved`]. The same state gives the same bytes.

use super::blob::{Blob, Stretch};
use super::early::{Told, Unit, UnitKey};
use super::hit::{Hit, Payload};
use super::saved::{Head, Parts, RuleHead, SavedTold, SavedUnit, put};
use super::{Engine, Plan, RuleState};
use crate::event::Schema;
use crate::rule::Rule;
use std::borrow::Cow;

/// The names of the fields kept for a rule's alerts.
pub(super) fn kept_names(plan: &Plan, schema: &Schema) -> Vec<String> {
    plan.kept.iter().map(|f| schema.name(*f).to_owned()).collect()
}

/// A rule's metric by name, and the names of its labels in their order.
pub(super) fn metric_names(rule: &Rule) -> Option<(String, Vec<String>)> {
    rule.metric.as_ref().map(|m| (m.name.to_string(), m.label_fields.iter().map(|(l, _)| l.to_string()).collect()))
}

/// One of two pieces of work.
pub type Work<'a> = &'a mut (dyn FnMut() + Send);

/// Does two pieces of work, at the same time or one behind the other.
pub type Both<'a> = &'a dyn Fn(Work<'_>, Work<'_>);

/// One behind the other.
pub fn in_turn(a: Work<'_>, b: Work<'_>) {
    a();
    b();
}

/// What is to be written of a rule.
#[derive(Default)]
struct Todo<'a> {
    /// Moves of its metric that wait, each with its place among what waits.
    moves: Vec<(u64, &'a Hit)>,
    units: Vec<(&'a UnitKey, &'a Unit)>,
}

/// One of the two parts that are written at the same time.
struct Part {
    bytes: Vec<u8>,
    rules: Vec<RuleHead>,
}

impl Engine {
    /// The whole state: what goes before the rules' parts, and these, written into the room that is given. The engine stands still for
    /// it, so `both` may do the two parts at the same time.
    pub(crate) fn save(&self, room: Parts, both: Both<'_>) -> (Vec<u8>, Parts) {
        let mut all: Vec<Todo<'_>> = self.plans.iter().map(|_| Todo::default()).collect();
        // One look at each, in the order in which they lie.
        let (mut here, mut moves) = (Vec::with_capacity(self.hits.len()), Vec::new());
        for (slot, h) in self.hits.iter().enumerate() {
            here.push(h.is_some());
            moves.extend(h.as_ref().filter(|h| matches!(h.payload, Payload::Metric(_))).map(|h| (slot, h)));
        }
        let mut nth = vec![None; self.hits.len()];
        let mut spent = Vec::with_capacity(self.queues.len());
        for q in &self.queues {
            let mut left = Vec::new();
            for (n, w) in q.sorted().into_iter().enumerate() {
                if here[w.slot as usize] {
                    nth[w.slot as usize] = Some(n as u64);
                } else {
                    left.push((w.pos.clone(), n as u64));
                }
            }
            spent.push(left);
        }
        for (slot, h) in moves {
            all[h.rule as usize].moves.extend(nth[slot].map(|n| (n, h)));
        }
        self.units.iter().for_each(|u| all[u.0.0 as usize].units.push(u));
        let middle = self.middle(&all);
        let (first, second) = all.split_at_mut(middle);
        let [mut a, mut b] = room.map(|bytes| Part { bytes, rules: Vec::new() });
        both(&mut || first.iter_mut().enumerate().for_each(|(r, t)| self.save_rule(r, t, &nth, &mut a)), &mut || {
            second.iter_mut().enumerate().for_each(|(r, t)| self.save_rule(middle + r, t, &nth, &mut b));
        });
        a.rules.append(&mut b.rules);
        let late = self.late_ranks.iter().map(|l| (l.rule, l.name, l.rank)).collect();
        let floors = self.floors.clone();
        let mut head = Vec::new();
        put(&mut head, &Head { streams: self.streams.clone(), counters: self.counters.clone(), floors, spent, late, rules: a.rules });
        (head, [a.bytes, b.bytes])
    }

    /// The rule at which about half of the work is done.
    fn middle(&self, all: &[Todo<'_>]) -> usize {
        let weight = |(t, state): (&Todo<'_>, &RuleState)| t.units.len() + state.groups.len() + state.quiets.len();
        let weights: Vec<usize> = all.iter().zip(&self.states).map(weight).collect();
        let (half, mut sum) = (weights.iter().sum::<usize>() / 2, 0);
        let before = weights.iter().take_while(|w| {
            sum += **w;
            sum <= half
        });
        before.count()
    }

    /// Appends what is kept of a rule.
    fn save_rule(&self, r: usize, t: &mut Todo<'_>, nth: &[Option<u64>], part: &mut Part) {
        let (rule, state, begin, to) = (&self.rules.rules[r], &self.states[r], part.bytes.len(), &mut part.bytes);
        put(to, &(state.groups.len() as u64));
        state.groups.iter().for_each(|(k, t, g)| put(to, &(Stretch(k), t, g)));
        put(to, &(state.quiets.len() as u64));
        state.quiets.iter().for_each(|(k, t, q)| put(to, &(Stretch(k), t, q)));
        put(to, &state.storm);
        t.moves.sort_unstable_by_key(|(n, _)| *n);
        put(to, &(t.moves.len() as u64));
        t.moves.iter().for_each(|m| put(to, m));
        t.units.sort_unstable_by_key(|(k, _)| *k);
        put(to, &(t.units.len() as u64));
        let mut waiting = t.moves.len();
        let mut open = Vec::new();
        for (key, unit) in &t.units {
            waiting += unit.slots.len();
            open.extend(unit.told.iter().map(|t| t.alert.delivery));
            put(&mut part.bytes, &self.saved_unit(key, unit, nth));
        }
        part.rules.push(RuleHead {
            id: rule.id.clone(),
            meaning: rule.meaning,
            kept: kept_names(&self.plans[r], &self.rules.schema),
            metric: metric_names(rule),
            evicted: self.counters.evicted[r],
            waiting: waiting as u64,
            open,
            bytes: (part.bytes.len() - begin) as u64,
        });
    }

    fn saved_unit<'a>(&'a self, key: &UnitKey, unit: &'a Unit, nth: &[Option<u64>]) -> SavedUnit<'a> {
        let hit = |s: &u32| self.hits[*s as usize].as_ref().map(|h| (nth[*s as usize], Cow::Borrowed(h)));
        SavedUnit {
            quiet: key.1.clone(),
            horizon: unit.horizon.as_deref().map(Cow::Borrowed),
            hits: unit.slots.iter().filter_map(hit).collect(),
            copies: unit.copies.as_deref().map(Cow::Borrowed),
            told: unit.told.iter().map(|t| self.saved_told(key.0, unit, t)).collect(),
            spent: Cow::Borrowed(&unit.spent),
            dirty: unit.dirty,
        }
    }

    fn saved_told<'a>(&'a self, rule: u32, unit: &Unit, t: &'a Told) -> SavedTold<'a> {
        let place = |u: &Unit, slot: u32| u.slots.iter().position(|s| *s == slot).map(|i| i as u32);
        let kept = &self.plans[rule as usize].kept;
        let carried = |(f, v): &'a (_, Vec<_>)| Some((kept.iter().position(|k| k == f)? as u32, Cow::Borrowed(&v[..])));
        let child = |(key, slot): &(UnitKey, u32)| Some((key.0, Blob(key.1.clone()), place(self.units.get(key)?, *slot)?));
        let a = &t.alert;
        SavedTold {
            id: a.id,
            delivery: a.delivery,
            ts: a.ts,
            key: a.key.clone(),
            carried: a.carried.iter().filter_map(carried).collect(),
            count: a.count,
            first: a.first,
            last: a.last,
            evidence: Cow::Borrowed(&a.evidence),
            short: a.short,
            late: a.late,
            hit: place(unit, t.slot),
            children: t.children.iter().filter_map(child).collect(),
        }
    }
}
