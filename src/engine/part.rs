//! The saved part of one rule, read and translated: numbers of rules and fields are put anew by name.

use super::blob::Blob;
use super::copies::Copies;
use super::evidence::{AlertRef, Evidence};
use super::group::{Group, Quiet};
use super::hit::{Hit, Payload, Pos, rekeep};
use super::saved::{Reader, RuleHead, SavedTold, SavedUnit, StateError};
use super::storm::Storm;
use super::table::Table;
use super::{Plan, key, save};
use crate::alert::Alert;
use crate::event::Timestamp;
use crate::rule::{Rule, RuleSet};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where saved numbers lead in an engine.
pub(super) struct Numbers {
    rules: Arc<RuleSet>,
    old: Vec<Arc<str>>,
    new: Vec<Option<u32>>,
    /// Alerts that are evidence, once in memory.
    alerts: HashMap<[u8; 16], Arc<AlertRef>>,
}

const NO_RULE: StateError = StateError::Damaged("a match is of an alert of a rule that is not there");

impl Numbers {
    pub fn new(rules: &Arc<RuleSet>, saved: &[RuleHead]) -> Numbers {
        let is = |s: &RuleHead| {
            let i = rules.rules.binary_search_by(|r| r.id.cmp(&s.id)).ok()?;
            (rules.rules[i].meaning == s.meaning).then_some(i as u32)
        };
        let (old, new) = saved.iter().map(|s| (s.id.clone(), is(s))).unzip();
        Numbers { rules: rules.clone(), old, new, alerts: HashMap::new() }
    }

    /// The number of a rule that is there with its saved meaning.
    pub fn rule(&self, saved: u32) -> Option<u32> {
        self.new.get(saved as usize).copied().flatten()
    }

    /// The place of a match. What a rule listens to is part of its meaning, so the rule of the alert is there.
    fn pos(&self, p: &mut Pos) -> Result<(), StateError> {
        if p.level > 0 {
            p.rule = self.rule(p.rule).ok_or(NO_RULE)?;
        }
        Ok(())
    }

    /// A place up to which all is final: where the rule of its alert is gone, that of the first that would come behind it.
    pub fn bound(&self, p: &mut Pos) -> Result<(), StateError> {
        if p.level > 0 && self.pos(p).is_err() {
            let id = self.old.get(p.rule as usize).ok_or(NO_RULE)?;
            p.rule = self.rules.rules.partition_point(|r| r.id < *id) as u32;
            (p.origin, p.ord) = (None, 0);
        }
        Ok(())
    }

    fn alert(&mut self, a: &mut Option<Arc<AlertRef>>) {
        if let Some(a) = a {
            let shared = self.alerts.entry(a.id).or_insert_with(|| {
                let rule = self.rules.rules.binary_search_by(|r| r.id.cmp(&a.rule)).map_or(a.rule.clone(), |i| self.rules.rules[i].id.clone());
                Arc::new(AlertRef { id: a.id, rule })
            });
            *a = shared.clone();
        }
    }
}

/// See the module.
pub(super) struct Part {
    pub rule: u32,
    pub evicted: u64,
    pub groups: Table<Group>,
    pub quiets: Table<Quiet>,
    pub storm: Storm,
    pub metrics: Vec<(u64, Hit)>,
    pub units: Vec<PartUnit>,
    /// Moves of a metric that is another now.
    pub lost: usize,
}

/// A unit whose hits have no slots yet.
pub(super) struct PartUnit {
    pub quiet: Arc<[u8]>,
    pub horizon: Option<Box<Pos>>,
    /// With the place in the queue; tentative ones have none.
    pub hits: Vec<(Option<u64>, Hit)>,
    pub copies: Option<Box<Copies>>,
    pub told: Vec<PartTold>,
    pub spent: Vec<[u8; 16]>,
    pub dirty: bool,
}

/// An alert that has been told.
pub(super) struct PartTold {
    pub alert: Alert,
    /// The place of its hit among the unit's.
    pub hit: Option<u32>,
    /// Rule, quiet key, place among that unit's hits.
    pub children: Vec<(u32, Arc<[u8]>, u32)>,
}

/// Reads one part. Equal keys and kept values are once in memory, as they were.
struct Reading<'a> {
    rule: u32,
    def: &'a Rule,
    plan: &'a Plan,
    numbers: &'a mut Numbers,
    keys: HashSet<Arc<[u8]>>,
    /// As saved, and as they are kept now.
    kept: HashMap<Arc<[u8]>, Arc<[u8]>>,
    /// For each field kept now its place among the saved ones; none if they are the same.
    from: Option<Vec<Option<usize>>>,
}

impl Part {
    /// Reads the part of the rule that has this number now.
    pub fn read(rule: u32, head: &RuleHead, mut from: Reader<'_>, numbers: &mut Numbers, plan: &Plan) -> Result<Part, StateError> {
        let rules = numbers.rules.clone();
        let def = &rules.rules[rule as usize];
        let names = save::kept_names(plan, &rules.schema);
        let places = names.iter().map(|n| head.kept.iter().position(|k| k == n)).collect();
        let same = names == head.kept;
        let mut r = Reading { rule, def, plan, numbers, keys: HashSet::new(), kept: HashMap::new(), from: (!same).then_some(places) };
        let (mut groups, mut quiets) = (Table::new(plan.seed), Table::new(plan.seed));
        from.each(|(mut key, touched, mut g): (Blob, Timestamp, Group)| {
            r.key(&mut key.0);
            r.group(&mut g)?;
            groups.put(&key.0, touched, g);
            Ok(())
        })?;
        from.each(|(mut key, touched, q): (Blob, Timestamp, Quiet)| {
            r.key(&mut key.0);
            quiets.put(&key.0, touched, q);
            Ok(())
        })?;
        let storm = from.take()?;
        let (mut metrics, mut units) = (Vec::new(), Vec::new());
        from.each(|(nth, mut h): (u64, Hit)| {
            r.hit(&mut h)?;
            metrics.push((nth, h));
            Ok(())
        })?;
        from.each(|u: SavedUnit<'static>| {
            units.push(r.unit(u)?);
            Ok(())
        })?;
        from.end()?;
        let mut lost = 0;
        if save::metric_names(def) != head.metric {
            lost = metrics.len();
            metrics.clear();
        }
        Ok(Part { rule, evicted: head.evicted, groups, quiets, storm, metrics, units, lost })
    }
}

