//! Saved state: a worker restored from it goes on as if nothing had happened, byte for byte; rules that are edited keep what
//! is theirs; and bytes that are damaged are refused.

use crate::streams::{BEGIN, Dice, RULES, STREAMS, json, seeds, stream_of};
use std::collections::BTreeSet;
use std::sync::Arc;
use vigild::alert::Step;
use vigild::engine::{Options, Output};
use vigild::event::{Batch, Schema, Span, Timestamp};
use vigild::parse::{Context, Estate, Format, declared};
use vigild::rule::{RuleSet, load};
use vigild::worker::{FILE_LATENESS, Origin, Restored, StateError, Worker};

/// Beside those of the random streams: a metric of events and one of alerts, and alerts without a key.
const MORE: &str = r#"
[[rule]]
id = "p-metric"
title = "a metric"
severity = "low"
alert = false
where = 'event.action == "b"'
metric = { name = "bytes", kind = "gauge", value = "source.bytes", label_fields = { user = "{user.name}" } }

[[rule]]
id = "q-heard"
title = "a metric of alerts"
severity = "low"
rule = ["a-count", "h-every"]
metric = { name = "heard", kind = "counter", label_fields = { user = "{user.name}" } }
max_alerts = 3
"#;

fn load(text: &str) -> Arc<RuleSet> {
    let (set, said) = load::load(&[("rules.toml".to_owned(), text.to_owned())], &Estate::default(), Schema::default(), &|_| Err(String::new()));
    assert!(said.iter().all(|d| d.level == vigild::diag::Level::Warning), "{said:?}");
    Arc::new(set)
}

fn worker(rules: &Arc<RuleSet>, options: Options) -> Worker {
    Worker::new(rules.clone(), &declared::Formats::default(), Arc::new(Estate::default()), options)
}

const fn at(ms: i64) -> Timestamp {
    Timestamp((BEGIN + ms) * 1_000_000)
}

