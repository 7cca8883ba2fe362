//! What a slice of the index says of a condition: the documents for which it surely holds, and those for which it may.
//!
//! The condition holds for all of the first and for none outside the second; the rest is for the evaluator. `not` turns them round.

use crate::event::{Schema, Timestamp, field, words};
use crate::index::{Answer, Slice};
use crate::rule::compile::Probe;
use crate::rule::{Expr, Literal, Op, Order, Test};
use roaring::RoaringBitmap;
use std::io;

/// Asked now and then whether to go on; its error ends the walk.
pub type Check<'a> = &'a dyn Fn() -> io::Result<()>;

/// So many values are looked at between two checks.
const STRIDE: u32 = 1024;

/// All documents of a slice.
pub fn all(slice: &Slice) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..slice.docs());
    all
}

/// What a slice says of a condition whose fields are named by `schema`.
pub fn of(slice: &Slice, e: &Expr, schema: &Schema, go_on: Check<'_>) -> io::Result<Answer> {
    go_on()?;
    Ok(match e {
        Expr::And(list) => {
            let mut sets = Answer::exact(all(slice));
            // Words and equal values are looked up at once; what walks through values comes last, if it has to.
            let mut list: Vec<&Expr> = list.iter().collect();
            list.sort_by_key(|e| walks(e));
            for e in list {
                let more = of(slice, e, schema, go_on)?;
                sets.and(&more);
                if sets.may.is_empty() {
                    break;
                }
            }
            sets
        }
        Expr::Or(list) => {
            let mut sets = Answer::exact(RoaringBitmap::new());
            for e in list {
                sets.or(&of(slice, e, schema, go_on)?);
            }
            sets
        }
        Expr::Not(e) => {
            let sets = of(slice, e, schema, go_on)?;
            Answer { sure: all(slice) - sets.may, may: all(slice) - sets.sure }
        }
        Expr::Test(t) => test(slice, t, schema, go_on)?,
    })
}

/// Whether a condition goes through all values of a field.
fn walks(e: &Expr) -> bool {
    match e {
        Expr::And(list) | Expr::Or(list) => list.iter().any(walks),
        Expr::Not(e) => walks(e),
        Expr::Test(t) => match &t.op {
            Op::In(_) | Op::Exists | Op::Words(_) | Op::Field(..) => false,
            Op::Like(list) => list.iter().any(|p| wild(p)),
            _ => t.field != field::TIMESTAMP,
        },
    }
}

fn wild(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

fn test(slice: &Slice, t: &Test, schema: &Schema, go_on: Check<'_>) -> io::Result<Answer> {
    let name = schema.name(t.field);
    match &t.op {
        Op::Words(words) => return phrase(slice, words),
        Op::Field(_, other) => {
            let mut both = [name, schema.name(*other)].into_iter().filter(|n| slice.indexes(n));
            return both.try_fold(all(slice), |set, n| Ok(set & slice.having(n)?)).map(Answer::perhaps);
        }
        _ => {}
    }
    if t.field == field::TIMESTAMP {
        return Ok(time(slice, &t.op));
    }
    if !slice.indexes(name) {
        return Ok(Answer::perhaps(all(slice)));
    }
    match &t.op {
        Op::Exists => slice.having(name).map(Answer::exact),
        Op::In(list) => {
            let values: Vec<_> = list.iter().map(Literal::value).collect();
            slice.equal(name, &values)
        }
        Op::Like(list) if !list.iter().any(|p| wild(p)) => {
            let folded = |p: &String| {
                let mut lower = Vec::new();
                words::fold(p.as_bytes(), &mut lower);
                lower
            };
            let all: Vec<_> = list.iter().map(folded).collect();
            slice.folded(name, &all)
        }
        _ => {
            let Some(probe) = Probe::new(t) else { return Ok(Answer::perhaps(all(slice))) };
            let mut n = 0u32;
            slice.values(name, &mut |v, _| {
                n = n.wrapping_add(1);
                if n.is_multiple_of(STRIDE) {
                    go_on()?;
                }
                Ok(probe.passes(&v))
            })
        }
    }
}

/// The words of a text: one word is certain, of several only that all are there.
fn phrase(slice: &Slice, words: &[String]) -> io::Result<Answer> {
    let mut sets = Answer::exact(all(slice));
    for w in words {
        sets.and(&slice.word(w)?);
        if sets.may.is_empty() {
            break;
        }
    }
    if words.len() > 1 {
        sets.sure.clear();
    }
    Ok(sets)
}

/// Every document has one time, which is known.
fn time(slice: &Slice, op: &Op) -> Answer {
    let behind = |t: &Timestamp| Timestamp(t.0.saturating_add(1));
    let from = |t: Timestamp| slice.within(t, Timestamp::MAX);
    let before = |t: Timestamp| slice.within(Timestamp::MIN, t);
    let one = |t: &Timestamp| slice.within(*t, behind(t));
    // The greatest instant is behind every range that ends before it: the evaluator is asked.
    if slice.newest() == Timestamp::MAX {
        return Answer::perhaps(all(slice));
    }
    Answer::exact(match op {
        Op::Exists => all(slice),
        Op::In(list) => {
            list.iter().filter_map(|l| if let Literal::Time(t) = l { Some(one(t)) } else { None }).fold(RoaringBitmap::new(), |a, b| a | b)
        }
        Op::NotEqual(Literal::Time(t)) => all(slice) - one(t),
        Op::Order(Order::Less, Literal::Time(t)) => before(*t),
        Op::Order(Order::AtMost, Literal::Time(t)) => before(behind(t)),
        Op::Order(Order::AtLeast, Literal::Time(t)) => from(*t),
        Op::Order(Order::Greater, Literal::Time(t)) => from(behind(t)),
        _ => return Answer::perhaps(all(slice)),
    })
}
