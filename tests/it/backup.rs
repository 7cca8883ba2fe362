//! A backup that is made while records come in, and what becomes of it when it is put in place again.

mod image;

use crate::daemon::{Answer, Daemon};
use crate::full::Small;
use crate::process::is_left_out;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Small segments, so that there are sealed ones; each tenth record is an alert.
const CONFIG: &str = "rules = [\"{dir}/r.toml\"]\n[[source]]\nkind = \"http\"\n[journal]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"1GiB\"\nmin_free = 0\n[limits]\nreplay = \"100ms\"\n";
const RULE: &str = "[[rule]]\nid = \"tenth\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\nmax_alerts = 100000\nwhere = 'user.name == \"tenth\"'\n\
[[rule]]\nid = \"three\"\ntitle = \"t\"\nseverity = \"low\"\nwhere = 'user.name == \"tenth\"'\nby = [\"user.name\"]\n\
count = { at_least = 3, within = \"1h\" }\nrearm = \"every\"\nmax_alerts = 100000\n";
/// Records of one request.
const BATCH: u64 = 100;

fn vigild(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigild")).args(args).output().expect("it runs")
}

fn path(p: &Path) -> &str {
    p.to_str().expect("UTF-8")
}

fn backup(d: &Daemon, to: &Path, more: &[&str]) -> Output {
    let (url, data) = (format!("http://{}", d.http), d.dir.path().join("data"));
    vigild(&[&["backup", "--to", path(to), "--url", &url, "--data", path(&data)], more].concat())
}

fn restore(from: &Path, data: &Path) -> Output {
    vigild(&["restore", "--from", path(from), "--data", path(data)])
}

