//! A record to a parsed row as the worker does it: recognition, envelope, parser, enrichment. `cargo bench --bench parsers`.
//!
//! For each format, recognised and with its name given, with the fields that rules of all tools ask for. JSON formats stand beside the
//! time that serde_json takes to validate the same bytes as `IgnoredAny` in the same round. Every record must be taken by
//! its own format.

mod cpu;
mod gen_modsec;
mod gen_sshd;

use std::hint::black_box;
use std::sync::Arc;
use vigild::engine::Options;
use vigild::event::{Batch, Schema, Timestamp};
use vigild::r#gen::{Form, sample};
use vigild::parse::{Context, Estate, Format, declared};
use vigild::rule::load;
use vigild::source::frame::{Framer, MAX_RECORD};
use vigild::worker::{FILE_LATENESS, Origin, Row, Worker};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;

/// Asks for the fields that rules of all five tools ask for.
const RULES: &str = r#"
[[rule]]
id = "fields"
title = "Asks for fields"
severity = "low"
where = '''
event.kind == "none" and event.module == "none" and event.dataset == "none" and event.action == "none" and event.outcome == "none"
and event.category == "none" and event.severity > 1000 and rule.id == "none" and rule.name == "none" and rule.category == "none" and source.ip == "192.0.2.1"
and source.port == 1 and destination.ip == "192.0.2.1" and destination.port == 1 and server.ip == "192.0.2.1" and network.transport == "none"
and network.protocol == "none" and url.original == "none" and url.domain == "none" and url.path == "none" and user_agent.original == "none"
and http.request.method == "none" and http.response.status_code == 1 and dns.question.name == "none" and tls.client.server_name == "none"
and user.name == "none" and host.name == "none" and process.name == "none" and process.command_line == "none" and container.id == "none"
and file.path == "none"'''
by = ["client.ip"]
"#;

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn main() {
    let mut schema = Schema::default();
    let (formats, said) = declared::Formats::load(&vigild::builtin::parsers(), &mut schema);
    assert!(said.is_empty(), "{said:?}");
    let estate = Arc::new(Estate::default());
    let (set, said) = load::load(&[("fields.toml".to_owned(), RULES.to_owned())], &estate, schema, &|_| Err(String::new()));
    assert!(set.rules.len() == 1, "{said:?}");
    let mut worker = Worker::new(Arc::new(set), &formats, estate.clone(), Options::default());
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let zone = jiff::tz::TimeZone::UTC;
    println!(
        "{:<16} {:>6} {:>8} {:>11} {:>11} {:>12} {:>7} {:>12}",
        "format", "bytes", "cut ns", "known ns", "seen ns", "records/s", "MB/s", "/ validate"
    );
    for (name, format, data) in [
        ("eve", "suricata", sample(Form::Suricata, 20_000, 7)),
        ("falco", "falco", sample(Form::Falco, 20_000, 7)),
        ("fail2ban", "fail2ban", sample(Form::Fail2ban, 100_000, 7)),
        ("ossec", "ossec", sample(Form::Ossec, 50_000, 7)),
        ("modsec v3", "modsecurity", sample(Form::Modsecurity, 8_000, 7)),
        ("modsec error", "modsecurity", gen_modsec::error_log(20_000, 7)),
        ("sshd in syslog", "sshd", gen_sshd::sshd(100_000, 7)),
    ] {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let format = Format::named(format, &formats);
        assert!(format.is_some(), "{name}");
        let mut cut = Vec::new();
        let mut batch = Batch::default();
        for _ in 0..ROUNDS {
            batch.clear();
            let mut framer = Framer::new(None, MAX_RECORD);
            let begun = cpu::now();
            data.chunks(128 << 10).for_each(|c| framer.feed(c, &mut batch));
            framer.flush(&mut batch);
            cut.push((cpu::now() - begun) / batch.records.len() as f64);
        }
        let n = batch.records.len() as f64;
        let (mut known, mut seen, mut validate) = (Vec::new(), Vec::new(), Vec::new());
        let json = batch.record(batch.records[0]).first() == Some(&b'{');
        for _ in 0..ROUNDS {
            for (named, times) in [(true, &mut known), (false, &mut seen)] {
                let ctx = Context { zone: &zone, near: Timestamp(1_795_435_200_000_000_000), named, estate: &estate };
                let origin = Origin { ctx, format: format.filter(|_| named), stream: "bench", lateness: FILE_LATENESS, received: None };
                let mut row = Row::default();
                let begun = cpu::now();
                let mut taken = 0u64;
                for &r in &batch.records {
                    let (s, ts) = worker.parse(&batch, r, &origin, &mut row);
                    taken += (s.format == format && !s.error) as u64;
                    black_box(ts);
                }
                times.push((cpu::now() - begun) / n);
                assert_eq!(taken as f64, n, "{name}: every record is taken by its format");
            }
            if json {
                let begun = cpu::now();
                for &r in &batch.records {
                    assert!(black_box(serde_json::from_slice::<serde::de::IgnoredAny>(batch.record(r))).is_ok());
                }
                validate.push((cpu::now() - begun) / n);
            }
        }
        let (known, seen) = (median(known), median(seen));
        let bytes = batch.bytes.len() as f64 / n;
        println!(
            "{name:<16} {bytes:>6.0} {:>8.0} {known:>11.0} {seen:>11.0} {:>12.0} {:>7.0} {:>12}",
            median(cut),
            1e9 / seen,
            bytes * 1e3 / seen,
            if json { format!("{:.2}", seen / median(validate)) } else { String::new() }
        );
    }
}
