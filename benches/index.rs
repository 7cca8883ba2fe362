//! The index: building slices from EVE of true shape, merging them, their size beside the raw bytes, what some questions cost, and the
//! whole daemon as it takes records in, evaluates and indexes them.
//!
//! `VIGILD_BENCH_DIR` names the folder; without it a temporary one is used. `VIGILD_BENCH_DOCS` is how many records are indexed
//! (1000000). Arguments name the parts to run: `build` (with merging and questions), `daemon`.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vigild::config::Config;
use vigild::event::{Batch, Timestamp, Value};
use vigild::r#gen::{Form, Recipe, START, Stream, sample};
use vigild::index::{Builder, Common, From, Index, MEMORY, Plan, Record, Slice, merge, pick};
use vigild::journal::Address;
use vigild::pipeline::bundle::Bundle;
use vigild::pipeline::past::{Eye, Head};

mod cpu;

const DOCS: u32 = 250_000;
const JOURNAL: u64 = 1;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records by batches of a slice, made before the clock runs.
struct Load {
    stream: Stream,
    made: u64,
}

impl Load {
    fn new() -> Load {
        Load { stream: Stream::new(&Recipe { forms: vec![(Form::Suricata, 1)], spacing: 2000.0, ..Recipe::default() }, 0), made: 0 }
    }

    fn next(&mut self, n: u32) -> Batch {
        let (mut batch, mut one) = (Batch::default(), Vec::new());
        for _ in 0..n {
            one.clear();
            self.stream.next(START, &mut one);
            batch.push(&one, false);
            self.made += 1;
        }
        batch
    }
}

fn line(what: &str, rate: f64, unit: &str, rest: &str) {
    println!("{what:<44} {rate:>10.0} {unit}  {rest}");
}

fn build(dir: &Path, docs: u64) {
    let (_, loaded, _) = Bundle::of(&Config::default(), vigild::builtin::rules(), &|p| Err(p.to_owned()));
    let loaded = Arc::new(loaded);
    let plan = Arc::new(Plan::new(&loaded.rules, loaded.formats.indexed()));
    let mut eye = Eye::new(loaded, plan.layout().clone());
    let index = Index::open(&dir.join("index"), JOURNAL).expect("an index");
    let (mut load, mut common) = (Load::new(), Common::default());
    let (mut parsing, mut adding, mut publishing, mut merging) = (0.0, 0.0, 0.0, 0.0);
    let (mut raw, mut most, mut merged, mut seq) = (0, 0, 0u64, 1);
    while load.made < docs {
        let batch = load.next(DOCS);
        raw += batch.bytes.len();
        let head = Head { source: "syslog", format: None, received: START, near: START };
        let t = cpu::now();
        let mut b = Builder::new(&index, From { lsn: seq, bundle: &[0; 32] }, plan.clone(), &mut common, Arc::default()).expect("a builder");
        for &r in &batch.records {
            let (event, time) = eye.event(&head, &batch, r);
            let at = Address { segment: seq / 60_000, offset: seq * 1000, record: 0 };
            b.add(&Record { seq, at, time, stream: "192.0.2.1:5000", raw: batch.record(r) }, &event, &mut common).expect("added");
            seq += 1;
        }
        adding += (cpu::now() - t) / 1e9;
        most = most.max(b.memory());
        let t = cpu::now();
        index.add(b.publish(seq - 1, &common).expect("published")).expect("added");
        publishing += (cpu::now() - t) / 1e9;
        let t = cpu::now();
        for &r in &batch.records {
            std::hint::black_box(eye.event(&head, &batch, r).1);
        }
        parsing += (cpu::now() - t) / 1e9;
        let t = cpu::now();
        while let Some(r) = pick(&index.manifests()) {
            let slices = index.slices();
            merged += slices[r.clone()].iter().map(|s| u64::from(s.docs())).sum::<u64>();
            index.add(merge(&index, &slices[r], Arc::default()).expect("merged")).expect("added");
        }
        merging += (cpu::now() - t) / 1e9;
    }
    let n = load.made as f64;
    let all = index.slices();
    assert_eq!(all.iter().map(|s| u64::from(s.docs())).sum::<u64>(), load.made, "each record is a document");
    let bytes: u64 = all.iter().map(|s| s.manifest().bytes()).sum();
    line("records parsed, with the index's fields", n / parsing, "docs/s", "");
    line("parsed and added", n / adding, "docs/s", &format!("{} MiB of terms at most, of {}", most >> 20, MEMORY >> 20));
    line("published", n / publishing, "docs/s", "");
    line("merged", merged as f64 / merging, "docs/s", &format!("each {:.1} times", merged as f64 / n));
    line("all of it, per second of one core", n / (adding + publishing + merging), "docs/s", "");
    println!(
        "{:<44} {:>10.3} of the raw bytes, {} slices, {:.0} bytes a record",
        "the index",
        bytes as f64 / raw as f64,
        all.len(),
        bytes as f64 / n
    );
    files(&dir.join("index"), raw);
    ask(&all);
}

/// What each kind of file takes.
fn files(root: &Path, raw: usize) {
    let mut sizes = std::collections::BTreeMap::<String, u64>::new();
    for f in fs::read_dir(root).expect("a folder").flat_map(|d| fs::read_dir(d.expect("an entry").path()).into_iter().flatten()) {
        let f = f.expect("a file");
        let kind = f.path().extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
        *sizes.entry(kind).or_default() += f.metadata().expect("its length").len();
    }
    for (kind, size) in sizes {
        println!("{:<44} {:>10.4} of the raw bytes", format!("  .{kind}"), size as f64 / raw as f64);
    }
}

