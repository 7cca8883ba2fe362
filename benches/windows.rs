//! What a hit costs that goes through the engine into a window, with a million keys: `cargo bench --bench windows`.
//!
//! Rows are made before the clock starts; matching, waiting for the watermark, the window and expiry are in the figure.
//! Keys are random, the worst case for caches. How often each rule fires is checked against an exact count.

mod cpu;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use vigild::engine::{Engine, Meta, Options, Output};
use vigild::event::{Arena, Event, Schema, Slot, Span, Stretch, Timestamp, field};
use vigild::parse::Estate;
use vigild::rule::load;
use vigild::worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: usize = 4_000_000;
const WITHIN: i64 = 60_000_000_000;
fn random(x: &mut u64) -> u64 {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    *x
}

/// Resident memory in bytes.
fn resident() -> usize {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    s.split(' ').nth(1).and_then(|v| v.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// How often five matches (or five different values) lie within a window, from a plain reading.
fn exact(keys: &[(u32, u32)], step: i64, distinct: bool) -> usize {
    let mut seen: HashMap<u32, VecDeque<(i64, u32)>> = HashMap::new();
    let mut fired = 0;
    for (i, &(k, v)) in keys.iter().enumerate() {
        let now = i as i64 * step;
        let q = seen.entry(k).or_default();
        while q.front().is_some_and(|x| x.0 <= now - WITHIN) {
            q.pop_front();
        }
        q.push_back((now, v));
        let n = if distinct {
            let mut values: Vec<u32> = q.iter().map(|x| x.1).collect();
            values.sort_unstable();
            values.dedup();
            values.len()
        } else {
            q.len()
        };
        fired += (n >= 5) as usize;
    }
    fired
}

fn main() {
    println!("{:<10} {:>10} {:>10} {:>9} {:>12} {:>14}", "kind", "keys", "live", "ns/hit", "bytes/key", "reckoned/key");
    for keys in [100_000u32, 1_600_000] {
        for (name, window) in [
            ("count", r#"count = { at_least = 5, within = "60s" }"#),
            ("distinct", r#"distinct = { field = "source.port", at_least = 5, within = "60s" }"#),
        ] {
            let text = format!(
                "[[rule]]\nid = \"w\"\ntitle = \"Window\"\nseverity = \"low\"\nwhere = 'event.action == \"found\"'\nby = [\"client.ip\"]\n{window}\n\
                 rearm = \"every\"\nkeys = 10_000_000\n"
            );
            // A window sees each key once on average, so few of them fire and two in three are live.
            let step = WITHIN / keys as i64;
            let (set, said) = load::load(&[("w.toml".to_owned(), text)], &Estate::default(), Schema::default(), &|_| Err(String::new()));
            assert!(set.rules.len() == 1, "{said:?}");
            let (set, estate) = (Arc::new(set), Arc::new(Estate::default()));
            let layout = Arc::new(worker::layout(&set));
            let mut engine = Engine::new(set, layout.clone(), estate, Options { budget: 8 << 30, ..Options::default() });
            let mut x = 88_172_645_463_325_252;
            let input: Vec<(u32, u32)> = (0..EVENTS).map(|_| ((random(&mut x) % keys as u64) as u32, (random(&mut x) % 60_000) as u32 + 1)).collect();
            let want = exact(&input, step, name == "distinct");
            let (bytes, arena) = (b"found".to_vec(), Arena::default());
            let mut slots = vec![Slot::Missing; layout.len()];
            let slot = |f| layout.slot(f);
            if let Some(i) = slot(field::EVENT_ACTION) {
                slots[i] = Slot::Bytes(Stretch { off: 0, len: 5 });
            }
            let (ts, ip, port) = (slot(field::TIMESTAMP), slot(field::CLIENT_IP), slot(field::SOURCE_PORT));
            let stream = engine.stream("bench", Span::seconds(1));
            let (before, mut out, mut fired, mut live) = (resident(), Vec::new(), 0usize, (0, 0));
            let mut grown = 0;
            let begun = cpu::now();
            for (i, &(k, p)) in input.iter().enumerate() {
                let t = Timestamp(1_795_435_200_000_000_000 + i as i64 * step);
                for (at, s) in [(ts, Slot::Time(t)), (ip, Slot::Ip4(0x0a00_0000 + k)), (port, Slot::Int(p as i64))] {
                    if let Some(at) = at {
                        slots[at] = s;
                    }
                }
                let arrival = engine.arrive(stream, t, None);
                // The record is what an alert's id is made of.
                let record = k.to_le_bytes();
                engine.event(&Event::new(&bytes, &arena, &slots, &layout), &Meta { stream, arrival, seq: i as u64, record: &record }, &mut out);
                fired += out.drain(..).filter(|o| matches!(o, Output::Alert(..) | Output::Joined(..))).count();
                if i == EVENTS - 1 {
                    live = engine.size();
                    grown = resident().saturating_sub(before);
                }
            }
            let ns = (cpu::now() - begun) / EVENTS as f64;
            engine.finish(&mut out);
            fired += out.drain(..).filter(|o| matches!(o, Output::Alert(..) | Output::Joined(..))).count();
            assert_eq!(fired, want, "{name}: fired as often as counted exactly");
            println!("{name:<10} {keys:>10} {:>10} {ns:>9.0} {:>12.0} {:>14.0}", live.0, grown as f64 / live.0 as f64, live.1 as f64 / live.0 as f64);
        }
    }
}
