//! `vigild sources`: every source of the running daemon, what it takes and drops, and in words what is wrong with it.

use super::ask::Target;
use super::{Failure, print, safe};
use crate::clock;
use crate::event::{Timestamp, time};
use clap::ValueEnum;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// The daemon may take so long for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// One record in so many that no parser takes is worth a word.
const FAILURES: u64 = 20;
const HEADER: [&str; 9] = ["NAME", "KIND", "RECORDS", "BYTES", "DROPPED", "PARSED", "LAG", "LAST EVENT", "SKEW"];

/// Shows the sources of the running daemon: what each takes and drops, its last event, and what seems wrong.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Ndjson,
}

/// Asks `GET /api/v1/sources`.
///
/// Errors: 4 without the right token, 5 where the daemon does not answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let answer = args.target.ask("GET", "/api/v1/sources", PATIENCE)?;
    let v: Value = serde_json::from_str(&answer).map_err(|_| Failure::Unreachable("what answers is not vigild".into()))?;
    let sources = v["sources"].as_array().ok_or_else(|| Failure::Unreachable("what answers is not vigild".into()))?;
    print(&match args.output {
        Output::Table => table(sources, clock::now()),
        Output::Ndjson => sources.iter().map(|s| format!("{s}\n")).collect(),
    })
}

/// The table, and below it a line for each thing that seems wrong.
fn table(sources: &[Value], now: Timestamp) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(sources.iter().map(|s| row(s, now)));
    let width: Vec<usize> = (0..HEADER.len()).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for r in &rows {
        let line: Vec<String> = r.iter().zip(&width).map(|(cell, w)| format!("{cell:w$}")).collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
    }
    let said: String = sources.iter().flat_map(words).fold(String::new(), |all, w| all + &w + "\n");
    if !said.is_empty() {
        let _ = write!(out, "\n{said}");
    }
    out
}

fn number(s: &Value, key: &str) -> u64 {
    s[key].as_u64().unwrap_or(0)
}

fn text(s: &Value, key: &str) -> String {
    s[key].as_str().map_or_else(|| "-".to_owned(), safe)
}

/// Reasons for which records were dropped, with their number.
fn dropped(s: &Value) -> Vec<(String, u64)> {
    let all = s["dropped"].as_object().into_iter().flatten();
    all.filter_map(|(reason, n)| Some((safe(reason), n.as_u64().filter(|n| *n > 0)?))).collect()
}

fn row(s: &Value, now: Timestamp) -> [String; 9] {
    let (records, failures) = (number(s, "records"), number(s, "parse_errors"));
    let reasons: Vec<String> = dropped(s).into_iter().map(|(r, n)| format!("{r} {n}")).collect();
    let parsed = match records {
        0 => "-".to_owned(),
        // Whole percent, rounded down: 100 % is all.
        n => format!("{} %", n.saturating_sub(failures) * 100 / n),
    };
    let last = s["last_event"].as_str().and_then(|t| time::iso(t.as_bytes(), &TimeZone::UTC)).map(|(t, ..)| t);
    let lag = s["lag_seconds"].as_f64().map_or_else(|| "-".to_owned(), seconds);
    let age = last.map_or_else(|| "-".to_owned(), |t| format!("{} ago", seconds(now.0.saturating_sub(t.0).max(0) as f64 / 1e9)));
    let skew = s["zone_off_minutes"].as_i64().map_or_else(|| "-".to_owned(), |m| format!("{m:+} min"));
    let dropped = if reasons.is_empty() { "0".to_owned() } else { reasons.join(", ") };
    [text(s, "name"), text(s, "kind"), records.to_string(), size(number(s, "bytes")), dropped, parsed, lag, age, skew]
}