/// Some questions, over all slices, warm.
fn ask(all: &[Arc<Slice>]) {
    let ms = |what: &str, f: &dyn Fn(&Slice) -> u64| {
        all.iter().map(|s| f(s)).sum::<u64>();
        let t = Instant::now();
        let found: u64 = all.iter().map(|s| f(s)).sum();
        println!("{what:<44} {:>10.2} ms  {found} found", t.elapsed().as_secs_f64() * 1e3);
    };
    ms("one value of a field", &|s| s.equal("event.dataset", &[Value::Str(b"suricata.dns")]).expect("read").may.len());
    ms("one number", &|s| s.equal("suricata.flow_id", &[Value::Int(77_777)]).expect("read").may.len());
    ms("a word", &|s| s.word("curl").expect("read").may.len());
    ms("a word that is not there", &|s| s.word("4d6a1b77c0ffee").expect("read").may.len());
    ms("a hundredth of the time", &|s| {
        let span = (s.newest().0 - s.oldest().0) / 100;
        s.within(Timestamp(s.oldest().0 + 10 * span), Timestamp(s.oldest().0 + 11 * span)).len()
    });
    for field in ["source.ip", "event.dataset", "source.port", "suricata.flow_id"] {
        ms(&format!("values of {field}, by their number"), &|s| {
            let mut n = 0;
            s.tally(field, None, &mut |_, _| {
                n += 1;
                Ok(())
            })
            .expect("read");
            n
        });
    }
    ms("all texts of a field that hold a word", &|s| {
        s.values("dns.question.name", &mut |v, _| Ok(v.str().is_some_and(|t| t.starts_with(b"a")))).expect("read").sure.len()
    });
}

/// The daemon, as fast as it takes records over TCP.
fn daemon(dir: &Path, docs: u64) {
    let parts: Vec<Vec<u8>> = (1..=2).map(|seed| sample(Form::Suricata, docs as usize / 2, seed)).collect();
    let bytes: usize = parts.iter().map(Vec::len).sum();
    let want = parts.iter().flatten().filter(|b| **b == b'\n').count() as f64;
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    c.arg("run").arg("--data").arg(dir.join("data")).args(["--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0"]);
    c.arg("--alerts").arg(dir.join("alerts.jsonl")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = c.spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let (mut http, mut tcp) = (String::new(), String::new());
    for l in log.by_ref().map_while(Result::ok) {
        let of = |k: &str| l.split_once(k).map(|(_, a)| a.split_whitespace().next().unwrap_or_default().to_owned());
        http = of(" http=").unwrap_or(http);
        tcp = of(" tcp=").unwrap_or(tcp);
        if l.contains(": ready") {
            break;
        }
    }
    let said = std::thread::spawn(move || log.map_while(Result::ok).for_each(|l| eprintln!("{l}")));
    let metric = |series: &str| {
        let mut s = TcpStream::connect(&http).expect("it listens");
        s.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
        let mut text = String::new();
        s.read_to_string(&mut text).expect("read");
        text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' ')?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let begun = Instant::now();
    let senders: Vec<_> = parts
        .into_iter()
        .map(|lines| {
            let to = tcp.clone();
            std::thread::spawn(move || TcpStream::connect(to).expect("it listens").write_all(&lines).expect("sent"))
        })
        .collect();
    let wait = |done: &dyn Fn() -> bool| {
        while !done() {
            std::thread::sleep(Duration::from_millis(50));
        }
        begun.elapsed().as_secs_f64()
    };
    let taken = wait(&|| metric("vigild_records_total{source=\"syslog\"}") >= want);
    senders.into_iter().for_each(|s| s.join().expect("a sender"));
    let last = metric("vigild_journal_entry");
    let evaluated = wait(&|| metric("vigild_engine_entry") >= last);
    let indexed = wait(&|| metric("vigild_index_lag_entries") == 0.0 && metric("vigild_index_documents") > want - 250_000.0);
    line("records taken in", want / taken, "docs/s", "");
    line("evaluated", want / evaluated, "docs/s", "");
    line("indexed", want / indexed, "docs/s", "");
    let merged = wait(&|| metric("vigild_index_documents") >= want);
    let stored = |name| metric(name) / bytes as f64;
    println!(
        "{:<44} {:>10.3} of the raw bytes, the journal {:.3}, {:.0} s later",
        "the index, all published",
        stored("vigild_index_bytes"),
        stored("vigild_journal_bytes"),
        merged - indexed
    );
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    println!("{:<44} {:>10.0} MiB peak, mapped files among it", "its memory", peak / 1024.0);
    let anon = status.lines().find_map(|l| l.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    println!("{:<44} {:>10.0} MiB now, without them", "", anon / 1024.0);
    let _ = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    let t = Instant::now();
    let _ = child.wait();
    println!("{:<44} {:>10.2} s", "to its end", t.elapsed().as_secs_f64());
    let _ = said.join();
}

fn main() {
    let temporary = tempfile::tempdir().expect("a folder");
    let base = std::env::var("VIGILD_BENCH_DIR").map_or_else(|_| temporary.path().to_owned(), PathBuf::from);
    let docs = std::env::var("VIGILD_BENCH_DOCS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|n| n == part);
    for (part, f) in [("build", build as fn(&Path, u64)), ("daemon", daemon)] {
        if wanted(part) {
            f(tempfile::tempdir_in(&base).expect("a folder there").path(), docs);
        }
    }
}
