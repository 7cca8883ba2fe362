//! Restarts with something missing or damaged: what is said, and that no alert is lost or told twice by it. And operations of
//! the disk that fail while it runs.

use super::kill::{self, Estate};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vigild::r#gen::{Form, sample};

/// Records that match no rule, so that the journal has several segments.
fn filler(round: u64) -> String {
    (0..12_000).map(|n| format!("2026-11-24 00:00:00,000 fail2ban.filter [1]: DEBUG nothing of note {round} {n:090}\n")).collect()
}

/// Sends what belongs to a round: the records of each are `alerting` and fillers.
fn round(e: &Estate, n: u64, alerting: &str) {
    assert_eq!(e.post(&format!("filler-{n}"), &filler(n)), 200);
    assert_eq!(e.post(&format!("round-{n}"), alerting), 200);
}

fn start(e: &Estate) -> crate::process::Process {
    let daemon = e.start_with("VIGILD_FAIL", None);
    e.wait("it is ready", || e.is_ready());
    daemon
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for f in fs::read_dir(from).expect("a folder") {
        let f = f.expect("an entry");
        let at = to.join(f.file_name());
        if f.path().is_dir() {
            copy(&f.path(), &at)
        } else {
            let _: u64 = fs::copy(f.path(), at).expect("copied");
        }
    }
}

/// The files of a folder, the oldest name first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).expect("a folder").map(|f| f.expect("an entry").path()).filter(|p| p.is_file()).collect();
    all.sort();
    all
}

/// Changes a byte in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let at = bytes.len() / 2;
    bytes[at] ^= 0x55;
    fs::write(path, bytes).expect("written");
}

/// Ids of the alerts of the rule that tells of each record, or of both rules.
fn ids(e: &Estate, filter: &str) -> BTreeSet<String> {
    let all = kill::alerts_of(e, filter);
    let set: BTreeSet<String> = all.iter().filter_map(|a| Some(a.pointer("/event/id")?.as_str()?.to_owned())).collect();
    assert_eq!(set.len(), all.len(), "none twice");
    set
}

/// Waits until so many records are alerted on, and for good where nothing of the journal is missing.
fn settled(e: &Estate, records: usize, for_good: bool) {
    e.wait("every record is alerted on", || {
        let all = kill::alerts(e, "&rule=each");
        all.len() == records && (!for_good || all.iter().all(|a| a.2))
    });
    e.wait("what is counted is final", || !for_good || kill::alerts(e, "&rule=many").iter().all(|a| a.2));
}

/// What is done to a data directory, and how the daemon then goes on.
struct Case {
    name: &'static str,
    harm: fn(&Path),
    /// Words of the log that tell the operator.
    said: &'static str,
    /// Whether counting over what came before goes on as if nothing had happened.
    exact: bool,
}

const CASES: [Case; 9] = [
    Case { name: "nothing", harm: |_| {}, said: "the engine is where the journal ends", exact: true },
    Case {
        name: "newest state damaged",
        harm: |d| damage(files(&d.join("snapshots")).last().expect("a state")),
        said: "a saved state cannot be used",
        exact: true,
    },
    Case {
        name: "all states damaged",
        harm: |d| files(&d.join("snapshots")).iter().for_each(|f| damage(f)),
        said: "a saved state cannot be used",
        exact: true,
    },
    Case { name: "states gone", harm: |d| fs::remove_dir_all(d.join("snapshots")).expect("removed"), said: "replayed=36", exact: true },
    Case {
        name: "bundle damaged",
        harm: |d| files(&d.join("bundles")).iter().for_each(|f| damage(f)),
        said: "the engine is where the journal ends",
        exact: true,
    },
    Case {
        name: "store gone",
        harm: |d| fs::remove_file(d.join("store.redb")).expect("removed"),
        said: "alerts are made again from the journal",
        exact: true,
    },
    Case {
        name: "journal gone",
        harm: |d| fs::remove_dir_all(d.join("journal")).expect("removed"),
        said: "the store knows of entries that the journal has lost",
        exact: false,
    },
    Case {
        name: "end of the journal gone",
        harm: |d| {
            let all = files(&d.join("journal"));
            let segments: Vec<_> = all.iter().filter(|f| f.extension().is_some_and(|e| e == "log" || e == "seal")).collect();
            assert!(segments.len() > 3, "{segments:?}");
            segments.iter().rev().take(segments.len() - 2).for_each(|f| fs::remove_file(f).expect("removed"));
        },
        said: "it is ahead of the journal",
        exact: false,
    },
    Case {
        name: "states gone and a segment damaged",
        harm: |d| {
            fs::remove_dir_all(d.join("snapshots")).expect("removed");
            let all = files(&d.join("journal"));
            damage(all.iter().find(|f| f.extension().is_some_and(|e| e == "log" || e == "seal")).expect("a segment"));
        },
        said: "damaged",
        exact: false,
    },
];

