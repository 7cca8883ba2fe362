//! The contract through `kill -9`: the daemon is killed at random and at named moments under load, and in the end the journal,
//! the alerts and what was sent are compared. What was acknowledged is there once, alerted on once; files and Kafka are read
//! once, in their order; of a connection there is a gapless prefix.

mod estate;
mod judge;
mod run;
mod senders;
mod topic;

pub use estate::{Estate, kill, stop};
pub use judge::{alerts, alerts_of, dump, judge, lines};
pub use senders::{file_writer, http_sender, number, record, tcp_sender};

use run::Run;
use senders::{Dice, reloader};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use topic::Topic;

/// One campaign of so many kills.
fn campaign(seed: u64, kills: u64) {
    let dir = tempfile::Builder::new().prefix("vigild-kill").disable_cleanup(std::env::var("VIGILD_KEEP").is_ok()).tempdir().expect("a folder");
    let topic = Topic::new(&format!("kill-{seed}"));
    let settings = format!("{}[journal]\nsegment_bytes = \"1MiB\"\n", topic.as_ref().map(Topic::source).unwrap_or_default());
    let e = Arc::new(Estate::with(dir.path(), &dir.path().join("data"), &settings, 2));
    let mut dice = Dice(seed);
    let fail = |what: &str| format!("{what}; repeat with tests/run --long kill --seeds {seed}..{}", seed + 1);
    let begin = Instant::now();
    let mut run = Run::plain(&e);
    e.wait(&fail("it is ready"), || e.is_ready());
    let http = ["http1", "http2"].map(|jail| {
        let e = e.clone();
        (jail.to_owned(), std::thread::spawn(move || http_sender(&e, jail)))
    });
    let file = {
        let e = e.clone();
        std::thread::spawn(move || file_writer(&e, seed))
    };
    let tcp = {
        let e = e.clone();
        std::thread::spawn(move || tcp_sender(&e))
    };
    let reloads = {
        let e = e.clone();
        std::thread::spawn(move || reloader(&e))
    };
    let kafka = topic.as_ref().map(|t| t.send(&e));

    let mut ended = Vec::new();
    for k in 0..kills {
        ended.push(run.end(&e, &mut dice));
        run = if k + 1 < kills { Run::drawn(&e, &mut dice, topic.is_some()) } else { Run::plain(&e) };
    }
    let killed = begin.elapsed();
    let before = e.acknowledged.load(Ordering::Relaxed);
    e.wait(&fail("requests are acknowledged again"), || e.acknowledged.load(Ordering::Relaxed) > before);
    e.stop.store(true, Ordering::Relaxed);
    let accepted = http.into_iter().map(|(jail, s)| (jail, s.join().expect("a sender"))).collect();
    let mut whole = BTreeMap::from([("file".to_owned(), file.join().expect("the writer"))]);
    let (sent, reloads) = (tcp.join().expect("the sender"), reloads.join().expect("no panic"));
    if let (Some(t), Some(k)) = (&topic, kafka) {
        let each = k.join().expect("the producer");
        t.wait(&each, &|| fail(&e.said()));
        whole.extend(each);
    }
    let (stored, told, counted) = judge(&e, &mut run.daemon, &accepted, &whole, &sent, &fail);
    assert!(!e.said().contains("panicked"), "{}\n{}", fail("no panic"), e.said());
    let reading = ended.iter().filter(|r| r.reading).count();
    let mut named = BTreeMap::new();
    ended.iter().filter_map(|r| r.point).for_each(|p| *named.entry(p).or_insert(0) += 1);
    assert!(topic.is_none() || reading as u64 >= kills / 5, "{reading} kills show little of Kafka");
    eprintln!(
        "kill: seed {seed}: {kills} kills in {:.0} s, judged in {:.0} s; {} at named moments {named:?}, {reading} while Kafka was read, {reloads} reloads; \
         {stored} records stored, {told} alerts, {counted} counted",
        killed.as_secs_f64(),
        (begin.elapsed() - killed).as_secs_f64(),
        named.values().sum::<u32>()
    );
}

#[test]
fn nothing_acknowledged_is_lost_or_repeated_through_kills() {
    campaign(1, 100);
}

#[test]
#[ignore = "a campaign, run by tests/run --long kill --seeds A..B"]
fn long_kill() {
    for seed in super::streams::seeds(1..11) {
        campaign(seed, 100);
    }
}
