//! Saved state back into an engine, also one whose rules are others.
//!
//! A rule that is there under the same id with the same meaning takes its part ([`super::part`] reads it). All is read before
//! anything changes, so an error leaves the engine as it was.

use super::early::{ORPHAN, Told, Unit, UnitKey, list};
use super::hit::Pos;
use super::part::{Numbers, Part, PartUnit};
use super::reach::{Outlook, Seen};
use super::saved::{Head, Reader, StateError};
use super::stream::{StreamId, Streams};
use super::{Engine, GROUP_BYTES, LateRank, MAX_LATE_RANKS, RuleState};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// What has become of saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Rules that go on with their saved state.
    pub kept: Vec<Arc<str>>,
    /// Rules without saved state under their meaning.
    pub fresh: Vec<Arc<str>>,
    /// Saved rules that are gone or mean something else, and matches that waited and go with them.
    pub dropped: usize,
    /// Delivery ids of alerts of such rules that had been told and were not final: nothing more is told of them.
    pub left_open: Vec<[u8; 16]>,
}

/// Where the hits of units with tentative ones have come to stand, in the order in which they were saved.
type Slots = HashMap<UnitKey, Vec<u32>>;

impl Engine {
    /// Puts saved state in place of this engine's. Its streams must hold those that are `named`.
    pub(crate) fn restore(&mut self, from: &mut Reader<'_>, named: &[StreamId]) -> Result<Restored, StateError> {
        let head: Head = from.take()?;
        let mut numbers = Numbers::new(&self.rules, &head.rules);
        let streams = sound(head.streams, self.options.live)?;
        if !named.iter().all(|id| streams.has(*id)) {
            return Err(StateError::Damaged("a name leads to no stream"));
        }
        let mut done = Restored::default();
        let mut parts = Vec::new();
        for (i, r) in head.rules.iter().enumerate() {
            let bytes = from.part(r.bytes)?;
            match numbers.rule(i as u32) {
                Some(n) => {
                    let part = Part::read(n, r, bytes, &mut numbers, &self.plans[n as usize])?;
                    done.kept.push(r.id.clone());
                    done.dropped += part.lost;
                    parts.push(part);
                }
                None => {
                    done.dropped += 1 + r.waiting as usize;
                    done.left_open.extend_from_slice(&r.open);
                }
            }
        }
        from.end()?;
        done.fresh = self.rules.rules.iter().map(|r| &r.id).filter(|id| !done.kept.contains(id)).cloned().collect();
        let mut floors = head.floors;
        floors.iter_mut().flatten().try_for_each(|p| numbers.bound(p))?;
        floors.resize(self.queues.len(), None);
        let mut spent = head.spent;
        spent.iter_mut().flatten().try_for_each(|(p, _)| numbers.bound(p))?;
        let late = head.late.iter().filter_map(|&(rule, name, rank)| Some(LateRank { rule: numbers.rule(rule)?, name, rank }));
        let late: VecDeque<LateRank> = late.take(MAX_LATE_RANKS).collect();

        self.clear();
        (self.streams, self.floors, self.late_ranks) = (streams, floors, late);
        let evicted = std::mem::take(&mut self.counters.evicted);
        self.counters = super::Counters { evicted, ..head.counters };
        let mut waiting: Vec<Vec<(Pos, u64, u32)>> = self.queues.iter().map(|_| Vec::new()).collect();
        for (level, w) in spent.into_iter().zip(&mut waiting) {
            for (pos, nth) in level {
                self.hits.push(None);
                w.push((pos, nth, self.hits.len() as u32 - 1));
            }
        }
        let (mut slots, mut told) = (Slots::default(), Vec::new());
        for mut p in parts {
            self.counters.evicted[p.rule as usize] = p.evicted;
            let level = self.level(p.rule);
            for (nth, h) in p.metrics.drain(..) {
                waiting[level].push((h.pos.clone(), nth, self.keep_hit(h)));
            }
            for u in std::mem::take(&mut p.units) {
                self.put_unit(p.rule, u, &mut waiting[level], &mut slots, &mut told);
            }
            self.put_tables(p);
        }
        for (key, t, places) in told {
            let children = places.into_iter().filter_map(|(rule, quiet, i)| {
                let key = (rule, quiet);
                slots.get(&key).and_then(|s| s.get(i as usize)).map(|s| (key, *s))
            });
            let told = Told { children: children.collect(), ..t };
            self.units.entry(key).or_default().told.push(told);
        }
        self.put_waiting(waiting);
        // An engine that told nothing at once left open what one that does has told.
        if self.options.provisional {
            let open = |(k, u): (&UnitKey, &Unit)| (u.copies.is_none() && matches!(self.outlook(u, k), Outlook::Open)).then(|| k.clone());
            let open: Vec<UnitKey> = self.units.iter().filter_map(open).collect();
            open.iter().for_each(|k| self.again(k));
        }
        Ok(done)
    }

