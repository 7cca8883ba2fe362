//! The matcher: which rules and steps an event or an alert matches.
//!
//! In: a [`RuleSet`] and the [`Layout`] of the rows, then rows. Out: [`Hit`]s, what an exception hides left out. What a
//! hit does to windows and keys is the engine's business.
//!
//! Each condition hangs on its rarest *witness*: predicates, one of which holds whenever it does. Witnesses are looked up
//! (`index`): equal values and networks in maps, literals of texts by one automaton a field. Only the conditions so woken
//! are asked (`eval`), and only those without a witness are asked for each event. Memory is that of the rules plus, for
//! each field that is searched, what is remembered of its texts, at most about 6 MiB. Nothing is allocated for an event
//! once the scratch has grown, and no answer depends on what is remembered.

mod eval;
mod index;
mod one;
mod phrase;
mod predicate;
#[cfg(test)]
mod tests;

pub use one::{Condition, Probe};
pub use phrase::Phrase;

use super::{Expr, Kind, Op, Part, Rearm, RuleSet, Template, When};
use crate::event::{Event, Field, Layout, Timestamp, Value, field};
use eval::{Answers, Asked, Builder, Conditions};
use index::{FieldIndex, Gather, Memo, Scratch, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A rule, or a step of one, that an event or an alert matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// Index of the rule in its [`RuleSet`].
    pub rule: u32,
    /// Index of the step; 0 for a rule without steps.
    pub step: u16,
}

/// How much work was done, over all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events and alerts.
    pub events: u64,
    /// Conditions asked: those woken by a witness, those without one, and those that listen to an alert's rule.
    pub woken: u64,
    /// Predicates asked for a woken condition, each at most once an event.
    pub asked: u64,
    /// Texts whose predicates were remembered.
    pub remembered: u64,
    /// Texts that were searched.
    pub searched: u64,
}

#[derive(Debug)]
struct Matchable {
    hit: Hit,
    /// The node of its condition; none holds always.
    root: Option<u32>,
}

#[derive(Debug)]
struct Program {
    conditions: Conditions,
    matchables: Vec<Matchable>,
    fields: Vec<FieldIndex>,
    /// For each predicate, whether the index tells that it holds.
    settled: Vec<bool>,
    /// For each predicate, the matchables that hang on it, as a range of `hanging`.
    hangs: Vec<(u32, u32)>,
    hanging: Vec<u32>,
    always: Vec<u32>,
    /// For each rule, the matchables that listen to its alerts.
    listeners: Vec<Vec<u32>>,
    exceptions: Vec<(u32, Option<Timestamp>)>,
    /// For each rule, its exceptions.
    excepting: Vec<Vec<usize>>,
}

/// Finds what matches. One for each thread: a clone shares the compiled rules and has a scratch of its own.
#[derive(Clone, Debug)]
pub struct Matcher {
    program: Arc<Program>,
    state: State,
    /// For each exception of the rule set, how often it hid an event from a rule that would have matched it. Of several
    /// that hold, each is counted.
    pub excepted: Vec<u64>,
}

/// The scratch of one event, reused, and what is remembered.
#[derive(Clone, Debug)]
struct State {
    answers: Answers,
    hidden: Answers,
    awake: Answers,
    woken: Vec<u32>,
    scratch: Scratch,
    memos: Vec<Memo>,
    stats: Stats,
}

/// Every field that the rules need in a row: of conditions, keys, kinds, templates, metrics and what alerts carry.
/// Sorted, each once.
pub fn fields(rules: &RuleSet) -> Vec<Field> {
    let mut out = BTreeSet::new();
    for r in &rules.rules {
        when(&r.when, &mut out);
        for s in r.kind.steps() {
            when(&s.when, &mut out);
            out.extend(s.by.iter().flatten());
        }
        match &r.kind {
            Kind::Distinct { fields, .. } => out.extend(fields),
            Kind::Sum { field, .. } => drop(out.insert(*field)),
            Kind::Single | Kind::Count { .. } | Kind::Sequence { .. } | Kind::AllOf { .. } => {}
        }
        if let Rearm::Cooldown { by: Some(by), .. } = &r.rearm {
            out.extend(by);
        }
        out.extend(r.by.iter().chain(&r.per).chain(&r.carry));
        r.summary.iter().for_each(|t| template(t, &mut out));
        if let Some(m) = &r.metric {
            out.extend(&m.value);
            m.label_fields.iter().for_each(|(_, t)| template(t, &mut out));
        }
    }
    rules.exceptions.iter().for_each(|e| expr(&e.where_, &mut out));
    out.into_iter().collect()
}

