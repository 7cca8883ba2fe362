//! The index of a daemon that is killed, damaged and asked: in the end each record is a document once, and stands where it says.

use super::kill::{self, Estate};
use super::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use vigild::disk::Real;
use vigild::event::Value;
use vigild::index::{Index, Slice};
use vigild::journal::{Journal, Options, What};

/// So many records are published within seconds.
const MANY: u64 = 24_000;

/// Sends records that match no rule; each holds the round's name. Whether they are known to be stored: sent again, they are not
/// stored twice.
fn send(e: &Estate, round: u64) -> bool {
    let body: String =
        (0..MANY).map(|n| format!("2026-11-24 00:00:00,000 fail2ban.filter [1]: DEBUG nothing of note round{round} {n:060}\n")).collect();
    let answer = e.ask("POST", "/api/v1/ingest/fail2ban", &format!("idempotency-key: round-{round}\r\n"), body.as_bytes());
    answer.is_ok_and(|(status, _)| status == 200)
}

fn start(e: &Estate, name: &str, value: &str) -> Process {
    let daemon = e.start(&[(name, value)]);
    e.wait("it is ready", || e.is_ready());
    daemon
}

/// Waits until so many records are in slices.
fn indexed(e: &Estate, records: u64) {
    e.wait("all is indexed", || e.metric("vigild_index_documents", &[]) >= records);
}

/// The folders of slices.
fn slices(e: &Estate) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(e.data.join("index")).expect("a folder").map(|f| f.expect("an entry").path()).collect();
    all.retain(|p| p.join("slice.json").exists());
    all.sort();
    all
}

/// Compares the index of a stopped daemon with its journal, and says how many documents it has.
fn judge(data: &Path, rounds: u64) -> u64 {
    let (journal, _) = Journal::open(Arc::new(Real), &data.join("journal"), Options { min_free: 0, ..Options::default() }, || 0).expect("a journal");
    let (reader, index) = (journal.reader(), Index::look(&data.join("index"), journal.seed()).expect("an index"));
    let all = index.slices();
    assert_eq!(index.said(), []);
    let (mut next, mut docs) = (1, 0);
    for s in all.iter() {
        assert_eq!(s.first(), next, "no entry is left out or there twice");
        next = s.last() + 1;
        for d in 0..s.docs() {
            docs += 1;
            assert_eq!(s.seq(d), docs, "records stand in their order");
            if d % 997 == 0 || d + 1 == s.docs() {
                let at = s.address(d);
                let e = reader.entry(at).expect("read").expect("it is there");
                let What::Records(r) = &e.what else { panic!("{e:?}") };
                assert!((at.record as usize) < r.batch.records.len());
                assert_eq!((e.seq + u64::from(at.record), r.received), (docs, r.near));
                assert!((s.first()..=s.last()).contains(&e.lsn));
                assert!(s.time(d) <= r.received);
            }
        }
        assert_eq!(s.equal("event.module", &[Value::Str(b"fail2ban")]).expect("read").sure.len(), u64::from(s.docs()));
    }
    for round in 1..=rounds {
        let of = |s: &Slice, d: u32| (round - 1) * MANY < s.seq(d) && s.seq(d) <= round * MANY;
        let found: u64 = all
            .iter()
            .map(|s| {
                let a = s.word(&format!("round{round}")).expect("read");
                assert!(a.sure.iter().all(|d| of(s, d)), "round {round}");
                a.may.iter().filter(|d| of(s, *d)).count() as u64
            })
            .sum();
        assert_eq!(found, MANY.min(docs.saturating_sub((round - 1) * MANY)), "round {round}");
    }
    docs
}

#[test]
fn wherever_the_daemon_is_killed_each_record_is_indexed_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Estate::with(dir.path(), &dir.path().join("data"), "", 1);
    let points = [
        "index_create:before:1",
        "index_create:after:4",
        "index_write:before:1",
        "index_write:after:3",
        "index_sync:before:2",
        "index_sync_dir:before:1",
        "index_rename:before:1",
        "index_rename:after:1",
        "index_sync_dir:after:2",
        // With eight slices they are merged.
        "index_rename:before:2",
        "index_rename:after:2",
        "index_remove:before:4",
        "index_remove:after:6",
    ];
    for (round, point) in (1..).zip(points) {
        // It may end before it is ready, or before it answers.
        let mut daemon = e.start(&[("VIGILD_CRASH", point)]);
        let mut ended = || daemon.try_wait().expect("a child").is_some();
        while !ended() && !e.is_ready() {
            std::thread::sleep(Duration::from_millis(10));
        }
        send(&e, round);
        while !ended() && e.metric("vigild_index_documents", &[]) < round * MANY {
            std::thread::sleep(Duration::from_millis(10));
        }
        kill::kill(&mut daemon);
        let mut daemon = start(&e, "VIGILD_LOG", "info");
        assert!(send(&e, round));
        if round % 3 == 0 {
            indexed(&e, round * MANY);
            kill::stop(&mut daemon);
            assert_eq!(judge(&e.data, round), round * MANY);
        } else {
            kill::kill(&mut daemon);
        }
    }
    let mut daemon = start(&e, "VIGILD_LOG", "info");
    indexed(&e, points.len() as u64 * MANY);
    e.wait("they are merged", || slices(&e).len() < 8);
    kill::stop(&mut daemon);
    assert_eq!(judge(&e.data, points.len() as u64), points.len() as u64 * MANY);
    assert!(!e.said().contains("panicked"), "{}", e.said());
}

