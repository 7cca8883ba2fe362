//! What matching costs as rules grow: nanoseconds an event over rows that are parsed already.
//!
//! Rules are made like those of SigmaHQ: an equality on the kind of event, one main test (for 20 % an exact value, else
//! contains 65 %, prefix 15 %, regular expression 20 %) and at most one more condition. Hits are first checked against a
//! plain evaluation of every rule on a sample. `cargo bench --bench matching`.

use std::net::{IpAddr, Ipv4Addr};
use vigild::event::{Arena, Event, Field, Layout, Out, Slot, Span, Timestamp, Value, field};
use vigild::rule::compile::{Hit, Matcher, fields};
use vigild::rule::{Expr, Kind, Literal, Op, Pattern, Place, Rearm, Rule, RuleSet, Severity, Test, When};

const EVENTS: usize = 20_000;
const SAMPLE: usize = 300;
const ROUNDS: usize = 5;

/// A small generator, the same on every machine (PCG's multiplier).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Pronounceable, so that parts of words meet as they do in paths and names.
    fn word(&mut self, syllables: usize) -> String {
        const S: &[&str] = &["ra", "ti", "con", "ser", "ex", "mo", "ver", "dll", "net", "in", "pro", "sys", "le", "dar", "up", "kit"];
        (0..syllables).map(|_| *self.of(S)).collect()
    }
}

/// Fields of text, and how many different values each has.
const TEXTS: [(Field, usize); 8] = [
    (field::EVENT_ACTION, 12),
    (field::PROCESS_COMMAND_LINE, 3000),
    (field::PROCESS_EXECUTABLE, 400),
    (field::PROCESS_PARENT_EXECUTABLE, 150),
    (field::URL_ORIGINAL, 2500),
    (field::DNS_QUESTION_NAME, 2000),
    (field::USER_NAME, 80),
    (field::HOST_NAME, 40),
];

fn values(r: &mut Random, f: Field, n: usize) -> Vec<String> {
    (0..n)
        .map(|i| match f {
            field::EVENT_ACTION => format!("action-{i}"),
            field::PROCESS_COMMAND_LINE => format!("/usr/bin/{} --{} {} -o /tmp/{}.{}", r.word(2), r.word(2), r.word(4), r.word(3), r.word(1)),
            field::PROCESS_EXECUTABLE | field::PROCESS_PARENT_EXECUTABLE => format!("/usr/{}/{}{i}", r.of(&["bin", "sbin", "lib"]), r.word(3)),
            field::URL_ORIGINAL => format!("/{}/{}.php?{}={}", r.word(2), r.word(3), r.word(1), r.word(5)),
            field::DNS_QUESTION_NAME => format!("{}.{}.example.{}", r.word(2), r.word(3), r.of(&["com", "net", "org"])),
            _ => format!("{}{i}", r.word(2)),
        })
        .collect()
}

struct Data {
    bytes: Vec<u8>,
    arena: Arena,
    rows: Vec<Vec<Slot>>,
    layout: Layout,
}

/// Rows of events; with `unique`, no command line and no URL comes twice.
fn data(layout: Layout, pools: &[Vec<String>], unique: bool) -> Data {
    let mut r = Random(7);
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    for i in 0..EVENTS {
        let mut row = Vec::new();
        for (pool, (f, _)) in pools.iter().zip(TEXTS) {
            // A few values make most of the events.
            let n = if r.below(100) < 70 { 1 + pool.len() / 20 } else { pool.len() };
            let from = bytes.len();
            bytes.extend_from_slice(pool[r.below(n)].as_bytes());
            if unique && matches!(f, field::PROCESS_COMMAND_LINE | field::URL_ORIGINAL) {
                bytes.extend_from_slice(format!(" {i:x}").as_bytes());
            }
            row.push((f, from..bytes.len()));
        }
        spans.push(row);
    }
    let mut arena = Arena::default();
    let rows = spans
        .into_iter()
        .map(|row| {
            let mut slots = vec![Slot::Missing; layout.len()];
            let mut out = Out::new(&bytes, &mut arena, &mut slots, &layout, None);
            row.into_iter().for_each(|(f, span)| out.str(f, &bytes[span]));
            out.ip(field::SOURCE_IP, IpAddr::V4(Ipv4Addr::new(10, r.below(4) as u8, r.below(256) as u8, r.below(256) as u8)));
            out.int(field::DESTINATION_PORT, *r.of(&[22, 53, 80, 443, 443, 443, 8080, 3306]));
            out.word(field::NETWORK_TRANSPORT, ["tcp", "tcp", "udp"][r.below(3)]);
            slots
        })
        .collect();
    Data { bytes, arena, rows, layout }
}