/// Every field that a condition needs in a row. Sorted, each once.
pub fn fields_of(e: &Expr) -> Vec<Field> {
    let mut out = BTreeSet::new();
    expr(e, &mut out);
    out.into_iter().collect()
}

fn when(w: &When, out: &mut BTreeSet<Field>) {
    w.where_.iter().for_each(|e| expr(e, out));
}

fn expr(e: &Expr, out: &mut BTreeSet<Field>) {
    match e {
        Expr::And(list) | Expr::Or(list) => list.iter().for_each(|e| expr(e, out)),
        Expr::Not(e) => expr(e, out),
        Expr::Test(t) => {
            out.insert(t.field);
            match t.op {
                Op::Field(_, other) => drop(out.insert(other)),
                Op::Words(_) => drop(out.insert(field::EVENT_ORIGINAL)),
                _ => {}
            }
        }
    }
}

fn template(t: &Template, out: &mut BTreeSet<Field>) {
    out.extend(t.0.iter().filter_map(|p| if let Part::Field(f) = p { Some(*f) } else { None }));
}

/// Whether a condition holds for one event, compiled for this one question: for `explain` and tests, not for streams.
pub fn holds(e: &Expr, ev: &Event<'_>) -> bool {
    Condition::new(e, ev.layout()).holds(ev)
}

impl Matcher {
    /// Compiles the conditions of a rule set for rows of one layout.
    ///
    /// The layout has a slot for each of [`fields`]; a field without one is missing in every event. A rule with steps
    /// matches by its steps; a condition of the rule itself must then hold beside that of each step. A rule or step with
    /// neither a condition nor rules to listen to matches nothing.
    pub fn new(rules: &RuleSet, layout: &Layout) -> Matcher {
        let mut b = Builder::default();
        let mut matchables = Vec::new();
        let mut witnesses = Vec::new();
        let mut always = Vec::new();
        let mut listeners: Vec<Vec<u32>> = vec![Vec::new(); rules.rules.len()];
        let mut matchable = |b: &mut Builder, hit: Hit, e: Option<Expr>, of: Option<&[usize]>| {
            let m = matchables.len() as u32;
            let root = e.as_ref().map(|e| b.add(e, layout).0);
            match (of, &e) {
                (Some(of), _) => {
                    for &r in of {
                        if let Some(l) = listeners.get_mut(r).filter(|l| l.last() != Some(&m)) {
                            l.push(m);
                        }
                    }
                }
                (None, Some(e)) => match b.witness(e) {
                    Some((w, _)) => witnesses.push((m, w)),
                    None => always.push(m),
                },
                (None, None) => return,
            }
            matchables.push(Matchable { hit, root });
        };
        for (i, r) in rules.rules.iter().enumerate() {
            let rule = i as u32;
            if r.kind.steps().is_empty() {
                matchable(&mut b, Hit { rule, step: 0 }, r.when.where_.clone(), r.when.rules.as_deref());
            }
            for (step, s) in r.kind.steps().iter().enumerate() {
                let both = match (&r.when.where_, &s.when.where_) {
                    (Some(r), Some(s)) => Some(Expr::And(vec![r.clone(), s.clone()])),
                    (r, s) => r.as_ref().or(s.as_ref()).cloned(),
                };
                matchable(&mut b, Hit { rule, step: step as u16 }, both, s.when.rules.as_deref());
            }
        }
        let exceptions: Vec<_> = rules.exceptions.iter().map(|e| (b.add(&e.where_, layout).0, e.until)).collect();
        let excepting = rules.rules.iter().map(|r| r.exceptions.iter().copied().filter(|&e| e < exceptions.len()).collect::<Vec<_>>()).collect();

        let n = b.out.predicates.len();
        let mut under: Vec<Vec<u32>> = vec![Vec::new(); n];
        for (m, mut w) in witnesses {
            w.sort_unstable();
            w.dedup();
            w.iter().for_each(|&p| under[p as usize].push(m));
        }
        let mut settled = vec![false; n];
        let mut gathered: BTreeMap<usize, Gather> = BTreeMap::new();
        let (mut hangs, mut hanging) = (Vec::with_capacity(n), Vec::new());
        for (p, list) in under.iter().enumerate() {
            hangs.push((hanging.len() as u32, list.len() as u32));
            hanging.extend(list);
            if list.is_empty() {
                continue;
            }
            settled[p] = b.ways[p].0 != Way::Present;
            if let Some(slot) = layout.slot(b.tests[p].field) {
                gathered.entry(slot).or_default().add(p as u32, &b.tests[p], &b.ways[p].0);
            }
        }
        let fields: Vec<FieldIndex> = gathered.into_iter().map(|(slot, g)| g.build(slot, &b.out.predicates)).collect();

        Matcher {
            state: State {
                answers: Answers::new(n),
                hidden: Answers::new(exceptions.len()),
                awake: Answers::new(matchables.len()),
                woken: Vec::new(),
                scratch: Scratch::new(n),
                memos: vec![Memo::default(); fields.len()],
                stats: Stats::default(),
            },
            excepted: vec![0; exceptions.len()],
            program: Arc::new(Program { conditions: b.out, matchables, fields, settled, hangs, hanging, always, listeners, exceptions, excepting }),
        }
    }

