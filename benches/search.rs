//! Searches over an index of generated EVE, warm: the 50th and the 95th of a hundred runs of each, beside what was found and read.
//!
//! `VIGILD_BENCH_EVENTS` is how many events there are (1 000 000), `VIGILD_BENCH_DIR` where they lie; with `VIGILD_BENCH_KEEP` a journal
//! and an index that an earlier run has left there are used again.

#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use vigild::config::Config;
use vigild::disk::Real;
use vigild::event::{Batch, Timestamp};
use vigild::r#gen::{Form, Recipe, START, Stream};
use vigild::index::{self, Builder, Common, From, Index, Plan, Record};
use vigild::journal::{Address, Journal, Options, Records, What};
use vigild::pipeline::bundle::{Bundle, Loaded};
use vigild::pipeline::past::{Eye, Head, Past};
use vigild::pipeline::snapshot::Snapshots;
use vigild::search::{Bounds, Ground, Request, answer};

const CHUNK: usize = 200;
const RUNS: usize = 100;

fn main() {
    let temporary = tempfile::tempdir().expect("a folder");
    let base = std::env::var("VIGILD_BENCH_DIR").map_or_else(|_| temporary.path().to_owned(), PathBuf::from);
    let events: u64 = std::env::var("VIGILD_BENCH_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let keep = std::env::var("VIGILD_BENCH_KEEP").is_ok();
    let dir = if keep { base.join("search") } else { temporary.path().join("search") };
    std::fs::create_dir_all(&dir).expect("a folder");

    let options = Options { min_free: 0, max_bytes: u64::MAX, ..Options::default() };
    let (mut journal, _) = Journal::open(Arc::new(Real), &dir.join("journal"), options, || 7).expect("a journal");
    let snapshots = Snapshots::open(Arc::new(Real), &dir, journal.seed()).expect("a folder");
    let (_, loaded, _) = Bundle::of(&Config::default(), Vec::new(), &|_| Err("there is none".into()));
    let loaded = Arc::new(loaded);
    if journal.last() == 0 {
        fill(&mut journal, events);
    }
    let mut keeper = journal.keeper();
    while keeper.step().expect("a disk") {}
    let index = Index::open(&dir.join("index"), journal.seed()).expect("a folder");
    build(&journal, &index, &loaded);
    let past = Past::of(snapshots, loaded.clone(), &index.manifests());
    let reader = journal.reader();
    let begun = Instant::now();
    let slices = index.slices().len();
    println!("{} events in {slices} slices, verified in {:.1} s", journal.next_seq() - 1, begun.elapsed().as_secs_f64());

    let stop = AtomicBool::new(false);
    let ground = Ground { reader: &reader, index: &index, past: &past, stop: &stop };
    let bounds = Bounds { time: Duration::from_secs(120), memory: 1 << 30, records: u64::MAX };
    let ask = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request = Request::of(&pairs, Timestamp(0)).expect("a request");
        let body = answer(&ground, &loaded, &request, reader.last(), &bounds).unwrap_or_else(|_| panic!("{pairs:?} is wrong")).body;
        serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")
    };
    let middle = ask(&[("limit", "1"), ("q", "event.sequence == 1")]);
    let first = middle["hits"][0].clone();
    let ip = first["source"]["ip"].as_str().expect("an address").to_owned();
    // A hundredth of the time, in the middle.
    let span = events as i64 * 1_000_000;
    let (since, until) = (Timestamp(START.0 + span / 2).to_string(), Timestamp(START.0 + span / 2 + span / 100).to_string());
    let by_ip = format!("source.ip == \"{ip}\"");
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("one address, the newest 20", vec![("q", &by_ip), ("limit", "20")]),
        ("alerts at least high, the newest 20", vec![("q", "event.kind == \"alert\" and event.severity >= 60"), ("limit", "20")]),
        ("a network, the newest 20", vec![("q", "source.ip in cidr(\"203.0.113.0/28\")"), ("limit", "20")]),
        ("a hundredth of the time and a term", vec![("q", "event.kind == \"alert\""), ("since", &since), ("until", &until), ("limit", "20")]),
        ("two words one behind the other", vec![("q", "\"web attack\""), ("limit", "20")]),
        ("everything, the newest 100", vec![("limit", "100")]),
        ("top values over everything", vec![("top", "source.ip"), ("limit", "0")]),
        ("top values of alerts", vec![("q", "event.kind == \"alert\""), ("top", "source.ip"), ("limit", "0")]),
        ("histogram over everything", vec![("buckets", "60"), ("limit", "0")]),
    ];
    println!("{:<40} {:>10} {:>9} {:>10} {:>10}", "", "found", "read", "p50 ms", "p95 ms");
    for (name, pairs) in &cases {
        let v = ask(pairs);
        assert_eq!(v["complete"], true, "{name}: {v}");
        let begun = Instant::now();
        ask(pairs);
        let runs = if begun.elapsed() > Duration::from_secs(1) { 5 } else { RUNS };
        let mut took: Vec<f64> = (0..runs).map(|_| timed(|| drop(ask(pairs)))).collect();
        took.sort_by(f64::total_cmp);
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize] * 1e3;
        println!("{name:<40} {:>10} {:>9} {:>10.2} {:>10.2}", v["total"], v["scanned"], at(0.5), at(0.95));
    }
}