impl Reading<'_> {
    fn key(&mut self, k: &mut Arc<[u8]>) {
        match self.keys.get(k) {
            Some(known) => *k = known.clone(),
            None => drop(self.keys.insert(k.clone())),
        }
    }

    fn keep(&mut self, k: &mut Option<Arc<[u8]>>) -> Result<(), StateError> {
        let Some(old) = k else { return Ok(()) };
        if let Some(new) = self.kept.get(old) {
            *old = new.clone();
            return Ok(());
        }
        let new = match &self.from {
            None => old.clone(),
            Some(from) => rekeep(old, from).ok_or(StateError::Damaged("kept values cannot be read"))?.into(),
        };
        self.kept.insert(std::mem::replace(old, new.clone()), new);
        Ok(())
    }

    fn evidence(&mut self, e: &mut Evidence) -> Result<(), StateError> {
        self.numbers.alert(&mut e.alert);
        self.keep(&mut e.kept)
    }

    fn group(&mut self, g: &mut Group) -> Result<(), StateError> {
        if !g.fits(&self.def.kind) {
            return Err(StateError::Damaged("a group is of another kind than its rule"));
        }
        let mut wrong = None;
        g.each(&mut |e| {
            if let Err(x) = self.evidence(e) {
                wrong = Some(x);
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    fn pos(&mut self, p: &mut Pos) -> Result<(), StateError> {
        p.origin.iter_mut().for_each(|k| self.key(k));
        self.numbers.pos(p)
    }

    fn hit(&mut self, h: &mut Hit) -> Result<(), StateError> {
        if !h.payload.fits(&self.def.kind) {
            return Err(StateError::Damaged("a match is of another kind than its rule"));
        }
        h.rule = self.rule;
        self.pos(&mut h.pos)?;
        self.key(&mut h.key);
        self.key(&mut h.quiet);
        self.numbers.alert(&mut h.alert);
        self.keep(&mut h.kept)
    }

    fn unit(&mut self, u: SavedUnit<'static>) -> Result<PartUnit, StateError> {
        let mut quiet = u.quiet;
        self.key(&mut quiet);
        let mut hits = Vec::with_capacity(u.hits.len());
        for (nth, h) in u.hits {
            let mut h = h.into_owned();
            self.hit(&mut h)?;
            if nth.is_none() != h.tentative || matches!(h.payload, Payload::Metric(_)) || h.quiet != quiet {
                return Err(StateError::Damaged("a match waits where it does not belong"));
            }
            hits.push((nth, h));
        }
        if !hits.is_sorted_by(|(_, a), (_, b)| a.pos <= b.pos) {
            return Err(StateError::Damaged("matches wait in a wrong order"));
        }
        let mut copies = u.copies.map(|c| Box::new(c.into_owned()));
        if let Some(c) = &mut copies {
            if c.applied > hits.len() {
                return Err(StateError::Damaged("more matches are told than wait"));
            }
            for (k, g) in &mut c.groups {
                self.key(k);
                self.group(g)?;
            }
        }
        let mut horizon = u.horizon.map(|p| Box::new(p.into_owned()));
        horizon.iter_mut().try_for_each(|p| self.numbers.bound(p))?;
        let told = u.told.into_iter().map(|t| self.told(t)).collect::<Result<_, _>>()?;
        Ok(PartUnit { quiet, horizon, hits, copies, told, spent: u.spent.into_owned(), dirty: u.dirty })
    }

    fn told(&mut self, t: SavedTold<'static>) -> Result<PartTold, StateError> {
        let mut key = t.key;
        self.key(&mut key);
        let mut evidence = t.evidence.into_owned();
        evidence.iter_mut().try_for_each(|e| self.evidence(e))?;
        let saved = |i: usize| self.from.as_ref().map_or(Some(i), |f| f[i]);
        let values = |i: usize| {
            let place = saved(i)? as u32;
            t.carried.iter().find(|(p, _)| *p == place).map(|(_, v)| v.to_vec())
        };
        let kept = self.plan.kept.iter().enumerate().filter(|(_, f)| !self.plan.key.contains(f));
        let alert = Alert {
            id: t.id,
            delivery: t.delivery,
            rule: self.rule as usize,
            ts: t.ts,
            keys: self.plan.key.iter().copied().zip(key::scalars(&key)).collect(),
            key,
            carried: kept.map(|(i, f)| (*f, values(i).unwrap_or_default())).collect(),
            count: t.count,
            first: t.first,
            last: t.last,
            evidence,
            short: t.short,
            late: t.late,
        };
        let child = |(rule, quiet, i): (u32, Blob, u32)| self.numbers.rule(rule).map(|r| (r, quiet.0, i));
        Ok(PartTold { alert, hit: t.hit, children: t.children.into_iter().filter_map(child).collect() })
    }
}
