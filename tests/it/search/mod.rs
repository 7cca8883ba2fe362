//! Search against a scan of all records with the engine's own evaluator: the same events, in the same order, on pages that follow
//! one another, and all that is made of them.

pub mod corpus;
mod damage;
mod limits;
mod queries;

use crate::streams::seeds;
use corpus::{Corpus, Parsed};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use vigild::disk::sim::Dice;
use vigild::event::{Field, Timestamp, Value};
use vigild::rule::Expr;
use vigild::rule::compile::Condition;
use vigild::search::find::{Bounds, Found, Ground, Range, find};
use vigild::search::histogram::histogram;
use vigild::search::page::{Key, Order, page};
use vigild::search::query::Query;
use vigild::search::tally::{Key as Counted, Tally};

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(600), memory: 1 << 30, records: u64::MAX };
/// So many queries are asked of each corpus.
const QUERIES: u64 = 100;

/// What a naive scan finds: the events, oldest first, and how many have each value of the fields.
fn naive(c: &Corpus, q: &Query, range: &Range, fields: &[Field]) -> (Vec<Key>, Vec<BTreeMap<Counted, u64>>) {
    let (mut keys, mut counts) = (Vec::new(), vec![BTreeMap::new(); fields.len()]);
    for view in &c.views {
        let mut schema = view.schema.clone();
        let expr: Option<Expr> = q.under(&mut schema);
        assert_eq!(schema.len(), view.schema.len(), "every field of a query is read");
        let condition = expr.map(|e| Condition::new(&e, &view.layout));
        for r in &view.records {
            let inside = range.since.is_none_or(|s| r.key.0 >= s) && range.until.is_none_or(|u| r.key.0 < u);
            if !inside || r.lsn > range.last_lsn || !condition.as_ref().is_none_or(|c| c.holds(&r.event(view))) {
                continue;
            }
            keys.push(r.key);
            for (f, counts) in fields.iter().zip(&mut counts) {
                let name = q.schema().name(*f);
                let value = schema.get(name).map_or(Value::Missing, |f| r.event(view).get(f));
                let mut all: Vec<Counted> = value.each().filter_map(|v| Counted::of(&v)).collect();
                all.sort();
                all.dedup();
                all.into_iter().for_each(|k| *counts.entry(k).or_insert(0) += 1);
            }
        }
    }
    keys.sort();
    (keys, counts)
}

fn searched(c: &Corpus, q: &Query, range: &Range, fields: &[Field], bounds: &Bounds) -> Found {
    let (reader, stop) = (c.journal.reader(), AtomicBool::new(false));
    let ground = Ground { reader: &reader, index: &c.index, past: &c.past, stop: &stop };
    find(&ground, q, range, fields, bounds)
}

fn pages(found: &Found, order: Order, limit: usize) -> Vec<Key> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (hits, more) = page(found, order, after, limit);
        all.extend(hits.iter().map(|h| h.key));
        after = all.last().copied();
        if !more {
            return all;
        }
    }
}

/// One query of one corpus; how many events it found, and how many records had to be read.
fn check(c: &Corpus, text: &str, d: &mut Dice, what: &str) -> Option<(u64, u64)> {
    // A condition that always or never holds is refused; so is nothing else that is made here.
    let mut q = match Query::new(text, &c.past.today()) {
        Ok(q) => q,
        Err(said) => {
            assert!(said.iter().all(|d| ["C008", "C009"].contains(&d.code)), "{what}: {text}: {said:#?}");
            return None;
        }
    };
    let times: Vec<Timestamp> = c.views.iter().flat_map(|v| &v.records).map(|r: &Parsed| r.key.0).collect();
    let instant = |d: &mut Dice| d.one_in(3).then(|| times[d.below(times.len() as u64) as usize]);
    let mut range = Range { since: instant(d), until: instant(d), last_lsn: c.last.0, last_seq: c.last.1 };
    if d.one_in(4) {
        // As a page that was begun earlier.
        let r = &c.views[0].records[d.below(c.views[0].records.len() as u64) as usize];
        (range.last_lsn, range.last_seq) = (r.lsn, r.last_of_entry);
    }
    let names = ["user.name", "tags", "source.ip", "event.severity", "suricata.thing", "message", "@timestamp", "event.duration"];
    let fields: Vec<Field> = (0..d.below(3)).map(|_| q.field(names[d.below(names.len() as u64) as usize]).expect("a field")).collect();
    let found = searched(c, &q, &range, &fields, &BOUNDS);
    let (mut want, counts) = naive(c, &q, &range, &fields);
    assert_eq!((found.cut, &found.missing[..]), (None, &[][..]), "{what}: {text}");
    assert_eq!(pages(&found, Order::Oldest, 1 + d.below(40) as usize), want, "{what}: {text} in {range:?}");
    want.reverse();
    assert_eq!(pages(&found, Order::Newest, 1 + d.below(40) as usize), want, "{what}: {text}");
    assert_eq!(found.total, want.len() as u64, "{what}: {text}");
    let h = histogram(&found, range.since, range.until, 1 + d.below(50) as usize);
    assert_eq!(h.map_or(0, |h| h.counts.iter().sum::<u64>()), found.total, "{what}: {text}");
    for (i, (t, want)) in found.tallies.iter().zip(&counts).enumerate() {
        let got: BTreeMap<Counted, u64> = t.top(usize::MAX).into_iter().map(|(k, n)| (k.clone(), n)).collect();
        assert_eq!(got, *want, "{what}: {text}: values of {}", q.schema().name(fields[i]));
        assert_eq!(Tally::distinct(t), want.len() as u64);
    }
    Some((found.total, found.scanned))
}

fn campaign(seeds: std::ops::Range<u64>) -> u64 {
    let (mut pairs, mut found, mut some, mut read, mut records) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for seed in seeds {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        for _ in 0..QUERIES {
            let (text, was) = (queries::text(&mut d), d.0);
            let what = format!("seed {seed} (tests/run --long search --seeds {seed}..{}), dice {was}", seed + 1);
            if let Some((n, scanned)) = check(&c, &text, &mut d, &what) {
                (pairs, found, some) = (pairs + 1, found + n, some + u64::from(n > 0));
                (read, records) = (read + scanned, records + c.last.1);
            }
        }
    }
    assert!(some * 4 > pairs, "queries that find nothing show nothing: {some} of {pairs}");
    assert!(read * 5 < records * 4, "an index that is not used shows nothing: {read} of {records} records were read");
    eprintln!("{pairs} pairs, {found} events found, {read} of {records} records read beside the index");
    pairs
}

#[test]
fn the_index_and_a_scan_agree() {
    assert!(campaign(0..25) >= 2000);
}

#[test]
#[ignore = "100 000 pairs: tests/run --long search --seeds A..B, 100 a seed"]
fn long_search() {
    campaign(seeds(1000..2100));
}
