//! Every metric, declared once: name, help and labels. Text is in the OpenMetrics format, which Prometheus reads.
//!
//! Counters are cheap to add to and shared by clones; whoever counts holds the counters of its source. What rules feed
//! is in [`Fed`], where names come and go with the rules.

use crate::pipeline::sight::Sight;
use crate::rule::{Metric, MetricKind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::{
    MetricType,
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

type Labels = Vec<(&'static str, String)>;

/// Why a record was dropped. In = `vigild_records_total` + all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The queue was full and the sender cannot be told to wait.
    Queue,
    /// The kernel's receive buffer was full.
    Kernel,
    /// The sender is not on the source's list.
    Sender,
    /// The disk was full.
    Disk,
    /// Gone from the topic before they were read.
    Deleted,
    /// Messages without a value.
    Empty,
}

impl Reason {
    const ALL: [Reason; 6] = [Reason::Queue, Reason::Kernel, Reason::Sender, Reason::Disk, Reason::Deleted, Reason::Empty];

    fn name(self) -> &'static str {
        match self {
            Reason::Queue => "queue",
            Reason::Kernel => "kernel",
            Reason::Sender => "sender",
            Reason::Disk => "disk",
            Reason::Deleted => "deleted",
            Reason::Empty => "empty",
        }
    }
}

/// The counters of one source.
#[derive(Clone, Debug, Default)]
pub struct SourceMetrics {
    /// Records that are durable; the engine may be behind.
    pub records: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Records that no parser took; they are events nevertheless.
    pub parse_errors: Counter,
    /// Records that were cut.
    pub truncated: Counter,
    /// Events that came too late for windows.
    pub late: Counter,
    /// Events whose clock ran ahead.
    pub ahead: Counter,
    /// Connections not taken and files not followed, since the limit is reached or the sender not allowed; bodies not proved.
    pub refused: Counter,
    /// Connections that were closed since they said nothing or broke the protocol or a limit, or files that were cut short by
    /// their writer.
    pub cut_off: Counter,
    /// Open connections or files, or assigned partitions.
    pub open: Gauge,
    /// Seconds by which the last event was behind its arrival.
    pub lag: Gauge<f64, AtomicU64>,
    /// The time of the last event, seconds since 1970.
    pub last_event: Gauge<f64, AtomicU64>,
    /// Seconds, a multiple of 15 minutes, by which all events are ahead of their arrival: a wrong zone.
    pub skew: Gauge<f64, AtomicU64>,
    /// Bytes of files that have not been read yet; of compressed ones, compressed.
    pub lag_bytes: Gauge,
    /// Records of topics that have not been read yet.
    pub lag_records: Gauge,
    /// Records stored here that another member of the consumer group may store again.
    pub repeated: Counter,
    /// Failures of what a source asks of others.
    pub errors: Counter,
    dropped: [Counter; 6],
}

impl SourceMetrics {
    /// Shows what has been seen of the source.
    pub fn show(&self, sight: &Sight) {
        if let Some((event, received)) = sight.last() {
            let seconds = |n: i64| n as f64 / 1e9;
            self.lag.set(seconds(received.0.saturating_sub(event.0)).max(0.0));
            self.last_event.set(seconds(event.0));
            self.skew.set(sight.zone_off().unwrap_or(0) as f64 * 60.0);
        }
    }

    /// Counts records that were dropped.
    pub fn drop_records(&self, reason: Reason, n: u64) {
        self.dropped[reason as usize].inc_by(n);
    }

    /// All that was dropped, by reason.
    pub fn dropped_by_reason(&self) -> Vec<(String, serde_json::Value)> {
        Reason::ALL.iter().map(|r| (r.name().to_owned(), self.dropped[*r as usize].get().into())).collect()
    }

    /// All that was dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }
}

/// What is shown of the index.
#[derive(Clone, Debug, Default)]
pub struct IndexMetrics {
    /// Entries of the journal that are in no slice and not on their way into one.
    pub lag_entries: Gauge,
    /// Seconds since the arrival of the last record that is, if there are others.
    pub lag_seconds: Gauge<f64, AtomicU64>,
    /// Slices.
    pub slices: Gauge,
    /// Documents in them.
    pub docs: Gauge,
    /// Bytes of them on disk.
    pub bytes: Gauge,
    /// Slices that were built.
    pub built: Counter,
    /// Slices that became part of another.
    pub merged: Counter,
    /// Slices that could not be used and were put aside.
    pub damaged: Counter,
    /// Slices that were removed for want of room.
    pub removed: Counter,
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    records: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    parse_errors: Family<Labels, Counter>,
    truncated: Family<Labels, Counter>,
    late: Family<Labels, Counter>,
    ahead: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    cut_off: Family<Labels, Counter>,
    open: Family<Labels, Gauge>,
    lag: Family<Labels, Gauge<f64, AtomicU64>>,
    last_event: Family<Labels, Gauge<f64, AtomicU64>>,
    skew: Family<Labels, Gauge<f64, AtomicU64>>,
    lag_bytes: Family<Labels, Gauge>,
    lag_records: Family<Labels, Gauge>,
    repeated: Family<Labels, Counter>,
    errors: Family<Labels, Counter>,
    dropped: Family<Labels, Counter>,
    alerts: Family<Labels, Counter>,
    evictions: Family<Labels, Counter>,
    http_requests: Family<Labels, Counter>,
    /// Seconds that an fsync of the journal took.
    pub journal_fsync: Histogram,
    /// Bytes of the journal on disk.
    pub journal_bytes: Gauge,
    /// The journal's last entry.
    pub journal_entry: Gauge,
    /// The last entry that has been evaluated.
    pub engine_entry: Gauge,
    /// Entries that are in the journal and not evaluated yet.
    pub engine_lag: Gauge,
    /// Bytes in the journal that are not evaluated yet.
    pub backlog_bytes: Gauge,
    /// Bytes that wait for the engine.
    pub queue_bytes: Gauge,
    /// Bytes set aside for HTTP bodies in flight.
    pub bodies_bytes: Gauge,
    /// Bytes of records that connections have begun and not finished.
    pub connection_bytes: Gauge,
    /// Idempotency keys that are remembered.
    pub keys: Gauge,
    /// Those that were forgotten for want of room before a day had passed.
    pub keys_forgotten: Counter,
    /// Groups in the engine.
    pub groups: Gauge,
    /// What the groups are reckoned at.
    pub state_bytes: Gauge,
    /// Matches that wait for the watermark.
    pub waiting: Gauge,
    limited: Family<Labels, Counter>,
    searches: Family<Labels, Counter>,
    backtests: Family<Labels, Counter>,
    backups: Family<Labels, Counter>,
    /// Matches of alerts that are forgotten.
    pub updates_lost: Counter,
    /// Bytes of alert lines on their way from the engine to where they are written.
    pub alerts_waiting: Gauge,
    /// Alert lines that a sink will not get, since too many waited for it.
    pub alerts_lost: Counter,
    /// Copies of evidence that were not kept: too many, too large, or no room on the disk.
    pub evidence_lost: Counter,
    /// The index.
    pub index: IndexMetrics,
    /// What rules feed.
    pub fed: Arc<Fed>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut r = Registry::default();
        /// Registers a metric under its name without `_total`, which the format appends to counters.
        fn add<M: prometheus_client::registry::Metric + Clone + Default>(r: &mut Registry, name: &str, help: &str) -> M {
            let m = M::default();
            r.register(name, help, m.clone());
            m
        }
        let fed = Arc::new(Fed::default());
        let fsync = Histogram::new(exponential_buckets(0.000_25, 2.0, 15));
        r.register("vigild_journal_fsync_seconds", "Time that an fsync of the journal took", fsync.clone());
        let mut m = Metrics {
            records: add(&mut r, "vigild_records", "Records taken in, by source"),
            bytes: add(&mut r, "vigild_bytes", "Bytes of the records taken in, by source"),
            parse_errors: add(&mut r, "vigild_parse_errors", "Records that no parser took, by source; they are events nevertheless"),
            truncated: add(&mut r, "vigild_records_truncated", "Records longer than the limit, cut, by source"),
            late: add(&mut r, "vigild_late_events", "Events that came after their window had closed, by source"),
            ahead: add(&mut r, "vigild_ahead_events", "Events more than 5 min ahead of their arrival, given its time, by source"),
            refused: add(
                &mut r,
                "vigild_refused",
                "Connections, files and webhooks not taken: a limit is reached, or the sender not allowed or not proved, by source",
            ),
            cut_off: add(
                &mut r,
                "vigild_cut_off",
                "Connections closed for silence, a limit or a broken protocol, and files cut short by their writer, by source",
            ),
            open: add(&mut r, "vigild_open", "Open connections and files, and assigned partitions, by source"),
            lag: add(&mut r, "vigild_source_lag_seconds", "How far the last event was behind its arrival, by source"),
            last_event: add(&mut r, "vigild_source_last_event_seconds", "Time of the last event, seconds since 1970, by source"),
            skew: add(&mut r, "vigild_source_skew_seconds", "Multiple of 15 min by which all events are ahead of their arrival, by source"),
            lag_bytes: add(&mut r, "vigild_source_lag_bytes", "Bytes of files not read yet, by source"),
            lag_records: add(&mut r, "vigild_source_lag_records", "Records of topics not read yet, by source"),
            repeated: add(
                &mut r,
                "vigild_records_repeated",
                "Records stored and not committed when a partition moved, which another member may store again, by source",
            ),
            errors: add(&mut r, "vigild_source_errors", "Failures of what a source asks of others, by source"),
            dropped: add(&mut r, "vigild_records_dropped", "Records dropped, by source and reason"),
            alerts: add(&mut r, "vigild_alerts", "Alerts opened, by rule and severity"),
            evictions: add(&mut r, "vigild_engine_evictions", "Groups with progress given up for want of room, by rule"),
            http_requests: add(&mut r, "vigild_http_requests", "HTTP requests answered, by status"),
            journal_fsync: fsync,
            journal_bytes: add(&mut r, "vigild_journal_bytes", "Bytes of the journal on disk"),
            journal_entry: add(&mut r, "vigild_journal_entry", "Number of the journal's last entry"),
            engine_entry: add(&mut r, "vigild_engine_entry", "Number of the last entry of the journal that has been evaluated"),
            engine_lag: add(&mut r, "vigild_engine_lag_entries", "Entries of the journal that are not evaluated yet"),
            backlog_bytes: add(&mut r, "vigild_backlog_bytes", "Bytes of the journal that are not evaluated yet"),
            queue_bytes: add(&mut r, "vigild_queue_bytes", "Bytes that wait for the engine"),
            bodies_bytes: add(&mut r, "vigild_http_bodies_bytes", "Bytes set aside for HTTP bodies in flight"),
            connection_bytes: add(&mut r, "vigild_connection_bytes", "Bytes of records that connections have begun and not finished"),
            keys: add(&mut r, "vigild_idempotency_keys", "Idempotency keys that are remembered"),
            keys_forgotten: add(&mut r, "vigild_idempotency_keys_forgotten", "Idempotency keys forgotten within a day, since there were too many"),
            groups: add(&mut r, "vigild_engine_groups", "Groups that the engine keeps"),
            state_bytes: add(&mut r, "vigild_engine_state_bytes", "Bytes that the groups are reckoned at"),
            waiting: add(&mut r, "vigild_engine_waiting", "Matches that wait for the watermark"),
            limited: add(&mut r, "vigild_engine_limited", "Matches that met a limit of the engine, by limit"),
            searches: add(&mut r, "vigild_searches", "Searches, by what became of them"),
            backtests: add(&mut r, "vigild_backtests", "Backtests, by what became of them"),
            backups: add(&mut r, "vigild_backups", "Backups, by what became of them"),
            updates_lost: add(&mut r, "vigild_alert_updates_lost", "Matches of alerts so old that they are forgotten"),
            alerts_waiting: add(&mut r, "vigild_alerts_waiting_bytes", "Bytes of alerts not written yet"),
            alerts_lost: add(
                &mut r,
                "vigild_alerts_lost",
                "Alert lines that will not be written, since too many waited; the alerts are in the store",
            ),
            evidence_lost: add(&mut r, "vigild_evidence_lost", "Copies of evidence not kept: too many, too large, or no room on the disk"),
            index: IndexMetrics {
                lag_entries: add(&mut r, "vigild_index_lag_entries", "Entries of the journal that are not indexed yet"),
                lag_seconds: add(&mut r, "vigild_index_lag_seconds", "Time since the last indexed record arrived, while others wait"),
                slices: add(&mut r, "vigild_index_slices", "Slices of the index"),
                docs: add(&mut r, "vigild_index_documents", "Records that are indexed"),
                bytes: add(&mut r, "vigild_index_bytes", "Bytes of the index on disk"),
                built: add(&mut r, "vigild_index_slices_built", "Slices built from the journal"),
                merged: add(&mut r, "vigild_index_slices_merged", "Slices that became part of a larger one"),
                damaged: add(&mut r, "vigild_index_slices_damaged", "Slices put aside since they are not what was written; they are built again"),
                removed: add(&mut r, "vigild_index_slices_removed", "Slices removed since the index or the disk was full"),
            },
            fed: fed.clone(),
            registry: Registry::default(),
        };
        let build = Family::<Labels, Gauge>::default();
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        r.register("vigild_build_info", "The version that runs", build);
        r.register_collector(Box::new(fed));
        m.registry = r;
        m
    }
}

