//! Every built-in rule over generated traffic with attacks in it, and over captured data: a backtest and a replay of everything.

use super::naive::{self, Watermark};
use super::{BOUNDS, lines};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vigild::backtest::{Ran, Trial, run};
use vigild::config::{self, Config};
use vigild::disk::Real;
use vigild::event::{Batch, Timestamp};
use vigild::r#gen::{Attacks, Recipe, START, Stream};
use vigild::index::Index;
use vigild::journal::{Journal, Options, Reader, Records, What};
use vigild::metrics::Metrics;
use vigild::pipeline::bundle::{Bundle, Loaded};
use vigild::pipeline::durable::Durable;
use vigild::pipeline::index::{self as indexing, With};
use vigild::pipeline::past::Past;
use vigild::pipeline::snapshot::Snapshots;
use vigild::rule::RuleSet;
use vigild::search::{Ground, Range};

/// Records of one stream come in batches of so many.
const BATCH: usize = 50;

/// A journal of one bundle, the built-in one, and its index.
struct Estate {
    journal: Journal,
    index: Arc<Index>,
    past: Arc<Past>,
    today: Arc<Loaded>,
    _dir: TempDir,
}

fn records(stream: &str, received: Timestamp, batch: Batch) -> What {
    What::Records(Records { source: "s".into(), stream: stream.into(), format: None, received, near: received, batch, mark: None })
}

impl Estate {
    /// Of what `fill` gives, entry by entry.
    fn new(fill: impl FnOnce(&mut dyn FnMut(What))) -> Estate {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options { max_bytes: u64::MAX, min_free: 0, ..Options::default() };
        let (mut journal, _) = Journal::open(Arc::new(Real), &dir.path().join("journal"), options, || 7).expect("a journal");
        let (bundle, loaded, _) = Bundle::of(&Config::default(), vigild::builtin::rules(), &|_| Err("none".into()));
        let today = Arc::new(loaded);
        let snapshots = Snapshots::open(Arc::new(Real), dir.path(), journal.seed()).expect("a folder");
        snapshots.put_bundle(&bundle).expect("room");
        journal.append(&What::Load { hash: today.hash, rebuild: 0 });
        let mut n = 0;
        fill(&mut |what| {
            journal.append(&what);
            n += 1;
            if n % 20 == 0 {
                journal.write().expect("room");
                journal.sync().expect("no fault");
            }
        });
        journal.write().expect("room");
        journal.sync().expect("no fault");
        let mut keeper = journal.keeper();
        while keeper.step().expect("no fault") {}
        let index = Arc::new(Index::open(&dir.path().join("index"), journal.seed()).expect("a folder"));
        let past = Arc::new(Past::of(snapshots, today.clone(), &[]));
        let with = With {
            index: index.clone(),
            past: past.clone(),
            reader: journal.reader(),
            durable: Arc::new(Durable::default()),
            metrics: Arc::new(Metrics::default()),
            options: indexing::Options::of(&config::Index::default(), 0),
        };
        indexing::catch_up(with, &mut |_| ()).expect("no fault");
        assert!(index.missing(1..=journal.last()).is_empty());
        Estate { journal, index, past, today, _dir: dir }
    }

    /// So many records of all tools over four streams, attacks among them.
    fn generated(events: u64) -> Estate {
        Estate::new(|put| {
            let recipe = Recipe { streams: 4, count: Some(events), attacks: Attacks::Fraction(0.02), ..Recipe::default() };
            let mut all: Vec<Stream> = (0..4).map(|i| Stream::new(&recipe, i)).collect();
            let (mut one, mut more) = (Vec::new(), true);
            while more {
                more = false;
                for (i, s) in all.iter_mut().enumerate() {
                    let (mut batch, mut last) = (Batch::default(), START);
                    while batch.records.len() < BATCH
                        && let Some(made) = s.next(START, &mut one)
                    {
                        batch.push(&one, false);
                        one.clear();
                        last = made.ts;
                    }
                    if !batch.records.is_empty() {
                        put(records(&format!("stream {i}"), last, batch));
                        more = true;
                    }
                }
            }
        })
    }

