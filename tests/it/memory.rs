//! What memory the hot path takes: no allocation for an event that is parsed and matched, and no more memory for more events.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use vigild::engine::Options;
use vigild::event::{Arena, Batch, Event, Out, Schema, Slot, Timestamp, Value, field};
use vigild::parse::{Context, Estate, Format, Parsers, Renderer, declared};
use vigild::rule::compile::Matcher;
use vigild::rule::{RuleSet, load};
use vigild::source::frame::{Framer, MAX_RECORD};
use vigild::worker::{self, FILE_LATENESS, Origin, Row, Worker};

const NEAR: Timestamp = Timestamp(1_795_435_200_000_000_000);

/// Rules that ask for fields of every format, and match some of the samples.
const RULES: &str = r#"
[[rule]]
id = "texts"
title = "Texts of all formats"
severity = "low"
where = '''url.original contains "union" or user_agent.original : "*sqlmap*" or rule.name contains "SQL" or message contains "Failed password"
or process.command_line contains "/etc/shadow" or file.path startswith "/etc/" or dns.question.name endswith ".example" or user.name == "root"'''
by = ["client.ip"]

[[rule]]
id = "numbers"
title = "Numbers and addresses of all formats"
severity = "low"
where = '''event.severity >= 60 and (source.ip in cidr("203.0.113.0/24") or destination.port in [22, 80, 443] or http.response.status_code == 403)
and event.category == "network" and event.action != "none" and event.outcome != "none" and rule.id matches "^[0-9]+$"'''
by = ["host.name", "container.id"]
"#;

fn setting() -> (Arc<RuleSet>, declared::Formats, Arc<Estate>) {
    let mut schema = Schema::default();
    let (formats, said) = declared::Formats::load(&vigild::builtin::parsers(), &mut schema);
    assert!(said.is_empty(), "{said:?}");
    let estate = Arc::new(Estate::default());
    let mut files = vigild::builtin::rules();
    files.push(("memory.toml".to_owned(), RULES.to_owned()));
    let (rules, said) = load::load(&files, &estate, schema, &|_| Err("no tables here".to_owned()));
    assert!(rules.rules.len() >= 2, "{said:?}");
    (Arc::new(rules), formats, estate)
}

fn cut(log: &[u8]) -> Batch {
    let (mut framer, mut batch) = (Framer::new(None, MAX_RECORD), Batch::default());
    framer.feed(log, &mut batch);
    framer.flush(&mut batch);
    batch
}

/// The samples of the five native formats and of sshd, and the ECS JSON that comes of them, each with its records.
fn samples(formats: &declared::Formats, schema: &Schema, estate: &Estate) -> Vec<(String, Batch)> {
    let mut all = Vec::new();
    let ctx = Context { zone: &jiff::tz::TimeZone::UTC, near: NEAR, named: false, estate };
    let (mut renderer, mut ecs) = (Renderer::new(Arc::new(schema.clone()), formats), Vec::new());
    for name in ["ossec", "falco", "suricata", "fail2ban", "modsecurity", "sshd"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("parsers").join(name).join("samples");
        let mut logs: Vec<_> = std::fs::read_dir(&folder).expect("the folder of samples").map(|e| e.expect("an entry").path()).collect();
        logs.retain(|p| p.extension().is_some_and(|e| e == "log"));
        logs.sort();
        for p in logs {
            let batch = cut(&std::fs::read(&p).expect("a sample"));
            renderer.restart();
            for &r in &batch.records {
                renderer.record(&ctx, None, &batch, r, None, &mut ecs);
            }
            all.push((format!("{name}/{}", p.file_name().unwrap_or_default().to_string_lossy()), batch));
        }
    }
    all.push(("ecs".to_owned(), cut(&ecs)));
    all
}