fn test(field: Field, op: Op) -> Expr {
    Expr::Test(Test { field, op })
}

fn is(field: Field, s: &str) -> Expr {
    test(field, Op::In(vec![Literal::Str(s.into())]))
}

fn rules(n: usize, pools: &[Vec<String>]) -> RuleSet {
    let mut r = Random(11);
    let mut set = RuleSet::default();
    for i in 0..n {
        let mut all = vec![is(field::EVENT_ACTION, r.of(&pools[0]).as_str())];
        let at = if r.below(10) < 6 { 1 } else { 2 + r.below(4) };
        let (f, pool) = (TEXTS[at].0, &pools[at]);
        // One in ten looks for what stands in many events: rules that are loud, or that only another condition holds back.
        let there = r.below(10) == 0;
        let common = &pool[..1 + pool.len() / 20];
        let kind = r.below(100);
        let op = if kind < 20 {
            let s = if there { r.of(common).clone() } else { format!("{}-{i}", r.word(3)) };
            Op::In(vec![Literal::Str(s)])
        } else {
            let n = 4 + r.below(2);
            let s = if there { r.of(common).chars().skip(5).take(9).collect() } else { r.word(n) };
            match kind % 20 {
                0..13 => Op::Text(Place::Contains, s),
                13..16 => Op::Text(Place::Starts, format!("/usr/bin/{s}")),
                _ => Op::Matches(Pattern(
                    regex::bytes::Regex::new(&format!("(?i){}[^ ]*\\.(?:dll|exe|{})$", regex::escape(&s), r.word(2))).expect("made here"),
                )),
            }
        };
        all.push(test(f, op));
        match r.below(8) {
            0 => all.push(test(field::SOURCE_IP, Op::Cidr(vec!["10.0.0.0/16".parse().expect("a network")]))),
            1 => all.push(test(field::DESTINATION_PORT, Op::In(vec![Literal::Int(443)]))),
            2 => all.push(is(field::NETWORK_TRANSPORT, "tcp")),
            3 => all.push(is(field::HOST_NAME, r.of(&pools[7]).as_str())),
            _ => {}
        }
        set.rules.push(Rule {
            id: format!("rule-{i:05}").into(),
            title: String::new(),
            summary: None,
            severity: Severity::Low,
            attack: Vec::new(),
            tactics: Vec::new(),
            tags: Vec::new(),
            signal: false,
            alert: true,
            when: When { where_: Some(Expr::And(all)), rules: None },
            by: Vec::new(),
            per: None,
            missing_null: false,
            kind: Kind::Single,
            rearm: Rearm::Every,
            carry: Vec::new(),
            max_alerts: 1000,
            keys: 1000,
            skew: Span(0),
            metric: None,
            respond: Vec::new(),
            exceptions: Vec::new(),
            meaning: [0; 16],
            level: 1,
            file: String::new(),
            tests: Vec::new(),
        });
    }
    set
}

