//! Bundles of rules and settings in the data directory: each is there while something names it, and no longer.

use crate::daemon::Daemon;
use crate::full::noise;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const CONFIG: &str = "rules = [\"{rules}\"]\n[[source]]\nkind = \"http\"\n[journal]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"4MiB\"\nmin_free = 0\n";

/// A rule that is another one for each number.
fn rule(n: u64) -> String {
    format!("[[rule]]\nid = \"r\"\ntitle = \"Number {n}\"\nseverity = \"low\"\nwhere = 'event.action == \"x\"'\nrearm = \"every\"\n")
}

/// The hashes by which the files of a folder are named.
fn bundles(data: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(data.join("bundles")).expect("a folder").map(|f| f.expect("a file").file_name().into_string().expect("UTF-8"));
    names.map(|n| n.strip_suffix(".json").expect("a bundle").to_owned()).collect()
}

/// The bundles that the journal of a daemon that does not run names.
fn named(data: &Path) -> BTreeSet<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_vigild")).args(["journal", "dump", "--data"]).arg(data).output().expect("it runs");
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let entries = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    entries.filter(|e| e["kind"] == "load").map(|e| e["bundle"].as_str().expect("a hash").to_owned()).collect()
}

struct Reloads {
    d: Daemon,
    rules: TempDir,
    n: u64,
}

impl Reloads {
    /// Lets other rules hold, and waits until these are in a saved state.
    fn reload(&mut self) {
        self.n += 1;
        fs::write(self.rules.path().join("r.toml"), rule(self.n)).expect("written");
        let folder = self.d.dir.path().join("data/snapshots");
        let (reloads, before) = (self.d.log().matches("reloaded: ").count(), states(&folder));
        self.d.signal("HUP");
        self.d.wait("it is reloaded", |d| d.log().matches("reloaded: ").count() > reloads);
        self.d.wait("its state is saved", |_| states(&folder) != before);
    }
}

/// The saved states.
fn states(dir: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(dir).expect("a folder").map(|f| f.expect("a file").file_name().into_string().expect("UTF-8"));
    names.filter(|n| n.ends_with(".state")).collect()
}

#[test]
fn bundles_are_kept_while_a_state_or_the_journal_names_them_and_then_deleted() {
    let rules = tempfile::tempdir().expect("a folder");
    fs::write(rules.path().join("r.toml"), rule(0)).expect("written");
    let config = CONFIG.replace("{rules}", &rules.path().display().to_string());
    let mut r = Reloads { d: Daemon::start(&config, &[]), rules, n: 0 };
    let data = r.d.dir.path().join("data");
    assert_eq!(bundles(&data).len(), 1);
    for _ in 0..8 {
        r.reload();
    }
    let early = bundles(&data);
    assert_eq!(early.len(), 9, "the journal names all of them");
    // Retention forgets what lies before the older of two states.
    for seed in 0..12 {
        assert_eq!(r.d.post("/api/v1/ingest/syslog", "", noise(1 << 20, seed).as_bytes()).status, 200);
        if seed % 4 == 3 {
            r.reload();
        }
    }
    let first = data.join("journal/00000000000000000001");
    r.d.wait("the first segment has gone", |_| ["log", "seal"].iter().all(|kind| !first.with_extension(kind).exists()));
    // It goes on with each state, and until it is past the next load the last of them is in force where the journal begins.
    for _ in 0..20 {
        r.reload();
        if bundles(&data).is_disjoint(&early) {
            break;
        }
    }
    r.d.wait("what nobody names is gone", |_| bundles(&data).is_disjoint(&early));
    r.d.stop();
    let (there, named) = (bundles(&data), named(&data));
    assert!(named.is_subset(&there), "{named:?} in {there:?}");
    assert!(!named.is_empty() && there.len() <= named.len() + 2, "beside these there are those of two states: {there:?}, {named:?}");
    // Without a state all of the journal is replayed, each stretch under its own bundle.
    fs::remove_dir_all(data.join("snapshots")).expect("removed");
    r.d.start_again();
    assert!(!r.d.log().contains("cannot be had any more"), "{}", r.d.log());
    assert_eq!(r.d.get("/readyz").status, 200);
}
