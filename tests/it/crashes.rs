//! The journal on a disk that forgets, tears, refuses and fills up: nothing that was acknowledged is lost, nothing is there twice.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use vigild::disk::sim::{Dice, Fault, Sim};
use vigild::event::{Batch, Span, Timestamp};
use vigild::journal::{FilePosition, Journal, Keeper, Mark, Options, Records, What};

const DIR: &str = "/journal";
const SECOND: i64 = 1_000_000_000;

fn options() -> Options {
    Options {
        segment_bytes: 6 << 10,
        max_bytes: 24 << 10,
        max_age: None,
        min_free: 0,
        floor_bytes: 4 << 10,
        block_bytes: 2 << 10,
        keys: 1000,
        key_age: Span::seconds(1_000_000),
        files: 1000,
    }
}

/// What has been given to the journal, in order, and what is known of it.
#[derive(Default)]
struct Model {
    /// By lsn, from 1.
    log: Vec<What>,
    /// What had these numbers before a write failed, since the last acknowledgement.
    displaced: BTreeMap<u64, Vec<What>>,
    acked: u64,
    /// How many records of each stream there are.
    counts: HashMap<String, u64>,
    keys: u64,
}

/// The stream and number that a record's text begins with.
fn number(text: &[u8]) -> (String, u64) {
    let text = std::str::from_utf8(text).expect("text");
    let (name, rest) = text.split_once('#').expect("a number");
    (name.to_owned(), rest.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

fn same(a: &What, b: &What) -> bool {
    match (a, b) {
        (What::Records(a), What::Records(b)) => {
            a.source == b.source
                && a.stream == b.stream
                && a.format == b.format
                && (a.received, a.near) == (b.received, b.near)
                && a.batch.records == b.batch.records
                && a.batch.bytes == b.batch.bytes
                && a.mark == b.mark
        }
        (What::Tick(a), What::Tick(b)) => a == b,
        (What::Behind { source, stream, yes }, What::Behind { source: s, stream: t, yes: y }) => (source, stream, yes) == (s, t, y),
        (What::Closed { source, stream }, What::Closed { source: s, stream: t }) => (source, stream) == (s, t),
        (What::Load { hash, rebuild }, What::Load { hash: h, rebuild: r }) => (hash, rebuild) == (h, r),
        (What::Gap { from, to }, What::Gap { from: f, to: t }) => (from, to) == (f, t),
        _ => false,
    }
}

fn records(w: &What) -> Vec<&[u8]> {
    match w {
        What::Records(r) => r.batch.records.iter().map(|x| r.batch.record(*x)).collect(),
        _ => Vec::new(),
    }
}

impl Model {
    fn seq(&self) -> u64 {
        1 + self.log.iter().map(|w| records(w).len() as u64).sum::<u64>()
    }

    fn entry(&mut self, d: &mut Dice) -> What {
        let t = Timestamp((1_800_000_000 + self.log.len() as i64) * SECOND);
        let (source, stream): (Arc<str>, String) = match d.below(10) {
            0..=3 => ("tcp".into(), format!("c{}", d.below(3))),
            4 | 5 => ("file".into(), format!("/f{}", d.below(2))),
            6 => ("kafka".into(), format!("p{}", d.below(2))),
            7 => ("http".into(), "h".to_owned()),
            8 => return What::Tick(t),
            _ => {
                let (source, stream) = (Arc::from("tcp"), Arc::from("c0"));
                return match d.below(4) {
                    0 => What::Behind { source, stream, yes: d.one_in(2) },
                    1 => What::Closed { source, stream },
                    2 => What::Load { hash: [d.below(256) as u8; 32], rebuild: d.below(9) },
                    _ => What::Gap { from: Timestamp(t.0 - SECOND), to: t },
                };
            }
        };
        let n = self.counts.entry(stream.clone()).or_default();
        let mut batch = Batch::default();
        for _ in 0..d.below(4) + u64::from(&*source != "http") {
            let fill = if d.one_in(30) { 3000 } else { 200 };
            let text = format!("{stream}#{n} {}", "x".repeat(d.below(fill) as usize));
            batch.push(text.as_bytes(), d.one_in(5));
            *n += 1;
        }
        let mark = match &*source {
            "file" => Some(Mark::File(FilePosition {
                source: source.clone(),
                path: stream.as_str().into(),
                inode: (1, stream.len() as u64 + u64::from(stream.as_bytes()[2])),
                head_len: 8,
                head: [stream.as_bytes()[2]; 16],
                offset: *n / 2,
                skip: *n - *n / 2,
            })),
            "kafka" => Some(Mark::Kafka { group: "g".into(), topic: "t".into(), partition: i32::from(stream.as_bytes()[1]), next: *n as i64 }),
            "http" => {
                self.keys += 1;
                Some(Mark::Key { scope: "/a".into(), key: format!("k{}", self.keys).into(), body: [self.keys as u8; 16] })
            }
            _ => None,
        };
        let format = d.one_in(2).then(|| Arc::from("ecs"));
        What::Records(Records { source, stream: stream.as_str().into(), format, received: t, near: t, batch, mark })
    }

    /// The numbers from here on are given again.
    fn displace(&mut self, from: u64) {
        for (i, w) in self.log.drain(from as usize..).enumerate() {
            self.displaced.entry(from + 1 + i as u64).or_default().push(w);
        }
        self.count();
    }

    /// Counts the records of each stream, which have to be there without a gap.
    fn count(&mut self) {
        self.counts.clear();
        for w in &self.log {
            for r in records(w) {
                let (name, n) = number(r);
                let next = self.counts.entry(name.clone()).or_default();
                assert_eq!(n, *next, "stream {name} has a gap or repeats");
                *next += 1;
            }
        }
    }

    fn acknowledge(&mut self, lsn: u64) {
        if lsn > self.acked {
            self.acked = lsn;
            self.displaced.retain(|l, _| *l > lsn);
        }
    }

    /// Compares an opened journal with what is known, and takes what it holds for what there is.
    fn check(&mut self, journal: &Journal, d: &mut Dice) {
        let last = journal.last();
        assert!(last >= self.acked, "acknowledged up to {}, there up to {last}", self.acked);
        assert_eq!(journal.durable(), last);
        let reader = journal.reader();
        let mut next = None;
        let mut all = Vec::new();
        for e in reader.entries(1) {
            let e = e.unwrap_or_else(|d| panic!("nothing is damaged: {d}"));
            assert!(next.is_none_or(|n| n == (e.lsn, e.seq)), "{next:?} was expected, not {} {}", e.lsn, e.seq);
            next = Some((e.lsn + 1, e.seq + records(&e.what).len() as u64));
            all.push(e);
        }
        assert!(next.is_none_or(|n| n == (last + 1, journal.next_seq())), "{next:?} is not {last}");
        assert_eq!(reader.size().first_lsn, all.first().map_or(last + 1, |e| e.lsn));
        assert!(self.log.len() as u64 >= last || !self.displaced.is_empty());
        let first = all.first().map_or(last + 1, |e| e.lsn);
        self.log.truncate(last as usize);
        for e in &all {
            let known = self.log.get(e.lsn as usize - 1);
            if known.is_some_and(|w| same(w, &e.what)) {
                continue;
            }
            let other = self.displaced.get(&e.lsn).is_some_and(|w| w.iter().any(|w| same(w, &e.what)));
            assert!(other, "entry {} is {:?}, not {known:?}", e.lsn, e.what);
            self.log.truncate(e.lsn as usize - 1);
            self.log.push(e.what.clone());
        }
        assert_eq!(self.log.len() as u64, last, "from {first} on");
        self.displaced.clear();
        self.acked = last;
        self.count();
        assert_eq!(self.seq(), journal.next_seq());
        self.state(journal);
        for _ in 0..3 {
            let Some(e) = all.get(d.below(all.len().max(1) as u64) as usize) else { continue };
            for (i, r) in records(&e.what).into_iter().enumerate() {
                let seq = e.seq + i as u64;
                assert_eq!(reader.record(seq).expect("it is there").as_deref(), Some(r));
                let at = reader.locate(seq).expect("it is there").expect("it is there");
                assert_eq!(reader.read(at).expect("it is there").as_deref(), Some(r));
            }
        }
    }

    /// The journal's positions are those of the records that it has.
    fn state(&self, journal: &Journal) {
        let (mut files, mut kafka, mut keys, mut seq) = (HashMap::new(), HashMap::new(), HashMap::new(), 1);
        for w in &self.log {
            let n = records(w).len() as u64;
            if let What::Records(r) = w {
                match &r.mark {
                    Some(Mark::File(p)) => drop(files.insert(p.path.to_string(), p.clone())),
                    Some(Mark::Kafka { partition, next, .. }) => drop(kafka.insert(*partition, *next)),
                    Some(Mark::Key { key, body, .. }) => drop(keys.insert(key.to_string(), (*body, seq, seq + n - 1))),
                    Some(Mark::Cursor { .. }) | None => {}
                }
            }
            seq += n;
        }
        let s = journal.state();
        assert_eq!(s.files().map(|p| (p.path.to_string(), p.clone())).collect::<HashMap<_, _>>(), files);
        assert_eq!(s.partitions().map(|p| (p.2, p.3)).collect::<HashMap<_, _>>(), kafka);
        assert_eq!(s.keys().map(|(_, k, a)| (k.to_owned(), (a.body, a.first, a.last))).collect::<HashMap<_, _>>(), keys);
    }
}

fn open(sim: &Sim, o: &Options) -> Result<Journal, vigild::journal::JournalError> {
    Journal::open(Arc::new(sim.clone()), Path::new(DIR), o.clone(), || 42).map(|j| j.0)
}

/// One random step of a life.
fn step(j: &mut Journal, keeper: &mut Keeper, m: &mut Model, d: &mut Dice) {
    match d.below(12) {
        0..=6 => {
            for _ in 0..1 + d.below(3) {
                let w = m.entry(d);
                let place = j.append(&w);
                assert_eq!((place.lsn, place.seq), (m.log.len() as u64 + 1, m.seq()));
                m.log.push(w);
            }
            if d.one_in(8) {
                // More joins this group.
                return;
            }
            if j.write().is_err() {
                m.displace(j.last());
            }
            if d.one_in(2) && j.sync().is_ok() {
                assert_eq!(j.durable(), j.last());
            }
        }
        7 => {
            let _ = j.sync();
        }
        8 => keeper.hold(d.below(j.durable() + 2)),
        9 => keeper.hold(u64::MAX),
        _ => {
            let _ = keeper.step();
        }
    }
    assert!(j.durable() <= j.last());
    m.acknowledge(j.durable());
}

/// Lives and deaths of one journal; how many deaths.
fn live(seed: u64) -> u64 {
    let mut d = Dice(seed);
    let mut sim = Sim::new(seed, if d.one_in(4) { 30 << 10 } else { u64::MAX >> 1 });
    let (mut m, o) = (Model::default(), options());
    let crashes = 20;
    let mut died = 0;
    let faulty = d.one_in(3);
    let mut journal = None;
    while died < crashes {
        if faulty && d.one_in(2) {
            sim.fail(1 + d.below(60), [Fault::Io, Fault::NoSpace, Fault::Partial][d.below(3) as usize]);
        }
        // A process that ends without the machine leaves what it wrote.
        let killed = d.one_in(6);
        if !killed {
            sim.crash_at(1 + d.below(80));
        }
        if journal.is_none() {
            let opened = open(&sim, &o);
            assert!(opened.is_ok() || sim.is_off() || faulty || sim_is_full(&sim), "{}", opened.err().map(|e| format!("{e:?}")).unwrap_or_default());
            if let Ok(j) = opened {
                if sim.is_off() {
                    // Only what is read afterwards would fail.
                    drop(j);
                } else {
                    sim.crash_at(u64::MAX >> 1);
                    sim.fail(u64::MAX >> 1, Fault::Io);
                    m.check(&j, &mut d);
                    journal = Some(j);
                    if !killed {
                        sim.crash_at(1 + d.below(80));
                    }
                    if faulty {
                        sim.fail(1 + d.below(60), [Fault::Io, Fault::NoSpace, Fault::Partial][d.below(3) as usize]);
                    }
                }
            }
        }
        if let Some(mut j) = journal.take() {
            let mut keeper = j.keeper();
            for _ in 0..d.below(if killed { 30 } else { 200 }) {
                step(&mut j, &mut keeper, &mut m, &mut d);
                if sim.is_off() {
                    break;
                }
            }
            // What was only put into the buffer was never given to the disk.
        }
        died += 1;
        if !killed || sim.is_off() {
            sim = sim.crash(&mut d);
        }
    }
    sim.crash_at(u64::MAX >> 1);
    sim.fail(u64::MAX >> 1, Fault::Io);
    sim.set_capacity(u64::MAX >> 1);
    m.check(&open(&sim, &o).expect("nothing fails"), &mut d);
    died
}

fn sim_is_full(sim: &Sim) -> bool {
    use vigild::disk::Disk;
    sim.free(Path::new(DIR)).is_ok_and(|n| n < 8 << 10)
}

/// Says how to see a failure again.
struct Again(u64);

impl Drop for Again {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: tests/run --long crashes --seeds {}..{}", self.0, self.0 + 1);
        }
    }
}