#[test]
fn nothing_is_allocated_for_an_event_that_is_parsed_and_matched() {
    let (rules, formats, estate) = setting();
    let layout = worker::layout(&rules);
    let ctx = Context { zone: &jiff::tz::TimeZone::UTC, near: NEAR, named: false, estate: &estate };
    let origin = Origin { ctx, format: None, stream: "samples", lateness: FILE_LATENESS, received: None };
    let mut worker = Worker::new(rules.clone(), &formats, estate.clone(), Options::default());
    let (mut parsers, mut matcher) = (Parsers::new(&rules.schema, &layout, &formats), Matcher::new(&rules, &layout));
    let (mut row, mut arena, mut slots, mut hits) = (Row::default(), Arena::default(), vec![Slot::Missing; layout.len()], Vec::new());
    let (mut wrong, mut by_format, mut matched) = (String::new(), BTreeMap::new(), 0usize);
    for (name, batch) in samples(&formats, &rules.schema, &estate) {
        for &r in &batch.records {
            let mut seen = None;
            let mut once = || {
                let (s, _) = worker.parse(&batch, r, &origin, &mut row);
                seen = s.format;
                arena.clear();
                let mut out = Out::new(&batch.bytes, &mut arena, &mut slots, &layout, None);
                parsers.event(&ctx, None, batch.record(r), false, &mut out);
                hits.clear();
                let ev = Event::new(&batch.bytes, &arena, &slots, &layout);
                let ts = if let Value::Time(t) = ev.get(field::TIMESTAMP) { t } else { NEAR };
                matcher.event(&ev, ts, &mut hits);
                matched += hits.len();
            };
            // Buffers grow to what a record needs, and the matcher learns its values; from then on they are there.
            once();
            once();
            let n = allocation_counter::measure(&mut once).count_total;
            *by_format.entry(seen.map_or("none", |f: Format| f.name(&formats)).to_owned()).or_insert(0) += 1;
            if n > 0 {
                let text = String::from_utf8_lossy(batch.record(r)).chars().take(150).collect::<String>();
                let _ = writeln!(wrong, "{name}: {n} allocations for {text}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    for f in ["ossec", "falco", "suricata", "fail2ban", "modsecurity", "sshd", "ecs"] {
        assert!(by_format.get(f).is_some_and(|&n| n > 3), "too few records were taken as {f}: {by_format:?}");
    }
    assert!(matched > 30, "too few matches to say anything: {matched}");
}

#[test]
fn an_allocation_would_be_counted() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 100]))).count_total, 1);
}

/// Peak resident memory of a process in KiB, as far as it has come.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn replay_takes_no_more_memory_for_ten_times_the_events() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let rules = dir.path().join("rules.toml");
    // Every line is a match and moves a window; none fires.
    let rule = "[[rule]]\nid = \"many\"\ntitle = \"Many\"\nseverity = \"low\"\nwhere = 'event.action == \"found\"'\nby = [\"client.ip\"]\ncount = { at_least = 500, within = \"1m\" }\n";
    std::fs::write(&rules, rule).expect("the folder takes a file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigild"))
        .args(["replay", "--rules"])
        .arg(&rules)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut writer = std::io::BufWriter::with_capacity(1 << 16, child.stdin.take().expect("its input"));
    const FIRST: usize = 50_000;
    let (mut peaks, mut line) = (Vec::new(), String::new());
    for i in 0..10 * FIRST {
        let s = i / 20;
        line.clear();
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        let ip = i as u32 * 7919 % 65_536;
        let _ = writeln!(line, "2026-11-23 {h:02}:{m:02}:{s:02},007 fail2ban.filter [9]: INFO [sshd] Found 198.51.{}.{}", ip >> 8, ip & 255);
        writer.write_all(line.as_bytes()).expect("it reads");
        if i + 1 == FIRST || i + 1 == 10 * FIRST {
            writer.flush().expect("it reads");
            peaks.push(peak(child.id()));
        }
    }
    drop(writer);
    let mut said = String::new();
    child.stderr.take().expect("its words").read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success(), "{said}");
    assert!(said.contains(&format!("{} events, 0 alerts", 10 * FIRST)), "{said}");
    assert!(!said.contains("not parsed"), "{said}");
    assert!(peaks[1] * 10 < peaks[0] * 12, "{} KiB after {FIRST} events, {} KiB after ten times as many", peaks[0], peaks[1]);
}