fn said(o: &Output) -> String {
    format!("{:?} {}{}", o.status.code(), String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

/// Stores the batch of this number, counted from 0; event time has ten records a second.
fn post(d: &Daemon, batch: u64) -> Answer {
    let lines: String = (batch * BATCH..(batch + 1) * BATCH)
        .map(|n| {
            let user = if n % 10 == 0 { "tenth" } else { "other" };
            let (h, m, s) = (n / 36_000, n / 600 % 60, n / 10 % 60);
            format!(
                "{{\"@timestamp\":\"2026-11-23T{h:02}:{m:02}:{s:02}Z\",\"message\":\"record n{n} {}\",\"user\":{{\"name\":\"{user}\"}}}}\n",
                "filling ".repeat(30)
            )
        })
        .collect();
    d.post("/api/v1/ingest/ecs", "", lines.as_bytes())
}

fn get(d: &Daemon, path: &str) -> Value {
    // An answer of HTTP/1.0 is not cut into chunks.
    let head = format!("GET {path} HTTP/1.0\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n", d.token());
    let a = d.ask(&head, b"");
    assert_eq!(a.status, 200, "{}", a.body);
    serde_json::from_str(&a.body).expect("JSON")
}

/// How many records there are, each once and in order; and how many are a tenth.
fn records(d: &Daemon) -> (u64, u64) {
    let total = get(d, "/api/v1/search?limit=0")["total"].as_u64().expect("a number");
    let tenth = get(d, "/api/v1/search?limit=0&q=user.name+%3D%3D+%22tenth%22")["total"].as_u64().expect("a number");
    for n in [0, total / 2, total - 1] {
        let v = get(d, &format!("/api/v1/search?q=n{n}&fields=event.sequence"));
        assert_eq!((v["total"].as_u64(), v["hits"][0]["event"]["sequence"].as_u64()), (Some(1), Some(n + 1)), "record {n} of {total}: {v}");
    }
    (total, tenth)
}

/// The alerts of a rule: the ids, and the records that fired them, each once.
fn alerts(d: &Daemon, rule: &str) -> (BTreeSet<String>, BTreeSet<u64>) {
    let (mut ids, mut fired, mut cursor) = (BTreeSet::new(), BTreeSet::new(), String::new());
    loop {
        let page = get(d, &format!("/api/v1/alerts?rule={rule}&limit=1000{cursor}"));
        for a in page["alerts"].as_array().expect("a list") {
            assert!(ids.insert(a["event"]["id"].as_str().expect("an id").to_owned()), "twice: {a}");
            let last = a["alert"]["evidence"].as_array().and_then(|e| e.last()).expect("evidence");
            assert!(fired.insert(last["seq"].as_u64().expect("a number")), "twice: {a}");
        }
        match page["next"].as_str() {
            Some(n) => cursor = format!("&cursor={n}"),
            None => return (ids, fired),
        }
    }
}

/// Waits until all alerts that follow from so many tenths are there, and compares them with the records.
fn judge(d: &mut Daemon, tenth: u64) {
    d.wait("all alerts are there", |d| get(d, "/api/v1/alerts?rule=tenth&limit=1")["total"].as_u64() == Some(tenth));
    let (_, fired) = alerts(d, "tenth");
    let want: BTreeSet<u64> = (0..tenth).map(|n| n * 10 + 1).collect();
    assert_eq!(fired, want, "one alert for each of its records");
    d.wait("windows went on", |d| get(d, "/api/v1/alerts?rule=three&limit=1")["total"].as_u64() == Some(tenth - 2));
}

fn start() -> Daemon {
    let mut d = Daemon::start("[[source]]\nkind = \"http\"\n", &[]);
    // The rule file stands beside the configuration that names it.
    d.stop();
    fs::write(d.dir.path().join("r.toml"), RULE).expect("written");
    let text = CONFIG.replace("{dir}", path(d.dir.path()));
    fs::write(d.dir.path().join("vigild.toml"), text).expect("written");
    fs::remove_dir_all(d.dir.path().join("data")).expect("removed");
    d.start_again();
    d
}

/// What a directory holds, as paths and lengths.
fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for e in fs::read_dir(dir).into_iter().flatten().map(|e| e.expect("an entry").path()) {
        if e.is_dir() { all.extend(listed(&e)) } else { all.push(e) }
    }
    all.sort();
    all
}

/// Ends who looks at it, also where an assertion fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_and_each_alert_once() {
    let mut d = start();
    let t = tempfile::tempdir().expect("a folder");
    let (stored, on) = (AtomicU64::new(0), AtomicBool::new(true));
    let made: Vec<(PathBuf, u64)> = std::thread::scope(|s| {
        let _ends = Ends(&on);
        s.spawn(|| {
            while on.load(Ordering::Relaxed) {
                let n = stored.load(Ordering::Relaxed);
                let a = post(&d, n);
                assert_eq!(a.status, 200, "{}", a.body);
                stored.store(n + 1, Ordering::Release);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        (0..4)
            .map(|i| {
                let at_least = 60 * (i + 1);
                while stored.load(Ordering::Acquire) < at_least {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let (before, to) = (stored.load(Ordering::Acquire), t.path().join(format!("backup {i}")));
                let o = backup(&d, &to, if i % 2 == 0 { &[] } else { &["--index"] });
                assert!(o.status.success(), "{}", said(&o));
                (to, before)
            })
            .collect()
    });
    d.kill();
    let data = d.dir.path().join("data");
    let (mut sealed, mut ahead, mut states) = (0, 0, 0);
    for (from, before) in made {
        let names = listed(&from);
        sealed += names.iter().filter(|p| p.extension().is_some_and(|e| e == "seal")).count();
        states += names.iter().filter(|p| p.extension().is_some_and(|e| e == "state")).count();
        fs::rename(&data, t.path().join(format!("before {before}"))).expect("moved");
        let o = restore(&from, &data);
        assert!(o.status.success(), "{}", said(&o));
        // It may be what is there, or an end that never came: the daemon's own token is not in it.
        d.start_again();
        let (total, tenth) = records(&d);
        assert!(total >= before * BATCH && total % BATCH == 0, "{total} of {} records that were acknowledged", before * BATCH);
        ahead += u64::from(total > before * BATCH);
        judge(&mut d, tenth);
        // It goes on from there.
        assert_eq!(post(&d, total / BATCH).status, 200);
        assert_eq!(records(&d).0, total + BATCH);
        judge(&mut d, tenth + BATCH / 10);
        let log = d.log();
        assert!(!log.contains("the journal has lost") && !log.contains("is ahead of the journal") && !log.contains("damaged"), "{log}");
        d.kill();
    }
    assert!(sealed > 2 && ahead > 0 && states > 0, "{sealed} sealed segments, {ahead} had what came meanwhile, {states} states");
}

#[test]
fn a_backup_for_which_there_is_no_room_is_not_begun() {
    if is_left_out("full") {
        return;
    }
    let d = start();
    (0..30).for_each(|n| assert_eq!(post(&d, n).status, 200));
    let t = tempfile::tempdir().expect("a folder");
    let small = Small::mount(&t.path().join("small"));
    fs::create_dir(t.path().join("small/b")).expect("a folder");
    small.fill(512 << 10);
    let to = t.path().join("small/b");
    let o = backup(&d, &to, &["--index"]);
    assert!(o.status.code() == Some(4) && said(&o).contains("it takes "), "{}", said(&o));
    assert!(listed(&to).is_empty() && fs::read_dir(&to).expect("a folder").next().is_none());
    small.empty();
    let o = backup(&d, &to, &["--index"]);
    assert!(o.status.success(), "{}", said(&o));
    // Nothing of it is a second name of the daemon's: it is another file system.
    let data = t.path().join("data");
    small.fill(0);
    assert!(restore(&to, &data).status.success(), "a backup is read where nothing can be written");
    for (outcome, n) in [("failed", 1.0), ("made", 1.0)] {
        assert_eq!(d.metric(&format!("vigild_backups_total{{outcome=\"{outcome}\"}}")), n);
    }
}

#[test]
fn a_backup_that_is_not_whole_or_has_no_place_is_refused() {
    let mut d = start();
    (0..30).for_each(|n| assert_eq!(post(&d, n).status, 200));
    let t = tempfile::tempdir().expect("a folder");
    let (to, data) = (t.path().join("b"), t.path().join("data"));
    let inside = backup(&d, &d.dir.path().join("data/copy"), &[]);
    assert!(inside.status.code() == Some(4) && said(&inside).contains("lies in the data directory"), "{}", said(&inside));
    assert!(!d.dir.path().join("data/copy").exists());
    assert!(backup(&d, &to, &["--index"]).status.success());
    let twice = backup(&d, &to, &[]);
    assert!(twice.status.code() == Some(4) && said(&twice).contains("is not empty"), "{}", said(&twice));
    // The same from the directory of a stopped daemon.
    d.stop();
    let (stopped, own) = (t.path().join("stopped"), d.dir.path().join("data"));
    let o = vigild(&["backup", "--to", path(&stopped), "--data", path(&own)]);
    assert!(o.status.success(), "{}", said(&o));
    for from in [&to, &stopped] {
        let o = restore(from, &data);
        assert!(o.status.success(), "{}", said(&o));
        assert!(data.join("journal/identity").exists() && data.join("store.redb").exists() && !data.join("restoring").exists());
        let again = restore(from, &data);
        assert!(again.status.code() == Some(4) && said(&again).contains("is not empty"), "{}", said(&again));
        fs::remove_dir_all(&data).expect("removed");
    }
    // What a restore that was killed has left is no obstacle.
    fs::create_dir_all(data.join("restoring/journal")).expect("a folder");
    assert!(restore(&to, &data).status.success());
    // One that was killed while files took their places is finished, and nothing starts before.
    fs::create_dir_all(data.join("restored")).expect("a folder");
    fs::rename(data.join("journal"), data.join("restored/journal")).expect("moved");
    fs::copy(stopped.join("backup.json"), data.join("restored/backup.json")).expect("copied");
    let another = restore(&to, &data);
    assert!(another.status.code() == Some(4) && said(&another).contains("is not empty"), "{}", said(&another));
    fs::copy(to.join("backup.json"), data.join("restored/backup.json")).expect("copied");
    let early = vigild(&["run", "--data", path(&data), "--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0"]);
    assert!(!early.status.success() && said(&early).contains("was not finished"), "{}", said(&early));
    assert!(!data.join("journal").exists() && restore(&to, &data).status.success());
    assert!(data.join("journal/identity").exists() && !data.join("restored").exists());
    fs::remove_dir_all(&data).expect("removed");
    let mut refused = 0;
    for file in listed(&to) {
        let whole = fs::read(&file).expect("read");
        // What is linked is the daemon's own.
        fs::remove_file(&file).expect("removed");
        let missing = restore(&to, &data);
        assert!(missing.status.code() == Some(4) && said(&missing).contains("missing"), "{}: {}", file.display(), said(&missing));
        if !whole.is_empty() {
            let mut hurt = whole.clone();
            hurt[whole.len() / 2] ^= 1;
            fs::write(&file, &hurt).expect("written");
            let damaged = restore(&to, &data);
            assert!(damaged.status.code() == Some(4) && said(&damaged).contains("damaged"), "{}: {}", file.display(), said(&damaged));
            fs::write(&file, &whole[..whole.len() - 1]).expect("written");
            assert_eq!(restore(&to, &data).status.code(), Some(4), "{}", file.display());
        }
        fs::write(&file, &whole).expect("written");
        assert!(!data.exists(), "nothing is left of it");
        refused += 1;
    }
    assert!(refused > 5, "{refused} files");
    assert!(restore(&to, &data).status.success());
}
