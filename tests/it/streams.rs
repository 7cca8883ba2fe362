//! Random streams: the final alerts of sorted input, of input shuffled within the lateness, and of a naive reading of the
//! language are the same.
//!
//! The reference keeps every match for ever and looks at all of them at each event; it shares no code with the engine.
//! 10 000 streams stand in the gate; `tests/run --long streams --seeds A..B` runs others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vigild::alert::{Alert, Step};
use vigild::engine::collect::Collected;
use vigild::engine::{Options, Output, key::Scalar};
use vigild::event::{Batch, Schema, Timestamp, time::SECOND};
use vigild::parse::{Context, Estate, Format, declared};
use vigild::rule::{RuleSet, load};
use vigild::worker::{FILE_LATENESS, Origin, Row, Worker};

pub const RULES: &str = r#"
[[rule]]
id = "a-count"
title = "count, reset"
severity = "low"
where = 'event.action == "a"'
by = ["user.name"]
count = { at_least = 3, within = "10s" }

[[rule]]
id = "b-cooldown"
title = "count, cooldown"
severity = "low"
where = 'event.action in ["a", "b"]'
by = ["user.name"]
per = "event.module"
count = { at_least = 2, within = "6s" }
rearm = { cooldown = "9s" }

[[rule]]
id = "c-below"
title = "count, below"
severity = "low"
where = 'event.action == "b"'
by = ["user.name"]
count = { at_least = 3, within = "8s" }
rearm = { below = 2 }

[[rule]]
id = "d-every"
title = "distinct, every"
severity = "low"
where = 'event.action != "x"'
by = ["user.name"]
distinct = { field = "host.name", at_least = 3, within = "7s" }
rearm = "every"

[[rule]]
id = "e-distinct"
title = "distinct, reset"
severity = "low"
where = 'event.action in ["b", "c"]'
distinct = { field = ["host.name", "event.module"], at_least = 4, within = "12s" }

[[rule]]
id = "f-sum"
title = "sum, cooldown that users share"
severity = "low"
where = 'event.action exists'
by = ["user.name", "event.module"]
sum = { field = "source.bytes", at_least = 12, within = "9s" }
rearm = { cooldown = "5s", by = ["event.module"] }

[[rule]]
id = "g-sequence"
title = "three steps"
severity = "low"
by = ["user.name"]
[rule.sequence]
within = "15s"
[[rule.sequence.step]]
where = 'event.action == "a"'
[[rule.sequence.step]]
where = 'event.action in ["a", "b"]'
[[rule.sequence.step]]
where = 'event.action == "c"'

[[rule]]
id = "h-every"
title = "two steps, every"
severity = "low"
by = ["user.name"]
rearm = "every"
[rule.sequence]
within = "6s"
[[rule.sequence.step]]
where = 'event.action == "c"'
[[rule.sequence.step]]
where = 'event.action == "b"'

[[rule]]
id = "i-skew"
title = "two steps, a second of doubt"
severity = "low"
by = ["user.name"]
skew = "1s"
rearm = { cooldown = "3s" }
[rule.sequence]
within = "8s"
[[rule.sequence.step]]
where = 'event.action == "a"'
[[rule.sequence.step]]
where = 'event.action == "c"'

[[rule]]
id = "j-all"
title = "two of three, one of them required"
severity = "low"
by = ["user.name"]
[rule.all_of]
within = "8s"
at_least = 2
[[rule.all_of.step]]
where = 'event.action == "a"'
[[rule.all_of.step]]
where = 'event.action == "b"'
[[rule.all_of.step]]
required = true
where = 'event.action == "c"'

[[rule]]
id = "k-single"
title = "single, cooldown of its own"
severity = "low"
where = 'event.action == "c"'
rearm = { cooldown = "4s", by = ["host.name"] }

[[rule]]
id = "l-each"
title = "single, every"
severity = "low"
where = 'event.action == "b"'
by = ["user.name"]
rearm = "every"

[[rule]]
id = "m-chain"
title = "alerts of two rules"
severity = "low"
rule = ["a-count", "l-each"]
by = ["user.name"]
count = { at_least = 2, within = "10s" }

