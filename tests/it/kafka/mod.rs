//! Kafka: faults inside the client against librdkafka's own stand-in, all else against Apache's broker.

mod apache;
pub mod broker;
mod member;
mod mock;
mod secured;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

/// A producer to these brokers.
pub fn producer(brokers: &str, more: &[(&str, &str)]) -> BaseProducer {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", brokers).set("linger.ms", "5").set("acks", "all").set("enable.idempotence", "true");
    for (k, v) in more {
        c.set(*k, *v);
    }
    c.create().expect("a producer")
}

/// The record with a number, a millisecond after the one before it.
fn text(n: u64) -> String {
    let (minute, second) = (n / 60_000 % 60, n / 1000 % 60);
    format!("2026-11-24 10:{minute:02}:{second:02},{:03} fail2ban.filter [1]: INFO [sshd] Found 192.0.2.{} number {n}", n % 1000, n % 250 + 1)
}

fn texts(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(text).collect()
}

/// Gives a record of a partition to a producer, which has taken it when it is flushed.
pub fn put(p: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value.as_bytes());
    while let Err((e, back)) = p.send(record) {
        assert_eq!(e.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull), "{e}");
        record = back;
        p.poll(Duration::from_millis(10));
    }
}

/// Sends numbered records to a partition.
fn send(p: &BaseProducer, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| put(p, topic, partition, &text(n)));
    p.flush(Duration::from_secs(60)).expect("taken by the broker");
}
