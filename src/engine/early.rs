//! What waits for the watermark, key by key, and what it will come to if nothing earlier arrives.
//!
//! A unit is a quiet key of a rule: the smallest part of state that no other touches. Its waiting hits stand in the order
//! of events. Where alerts are told at once, the hits are applied to copies of the unit's groups; a hit that comes out of
//! order makes them be applied again from the state that is final, and the difference is told. Alerts that are told make
//! tentative hits for the rules that listen, which go when the alert does.

use super::group::{Effect, Group, Quiet, apply, settle};
use super::hit::{Hit, Payload, Pos};
use super::{Engine, Output};
use crate::alert::{Alert, Step};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) type UnitKey = (u32, Arc<[u8]>);

/// See the module.
#[derive(Default)]
pub struct Unit {
    /// Slots of hits, in order.
    pub(super) slots: VecDeque<u32>,
    /// What became final early, up to here: a hit before it comes too late.
    /// Boxed as are the copies: most units have neither, and there are many units.
    pub(super) horizon: Option<Box<Pos>>,
    pub(super) copies: Option<Box<Copies>>,
    pub(super) told: Vec<Told>,
    /// Ids under which other alerts have become final: what has such an id by its content is told under another.
    pub(super) spent: Vec<[u8; 16]>,
}

/// The slot of an alert whose completing hit has gone.
pub(super) const ORPHAN: u32 = u32::MAX;

/// Copies of state with the first `applied` waiting hits in them.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Copies {
    pub groups: Vec<(Arc<[u8]>, Group)>,
    pub quiet: Quiet,
    pub applied: usize,
}

/// An alert that has been told and is not final.
pub(super) struct Told {
    pub alert: Alert,
    /// The hit that completed it.
    pub slot: u32,
    /// The tentative hits it made.
    pub children: Vec<(UnitKey, u32)>,
}

impl Unit {
    /// The id under which an alert is first told: its own, unless another has become final under it.
    fn free_name(&self, id: [u8; 16]) -> [u8; 16] {
        let mut name = id;
        while self.spent.contains(&name) {
            let next = blake3::hash(&name);
            name.copy_from_slice(&next.as_bytes()[..16]);
        }
        name
    }
}

impl Engine {
    /// Puts a hit among the waiting ones of its unit; its slot, and the unit's key if too many wait there now. None if it
    /// comes after what has become final early.
    pub(super) fn join_unit(&mut self, h: Hit) -> Option<(u32, Option<UnitKey>)> {
        let key = (h.rule, h.quiet.clone());
        let level = self.rules.rules[h.rule as usize].level;
        let unit = self.units.entry(key.clone()).or_default();
        if unit.horizon.as_ref().is_some_and(|p| h.pos < **p) {
            self.counters.after_final += 1;
            return None;
        }
        let slot = {
            let (hits, free) = (&mut self.hits, &mut self.free);
            match free.pop() {
                Some(i) => i,
                None => {
                    hits.push(None);
                    hits.len() as u32 - 1
                }
            }
        };
        let before = |s: &u32| self.hits[*s as usize].as_ref().is_some_and(|x| x.pos <= h.pos);
        let at = match unit.slots.back() {
            Some(last) if !before(last) => unit.slots.partition_point(before),
            _ => unit.slots.len(),
        };
        unit.slots.insert(at, slot);
        if unit.copies.as_ref().is_some_and(|c| at < c.applied) {
            unit.copies = None;
        }
        let over = unit.slots.len() > self.options.pending;
        self.hits[slot as usize] = Some(h);
        if self.options.provisional {
            self.dirty.insert((level, key.0, key.1.clone()));
        }
        Some((slot, over.then_some(key)))
    }

