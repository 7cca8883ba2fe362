//! Faults that a real broker shows too rarely, from librdkafka's own stand-in for a cluster.

use super::member::Member;
use super::{producer, send, texts};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::Duration;

const PARTITIONS: i32 = 2;

fn settings(brokers: &str, topic: &str) -> String {
    let brokers: Vec<&str> = brokers.split(',').collect();
    format!("brokers = {brokers:?}\ntopics = [{topic:?}]\nsession_timeout = \"6s\"")
}

#[test]
fn every_record_is_stored_once_through_faults_of_brokers() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = MockCluster::new(3).expect("a cluster");
    cluster.create_topic("faults", PARTITIONS, 3).expect("a topic");
    cluster.partition_leader("faults", 0, Some(1)).expect("a leader");
    cluster.partition_leader("faults", 1, Some(2)).expect("a leader");
    let mut sent = 0;
    let mut more = |n: u64| {
        // A new one each time: the faults are meant for those who read.
        let p = producer(&cluster.bootstrap_servers(), &[("enable.idempotence", "false")]);
        (0..PARTITIONS).for_each(|i| send(&p, "faults", i, sent..sent + n));
        sent += n;
        sent
    };
    let mut m = Member::new(dir.path(), "member", &settings(&cluster.bootstrap_servers(), "faults"));
    more(200);
    m.start();
    m.wait_metric("vigild_records_total", "", 400.0);
    assert_eq!(m.metric("vigild_open", ""), Some(2.0));

    use RDKafkaRespErr::*;
    // Fetches fail in several ways, one of them by a broken connection.
    let fetch = [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT];
    cluster.request_errors(RDKafkaApiKey::Fetch, &fetch);
    let n = more(200);
    m.wait_metric("vigild_records_total", "", 2.0 * n as f64);

    // Commits fail: they are tried again, and what is stored is not read again meanwhile.
    let commit = [RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &commit);
    let n = more(200);
    m.wait_metric("vigild_source_errors_total", "", 1.0);
    m.wait_metric("vigild_records_total", "", 2.0 * n as f64);

    // A leader moves, and its old broker goes down and comes back.
    cluster.partition_leader("faults", 0, Some(3)).expect("a leader");
    let n = more(200);
    m.wait_metric("vigild_records_total", "", 2.0 * n as f64);
    cluster.broker_down(2).expect("down");
    std::thread::sleep(Duration::from_millis(1500));
    cluster.broker_up(2).expect("up");
    let n = more(200);
    m.wait_metric("vigild_records_total", "", 2.0 * n as f64);
    m.stop();
    let stored = m.stored();
    for i in 0..PARTITIONS {
        assert_eq!(stored[&format!("k:faults/{i}")], texts(0..n), "partition {i}: each once, in order");
    }
}

#[test]
fn brokers_that_are_away_are_waited_for_without_haste_and_said_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("late", 1, 1).expect("a topic");
    let p = producer(&cluster.bootstrap_servers(), &[]);
    send(&p, "late", 0, 0..10);
    cluster.broker_down(1).expect("down");
    let mut m = Member::new(dir.path(), "member", &settings(&cluster.bootstrap_servers(), "late"));
    m.start();
    m.wait_metric("vigild_source_errors_total", "", 2.0);
    std::thread::sleep(Duration::from_secs(3));
    let log = m.log();
    assert_eq!(log.lines().filter(|l| l.contains("BrokerTransportFailure")).count(), 1, "{log}");
    let errors = m.metric("vigild_source_errors_total", "");
    assert!(errors.is_some_and(|n| n < 50.0), "{errors:?} in 3 s\n{log}");
    cluster.broker_up(1).expect("up");
    m.wait_metric("vigild_records_total", "", 10.0);
    m.stop();
    assert_eq!(m.stored()["k:late/0"], texts(0..10));
}
