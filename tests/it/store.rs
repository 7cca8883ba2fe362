//! The store against a plain model: random commits, crashes, faults, a full disk, damage.

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use vigild::alert::{Step, hex};
use vigild::event::{Span, Timestamp, time::SECOND};
use vigild::rule::Severity;
use vigild::store::{Commit, Cursor, FILE, Filter, MAX_COPIED_BYTES, MAX_COPIES, Options, RESERVE, Reserve, Status, Store, StoreError, Told};

const DAY: i64 = 86_400;

fn options() -> Options {
    Options { max_alerts: 10_000, reserve: 0, cache: 1 << 20, sinks: vec!["lines".into()], ..Options::default() }
}

fn id(n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    id
}

/// An alert told first: its number, rule and second.
fn told(n: u64, rule: &str, second: i64) -> Told {
    let line = format!(r#"{{"event":{{"id":"{}"}},"alert":{{"status":"open","evidence":[]}}}}"#, hex(&id(n)));
    Told {
        id: id(n),
        step: Step::Opened,
        line: line.into_bytes(),
        ts: Timestamp(second * SECOND),
        rule: rule.into(),
        severity: Severity::Medium,
        signal: false,
        is_final: false,
        evidence: Vec::new(),
    }
}

fn of(mark: u64, told: Vec<Told>) -> Commit {
    Commit { mark, told, written: Vec::new() }
}

/// Numbers without a pattern, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// What the store is to hold: the reading of its documentation.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    mark: u64,
    number: u64,
    written: u64,
    alerts: BTreeMap<[u8; 16], Kept>,
    outbox: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    ts: Timestamp,
    rule: String,
    status: Status,
    is_final: bool,
    line: Vec<u8>,
    evidence: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    fn commit(&mut self, c: &Commit, max_alerts: usize) {
        self.mark = self.mark.max(c.mark);
        for t in &c.told {
            let mut evidence = self.alerts.get(&t.id).map(|k| k.evidence.clone()).unwrap_or_default();
            evidence.extend(t.evidence.iter().cloned());
            while evidence.len() > MAX_COPIES || evidence.values().map(Vec::len).sum::<usize>() > MAX_COPIED_BYTES {
                evidence.pop_first();
            }
            let status = match t.step {
                Step::Withdrawn => Status::Withdrawn,
                _ if t.signal => Status::Recorded,
                _ => Status::Open,
            };
            let line = match status {
                Status::Withdrawn => String::from_utf8_lossy(&t.line).replace(r#""status":"open""#, r#""status":"withdrawn""#).into_bytes(),
                _ => t.line.clone(),
            };
            self.alerts.insert(t.id, Kept { ts: t.ts, rule: t.rule.to_string(), status, is_final: t.is_final, line, evidence });
            self.number += 1;
            self.outbox.insert(self.number, t.line.clone());
        }
        while self.alerts.len() > max_alerts {
            let (_, oldest) = self.alerts.iter().map(|(id, k)| (k.ts, *id)).min().expect("there are some");
            self.alerts.remove(&oldest);
        }
        for (_, n) in &c.written {
            self.written = self.written.max((*n).min(self.number));
        }
        self.outbox = self.outbox.split_off(&(self.written + 1));
    }

    /// What a store has, asked through its public face.
    fn of(store: &Store) -> Model {
        let mut m = Model { mark: store.mark(), ..Model::default() };
        let f = Filter { statuses: Status::ALL.to_vec(), limit: usize::MAX, ..Filter::default() };
        for id in store.alerts(&f).expect("a page").ids {
            let a = store.alert(&id).expect("readable").expect("what is listed is there");
            let evidence = a.evidence.into_iter().collect();
            // Order of keys is no part of a line.
            let v: serde_json::Value = serde_json::from_slice(&a.line).expect("JSON");
            m.alerts.insert(id, Kept { ts: a.ts, rule: a.rule, status: a.status, is_final: a.is_final, line: v.to_string().into_bytes(), evidence });
        }
        m.outbox = store.outbox("lines", usize::MAX).expect("an outbox").into_iter().collect();
        m
    }

    /// The parts that can be asked for, in the form in which [`Model::of`] gives them.
    fn seen(&self) -> Model {
        let mut m = self.clone();
        (m.number, m.written) = (0, 0);
        for k in m.alerts.values_mut() {
            let v: serde_json::Value = serde_json::from_slice(&k.line).expect("JSON");
            k.line = v.to_string().into_bytes();
        }
        m
    }
}

/// Says what a store has otherwise than the model, in short.
fn same(store: &Store, m: &Model, what: impl std::fmt::Display) {
    let (got, want) = (Model::of(store), m.seen());
    if got != want {
        let ids: BTreeSet<_> =
            got.alerts.keys().chain(want.alerts.keys()).filter(|i| got.alerts.get(*i) != want.alerts.get(*i)).map(|i| hex(i)).collect();
        let lines = (got.outbox.keys().collect::<Vec<_>>(), want.outbox.keys().collect::<Vec<_>>());
        panic!("{what}: mark {} for {}, alerts {ids:?}, outbox {:?} for {:?}", got.mark, want.mark, lines.0, lines.1);
    }
}

/// A commit that goes on from a model.
fn random(d: &mut Dice, m: &Model) -> Commit {
    let written = if d.one_in(3) { vec![("lines".to_owned(), m.written + d.roll(6))] } else { Vec::new() };
    if d.one_in(8) {
        return Commit { mark: m.mark, told: Vec::new(), written };
    }
    let mut all = Vec::new();
    for _ in 0..d.roll(4) {
        let mut t = told(d.roll(30), ["ssh", "web", "vigild-late-events"][d.roll(3) as usize], d.roll(1000) as i64);
        t.step = [Step::Opened, Step::Amended, Step::Updated, Step::Withdrawn, Step::Final][d.roll(5) as usize];
        t.signal = d.one_in(4);
        t.is_final = t.step == Step::Final;
        for _ in 0..d.roll(4) {
            let len = if d.one_in(20) { 100_000 } else { 40 };
            t.evidence.push((d.roll(1000), vec![d.roll(256) as u8; len]));
        }
        t.evidence.sort();
        t.evidence.dedup_by_key(|e| e.0);
        all.push(t);
    }
    Commit { mark: m.mark + 1 + d.roll(3), told: all, written }
}

/// Storage that outlives the store over it.
#[derive(Clone, Debug)]
struct Memory(Arc<InMemoryBackend>);

impl Memory {
    fn new() -> Memory {
        Memory(Arc::new(InMemoryBackend::new()))
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

#[test]
fn random_commits_and_reopens_leave_what_a_plain_model_has() {
    for seed in 0..40 {
        let (mut d, mut m, memory) = (Dice(seed), Model::default(), Memory::new());
        let o = Options { max_alerts: 12 + seed as usize % 20, ..options() };
        let mut store = Store::with_backend(memory.clone(), o.clone()).expect("a store");
        for step in 0..40 {
            let c = random(&mut d, &m);
            store.commit(&c).expect("room");
            m.commit(&c, o.max_alerts);
            if d.one_in(10) {
                drop(store);
                store = Store::with_backend(memory.clone(), o.clone()).expect("a store");
            }
            if d.one_in(4) {
                same(&store, &m, format_args!("seed {seed}, step {step}"));
            }
        }
        same(&store, &m, format_args!("seed {seed}"));
    }
}

#[test]
fn a_commit_that_does_not_go_past_the_mark_changes_nothing() {
    let store = Store::with_backend(Memory::new(), options()).expect("a store");
    store.commit(&of(7, vec![told(1, "ssh", 1)])).expect("room");
    let before = Model::of(&store);
    for mark in [0, 6, 7] {
        let e = store.commit(&of(mark, vec![told(2, "ssh", 2)])).expect_err("it is behind");
        assert!(matches!(e, StoreError::Behind { mark: 7, .. }), "{e}");
    }
    assert!(matches!(store.commit(&Commit { written: vec![("other".into(), 1)], ..of(8, vec![]) }), Err(StoreError::Sink(s)) if s == "other"));
    assert!(matches!(store.outbox("other", 1), Err(StoreError::Sink(_))));
    assert_eq!(Model::of(&store), before);
    store.commit(&Commit { written: vec![("lines".into(), 1)], ..of(7, vec![]) }).expect("what was written may repeat the mark");
    assert_eq!(store.outbox("lines", 1000).expect("readable"), []);
}

#[test]
fn an_outbox_gives_whole_lines_up_to_a_size_until_they_are_written() {
    let store = Store::with_backend(Memory::new(), Options { sinks: vec!["a".into(), "b".into()], ..options() }).expect("a store");
    let line = |n| told(n, "ssh", 1).line;
    store.commit(&of(1, (1..=3).map(|n| told(n, "ssh", 1)).collect())).expect("room");
    let (one, all) = (line(1).len(), vec![(1, line(1)), (2, line(2)), (3, line(3))]);
    for (bytes, lines) in [(0, 1), (one, 1), (2 * one, 2), (2 * one + 1, 2), (usize::MAX, 3)] {
        assert_eq!(store.outbox("a", bytes).expect("readable"), all[..lines], "{bytes} bytes");
    }
    store.commit(&Commit { mark: 1, told: vec![], written: vec![("a".into(), 2)] }).expect("room");
    assert_eq!(store.outbox("a", usize::MAX).expect("readable"), all[2..]);
    assert_eq!(store.outbox("b", usize::MAX).expect("readable"), all);
    assert_eq!(store.size().expect("readable").outbox, 3 * one as u64);
    store.commit(&Commit { mark: 1, told: vec![], written: vec![("b".into(), 99), ("a".into(), 1)] }).expect("room");
    assert_eq!(store.size().expect("readable").outbox, one as u64, "the third waits for a alone");
    store.commit(&Commit { mark: 1, told: vec![], written: vec![("a".into(), 3)] }).expect("room");
    assert_eq!(store.size().expect("readable").outbox, 0);
}

#[test]
fn a_full_outbox_loses_the_oldest_lines_counted() {
    let line = told(1, "ssh", 1).line.len() as u64;
    let store = Store::with_backend(Memory::new(), Options { max_outbox: 4 * line, ..options() }).expect("a store");
    for mark in 1..=5 {
        store.commit(&of(mark, vec![told(2 * mark, "ssh", 1), told(2 * mark + 1, "ssh", 1)])).expect("room");
    }
    let left: Vec<u64> = store.outbox("lines", usize::MAX).expect("readable").into_iter().map(|l| l.0).collect();
    assert_eq!((left, store.counts().lines_lost, store.size().expect("readable").alerts), (vec![7, 8, 9, 10], 6, 10));
}

#[test]
fn a_new_sink_begins_with_what_comes_and_nothing_waits_for_one_that_is_gone() {
    let memory = Memory::new();
    let with = |sinks: &[&str]| Options { sinks: sinks.iter().map(|s| s.to_string()).collect(), ..options() };
    let store = Store::with_backend(memory.clone(), with(&["a"])).expect("a store");
    store.commit(&of(1, vec![told(1, "ssh", 1)])).expect("room");
    drop(store);
    let store = Store::with_backend(memory.clone(), with(&["a", "b"])).expect("a store");
    store.commit(&of(2, vec![told(2, "ssh", 1)])).expect("room");
    let numbers = |s| store.outbox(s, usize::MAX).expect("readable").into_iter().map(|l| l.0).collect::<Vec<_>>();
    assert_eq!((numbers("a"), numbers("b")), (vec![1, 2], vec![2]));
    drop(store);
    let store = Store::with_backend(memory, with(&["b"])).expect("a store");
    assert_eq!(store.size().expect("readable").outbox, told(2, "ssh", 1).line.len() as u64);
}

#[test]
fn filters_find_what_they_name() {
    let store = Store::with_backend(Memory::new(), options()).expect("a store");
    let alert = |n, rule, second, change: fn(&mut Told)| {
        let mut t = told(n, rule, second);
        change(&mut t);
        t
    };
    store
        .commit(&of(
            1,
            vec![
                alert(1, "ssh", 10, |_| {}),
                alert(2, "web", 20, |t| t.severity = Severity::High),
                alert(3, "ssh", 20, |t| t.severity = Severity::Critical),
                alert(4, "signal", 30, |t| t.signal = true),
                alert(5, "ssh", 40, |t| t.step = Step::Withdrawn),
            ],
        ))
        .expect("room");
    let at = |s: i64| Timestamp(s * SECOND);
    let all = Filter::default;
    for (what, f, want) in [
        ("all but the withdrawn, the newest first, then by id", all(), vec![4, 3, 2, 1]),
        ("the oldest first", Filter { ascending: true, ..all() }, vec![1, 2, 3, 4]),
        ("a rule", Filter { rules: vec!["ssh".into()], ..all() }, vec![3, 1]),
        ("rules", Filter { rules: vec!["ssh".into(), "web".into()], ..all() }, vec![3, 2, 1]),
        ("a rule that is not there", Filter { rules: vec!["ss".into()], ..all() }, vec![]),
        ("severities", Filter { severities: vec![Severity::High, Severity::Critical], ..all() }, vec![3, 2]),
        ("withdrawn", Filter { statuses: vec![Status::Withdrawn], ..all() }, vec![5]),
        ("open", Filter { statuses: vec![Status::Open], ..all() }, vec![3, 2, 1]),
        ("recorded or withdrawn", Filter { statuses: vec![Status::Recorded, Status::Withdrawn], ..all() }, vec![5, 4]),
        ("no signals", Filter { signal: Some(false), ..all() }, vec![3, 2, 1]),
        ("signals", Filter { signal: Some(true), ..all() }, vec![4]),
        ("since is inclusive", Filter { since: at(20), ..all() }, vec![4, 3, 2]),
        ("until is exclusive", Filter { until: Some(at(20)), ..all() }, vec![1]),
        ("between", Filter { since: at(20), until: Some(at(30)), ascending: true, ..all() }, vec![2, 3]),
        ("an empty span", Filter { since: at(30), until: Some(at(20)), ..all() }, vec![]),
        ("together", Filter { rules: vec!["ssh".into()], severities: vec![Severity::Medium], since: at(5), ..all() }, vec![1]),
    ] {
        let page = store.alerts(&f).expect("a page");
        assert_eq!(page.ids, want.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{what}");
        assert_eq!((page.total, page.next), (want.len() as u64, None), "{what}");
    }
    let open: Vec<_> = store.open_since("s", at(15)).expect("readable").into_iter().map(|a| (a.id, a.rule)).collect();
    assert_eq!(open, [(id(3), "ssh".to_owned())]);
}

#[test]
fn pages_show_what_was_there_when_the_first_was_asked_for() {
    for ascending in [false, true] {
        let store = Store::with_backend(Memory::new(), options()).expect("a store");
        let mut d = Dice(3);
        store.commit(&of(1, (0..200).map(|n| told(n, "ssh", d.roll(50) as i64)).collect())).expect("room");
        let whole = store.alerts(&Filter { limit: 1000, ascending, ..Filter::default() }).expect("a page").ids;
        let (mut cursor, mut got, mut mark) = (None, Vec::new(), 1);
        loop {
            let f = Filter { limit: 7, ascending, cursor: cursor.take(), ..Filter::default() };
            assert!(f.goes_on());
            let page = store.alerts(&f).expect("a page");
            assert_eq!(page.total, 200);
            assert!(page.ids.len() <= 7);
            got.extend(page.ids);
            // New ones all over the range, and old ones told again.
            mark += 1;
            let again = told(d.roll(200), "ssh", 0);
            let again = Told { ts: store.alert(&again.id).expect("readable").expect("there").ts, ..again };
            store.commit(&of(mark, vec![told(1000 + mark, "ssh", d.roll(50) as i64), again])).expect("room");
            let Some(next) = page.next else { break };
            cursor = Cursor::parse(&next.to_string());
            assert_eq!(cursor.as_ref(), Some(&next));
        }
        assert_eq!(got, whole);
    }
}

#[test]
fn a_cursor_is_of_its_filters_and_nothing_else_is_one() {
    let store = Store::with_backend(Memory::new(), options()).expect("a store");
    store.commit(&of(1, (0..3).map(|n| told(n, "ssh", n as i64)).collect())).expect("room");
    let first = Filter { limit: 1, rules: vec!["ssh".into(), "web".into()], ..Filter::default() };
    let next = store.alerts(&first).expect("a page").next;
    let on = Filter { cursor: next.clone(), ..first.clone() };
    assert!(on.goes_on());
    assert!(Filter { rules: vec!["web".into(), "ssh".into()], ..on.clone() }.goes_on(), "the order of rules means nothing");
    for other in [Filter { rules: vec![], ..on.clone() }, Filter { ascending: true, ..on.clone() }, Filter { signal: Some(true), ..on }] {
        assert!(!other.goes_on());
    }
    let text = next.expect("there is more").to_string();
    for wrong in ["", "0", &text[1..], &format!("{text}0"), &text.replace(|c: char| c.is_ascii_digit(), "é"), &"g".repeat(text.len())] {
        assert_eq!(Cursor::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn of_too_much_evidence_the_latest_is_kept() {
    let store = Store::with_backend(Memory::new(), options()).expect("a store");
    let with = |seqs: Range<u64>, len: usize| Told { evidence: seqs.map(|s| (s, vec![b'x'; len])).collect(), ..told(1, "ssh", 1) };
    let kept = |store: &Store| store.alert(&id(1)).expect("readable").expect("there").evidence.into_iter().map(|e| e.0).collect::<Vec<_>>();
    store.commit(&of(1, vec![with(0..60, 10)])).expect("room");
    store.commit(&of(2, vec![with(60..150, 10)])).expect("room");
    assert_eq!(kept(&store), (50..150).collect::<Vec<_>>());
    store.commit(&of(3, vec![with(200..203, 100 << 10)])).expect("room");
    assert_eq!(kept(&store), [201, 202]);
    store.commit(&of(4, vec![with(300..301, 300 << 10)])).expect("room");
    assert_eq!(kept(&store), [0; 0], "one that is too large is not kept, and nothing older stands for it");
    assert_eq!(store.counts().copies_lost, 50 + 101 + 3);
}

#[test]
fn alerts_go_by_age_and_by_number_with_their_evidence() {
    let o = Options { max_alerts: 2000, max_age: Span::seconds(10 * DAY), ..options() };
    let memory = Memory::new();
    let store = Store::with_backend(memory.clone(), o.clone()).expect("a store");
    store.commit(&of(1, (0..2500).map(|n| told(n, "ssh", n as i64 * DAY / 100)).collect())).expect("room");
    assert_eq!((store.size().expect("readable").alerts, store.counts().swept), (2000, 500));
    drop(store);
    let store = Store::with_backend(memory, Options { max_alerts: 600, ..o }).expect("a store");
    let now = Timestamp(25 * DAY * SECOND);
    let swept: Vec<u64> = (0..3).map(|_| store.sweep(now).expect("room")).collect();
    assert_eq!(swept, [1000, 400, 0], "in steps");
    let oldest = store.alerts(&Filter { ascending: true, limit: 1, ..Filter::default() }).expect("a page");
    assert_eq!((oldest.total, oldest.ids), (600, vec![id(1900)]));
    assert_eq!(store.sweep(now.plus(Span::seconds(9 * DAY))).expect("room"), 500, "those older than ten days");
}

/// Storage that crashes: what is not synced is kept or dropped at random, in whole or in part.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Op>,
    /// So many operations are done before the machine stops.
    left: Option<u64>,
    /// The operation that fails, counted from 0, and with what.
    fails: BTreeMap<u64, io::ErrorKind>,
    ops: u64,
    /// Bytes that fit on it, beside a reserve.
    capacity: Option<u64>,
    reserve: u64,
    reserved: bool,
    touched: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    Len(u64),
}

const PAGE: u64 = 4096;

fn apply(to: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Len(n) => to.resize(*n as usize, 0),
        Op::Write(at, b) => {
            let end = *at as usize + b.len();
            if to.len() < end {
                to.resize(end, 0);
            }
            to[*at as usize..end].copy_from_slice(b);
        }
    }
}

impl Inner {
    fn step(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Err(io::Error::other("the machine has stopped"));
            }
            *left -= 1;
        }
        let n = self.ops;
        self.ops += 1;
        self.fails.get(&n).map_or(Ok(()), |kind| Err((*kind).into()))
    }

    /// Blocks are taken when they are first written, as in a sparse file.
    fn room(&mut self, at: u64, len: u64) -> io::Result<()> {
        let new: Vec<u64> = (at / PAGE..(at + len).div_ceil(PAGE)).filter(|p| !self.touched.contains(p)).collect();
        let used = (self.touched.len() + new.len()) as u64 * PAGE + if self.reserved { self.reserve } else { 0 };
        if self.capacity.is_some_and(|c| used > c) && !new.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.touched.extend(new);
        Ok(())
    }
}

impl Disk {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().expect("one thread"))
    }

    /// What is found after a crash; the machine runs again.
    fn crash(&self, d: &mut Dice) {
        self.with(|i| {
            let (mut after, ops) = (std::mem::take(&mut i.durable), std::mem::take(&mut i.unsynced));
            let all = d.roll(4);
            for op in ops {
                match (&op, all) {
                    (_, 0) => {}
                    (_, 1) => apply(&mut after, &op),
                    // A write goes to the disk in sectors, of which each may or may not have arrived.
                    (Op::Write(at, b), 2) => {
                        for (n, sector) in b.chunks(512).enumerate() {
                            if d.one_in(2) {
                                apply(&mut after, &Op::Write(at + n as u64 * 512, sector.to_vec()));
                            }
                        }
                    }
                    _ => {
                        if d.one_in(2) {
                            apply(&mut after, &op);
                        }
                    }
                }
            }
            (i.durable, i.now, i.left) = (after.clone(), after, None);
        });
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.with(|i| i.step().map(|()| i.now.len() as u64))
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|i| {
            i.step()?;
            let from = i.now.get(offset as usize..offset as usize + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(from);
            Ok(())
        })
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|i| {
            i.step()?;
            apply(&mut i.now, &Op::Len(len));
            i.unsynced.push(Op::Len(len));
            i.touched.retain(|p| *p < len.div_ceil(PAGE));
            Ok(())
        })
    }
    fn sync_data(&self) -> io::Result<()> {
        self.with(|i| {
            i.step()?;
            i.durable = i.now.clone();
            i.unsynced.clear();
            Ok(())
        })
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|i| {
            i.step()?;
            i.room(offset, data.len() as u64)?;
            let op = Op::Write(offset, data.to_vec());
            apply(&mut i.now, &op);
            i.unsynced.push(op);
            Ok(())
        })
    }
}

