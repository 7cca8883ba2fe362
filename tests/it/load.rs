//! `vigild gen`: the same seed gives the same bytes, every record parses, numbers are gapless, attacks fire exactly their
//! rules, ordinary traffic fires nothing of weight, and what is sent arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use vigild::engine::Options;
use vigild::engine::collect::Collected;
use vigild::event::{Batch, Schema, Timestamp, Value, field};
use vigild::r#gen::{Attacks, Form, Planted, Recipe, START, Stream, number_of};
use vigild::parse::{Context, Estate, Format, declared};
use vigild::rule::{RuleSet, Severity, load};
use vigild::source::frame::{Framer, MAX_RECORD};
use vigild::worker::{FILE_LATENESS, Origin, Row, Worker};

/// A stream's records, as a file holds them, and the attacks among them.
fn made(recipe: &Recipe, stream: u32) -> (Vec<u8>, Vec<Planted>) {
    let (mut s, mut out, mut planted) = (Stream::new(recipe, stream), Vec::new(), Vec::new());
    while let Some(m) = s.next(START, &mut out) {
        out.extend_from_slice(m.form.end());
        planted.extend(m.planted);
    }
    (out, planted)
}

fn cut(format: Option<Format>, bytes: &[u8]) -> Batch {
    let (mut framer, mut batch) = (Framer::new(format, MAX_RECORD), Batch::default());
    bytes.chunks(64 << 10).for_each(|c| framer.feed(c, &mut batch));
    framer.flush(&mut batch);
    batch
}

fn one(form: Form, n: u64) -> Recipe {
    Recipe { forms: vec![(form, 1)], count: Some(n), ..Recipe::default() }
}

struct Setting {
    rules: Arc<RuleSet>,
    formats: declared::Formats,
    estate: Arc<Estate>,
}

fn setting() -> Setting {
    let mut schema = Schema::default();
    let (formats, said) = declared::Formats::load(&vigild::builtin::parsers(), &mut schema);
    assert!(said.is_empty(), "{said:?}");
    let estate = Arc::new(Estate::default());
    let (rules, _) = load::load(&vigild::builtin::rules(), &estate, schema, &|_| Err(String::new()));
    assert!(!rules.rules.is_empty());
    Setting { rules: Arc::new(rules), formats, estate }
}

