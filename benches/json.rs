//! Scan and normalise against the time that serde_json takes to validate the same bytes, in one run.

use std::hint::black_box;
use vigild::event::{Arena, Batch, Event, Field, Layout, Out, Schema, Slot, Timestamp, field as f};
use vigild::r#gen::{Form, sample};
use vigild::parse::{Context, Estate, falco, suricata};

const HOT: &[Field] = &[
    f::TIMESTAMP,
    f::EVENT_MODULE,
    f::EVENT_DATASET,
    f::EVENT_KIND,
    f::EVENT_CATEGORY,
    f::EVENT_ACTION,
    f::EVENT_SEVERITY,
    f::RULE_ID,
    f::RULE_NAME,
    f::RULE_CATEGORY,
    f::SOURCE_IP,
    f::SOURCE_PORT,
    f::DESTINATION_IP,
    f::DESTINATION_PORT,
    f::CLIENT_IP,
    f::SERVER_IP,
    f::NETWORK_TRANSPORT,
    f::NETWORK_PROTOCOL,
    f::NETWORK_BYTES,
    f::URL_DOMAIN,
    f::URL_ORIGINAL,
    f::USER_AGENT_ORIGINAL,
    f::HTTP_REQUEST_METHOD,
    f::HTTP_RESPONSE_STATUS_CODE,
    f::DNS_QUESTION_NAME,
    f::TLS_CLIENT_SERVER_NAME,
    f::SURICATA_FLOW_ID,
    f::HOST_NAME,
    f::USER_NAME,
    f::PROCESS_NAME,
    f::PROCESS_COMMAND_LINE,
    f::CONTAINER_ID,
    f::FILE_PATH,
];

fn batch(lines: &[u8]) -> Batch {
    let mut b = Batch::default();
    for l in lines.split(|c| *c == b'\n').filter(|l| !l.is_empty()) {
        b.push(l, false);
    }
    b
}

fn validate(b: &Batch) -> f64 {
    let start = vigild::clock::monotonic();
    for r in &b.records {
        black_box(serde_json::from_slice::<serde::de::IgnoredAny>(b.record(*r)).expect("generated records are JSON"));
    }
    start.elapsed().as_nanos() as f64 / b.records.len() as f64
}

fn median(v: &mut [f64]) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn main() {
    let schema = Schema::default();
    let layout = Layout::of(&schema, HOT.iter().copied());
    let (zone, estate) = (jiff::tz::TimeZone::UTC, Estate::default());
    let ctx = Context { zone: &zone, near: Timestamp::new(1_795_435_200, 0).unwrap_or_default(), named: false, estate: &estate };
    println!("{:<8} {:>6} {:>12} {:>12} {:>7} {:>7}", "", "bytes", "validate ns", "parse ns", "ratio", "fields");
    for (name, lines) in [("eve", sample(Form::Suricata, 20_000, 7)), ("falco", sample(Form::Falco, 20_000, 7))] {
        let b = batch(&lines);
        let mut eve = suricata::Parser::new(&schema, &layout);
        let mut falco = falco::Parser::new(&schema, &layout);
        let (mut arena, mut slots) = (Arena::default(), vec![Slot::Missing; layout.len()]);
        let mut fields = 0usize;
        let mut run = |count: bool| {
            let start = vigild::clock::monotonic();
            for (i, r) in b.records.iter().enumerate() {
                if i % 256 == 0 {
                    arena.clear();
                }
                let mut out = Out::new(&b.bytes, &mut arena, &mut slots, &layout, None);
                let done =
                    if name == "eve" { eve.parse(&ctx, None, b.record(*r), &mut out) } else { falco.parse(&ctx, None, b.record(*r), &mut out) };
                assert!(done.is_ok(), "a generated record did not parse: {done:?}");
                black_box(&slots);
                if count {
                    let e = Event::new(&b.bytes, &arena, &slots, &layout);
                    fields += layout.fields().iter().filter(|f| !e.get(**f).is_missing()).count();
                }
            }
            start.elapsed().as_nanos() as f64 / b.records.len() as f64
        };
        run(true);
        let (mut v, mut p) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            v.push(validate(&b));
            p.push(run(false));
        }
        let (v, p) = (median(&mut v), median(&mut p));
        let n = b.records.len();
        let mean = fields as f64 / n as f64;
        println!("{name:<8} {:>6} {v:>12.0} {p:>12.0} {:>7.2} {mean:>7.1}", lines.len() / n, p / v);
        assert!(mean > 10.0, "too few fields were found: {mean}");
    }
}