#[test]
fn whatever_is_missing_or_damaged_at_a_restart_no_alert_is_lost_or_told_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let rounds: Vec<String> = (0..4).map(|r| (0..40).map(|n| kill::record("http1", r * 40 + n) + "\n").collect()).collect();
    let settings = "[journal]\nsegment_bytes = \"1MiB\"\n";
    let base = Estate::with(dir.path(), &dir.path().join("base"), settings, 1);
    for (n, alerting) in rounds.iter().take(3).enumerate() {
        let mut daemon = start(&base);
        round(&base, n as u64, alerting);
        settled(&base, 40 * (n + 1), false);
        if n < 2 { kill::stop(&mut daemon) } else { kill::kill(&mut daemon) }
    }
    let one = Estate::with(dir.path(), &dir.path().join("undisturbed"), settings, 1);
    let mut daemon = start(&one);
    rounds.iter().enumerate().for_each(|(n, alerting)| round(&one, n as u64, alerting));
    settled(&one, 160, true);
    let (want_each, want_many) = (ids(&one, "&rule=each"), ids(&one, "&rule=many"));
    assert!(!want_many.is_empty());
    kill::stop(&mut daemon);
    for c in &CASES {
        let data = dir.path().join(c.name.replace(' ', "-"));
        copy(&dir.path().join("base"), &data);
        (c.harm)(&data);
        let _ = fs::remove_file(dir.path().join("daemon.log"));
        let e = Estate::with(dir.path(), &data, settings, 1);
        let mut daemon = start(&e);
        assert!(e.said().contains(c.said), "{}: it says so\n{}", c.name, e.said());
        round(&e, 3, &rounds[3]);
        settled(&e, 160, c.exact);
        let (each, many) = (ids(&e, "&rule=each"), ids(&e, "&rule=many"));
        assert_eq!(each, want_each, "{}", c.name);
        if c.exact {
            assert_eq!(many, want_many, "{}", c.name);
        }
        // A second restart finds nothing to say.
        kill::stop(&mut daemon);
        fs::remove_file(dir.path().join("daemon.log")).expect("a log");
        let mut daemon = start(&e);
        assert!(!e.said().contains("cannot be used") && !e.said().contains("made again"), "{}: {}", c.name, e.said());
        assert_eq!(ids(&e, "&rule=each"), want_each, "{}: once more", c.name);
        kill::stop(&mut daemon);
    }
}

/// Requests of a journal whose replay takes seconds.
const LONG: u64 = 8;