/// A small disk's reserve.
struct OnDisk(Disk);

impl Reserve for OnDisk {
    fn fill(&self) -> io::Result<()> {
        self.0.with(|i| {
            i.reserved = true;
            i.room(0, 0)?;
            let used = i.touched.len() as u64 * PAGE + i.reserve;
            if i.capacity.is_some_and(|c| used > c) {
                i.reserved = false;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }
    fn free(&self) -> io::Result<()> {
        self.0.with(|i| i.reserved = false);
        Ok(())
    }
}

/// Commits until the machine stops at a random operation, starts it again and looks, some times over.
fn crashes(seed: u64, times: u64) {
    let (mut d, mut m, disk, o) = (Dice(seed), Model::default(), Disk::default(), options());
    drop(Store::with_backend(disk.clone(), o.clone()).expect("a store"));
    for time in 0..times {
        let store = Store::with_backend(disk.clone(), o.clone()).unwrap_or_else(|e| panic!("seed {seed}, crash {time}: it does not open: {e}"));
        same(&store, &m, format_args!("seed {seed}, crash {time}"));
        let mut running = Some(store);
        disk.with(|i| i.left = Some(d.roll(60)));
        let mut in_flight = Commit { mark: m.mark, ..Commit::default() };
        while let Some(store) = &running {
            in_flight = random(&mut d, &m);
            if store.commit(&in_flight).is_err() {
                break;
            }
            m.commit(&in_flight, o.max_alerts);
            in_flight = Commit { mark: m.mark, ..Commit::default() };
            if d.one_in(6) {
                drop(running.take());
                running = Store::with_backend(disk.clone(), o.clone()).ok();
            }
        }
        drop(running);
        disk.crash(&mut d);
        let store = Store::with_backend(disk.clone(), o.clone()).unwrap_or_else(|e| panic!("seed {seed}, crash {time}: it does not open: {e}"));
        let mut with = m.clone();
        with.commit(&in_flight, o.max_alerts);
        if Model::of(&store) == with.seen() {
            m = with;
        }
        same(&store, &m, format_args!("seed {seed}, crash {time}: neither with nor without what was in flight"));
    }
}

/// The seeds that `VIGILD_SEEDS=A..B` names, else these.
fn seeds(default: Range<u64>) -> Range<u64> {
    let named = std::env::var("VIGILD_SEEDS").ok();
    let parsed = named.as_deref().and_then(|s| s.split_once("..")).and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.unwrap_or(default)
}

#[test]
fn after_a_crash_each_transaction_is_there_entirely_or_not_at_all() {
    (0..100).for_each(|seed| crashes(seed, 20));
}

/// `tests/run --long store_crashes --seeds A..B`; 20 crashes each.
#[test]
#[ignore = "a campaign, run by hand over a range of seeds"]
fn long_store_crashes() {
    let seeds = seeds(100..10_000);
    seeds.clone().for_each(|seed| crashes(seed, 20));
    eprintln!("store crashes {}..{}: each transaction was there entirely or not at all", seeds.start, seeds.end);
}

#[test]
fn whichever_operation_fails_there_is_no_false_success_and_the_next_commit_works() {
    // The operations of six commits and an open, without a fault.
    let run = |fails: BTreeMap<u64, io::ErrorKind>| {
        let disk = Disk::default();
        drop(Store::with_backend(disk.clone(), options()).expect("a store"));
        disk.with(|i| (i.ops, i.fails) = (0, fails.clone()));
        let (mut d, mut m) = (Dice(11), Model::default());
        let store = loop {
            // A fault while it opens is an error; the next attempt has none.
            match Store::with_backend(disk.clone(), options()) {
                Ok(s) => break s,
                Err(e) => assert!(matches!(e, StoreError::Io(_) | StoreError::Full(_)), "{fails:?}: {e}"),
            }
        };
        for _ in 0..6 {
            let mut c = random(&mut d, &m);
            let (mut tries, before) = (0, store.counts().copies_lost);
            while let Err(e) = store.commit(&c) {
                tries += 1;
                assert!(tries < 5 && matches!(e, StoreError::Io(_) | StoreError::Full(_)), "{fails:?}: {e}");
            }
            // Without room copies of evidence are left out, counted.
            let copies: usize = c.told.iter().map(|t| t.evidence.len()).sum();
            if store.counts().copies_lost > before {
                assert!(fails.values().any(|k| *k == io::ErrorKind::StorageFull));
                assert_eq!(store.counts().copies_lost - before, copies as u64, "{fails:?}");
                c.told.iter_mut().for_each(|t| t.evidence.clear());
            }
            m.commit(&c, options().max_alerts);
            assert_eq!(store.mark(), m.mark);
        }
        same(&store, &m, format_args!("{fails:?}"));
        // Nothing but what was synced counts.
        disk.with(|i| (i.now, i.unsynced, i.fails) = (i.durable.clone(), Vec::new(), BTreeMap::new()));
        std::mem::forget(store);
        let store = Store::with_backend(disk.clone(), options()).expect("it opens");
        same(&store, &m, format_args!("{fails:?}, opened again"));
        disk.with(|i| i.ops)
    };
    let all = run(BTreeMap::new());
    assert!(all > 50, "{all} operations show nothing");
    for n in 0..all {
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            run(BTreeMap::from([(n, kind)]));
            run(BTreeMap::from([(n, kind), (n + 1, kind), (n + 5, kind)]));
        }
    }
}

#[test]
fn a_full_disk_gives_the_reserve_then_the_evidence_then_an_error_and_heals() {
    let disk = Disk::default();
    disk.with(|i| (i.capacity, i.reserve) = (Some(4 << 20), 1 << 20));
    let store = Store::with_reserve(disk.clone(), OnDisk(disk.clone()), options()).expect("a store");
    assert!(!store.reserve_missing());
    let mut m = Model::default();
    let alert = |n: u64| Told { evidence: vec![(n, vec![b'x'; 20_000])], ..told(n, "ssh", n as i64) };
    let (mut first_missing, mut first_bare) = (None, None);
    let failed = loop {
        let n = m.mark + 1;
        let c = of(n, vec![alert(n)]);
        if let Err(e) = store.commit(&c) {
            assert!(matches!(e, StoreError::Full(_)), "{e}");
            break c;
        }
        let bare = store.counts().copies_lost > m.alerts.values().filter(|k| k.evidence.is_empty()).count() as u64;
        if bare {
            first_bare = first_bare.or(Some(n));
            m.commit(&of(n, vec![Told { evidence: vec![], ..alert(n) }]), 10_000);
        } else {
            m.commit(&c, 10_000);
        }
        if store.reserve_missing() {
            first_missing = first_missing.or(Some(n));
        }
        assert!(n < 100_000, "it never fills");
    };
    let (missing, bare) = (first_missing.expect("the reserve was used"), first_bare.expect("evidence was left out"));
    assert!(10 < missing && missing < bare && bare < failed.mark, "{missing}, {bare}, {}", failed.mark);
    same(&store, &m, "what was committed is there");
    assert!(store.refill().is_err() && store.reserve_missing());
    // There is room again.
    disk.with(|i| i.capacity = Some(64 << 20));
    store.commit(&failed).expect("room");
    m.commit(&failed, 10_000);
    store.refill().expect("room");
    assert!(!store.reserve_missing());
    drop(store);
    same(&Store::with_backend(disk, options()).expect("it opens"), &m, "opened again");
}

/// `tests/run --long store_speed`: how long lists of 100 000 alerts take.
#[test]
#[ignore = "a measurement"]
fn long_store_speed() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Options { max_alerts: 200_000, cache: 16 << 20, ..options() }).expect("a store");
    let mut d = Dice(1);
    let begin = std::time::Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    for mark in 1..=1000 {
        let all = (0..100).map(|n| {
            let mut t = told(mark * 100 + n, &format!("rule-{}", d.roll(50)), d.roll(400 * DAY as u64) as i64);
            t.severity = [Severity::Low, Severity::Medium, Severity::High][d.roll(3) as usize];
            t.line.extend(vec![b' '; 1000]);
            t
        });
        let c = Commit { written: vec![("lines".into(), mark * 100 - 100)], ..of(mark, all.collect()) };
        let one = std::time::Instant::now();
        store.commit(&c).expect("room");
        slowest = slowest.max(one.elapsed());
    }
    eprintln!("100000 alerts in {:?}, slowest commit of 100 {slowest:?}, {:?}", begin.elapsed(), store.size().expect("readable"));
    let all = Filter::default;
    for (what, f) in [
        ("all", all()),
        ("rule", Filter { rules: vec!["rule-7".into()], ..all() }),
        ("rule and severity", Filter { rules: vec!["rule-7".into()], severities: vec![Severity::High], ..all() }),
        ("status", Filter { statuses: vec![Status::Withdrawn], ..all() }),
        ("thirty days", Filter { since: Timestamp(370 * DAY * SECOND), ..all() }),
        ("ten thousand", Filter { limit: 10_000, ..all() }),
    ] {
        let mut took: Vec<_> = (0..40)
            .map(|_| {
                let begin = std::time::Instant::now();
                let page = store.alerts(&f).expect("a page");
                let (mut at, mut bytes) = (0, 0);
                while at < page.ids.len() {
                    let (n, lines) = store.lines(&page.ids[at..], 64 << 10).expect("lines");
                    at += n;
                    bytes += lines.iter().map(Vec::len).sum::<usize>();
                }
                assert!(bytes > 0 || page.ids.is_empty());
                begin.elapsed()
            })
            .collect();
        took.sort_unstable();
        eprintln!("{what}: median {:?}, p95 {:?}", took[20], took[38]);
    }
}