impl Metrics {
    /// The counters of a source; all of them show from now on.
    pub fn source(&self, name: &str) -> SourceMetrics {
        let l: Labels = vec![("source", name.to_owned())];
        let get = |f: &Family<Labels, Counter>| f.get_or_create(&l).clone();
        SourceMetrics {
            records: get(&self.records),
            bytes: get(&self.bytes),
            parse_errors: get(&self.parse_errors),
            truncated: get(&self.truncated),
            late: get(&self.late),
            ahead: get(&self.ahead),
            refused: get(&self.refused),
            cut_off: get(&self.cut_off),
            open: self.open.get_or_create(&l).clone(),
            lag: self.lag.get_or_create(&l).clone(),
            last_event: self.last_event.get_or_create(&l).clone(),
            skew: self.skew.get_or_create(&l).clone(),
            lag_bytes: self.lag_bytes.get_or_create(&l).clone(),
            lag_records: self.lag_records.get_or_create(&l).clone(),
            repeated: get(&self.repeated),
            errors: get(&self.errors),
            dropped: Reason::ALL.map(|r| self.dropped.get_or_create(&vec![("source", name.to_owned()), ("reason", r.name().to_owned())]).clone()),
        }
    }

    /// Counts an alert that opened.
    pub fn alert(&self, rule: &str, severity: &str) {
        self.alerts.get_or_create(&vec![("rule", rule.to_owned()), ("severity", severity.to_owned())]).inc();
    }