    /// Appends what an event matches: every rule and step that listens to events, whose condition holds, and from which no
    /// exception hides the event. Ordered by (rule, step). `ts` is the event's time, by which exceptions end.
    pub fn event(&mut self, ev: &Event<'_>, ts: Timestamp, hits: &mut Vec<Hit>) {
        let p = &*self.program;
        self.state.begin();
        let State { answers, awake, woken, scratch, memos, .. } = &mut self.state;
        for (index, memo) in p.fields.iter().zip(memos) {
            let v = ev.at(index.slot);
            if v.is_missing() {
                continue;
            }
            let mut wake = |q: u32| {
                let (from, n) = p.hangs[q as usize];
                for &m in &p.hanging[from as usize..(from + n) as usize] {
                    if awake.set(m as usize, true) {
                        woken.push(m);
                    }
                }
            };
            index.present.iter().for_each(|&q| wake(q));
            let mut hold = |q: u32| {
                if answers.set(q as usize, true) {
                    wake(q);
                }
            };
            match v {
                Value::List(l) => l.iter().for_each(|v| index.find(v, &p.conditions.predicates, scratch, memo, &mut hold)),
                v => index.find(v, &p.conditions.predicates, scratch, memo, &mut hold),
            }
        }
        woken.extend_from_slice(&p.always);
        self.state.judge(p, ev, ts, Some(&p.settled), &mut self.excepted, hits);
    }

    /// Appends what an alert of rule `of` matches: every rule and step that listens to it, whose condition, if it has one,
    /// holds for the alert's fields, and from which no exception hides it. Ordered by (rule, step).
    pub fn alert(&mut self, ev: &Event<'_>, of: usize, ts: Timestamp, hits: &mut Vec<Hit>) {
        let p = &*self.program;
        self.state.begin();
        self.state.woken.extend_from_slice(p.listeners.get(of).map_or(&[], Vec::as_slice));
        self.state.judge(p, ev, ts, None, &mut self.excepted, hits);
    }

    /// How much work was done so far.
    pub fn stats(&self) -> Stats {
        let sum = |f: fn(&Memo) -> u64| self.state.memos.iter().map(f).sum();
        Stats { remembered: sum(|m| m.remembered), searched: sum(|m| m.searched), ..self.state.stats }
    }
}

impl State {
    /// Forgets the event before.
    fn begin(&mut self) {
        self.answers.begin();
        self.hidden.begin();
        self.awake.begin();
        self.woken.clear();
    }

    /// Asks the conditions of all that is woken, then their exceptions.
    fn judge(&mut self, p: &Program, event: &Event<'_>, ts: Timestamp, settled: Option<&[bool]>, excepted: &mut [u64], hits: &mut Vec<Hit>) {
        let mut asked = Asked { of: &p.conditions, event, answers: &mut self.answers, settled, asked: 0 };
        let from = hits.len();
        for &m in &self.woken {
            let m = &p.matchables[m as usize];
            if m.root.is_none_or(|r| asked.holds(r)) {
                hits.push(m.hit);
            }
        }
        hits[from..].sort_unstable();
        let (mut kept, mut last) = (from, None);
        for i in from..hits.len() {
            let hit = hits[i];
            let hide = match last {
                Some((rule, hide)) if rule == hit.rule => hide,
                _ => {
                    let mut hide = false;
                    for &e in &p.excepting[hit.rule as usize] {
                        let (root, until) = p.exceptions[e];
                        if until.is_some_and(|u| ts >= u) {
                            continue;
                        }
                        let it = self.hidden.get(e).unwrap_or_else(|| asked.holds(root));
                        self.hidden.set(e, it);
                        excepted[e] += u64::from(it);
                        hide |= it;
                    }
                    hide
                }
            };
            last = Some((hit.rule, hide));
            if !hide {
                hits[kept] = hit;
                kept += 1;
            }
        }
        hits.truncate(kept);
        self.stats.events += 1;
        self.stats.woken += self.woken.len() as u64;
        self.stats.asked += asked.asked;
    }
}