    /// A unit has too many hits waiting: its oldest becomes final now.
    pub(super) fn finish_oldest(&mut self, key: &UnitKey, out: &mut Vec<Output>) {
        let Some(&slot) = self.units.get(key).and_then(|u| u.slots.front()) else { return };
        let level = self.rules.rules[key.0 as usize].level.max(1) as usize - 1;
        // A tentative hit is none of the log's: it goes with the alert that made it.
        let Some(h) = self.hits[slot as usize].take_if(|h| !h.tentative) else { return };
        debug_assert!(self.queues[level].len() > 0, "a hit that waits is in its queue, which frees the slot");
        self.leave_unit(&h, slot, out);
        if let Some(u) = self.units.get_mut(key) {
            u.horizon = Some(Box::new(h.pos.clone()));
        }
        self.counters.final_early += 1;
        self.commit(h, slot, out);
    }

    /// A hit is to be applied for good, and waits no longer.
    pub(super) fn leave_unit(&mut self, h: &Hit, slot: u32, _out: &mut Vec<Output>) {
        let key = (h.rule, h.quiet.clone());
        let Some(unit) = self.units.get_mut(&key) else { return };
        let Some(i) = unit.slots.iter().position(|s| *s == slot) else { return };
        unit.slots.remove(i);
        match &mut unit.copies {
            Some(c) if i == 0 && c.applied > 0 => c.applied -= 1,
            Some(_) => {
                unit.copies = None;
                self.dirty.insert((self.rules.rules[h.rule as usize].level, key.0, key.1));
            }
            None => {}
        }
    }

    /// A hit has been applied for good, and completed this alert or none: says so, and lets the listening rules have it.
    pub(super) fn settle_told(&mut self, h: &Hit, slot: u32, alert: Option<Alert>, out: &mut Vec<Output>) {
        let key = (h.rule, h.quiet.clone());
        // The hit of an alert that became final has a slot of its own, not that of the tentative one: the id tells first.
        let same = |u: &Unit| {
            let by = |is: &dyn Fn(&Told) -> bool| u.told.iter().position(is);
            let a = alert.as_ref();
            a.and_then(|a| by(&|t| t.alert.id == a.id))
                .or_else(|| by(&|t| t.slot == slot))
                .or_else(|| a.and_then(|a| by(&|t| t.slot == ORPHAN && t.alert.shares_evidence(a))))
        };
        let mut told: Option<Told> = None;
        let mut name = alert.as_ref().map(|a| a.id);
        if let Some(u) = self.units.get_mut(&key) {
            told = same(u).map(|i| u.told.remove(i));
            name = match (&told, &alert) {
                (Some(t), Some(a)) => {
                    if t.alert.delivery != a.id {
                        u.spent.push(t.alert.delivery);
                    }
                    Some(t.alert.delivery)
                }
                (None, Some(a)) => Some(u.free_name(a.id)),
                _ => None,
            };
            if u.slots.is_empty() && u.told.is_empty() && u.horizon.is_none() {
                self.units.remove(&key);
            }
        }
        if let Some(t) = &told {
            self.drop_children(&t.children);
        }
        match (told, alert) {
            (Some(t), None) => out.push(Output::Alert(Step::Withdrawn, Box::new(t.alert))),
            (_, Some(mut a)) => {
                a.delivery = name.unwrap_or(a.id);
                let mut chained = self.chain(h, &a);
                out.push(Output::Alert(Step::Final, Box::new(a)));
                self.take_in(&mut chained, false, out);
            }
            (None, None) => {}
        }
    }

    /// Forgets units that nothing waits in and whose horizon the watermark has passed.
    pub(super) fn sweep_units(&mut self) {
        let mark = self.streams.watermark();
        self.units.retain(|_, u| !u.slots.is_empty() || !u.told.is_empty() || u.horizon.as_ref().is_some_and(|p| p.ts >= mark));
    }

    /// Tells what has changed, level by level.
    pub(super) fn tell(&mut self, out: &mut Vec<Output>) {
        while let Some((_, rule, quiet)) = self.dirty.pop_first() {
            let key = (rule, quiet);
            let Some(mut unit) = self.units.remove(&key) else { continue };
            self.tell_unit(&mut unit, &key, out);
            // Telling makes hits for other units only: the graph of rules has no cycle.
            self.units.insert(key, unit);
        }
    }