    /// The streams of saved state by name and order alone.
    pub(crate) fn restore_streams(&mut self, from: &mut Reader<'_>) -> Result<(), StateError> {
        let head: Head = from.take()?;
        self.streams = sound(head.streams, self.options.live)?.ranks(self.options.live);
        Ok(())
    }

    /// Takes the saved state of these rules in place of what is here of them.
    ///
    /// What has been told here of their alerts was told to somebody, so it stays, and is amended or withdrawn by what the state
    /// comes to. Nobody heard the other engine: what it told is told anew.
    pub(crate) fn restore_rules(&mut self, from: &mut Reader<'_>, ids: &BTreeSet<Arc<str>>) -> Result<Restored, StateError> {
        let head: Head = from.take()?;
        let mut numbers = Numbers::new(&self.rules, &head.rules);
        let mut done = Restored::default();
        let mut parts = Vec::new();
        for (i, r) in head.rules.iter().enumerate() {
            let bytes = from.part(r.bytes)?;
            if let Some(n) = numbers.rule(i as u32).filter(|_| ids.contains(&r.id)) {
                parts.push(Part::read(n, r, bytes, &mut numbers, &self.plans[n as usize])?);
                done.kept.push(r.id.clone());
            }
        }
        from.end()?;
        done.fresh = self.rules.rules.iter().map(|r| &r.id).filter(|id| ids.contains(*id) && !done.kept.contains(id)).cloned().collect();
        done.dropped = ids.len() - done.kept.len() - done.fresh.len();

        let taken: BTreeSet<u32> = parts.iter().map(|p| p.rule).collect();
        self.leave(&taken);
        let late = head.late.iter().filter_map(|&(rule, name, rank)| Some(LateRank { rule: numbers.rule(rule)?, name, rank }));
        self.late_ranks.retain(|l| !taken.contains(&l.rule));
        self.late_ranks.extend(late.filter(|l| taken.contains(&l.rule)));
        let over = self.late_ranks.len().saturating_sub(MAX_LATE_RANKS);
        self.late_ranks.drain(..over);
        let mut waiting: Vec<Vec<(Pos, u64, u32)>> = self.queues.iter().map(|_| Vec::new()).collect();
        for mut p in parts {
            let level = self.level(p.rule);
            for u in std::mem::take(&mut p.units) {
                self.join_saved(p.rule, u, &mut waiting[level]);
            }
            self.put_tables(p);
        }
        self.units.retain(|_, u| !u.slots.is_empty() || !u.told.is_empty() || u.horizon.is_some());
        let changed: Vec<UnitKey> = self.units.keys().filter(|(r, _)| taken.contains(r)).cloned().collect();
        changed.iter().for_each(|k| self.again(k));
        self.put_waiting(waiting);
        Ok(done)
    }

    /// Forgets everything.
    fn clear(&mut self) {
        let fresh = || RuleState::new(self.options.seed);
        self.states = self.states.iter().map(|_| fresh()).collect();
        self.queues = self.queues.iter().map(|_| Default::default()).collect();
        self.hits.clear();
        self.free.clear();
        self.units.clear();
        self.dirty.iter_mut().for_each(Vec::clear);
        self.counters.evicted.fill(0);
        self.used = 0;
    }

