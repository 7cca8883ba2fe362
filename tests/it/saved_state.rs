//! Saved state: a worker restored from it goes on as if nothing had happened, byte for byte; rules that are edited keep what
//! is theirs; and bytes that are damaged are refused.

use crate::streams::{BEGIN, Dice, RULES, STREAMS, json, seeds, stream_of};
use std::collections::BTreeSet;
use std::sync::Arc;
use vigild::alert::Step;
use vigild::engine::{Options, Output};
use vigild::event::{Batch, Schema, Timestamp};
use vigild::parse::{Context, Estate, Format, declared};
use vigild::rule::{RuleSet, load};
use vigild::worker::{FILE_LATENESS, Origin, Parts, Restored, StateError, Worker};

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
            let by_two = w.save_behind(b"before".to_vec(), Parts::default(), &|a, b| {
                std::thread::scope(|s| {
                    s.spawn(b);
                    a();
                });
            });
            assert!(by_two.whole() == [b"before", &saved[..]].concat(), "two threads write the same, from what was written before");
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
    for seed in seeds(0..400) {
        let (n, c) = survives(&rules, seed);
        said += n;
        counters.iter_mut().zip(c).for_each(|(a, b)| *a += b);
    }
    assert!(said > 20_000 && counters.iter().all(|n| *n > 50), "streams that reach nothing show nothing: {said}, {counters:?}");
}

/// A rule of three matches in ten minutes by user, with more keys.
fn three(id: &str, more: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\ntitle = \"{id}\"\nseverity = \"low\"\nwhere = 'event.action == \"a\"'\nby = [\"user.name\"]\n\
         count = {{ at_least = 3, within = \"10m\" }}\n{more}\n"
    )
}

