//! Conditions as a compact program over shared predicates: each predicate is asked at most once an event, the cheap
//! ones first.

use super::index::{Way, way};
use super::predicate::{Map, Predicate};
use crate::event::{Event, Layout};
use crate::rule::{Expr, Op, Test};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Predicate(u32),
    Not(u32),
    /// A range of the program's children.
    All(u32, u32),
    Any(u32, u32),
}

/// All conditions of a rule set.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    nodes: Vec<Node>,
    kids: Vec<u32>,
    pub(super) predicates: Vec<Predicate>,
}

/// Makes [`Conditions`], and keeps what only the making needs.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) out: Conditions,
    pub(super) tests: Vec<Test>,
    pub(super) ways: Vec<(Way, f32)>,
    known: Map<String, u32>,
}

/// Predicates, one of which holds whenever a condition does, and the share of events for which one may.
pub(super) type Witness = (Vec<u32>, f32);

/// Equal tests have equal keys. A table is known by where it is, since it may be large.
fn key(t: &Test) -> String {
    match &t.op {
        Op::Table(table) => format!("{} {:p}", t.field.0, std::sync::Arc::as_ptr(table)),
        op => format!("{} {op:?}", t.field.0),
    }
}

impl Builder {
    /// The predicate of a test, shared by all conditions that ask the same.
    fn predicate(&mut self, t: &Test, layout: &Layout) -> u32 {
        let next = self.tests.len() as u32;
        let p = *self.known.entry(key(t)).or_insert(next);
        if p == next {
            self.tests.push(t.clone());
            self.ways.push(way(t));
            self.out.predicates.push(Predicate::new(t, layout));
        }
        p
    }

    fn node(&mut self, n: Node) -> u32 {
        self.out.nodes.push(n);
        self.out.nodes.len() as u32 - 1
    }

    /// Adds a condition: its node, and what asking it costs.
    pub(super) fn add(&mut self, e: &Expr, layout: &Layout) -> (u32, u32) {
        match e {
            Expr::Test(t) => {
                let p = self.predicate(t, layout);
                let cost = self.out.predicates[p as usize].cost();
                (self.node(Node::Predicate(p)), cost)
            }
            Expr::Not(e) => {
                let (n, cost) = self.add(e, layout);
                (self.node(Node::Not(n)), cost)
            }
            Expr::And(list) | Expr::Or(list) => {
                let mut kids: Vec<(u32, u32)> = list.iter().map(|e| self.add(e, layout)).collect();
                if let [one] = kids.as_slice() {
                    return *one;
                }
                kids.sort_by_key(|&(_, cost)| cost);
                let cost = kids.iter().fold(0u32, |a, &(_, cost)| a.saturating_add(cost));
                let from = self.out.kids.len() as u32;
                self.out.kids.extend(kids.iter().map(|&(n, _)| n));
                let n = kids.len() as u32;
                (self.node(if matches!(e, Expr::And(_)) { Node::All(from, n) } else { Node::Any(from, n) }), cost)
            }
        }
    }

    /// The rarest witness of a condition that has been added; `None` where only asking it tells.
    pub(super) fn witness(&self, e: &Expr) -> Option<Witness> {
        match e {
            Expr::Test(t) => {
                let p = *self.known.get(&key(t))?;
                let (way, est) = &self.ways[p as usize];
                (*way != Way::Asked).then(|| (vec![p], *est))
            }
            Expr::And(list) => list.iter().filter_map(|e| self.witness(e)).min_by(|a, b| a.1.total_cmp(&b.1)),
            Expr::Or(list) => list.iter().try_fold((Vec::new(), 0f32), |(mut all, est), e| {
                let (w, more) = self.witness(e)?;
                all.extend(w);
                Some((all, est + more))
            }),
            Expr::Not(e) => match &**e {
                Expr::Not(e) => self.witness(e),
                _ => None,
            },
        }
    }
}

/// The answers of one event's predicates: each is the number of the event, doubled, plus the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    known: Vec<u32>,
    now: u32,
}

impl Answers {
    pub(super) fn new(n: usize) -> Answers {
        Answers { known: vec![0; n], now: 0 }
    }

    /// Forgets all; begins with the next event.
    pub(super) fn begin(&mut self) {
        self.now = self.now.wrapping_add(2);
        if self.now == 0 {
            self.known.fill(0);
            self.now = 2;
        }
    }

    pub(super) fn get(&self, i: usize) -> Option<bool> {
        let k = self.known[i];
        (k & !1 == self.now).then_some(k & 1 == 1)
    }

    /// Notes an answer; whether it is new.
    pub(super) fn set(&mut self, i: usize, answer: bool) -> bool {
        let k = self.now | u32::from(answer);
        std::mem::replace(&mut self.known[i], k) != k
    }
}

/// One event under question.
pub(super) struct Asked<'a> {
    pub(super) of: &'a Conditions,
    pub(super) event: &'a Event<'a>,
    pub(super) answers: &'a mut Answers,
    /// Predicates that do not hold unless their answer is known already.
    pub(super) settled: Option<&'a [bool]>,
    /// How many predicates were asked.
    pub(super) asked: u64,
}

impl Asked<'_> {
    /// Whether a condition holds.
    pub(super) fn holds(&mut self, node: u32) -> bool {
        match self.of.nodes[node as usize] {
            Node::Predicate(p) => {
                let p = p as usize;
                if let Some(known) = self.answers.get(p) {
                    return known;
                }
                if self.settled.is_some_and(|s| s[p]) {
                    return false;
                }
                self.asked += 1;
                let answer = self.of.predicates[p].holds(self.event);
                self.answers.set(p, answer);
                answer
            }
            Node::Not(n) => !self.holds(n),
            Node::All(from, n) => (from..from + n).all(|i| self.holds(self.of.kids[i as usize])),
            Node::Any(from, n) => (from..from + n).any(|i| self.holds(self.of.kids[i as usize])),
        }
    }
}
