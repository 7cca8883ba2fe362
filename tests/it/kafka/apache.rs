//! Against Apache's broker: every record once, in the order of its partition, through whatever ends on either side.

use super::broker::{Broker, broker};
use super::member::Member;
use super::{producer, send, texts};
use rdkafka::producer::Producer;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

fn settings(b: &Broker, topic: &str) -> String {
    format!("brokers = [{:?}]\ntopics = [{topic:?}]\ngroup = {topic:?}\nsession_timeout = \"2s\"", b.address())
}

/// Sends to all partitions until it is told to stop; how many to each.
fn load(b: &Broker, topic: &str, partitions: i32) -> (Arc<AtomicBool>, JoinHandle<u64>) {
    let (stop, topic) = (Arc::new(AtomicBool::new(false)), topic.to_owned());
    let (p, stopped) = (producer(&b.address(), &[]), stop.clone());
    let t = std::thread::spawn(move || {
        let mut n = 0;
        while !stopped.load(Ordering::Relaxed) {
            (0..partitions).for_each(|i| send(&p, &topic, i, n..n + 20));
            n += 20;
            std::thread::sleep(Duration::from_millis(10));
        }
        n
    });
    (stop, t)
}

/// What each partition has, in one journal.
fn each_once(m: &Member, topic: &str, partitions: i32, n: u64) {
    let stored = m.stored();
    for i in 0..partitions {
        let got = stored.get(&format!("k:{topic}/{i}")).cloned().unwrap_or_default();
        let differs = got.iter().zip(texts(0..n)).position(|(a, b)| *a != b);
        assert_eq!((got.len() as u64, differs), (n, None), "partition {i}: each once, in order\n{}", m.log());
    }
}

#[test]
fn every_record_is_stored_once_in_order_through_kills_of_vigild_and_of_the_broker() {
    let Some(mut b) = broker() else { return };
    b.create("kills", 3);
    let first = producer(&b.address(), &[]);
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::new(dir.path(), "member", &settings(&b, "kills"));
    drop(first);
    let (stop, sender) = load(&b, "kills", 3);
    m.start();
    for k in 0..4 {
        // At any moment: before anything is assigned, under load, and while the group moves.
        m.wait_metric("vigild_records_total", "", [500.0, 1.0, 2000.0, 100.0][k]);
        m.kill();
        m.start();
    }
    m.wait_metric("vigild_records_total", "", 500.0);
    b.kill();
    std::thread::sleep(Duration::from_millis(300));
    b.start();
    let before = m.metric("vigild_records_total", "").unwrap_or(0.0);
    m.wait_metric("vigild_records_total", "", before + 1000.0);
    stop.store(true, Ordering::Relaxed);
    let n = sender.join().expect("it sends");
    b.all_committed("kills", "kills", 3, &|| m.log());
    m.stop();
    each_once(&m, "kills", 3, n);
    let entries = m.entries();
    let behind = |yes: bool| entries.iter().filter(|e| e["kind"] == "behind" && e["yes"] == yes).count();
    assert!(behind(true) > 0 && behind(false) > 0, "partitions with a backlog hold the watermark, and let it go");
}

