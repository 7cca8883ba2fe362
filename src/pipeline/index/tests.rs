//! The threads over a journal, step by step: how far behind they are, and what they do when the index or the disk is full.

use super::*;
use crate::config::{self, Config};
use crate::disk::Real;
use crate::event::{Batch, Timestamp};
use crate::index::Manifest;
use crate::journal::{Journal, Options as JournalOptions, Records, What};
use crate::pipeline::bundle::Bundle;
use crate::pipeline::snapshot::Snapshots;
use std::io::Write;
use std::sync::Mutex;
use tempfile::TempDir;

/// Records of one entry.
const RECORDS: u64 = 50;

fn options(max_bytes: u64, min_free: u64) -> Options {
    Options { max_bytes, ..Options::of(&config::Index::default(), min_free) }
}

/// A journal, and what its index is kept with.
struct Estate {
    journal: Journal,
    hash: [u8; 32],
    with: With,
    _dir: TempDir,
}

impl Estate {
    fn new() -> Estate {
        let dir = tempfile::tempdir().expect("a folder");
        let limits = JournalOptions { min_free: 0, ..JournalOptions::default() };
        let (journal, _) = Journal::open(Arc::new(Real), &dir.path().join("journal"), limits, || 7).expect("a journal");
        let snapshots = Snapshots::open(Arc::new(Real), dir.path(), journal.seed()).expect("a folder");
        let (_, loaded, _) = Bundle::of(&Config::default(), Vec::new(), &|_| Err("there is none".into()));
        let hash = loaded.hash;
        let with = With {
            index: Arc::new(Index::open(&dir.path().join("index"), journal.seed()).expect("a folder")),
            past: Arc::new(Past::of(snapshots, Arc::new(loaded), &[])),
            reader: journal.reader(),
            durable: Arc::default(),
            metrics: Arc::new(Metrics::default()),
            options: options(u64::MAX, 0),
        };
        Estate { journal, hash, with, _dir: dir }
    }

    /// A load, which begins a slice, and an entry of records behind it; durable.
    fn more(&mut self) {
        self.journal.append(&What::Load { hash: self.hash, rebuild: 0 });
        let mut batch = Batch::default();
        (0..RECORDS).for_each(|n| batch.push(format!("record {n} behind {}", self.journal.last()).as_bytes(), false));
        let (source, received) = (Arc::<str>::from("s"), Timestamp(1));
        let r = Records { stream: source.clone(), source, format: None, received, near: received, batch, mark: None };
        self.journal.append(&What::Records(r));
        self.journal.write().expect("room");
        self.journal.sync().expect("no fault");
        self.with.durable.set(self.journal.durable());
    }

    /// Builds all that is missing, as where nobody writes any more.
    fn build(&self) -> Vec<Manifest> {
        let with = With { durable: Arc::default(), ..self.with.clone() };
        with.durable.set(self.journal.durable());
        with.durable.end();
        Follow::new(0, Arc::default(), Arc::default(), with, Arc::default()).catch_up(&mut |_| {}).expect("built");
        self.with.index.manifests()
    }

    fn tend(&self, options: Options) {
        Tend::new(With { options, ..self.with.clone() }, Arc::default()).catch_up().expect("done");
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> u64 {
        let text = self.with.metrics.text();
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_else(|| panic!("there is no {name}"));
        line.parse().expect("a number")
    }
}

/// What is logged while it is on, on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(b);
        Ok(b.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("whole")).into_owned()
    }
}

#[test]
fn beyond_max_bytes_the_oldest_slices_go_for_good_and_are_counted() {
    let mut e = Estate::new();
    (0..6).for_each(|_| e.more());
    let all = e.build();
    // Before the first load there is nothing; each other one ends a slice.
    assert_eq!(all.len(), 6);
    let bytes: Vec<u64> = all.iter().map(Manifest::bytes).collect();
    let room = bytes[3] + bytes[4] + bytes[5];
    e.tend(options(room, 0));
    assert_eq!(e.with.index.manifests(), all[3..], "three have room");
    assert_eq!((e.metric("vigild_index_slices_removed_total"), e.metric("vigild_index_slices")), (3, 3));
    assert_eq!(e.metric("vigild_index_bytes"), room);
    assert_eq!(e.build(), all[3..], "they are not built again");
    e.tend(options(room - 1, 0));
    assert_eq!((e.with.index.manifests().as_slice(), e.metric("vigild_index_slices_removed_total")), (&all[4..], 4));
    // What comes is indexed, and what is then the oldest goes.
    e.more();
    assert_eq!(e.build().len(), 3);
    e.tend(options(1, 0));
    assert_eq!((e.with.index.manifests().len(), e.metric("vigild_index_slices_removed_total"), e.metric("vigild_index_bytes")), (0, 7, 0));
}

#[test]
fn with_less_than_min_free_slices_go_and_none_is_built_which_is_said() {
    let mut e = Estate::new();
    (0..3).for_each(|_| e.more());
    assert_eq!(e.build().len(), 3);
    let full = options(u64::MAX, u64::MAX);
    e.tend(full.clone());
    assert_eq!((e.with.index.manifests().len(), e.metric("vigild_index_slices_removed_total")), (0, 3));
    e.more();
    let (log, stop) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let (to, follow) = (log.clone(), Follow::new(0, Arc::default(), Arc::default(), With { options: full, ..e.with.clone() }, stop.clone()));
    let thread = std::thread::spawn(move || {
        let logger = tracing_subscriber::fmt().with_writer(move || to.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(logger, || follow.run());
    });
    let begin = crate::clock::monotonic();
    while !(log.text().contains("too little room on the disk") && e.metric("vigild_index_lag_entries") == 2) {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", log.text());
        std::thread::park_timeout(Duration::from_millis(10));
    }
    stop.store(true, Ordering::Relaxed);
    thread.thread().unpark();
    thread.join().expect("no panic");
    assert!(log.text().contains("a slice of the index cannot be written; it is tried again until it can"), "{}", log.text());
    assert_eq!((e.with.index.manifests(), e.metric("vigild_index_slices_built_total")), (vec![], 3));
    // With room it is built.
    assert_eq!((e.build().len(), e.metric("vigild_index_slices_built_total")), (1, 4));
}

#[test]
fn the_lag_rises_while_nothing_is_indexed_and_falls_when_it_is() {
    let mut e = Estate::new();
    let wait = |e: &Estate, name: &str, wanted: u64| {
        let begin = crate::clock::monotonic();
        while e.metric(name) != wanted {
            assert!(begin.elapsed() < Duration::from_secs(60), "{name} is {}, not {wanted}", e.metric(name));
            std::thread::park_timeout(Duration::from_millis(10));
        }
    };
    let lag = "vigild_index_lag_entries";
    let run = |e: &Estate, min_free: u64| Indexing::start(With { options: options(u64::MAX, min_free), ..e.with.clone() }).expect("threads");
    e.more();
    let held = run(&e, u64::MAX);
    wait(&e, lag, 2);
    e.more();
    wait(&e, lag, 4);
    drop(held);
    let indexing = run(&e, 0);
    // What has been read is in memory, and is no longer missed.
    wait(&e, lag, 0);
    e.more();
    wait(&e, "vigild_index_slices_built_total", 2);
    wait(&e, lag, 0);
    drop(indexing);
    assert_eq!(e.with.index.manifests().iter().map(|m| m.docs).collect::<Vec<_>>(), [RECORDS as u32; 2]);
}
