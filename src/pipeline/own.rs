//! The daemon's own alerts: what it has to say about itself, in the shape of every other alert.
//!
//! One is open for each kind and key for a day from its first line; while more comes it is told again, at most once a
//! minute, under the same id. Only `vigild run` writes them.

use super::Source;
use super::evaluate::Sources;
use super::tell::Tale;
use crate::alert::Step;
use crate::event::json::Tree;
use crate::event::{Span, Timestamp};
use crate::metrics::Metrics;
use crate::rule::Severity;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// How long a recurrence joins the open alert.
const OPEN: Span = Span::seconds(86_400);
/// How often an open alert is told again.
const AGAIN: Span = Span::seconds(60);
/// Parse failures are looked at over this span.
const SPAN: Span = Span::seconds(60);
/// So many failures in [`SPAN`], and one record in so many, make an alert: a stray line is none.
const FAILURES: (u64, u64) = (10, 20);

/// What is watched, and what has been said.
pub struct Own {
    sources: Sources,
    watched: Vec<Watched>,
    seen: BTreeMap<(&'static str, String), u64>,
    open: BTreeMap<(&'static str, String), Open>,
}

struct Watched {
    source: Arc<Source>,
    dropped: u64,
    late: u64,
    /// Records and failures when the span of parse failures began.
    begin: (Timestamp, u64, u64),
    /// Records when they were last seen to move, when that was, and whether the silence since then has been told.
    heard: (u64, Timestamp, bool),
}

struct Open {
    first: Timestamp,
    told: Timestamp,
    count: u64,
    /// Counted, and not told yet.
    more: bool,
}

impl Own {
    /// Nothing said yet, of these sources and those that join them.
    pub fn new(sources: Sources) -> Own {
        Own { sources, watched: Vec::new(), seen: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// So much had been given up, by rule, when this began.
    pub fn begin(&mut self, evicted: &[(String, u64)], stormed: &[(String, u64)]) {
        for (id, all) in [("vigild-eviction", evicted), ("vigild-rule-storm", stormed)] {
            self.seen.extend(all.iter().map(|(rule, n)| ((id, rule.clone()), *n)));
        }
    }

    /// An alert of before the start is still open: the line that was told of it.
    pub fn reopen(&mut self, line: &[u8]) {
        let Ok(v) = serde_json::from_slice::<serde_json::Value>(line) else { return };
        let text = |p: &str| v.pointer(p).and_then(|t| t.as_str());
        let (Some(rule), Some(first)) =
            (text("/rule/id"), text("/alert/first").and_then(|t| Some(crate::event::time::iso(t.as_bytes(), &jiff::tz::TimeZone::UTC)?.0)))
        else {
            return;
        };
        let key = v.pointer("/alert/key").and_then(|k| k.as_object()?.values().next()?.as_str());
        let count = v.pointer("/alert/count").and_then(|c| c.as_u64()).unwrap_or(0);
        if let (Some((id, ..)), Some(key)) = (KINDS.iter().find(|k| k.0 == rule), key) {
            self.open.insert((id, key.to_owned()), Open { first, told: first, count, more: false });
        }
    }

    /// Looks at all counters; `evicted` is the groups given up so far, by rule, `stormed` the matches beyond
    /// what a rule may open.
    pub fn tick(&mut self, now: Timestamp, evicted: &[(String, u64)], stormed: &[(String, u64)], metrics: &Metrics, tales: &mut Vec<Tale>) {
        let mut said = Vec::new();
        self.follow(now);
        for w in &mut self.watched {
            let (m, name) = (&w.source.metrics, &w.source.name);
            let (dropped, late) = (m.dropped(), m.late.get());
            said.push(("vigild-source-drops", name.clone(), dropped - w.dropped));
            said.push(("vigild-late-events", name.clone(), late - w.late));
            (w.dropped, w.late) = (dropped, late);
            let (records, failures) = (m.records.get(), m.parse_errors.get());
            let new = (records.saturating_sub(w.begin.1), failures.saturating_sub(w.begin.2));
            if new.1 >= FAILURES.0 && new.1 * FAILURES.1 >= new.0 {
                said.push(("vigild-parse-failures", name.clone(), new.1));
                w.begin = (now, records, failures);
            } else if now >= w.begin.0.plus(SPAN) {
                w.begin = (now, records, failures);
            }
            if records != w.heard.0 {
                w.heard = (records, now, false);
            } else if let Some(after) = w.source.silent_after
                && !w.heard.2
                && now >= w.heard.1.plus(Span(after.as_nanos().min(i64::MAX as u128) as i64))
            {
                w.heard.2 = true;
                said.push(("vigild-source-silent", name.clone(), 1));
            }
            w.source.sight.set_silent(w.heard.2);
        }
        let by_rule = [("vigild-eviction", evicted), ("vigild-rule-storm", stormed)];
        for (id, (rule, n)) in by_rule.iter().flat_map(|(id, all)| all.iter().map(move |one| (*id, one))) {
            let before = self.seen.insert((id, rule.clone()), *n).unwrap_or(0);
            // A rule that means something else now counts anew.
            let more = n.checked_sub(before).unwrap_or(*n);
            if id == "vigild-eviction" {
                metrics.evictions(rule, more);
            }
            said.push((id, rule.clone(), more));
        }
        for (id, key, n) in said {
            if n > 0 {
                self.count(id, key, n, now, metrics);
            }
        }
        self.open.retain(|(id, key), o| {
            if o.more && (o.told == Timestamp::MIN || now >= o.told.plus(AGAIN)) {
                o.told = now;
                o.more = false;
                tales.push(tale(id, key, o.first, now, o.count));
            }
            o.more || now < o.first.plus(OPEN)
        });
    }

    /// Watches the sources that there are now.
    fn follow(&mut self, now: Timestamp) {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        self.watched.retain(|w| sources.iter().any(|s| Arc::ptr_eq(s, &w.source)));
        for s in sources.iter().filter(|s| !self.watched.iter().any(|w| Arc::ptr_eq(s, &w.source))).cloned().collect::<Vec<_>>() {
            // What happened before this is told; the silence of a source begins when it is first looked at.
            let m = &s.metrics;
            let first = self.watched.capacity() == 0;
            let now_is = [m.dropped(), m.late.get(), m.records.get(), m.parse_errors.get()];
            let [dropped, late, records, failures] = if first { [0; 4] } else { now_is };
            self.watched.push(Watched { dropped, late, begin: (Timestamp::MIN, records, failures), heard: (m.records.get(), now, false), source: s });
        }
    }

    fn count(&mut self, id: &'static str, key: String, n: u64, now: Timestamp, metrics: &Metrics) {
        let o = self.open.entry((id, key)).or_insert_with(|| {
            metrics.alert(id, "medium");
            Open { first: now, told: Timestamp::MIN, count: 0, more: false }
        });
        o.count += n;
        o.more = true;
    }
}

/// Rule, title, what the key names, and what is counted.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("vigild-source-drops", "A source loses records", "source", "records of the source were dropped; see vigild_records_dropped_total"),
    ("vigild-late-events", "Events come too late", "source", "events of the source came after their windows had closed; raise its `lateness`"),
    ("vigild-parse-failures", "Records do not parse", "source", "records of the source were taken by no parser; is its `format` right?"),
    ("vigild-source-silent", "A source has fallen silent", "source", "times the source sent nothing for its `silent_after`"),
    ("vigild-rule-storm", "A rule opens too many alerts", "rule", "matches beyond the rule's `max_alerts` an hour joined its newest alert"),
    (
        "vigild-eviction",
        "The engine gives up state",
        "rule",
        "groups of the rule were given up for want of room; raise `[state] budget` or the rule's `keys`",
    ),
];

fn tale(id: &'static str, key: &str, first: Timestamp, last: Timestamp, count: u64) -> Tale {
    let (_, title, of, what) = KINDS.iter().find(|k| k.0 == id).unwrap_or(&KINDS[0]);
    let mut line = Vec::new();
    let hash = blake3::hash(format!("{id}\0{key}\0{}", first.0).as_bytes());
    let (hash_bytes, hash) = (*hash.as_bytes(), hash.to_hex());
    let mut t = Tree::default();
    let text = |v: String| v.into_bytes();
    t.str("@timestamp", &first.to_string());
    t.str("event.kind", "alert");
    t.str("event.module", "vigild");
    t.str("event.id", &hash.as_str()[..32]);
    t.put("event.severity", text("47".into()));
    t.str("rule.id", id);
    t.str("rule.name", title);
    t.str("rule.version", env!("CARGO_PKG_VERSION"));
    t.str("alert.severity", "medium");
    t.put("alert.risk", text("47".into()));
    t.put("alert.key", text(format!("{{\"{of}\":{}}}", serde_json::Value::from(key))));
    t.put("alert.count", text(count.to_string()));
    t.str("alert.first", &first.to_string());
    t.str("alert.last", &last.to_string());
    t.str("alert.status", "open");
    t.put("alert.final", text("true".into()));
    t.put("alert.evidence", text("[]".into()));
    t.str("message", &format!("{key}: {count} {what}"));
    t.write(&mut line);
    let mut name = [0; 16];
    name.copy_from_slice(&hash_bytes[..16]);
    Tale {
        id: name,
        step: Step::Final,
        line,
        ts: first,
        rule: Arc::from(id),
        severity: Severity::Medium,
        signal: false,
        is_final: true,
        evidence: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::time::SECOND;
    use crate::metrics::Reason;
    use std::sync::RwLock;

    type Do = fn(&Source);

    /// Runs ticks, each after something has been counted, and gives `rule count id-number` of each line.
    fn check(steps: &[(i64, Do)], evicted: &[(String, u64)]) -> Vec<String> {
        told(steps, evicted, None)
    }

    fn told(steps: &[(i64, Do)], evicted: &[(String, u64)], silent_after: Option<std::time::Duration>) -> Vec<String> {
        let metrics = Arc::new(Metrics::default());
        let source = Arc::new(Source { silent_after, ..Source::new("syslog", Span::seconds(60), metrics.source("syslog")) });
        let mut tales = Vec::new();
        let mut own = Own::new(Arc::new(RwLock::new(vec![source.clone()])));
        for (at, step) in steps {
            step(&source);
            own.tick(Timestamp(1_700_000_000 * SECOND).plus(Span::seconds(*at)), evicted, &[], &metrics, &mut tales);
        }
        let mut ids = Vec::new();
        let line = |t: &Tale| {
            let v: serde_json::Value = serde_json::from_slice(&t.line).expect("a line is JSON");
            let id = v["event"]["id"].clone();
            assert_eq!(v["event"]["kind"], "alert");
            let n = ids.iter().position(|i| *i == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            format!("{} {} {n}", v["rule"]["id"].as_str().unwrap_or("?"), v["alert"]["count"])
        };
        tales.iter().map(line).collect()
    }

    #[test]
    fn drops_are_told_at_once_and_again_once_a_minute_under_one_id() {
        let drop_one: Do = |s| s.metrics.drop_records(Reason::Queue, 5);
        assert_eq!(
            check(&[(0, |_| {}), (1, drop_one), (2, drop_one), (30, |_| {}), (61, |_| {}), (62, |_| {})], &[]),
            ["vigild-source-drops 5 0", "vigild-source-drops 10 0"]
        );
    }

    #[test]
    fn a_day_later_it_is_another_alert() {
        let late: Do = |s| {
            s.metrics.late.inc();
        };
        // A record keeps the source from being silent.
        let one: Do = |s| {
            s.metrics.records.inc();
        };
        assert_eq!(check(&[(0, late), (86_400, one), (86_401, late)], &[]), ["vigild-late-events 1 0", "vigild-late-events 1 1"]);
    }

    #[test]
    fn a_stray_line_is_no_parse_failure_and_a_wrong_format_is() {
        let few: Do = |s| {
            s.metrics.records.inc_by(1000);
            s.metrics.parse_errors.inc_by(20);
        };
        let many: Do = |s| {
            s.metrics.records.inc_by(100);
            s.metrics.parse_errors.inc_by(80);
        };
        assert_eq!(check(&[(0, few), (61, |_| {}), (62, many)], &[]), ["vigild-parse-failures 80 0"]);
    }

    #[test]
    fn silence_is_told_once_until_the_source_speaks_again() {
        let one: Do = |s| {
            s.metrics.records.inc();
        };
        let quiet: Do = |_| {};
        assert_eq!(
            told(&[(0, one), (99, quiet), (100, quiet), (300, quiet), (301, one), (401, quiet)], &[], Some(std::time::Duration::from_secs(100))),
            ["vigild-source-silent 1 0", "vigild-source-silent 2 0"]
        );
    }

    #[test]
    fn what_the_engine_gave_up_is_told_by_rule() {
        assert_eq!(check(&[(0, |_| {}), (1, |_| {})], &[("ssh-bruteforce".into(), 3)]), ["vigild-eviction 3 0"]);
    }
}
