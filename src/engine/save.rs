//! An engine's whole state to bytes, see [`super::saved`]. The same state gives the same bytes.

use super::blob::{Blob, Stretch};
use super::early::{Told, Unit, UnitKey};
use super::hit::{Hit, Payload};
use super::saved::{Head, RuleHead, SavedTold, SavedUnit, put};
use super::{Engine, Plan};
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

impl Engine {
    /// Appends the whole state.
    pub(crate) fn save(&self, to: &mut Vec<u8>) {
        let mut nth = vec![None; self.hits.len()];
        let mut spent = Vec::with_capacity(self.queues.len());
        for q in &self.queues {
            let mut left = Vec::new();
            for (n, w) in q.sorted().into_iter().enumerate() {
                match &self.hits[w.slot as usize] {
                    Some(_) => nth[w.slot as usize] = Some(n as u64),
                    None => left.push((w.pos.clone(), n as u64)),
                }
            }
            spent.push(left);
        }
        let mut metrics: Vec<Vec<(u64, &Hit)>> = self.plans.iter().map(|_| Vec::new()).collect();
        for (h, n) in self.hits.iter().zip(&nth) {
            if let (Some(h), Some(n)) = (h, n)
                && matches!(h.payload, Payload::Metric(_))
            {
                metrics[h.rule as usize].push((*n, h));
            }
        }
        let mut units: Vec<(&UnitKey, &Unit)> = self.units.iter().collect();
        units.sort_unstable_by_key(|(k, _)| *k);
        let (mut rules, at) = (Vec::with_capacity(self.plans.len()), to.len());
        for (r, (rule, state)) in self.rules.rules.iter().zip(&self.states).enumerate() {
            let begin = to.len();
            put(to, &(state.groups.len() as u64));
            state.groups.iter().for_each(|(k, t, g)| put(to, &(Stretch(k), t, g)));
            put(to, &(state.quiets.len() as u64));
            state.quiets.iter().for_each(|(k, t, q)| put(to, &(Stretch(k), t, q)));
            put(to, &state.storm);
            let moves = &mut metrics[r];
            moves.sort_unstable_by_key(|(n, _)| *n);
            put(to, &(moves.len() as u64));
            moves.iter().for_each(|m| put(to, m));
            let from = units.partition_point(|((x, _), _)| (*x as usize) < r);
            let own = &units[from..units.partition_point(|((x, _), _)| *x as usize <= r)];
            put(to, &(own.len() as u64));
            let mut waiting = moves.len();
            let mut open = Vec::new();
            for (key, unit) in own {
                waiting += unit.slots.len();
                open.extend(unit.told.iter().map(|t| t.alert.delivery));
                put(to, &self.saved_unit(key, unit, &nth));
            }
            rules.push(RuleHead {
                id: rule.id.clone(),
                meaning: rule.meaning,
                kept: kept_names(&self.plans[r], &self.rules.schema),
                metric: metric_names(rule),
                evicted: self.counters.evicted[r],
                waiting: waiting as u64,
                open,
                bytes: (to.len() - begin) as u64,
            });
        }
        let late = self.late_ranks.iter().map(|l| (l.rule, l.name, l.rank)).collect();
        let head = Head { streams: self.streams.clone(), counters: self.counters.clone(), floors: self.floors.clone(), spent, late, rules };
        // It stands before the rules' parts, and is known behind them; moving these costs less than a second copy of all.
        let mut first = Vec::new();
        put(&mut first, &head);
        to.splice(at..at, first);
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