#[test]
fn after_a_kill_in_a_long_replay_the_next_one_is_shorter() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let e = Estate::with(dir.path(), &data, "[limits]\nreplay = \"20ms\"\n", 1);
    let alerting: String = (0..40).map(|n| kill::record("http1", n) + "\n").collect();
    let mut daemon = start(&e);
    round(&e, 0, &alerting);
    for seed in 0..LONG {
        assert_eq!(e.ask("POST", "/api/v1/ingest/suricata", "", &sample(Form::Suricata, 5000, seed)).expect("an answer").0, 200);
    }
    settled(&e, 40, false);
    e.wait("all is evaluated", || e.metric("vigild_engine_entry", &[]) == e.metric("vigild_journal_entry", &[]));
    let told = ids(&e, "&rule=each");
    kill::kill(&mut daemon);
    fs::remove_dir_all(data.join("snapshots")).expect("removed");
    let mut daemon = e.start_with("VIGILD_FAIL", None);
    let saved = || files(&data.join("snapshots")).iter().any(|f| f.extension().is_some_and(|x| x == "state"));
    e.wait("a state is saved", || data.join("snapshots").is_dir() && saved());
    assert!(!e.is_ready(), "it is in the middle of it");
    kill::kill(&mut daemon);
    fs::remove_file(dir.path().join("daemon.log")).expect("a log");
    let mut daemon = start(&e);
    let said = e.said();
    let replayed = said.split("replayed=").nth(1).and_then(|s| s.split_whitespace().next()?.parse::<u64>().ok()).expect("it says how many");
    assert!(replayed > 0 && replayed < 12_000 + 5000 * LONG, "{said}");
    assert_eq!(ids(&e, "&rule=each"), told);
    kill::stop(&mut daemon);
}

#[test]
fn what_follows_from_a_record_is_told_under_the_same_id_by_a_second_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Estate::with(dir.path(), &dir.path().join("data"), "", 1);
    let mut daemon = start(&e);
    let body: String = (0..60).map(|n| kill::record("http1", n) + "\n").collect();
    assert_eq!(e.post("a", &body), 200);
    let told = || {
        settled(&e, 60, false);
        e.wait("every alert is a line", || ids(&e, "").is_subset(&kill::lines(&e)));
        (ids(&e, ""), kill::lines(&e))
    };
    let first = told();
    assert!(first.0.len() > 60 && first.0 == first.1, "{first:?}");
    kill::kill(&mut daemon);
    // All is told again: nothing says that it was written.
    fs::remove_file(dir.path().join("data/store.redb")).expect("removed");
    let mut daemon = start(&e);
    assert_eq!(told(), first);
    kill::stop(&mut daemon);
}

#[test]
fn a_request_that_is_repeated_without_a_key_is_stored_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Estate::with(dir.path(), &dir.path().join("data"), "", 1);
    let mut daemon = start(&e);
    let (keyless, keyed) = (kill::record("keyless", 0) + "\n", kill::record("keyed", 0) + "\n");
    for _ in 0..2 {
        let answer = e.ask("POST", "/api/v1/ingest/fail2ban", "", keyless.as_bytes()).expect("an answer");
        assert_eq!((answer.0, e.post("k", &keyed)), (200, 200));
    }
    kill::stop(&mut daemon);
    let all: Vec<String> = kill::dump(&e).into_values().filter_map(|r| Some(kill::number(&r)?.0)).collect();
    assert_eq!(all, ["keyless", "keyed", "keyless"]);
}

/// Operations that fail once while the daemon runs; `tests/run --long failing` tries many more.
const FAILING: [&str; 12] = [
    "sync:3:EIO",
    "sync:20:EIO",
    "sync:21:ENOSPC",
    "write:4:EIO",
    "write:17:ENOSPC",
    "write:40:EIO",
    "create:2:ENOSPC",
    "create:4:EIO",
    "rename:1:EIO",
    "sync_dir:3:EIO",
    "commit:5:EIO",
    "commit:9:ENOSPC",
];