fn damaged(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|n| n.contains("damaged")).collect()
}

#[test]
fn a_store_is_private_keeps_its_mark_and_is_one_process_s() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let o = Options { reserve: 1 << 20, ..options() };
    // The first start was killed while it made the file.
    std::fs::write(dir.path().join("store.redb.new"), "half a store").expect("written");
    let store = Store::open(dir.path(), o.clone()).expect("a store");
    assert!(store.opened().new && store.opened().damaged.is_none() && !store.reserve_missing());
    store.commit(&of(9, vec![told(1, "ssh", 1)])).expect("room");
    for f in [FILE, RESERVE] {
        assert_eq!(std::fs::metadata(dir.path().join(f)).expect("there").permissions().mode() & 0o777, 0o600, "{f}");
    }
    assert!(matches!(Store::open(dir.path(), o.clone()), Err(StoreError::InUse)));
    drop(store);
    let store = Store::open(dir.path(), o).expect("a store");
    assert_eq!((store.opened().new, store.mark(), store.size().expect("readable").alerts), (false, 9, 1));
}

#[test]
fn a_damaged_file_is_moved_aside_and_whatever_is_in_it_nothing_panics() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join(FILE);
    let store = Store::open(dir.path(), options()).expect("a store");
    for n in 1..20 {
        store.commit(&of(n, vec![Told { evidence: vec![(n, vec![b'x'; 2000])], ..told(n, "ssh", n as i64) }])).expect("room");
    }
    drop(store);
    let good = std::fs::read(&file).expect("there");
    let mut d = Dice(5);
    let mut seen = 0;
    for round in 0..60 {
        let mut bytes = good.clone();
        match round {
            0 => bytes = b"this is no store".to_vec(),
            1 => bytes.fill(0),
            2 => bytes.truncate(good.len() / 2),
            3 => bytes[..64].fill(0xff),
            _ => {
                for _ in 0..1 + d.roll(200) {
                    let at = if d.one_in(2) { d.roll(8192) } else { d.roll(good.len() as u64) };
                    bytes[at as usize] = d.roll(256) as u8;
                }
            }
        }
        std::fs::write(&file, &bytes).expect("written");
        let store = match Store::open(dir.path(), options()) {
            Ok(s) => s,
            // A layout number that damage made larger.
            Err(e) => {
                assert!(matches!(e, StoreError::Later(_)), "round {round}: {e}");
                continue;
            }
        };
        if let Some((aside, _)) = &store.opened().damaged {
            assert_eq!(std::fs::read(aside).expect("kept").len(), bytes.len());
            assert_eq!((store.mark(), store.size().expect("readable").alerts), (0, 0));
            seen += 1;
        } else {
            assert!(round > 3, "round {round} was not seen");
        }
        // Where it opened, the damage may show later.
        let _ = store.alerts(&Filter { limit: 100, ..Filter::default() }).map(|p| store.lines(&p.ids, usize::MAX).is_ok());
        let _ = (1..20).map(|n| store.alert(&id(n)).is_ok()).collect::<Vec<_>>();
        let _ = store.sweep(Timestamp(500 * DAY * SECOND));
        let before = store.mark();
        // Damage that a commit meets costs the alerts, never the mark: nothing is told twice.
        store.commit(&of(before + 1, vec![told(500, "ssh", 500 * DAY)])).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(store.mark(), before + 1);
        assert!(store.alert(&id(500)).expect("readable").is_some(), "round {round}");
    }
    assert!(seen > 10 && !damaged(dir.path()).is_empty(), "{seen}");
}