    /// The files below a folder, each a stream, its lines as they stand.
    fn captured(folder: &Path) -> Estate {
        let mut files = Vec::new();
        walk(folder, &mut files);
        files.sort();
        assert!(!files.is_empty(), "there is no file in {}", folder.display());
        Estate::new(|put| {
            for input in vigild::cli::inputs::Inputs::open(&files, None, 1 << 20).expect("they can be read").iter_mut() {
                loop {
                    let mut batch = Batch::default();
                    let more = input.read(&mut batch).expect("read");
                    if !batch.records.is_empty() {
                        put(records(&input.stream, input.modified, batch));
                    }
                    if !more {
                        break;
                    }
                }
            }
        })
    }

    fn backtest(&self, reader: &Reader, rules: &Arc<RuleSet>) -> (Ran, Duration) {
        let (stop, begin) = (AtomicBool::new(false), Instant::now());
        let ground = Ground { reader, index: &self.index, past: &self.past, stop: &stop };
        let range = Range { since: None, until: None, last_lsn: self.journal.last(), last_seq: self.journal.next_seq() - 1 };
        let trial = Trial { rules: rules.clone(), today: &self.today, bounds: BOUNDS, end: BOUNDS.end() };
        let ran = run(&ground, range, &trial, &mut |_| Ok(())).expect("no fault");
        (ran, begin.elapsed())
    }

    /// Compares both for these rules and those they listen to; says what it took.
    fn check(&self, of: &[usize], watermark: Watermark) -> Took {
        let set = Arc::new(vigild::ruletest::upstream(&self.today.rules, of).0);
        let reader = self.journal.reader();
        let (ran, fast) = self.backtest(&reader, &set);
        let begin = Instant::now();
        let want = naive::replay(&reader, &self.today, &|_| self.today.clone(), &set, &|_, _| true, watermark);
        let slow = begin.elapsed();
        let name = if let [one] = of { self.today.rules.rules[*one].id.to_string() } else { "all together".to_owned() };
        assert!(ran.missing.is_empty() && ran.cut.is_none(), "{name}: {:?} {:?}", ran.missing, ran.cut);
        let (got, want) = (lines(&set, &ran.alerts), lines(&set, &want));
        let differs = got.iter().zip(&want).find(|(a, b)| a != b);
        assert!(got == want, "{name}: {} alerts of {}; {differs:#?}", got.len(), want.len());
        assert_eq!(ran.events, self.journal.next_seq() - 1, "{name}");
        Took { name, alerts: got.len(), read: ran.read, events: ran.events, fast, slow }
    }

    /// All rules together, and each of these alone; the alerts of all together.
    fn campaign(&self, alone: impl Iterator<Item = usize>, watermark: Watermark) -> usize {
        let all: Vec<usize> = (0..self.today.rules.rules.len()).collect();
        let together = self.check(&all, watermark);
        println!("{together}");
        let mut each: Vec<Took> = alone.map(|i| self.check(&[i], watermark)).collect();
        each.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
        each.iter().for_each(|t| println!("{t}"));
        together.alerts
    }
}

struct Took {
    name: String,
    alerts: usize,
    read: u64,
    events: u64,
    fast: Duration,
    slow: Duration,
}

impl Took {
    fn ratio(&self) -> f64 {
        self.fast.as_secs_f64() / self.slow.as_secs_f64()
    }
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (fast, slow) = (self.fast.as_secs_f64(), self.slow.as_secs_f64());
        let Took { name, alerts, read, events, .. } = self;
        write!(f, "{:.4} of the replay's time ({fast:.3} s, {slow:.3} s), {read} of {events} read, {alerts} alerts: {name}", self.ratio())
    }
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for e in std::fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").path()) {
        if e.is_dir() { walk(&e, out) } else { out.push(e) }
    }
}

#[test]
fn built_in_rules_fire_the_same_in_a_backtest_and_in_a_replay() {
    let e = Estate::generated(20_000);
    let alerts = e.campaign((0..e.today.rules.rules.len()).step_by(9), Watermark::Told);
    assert!(alerts > 20, "{alerts} alerts");
    if let Some(folder) = std::env::var_os("VIGILD_DATA") {
        let e = Estate::captured(Path::new(&folder));
        e.campaign(0..e.today.rules.rules.len(), Watermark::Told);
    }
}

#[test]
#[ignore = "every built-in rule over 1 M events, minutes; part of tests/run --long backtest"]
fn long_backtest_of_built_in_rules() {
    let e = Estate::generated(1_000_000);
    let alerts = e.campaign(0..e.today.rules.rules.len(), Watermark::Events);
    assert!(alerts > 1000, "{alerts} alerts");
}