#[test]
fn aborted_transactions_and_messages_without_a_value_are_not_records() {
    let Some(b) = broker() else { return };
    b.create("transactions", 1);
    let p = producer(&b.address(), &[("transactional.id", "tests")]);
    let patience = Duration::from_secs(30);
    p.init_transactions(patience).expect("a transaction");
    for (numbers, commit) in [(0..40, true), (1000..1040, false), (40..80, true), (2000..2040, false)] {
        p.begin_transaction().expect("a transaction");
        send(&p, "transactions", 0, numbers);
        let ended = if commit { p.commit_transaction(patience) } else { p.abort_transaction(patience) };
        ended.expect("it ends");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::new(dir.path(), "member", &settings(&b, "transactions"));
    m.start();
    m.wait_metric("vigild_records_total", "", 80.0);
    let plain = producer(&b.address(), &[]);
    for _ in 0..3 {
        plain.send(rdkafka::producer::BaseRecord::<[u8], [u8]>::to("transactions").partition(0).key(b"gone")).expect("there is room");
    }
    plain.flush(patience).expect("taken by the broker");
    m.wait_metric("vigild_records_dropped_total", ",reason=\"empty\"", 3.0);
    b.all_committed("transactions", "transactions", 1, &|| m.log());
    m.wait("nothing waits", 10, |m| m.metric("vigild_source_lag_records", "") == Some(0.0));
    m.stop();
    each_once(&m, "transactions", 1, 80);
}

#[test]
fn records_deleted_before_they_were_read_are_said_and_counted() {
    let Some(b) = broker() else { return };
    b.create("deleted", 1);
    let p = producer(&b.address(), &[]);
    send(&p, "deleted", 0, 0..300);
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::new(dir.path(), "member", &settings(&b, "deleted"));
    m.start();
    m.wait_metric("vigild_records_total", "", 300.0);
    m.stop();
    send(&p, "deleted", 0, 300..1000);
    b.delete_before("deleted", 0, 700);
    m.start();
    m.wait_metric("vigild_records_total", "", 300.0);
    assert_eq!(m.metric("vigild_records_dropped_total", ",reason=\"deleted\""), Some(400.0));
    assert!(m.log().contains("from=300 to=699"), "{}", m.log());
    m.stop();
    let want: Vec<String> = texts(0..300).into_iter().chain(texts(700..1000)).collect();
    assert_eq!(m.stored()["k:deleted/0"], want);
}

#[test]
fn a_group_that_knows_nothing_begins_where_it_is_told_and_topics_are_found_by_pattern() {
    let Some(b) = broker() else { return };
    b.create("begin-a", 1);
    b.create("begin-b", 1);
    let p = producer(&b.address(), &[]);
    send(&p, "begin-a", 0, 0..10);
    let dir = tempfile::tempdir().expect("a folder");
    let settings = format!("{}\nstart = \"latest\"", settings(&b, "^begin-.*"));
    let mut m = Member::new(dir.path(), "member", &settings);
    m.start();
    m.wait("both are assigned", 30, |m| m.metric("vigild_open", "") == Some(2.0));
    send(&p, "begin-a", 0, 10..20);
    m.wait_metric("vigild_records_total", "", 10.0);
    m.stop();
    // From now on it is known, and nothing is left out.
    send(&p, "begin-a", 0, 20..30);
    m.start();
    m.wait_metric("vigild_records_total", "", 10.0);
    m.stop();
    assert_eq!(m.stored()["k:begin-a/0"], texts(10..30));
}

#[test]
fn partitions_with_a_backlog_are_read_in_step_by_the_time_of_their_events() {
    let Some(b) = broker() else { return };
    b.create("steps", 2);
    let p = producer(&b.address(), &[]);
    const N: u64 = 6000;
    (0..2).for_each(|i| send(&p, "steps", i, 0..N));
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::new(dir.path(), "member", &settings(&b, "steps"));
    m.start();
    b.all_committed("steps", "steps", 2, &|| m.log());
    m.stop();
    each_once(&m, "steps", 2, N);
    // A step is some hundred records.
    let (mut read, mut chunks) = ([0u64; 2], 0);
    for e in m.entries().iter().filter(|e| e["kind"] == "records") {
        let i = e["mark"]["Kafka"]["partition"].as_u64().expect("a number") as usize;
        read[i] += e["records"].as_array().expect("records").len() as u64;
        chunks += 1;
        assert!(read.contains(&N) || read[0].abs_diff(read[1]) < 1000, "{read:?} after {chunks} chunks");
    }
    assert!(chunks > 10, "{chunks} chunks show nothing");
}

#[test]
fn two_members_lose_nothing_and_repeat_only_what_was_not_committed_when_a_partition_moved() {
    let Some(b) = broker() else { return };
    b.create("members", 4);
    let dir = tempfile::tempdir().expect("a folder");
    let mut one = Member::new(dir.path(), "one", &settings(&b, "members"));
    let mut two = Member::new(dir.path(), "two", &settings(&b, "members"));
    let (stop, sender) = load(&b, "members", 4);
    one.start();
    one.wait_metric("vigild_records_total", "", 1000.0);
    two.start();
    two.wait_metric("vigild_records_total", "", 1000.0);
    two.wait("both have two", 30, |m| m.metric("vigild_open", "") == Some(2.0) && one.metric("vigild_open", "") == Some(2.0));
    // One leaves as it should: what it has is committed before.
    one.stop();
    two.wait("it has all", 30, |m| m.metric("vigild_open", "") == Some(4.0));
    let before = two.metric("vigild_records_total", "").unwrap_or(0.0);
    two.wait_metric("vigild_records_total", "", before + 1000.0);
    let repeated = two.metric("vigild_records_repeated_total", "").unwrap_or(-1.0);
    one.start();
    one.wait_metric("vigild_records_total", "", 500.0);
    let told = b.progress("members", "members", 4);
    two.kill();
    one.wait("it has all", 30, |m| m.metric("vigild_open", "") == Some(4.0));
    stop.store(true, Ordering::Relaxed);
    let n = sender.join().expect("it sends");
    b.all_committed("members", "members", 4, &|| one.log());
    one.stop();
    assert_eq!(repeated, 0.0, "a rebalance that goes well repeats nothing\n{}", two.log());

    let (a, z) = (one.stored(), two.stored());
    let numbers: BTreeMap<String, u64> = texts(0..n).into_iter().zip(0..n).collect();
    let mut again = 0;
    for i in 0..4 {
        let of = |m: &BTreeMap<String, Vec<String>>| -> Vec<u64> {
            m.get(&format!("k:members/{i}")).map_or(Vec::new(), |all| all.iter().map(|r| numbers[r]).collect())
        };
        let (a, z) = (of(&a), of(&z));
        for m in [&a, &z] {
            assert!(m.is_sorted_by(|x, y| x < y), "partition {i}: in order, none twice in one journal");
        }
        let mut both: Vec<u64> = a.iter().chain(&z).copied().collect();
        both.sort_unstable();
        let twice: Vec<u64> = both.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
        both.dedup();
        assert_eq!(both.len() as u64, n, "partition {i}: none is lost");
        // What is there twice is the end of what the killed one had, behind what it had committed.
        let (committed, _) = told[i as usize];
        assert!(z.ends_with(&twice) && twice.iter().all(|x| *x as i64 >= committed), "partition {i}: {twice:?} behind {committed}");
        again += twice.len();
    }
    eprintln!("kafka: {n} records in each of 4 partitions, {again} stored by both members after a kill");
}