    fn tell_unit(&mut self, unit: &mut Unit, key: &UnitKey, out: &mut Vec<Output>) {
        let rules = self.rules.clone();
        let (r, rule) = (key.0 as usize, &rules.rules[key.0 as usize]);
        let again = unit.copies.is_none();
        let mut copies = unit.copies.take().unwrap_or_else(|| {
            let quiet = self.states[r].quiets.get(&key.1).cloned().unwrap_or_default();
            Box::new(Copies { groups: Vec::new(), quiet, applied: 0 })
        });
        let mut fresh: Vec<(Told, Hit)> = Vec::new();
        for i in copies.applied..unit.slots.len() {
            let slot = unit.slots[i];
            let Some(h) = self.hits[slot as usize].clone() else { continue };
            let g = match copies.groups.iter().position(|(k, _)| *k == h.key) {
                Some(g) => g,
                None => {
                    copies.groups.push((h.key.clone(), self.states[r].groups.get(&h.key).cloned().unwrap_or_default()));
                    copies.groups.len() - 1
                }
            };
            let group = &mut copies.groups[g].1;
            match apply(rule, &h, group, &mut copies.quiet) {
                Effect::Fired(f) => {
                    let id = self.alert_id(&h, &f);
                    settle(rule, h.pos.ts, (id, false), &f, group, &mut copies.quiet);
                    fresh.push((Told { alert: self.alert(&h, &f, id, false), slot, children: Vec::new() }, h));
                }
                Effect::Update(s) if !s.joined => out.push(Output::Update { id: s.alert, count: s.count, last: s.last, early: true }),
                _ => {}
            }
        }
        copies.applied = unit.slots.len();
        unit.copies = Some(copies);
        let mut old = if again { std::mem::take(&mut unit.told) } else { Vec::new() };
        // What was told under an alert's own id stays with it, then what is the same alert, then what shares evidence.
        let same: [fn(&Told, &Alert) -> bool; 3] = [|o, a| o.alert.delivery == a.id, |o, a| o.alert.id == a.id, |o, a| o.alert.shares_evidence(a)];
        let mut heirs: Vec<Option<Told>> = fresh.iter().map(|_| None).collect();
        for is in same {
            for ((t, _), heir) in fresh.iter().zip(&mut heirs).filter(|(_, h)| h.is_none()) {
                *heir = old.iter().position(|o| is(o, &t.alert)).map(|i| old.remove(i));
            }
        }
        for ((mut t, h), heir) in fresh.into_iter().zip(heirs) {
            let step = match heir {
                None => {
                    t.alert.delivery = unit.free_name(t.alert.id);
                    Step::Opened
                }
                Some(o) => {
                    t.alert.delivery = o.alert.delivery;
                    if o.alert.id == t.alert.id && o.alert.evidence == t.alert.evidence && o.alert.count == t.alert.count {
                        t.children = o.children;
                        unit.told.push(t);
                        continue;
                    }
                    self.drop_children(&o.children);
                    Step::Amended
                }
            };
            out.push(Output::Alert(step, Box::new(t.alert.clone())));
            // A metric waits for what is final.
            for mut child in self.chain(&h, &t.alert).into_iter().filter(|c| !matches!(c.payload, Payload::Metric(_))) {
                child.tentative = true;
                let unit = (child.rule, child.quiet.clone());
                if let Some((slot, _)) = self.join_unit(child) {
                    t.children.push((unit, slot));
                }
            }
            unit.told.push(t);
        }
        for o in old {
            self.drop_children(&o.children);
            out.push(Output::Alert(Step::Withdrawn, Box::new(o.alert)));
        }
    }

    fn drop_children(&mut self, children: &[(UnitKey, u32)]) {
        for (key, slot) in children {
            self.hits[*slot as usize] = None;
            self.free.push(*slot);
            let Some(u) = self.units.get_mut(key) else { continue };
            let Some(i) = u.slots.iter().position(|s| s == slot) else { continue };
            u.slots.remove(i);
            u.told.iter_mut().filter(|t| t.slot == *slot).for_each(|t| t.slot = ORPHAN);
            if u.copies.as_ref().is_some_and(|c| i < c.applied) {
                u.copies = None;
                self.dirty.insert((self.rules.rules[key.0 as usize].level, key.0, key.1.clone()));
            }
        }
    }
}