/// What seems wrong with a source.
fn words(s: &Value) -> Vec<String> {
    let name = text(s, "name");
    let mut all = Vec::new();
    if let Some(m) = s["zone_off_minutes"].as_i64().filter(|m| *m != 0) {
        let way = if m < 0 { "behind" } else { "ahead of" };
        all.push(format!("{name}: events are {} min {way} their arrival: its zone is probably wrong; set `zone`", m.unsigned_abs()));
    }
    if s["silent"].as_bool() == Some(true) {
        let after = s["silent_after_seconds"].as_f64().unwrap_or(0.0);
        all.push(format!("{name}: it has sent nothing for longer than its `silent_after` of {}", seconds(after)));
    }
    for (reason, n) in dropped(s) {
        all.push(format!("{name}: {n} record{} dropped, {}", if n == 1 { "" } else { "s" }, why(&reason)));
    }
    let (records, failures) = (number(s, "records"), number(s, "parse_errors"));
    if failures > 0 && failures.saturating_mul(FAILURES) >= records {
        all.push(format!("{name}: {failures} of {records} records were taken by no parser; is its `format` right?"));
    }
    all
}

/// What a reason means.
fn why(reason: &str) -> &str {
    match reason {
        "queue" => "since the queue was full and the sender cannot be told to wait; see `[limits] queue_bytes`",
        "kernel" => "since the kernel's receive buffer was full; see `[limits] udp_buffer_bytes`",
        "sender" => "since their sender is not in the source's `allow`",
        "disk" => "since the disk was full",
        other => other,
    }
}

fn seconds(s: f64) -> String {
    match s {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

fn size(n: u64) -> String {
    match n {
        n if n < 1 << 10 => format!("{n} B"),
        n if n < 1 << 20 => format!("{:.1} KiB", n as f64 / 1024.0),
        n if n < 1 << 30 => format!("{:.1} MiB", n as f64 / (1u64 << 20) as f64),
        n => format!("{:.1} GiB", n as f64 / (1u64 << 30) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::time::SECOND;
    use serde_json::json;

    #[test]
    fn a_table_and_in_words_what_is_wrong() {
        let sources = [
            json!({ "name": "lan", "kind": "syslog", "records": 100, "bytes": 2048, "parse_errors": 0, "dropped": { "queue": 0 }, "lag_seconds": 0.5,
                    "last_event": "2023-11-14T22:13:10Z", "zone_off_minutes": null, "silent": false }),
            json!({ "name": "old\u{1b}[2J", "kind": "file", "records": 100, "bytes": 5, "parse_errors": 80, "dropped": { "queue": 3, "kernel": 1 },
                    "lag_seconds": 7200.0, "last_event": null, "zone_off_minutes": -120, "silent": true, "silent_after_seconds": 300.0 }),
            json!({ "name": "new", "kind": "http", "zone_off_minutes": 30 }),
        ];
        let shown = table(&sources, Timestamp(1_700_000_000 * SECOND));
        let want = [
            "NAME     KIND    RECORDS  BYTES    DROPPED            PARSED  LAG    LAST EVENT  SKEW",
            "lan      syslog  100      2.0 KiB  0                  100 %   0.5 s  10 s ago    -",
            "old\u{fffd}[2J  file    100      5 B      queue 3, kernel 1  20 %    2 h    -           -120 min",
            "new      http    0        0 B      0                  -       -      -           +30 min",
            "",
            "old\u{fffd}[2J: events are 120 min behind their arrival: its zone is probably wrong; set `zone`",
            "old\u{fffd}[2J: it has sent nothing for longer than its `silent_after` of 5 min",
            "old\u{fffd}[2J: 3 records dropped, since the queue was full and the sender cannot be told to wait; see `[limits] queue_bytes`",
            "old\u{fffd}[2J: 1 record dropped, since the kernel's receive buffer was full; see `[limits] udp_buffer_bytes`",
            "old\u{fffd}[2J: 80 of 100 records were taken by no parser; is its `format` right?",
            "new: events are 30 min ahead of their arrival: its zone is probably wrong; set `zone`",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn anything_that_is_json_is_shown_without_a_panic() {
        for s in [json!(1), json!({}), json!({ "name": 3, "dropped": [1], "records": -1, "zone_off_minutes": i64::MIN, "lag_seconds": "x" })] {
            assert!(table(&[s], Timestamp(0)).lines().count() >= 2);
        }
    }
}