    /// Forgets these rules, but for what has been told of them and the tentative hits that alerts told here own.
    fn leave(&mut self, rules: &BTreeSet<u32>) {
        let (hits, free) = (&mut self.hits, &mut self.free);
        for q in &mut self.queues {
            q.retain(|slot| {
                // What a metric has matched here is not matched again.
                let goes = hits[slot as usize].as_ref().is_some_and(|h| rules.contains(&h.rule) && !matches!(h.payload, super::Payload::Metric(_)));
                if goes {
                    hits[slot as usize] = None;
                    free.push(slot);
                }
                !goes
            });
        }
        for (_, u) in self.units.iter_mut().filter(|((r, _), _)| rules.contains(r)) {
            u.slots.retain(|s| hits[*s as usize].as_ref().is_some_and(|h| h.tentative));
            u.told.iter_mut().filter(|t| !u.slots.contains(&t.slot)).for_each(|t| t.slot = ORPHAN);
            (u.copies, u.horizon, u.stands, u.torn) = (None, None, 0, true);
        }
    }

    /// A rule's groups, quiets and counts by hour.
    fn put_tables(&mut self, p: Part) {
        let bytes = |s: &RuleState| -> usize {
            let groups = s.groups.iter().map(|(k, _, g)| GROUP_BYTES + k.len() + g.bytes());
            groups.chain(s.quiets.iter().map(|(k, _, _)| GROUP_BYTES + k.len())).sum()
        };
        let state = RuleState { groups: p.groups, quiets: p.quiets, storm: p.storm };
        self.used += bytes(&state);
        let before = std::mem::replace(&mut self.states[p.rule as usize], state);
        self.used = self.used.saturating_sub(bytes(&before));
    }

    /// A unit as it was saved. The children of what it told are found when all units are there.
    #[allow(clippy::type_complexity)]
    fn put_unit(
        &mut self,
        rule: u32,
        u: PartUnit,
        waiting: &mut Vec<(Pos, u64, u32)>,
        slots: &mut Slots,
        told: &mut Vec<(UnitKey, Told, Vec<(u32, Arc<[u8]>, u32)>)>,
    ) {
        let (key, level) = ((rule, u.quiet), self.level(rule));
        let mut own = Vec::with_capacity(u.hits.len());
        let mut tentative = false;
        for (nth, h) in u.hits {
            tentative |= h.tentative;
            let pos = h.pos.clone();
            let slot = self.keep_hit(h);
            waiting.extend(nth.map(|n| (pos, n, slot)));
            own.push(slot);
        }
        for t in u.told {
            let slot = t.hit.and_then(|i| own.get(i as usize).copied()).unwrap_or(ORPHAN);
            told.push((key.clone(), Told { alert: t.alert, slot, children: Vec::new() }, t.children));
        }
        // Copies serve what is told at once.
        let copies = u.copies.filter(|_| self.options.provisional);
        let stands = if u.dirty { copies.as_ref().map_or(0, |c| c.applied) } else { own.len() } as u32;
        let mut unit =
            Unit { slots: own.iter().copied().collect(), horizon: u.horizon, copies, spent: u.spent, stands, torn: u.dirty, ..Unit::default() };
        unit.seen = Seen::of(&unit.slots, &self.hits);
        let unit = self.units.entry(key.clone()).insert(unit).into_mut();
        if u.dirty {
            list(self.dirty.get_mut(level), unit, &key);
        }
        if tentative {
            slots.insert(key, own);
        }
    }

    /// The final hits of a saved unit among what is left of that unit here.
    fn join_saved(&mut self, rule: u32, u: PartUnit, waiting: &mut Vec<(Pos, u64, u32)>) {
        let mut own = Vec::with_capacity(u.hits.len());
        for (nth, h) in u.hits {
            if let Some(n) = nth {
                let pos = h.pos.clone();
                let slot = self.keep_hit(h);
                own.push(slot);
                waiting.push((pos, n, slot));
            }
        }
        let unit = self.units.entry((rule, u.quiet)).or_default();
        own.extend(unit.slots.drain(..));
        own.sort_by_key(|s| self.hits[*s as usize].as_ref().map(|h| h.pos.clone()));
        (unit.slots, unit.horizon) = (own.into(), u.horizon);
        unit.seen = Seen::of(&unit.slots, &self.hits);
    }

    fn put_waiting(&mut self, waiting: Vec<Vec<(Pos, u64, u32)>>) {
        for (mut all, q) in waiting.into_iter().zip(&mut self.queues) {
            all.sort_unstable();
            all.into_iter().for_each(|(pos, _, slot)| q.push(pos, slot));
        }
    }
}

fn sound(streams: Streams, live: bool) -> Result<Streams, StateError> {
    streams.sound(live).ok_or(StateError::Damaged("its streams and their names do not fit together"))
}
