//! One condition by itself, and one test by itself: for searches, which ask the same of many events or of the values of an index.

use super::predicate::Predicate;
use crate::event::{Event, Layout, Schema, Value};
use crate::rule::{Expr, Op, Test};

/// A condition, ready to be asked of rows of one layout.
#[derive(Clone, Debug)]
pub struct Condition(Node);

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Predicate),
}

impl Node {
    fn new(e: &Expr, layout: &Layout) -> (Node, u32) {
        match e {
            Expr::And(list) | Expr::Or(list) => {
                let mut kids: Vec<(Node, u32)> = list.iter().map(|e| Node::new(e, layout)).collect();
                // The cheap ones first: they often settle it.
                kids.sort_by_key(|&(_, cost)| cost);
                let cost = kids.iter().fold(0u32, |a, &(_, cost)| a.saturating_add(cost));
                let kids = kids.into_iter().map(|(n, _)| n).collect();
                (if matches!(e, Expr::And(_)) { Node::All(kids) } else { Node::Any(kids) }, cost)
            }
            Expr::Not(e) => {
                let (n, cost) = Node::new(e, layout);
                (Node::Not(Box::new(n)), cost)
            }
            Expr::Test(t) => {
                let p = Predicate::new(t, layout);
                let cost = p.cost();
                (Node::Test(p), cost)
            }
        }
    }

    fn holds(&self, ev: &Event<'_>) -> bool {
        match self {
            Node::All(all) => all.iter().all(|n| n.holds(ev)),
            Node::Any(all) => all.iter().any(|n| n.holds(ev)),
            Node::Not(n) => !n.holds(ev),
            Node::Test(p) => p.holds(ev),
        }
    }
}

impl Condition {
    /// The layout has a slot for each of the condition's [`super::fields_of`]; a field without one is missing in every event.
    pub fn new(e: &Expr, layout: &Layout) -> Condition {
        Condition(Node::new(e, layout).0)
    }

    /// Whether it holds for an event.
    pub fn holds(&self, ev: &Event<'_>) -> bool {
        self.0.holds(ev)
    }
}

/// What a test asks of one value.
#[derive(Clone, Debug)]
pub struct Probe(Predicate);

impl Probe {
    /// `None` for a test that is not of the values of one field: between two fields, or of the words of an event.
    pub fn new(t: &Test) -> Option<Probe> {
        let of_values = !matches!(t.op, Op::Field(..) | Op::Words(_));
        of_values.then(|| Probe(Predicate::new(t, &Layout::of(&Schema::default(), []))))
    }

    /// Whether a value passes.
    pub fn passes(&self, v: &Value<'_>) -> bool {
        self.0.passes(v)
    }
}