    /// Counts groups given up by a rule.
    pub fn evictions(&self, rule: &str, n: u64) {
        self.evictions.get_or_create(&vec![("rule", rule.to_owned())]).inc_by(n);
    }

    /// Counts matches that met a limit.
    pub fn limited(&self, limit: &'static str, n: u64) {
        self.limited.get_or_create(&vec![("limit", limit.to_owned())]).inc_by(n);
    }

    /// Counts a search: `complete`, `incomplete`, `time`, `records` or `memory` where that limit cut it, `stopped`, `wrong`, `refused`.
    pub fn search(&self, outcome: &'static str) {
        self.searches.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts a backtest: `complete`, `incomplete`, `time` or `alerts` where that limit cut it, `stopped`, `wrong`, `failed`, `refused`.
    pub fn backtest(&self, outcome: &'static str) {
        self.backtests.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts a backup: `made`, `failed`, `refused`.
    pub fn backup(&self, outcome: &'static str) {
        self.backups.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts an answer.
    pub fn http(&self, status: u16) {
        self.http_requests.get_or_create(&vec![("status", status.to_string())]).inc();
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.registry);
        out
    }
}

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics that rules feed.
#[derive(Debug, Default)]
pub struct Fed(Mutex<BTreeMap<String, Series>>);

#[derive(Debug, Serialize, Deserialize)]
struct Series {
    kind: MetricKind,
    help: String,
    series: BTreeMap<Vec<(String, String)>, f64>,
}

impl Fed {
    /// What has been fed so far.
    pub fn save(&self) -> Vec<u8> {
        postcard::to_stdvec(&*self.0.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
    }

    /// Goes on from what was saved; what cannot be read begins anew.
    pub fn restore(&self, saved: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = postcard::from_bytes(saved).unwrap_or_default();
    }

    /// Adds to a counter or sets a gauge. `labels` are the values of the metric's `label_fields`, in their order;
    /// beyond `max_series` series all further ones are one, with the label values `other`.
    pub fn feed(&self, m: &Metric, labels: &[String], value: f64) {
        if !value.is_finite() || (m.kind == MetricKind::Counter && value < 0.0) {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = m.name.strip_suffix("_total").filter(|_| m.kind == MetricKind::Counter).unwrap_or(&m.name);
        let f = all.entry(name.to_owned()).or_insert_with(|| Series { kind: m.kind, help: m.help.clone(), series: BTreeMap::new() });
        let key = |value: &dyn Fn(usize) -> String| -> Vec<(String, String)> {
            let fields = m.label_fields.iter().enumerate().map(|(i, (name, _))| (name.clone(), value(i)));
            m.labels.iter().cloned().chain(fields).collect()
        };
        let mut k = key(&|i| clean(labels.get(i).map_or("", String::as_str)));
        if !f.series.contains_key(&k) && f.series.len() >= m.max_series {
            k = key(&|_| "other".to_owned());
        }
        let v = f.series.entry(k).or_insert(0.0);
        match m.kind {
            MetricKind::Counter => *v += value,
            MetricKind::Gauge => *v = value,
        }
    }
}

impl Collector for Fed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        for (name, f) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let ty = if f.kind == MetricKind::Counter { MetricType::Counter } else { MetricType::Gauge };
            let mut e = encoder.encode_descriptor(name, &f.help, None, ty)?;
            for (labels, v) in &f.series {
                let mut series = e.encode_family(labels)?;
                match f.kind {
                    MetricKind::Counter => series.encode_counter::<NoLabelSet, f64, u64>(v, None)?,
                    MetricKind::Gauge => series.encode_gauge(v)?,
                }
            }
        }
        Ok(())
    }
}

/// A label's value made of `[A-Za-z0-9._:/@-]`, 1 to 128 long: what is not among these is `_`.
fn clean(s: &str) -> String {
    let v: String = s.chars().take(128).map(|c| if c.is_ascii_alphanumeric() || "._:/@-".contains(c) { c } else { '_' }).collect();
    if v.is_empty() { "_".to_owned() } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Template;

    fn metric(name: &str, kind: MetricKind, max_series: usize) -> Metric {
        Metric {
            name: name.into(),
            kind,
            value: None,
            labels: vec![("type".into(), "scan".into())],
            label_fields: vec![("image".into(), Template::default())],
            max_series,
            help: "Help".into(),
        }
    }

    #[test]
    fn a_source_shows_all_its_counters_at_once_by_reason() {
        let m = Metrics::default();
        let s = m.source("syslog");
        s.records.inc_by(3);
        s.drop_records(Reason::Kernel, 2);
        let text = m.text();
        for line in [
            "vigild_records_total{source=\"syslog\"} 3",
            "vigild_records_dropped_total{source=\"syslog\",reason=\"kernel\"} 2",
            "vigild_records_dropped_total{source=\"syslog\",reason=\"queue\"} 0",
            "vigild_parse_errors_total{source=\"syslog\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_rules_feed_is_cleaned_and_capped() {
        let m = Metrics::default();
        let score = metric("container_security_scan_score", MetricKind::Gauge, 2);
        for (label, v) in [("react-app:v2.1.7", 3.0), ("a \"quoted\"\nlabel", 1.5), ("third", 9.0), ("fourth", 7.0), ("react-app:v2.1.7", 4.0)] {
            m.fed.feed(&score, &[label.to_owned()], v);
        }
        let events = metric("security_events_total", MetricKind::Counter, 2);
        m.fed.feed(&events, &[String::new()], 1.0);
        m.fed.feed(&events, &[String::new()], 2.0);
        m.fed.feed(&events, &[String::new()], f64::NAN);
        m.fed.feed(&events, &[String::new()], -1.0);
        let text = m.text();
        for line in [
            "container_security_scan_score{type=\"scan\",image=\"react-app:v2.1.7\"} 4.0",
            "container_security_scan_score{type=\"scan\",image=\"a__quoted__label\"} 1.5",
            "container_security_scan_score{type=\"scan\",image=\"other\"} 7.0",
            "security_events_total{type=\"scan\",image=\"_\"} 3.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.lines().filter(|l| l.starts_with("container_security_scan_score{")).count(), 3);
    }

    #[test]
    fn a_label_is_never_longer_than_128() {
        assert_eq!(clean(&"é".repeat(500)), "_".repeat(128));
        assert_eq!(clean(""), "_");
    }
}