fn record(ms: i64, fields: &str) -> Op {
    Op::Record(format!(r#"{{"@timestamp":"{}","event":{{"action":"a"{fields}}},"user":{{"name":"u"}}}}"#, at(ms)), None)
}

/// Final alerts among what was said: rule and message.
fn messages(rules: &RuleSet, said: &[Output]) -> Vec<(String, String)> {
    let alert = |o: &Output| match o {
        Output::Alert(Step::Final, a) => Some((rules.rules[a.rule].id.to_string(), a.message(&rules.rules[a.rule]))),
        _ => None,
    };
    said.iter().filter_map(alert).collect()
}

#[test]
fn edited_rules_keep_what_is_theirs() {
    let single =
        |id: &str| format!("[[rule]]\nid = \"{id}\"\ntitle = \"{id}\"\nseverity = \"low\"\nwhere = 'event.action == \"a\"'\nrearm = \"every\"\n");
    let metric = |label: &str| {
        format!(
            "[[rule]]\nid = \"metric\"\ntitle = \"m\"\nseverity = \"low\"\nalert = false\nwhere = 'event.action == \"a\"'\n\
             metric = {{ name = \"seen\", kind = \"counter\", label_fields = {{ {label} = \"{{user.name}}\" }} }}\n"
        )
    };
    let before = [
        three("meaning", ""),
        metric("user"),
        single("removed"),
        three("same", ""),
        three("summary", "summary = \"{event.code} {event.module}\""),
        three("title", ""),
    ];
    let after = [
        three("added", ""),
        three("meaning", "max_alerts = 7"),
        metric("who"),
        three("same", ""),
        three("summary", "summary = \"{event.module}, then {event.id}\""),
        three("title", "").replace("title = \"title\"", "title = \"another\""),
    ];
    let (old, new) = (load(&before.concat()), load(&after.concat()));
    // Once with the first two still waiting for the watermark, once with both final.
    for (moved, waits, provisional) in [(1_000, true, false), (1_000, true, true), (60_000, false, false), (60_000, false, true)] {
        let options = Options { provisional, ..Options::default() };
        let (mut a, mut said) = (worker(&old, options), Vec::new());
        let code = |n: u32| format!(r#","code":"{n}","module":"m{n}""#);
        apply(&mut a, &record(0, &code(1)), &mut said);
        apply(&mut a, &record(500, &code(2)), &mut said);
        let other = Op::Record(format!(r#"{{"@timestamp":"{}","event":{{"action":"other"}}}}"#, at(moved)), None);
        apply(&mut a, &other, &mut said);
        let open = said.iter().filter(|o| matches!(o, Output::Alert(Step::Opened, _))).count();
        said.clear();
        let mut b = worker(&new, options);
        let r = b.restore(&a.save()).expect("what was saved is read");
        let names = |all: &[Arc<str>]| all.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&r.kept), ["metric", "same", "summary", "title"]);
        assert_eq!(names(&r.fresh), ["added", "meaning"]);
        // Two rules; where they wait, two matches of each, and two moves of the metric.
        assert_eq!(r.dropped, if waits { 2 + 4 + 2 } else { 2 });
        assert_eq!(r.left_open.len(), if waits { open } else { 0 });
        assert!(!provisional || open == 2, "the rule that goes had told two");
        // The third has no module: the message takes it from the second.
        apply(&mut b, &record(moved + 10, r#","id":"x""#), &mut said);
        apply(&mut b, &Op::Finish, &mut said);
        let want = [("same", "same"), ("summary", "m2, then x"), ("title", "another")];
        assert_eq!(messages(&new, &said), want.map(|(a, b)| (a.to_owned(), b.to_owned())), "{moved} {provisional}");
        let moves = said.iter().filter(|o| matches!(o, Output::Metric { .. })).count();
        assert_eq!(moves, 1, "what waited for the old metric does not move the new one");
        // What is new counts from here on.
        said.clear();
        [20, 30].iter().for_each(|n| apply(&mut b, &record(moved + n, ""), &mut said));
        apply(&mut b, &Op::Finish, &mut said);
        assert_eq!(messages(&new, &said).iter().map(|(id, _)| &id[..]).collect::<Vec<_>>(), ["added", "meaning"]);
    }
}

#[test]
fn an_alert_that_was_told_is_final_under_its_name_after_its_summary_was_edited() {
    let options = Options { provisional: true, ..Options::default() };
    let rules = |s: &str| load(&three("r", s));
    let (old, new) = (rules("summary = \"{event.code} {event.module}\""), rules("summary = \"{event.module}, then {event.id}\""));
    let (mut a, mut said) = (worker(&old, options), Vec::new());
    (0..3).for_each(|n| apply(&mut a, &record(n, r#","code":"c","module":"m""#), &mut said));
    let [Output::Alert(Step::Opened, opened)] = &said[..] else { panic!("{said:?}") };
    let (name, mut b, mut said) = (opened.delivery, worker(&new, options), Vec::new());
    b.restore(&a.save()).expect("what was saved is read");
    apply(&mut b, &Op::Finish, &mut said);
    let [Output::Alert(Step::Final, a)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((a.delivery, a.message(&new.rules[0])), (name, "m, then ?".to_owned()));
}

/// Of what is said: when, and what of it does not depend on what was told before.
fn finals(rules: &RuleSet, said: &[(usize, Output)], all: bool) -> Vec<String> {
    let one = |(i, o): &(usize, Output)| match o {
        Output::Alert(Step::Final, a) => {
            let mut a = (**a).clone();
            a.delivery = a.id;
            Some(format!("{i} {} {a:?}", rules.rules[a.rule].id))
        }
        Output::Update { early: false, .. } | Output::Joined(..) if all => Some(format!("{i} {o:?}")),
        _ => None,
    };
    let mut lines: Vec<String> = said.iter().filter_map(one).collect();
    // Rules that one event completes are told in no order that matters.
    lines.sort();
    lines
}

#[test]
fn a_rule_that_is_rebuilt_beside_the_running_engine_goes_on_as_if_it_had_always_been_there() {
    let text = format!("{RULES}{MORE}");
    let rules = load(&text);
    let mut compared = 0;
    for seed in seeds(0..300) {
        let mut d = Dice(seed ^ 0x4eb1);
        let (live, provisional) = (d.roll(2) == 0, d.roll(2) == 0);
        let ops = script(seed, live);
        let options = Options { live, provisional, ..Options::default() };
        // The edited rule is loaded at one place, and rebuilt by another.
        let loaded = d.roll(ops.len() as u64) as usize;
        let rebuilt = if provisional { loaded + d.roll((ops.len() - loaded) as u64) as usize } else { loaded };
        let edited = rules.rules[d.roll(rules.rules.len() as u64) as usize].id.clone();
        let id = format!("id = \"{edited}\"\n");
        let other = text.replacen(&id, &format!("{id}keys = 77\n"), 1);
        let old = load(&other);
        let run = |w: &mut Worker, ops: &[Op], from: usize| {
            let (mut said, mut all) = (Vec::new(), Vec::new());
            for (i, op) in ops.iter().enumerate() {
                apply(w, op, &mut said);
                all.extend(said.drain(..).map(|o| (from + i, o)));
            }
            all
        };
        let mut always = worker(&rules, options);
        run(&mut always, &ops[..rebuilt], 0);
        let mut was = worker(&old, options);
        run(&mut was, &ops[..loaded], 0);
        let mut now = worker(&rules, options);
        let r = now.restore(&was.save()).expect("what was saved is read");
        assert!(r.fresh.contains(&edited), "its meaning is another: {r:?}");
        run(&mut now, &ops[loaded..rebuilt], loaded);
        let mut beside = worker(&rules, Options { provisional: d.roll(2) == 0, ..options });
        beside.restore_streams(&now.save()).expect("what was saved is read");
        run(&mut beside, &ops[..rebuilt], 0);
        let ids: BTreeSet<Arc<str>> = r.fresh.iter().cloned().collect();
        let taken = now.restore_rules(&beside.save(), &ids).expect("what was saved is read");
        assert_eq!(taken, Restored { kept: r.fresh.clone(), ..Restored::default() });
        let (want, got) = (run(&mut always, &ops[rebuilt..], rebuilt), run(&mut now, &ops[rebuilt..], rebuilt));
        let (want, got) = (finals(&rules, &want, !provisional), finals(&rules, &got, !provisional));
        assert_eq!(want, got, "seed {seed}, {edited} loaded at {loaded}, rebuilt by {rebuilt}");
        compared += want.len();
    }
    assert!(compared > 500, "{compared} compared");
}

#[test]
fn damaged_state_is_refused_and_changes_nothing() {
    let rules = load(&format!("{RULES}{MORE}"));
    let options = Options { provisional: true, live: true, ..Options::default() };
    let ops = script(7, true);
    let (_, w) = told(&rules, &ops[..ops.len() * 2 / 3], options, &[]);
    let saved = w.save();
    let (_, mut other) = told(&rules, &script(8, true)[..20], options, &[]);
    let before = other.save();
    let ids: BTreeSet<Arc<str>> = rules.rules.iter().map(|r| r.id.clone()).collect();
    let mut refuse = |bytes: &[u8], why: &[StateError]| {
        let all = [other.restore(bytes).err(), other.restore_streams(bytes).err(), other.restore_rules(bytes, &ids).err()];
        for e in all {
            assert!(e.is_some_and(|e| why.is_empty() || why.contains(&e)), "{e:?} of {} bytes", bytes.len());
        }
        assert!(other.save() == before, "an error changes nothing");
    };
    refuse(b"", &[StateError::Foreign]);
    refuse(b"something else that is long enough", &[StateError::Foreign]);
    let mut d = Dice(1);
    for _ in 0..40 {
        let mut b = saved.clone();
        let i = d.roll(b.len() as u64) as usize;
        b[i] ^= 1 << d.roll(8);
        refuse(&b, &[]);
        refuse(&saved[..i], &[]);
        refuse(&[&saved[..], &[0]].concat(), &[StateError::Checksum]);
    }
    let mut b = saved.clone();
    b[8] = 99;
    refuse(&b, &[StateError::Version(99)]);
    assert_eq!(StateError::Version(99).to_string(), "saved state has version 99, and this program reads version 1");
    // Damage under a checksum that fits: it may be read or not, without a panic and without more memory than it could fill.
    let (mut refused, mut most) = (0, 0);
    for n in 0..3000 {
        let mut b = saved.clone();
        for _ in 0..1 + n % 3 {
            let i = 28 + d.roll(b.len() as u64 - 28) as usize;
            b[i] = [0, 1, 0x7f, 0xff, d.roll(256) as u8][d.roll(5) as usize];
        }
        if n % 7 == 0 {
            b.truncate(28 + d.roll(b.len() as u64 - 28) as usize);
        }
        let sum = xxhash_rust::xxh3::xxh3_128(&b[28..]);
        b[12..28].copy_from_slice(&sum.to_le_bytes());
        let mut w = worker(&rules, options);
        let used = allocation_counter::measure(|| refused += w.restore(&b).is_err() as usize);
        most = most.max(used.bytes_max);
        let mut w = worker(&rules, options);
        let _ = (w.restore_streams(&b), w.restore_rules(&b, &ids));
    }
    assert!(refused > 300, "{refused} were refused");
    assert!(most < 4_000_000 + 64 * saved.len() as u64, "{most} bytes for {} saved", saved.len());
}

#[test]
fn after_a_gap_nobody_holds_the_watermark_and_streams_go_on_where_they_were() {
    let rules = load(&three("r", ""));
    let options = Options { live: true, ..Options::default() };
    let (mut w, mut said) = (worker(&rules, options), Vec::new());
    let on = |stream: &str, s: i64, action: &str| {
        let line = format!(r#"{{"@timestamp":"{}","event":{{"action":"{action}","stream":"{stream}"}},"user":{{"name":"u"}}}}"#, at(s * 1000));
        Op::Record(line, Some(s * 1000))
    };
    let seconds = |w: &mut Worker| (w.engine().watermark().0 - at(0).0) / 1_000_000_000;
    apply(&mut w, &on("held", 10, "a"), &mut said);
    apply(&mut w, &Op::Hold("held", true), &mut said);
    apply(&mut w, &on("active", 100, "a"), &mut said);
    apply(&mut w, &on("slow", 90, "x"), &mut said);
    assert_eq!(seconds(&mut w), 5, "the held one holds it");
    // A held one that has said nothing yet holds it too.
    apply(&mut w, &Op::Hold("backlog", true), &mut said);
    apply(&mut w, &Op::Gap(100_000, 300_000), &mut said);
    assert_eq!(seconds(&mut w), 5, "it stays");
    // The same after a restart.
    let saved = w.save();
    let mut w = worker(&rules, options);
    w.restore(&saved).expect("what was saved is read");
    (300..340).for_each(|s| apply(&mut w, &Op::Tick(s * 1000), &mut said));
    assert_eq!(seconds(&mut w), 5, "no time passes before the first stream is back");
    assert!(said.is_empty(), "{said:?}");
    apply(&mut w, &on("active", 101, "a"), &mut said);
    apply(&mut w, &on("active", 350, "x"), &mut said);
    apply(&mut w, &Op::Tick(350_000), &mut said);
    assert_eq!(seconds(&mut w), 345, "neither the held one nor the slow one holds it");
    assert_eq!(messages(&rules, &said), [("r".to_owned(), "r".to_owned())], "the third match, one of them before the gap");
    // One that comes again is looked up anew, so it is open: the watermark waits for it.
    apply(&mut w, &on("slow", 351, "x"), &mut said);
    apply(&mut w, &Op::Tick(351_000), &mut said);
    apply(&mut w, &on("active", 360, "x"), &mut said);
    assert_eq!(seconds(&mut w), 346);
    assert_eq!(w.engine().counters().late, 0);
    apply(&mut w, &on("held", 11, "x"), &mut said);
    assert_eq!(w.engine().counters().late, 1, "what it had not read is late by now");
}

#[test]
fn evidence_is_numbered_from_where_the_journal_says() {
    let rules = load(&three("r", ""));
    let (mut w, mut said) = (worker(&rules, Options::default()), Vec::new());
    w.set_seq(1_000);
    (0..3).for_each(|n| apply(&mut w, &record(n, ""), &mut said));
    apply(&mut w, &Op::Finish, &mut said);
    let [Output::Alert(Step::Final, a)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(a.evidence.iter().map(|e| e.seq).collect::<Vec<_>>(), [1001, 1002, 1003]);
    assert_eq!(w.records(), 1003);
}