[[rule]]
id = "n-steps"
title = "an alert, then an event"
severity = "low"
by = ["user.name"]
[rule.sequence]
within = "20s"
[[rule.sequence.step]]
rule = "m-chain"
[[rule.sequence.step]]
where = 'event.action == "a"'

[[rule]]
id = "o-top"
title = "alerts of alerts"
severity = "low"
by = ["user.name"]
rearm = "every"
[rule.all_of]
within = "10s"
[[rule.all_of.step]]
rule = "m-chain"
[[rule.all_of.step]]
rule = "h-every"
"#;

/// A generator that needs nothing but its seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len() as u64) as usize]
    }
}

/// One event of a random stream; times in milliseconds.
#[derive(Clone, Debug)]
pub struct Ev {
    pub ms: i64,
    pub stream: &'static str,
    pub action: &'static str,
    pub users: Vec<&'static str>,
    pub host: Option<&'static str>,
    pub module: Option<&'static str>,
    pub bytes: i64,
}

pub const BEGIN: i64 = 1_767_225_600_000;
pub const STREAMS: [&str; 3] = ["s1", "s2", "s3"];

pub fn stream_of(seed: u64) -> Vec<Ev> {
    let mut d = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let gap = [200, 700, 2500][d.roll(3) as usize];
    // Every stream has spoken before, so that none is new when the others have gone on.
    let mut all: Vec<Ev> = STREAMS.iter().map(|s| Ev { ms: 0, stream: s, action: "x", users: vec![], host: None, module: None, bytes: 0 }).collect();
    let mut ms = 1000;
    for _ in 0..20 + d.roll(40) {
        // Several at one instant are frequent.
        ms += if d.roll(4) == 0 { 0 } else { d.roll(gap) as i64 };
        let users = match d.roll(8) {
            0 => vec![],
            1 => vec!["u", "v"],
            2 => vec!["v", "u", "v"],
            n if n < 6 => vec!["u"],
            _ => vec!["v"],
        };
        all.push(Ev {
            ms,
            stream: d.pick(&STREAMS),
            action: d.pick(&["a", "b", "c", "a", "b", "c", "x"]),
            users,
            host: (d.roll(6) > 0).then(|| d.pick(&["h1", "h2", "h3", "h4"])),
            module: (d.roll(6) > 0).then(|| d.pick(&["m1", "m2"])),
            bytes: d.roll(7) as i64 - 1,
        });
    }
    // The order of events: time, stream, place.
    all.sort_by_key(|e| (e.ms, e.stream));
    all
}