/// The command on the data directory, and what it says.
fn command(e: &Estate, what: &str) -> (Option<i32>, String) {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    let o = c.args(["index", what, "--config"]).arg(e.dir.join("vigild.toml")).arg("--data").arg(&e.data).output().expect("it runs");
    (o.status.code(), String::from_utf8_lossy(&o.stdout).into_owned() + &String::from_utf8_lossy(&o.stderr))
}

/// Changes a byte in the middle of a slice's posting lists, in a file of its own: one that is open is the old one.
fn damage(slice: &Path) {
    let mut files = fs::read_dir(slice).expect("a slice").map(|f| f.expect("an entry").path());
    let file = files.find(|f| f.extension().is_some_and(|e| e == "idx")).expect("posting lists");
    let mut bytes = fs::read(&file).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 0x55;
    fs::remove_file(&file).expect("removed");
    fs::write(&file, bytes).expect("written");
}

#[test]
fn a_damaged_slice_is_built_again_and_the_whole_index_where_it_is_wanted() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Estate::with(dir.path(), &dir.path().join("data"), "", 1);
    let mut daemon = start(&e, "VIGILD_LOG", "info");
    for round in 1..=2 {
        assert!(send(&e, round));
        indexed(&e, round * MANY);
    }
    assert_eq!(slices(&e).len(), 2);
    // A running daemon compares when it is asked.
    damage(&slices(&e)[0]);
    let (code, said) = command(&e, "verify");
    assert!(code == Some(1) && said.contains("1 slices are whole") && said.contains("put aside: 0000"), "{code:?} {said}");
    let built = |n| e.wait("it is built again", || e.metric("vigild_index_slices_built_total", &[]) >= n);
    built(3);
    let (code, said) = command(&e, "verify");
    assert!(code == Some(0) && said.contains("2 slices"), "{code:?} {said}");
    e.wait("it is counted", || e.metric("vigild_index_slices_damaged_total", &[]) == 1);
    let (code, said) = command(&e, "rebuild");
    assert!(code == Some(0) && said.contains("builds them again"), "{code:?} {said}");
    built(4);
    e.wait("all is there again", || slices(&e).len() == 1 || e.metric("vigild_index_slices_built_total", &[]) >= 5);
    indexed(&e, 2 * MANY);
    kill::stop(&mut daemon);
    assert_eq!(judge(&e.data, 2), 2 * MANY);

    // Nobody runs: the next start finds it, and so does the command.
    damage(&slices(&e)[0]);
    let mut daemon = start(&e, "VIGILD_LOG", "info");
    e.wait("it is put aside", || e.said().contains("it is put aside, and built again"));
    indexed(&e, 2 * MANY);
    kill::stop(&mut daemon);
    assert_eq!(judge(&e.data, 2), 2 * MANY);
    damage(&slices(&e)[0]);
    let (code, said) = command(&e, "verify");
    assert!(code == Some(1) && said.contains("put aside: 0000"), "{code:?} {said}");
    let (code, said) = command(&e, "rebuild");
    assert!(code == Some(0) && said.contains(&format!("{} records", 2 * MANY)), "{code:?} {said}");
    assert_eq!(judge(&e.data, 2), 2 * MANY);
}

#[test]
fn what_cannot_be_written_is_tried_again_and_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let e = Estate::with(dir.path(), &dir.path().join("data"), "", 1);
    let mut daemon = start(&e, "VIGILD_FAIL", "index_write:4:ENOSPC");
    assert!(send(&e, 1));
    e.wait("it is said", || e.said().contains("a slice of the index cannot be written"));
    assert_eq!(e.post("more", "2026-11-24 00:00:00,000 fail2ban.filter [1]: DEBUG more\n"), 200);
    indexed(&e, MANY);
    e.wait("it is over", || e.said().contains("the index is written again"));
    kill::stop(&mut daemon);
    assert!(judge(&e.data, 1) >= MANY);
}

/// Whether two slices are being built at this moment.
fn two_at_once(e: &Estate) -> bool {
    let all = fs::read_dir(e.data.join("index")).into_iter().flatten().flatten();
    let names = all.map(|f| f.file_name().to_string_lossy().into_owned());
    names.filter(|n| n.starts_with("building-") && !n.contains("merge")).count() > 1
}

#[test]
fn where_one_thread_is_far_behind_two_build_and_still_each_record_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (off, on) = ("[index]\nenabled = false\n", "[index]\nslice_records = 3000\n");
    let e = Estate::with(dir.path(), &dir.path().join("data"), off, 1);
    let mut daemon = start(&e, "VIGILD_LOG", "info");
    let (entries, each) = (400, 300);
    for round in 0..entries {
        let body: String = (0..each).map(|n| format!("2026-11-24 00:00:00,000 fail2ban.filter [1]: DEBUG record {round} {n:060}\n")).collect();
        assert_eq!(e.post(&format!("round-{round}"), &body), 200);
    }
    kill::stop(&mut daemon);
    let e = Estate::with(dir.path(), &dir.path().join("data"), on, 1);
    // It ends while both have something in hand, and goes on where it was.
    let mut daemon = e.start(&[("VIGILD_CRASH", "index_rename:after:20")]);
    let mut two = false;
    while daemon.try_wait().expect("a child").is_none() {
        two |= two_at_once(&e);
        std::thread::sleep(Duration::from_millis(2));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(two || cores < 2, "one thread alone has built");
    let mut daemon = start(&e, "VIGILD_LOG", "info");
    indexed(&e, entries * each);
    kill::stop(&mut daemon);
    assert_eq!(judge(&e.data, 0), entries * each);
}
