//! What waits for the watermark, key by key.
//!
//! A unit is a quiet key of a rule: the smallest part of state that no other touches. Its waiting hits stand in the order
//! of events. What they will come to if nothing earlier arrives is told by [`super::tell`]; here is kept what has been told,
//! and how much of it stands.

use super::copies::Copies;
use super::hit::{Hit, Pos};
use super::reach::Seen;
use super::{Engine, Output, project};
use crate::alert::{Alert, Step};
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
    /// None hold more hits than stand.
    pub(super) copies: Option<Box<Copies>>,
    /// In the order of their hits.
    pub(super) told: Vec<Told>,
    /// Ids under which other alerts have become final: what has such an id by its content is told under another.
    pub(super) spent: Vec<[u8; 16]>,
    /// So many of the first hits stand as they did when it was last told what they come to.
    pub(super) stands: u32,
    /// Whether something has changed since.
    pub(super) dirty: bool,
    /// Whether a hit has come out of order.
    pub(super) torn: bool,
    /// What waits, where alerts are told at once.
    pub(super) seen: Seen,
}

/// The slot of an alert whose completing hit has gone.
pub(super) const ORPHAN: u32 = u32::MAX;

/// An alert that has been told and is not final.
pub(super) struct Told {
    pub alert: Alert,
    /// The hit that completed it.
    pub slot: u32,
    /// The tentative hits it made.
    pub children: Vec<(UnitKey, u32)>,
}

impl Unit {
    /// The id under which an alert is first told: its own, unless another is or has become final under it.
    pub(super) fn free_name(&self, id: [u8; 16]) -> [u8; 16] {
        let mut name = id;
        while self.spent.contains(&name) || self.told.iter().any(|t| t.alert.delivery == name) {
            let next = blake3::hash(&name);
            name.copy_from_slice(&next.as_bytes()[..16]);
        }
        name
    }

    /// The hit of this slot has gone, and the slot will be another's.
    fn orphan(&mut self, slot: u32) {
        for t in self.told.iter_mut().filter(|t| t.slot == slot) {
            (t.slot, self.torn) = (ORPHAN, true);
        }
    }

    /// From this place on the hits are others than were told.
    fn changed(&mut self, at: usize) {
        if at < self.stands as usize {
            self.stands = at as u32;
            self.torn = true;
            self.copies = Copies::back_to(self.copies.take(), at);
        }
    }
}

impl Engine {
    /// Puts a hit among the waiting ones of its unit; its slot, and the unit's key if too many wait there now. None if it
    /// comes after what has become final early.
    pub(super) fn join_unit(&mut self, h: Hit) -> Option<(u32, Option<UnitKey>)> {
        let (key, level) = ((h.rule, h.quiet.clone()), self.level(h.rule));
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
        unit.changed(at);
        if self.options.provisional {
            unit.seen.add(&h);
        }
        let over = unit.slots.len() > self.options.pending;
        self.hits[slot as usize] = Some(h);
        list(self.dirty.get_mut(level), unit, &key);
        Some((slot, over.then_some(key)))
    }

    /// A unit has too many hits waiting: its oldest becomes final now.
    pub(super) fn finish_oldest(&mut self, key: &UnitKey, out: &mut Vec<Output>) {
        let Some(&slot) = self.units.get(key).and_then(|u| u.slots.front()) else { return };
        // A tentative hit is none of the log's: it goes with the alert that made it.
        let Some(h) = self.hits[slot as usize].take_if(|h| !h.tentative) else { return };
        debug_assert!(self.queues[self.level(key.0)].len() > 0, "a hit that waits is in its queue, which frees the slot");
        self.leave_unit(&h, slot);
        if let Some(u) = self.units.get_mut(key) {
            u.horizon = Some(Box::new(h.pos.clone()));
        }
        self.counters.final_early += 1;
        self.commit(h, slot, out);
    }

    /// A hit is to be applied for good, and waits no longer.
    pub(super) fn leave_unit(&mut self, h: &Hit, slot: u32) {
        let key = (h.rule, h.quiet.clone());
        let Some(unit) = self.units.get_mut(&key) else { return };
        if unit.slots.front() == Some(&slot) {
            unit.slots.pop_front();
            unit.stands = unit.stands.saturating_sub(1);
            Copies::first_is_final(&mut unit.copies);
        } else if let Some(i) = unit.slots.iter().position(|s| *s == slot) {
            unit.slots.remove(i);
            self.again(&key);
        }
    }

    /// State that is final has become another than the copies of this unit rest on: all is told from the beginning.
    pub(super) fn again(&mut self, key: &UnitKey) {
        if !self.options.provisional {
            return;
        }
        let level = self.level(key.0);
        if let Some(unit) = self.units.get_mut(key) {
            unit.changed(0);
            list(self.dirty.get_mut(level), unit, key);
        }
    }

    /// The same for the unit of a group.
    pub(super) fn group_gone(&mut self, r: usize, key: &Arc<[u8]>) {
        if !self.plans[r].loose {
            let quiet = self.plans[r].shared.as_ref().map_or_else(|| key.clone(), |places| project(key, places));
            self.again(&(r as u32, quiet));
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
        let mut other = false;
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
            // The copies do not rest on what has come, and what else was told of this hit has not come.
            other = told.as_ref().map(|t| t.alert.id) != alert.as_ref().map(|a| a.id) || u.told.iter().any(|t| t.slot == slot);
            u.orphan(slot);
            if u.slots.is_empty() && u.told.is_empty() && u.horizon.is_none() {
                self.units.remove(&key);
            }
        }
        if other {
            self.again(&key);
        }
        if let Some(t) = &told {
            self.drop_children(&t.children);
        }
        match (told, alert) {
            (Some(t), None) => out.push(Output::Alert(Step::Withdrawn, Box::new(t.alert))),
            (_, Some(mut a)) => {
                a.delivery = name.unwrap_or(a.id);
                let mut chained = self.chain(&h.pos, h.seq, &a);
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

    pub(super) fn drop_children(&mut self, children: &[(UnitKey, u32)]) {
        for (key, slot) in children {
            self.hits[*slot as usize] = None;
            self.free.push(*slot);
            let level = self.level(key.0);
            let Some(u) = self.units.get_mut(key) else { continue };
            let Some(i) = u.slots.iter().position(|s| s == slot) else { continue };
            u.slots.remove(i);
            u.orphan(*slot);
            u.changed(i);
            list(self.dirty.get_mut(level), u, key);
        }
    }
}

/// Lists a unit among those of its level in which something has changed. There are lists only where alerts are told at once.
pub(super) fn list(of: Option<&mut Vec<UnitKey>>, unit: &mut Unit, key: &UnitKey) {
    if let Some(list) = of
        && !unit.dirty
    {
        unit.dirty = true;
        list.push(key.clone());
    }
}
