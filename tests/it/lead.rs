//! The journal ahead of the engine: what does not fit into memory waits on the disk, bounded, and is evaluated all the same,
//! through reloads, stops and kills.

use super::kill::{self, Estate};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MEMORY: u64 = 256 << 10;
const BACKLOG: u64 = 1 << 20;
/// What one request takes.
const BODY: usize = 100 << 10;

fn estate(dir: &Path) -> Estate {
    let limits = format!("[limits]\nqueue_bytes = {MEMORY}\nbacklog_bytes = {BACKLOG}\n[journal]\nsegment_bytes = \"1MiB\"\n");
    Estate::with(dir, &dir.join("data"), &limits, 1)
}

/// Records of which one in twenty is alerted on, the last one among them.
fn body(jail: &str, from: u64) -> (String, u64) {
    let (mut text, mut n) = (String::new(), from);
    while text.len() < BODY {
        (0..19).for_each(|i| text += &format!("2026-11-24 00:00:00,000 fail2ban.filter [1]: DEBUG nothing of note {n} {i:060}\n"));
        text += &(kill::record(jail, n) + "\n");
        n += 1;
    }
    (text, n)
}

/// Sends a body until there is room for it.
fn send(e: &Estate, key: &str, text: &str) {
    e.wait("it is taken", || match e.post(key, text) {
        429 => false,
        status => {
            assert_eq!(status, 200);
            true
        }
    });
}

fn told(e: &Estate, rule: &str) -> Vec<(String, u64)> {
    kill::alerts(e, &format!("&rule={rule}")).into_iter().map(|a| (a.0, a.1)).collect()
}

/// Waits until these are alerted on, each once.
fn settled(e: &Estate, rule: &str, want: &BTreeSet<(String, u64)>) {
    e.wait("every record is alerted on", || told(e, rule).len() >= want.len());
    let all = told(e, rule);
    assert_eq!(all.len(), want.len(), "none twice");
    assert_eq!(&all.into_iter().collect::<BTreeSet<_>>(), want);
}

#[test]
fn what_exceeds_memory_waits_in_the_journal_up_to_its_limit_and_a_reload_holds_from_its_place_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = estate(dir.path());
    let mut daemon = e.start_with("VIGILD_FAIL", None);
    e.wait("it is ready", || e.is_ready());
    let (most, on) = (AtomicU64::new(0), AtomicBool::new(true));
    let (mut want, mut later) = (BTreeSet::new(), BTreeSet::new());
    std::thread::scope(|s| {
        s.spawn(|| {
            // Not for ever, should the rest fail.
            let begin = Instant::now();
            while on.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(120) {
                most.fetch_max(e.metric("vigild_backlog_bytes", &[]), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        // Until the engine has been behind: that depends on the machine.
        for round in 0..600 {
            if round >= 60 && most.load(Ordering::Relaxed) > MEMORY {
                break;
            }
            if round == 30 {
                let rules = dir.path().join("rules.toml");
                let new = "[[rule]]\nid = \"later\"\ntitle = \"Later\"\nseverity = \"low\"\nwhere = 'event.action == \"found\"'\n\
                           by = [\"client.ip\", \"rule.name\"]\nrearm = \"every\"\nmax_alerts = 1000000\n";
                fs::write(&rules, fs::read_to_string(&rules).expect("rules") + new).expect("written");
                let (status, said) = e.ask("POST", "/api/v1/reload", "", b"").expect("an answer");
                assert_eq!(status, 200, "{said}");
            }
            let jail = format!("http{round}");
            let (text, n) = body(&jail, 0);
            send(&e, &jail, &text);
            let all = (0..n).map(|i| (jail.clone(), i));
            want.extend(all.clone());
            later.extend(all.filter(|_| round >= 30));
        }
        settled(&e, "each", &want);
        settled(&e, "later", &later);
        on.store(false, Ordering::Relaxed);
    });
    let most = most.load(Ordering::Relaxed);
    // A group that is begun below the limit is written to its end.
    assert!(most > MEMORY && most < BACKLOG + 2 * BODY as u64, "{most} bytes waited in the journal");
    e.wait("nothing waits any more", || e.metric("vigild_backlog_bytes", &[]) == 0);
    kill::stop(&mut daemon);
}

#[test]
fn what_a_stop_or_a_kill_leaves_in_the_journal_is_evaluated_by_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = estate(dir.path());
    let mut want = BTreeSet::new();
    for round in 0..4 {
        let mut daemon = e.start_with("VIGILD_FAIL", None);
        e.wait("it is ready", || e.is_ready());
        let jail = format!("http{round}");
        let mut n = 0;
        for _ in 0..12 {
            let (text, next) = body(&jail, n);
            send(&e, &format!("{jail}-{n}"), &text);
            n = next;
        }
        want.extend((0..n).map(|i| (jail.clone(), i)));
        if round % 2 == 0 {
            kill::kill(&mut daemon);
        } else {
            let begin = Instant::now();
            kill::stop(&mut daemon);
            assert!(begin.elapsed() < Duration::from_secs(5), "it stops in {:?}", begin.elapsed());
        }
    }
    let mut daemon = e.start_with("VIGILD_FAIL", None);
    settled(&e, "each", &want);
    kill::stop(&mut daemon);
}