fn timed(f: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    f();
    begun.elapsed().as_secs_f64()
}

/// Events a millisecond apart.
fn fill(journal: &mut Journal, events: u64) {
    let mut stream = Stream::new(&Recipe { forms: vec![(Form::Suricata, 1)], count: Some(events), start: Some(START), ..Recipe::default() }, 0);
    let (mut one, mut more) = (Vec::new(), true);
    while more {
        let mut batch = Batch::default();
        let mut last = START;
        while batch.records.len() < CHUNK {
            one.clear();
            let Some(made) = stream.next(START, &mut one) else {
                more = false;
                break;
            };
            last = made.ts;
            batch.push(one.strip_suffix(b"\n").unwrap_or(&one), false);
        }
        let (source, stream) = (Arc::from("tcp"), Arc::from("192.0.2.1:1000"));
        journal.append(&What::Records(Records {
            source,
            stream,
            format: Some(Arc::from("suricata")),
            received: last,
            near: last,
            batch,
            mark: None,
        }));
        journal.write().expect("room");
    }
    journal.sync().expect("a disk");
}

/// Slices of what has none, merged as a daemon does.
fn build(journal: &Journal, index: &Index, loaded: &Arc<Loaded>) {
    const DOCS: u32 = 250_000;
    let plan = Arc::new(Plan::new(&loaded.rules, loaded.formats.indexed()));
    let (mut common, mut eye) = (Common::default(), Eye::new(loaded.clone(), plan.layout().clone()));
    for range in index.uncovered(1..=journal.last()) {
        let mut entries = journal.reader().entries(*range.start());
        let mut first = *range.start();
        let new = |first: u64, common: &mut Common| {
            Builder::new(index, From { lsn: first, bundle: &loaded.hash }, plan.clone(), common, Arc::default()).expect("a builder")
        };
        let mut builder = new(first, &mut common);
        while entries.lsn() <= *range.end() {
            let Some(next) = entries.next_at() else { break };
            let (at, e) = next.expect("whole");
            let What::Records(r) = &e.what else { continue };
            let head = Head { source: &r.source, format: r.format.as_deref(), received: r.received, near: r.near };
            for (n, &one) in r.batch.records.iter().enumerate() {
                let (event, time) = eye.event(&head, &r.batch, one);
                let record =
                    Record { seq: e.seq + n as u64, at: Address { record: n as u32, ..at }, time, stream: &r.stream, raw: r.batch.record(one) };
                builder.add(&record, &event, &mut common).expect("added");
            }
            if builder.docs() >= DOCS || e.lsn == *range.end() {
                index.add(builder.publish(e.lsn, &common).expect("published")).expect("added");
                first = e.lsn + 1;
                builder = new(first, &mut common);
                merge(index);
            }
        }
        let _ = (first, builder.drop_it());
    }
}

fn merge(index: &Index) {
    loop {
        let all = index.manifests();
        let Some(picked) = index::pick(&all).and_then(|r| all.get(r)) else { return };
        let slices = index.some(|m| picked.iter().any(|p| p.first == m.first && p.last == m.last));
        let merged = index::merge(index, &slices, Arc::default()).expect("merged");
        index.add(merged).expect("added");
    }
}