/// The conditions of this benchmark, evaluated plainly.
fn plain(e: &Expr, ev: &Event<'_>) -> bool {
    let Expr::Test(t) = e else {
        let Expr::And(list) = e else { panic!("no such condition is made here") };
        return list.iter().all(|e| plain(e, ev));
    };
    match (&t.op, ev.get(t.field)) {
        (Op::In(l), Value::Str(s)) => l.iter().any(|l| matches!(l, Literal::Str(l) if l.as_bytes() == s)),
        (Op::In(l), Value::Int(n)) => l.contains(&Literal::Int(n.into())),
        (Op::Text(Place::Contains, p), Value::Str(s)) => s.windows(p.len()).any(|w| w == p.as_bytes()),
        (Op::Text(Place::Starts, p), Value::Str(s)) => s.starts_with(p.as_bytes()),
        (Op::Matches(p), Value::Str(s)) => p.0.is_match(s),
        (Op::Cidr(nets), Value::Ip(ip)) => nets.iter().any(|n| n.contains(&ip)),
        _ => false,
    }
}

fn main() {
    let mut r = Random(3);
    let pools: Vec<Vec<String>> = TEXTS.iter().map(|&(f, n)| values(&mut r, f, n)).collect();
    println!(
        "{:>6} {:>8} {:>10} {:>10} {:>12} {:>12} {:>12}  texts",
        "rules", "build ms", "ns/event", "hits/event", "woken/event", "asked/event", "remembered"
    );
    for unique in [false, true] {
        let mut first = None;
        for n in [10, 100, 1000, 3000] {
            let set = rules(n, &pools);
            let mut wanted = fields(&set);
            wanted.extend(TEXTS.map(|t| t.0));
            wanted.extend([field::SOURCE_IP, field::DESTINATION_PORT, field::NETWORK_TRANSPORT]);
            let d = data(Layout::of(&set.schema, wanted), &pools, unique);
            let begun = vigild::clock::monotonic();
            let mut m = Matcher::new(&set, &d.layout);
            let build = begun.elapsed();
            let mut hits = Vec::new();
            for row in d.rows.iter().step_by(EVENTS / SAMPLE) {
                let ev = Event::new(&d.bytes, &d.arena, row, &d.layout);
                hits.clear();
                m.event(&ev, Timestamp(0), &mut hits);
                let want: Vec<Hit> = (0..set.rules.len())
                    .filter(|&i| set.rules[i].when.where_.as_ref().is_some_and(|e| plain(e, &ev)))
                    .map(|i| Hit { rule: i as u32, step: 0 })
                    .collect();
                assert_eq!(hits, want, "the matcher and the plain evaluation differ at {n} rules");
            }
            let before = m.stats();
            let (mut best, mut found) = (f64::MAX, 0);
            for _ in 0..ROUNDS {
                // Unique texts stay unique only for a matcher that has not seen them.
                let mut m = m.clone();
                let begun = vigild::clock::monotonic();
                found = 0;
                for row in &d.rows {
                    hits.clear();
                    m.event(&Event::new(&d.bytes, &d.arena, row, &d.layout), Timestamp(0), &mut hits);
                    found += hits.len();
                }
                best = best.min(begun.elapsed().as_nanos() as f64 / EVENTS as f64);
            }
            for row in &d.rows {
                hits.clear();
                m.event(&Event::new(&d.bytes, &d.arena, row, &d.layout), Timestamp(0), &mut hits);
            }
            let s = m.stats();
            let per = |a: u64, b: u64| (a - b) as f64 / EVENTS as f64;
            let texts = (s.remembered - before.remembered + s.searched - before.searched).max(1);
            println!(
                "{n:>6} {:>8.1} {best:>10.0} {:>10.3} {:>12.2} {:>12.2} {:>11.0}%  {}",
                build.as_secs_f64() * 1e3,
                found as f64 / EVENTS as f64,
                per(s.woken, before.woken),
                per(s.asked, before.asked),
                (s.remembered - before.remembered) as f64 * 100.0 / texts as f64,
                if unique { "command lines and URLs never repeat" } else { "repeat" },
            );
            let base = *first.get_or_insert(best);
            if n == 3000 {
                // The whole path also parses, which does not grow with the rules.
                const PARSE: f64 = 800.0;
                println!("       throughput at 3000 / at 10: {:.2}; with {PARSE} ns of parsing: {:.2}", base / best, (base + PARSE) / (best + PARSE));
            }
        }
    }
}
