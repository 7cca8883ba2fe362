//! How fast the text formats are read, on one core: `cargo bench --bench text`.
//!
//! Each figure is the median of nine rounds over the same records with the fields that shipped rules ask for; before a
//! figure is printed, what came out is counted and compared with what went in.

use std::hint::black_box;
use vigild::event::{Arena, Batch, Event, Layout, Out, Schema, Slot, field as f};
use vigild::r#gen::{Form, sample};
use vigild::parse::{Context, Estate, fail2ban, ossec};

const ROUNDS: usize = 9;

/// Records to parse before the arena is emptied, about what a batch holds.
const BATCH: usize = 2000;

fn batches(bytes: &[u8], starts: &[usize]) -> Vec<Batch> {
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    let records: Vec<&[u8]> = starts.iter().zip(ends).map(|(&a, b)| bytes[a..b].trim_ascii_end()).collect();
    records
        .chunks(BATCH)
        .map(|c| {
            let mut b = Batch::default();
            c.iter().for_each(|r| b.push(r, false));
            b
        })
        .collect()
}

/// Runs all rounds of a parser and prints its speed; `check` sees every event of one more round.
fn measure(
    name: &str,
    unit: &str,
    batches: &[Batch],
    layout: &Layout,
    mut parse: impl FnMut(&[u8], &mut Out<'_>) -> bool,
    mut check: impl FnMut(&Event<'_>),
) {
    let (mut arena, mut slots) = (Arena::default(), vec![Slot::Missing; layout.len()]);
    let mut round = |check: &mut dyn FnMut(&Event<'_>)| {
        let mut n = 0u64;
        for b in batches {
            arena.clear();
            for &r in &b.records {
                let mut out = Out::new(&b.bytes, &mut arena, &mut slots, layout, None);
                n += u64::from(parse(b.record(r), &mut out));
                check(&Event::new(&b.bytes, &arena, &slots, layout));
            }
        }
        n
    };
    let total: u64 = batches.iter().map(|b| b.records.len() as u64).sum();
    assert_eq!(round(&mut check), total, "{name}: every record parses");
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let t = vigild::clock::monotonic();
            black_box(round(&mut |e| {
                black_box(e);
            }));
            t.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let s = seconds[ROUNDS / 2];
    let bytes: usize = batches.iter().map(|b| b.bytes.len()).sum();
    println!(
        "{name:10} {:>12.0} {unit}/s   {:>7.1} ns each   {:>6.0} MB/s   median of {ROUNDS}",
        total as f64 / s,
        s * 1e9 / total as f64,
        bytes as f64 / s / 1e6
    );
}

fn main() {
    let schema = Schema::default();
    let asked = [
        f::TIMESTAMP,
        f::EVENT_MODULE,
        f::EVENT_DATASET,
        f::EVENT_KIND,
        f::EVENT_CATEGORY,
        f::EVENT_ACTION,
        f::EVENT_OUTCOME,
        f::EVENT_SEVERITY,
        f::RULE_ID,
        f::RULE_NAME,
        f::SOURCE_IP,
        f::CLIENT_IP,
        f::USER_NAME,
        f::HOST_NAME,
        f::FILE_PATH,
        f::MESSAGE,
    ];
    let layout = Layout::of(&schema, asked);
    let (zone, estate) = (jiff::tz::TimeZone::UTC, Estate::default());
    let ctx = Context { zone: &zone, near: vigild::event::Timestamp(1_795_435_200_000_000_000), named: false, estate: &estate };

    let bytes = sample(Form::Fail2ban, 400_000, 1);
    let starts: Vec<usize> = std::iter::once(0).chain(memchr::memchr_iter(b'\n', &bytes).map(|i| i + 1)).filter(|&i| i < bytes.len()).collect();
    let input = batches(&bytes, &starts);
    let mut p = fail2ban::Parser::new(&schema, &layout);
    let mut seen = [0usize; 4];
    let actions = ["found", "ban", "unban", "already-banned"];
    measure(
        "fail2ban",
        "lines",
        &input,
        &layout,
        |r, out| fail2ban::Parser::recognise(None, r) && p.parse(&ctx, None, r, out).is_ok(),
        |e| {
            if let Some(i) = actions.iter().position(|a| e.get(f::EVENT_ACTION).str() == Some(a.as_bytes())) {
                seen[i] += 1;
            }
        },
    );
    let marks = ["] Found ", "] Ban ", "] Unban ", " already banned\n"];
    assert_eq!(seen, marks.map(|m| memchr::memmem::find_iter(&bytes, m).count()), "each action as often as its word");

    let bytes = sample(Form::Ossec, 200_000, 1);
    let starts: Vec<usize> = memchr::memmem::find_iter(&bytes, "** Alert ").collect();
    let input = batches(&bytes, &starts);
    let mut p = ossec::Parser::new(&schema, &layout);
    let mut seen = [0usize; 5];
    let rules = ["5710", "5715", "5503", "31103", "550"];
    measure(
        "ossec",
        "blocks",
        &input,
        &layout,
        |r, out| ossec::Parser::recognise(None, r) && p.parse(&ctx, None, r, out).is_ok(),
        |e| {
            if let Some(i) = rules.iter().position(|a| e.get(f::RULE_ID).str() == Some(a.as_bytes())) {
                seen[i] += 1;
            }
        },
    );
    assert_eq!(seen, rules.map(|m| memchr::memmem::find_iter(&bytes, &format!("\nRule: {m} ")).count()), "each rule as often as its line");
}
