//! What librdkafka is told, and what it tells.

use crate::clock;
use crate::config::source::kafka::Kafka;
use crate::pipeline::Source;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A trouble that goes on is said this often.
const SAY: Duration = Duration::from_secs(60);
/// Bytes of one answer to a fetch, all partitions together, unless one message has more.
const FETCH: usize = 8 << 20;

/// A partition of a topic.
pub type Place = (String, i32);

/// The group has given partitions to this member, or takes all of them back.
pub enum Event {
    /// Reading of these may begin.
    Assign(Vec<Place>),
    /// Reading of all must end.
    Revoke,
}

/// What librdkafka tells, kept for the thread that reads: it alone answers.
pub struct Context {
    source: Arc<Source>,
    events: Mutex<Vec<Event>>,
    highs: Mutex<HashMap<Place, i64>>,
    said: Mutex<HashMap<String, Instant>>,
    closing: AtomicBool,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// Nothing has been told yet.
    pub fn new(source: Arc<Source>) -> Context {
        Context { source, events: Mutex::default(), highs: Mutex::default(), said: Mutex::default(), closing: AtomicBool::new(false) }
    }

    /// What has happened since it was last asked, in its order.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.events))
    }

    /// The end of a partition for readers of its isolation, a few seconds old; `None` where it is not known.
    pub fn high(&self, at: &Place) -> Option<i64> {
        lock(&self.highs).get(at).copied()
    }

    /// From now on partitions are given back at once.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Counts a trouble, and says it once a minute.
    pub fn trouble(&self, what: &str, why: &str) {
        self.source.metrics.errors.inc();
        let now = clock::monotonic();
        let mut said = lock(&self.said);
        said.retain(|_, at| now.duration_since(*at) < SAY);
        if !said.contains_key(what) {
            said.insert(what.to_owned(), now);
            tracing::warn!(source = %self.source.name, why = ?why, "Kafka: {what}");
        }
    }
}

/// The part of the statistics that is read.
#[derive(Deserialize)]
struct Stats {
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<String, Ends>,
}

#[derive(Deserialize)]
struct Ends {
    partition: i32,
    #[serde(default)]
    ls_offset: i64,
    #[serde(default)]
    hi_offset: i64,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(source = %self.source.name, level = level as i32, facility, message = ?message, "librdkafka");
    }

    fn stats_raw(&self, json: &[u8]) {
        let Ok(stats) = serde_json::from_slice::<Stats>(json) else { return };
        let mut highs = lock(&self.highs);
        highs.clear();
        for (topic, t) in stats.topics {
            let known = t.partitions.into_values().filter(|e| e.partition >= 0);
            highs.extend(known.map(|e| (e, topic.clone())).filter_map(|(e, topic)| {
                let high = if e.ls_offset >= 0 { e.ls_offset } else { e.hi_offset };
                (high >= 0).then_some(((topic, e.partition), high))
            }));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // The thread that reads answers to these itself.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset) => {}
            Some(code) => self.trouble(&code.to_string(), reason),
            None => self.trouble(&error.to_string(), reason),
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            // Nothing can be done about a failure here: the consumer goes.
            let _ = consumer.unassign();
            return;
        }
        let event = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                Event::Assign(list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect())
            }
            _ => Event::Revoke,
        };
        lock(&self.events).push(event);
    }
}

/// What librdkafka is told; or why it cannot be, for the operator.
pub fn settings(c: &Kafka) -> Result<ClientConfig, String> {
    let mut s = ClientConfig::new();
    let mut set = |key: &str, value: &str| {
        s.set(key, value);
    };
    set("client.id", "vigild");
    set("bootstrap.servers", &c.brokers.join(","));
    set("group.id", &c.group);
    set("session.timeout.ms", &c.session_timeout.as_millis().to_string());
    set("heartbeat.interval.ms", &(c.session_timeout.as_millis() / 4).clamp(100, 3000).to_string());
    // All partitions of a member move at once: moving them one by one while offsets are committed has faults in librdkafka.
    set("partition.assignment.strategy", "range");
    set("isolation.level", if c.committed_only { "read_committed" } else { "read_uncommitted" });
    // Offsets are committed when their records are durable, and an offset that is gone is for us to say and count.
    set("reconnect.backoff.ms", "500");
    set("enable.auto.commit", "false");
    set("enable.auto.offset.store", "false");
    set("auto.offset.reset", "error");
    set("enable.partition.eof", "true");
    set("allow.auto.create.topics", "false");
    set("topic.metadata.refresh.interval.ms", "60000");
    set("statistics.interval.ms", "5000");
    set("log.connection.close", "false");
    set("check.crcs", "true");
    // Each partition has a queue of its own, so that these hold for each.
    set("queued.max.messages.kbytes", &(c.prefetch >> 10).to_string());
    set("queued.min.messages", &(c.prefetch / 256).clamp(100, 100_000).to_string());
    set("fetch.message.max.bytes", &c.prefetch.to_string());
    set("fetch.max.bytes", &FETCH.max(c.prefetch).to_string());
    let path = |p: &Path| p.to_str().map(str::to_owned).ok_or_else(|| format!("the path {} is not UTF-8", p.display()));
    let (tls, sasl) = (&c.security.tls, &c.security.sasl);
    set(
        "security.protocol",
        match (tls, sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        },
    );
    if let Some(t) = tls {
        for (key, file) in [("ssl.ca.location", &t.ca), ("ssl.certificate.location", &t.certificate), ("ssl.key.location", &t.key)] {
            if let Some(file) = file {
                set(key, &path(file)?);
            }
        }
    }
    if let Some(who) = sasl {
        let password = who.password.read().map_err(|e| e.to_string())?;
        set("sasl.mechanisms", who.mechanism);
        set("sasl.username", &who.user);
        set("sasl.password", std::str::from_utf8(password.bytes()).map_err(|_| "the password is not UTF-8".to_owned())?);
    }
    Ok(s)
}