pub fn json(e: &Ev) -> String {
    let mut s = format!(r#"{{"@timestamp":"{}","event":{{"action":"{}","stream":"{}""#, Timestamp((BEGIN + e.ms) * 1_000_000), e.action, e.stream);
    if let Some(m) = e.module {
        s += &format!(r#","module":"{m}""#);
    }
    s += "}";
    if !e.users.is_empty() {
        s += &format!(r#","user":{{"name":["{}"]}}"#, e.users.join("\",\""));
    }
    if let Some(h) = e.host {
        s += &format!(r#","host":{{"name":"{h}"}}"#);
    }
    s + &format!(r#","source":{{"bytes":{}}}}}"#, e.bytes)
}

/// An alert, comparable: time, rule, key, count, first, last, evidence as indices of events in their order.
type Told = (i64, String, Vec<String>, u64, i64, i64, Vec<usize>);

fn rules() -> Arc<RuleSet> {
    let files = [("rules.toml".to_owned(), RULES.to_owned())];
    let (set, said) = load::load(&files, &Estate::default(), Schema::default(), &|_| Err(String::new()));
    assert!(said.iter().all(|d| d.level == vigild::diag::Level::Warning), "{said:?}");
    Arc::new(set)
}

fn worker(rules: &Arc<RuleSet>, provisional: bool) -> Worker {
    Worker::new(rules.clone(), &declared::Formats::default(), Arc::default(), Options { provisional, ..Options::default() })
}

/// Gives events to a worker that tells of them once.
fn give(w: &mut Worker, events: &[&Ev], said: &mut Vec<Output>) {
    let (zone, estate, mut row, mut batch) = (jiff::tz::TimeZone::UTC, Estate::default(), Row::default(), Batch::default());
    let ctx = Context { zone: &zone, near: Timestamp(0), named: true, estate: &estate };
    let origin = Origin { ctx, format: Some(Format::Ecs), stream: "-", lateness: FILE_LATENESS, received: None };
    events.iter().for_each(|e| batch.push(json(e).as_bytes(), false));
    for &r in &batch.records {
        w.parse(&batch, r, &origin, &mut row);
        w.feed(&batch, r, &origin, &mut row, said);
    }
    w.tell(said);
}

/// What the engine makes of events that arrive in this order (indices into `all`).
fn engine(rules: &Arc<RuleSet>, all: &[Ev], order: &[usize], provisional: bool) -> BTreeSet<Told> {
    let mut w = worker(rules, provisional);
    let (mut said, mut got, mut told) = (Vec::new(), Collected::default(), BTreeMap::new());
    let mut step = |said: &mut Vec<Output>, got: &mut Collected| {
        for o in said.iter() {
            if let Output::Alert(s, a) = o {
                let open = told.insert(a.delivery, *s);
                match s {
                    Step::Opened => assert!(matches!(open, None | Some(Step::Withdrawn)), "an alert opens once, or again when it was withdrawn"),
                    Step::Amended | Step::Withdrawn => assert!(matches!(open, Some(Step::Opened | Step::Amended)), "{s:?} after {open:?}"),
                    Step::Final => assert!(!matches!(open, Some(Step::Final)), "final once"),
                    Step::Updated => {}
                }
            }
        }
        got.take(said);
    };
    for &i in order {
        give(&mut w, &[&all[i]], &mut said);
        step(&mut said, &mut got);
    }
    assert_eq!(w.engine().counters().late, 0, "the shuffle stays within the lateness");
    w.engine().finish(&mut said);
    step(&mut said, &mut got);
    for (id, s) in told {
        assert!(matches!(s, Step::Final | Step::Withdrawn), "an alert was told and left {s:?}: {id:?}");
    }
    got.finish().iter().map(|a| of(rules, order, a)).collect()
}

/// An alert of the engine, comparable.
fn of(rules: &RuleSet, order: &[usize], a: &Alert) -> Told {
    let text = |s: &Scalar| match s {
        Scalar::Str(s) => s.clone(),
        Scalar::Null => "null".into(),
        s => format!("{s:?}"),
    };
    let ms = |t: Timestamp| t.0 / 1_000_000 - BEGIN;
    let mut evidence: Vec<usize> = a.evidence.iter().map(|e| order[e.seq as usize - 1]).collect();
    if &*rules.rules[a.rule].id == "i-skew" {
        // Its steps may stand backwards at one instant; which of them comes first says nothing.
        evidence.sort_unstable();
    }
    let key = a.keys.iter().map(|(_, s)| text(s)).collect();
    (ms(a.ts), rules.rules[a.rule].id.to_string(), key, a.count, ms(a.first), ms(a.last), evidence)
}

/// What a rule of the reference sees: an event, or an alert of another rule, at its place in the order.
#[derive(Clone, Debug)]
struct Seen {
    ms: i64,
    event: usize,
    stream: &'static str,
    /// The rule, if it is an alert.
    of: Option<&'static str>,
    action: &'static str,
    module: Option<&'static str>,
    host: Option<&'static str>,
    bytes: i64,
}

/// A match of one key, with everything that has happened to the key.
#[derive(Default)]
struct Key {
    history: Vec<Seen>,
}

#[derive(Default)]
struct Quiet {
    until: Option<i64>,
    alert: usize,
}

/// The reference: what each rule says of the sorted events.
fn naive(all: &[Ev]) -> BTreeSet<Told> {
    let mut n = Naive { told: Vec::new(), keys: BTreeMap::new(), quiets: BTreeMap::new() };
    for (i, e) in all.iter().enumerate() {
        let seen = Seen { ms: e.ms, event: i, stream: e.stream, of: None, action: e.action, module: e.module, host: e.host, bytes: e.bytes };
        let mut users: Vec<&str> = Vec::new();
        e.users.iter().for_each(|u| {
            if !users.contains(u) {
                users.push(u)
            }
        });
        n.take(&seen, &users);
    }
    n.told.into_iter().collect()
}

struct Naive {
    told: Vec<Told>,
    keys: BTreeMap<(&'static str, Vec<String>), Key>,
    quiets: BTreeMap<(&'static str, Vec<String>), Quiet>,
}

impl Naive {
    /// An event first meets the rules over events, then its alerts the rules that listen to them, level by level.
    fn take(&mut self, s: &Seen, users: &[&'static str]) {
        let levels: [&[&str]; 4] = [
            &["a-count", "b-cooldown", "c-below", "d-every", "e-distinct", "f-sum", "g-sequence", "h-every", "i-skew", "j-all", "k-single", "l-each"],
            &["m-chain"],
            &["n-steps", "o-top"],
            &[],
        ];
        let mut alerts: Vec<(Seen, &'static str)> = Vec::new();
        for rules in levels {
            let mut fresh = Vec::new();
            for rule in rules {
                for u in if matches!(*rule, "e-distinct" | "k-single") { &["-"][..] } else { users } {
                    if self.meets(rule, s, u) {
                        fresh.push((Seen { of: Some(rule), ..s.clone() }, *u));
                    }
                }
                // Alerts are heard in the order level, rule, key.
                for (a, u) in alerts.clone() {
                    if self.meets(rule, &a, u) {
                        fresh.push((Seen { of: Some(rule), ..s.clone() }, u));
                    }
                }
            }
            fresh.sort_by_key(|(a, u)| (a.of, *u));
            alerts.extend(fresh);
        }
    }

    /// Whether a rule fires at this event for this user.
    fn meets(&mut self, rule: &'static str, s: &Seen, user: &'static str) -> bool {
        let act = |l: &[&str]| s.of.is_none() && l.contains(&s.action);
        let heard = |l: &[&str]| s.of.is_some_and(|r| l.contains(&r));
        let step = |k: usize, s: &Seen| -> bool {
            let act = |l: &[&str]| s.of.is_none() && l.contains(&s.action);
            let heard = |r: &str| s.of == Some(r);
            match (rule, k) {
                ("g-sequence", 0) => act(&["a"]),
                ("g-sequence", 1) => act(&["a", "b"]),
                ("g-sequence", 2) => act(&["c"]),
                ("h-every", 0) => act(&["c"]),
                ("h-every", 1) => act(&["b"]),
                ("i-skew", 0) => act(&["a"]),
                ("i-skew", 1) => act(&["c"]),
                ("j-all", 0) => act(&["a"]),
                ("j-all", 1) => act(&["b"]),
                ("j-all", 2) => act(&["c"]),
                ("n-steps", 0) => heard("m-chain"),
                ("n-steps", 1) => act(&["a"]),
                ("o-top", 0) => heard("m-chain"),
                ("o-top", 1) => heard("h-every"),
                _ => false,
            }
        };
        let steps = match rule {
            "g-sequence" | "j-all" => 3,
            "h-every" | "i-skew" | "n-steps" | "o-top" => 2,
            _ => 0,
        };
        let matches = match rule {
            "a-count" => act(&["a"]),
            "b-cooldown" => act(&["a", "b"]),
            "c-below" | "l-each" => act(&["b"]),
            "d-every" => s.of.is_none() && s.action != "x" && s.host.is_some(),
            "e-distinct" => act(&["b", "c"]) && s.host.is_some() && s.module.is_some(),
            "f-sum" => s.of.is_none() && s.bytes > 0 && s.module.is_some(),
            "k-single" => act(&["c"]),
            "m-chain" => heard(&["a-count", "l-each"]),
            _ => (0..steps).any(|k| step(k, s)),
        };
        if !matches {
            return false;
        }
        let module = s.module.unwrap_or("null").to_owned();
        let host = s.host.unwrap_or("null").to_owned();
        let key: Vec<String> = match rule {
            "e-distinct" => vec![],
            "k-single" => vec![host.clone()],
            "f-sum" => vec![user.to_owned(), module.clone()],
            _ => vec![user.to_owned()],
        };
        let quiet_key = if rule == "f-sum" { vec![module] } else { key.clone() };
        let (within, rearm): (i64, &str) = match rule {
            "a-count" => (10_000, "reset"),
            "b-cooldown" => (6_000, "9000"),
            "c-below" => (8_000, "below"),
            "d-every" => (7_000, "every"),
            "e-distinct" => (12_000, "reset"),
            "f-sum" => (9_000, "5000"),
            "g-sequence" => (15_000, "reset"),
            "h-every" => (6_000, "every"),
            "i-skew" => (8_000, "3000"),
            "j-all" => (8_000, "reset"),
            "k-single" => (0, "4000"),
            "l-each" => (0, "every"),
            "m-chain" => (10_000, "reset"),
            "n-steps" => (20_000, "reset"),
            _ => (10_000, "every"),
        };
        let quiet = self.quiets.entry((rule, quiet_key)).or_default();
        if quiet.until.is_some_and(|u| s.ms >= u) {
            quiet.until = None;
        }
        if rearm == "reset" && quiet.until.is_some() {
            update(&mut self.told[quiet.alert], s.ms);
            return false;
        }
        let k = self.keys.entry((rule, key.clone())).or_default();
        k.history.push(s.clone());
        let window: Vec<&Seen> = k.history.iter().filter(|x| x.ms > s.ms - within).collect();
        let mut value = 0;
        let evidence: Option<Vec<&Seen>> = match rule {
            "a-count" | "m-chain" | "b-cooldown" | "c-below" => {
                let n = if rule == "a-count" || rule == "c-below" { 3 } else { 2 };
                let mine: Vec<&Seen> = window.into_iter().filter(|x| rule != "b-cooldown" || x.module == s.module).collect();
                value = mine.len();
                (mine.len() >= n).then(|| mine[mine.len() - n..].to_vec())
            }
            "d-every" | "e-distinct" => {
                let n = if rule == "d-every" { 3 } else { 4 };
                let mut latest: BTreeMap<(Option<&str>, Option<&str>), usize> = BTreeMap::new();
                for (i, x) in window.iter().enumerate() {
                    latest.insert((x.host, if rule == "e-distinct" { x.module } else { None }), i);
                }
                let mut at: Vec<usize> = latest.into_values().collect();
                at.sort_unstable();
                (at.len() >= n).then(|| at[at.len() - n..].iter().map(|&i| window[i]).collect())
            }
            "f-sum" => (window.iter().map(|x| x.bytes).sum::<i64>() >= 12).then_some(window),
            "j-all" | "o-top" => {
                let latest: Vec<Option<usize>> = (0..steps).map(|k| window.iter().rposition(|x| step(k, x))).collect();
                let need = latest.iter().flatten().count() >= 2 && (rule == "o-top" || latest[2].is_some());
                need.then(|| {
                    let mut at: Vec<usize> = latest.into_iter().flatten().collect();
                    at.sort_unstable();
                    at.dedup();
                    at.into_iter().map(|i| window[i]).collect()
                })
            }
            "k-single" | "l-each" => Some(vec![k.history.last().expect("it was just put there")]),
            _ => chain(&window, steps, &step, rule == "i-skew"),
        };
        let quiet_now = quiet.until.is_some();
        if rearm == "below" && quiet_now && value < 2 {
            quiet.until = None;
            return false;
        }
        if quiet_now {
            update(&mut self.told[quiet.alert], s.ms);
            return false;
        }
        let Some(evidence) = evidence else { return false };
        let (first, last) = (evidence.iter().map(|e| e.ms).min().unwrap_or(0), evidence.iter().map(|e| e.ms).max().unwrap_or(0));
        let mut events: Vec<usize> = evidence.iter().map(|e| e.event).collect();
        if rule == "i-skew" {
            events.sort_unstable();
        }
        self.told.push((s.ms, rule.to_owned(), key.clone(), events.len() as u64, first, last, events));
        quiet.alert = self.told.len() - 1;
        match rearm {
            "every" => {}
            "reset" => {
                quiet.until = Some(s.ms + within);
                k.history.clear();
            }
            "below" => quiet.until = Some(i64::MAX),
            ms => quiet.until = Some(s.ms + ms.parse::<i64>().expect("a cooldown")),
        }
        true
    }
}

fn update(a: &mut Told, ms: i64) {
    a.3 += 1;
    a.5 = a.5.max(ms);
}

/// Of all chains that the last event completes, that with the latest start and, from the end, each step's latest event.
fn chain<'a>(window: &[&'a Seen], steps: usize, step: &dyn Fn(usize, &Seen) -> bool, skew: bool) -> Option<Vec<&'a Seen>> {
    let now = window.len() - 1;
    let mut best: Option<Vec<usize>> = None;
    let mut try_one = |c: Vec<usize>| {
        let rank = |c: &Vec<usize>| (c[0], c.iter().rev().copied().collect::<Vec<_>>());
        if best.as_ref().is_none_or(|b| rank(&c) > rank(b)) {
            best = Some(c);
        }
    };
    let last = steps - 1;
    if step(last, window[now]) {
        if steps == 2 {
            (0..now).filter(|&i| step(0, window[i])).for_each(|i| try_one(vec![i, now]));
        } else {
            for i in (0..now).filter(|&i| step(0, window[i])) {
                for j in (i + 1..now).filter(|&j| step(1, window[j])) {
                    try_one(vec![i, j, now]);
                }
            }
        }
    }
    if skew && step(0, window[now]) {
        let x = window[now];
        let y = (0..now).rev().find(|&i| step(1, window[i]) && window[i].ms >= x.ms - 1000 && window[i].stream != x.stream);
        if let Some(y) = y {
            try_one(vec![now, y]);
        }
    }
    best.map(|c| c.into_iter().map(|i| window[i]).collect())
}

/// An order of arrival in which nothing is late, and events of one stream at one instant keep their order.
fn shuffled(all: &[Ev], d: &mut Dice) -> Vec<usize> {
    let mut delay: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    let mut at: Vec<(i64, usize)> = Vec::new();
    for (i, e) in all.iter().enumerate() {
        let most = FILE_LATENESS.0 / (SECOND / 1000);
        let wait = *delay.entry((e.ms, e.stream)).or_insert_with(|| if i < STREAMS.len() { 0 } else { d.roll(most as u64) as i64 });
        at.push((e.ms + wait, i));
    }
    at.sort_unstable();
    at.into_iter().map(|(_, i)| i).collect()
}

fn check(rules: &Arc<RuleSet>, seed: u64) -> usize {
    let all = stream_of(seed);
    let sorted: Vec<usize> = (0..all.len()).collect();
    let want = naive(&all);
    let say = |what: &str, got: BTreeSet<Told>, order: &[usize]| {
        if got != want {
            let rows: String = order.iter().map(|&i| format!("  {i:3} {}\n", json(&all[i]))).collect();
            let (lost, more): (Vec<_>, Vec<_>) = (want.difference(&got).collect(), got.difference(&want).collect());
            panic!("seed {seed}, {what}: the reference has {lost:#?}\nthe engine has {more:#?}\n{rows}");
        }
    };
    say("sorted", engine(rules, &all, &sorted, false), &sorted);
    let mut d = Dice(seed ^ 0xd1ce);
    let order = shuffled(&all, &mut d);
    say("shuffled", engine(rules, &all, &order, false), &order);
    say("shuffled, told at once", engine(rules, &all, &order, true), &order);
    want.len()
}

/// The seeds that `VIGILD_SEEDS=A..B` names, else these.
pub fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let named = std::env::var("VIGILD_SEEDS").ok();
    let parsed = named.as_deref().and_then(|s| s.split_once("..")).and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.unwrap_or(default)
}

#[test]
fn sorted_shuffled_and_naive_give_the_same_final_alerts() {
    let rules = rules();
    let alerts: usize = (0..10_000).map(|s| check(&rules, s)).sum();
    assert!(alerts > 10_000, "streams that make no alerts show nothing");
}

#[test]
fn a_flood_of_keys_never_lets_more_wait_than_the_limit_and_alerts_in_order_are_the_same() {
    let rules = rules();
    let estate = Arc::new(Estate::default());
    let run = |waiting: usize| {
        let mut w = Worker::new(rules.clone(), &declared::Formats::default(), estate.clone(), Options { waiting, ..Options::default() });
        let zone = jiff::tz::TimeZone::UTC;
        let ctx = Context { zone: &zone, near: Timestamp(0), named: true, estate: &estate };
        let origin = Origin { ctx, format: Some(Format::Ecs), stream: "-", lateness: FILE_LATENESS, received: None };
        let (mut said, mut got, mut batch, mut most) = (Vec::new(), Collected::default(), Batch::default(), 0);
        for i in 0..3000i64 {
            // A key for each event but one, which comes back.
            let user = if i % 100 == 0 { "slow".to_owned() } else { format!("u{i}") };
            let line = format!(r#"{{"@timestamp":"{}","event":{{"action":"a"}},"user":{{"name":"{user}"}}}}"#, Timestamp((BEGIN + i) * 1_000_000));
            batch.clear();
            batch.push(line.as_bytes(), false);
            w.record(&batch, batch.records[0], &origin, &mut said);
            most = most.max(w.engine().waiting());
            got.take(&mut said);
        }
        w.engine().finish(&mut said);
        got.take(&mut said);
        let early = w.engine().counters().final_early;
        (most, early, got.finish().into_iter().map(|a| (a.id, a.count)).collect::<Vec<_>>())
    };
    let (_, none, want) = run(1_000_000);
    let (most, early, got) = run(500);
    assert!(none == 0 && early > 1000, "{none}, {early}");
    assert!(most <= 500, "{most} waited");
    assert!(!want.is_empty() && got == want);
}

/// What is told of events in this order, some at a time: alerts as they stand after the last, final or not.
fn at_once(rules: &Arc<RuleSet>, all: &[Ev], order: &[usize], d: &mut Dice) -> BTreeSet<Told> {
    let (mut w, mut said, mut rest) = (worker(rules, true), Vec::new(), order);
    let (mut stand, mut counts) = (BTreeMap::new(), BTreeMap::new());
    let most = [1, 3, 9, 100][d.roll(4) as usize];
    while !rest.is_empty() {
        let (some, others) = rest.split_at(rest.len().min(1 + d.roll(most) as usize));
        give(&mut w, &some.iter().map(|&i| &all[i]).collect::<Vec<_>>(), &mut said);
        rest = others;
        for o in said.drain(..) {
            match o {
                Output::Alert(Step::Withdrawn, a) => drop(stand.remove(&a.delivery)),
                Output::Alert(_, a) => drop(stand.insert(a.delivery, *a)),
                Output::Update { id, count, last, .. } => {
                    let known = counts.entry(id).or_insert((count, last));
                    *known = (known.0.max(count), known.1.max(last));
                }
                Output::Joined(..) | Output::Metric { .. } => {}
            }
        }
    }
    let updated = |a: &Alert| match counts.get(&a.id) {
        Some(&(count, last)) => Alert { count, last, ..a.clone() },
        None => a.clone(),
    };
    stand.values().map(|a| of(rules, order, &updated(a))).collect()
}

#[test]
fn what_is_told_at_once_is_what_would_be_final_if_nothing_more_came() {
    let rules = rules();
    let mut told = 0;
    for seed in seeds(0..3_000) {
        let all = stream_of(seed);
        let mut d = Dice(seed ^ 0x0ce);
        let order = shuffled(&all, &mut d);
        let order = &order[..1 + d.roll(order.len() as u64) as usize];
        let (want, got) = (engine(&rules, &all, order, false), at_once(&rules, &all, order, &mut d));
        // How often an alert of alerts has matched is told with the next; there may be fewer by now.
        let counted = |t: &Told| {
            let (ms, rule, key, count, first, last, evidence) = t.clone();
            let counts = !["m-chain", "n-steps", "o-top"].contains(&&rule[..]);
            (ms, rule, key, if counts { count } else { 0 }, first, if counts { last } else { 0 }, evidence)
        };
        let [want, got] = [want, got].map(|all| all.iter().map(counted).collect::<BTreeSet<_>>());
        let (lost, more): (Vec<_>, Vec<_>) = (want.difference(&got).collect(), got.difference(&want).collect());
        assert!(lost.is_empty() && more.is_empty(), "seed {seed}: final would be {lost:#?}\ntold is {more:#?}");
        told += got.len();
    }
    assert!(told > 3_000, "streams that tell nothing show nothing: {told}");
}

/// `tests/run --long streams --seeds A..B`.
#[test]
#[ignore = "a campaign, run by hand over a range of seeds"]
fn long_streams() {
    let rules = rules();
    let seeds = seeds(10_000..1_000_000);
    let alerts: usize = seeds.clone().map(|s| check(&rules, s)).sum();
    eprintln!("streams {}..{}: {alerts} alerts agree", seeds.start, seeds.end);
}