fn run(seeds: std::ops::Range<u64>) -> u64 {
    let half = |from: u64| {
        seeds.clone().skip(from as usize).step_by(2).map(|s| {
            let _again = Again(s);
            live(s)
        })
    };
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1).sum::<u64>());
        half(0).sum::<u64>() + other.join().expect("no failure")
    })
}

#[test]
fn what_was_acknowledged_survives_crashes_once_and_in_order() {
    assert_eq!(run(0..2500), 50_000);
}

/// `tests/run --long crashes --seeds A..B`, 20 crashes a seed.
#[test]
#[ignore = "a campaign, run by hand over a range of seeds"]
fn long_crashes() {
    let named = std::env::var("VIGILD_SEEDS").ok();
    let parsed = named.as_deref().and_then(|s| s.split_once("..")).and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    let seeds = parsed.unwrap_or(10_000..60_000);
    eprintln!("crashes {}..{}: {} survived", seeds.start, seeds.end, run(seeds.clone()));
}

/// A life in which the `n`th operation fails; whether there was one.
fn faulted(n: u64, fault: Fault) -> bool {
    let mut d = Dice(7);
    let (mut m, o) = (Model::default(), options());
    let sim = Sim::new(n, u64::MAX >> 1);
    sim.fail(n, fault);
    let mut j = match open(&sim, &o) {
        Ok(j) => j,
        // It says why, and then goes on.
        Err(_) => open(&sim, &o).expect("the fault is over"),
    };
    let mut keeper = j.keeper();
    for _ in 0..60 {
        step(&mut j, &mut keeper, &mut m, &mut d);
    }
    let reached = sim.done() >= n;
    sim.fail(u64::MAX >> 1, fault);
    if reached {
        if j.write().is_err() {
            m.displace(j.last());
            j.write().expect("nothing to write");
        }
        let w = m.entry(&mut d);
        j.append(&w);
        m.log.push(w);
        j.write().expect("the fault is over");
        j.sync().expect("the fault is over");
        assert_eq!(j.durable(), m.log.len() as u64);
    } else {
        m.acknowledge(j.durable());
    }
    m.acknowledge(j.durable());
    while keeper.step().expect("the fault is over") {}
    drop((j, keeper));
    let sim = sim.crash(&mut d);
    m.check(&open(&sim, &o).expect("nothing fails"), &mut d);
    reached
}

#[test]
fn whichever_operation_fails_nothing_that_was_acknowledged_is_lost_and_the_journal_goes_on() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Partial] {
        let n = (1..).find(|n| !faulted(*n, fault)).expect("a life has an end");
        assert!(n > 200, "only {n} operations");
    }
}