/// Runs under load with one operation that fails, then judges what is there.
fn failing(point: &str, seed: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Arc::new(Estate::with(dir.path(), &dir.path().join("data"), "[journal]\nsegment_bytes = \"1MiB\"\n", 6));
    let fail = |what: &str| format!("VIGILD_FAIL={point}: {what}");
    let mut daemon = e.start_with("VIGILD_FAIL", Some(point));
    let begin = Instant::now();
    // An operation without which it cannot begin ends it with a word, and the next start goes on.
    while !e.is_ready() {
        if daemon.try_wait().expect("a child").is_some() {
            assert!(e.said().contains("made to fail"), "{}\n{}", fail("it begins"), e.said());
            daemon = e.start_with("VIGILD_FAIL", None);
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{}\n{}", fail("it is ready"), e.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    let http = std::thread::spawn({
        let e = e.clone();
        move || kill::http_sender(&e, "http1")
    });
    let file = std::thread::spawn({
        let e = e.clone();
        move || kill::file_writer(&e, seed)
    });
    let tcp = std::thread::spawn({
        let e = e.clone();
        move || kill::tcp_sender(&e)
    });
    std::thread::sleep(Duration::from_millis(1200));
    let before = e.acknowledged.load(Ordering::Relaxed);
    e.wait(&fail("it goes on"), || e.acknowledged.load(Ordering::Relaxed) > before + 50);
    e.stop.store(true, Ordering::Relaxed);
    let accepted = BTreeMap::from([("http1".to_owned(), http.join().expect("a sender"))]);
    let whole = BTreeMap::from([("file".to_owned(), file.join().expect("the writer"))]);
    kill::judge(&e, &mut daemon, &accepted, &whole, &tcp.join().expect("the sender"), &fail);
    let said = e.said();
    assert!(!said.contains("panicked"), "{}\n{said}", fail("no panic"));
    eprintln!("{point}: {}", if said.contains("made to fail") { "failed once" } else { "was not reached" });
}

#[test]
fn an_operation_that_fails_once_loses_nothing_that_was_acknowledged() {
    std::thread::scope(|s| {
        for few in FAILING.chunks(2) {
            s.spawn(move || few.iter().enumerate().for_each(|(seed, p)| failing(p, seed as u64)));
        }
    });
}

#[test]
#[ignore = "every Nth operation, run by tests/run --long failing --seeds A..B"]
fn long_failing() {
    for n in super::streams::seeds(1..40) {
        for operation in ["sync", "write", "create", "rename", "remove", "sync_dir", "commit"] {
            for error in ["EIO", "ENOSPC"] {
                failing(&format!("{operation}:{n}:{error}"), n);
            }
        }
    }
}

#[test]
#[ignore = "a gigabyte, run by tests/run --long replay"]
fn long_replay_of_a_gigabyte_is_ready_in_five_seconds() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Estate::with(dir.path(), &dir.path().join("data"), "", 1);
    let config = fs::read_to_string(dir.path().join("vigild.toml")).expect("text");
    // The built-in rules and native records.
    let config: String = config.lines().filter(|l| !l.starts_with("rules =") && !l.starts_with("format =")).map(|l| l.to_owned() + "\n").collect();
    fs::write(dir.path().join("vigild.toml"), config).expect("written");
    let mut daemon = start(&e);
    let generate = Command::new(env!("CARGO_BIN_EXE_vigild"))
        .args(["gen", "--count", "950000", "--attacks", "0.001", "--connections", "2", "--to"])
        .arg(format!("tcp://{}", e.syslog))
        .status();
    assert!(generate.expect("it runs").success());
    e.wait("all is stored", || e.metric("vigild_records_total", &[]) >= 950_000);
    let bytes = e.metric("vigild_bytes_total", &[]);
    kill::kill(&mut daemon);
    let begin = Instant::now();
    let mut daemon = start(&e);
    let took = begin.elapsed();
    let said = e.said();
    let line = said.lines().rev().find(|l| l.contains("the engine is where the journal ends")).unwrap_or_default();
    eprintln!("replay: ready after {:.2} s with {} MB in the journal: {line}", took.as_secs_f64(), bytes >> 20);
    assert!(took < Duration::from_secs(5), "{took:?}");
    kill::kill(&mut daemon);
}
