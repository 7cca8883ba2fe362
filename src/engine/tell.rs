//! What is told at once: what the waiting hits of a unit come to if nothing earlier arrives.
//!
//! They are applied to copies of its state. Where one has come out of order, or gone, those from there on are applied again,
//! and the difference to what was told is told: opened, amended, withdrawn. Alerts that are told make tentative hits for the
//! rules that listen, which go when the alert does.

use super::copies::Copies;
use super::early::{ORPHAN, Told, Unit, UnitKey};
use super::group::{Effect, Silence, apply, settle};
use super::hit::Payload;
use super::reach::Outlook;
use super::{Engine, Output};
use crate::alert::{Alert, Step};

/// What has come of applying.
#[derive(Default)]
struct Applied {
    fired: Vec<Told>,
    /// The last update of each alert.
    updates: Vec<Silence>,
}

impl Engine {
    /// Tells what has changed since it was last asked, level by level; nothing where alerts are told when they are final.
    ///
    /// Asked after each event or after several, it comes to the same alerts in the end: what stood only in between is not told.
    pub fn tell(&mut self, out: &mut Vec<Output>) {
        for level in 0..self.dirty.len() {
            // Telling makes hits for higher levels only.
            let mut changed = std::mem::take(&mut self.dirty[level]);
            changed.sort_unstable();
            for key in changed.drain(..) {
                let Some(unit) = self.units.get_mut(&key).filter(|u| u.dirty) else { continue };
                let mut unit = std::mem::take(unit);
                self.tell_unit(&mut unit, &key, out);
                self.units.insert(key, unit);
            }
            self.dirty[level] = changed;
        }
    }

    fn tell_unit(&mut self, unit: &mut Unit, key: &UnitKey, out: &mut Vec<Output>) {
        let from = std::mem::replace(&mut unit.stands, unit.slots.len() as u32) as usize;
        unit.dirty = false;
        if unit.told.is_empty() {
            let outlook = self.outlook_anew(unit, key);
            if !matches!(outlook, Outlook::Open) {
                unit.copies = None;
            }
            match outlook {
                Outlook::Open => {}
                Outlook::Nothing => return,
                Outlook::Quiet(s, last) => return update(Silence { count: s.count + unit.slots.len() as u64, last: s.last.max(last), ..s }, out),
            }
        }
        let old = behind(unit, from);
        let applied = self.apply_waiting(unit, key, from);
        self.tell_fired(unit, applied.fired, old, out);
        // An update is of an alert that has been told.
        applied.updates.into_iter().for_each(|s| update(s, out));
    }

    /// Applies the waiting hits to copies; what comes of those behind the first `from`.
    fn apply_waiting(&self, unit: &mut Unit, key: &UnitKey, from: usize) -> Applied {
        let (r, rule) = (key.0 as usize, &self.rules.rules[key.0 as usize]);
        let state = &self.states[r];
        let mut copies = unit.copies.take().unwrap_or_else(|| Copies::new(state.quiets.get(&key.1).cloned().unwrap_or_default()));
        let mut all = Applied::default();
        for i in copies.applied..unit.slots.len() {
            if unit.torn && !self.plans[r].loose {
                copies.keep(unit.slots.len());
            }
            copies.applied = i + 1;
            let slot = unit.slots[i];
            let Some(h) = &self.hits[slot as usize] else { continue };
            let (group, quiet) = copies.group(&h.key, || state.groups.get(&h.key).cloned().unwrap_or_default());
            match apply(rule, h, group, quiet) {
                Effect::Fired(f) => {
                    let id = self.alert_id(h, &f);
                    settle(rule, h.pos.ts, (id, false), &f, group, quiet);
                    if i >= from {
                        all.fired.push(Told { alert: self.alert(h, &f, id, false), slot, children: Vec::new() });
                    }
                }
                Effect::Update(s) if i >= from => match all.updates.last_mut() {
                    Some(last) if last.alert == s.alert => *last = s,
                    _ => all.updates.push(s),
                },
                Effect::Update(_) | Effect::None => {}
            }
        }
        unit.copies = Some(copies);
        all
    }

    /// Tells the difference between what fires now and what was told in its place.
    fn tell_fired(&mut self, unit: &mut Unit, fired: Vec<Told>, mut old: Vec<Told>, out: &mut Vec<Output>) {
        // What was told under an alert's own id stays with it, then what is the same alert, then what shares evidence.
        let same: [fn(&Told, &Alert) -> bool; 3] = [|o, a| o.alert.delivery == a.id, |o, a| o.alert.id == a.id, |o, a| o.alert.shares_evidence(a)];
        let mut heirs: Vec<Option<Told>> = fired.iter().map(|_| None).collect();
        for is in same {
            for (t, heir) in fired.iter().zip(&mut heirs).filter(|(_, h)| h.is_none()) {
                *heir = old.iter().position(|o| is(o, &t.alert)).map(|i| old.remove(i));
            }
        }
        for (mut t, heir) in fired.into_iter().zip(heirs) {
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
            self.make_children(&mut t);
            unit.told.push(t);
        }
        for o in old {
            self.drop_children(&o.children);
            out.push(Output::Alert(Step::Withdrawn, Box::new(o.alert)));
        }
    }

    /// Lets the listening rules have what is told. A metric waits for what is final.
    fn make_children(&mut self, t: &mut Told) {
        let Some((pos, seq)) = self.hits[t.slot as usize].as_ref().map(|h| (h.pos.clone(), h.seq)) else { return };
        for mut child in self.chain(&pos, seq, &t.alert).into_iter().filter(|c| !matches!(c.payload, Payload::Metric(_))) {
            child.tentative = true;
            let key = (child.rule, child.quiet.clone());
            if let Some((slot, _)) = self.join_unit(child) {
                t.children.push((key, slot));
            }
        }
    }
}

/// Takes out what was told of hits from this place on, and of hits that have gone.
fn behind(unit: &mut Unit, from: usize) -> Vec<Told> {
    if !unit.torn {
        return Vec::new();
    }
    let slots = &unit.slots;
    let is = |t: &mut Told| t.slot == ORPHAN || slots.range(from..).any(|s| *s == t.slot);
    unit.told.extract_if(.., is).collect()
}

fn update(s: Silence, out: &mut Vec<Output>) {
    if !s.joined {
        out.push(Output::Update { id: s.alert, count: s.count, last: s.last, early: true });
    }
}
