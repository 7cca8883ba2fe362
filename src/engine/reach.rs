//! What the waiting hits of a unit can come to at most, seen without applying them.
//!
//! Most keys match a few times and never fire, and those that have fired are quiet for long: neither needs copies of its state.

use super::Engine;
use super::early::{Unit, UnitKey};
use super::group::Silence;
use super::hit::{Hit, Payload};
use crate::event::Timestamp;
use crate::rule::{Kind, Rearm, Rule};
use std::collections::VecDeque;

/// What the waiting hits of a unit do, as long as no other comes.
pub(super) enum Outlook {
    /// They move state and nothing else.
    Nothing,
    /// Each of them, the last at this time, updates the alert of this silence, which is final.
    Quiet(Silence, Timestamp),
    /// They have to be applied to see.
    Open,
}

/// What has waited in a unit since it was last counted: what is final by now too.
#[derive(Default)]
pub(super) struct Seen {
    /// How many hits have come since.
    hits: u32,
    /// The steps that they fill, one bit each.
    mask: u32,
    /// Their values, each once; [`VALUES`] of them are that many or more.
    values: Vec<u128>,
}

/// What is held by a group and waits for it, taken together.
#[derive(Default)]
pub struct Reach {
    /// Matches.
    pub matches: usize,
    /// Different values.
    pub values: Vec<u128>,
    /// The sum of amounts.
    pub amount: i128,
    /// The steps that are filled, one bit each.
    pub mask: u32,
}

/// More values than this are not told apart.
const VALUES: usize = 64;
/// Where more hits wait, going through all of them costs more than it saves.
const FEW: usize = 32;

impl Seen {
    /// What waits in these slots.
    pub fn of(slots: &VecDeque<u32>, hits: &[Option<Hit>]) -> Seen {
        let mut seen = Seen::default();
        slots.iter().filter_map(|s| hits[*s as usize].as_ref()).for_each(|h| seen.add(h));
        Seen { hits: 0, ..seen }
    }

    /// One more waits.
    pub fn add(&mut self, h: &Hit) {
        self.hits += 1;
        self.mask |= h.mask;
        if let Payload::Values(values) = &h.payload {
            for v in values {
                if self.values.len() < VALUES && !self.values.contains(v) {
                    self.values.push(*v);
                }
            }
        }
    }
}

impl Reach {
    /// One more value.
    pub fn value(&mut self, v: u128) {
        if !self.values.contains(&v) {
            self.values.push(v);
        }
    }

    /// Whether a rule can fire on so much, were all of it in one window.
    fn suffices(&self, rule: &Rule) -> bool {
        match &rule.kind {
            Kind::Single => true,
            Kind::Count { at_least, .. } => self.matches >= *at_least as usize,
            Kind::Distinct { at_least, .. } => self.values.len() >= *at_least as usize,
            Kind::Sum { at_least, .. } => self.amount >= *at_least,
            // With `skew` it is not always the last step that is filled last.
            Kind::Sequence { steps, .. } => rule.skew.0 > 0 || self.mask >> (steps.len() - 1) & 1 == 1,
            Kind::AllOf { at_least, steps, .. } => {
                let filled = |k: usize| self.mask >> k & 1 == 1;
                self.mask.count_ones() >= *at_least && steps.iter().enumerate().all(|(k, s)| !s.required || filled(k))
            }
        }
    }
}

impl Engine {
    /// What the waiting hits of a unit do.
    ///
    /// It does not become open by hits that become final: what they were counted for is then held by their group.
    pub(super) fn outlook(&self, unit: &Unit, key: &UnitKey) -> Outlook {
        let rule = &self.rules.rules[key.0 as usize];
        let hit = |s: Option<&u32>| s.and_then(|s| self.hits[*s as usize].as_ref());
        let (Some(first), Some(last)) = (hit(unit.slots.front()), hit(unit.slots.back())) else { return Outlook::Nothing };
        match self.states[key.0 as usize].quiets.get(&key.1).and_then(|q| q.now.as_ref()) {
            Some(s) if last.pos.ts < s.until && !matches!(rule.rearm, Rearm::Below(_)) => return Outlook::Quiet(s.clone(), last.pos.ts),
            Some(s) if first.pos.ts < s.until => return Outlook::Open,
            _ => {}
        }
        if self.may_fire(unit, key, first) { Outlook::Open } else { Outlook::Nothing }
    }

    /// The same after what waits has been counted anew, if it is open and as many have come as wait.
    pub(super) fn outlook_anew(&self, unit: &mut Unit, key: &UnitKey) -> Outlook {
        match self.outlook(unit, key) {
            Outlook::Open if unit.seen.hits as usize >= unit.slots.len() => {
                unit.seen = Seen::of(&unit.slots, &self.hits);
                self.outlook(unit, key)
            }
            known => known,
        }
    }

    fn may_fire(&self, unit: &Unit, key: &UnitKey, first: &Hit) -> bool {
        let (rule, plan, state) = (&self.rules.rules[key.0 as usize], &self.plans[key.0 as usize], &self.states[key.0 as usize]);
        let hits = || unit.slots.iter().filter_map(|s| self.hits[*s as usize].as_ref());
        let many = unit.slots.len() > FEW;
        match &rule.kind {
            Kind::Single => return true,
            Kind::Sum { .. } if many => return true,
            Kind::Distinct { .. } if unit.seen.values.len() == VALUES => return true,
            // Where units share a group, what waits in the others is not seen here.
            _ if plan.loose || plan.shared.is_some() && many => return true,
            _ => {}
        }
        let within = rule.kind.within().unwrap_or_default();
        let amount = |h: &Hit| if let Payload::Amount(n) = h.payload { n } else { 0 };
        let suffices = |h: &Hit| {
            let amount = if matches!(rule.kind, Kind::Sum { .. }) { hits().map(amount).fold(0, i128::saturating_add) } else { 0 };
            let mut reach = Reach { matches: unit.slots.len(), values: unit.seen.values.clone(), amount, mask: unit.seen.mask };
            if let Some(g) = state.groups.get(&h.key) {
                g.reach(first.pos.ts, within, &mut reach);
            }
            reach.suffices(rule)
        };
        if plan.shared.is_some() { hits().any(suffices) } else { suffices(first) }
    }
}