/// One thing that happens to a worker.
#[derive(Clone, Debug)]
enum Op {
    /// A record, and when it arrived.
    Record(String, Option<i64>),
    Tick(i64),
    Hold(&'static str, bool),
    Close(&'static str),
    Gap(i64, i64),
    Finish,
}

fn apply(w: &mut Worker, op: &Op, said: &mut Vec<Output>) {
    let (zone, estate) = (jiff::tz::TimeZone::UTC, Estate::default());
    let ctx = Context { zone: &zone, near: Timestamp(0), named: true, estate: &estate };
    match op {
        Op::Record(line, received) => {
            let origin = Origin { ctx, format: Some(Format::Ecs), stream: "-", lateness: FILE_LATENESS, received: received.map(at) };
            let mut batch = Batch::default();
            batch.push(line.as_bytes(), false);
            w.record(&batch, batch.records[0], &origin, said);
        }
        Op::Tick(ms) => w.engine().tick(at(*ms), said),
        Op::Hold(stream, yes) => {
            let id = w.engine().stream(stream, FILE_LATENESS);
            w.engine().hold(id, *yes, said);
        }
        Op::Close(stream) => w.close(stream, said),
        Op::Gap(from, to) => w.gap(at(*from), at(*to), said),
        Op::Finish => w.engine().finish(said),
    }
}

/// What a random stream does to a worker: out of order, some of it late, streams that are held, end and come again, ticks.
fn script(seed: u64, live: bool) -> Vec<Op> {
    let all = stream_of(seed);
    let mut d = Dice(seed ^ 0x57a7e);
    let most = [2_000, 6_000, 12_000][d.roll(3) as usize];
    let mut order: Vec<(i64, usize)> =
        all.iter().enumerate().map(|(i, e)| (e.ms + if i < STREAMS.len() { 0 } else { d.roll(most) as i64 }, i)).collect();
    order.sort_unstable();
    let (mut ops, mut ticked) = (Vec::new(), 0);
    for (ms, i) in order {
        while live && ms >= ticked + 1000 {
            ticked += 1000;
            ops.push(Op::Tick(ticked));
        }
        ops.push(Op::Record(json(&all[i]), live.then_some(ms)));
        match d.roll(40) {
            0 => ops.push(Op::Close(d.pick(&STREAMS))),
            1 => ops.push(Op::Hold(d.pick(&STREAMS), true)),
            2 | 3 => ops.push(Op::Hold(d.pick(&STREAMS), false)),
            4 if live => {
                ops.push(Op::Gap(ms, ms + 4000));
                ticked += 4000;
            }
            _ => {}
        }
    }
    if live {
        (1..40).for_each(|n| ops.push(Op::Tick(ticked + n * 2000)));
    }
    ops.push(Op::Finish);
    ops
}

/// Limits that hold, and limits that are reached all the time.
fn limits(n: u64) -> Options {
    let o = Options::default();
    match n % 6 {
        0 => o,
        1 => Options { keys: 1, ..o },
        2 => Options { pending: 2, ..o },
        3 => Options { waiting: 5, ..o },
        4 => Options { budget: 2500, ..o },
        _ => Options { keys: 1, pending: 3, waiting: 9, budget: 4000, ..o },
    }
}

/// What a worker says from the first to the last, when it is saved and restored before each of the ops at `cuts`.
fn told(rules: &Arc<RuleSet>, ops: &[Op], options: Options, cuts: &[usize]) -> (Vec<String>, Worker) {
    let (mut w, mut said, mut all) = (worker(rules, options), Vec::new(), Vec::new());
    for (i, op) in ops.iter().enumerate() {
        if cuts.contains(&i) {
            let saved = w.save();
            // The seed of hashes is the caller's, and shows nowhere.
            let mut next = worker(rules, Options { seed: i as u64, ..options });
            let r = next.restore(&saved).expect("what was saved is read");
            assert!(r.fresh.is_empty() && r.dropped == 0 && r.kept.len() == rules.rules.len(), "{r:?}");
            assert_eq!(next.save(), saved, "what is saved again is the same");
            assert_eq!(next.engine().size(), w.engine().size(), "bytes are reckoned the same");
            w = next;
        }
        apply(&mut w, op, &mut said);
        for o in said.drain(..) {
            let mut line = format!("{i} {o:?}");
            if let Output::Alert(step, a) = &o {
                let mut b = Vec::new();
                a.write(rules, Some((*step, *step == Step::Final)), &mut b);
                line += &String::from_utf8_lossy(&b);
            }
            all.push(line);
        }
    }
    (all, w)
}

/// Runs one random stream with and without restarts; how much was said, and the counters.
fn survives(rules: &Arc<RuleSet>, seed: u64) -> (usize, [u64; 4]) {
    let mut d = Dice(seed ^ 0xc075);
    let (live, provisional) = (d.roll(3) > 0, d.roll(3) > 0);
    let ops = script(seed, live);
    let options = Options { live, provisional, ..limits(seed) };
    let cuts: Vec<usize> = (0..1 + d.roll(4)).map(|_| d.roll(ops.len() as u64) as usize).collect();
    let (want, mut plain) = told(rules, &ops, options, &[]);
    let (got, mut cut) = told(rules, &ops, options, &cuts);
    for (w, g) in want.iter().zip(&got) {
        assert_eq!(w, g, "seed {seed}, restored before {cuts:?}: the first line that differs");
    }
    assert_eq!(
        want.len(),
        got.len(),
        "seed {seed}, restored before {cuts:?}: something more, or less: {:?}",
        want.get(got.len()).or(got.get(want.len()))
    );
    assert_eq!(plain.engine().size(), cut.engine().size(), "seed {seed}");
    assert_eq!(format!("{:?}", plain.engine().counters()), format!("{:?}", cut.engine().counters()), "seed {seed}");
    assert!(plain.save() == cut.save(), "seed {seed}, restored before {cuts:?}: the states at the end differ");
    let c = plain.engine().counters();
    (want.len(), [c.late, c.evicted.iter().sum(), c.final_early, c.stormed])
}

#[test]
fn a_restored_worker_goes_on_byte_for_byte() {
    let rules = load(&format!("{RULES}{MORE}"));
    let (mut said, mut counters) = (0, [0; 4]);
    for seed in seeds(0..600) {
        let (n, c) = survives(&rules, seed);
        said += n;
        counters.iter_mut().zip(c).for_each(|(a, b)| *a += b);
    }
    assert!(said > 20_000 && counters.iter().all(|n| *n > 50), "streams that reach nothing show nothing: {said}, {counters:?}");
}