/// What of weight was alerted, as (rule, the values of its key), each alert once; and how many records there were.
fn alerted(s: &Setting, bytes: &[u8]) -> (Vec<(String, Vec<String>)>, u64) {
    let mut w = Worker::new(s.rules.clone(), &s.formats, s.estate.clone(), Options::default());
    let batch = cut(None, bytes);
    let ctx = Context { zone: &jiff::tz::TimeZone::UTC, near: START, named: false, estate: &s.estate };
    let origin = Origin { ctx, format: None, stream: "load", lateness: FILE_LATENESS, received: None };
    let (mut said, mut got) = (Vec::new(), Collected::default());
    for &r in &batch.records {
        let seen = w.record(&batch, r, &origin, &mut said);
        assert!(!seen.error, "{}", String::from_utf8_lossy(batch.record(r)));
        got.take(&mut said);
    }
    w.engine().finish(&mut said);
    got.take(&mut said);
    let mut all = Vec::new();
    for a in got.finish() {
        let rule = &s.rules.rules[a.rule];
        if rule.severity >= Severity::Medium {
            let mut line = Vec::new();
            a.write(&s.rules, None, &mut line);
            let v: serde_json::Value = serde_json::from_slice(&line).expect("an alert is JSON");
            let key = v["alert"]["key"].as_object().map(|k| k.values().map(|v| v.as_str().unwrap_or_default().to_owned()).collect());
            all.push((rule.id.to_string(), key.unwrap_or_default()));
        }
    }
    (all, w.records())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_other_ones() {
    for (name, form) in Form::ALL {
        let recipe = Recipe { attacks: Attacks::Fraction(0.2), ..one(form, 300) };
        assert_eq!(made(&recipe, 0), made(&recipe, 0), "{name}");
        assert_ne!(made(&recipe, 0).0, made(&Recipe { seed: 2, ..recipe.clone() }, 0).0, "{name}");
    }
}

#[test]
fn every_record_parses_as_its_format_with_its_time_and_its_number() {
    let s = setting();
    let mut w = Worker::new(s.rules.clone(), &s.formats, s.estate.clone(), Options::default());
    for (name, form) in Form::ALL {
        let recipe = Recipe { attacks: Attacks::Fraction(0.3), ..one(form, 2000) };
        let bytes = made(&recipe, 0).0;
        let format = Format::Native(form.tool());
        for named in [None, Some(format)] {
            let batch = cut(named, &bytes);
            assert_eq!(batch.records.len(), 2000, "{name}");
            let ctx = Context { zone: &jiff::tz::TimeZone::UTC, near: START, named: named.is_some(), estate: &s.estate };
            let origin = Origin { ctx, format: named, stream: "load", lateness: FILE_LATENESS, received: None };
            let (mut row, mut last) = (Row::default(), Timestamp::MIN);
            for (i, &r) in batch.records.iter().enumerate() {
                let text = String::from_utf8_lossy(batch.record(r)).into_owned();
                let (seen, ts) = w.parse(&batch, r, &origin, &mut row);
                assert!(!seen.error && seen.format == Some(format), "{name}: {text}");
                assert!(ts >= last, "{name}: times rise: {text}");
                last = ts;
                assert_eq!(number_of(batch.record(r)), Some((0, i as u64 + 1)), "{name}: {text}");
            }
            // A thousand a second.
            assert!((last.0 - START.0) / 1_000_000_000 == 1, "{name}: {last:?}");
        }
    }
}

#[test]
fn records_hold_the_fields_of_their_format() {
    use vigild::event::{Arena, Event, Layout, Out, Slot};
    let s = setting();
    let layout = Layout::full(&s.rules.schema);
    let mut parsers = vigild::parse::Parsers::new(&s.rules.schema, &layout, &s.formats);
    let common = [field::TIMESTAMP, field::EVENT_MODULE, field::EVENT_DATASET, field::EVENT_KIND, field::RULE_NAME, field::SOURCE_IP];
    for (name, form) in Form::ALL {
        let more: &[_] = match form.tool() {
            vigild::parse::Native::Suricata => &[field::DNS_QUESTION_NAME, field::URL_PATH, field::TLS_CLIENT_SERVER_NAME, field::DESTINATION_PORT],
            vigild::parse::Native::Falco => &[field::CONTAINER_ID, field::PROCESS_COMMAND_LINE, field::PROCESS_PARENT_NAME, field::FILE_PATH],
            vigild::parse::Native::Fail2ban => &[field::CLIENT_IP, field::EVENT_ACTION, field::SERVICE_NAME],
            vigild::parse::Native::Ossec => &[field::RULE_ID, field::USER_NAME, field::HOST_NAME, field::FILE_PATH, field::EVENT_OUTCOME],
            vigild::parse::Native::Modsecurity => &[field::RULE_ID, field::URL_PATH, field::HTTP_REQUEST_ID, field::HTTP_RESPONSE_STATUS_CODE],
        };
        let batch = cut(None, &made(&one(form, 200), 0).0);
        let ctx = Context { zone: &jiff::tz::TimeZone::UTC, near: START, named: false, estate: &s.estate };
        let (mut arena, mut slots) = (Arena::default(), vec![Slot::Missing; layout.len()]);
        let mut seen = BTreeSet::new();
        for &r in &batch.records {
            let mut out = Out::new(&batch.bytes, &mut arena, &mut slots, &layout, None);
            parsers.event(&ctx, None, batch.record(r), false, &mut out);
            let e = Event::new(&batch.bytes, &arena, &slots, &layout);
            seen.extend(common.iter().chain(more).enumerate().filter(|(_, f)| !matches!(e.get(**f), Value::Missing)).map(|(i, _)| i));
        }
        // Falco's rules here are about processes and files, not connections.
        let absent = |f: &vigild::event::Field| *f == field::SOURCE_IP && form == Form::Falco;
        let none = common.iter().chain(more).enumerate().filter(|(i, f)| !absent(f) && !seen.contains(i));
        assert_eq!(none.count(), 0, "{name}: {seen:?}");
    }
}

#[test]
fn ordinary_traffic_fires_nothing_of_weight() {
    let s = setting();
    let mut recipes: Vec<(&str, Recipe)> = Form::ALL.iter().map(|(n, f)| (*n, one(*f, 20_000))).collect();
    recipes.push(("mixed", Recipe { count: Some(20_000), spacing: 20.0, ..Recipe::default() }));
    for (name, recipe) in recipes {
        let (alerts, records) = alerted(&s, &made(&recipe, 0).0);
        assert_eq!((alerts, records), (vec![], 20_000), "{name}");
    }
}

#[test]
fn each_attack_fires_its_rule_and_no_other() {
    let s = setting();
    let mut recipes: Vec<(&str, Recipe)> = Form::ALL.iter().map(|(n, f)| (*n, one(*f, 8000))).collect();
    recipes.push(("mixed", Recipe { count: Some(8000), ..Recipe::default() }));
    for (name, recipe) in recipes {
        let (bytes, planted) = made(&Recipe { attacks: Attacks::Number(40), ..recipe }, 0);
        assert_eq!(planted.len(), 40, "{name}");
        let (mut want, mut got) = (BTreeMap::new(), BTreeMap::new());
        planted.iter().for_each(|p| *want.entry((p.rule.to_owned(), p.key.1.clone())).or_insert(0) += 1);
        for (rule, key) in alerted(&s, &bytes).0 {
            // The key of a rule may hold more than what tells attacks apart, or nothing where each match is one.
            let known = want.keys().find(|(r, k)| *r == rule && key.contains(k)).map(|(_, k)| k.clone());
            *got.entry((rule, known.unwrap_or_else(|| key.join(" ")))).or_insert(0) += 1;
        }
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn streams_share_count_and_attacks_and_number_each_their_own() {
    let recipe = Recipe { streams: 3, count: Some(1000), attacks: Attacks::Number(7), ..one(Form::Falco, 0) };
    let (mut records, mut keys) = (Vec::new(), BTreeSet::new());
    let recipe = Recipe { count: Some(1000), ..recipe };
    for stream in 0..3 {
        let (bytes, planted) = made(&recipe, stream);
        let batch = cut(None, &bytes);
        for (i, &r) in batch.records.iter().enumerate() {
            assert_eq!(number_of(batch.record(r)), Some((stream, i as u64 + 1)));
        }
        records.push(batch.records.len());
        keys.extend(planted.into_iter().map(|p| p.key));
    }
    assert_eq!((records, keys.len()), (vec![334, 333, 333], 7));
}

#[test]
fn a_record_of_somebody_else_has_no_number() {
    for r in ["", "{", "plain text", "2026-11-23 05:51:15,176 fail2ban.jail   : INFO x", "** Alert 17: x", r#"{"flow_id":null}"#] {
        assert_eq!(number_of(r.as_bytes()), None, "{r}");
    }
}

fn vigild(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    c.arg("gen").args(args).stdin(Stdio::null());
    c
}

fn run(args: &[&str]) -> Output {
    vigild(args).output().expect("it runs")
}

#[test]
fn wrong_arguments_are_told_and_end_with_2() {
    for (args, why) in [
        (&["--format", "suricat"][..], "did you mean `suricata`"),
        (&["--format", "mixed", "--format", "falco"], "all formats already"),
        (&["--rate", "fast"], "is no rate"),
        (&["--rate", "0"], "is no rate"),
        (&["--duration", "1x"], "is no duration"),
        (&["--attacks", "1.5"], "is neither a part"),
        (&["--attacks", "100", "--count", "10"], "attacks need"),
        (&["--attacks", "3", "--duration", "1s"], "give `--count`"),
        (&["--start", "yesterday"], "is no time"),
        (&["--to", "tls://127.0.0.1:1"], "no way to send"),
        (&["--to", "tcp://127.0.0.1"], "no `host:port`"),
        (&["--to", "tcp://127.0.0.1:9", "--format", "ossec"], "octet"),
        (&["--format", "ossec", "--format", "falco"], "cannot stand in one file"),
        (&["--connections", "2"], "is for udp, tcp and http"),
        (&["--count", "0"], "count"),
    ] {
        let o = run(args);
        let said = String::from_utf8_lossy(&o.stderr);
        assert_eq!(o.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
        assert!(o.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn nobody_there_is_5_and_a_file_that_cannot_be_written_4() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    for (to, code) in [
        (format!("tcp://127.0.0.1:{port}"), 5),
        (format!("http://127.0.0.1:{port}/api/v1/ingest/suricata"), 5),
        ("/no/such/folder/file".to_owned(), 4),
    ] {
        let o = run(&["--to", &to]);
        assert_eq!(o.status.code(), Some(code), "{to}: {}", String::from_utf8_lossy(&o.stderr));
        assert!(String::from_utf8_lossy(&o.stderr).contains("vigild: cannot "), "{to}");
    }
}

#[test]
fn stdout_is_the_library_s_bytes_and_the_manifest_lists_the_attacks() {
    let dir = tempfile::tempdir().expect("a folder");
    let (manifest, report) = (dir.path().join("m"), dir.path().join("r"));
    let o = run(&[
        "--format",
        "ossec",
        "--count",
        "200",
        "--seed",
        "9",
        "--attacks",
        "6",
        "--manifest",
        &manifest.display().to_string(),
        "--report",
        &report.display().to_string(),
    ]);
    assert!(o.status.success());
    let recipe = Recipe { seed: 9, attacks: Attacks::Number(6), ..one(Form::Ossec, 200) };
    let (bytes, planted) = made(&recipe, 0);
    assert_eq!(o.stdout, bytes);
    let lines = std::fs::read_to_string(manifest).expect("a manifest");
    let read: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(read.len(), 6);
    for (v, p) in read.iter().zip(&planted) {
        assert_eq!((v["rule"].as_str(), v["key"][p.key.0].as_str()), (Some(p.rule), Some(p.key.1.as_str())));
    }
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).expect("a report")).expect("JSON");
    assert_eq!((report["records"].as_u64(), report["bytes"].as_u64()), (Some(200), Some(bytes.len() as u64)));
}

/// Reads the frames of octet counting.
fn frames(mut b: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !b.is_empty() {
        let blank = memchr::memchr(b' ', b).expect("a count");
        let n: usize = std::str::from_utf8(&b[..blank]).expect("digits").parse().expect("a number");
        all.push(&b[blank + 1..blank + 1 + n]);
        b = &b[blank + 1 + n..];
    }
    all
}

#[test]
fn tcp_brings_every_record_in_either_framing() {
    let s = setting();
    let mut w = Worker::new(s.rules.clone(), &s.formats, s.estate.clone(), Options::default());
    for (framing, forms) in [("lf", &["suricata", "fail2ban"][..]), ("octet", &["falco", "fail2ban", "ossec", "ossec-json", "modsecurity-native"])] {
        let l = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = format!("tcp://{}", l.local_addr().expect("an address"));
        let mut args = vec!["--to", &to, "--framing", framing, "--connections", "2", "--count", "1001"];
        forms.iter().for_each(|f| args.extend(["--format", f]));
        let child = vigild(&args).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut seen = BTreeMap::new();
        for _ in 0..2 {
            let (mut c, mut bytes) = (l.accept().expect("a connection").0, Vec::new());
            c.read_to_end(&mut bytes).expect("to its end");
            let records: Vec<&[u8]> = if framing == "lf" { bytes.split(|b| *b == b'\n').filter(|r| !r.is_empty()).collect() } else { frames(&bytes) };
            let mut batch = Batch::default();
            for (i, r) in records.iter().enumerate() {
                let (stream, n) = number_of(r).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(r)));
                assert_eq!(n, i as u64 + 1);
                *seen.entry(stream).or_insert(0) += 1;
                batch.push(r, false);
            }
            let ctx = Context { zone: &jiff::tz::TimeZone::UTC, near: START, named: false, estate: &s.estate };
            let origin = Origin { ctx, format: None, stream: "load", lateness: FILE_LATENESS, received: None };
            for &r in &batch.records {
                let (seen, _) = w.parse(&batch, r, &origin, &mut Row::default());
                assert!(!seen.error && matches!(seen.format, Some(Format::Native(_))), "{}", String::from_utf8_lossy(batch.record(r)));
            }
        }
        let o = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&o.stderr).into_owned();
        assert!(o.status.success() && said.starts_with("1001 records, "), "{said}");
        assert_eq!(seen, BTreeMap::from([(0, 501), (1, 500)]));
    }
}

#[test]
fn a_connection_that_breaks_says_how_much_was_written() {
    let l = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("tcp://{}", l.local_addr().expect("an address"));
    let child = vigild(&["--to", &to, "--duration", "30s"]).stderr(Stdio::piped()).spawn().expect("it starts");
    let (mut c, mut some) = (l.accept().expect("a connection").0, [0; 1000]);
    c.read_exact(&mut some).expect("some");
    // What is unread makes the close a reset.
    drop(c);
    let o = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&o.stderr).into_owned();
    assert_eq!(o.status.code(), Some(5), "{said}");
    assert!(said.contains("broke after ") && said.contains(" records, "), "{said}");
}

