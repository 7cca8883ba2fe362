//! What it costs to tell alerts at once: generated records of two connections through parsers, built-in rules and engine, with
//! and without. `cargo bench --bench early`.
//!
//! Each connection's times rise; the two come in turns of 64 KiB, so that the records of one are out of order beside the
//! other's, or one by one in the order of time. CPU time of this thread; final alerts are the same with and without, or nothing
//! is printed. `VIGILD_BENCH_RECORDS` is how many records there are, `VIGILD_BENCH_RATE` how many of them in a second of event time.

#![allow(clippy::disallowed_methods)] // Its size is the bencher's word, no setting of vigild's.

mod cpu;

use std::sync::Arc;
use vigild::engine::Options;
use vigild::engine::collect::Collected;
use vigild::event::{Batch, Schema, Span, Timestamp};
use vigild::r#gen::{Attacks, Form, Recipe, START, Stream};
use vigild::parse::{Context, Estate, declared};
use vigild::rule::{RuleSet, load};
use vigild::worker::{Origin, Row, Worker};
use vigild::{builtin, diag};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;
const NAMES: [&str; 2] = ["a", "b"];
/// What a connection brings before it is the other's turn.
const CHUNK: usize = 64 << 10;

/// Batches, each with its connection.
type Input = Vec<(usize, Batch)>;

/// Records of two connections, those of each in the order of time.
fn records(forms: &[(Form, u64)], attacks: f64, count: u64, rate: f64) -> [Vec<(Timestamp, Vec<u8>)>; 2] {
    let recipe =
        Recipe { forms: forms.to_vec(), attacks: Attacks::Fraction(attacks), streams: 2, count: Some(count), spacing: rate, ..Recipe::default() };
    [0, 1].map(|s| {
        let mut stream = Stream::new(&recipe, s);
        let one = || {
            let mut b = Vec::new();
            stream.next(START, &mut b).map(|made| (made.ts, b))
        };
        std::iter::from_fn(one).collect()
    })
}

/// The two in turns of [`CHUNK`].
fn turns(all: &[Vec<(Timestamp, Vec<u8>)>; 2]) -> Input {
    let (mut input, mut left) = (Input::new(), [&all[0][..], &all[1][..]]);
    while left.iter().any(|l| !l.is_empty()) {
        for (s, left) in left.iter_mut().enumerate() {
            let mut batch = Batch::default();
            while let Some(((_, record), rest)) = left.split_first()
                && batch.bytes.len() < CHUNK
            {
                batch.push(record, false);
                *left = rest;
            }
            input.push((s, batch));
        }
    }
    input
}

/// One by one in the order of time.
fn merged(all: &[Vec<(Timestamp, Vec<u8>)>; 2]) -> Input {
    let mut order: Vec<(Timestamp, usize, &[u8])> = (0..2).flat_map(|s| all[s].iter().map(move |(ts, r)| (*ts, s, &r[..]))).collect();
    order.sort_by_key(|(ts, s, _)| (*ts, *s));
    let one = |(_, s, record): (Timestamp, usize, &[u8])| {
        let mut batch = Batch::default();
        batch.push(record, false);
        (s, batch)
    };
    order.into_iter().map(one).collect()
}

/// What a run took and made.
struct Run {
    /// Records a second.
    rate: f64,
    /// What was said that is not final.
    early: usize,
    /// Matches that became final early.
    limited: u64,
    /// Final alerts as they read.
    alerts: Vec<String>,
}

fn run(rules: &Arc<RuleSet>, formats: &declared::Formats, input: &Input, lateness: Span, provisional: bool) -> Run {
    let estate = Arc::new(Estate::default());
    let zone = jiff::tz::TimeZone::UTC;
    let mut w = Worker::new(rules.clone(), formats, estate.clone(), Options { provisional, live: true, ..Options::default() });
    let (mut said, mut got, mut row, mut early, mut n) = (Vec::new(), Collected::default(), Row::default(), 0, 0);
    let begun = cpu::now();
    for (s, batch) in input {
        let ctx = Context { zone: &zone, near: START, named: false, estate: &estate };
        let origin = Origin { ctx, format: None, stream: NAMES[*s], lateness, received: None };
        for &r in &batch.records {
            n += 1;
            w.parse(batch, r, &origin, &mut row);
            w.feed(batch, r, &origin, &mut row, &mut said);
        }
        // As the daemon does, once for what came together.
        w.tell(&mut said);
        early += said.len();
        got.take(&mut said);
    }
    let rate = n as f64 / (cpu::now() - begun) * 1e9;
    w.engine().finish(&mut said);
    got.take(&mut said);
    assert_eq!(w.engine().counters().late, 0, "all are in time");
    let limited = w.engine().counters().final_early;
    // What was told before has no part in what is final but the name under which it was told first.
    let read = |a: vigild::alert::Alert| format!("{:?}", vigild::alert::Alert { delivery: a.id, ..a });
    Run { rate, early, limited, alerts: got.finish().into_iter().map(read).collect() }
}

fn main() {
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let (count, rate) = (number("VIGILD_BENCH_RECORDS", 300_000), number("VIGILD_BENCH_RATE", 2000) as f64);
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let mut schema = Schema::default();
    let (formats, said) = declared::Formats::load(&builtin::parsers(), &mut schema);
    assert!(said.is_empty(), "{said:?}");
    let (rules, said) = load::load(&builtin::rules(), &Estate::default(), schema, &|_| Err(String::new()));
    assert!(said.iter().all(|d| d.level == diag::Level::Warning), "{said:?}");
    let rules = Arc::new(rules);
    println!(
        "{:<8} {:<12} {:>8} {:>12} {:>12} {:>6} {:>9} {:>9}",
        "records", "order", "lateness", "final only/s", "at once/s", "ratio", "alerts", "early"
    );
    for (name, forms, attacks) in [("eve", &[(Form::Suricata, 1)][..], 0.0), ("mixed", &Form::MIXED, 0.01)] {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let all = records(forms, attacks, count, rate);
        for (order, input) in [("in order", merged(&all)), ("in turns", turns(&all))] {
            for lateness in [5, 60] {
                // In turns, the best of each: what else the machine does is then in neither.
                let rounds: Vec<[Run; 2]> =
                    (0..ROUNDS).map(|_| [false, true].map(|p| run(&rules, &formats, &input, Span::seconds(lateness), p))).collect();
                let best = |p: usize| rounds.iter().map(|r| &r[p]).max_by(|a, b| a.rate.total_cmp(&b.rate)).expect("a round");
                let [without, with] = [0, 1].map(best);
                assert_eq!(without.alerts.len(), with.alerts.len(), "{name}, {order}, {lateness} s");
                let differ = without.alerts.iter().zip(&with.alerts).find(|(a, b)| a != b);
                assert!(differ.is_none(), "{name}, {order}, {lateness} s: {differ:?}");
                println!(
                    "{name:<8} {order:<12} {lateness:>6} s {:>12.0} {:>12.0} {:>6.2} {:>9} {:>9}  {} {}",
                    without.rate,
                    with.rate,
                    with.rate / without.rate,
                    with.alerts.len(),
                    with.early,
                    without.limited,
                    with.limited,
                );
            }
        }
    }
}