#[test]
fn udp_brings_a_record_in_each_datagram_at_the_rate_asked_for() {
    let u = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    u.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let to = format!("udp://{}", u.local_addr().expect("an address"));
    let begun = std::time::Instant::now();
    let mut child =
        vigild(&["--to", &to, "--format", "ossec", "--count", "200", "--rate", "400/s"]).stderr(Stdio::null()).spawn().expect("it starts");
    let mut buffer = [0; 65536];
    for i in 1..=200 {
        let n = u.recv(&mut buffer).expect("a datagram");
        assert_eq!(number_of(&buffer[..n]), Some((0, i)));
    }
    let took = begun.elapsed();
    assert!(child.wait().expect("it ends").success());
    assert!((Duration::from_millis(450)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

/// Reads a request: its head and its body.
fn request(r: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if r.read_line(&mut head).expect("a line") == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).and_then(|l| l.parse().ok()).expect("a length");
    let mut body = vec![0; length];
    r.read_exact(&mut body).expect("a body");
    Some((head, body))
}

#[test]
fn http_repeats_a_request_under_its_key_until_it_is_accepted_and_counts_what_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let token = dir.path().join("token");
    std::fs::write(&token, "secret\n").expect("written");
    let l = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("http://{}/api/v1/ingest/suricata", l.local_addr().expect("an address"));
    let args = ["--to", &to, "--format", "suricata", "--count", "250", "--batch", "100", "--token-file", &token.display().to_string()];
    let child = vigild(&args).stderr(Stdio::piped()).spawn().expect("it starts");
    let (mut keys, mut taken) = (Vec::new(), 0);
    // Refused, then cut off without an answer, then taken.
    let mut told = 0;
    while taken < 250 {
        let mut c = l.accept().expect("a connection").0;
        let mut r = BufReader::new(c.try_clone().expect("a socket"));
        while let Some((head, body)) = request(&mut r) {
            assert!(head.contains("authorization: Bearer secret\r\n"), "{head}");
            keys.push(head.lines().find_map(|l| l.strip_prefix("idempotency-key: ")).expect("a key").to_owned());
            told += 1;
            match told {
                1 => c.write_all(b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n").expect("sent"),
                2 => break,
                _ => {
                    let n = memchr::memchr_iter(b'\n', &body).count();
                    taken += n;
                    let answer = format!("{{\"accepted\":{n}}}");
                    c.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).as_bytes()).expect("sent");
                }
            }
        }
    }
    let o = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&o.stderr).into_owned();
    assert!(o.status.success() && said.contains("250 acknowledged, 2 requests repeated"), "{said}");
    assert_eq!(keys.len(), 5);
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3] && keys[3] != keys[4], "{keys:?}");
}

#[test]
fn http_that_is_refused_for_good_ends_with_5_and_the_answer() {
    let l = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("http://{}/api/v1/ingest/suricata", l.local_addr().expect("an address"));
    let child = vigild(&["--to", &to]).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut c = l.accept().expect("a connection").0;
    request(&mut BufReader::new(c.try_clone().expect("a socket"))).expect("a request");
    c.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 8\r\n\r\nno\x1btoken").expect("sent");
    let o = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&o.stderr).into_owned();
    assert_eq!(o.status.code(), Some(5), "{said}");
    assert!(said.contains("answered 401: no\u{fffd}token") && said.contains("after 0 records"), "{said}");
}
