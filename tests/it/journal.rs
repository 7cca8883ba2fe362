//! The journal's limits, what it says of damage, and that sealing changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigild::disk::sim::{Dice, Sim};
use vigild::disk::{Disk, Real};
use vigild::event::{Batch, Span, Timestamp};
use vigild::journal::{Entry, FilePosition, Journal, JournalError, Mark, Options, Reader, Records, Repair, What, WriteError};

const DIR: &str = "/journal";
const SECOND: i64 = 1_000_000_000;

fn options() -> Options {
    Options {
        segment_bytes: 8 << 10,
        max_bytes: u64::MAX,
        max_age: None,
        min_free: 0,
        floor_bytes: 0,
        block_bytes: 1 << 10,
        keys: 1000,
        key_age: Span::seconds(1_000_000),
        files: 1000,
    }
}

fn records(n: u64, received: i64, mark: Option<Mark>, texts: &[String]) -> What {
    let mut batch = Batch::default();
    texts.iter().for_each(|t| batch.push(t.as_bytes(), false));
    let (source, stream) = (Arc::from("s"), format!("c{n}").as_str().into());
    What::Records(Records { source, stream, format: None, received: Timestamp(received * SECOND), near: Timestamp(0), batch, mark })
}

/// An entry of two records, about 300 bytes, received in second `n`.
fn entry(n: u64) -> What {
    records(n, n as i64, None, &[format!("{n}.a {}", "y".repeat(n as usize % 97)), format!("{n}.b {}", "z".repeat(150))])
}

fn open(disk: &Sim, o: &Options) -> Result<(Journal, Vec<Repair>), JournalError> {
    Journal::open(Arc::new(disk.clone()), Path::new(DIR), o.clone(), || 42).map(|(j, o)| (j, o.repairs))
}

fn fill(j: &mut Journal, entries: std::ops::RangeInclusive<u64>) {
    for n in entries {
        j.append(&entry(n));
        j.write().expect("room");
        j.sync().expect("no fault");
    }
}

fn texts(e: &Entry) -> Vec<Vec<u8>> {
    match &e.what {
        What::Records(r) => r.batch.records.iter().map(|x| r.batch.record(*x).to_vec()).collect(),
        _ => Vec::new(),
    }
}

/// Everything a reader gives: all texts by record number, and the same one by one.
fn all(r: &Reader) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    for e in r.entries(1) {
        let e = e.unwrap_or_else(|d| panic!("nothing is damaged: {d}"));
        found.extend(texts(&e).into_iter().enumerate().map(|(i, t)| (e.seq + i as u64, t)));
    }
    for (seq, t) in &found {
        assert_eq!(r.record(*seq).expect("it is there").as_ref(), Some(t));
    }
    found
}

#[test]
fn sealed_segments_read_as_raw_ones_do_and_addresses_stay() {
    for seed in 0..5 {
        let mut d = Dice(seed);
        let disk = Sim::new(seed, u64::MAX >> 1);
        let (mut j, _) = open(&disk, &options()).expect("a new journal");
        for n in 1..=200 {
            // Groups of one to three, some longer than a block.
            let long = if d.one_in(20) { 3000 } else { 1 };
            j.append(&records(n, n as i64, None, &[format!("{n} {}", "q".repeat(d.below(long + 200) as usize)), "x".repeat(long as usize)]));
            if d.one_in(5) {
                j.append(&What::Tick(Timestamp(n as i64 * SECOND)));
            }
            if d.one_in(2) {
                j.write().expect("room");
            }
        }
        j.write().expect("room");
        j.sync().expect("no fault");
        let reader = j.reader();
        let raw = all(&reader);
        let places: Vec<_> = raw.keys().map(|s| reader.locate(*s).expect("it is there").expect("it is there")).collect();
        let times: Vec<u64> = (0..220).map(|t| reader.at(Timestamp(t * SECOND))).collect();
        let mut before = reader.entries(1);
        let begun = before.next().expect("an entry").expect("whole");
        let bytes = reader.size().bytes;
        let mut keeper = j.keeper();
        while keeper.step().expect("no fault") {}
        assert!(reader.size().segments > 5 && reader.size().bytes < bytes);
        assert_eq!(disk.list(Path::new(DIR)).expect("names").iter().filter(|n| n.ends_with(".log")).count(), 1);
        let check = |reader: &Reader| {
            assert_eq!(all(reader), raw);
            for (at, (seq, text)) in places.iter().zip(&raw) {
                assert_eq!(reader.read(*at).expect("it is there").as_ref(), Some(text));
                let entry = reader.entry(*at).expect("it is there").expect("it is there");
                let What::Records(r) = &entry.what else { panic!("{entry:?}") };
                assert_eq!((entry.seq + u64::from(at.record), r.batch.record(r.batch.records[at.record as usize])), (*seq, &text[..]));
                let same = reader.entries(entry.lsn).next().expect("an entry").expect("whole");
                assert_eq!((same.lsn, same.seq), (entry.lsn, entry.seq));
            }
            let mut entries = reader.entries(1);
            let mut first = 1;
            while let Some((at, e)) = entries.next_at().map(|e| e.expect("whole")) {
                if let What::Records(r) = &e.what {
                    assert_eq!((reader.locate(e.seq).expect("it is there"), e.seq), (Some(at), first));
                    first += r.batch.records.len() as u64;
                }
            }
            assert_eq!((0..220).map(|t| reader.at(Timestamp(t * SECOND))).collect::<Vec<_>>(), times);
        };
        check(&reader);
        // Whoever had a raw file open goes on.
        assert_eq!(before.fold(begun.lsn, |_, e| e.expect("whole").lsn), j.last());
        drop((j, keeper, reader));
        let (j, repairs) = open(&disk, &options()).expect("it opens");
        assert_eq!(repairs, []);
        check(&j.reader());
    }
}

#[test]
fn the_first_entry_at_or_after_an_instant_is_found() {
    let disk = Sim::new(1, u64::MAX >> 1);
    let (mut j, _) = open(&disk, &options()).expect("a new journal");
    assert_eq!(j.reader().at(Timestamp(0)), 0);
    for n in 1..=300u64 {
        j.append(&records(n, 10 * n as i64, None, &["x".repeat(200)]));
        j.write().expect("room");
    }
    let r = j.reader();
    for (t, lsn) in [(0, 1), (10, 1), (11, 2), (1000, 100), (1001, 101), (3000, 300), (3001, 0)] {
        assert_eq!(r.at(Timestamp(t * SECOND)), lsn, "{t}");
    }
    assert_eq!(r.size().oldest, Some(Timestamp(10 * SECOND)));
}

#[test]
fn an_iterator_at_its_end_goes_on_when_more_is_written() {
    let disk = Sim::new(1, u64::MAX >> 1);
    let (mut j, _) = open(&disk, &options()).expect("a new journal");
    let mut e = j.reader().entries(1);
    for n in 1..=100 {
        assert!(e.next().is_none());
        j.append(&entry(n));
        assert!(e.next().is_none(), "what is only in the buffer is not there");
        j.write().expect("room");
        assert_eq!(e.next().and_then(Result::ok).map(|e| e.lsn), Some(n));
    }
}

/// A journal with sealed and raw segments, durable; its files.
fn built(entries: u64, sealed: usize) -> (Sim, Vec<PathBuf>) {
    let disk = Sim::new(1, u64::MAX >> 1);
    let (mut j, _) = open(&disk, &options()).expect("a new journal");
    fill(&mut j, 1..=entries);
    let mut keeper = j.keeper();
    for _ in 0..sealed {
        assert!(keeper.step().expect("no fault"));
    }
    drop((j, keeper));
    let mut names = disk.list(Path::new(DIR)).expect("names");
    names.sort();
    let segments = names.into_iter().filter(|n| n.ends_with(".log") || n.ends_with(".seal")).map(|n| Path::new(DIR).join(n));
    let segments = segments.collect();
    (disk, segments)
}

/// Opens a damaged journal: whatever it gives is right, and what it does not give is said. How many entries are lost.
fn survey(disk: &Sim, entries: u64, context: &str) -> u64 {
    let (j, repairs) = open(disk, &options()).unwrap_or_else(|e| panic!("{context}: {e:?}"));
    let r = j.reader();
    let (mut next, mut lost) = (r.size().first_lsn, 0);
    // Where a segment's beginning is gone, the records before its first whole entry are said with those before it.
    let mut seq = r.size().first_seq;
    // What stood before the first segment is gone without a trace of how much it was.
    lost += next - 1;
    for e in r.entries(1) {
        match e {
            Ok(e) => {
                assert_eq!((e.lsn, e.seq), (next, 2 * next - 1), "{context}");
                let What::Records(want) = entry(e.lsn) else { panic!("records") };
                let What::Records(is) = &e.what else { panic!("{context}: records") };
                assert!(is.batch.bytes == want.batch.bytes && is.batch.records == want.batch.records && is.stream == want.stream, "{context}");
                assert_eq!(e.seq, seq, "{context}");
                (next, seq) = (next + 1, seq + 2);
            }
            Err(d) => {
                assert_eq!((d.first_lsn, d.first_seq), (next, seq), "{context}: {d}");
                seq = d.last_seq + 1;
                lost += d.last_lsn + 1 - next;
                next = d.last_lsn + 1;
            }
        }
    }
    assert_eq!((next, seq), (j.last() + 1, j.next_seq()), "{context}: {repairs:?}");
    for seq in 1..=2 * entries {
        if let Ok(Some(t)) = r.record(seq) {
            let n = seq.div_ceil(2);
            let want = format!("{n}.{}", if seq % 2 == 1 { "a" } else { "b" });
            assert!(t.starts_with(want.as_bytes()), "{context}: {seq}");
        }
    }
    lost + (entries - j.last())
}

#[test]
fn one_changed_bit_loses_one_frame_or_one_block_and_the_rest_reads_on() {
    let entries = 120;
    let (disk, segments) = built(entries, 2);
    let mut d = Dice(5);
    let mut most = 0;
    for round in 0..1500 {
        let copy = disk.crash(&mut d);
        let file = &segments[d.below(segments.len() as u64) as usize];
        let bit = d.below(8 * copy.content(file).expect("it is there").len() as u64);
        copy.damage(file, |b| b[bit as usize / 8] ^= 1 << (bit % 8));
        let lost = survey(&copy, entries, &format!("round {round}, bit {bit} of {}", file.display()));
        // A block of 1 KiB has four entries or fewer.
        assert!(lost <= 4, "round {round}, bit {bit} of {}: {lost} lost", file.display());
        most = most.max(lost);
        // The second time it is the same, or better: what was said is not said of anything else.
        assert_eq!(survey(&copy, entries, "again"), lost);
    }
    assert!(most > 0, "flips that lose nothing show nothing");
}

#[test]
fn cut_overwritten_and_missing_files_are_survived_and_their_ranges_said() {
    let entries = 120;
    let (disk, segments) = built(entries, 2);
    let mut d = Dice(6);
    for round in 0..600 {
        let copy = disk.crash(&mut d);
        let mut context = format!("round {round}:");
        for _ in 0..1 + d.below(3) {
            let file = &segments[d.below(segments.len() as u64) as usize];
            context += &format!(" {}", file.display());
            let Some(len) = copy.content(file).map(|c| c.len() as u64).filter(|n| *n > 0) else { continue };
            let at = d.below(len) as usize;
            match d.below(4) {
                0 => {
                    copy.damage(file, |b| b.truncate(at));
                    context += &format!(" cut at {at}");
                }
                1 => {
                    let n = d.below(len - at as u64) as usize;
                    copy.damage(file, |b| b[at..at + n].iter_mut().for_each(|b| *b = d.draw() as u8));
                    context += &format!(" {n} bytes at {at} at random");
                }
                2 => {
                    let n = d.below(len - at as u64) as usize;
                    copy.damage(file, |b| b[at..at + n].fill(0));
                    context += &format!(" {n} zeros at {at}");
                }
                _ => {
                    // Every segment but the newest: that one's loss leaves no trace.
                    if Some(file) != segments.last() && copy.content(file).is_some() {
                        copy.remove(file).expect("no fault");
                        context += " removed";
                    }
                }
            }
        }
        survey(&copy, entries, &context);
    }
}

#[test]
fn damage_before_what_is_durable_is_quarantined_and_said() {
    let (disk, segments) = built(10, 0);
    let newest = segments.last().expect("one");
    let content = disk.content(newest).expect("it is there");
    let at = content.windows(4).position(|w| w == b"4.b ").expect("the fourth entry");
    disk.damage(newest, |b| b[at] ^= 1);
    let (j, repairs) = open(&disk, &options()).expect("it opens");
    let [Repair::Quarantined { first_lsn: 4, last_lsn: 4, first_seq: 7, last_seq: 8, from, to, file: Some(file), .. }] = &repairs[..] else {
        panic!("{repairs:?}");
    };
    let copy = disk.content(&Path::new(DIR).join("quarantine").join(file)).expect("a copy");
    assert!(copy.len() as u64 == to - from && copy.windows(4).any(|w| w == b"4.c " || w[..2] == *b"4."));
    assert!(repairs[0].to_string().contains("entries 4 to 4, records 7 to 8"), "{}", repairs[0]);
    assert_eq!((j.last(), j.durable()), (10, 10));
    let said: Vec<String> = j.reader().entries(1).filter_map(Result::err).map(|d| d.to_string()).collect();
    assert!(said.len() == 1 && said[0].starts_with("damaged: entries 4 to 4, records 7 to 8"), "{said:?}");
    assert!(j.reader().record(7).is_err() && j.reader().record(9).is_ok_and(|r| r.is_some()));
}

#[test]
fn a_later_version_another_journal_and_a_second_daemon_are_refused() {
    let (disk, segments) = built(10, 0);
    let held = open(&disk, &options()).expect("it opens");
    assert!(matches!(open(&disk, &options()), Err(JournalError::InUse(_))));
    drop(held);
    let other = Sim::new(2, u64::MAX >> 1);
    drop(Journal::open(Arc::new(other.clone()), Path::new(DIR), options(), || 43).expect("a new journal"));
    let foreign = other.content(&segments[0]).expect("the first segment");
    let copy = disk.crash(&mut Dice(1));
    copy.damage(&segments[0], |b| *b = foreign);
    assert!(matches!(open(&copy, &options()), Err(JournalError::Foreign(_))));
}

#[test]
fn a_journal_on_real_files_is_there_after_it_was_closed() {
    let t = tempfile::tempdir().expect("a folder");
    let dir = t.path().join("journal");
    let open = || Journal::open(Arc::new(Real), &dir, options(), || 7);
    let (mut j, opened) = open().expect("a new journal");
    assert!(opened.repairs.is_empty() && opened.last_time.is_none() && j.seed() == 7);
    fill(&mut j, 1..=100);
    let mut keeper = j.keeper();
    while keeper.step().expect("no fault") {}
    let there = all(&j.reader());
    assert!(matches!(open(), Err(JournalError::InUse(_))));
    drop((j, keeper));
    let (j, opened) = Journal::open(Arc::new(Real), &dir, options(), || 8).expect("it opens");
    assert_eq!((opened.repairs, opened.last_time, j.seed(), j.last()), (vec![], Some(Timestamp(100 * SECOND)), 7, 100));
    assert_eq!(all(&j.reader()), there);
}

#[test]
fn the_oldest_segments_go_by_size_but_none_that_is_held_nor_below_the_floor() {
    let run = |o: Options, hold: Option<u64>| {
        let disk = Sim::new(1, u64::MAX >> 1);
        let (mut j, _) = open(&disk, &o).expect("a new journal");
        fill(&mut j, 1..=200);
        let mut keeper = j.keeper();
        if let Some(lsn) = hold {
            keeper.hold(lsn);
        }
        while keeper.step().expect("no fault") {}
        let size = j.reader().size();
        drop((j, keeper));
        // What went stays away.
        let (j, repairs) = open(&disk, &o).expect("it opens");
        assert!(repairs.is_empty() && j.reader().size().first_lsn == size.first_lsn);
        size
    };
    let small = Options { max_bytes: 20 << 10, ..options() };
    assert_eq!(run(small.clone(), None).first_lsn, 1, "nobody has said what may go");
    assert_eq!(run(options(), Some(u64::MAX)).first_lsn, 1, "there is room");
    let s = run(small.clone(), Some(u64::MAX));
    assert!(s.bytes <= 20 << 10 && s.first_lsn > 50, "{s:?}");
    let held = run(small.clone(), Some(40));
    assert!(held.first_lsn > 1 && held.first_lsn <= 40, "{held:?}");
    // The floor counts when something goes; that it is sealed later makes it smaller.
    let floored = run(Options { floor_bytes: 30 << 10, ..small }, Some(u64::MAX));
    assert!(floored.first_lsn > 1 && floored.first_lsn < s.first_lsn, "{floored:?}");
    let s = run(Options { max_age: Some(Span::seconds(60)), ..options() }, Some(u64::MAX));
    assert!(s.first_lsn > 50 && s.first_lsn <= 140, "the youngest entry of a segment that goes is older than a minute: {s:?}");
}

#[test]
fn on_a_full_disk_the_oldest_go_first_then_writing_is_refused_and_it_heals() {
    let disk = Sim::new(1, 40 << 10);
    let o = Options { min_free: 4 << 10, ..options() };
    let (mut j, _) = open(&disk, &o).expect("a new journal");
    let keeper = j.keeper();
    let try_to = |j: &mut Journal, n: u64| {
        j.append(&entry(n));
        let done = j.write();
        j.sync().expect("nothing to sync, or room");
        done
    };
    let full = (1..1000).find(|n| matches!(try_to(&mut j, *n), Err(WriteError::Full))).expect("it is full");
    assert!(full > 50 && j.last() == full - 1 && j.reader().size().first_lsn == 1, "all is held");
    assert!(disk.free(Path::new(DIR)).expect("a number") >= 4 << 10);
    // The number is given again, and what is held no longer gives way.
    keeper.hold(u64::MAX);
    for n in full..full + 300 {
        try_to(&mut j, n).expect("the oldest went");
    }
    assert!(j.reader().size().first_lsn > full);
    drop((j, keeper));
    let (j, repairs) = open(&disk, &o).expect("it opens");
    assert_eq!((j.last(), repairs), (full + 299, vec![]));
}

#[test]
fn positions_and_keys_have_a_number_and_an_age_and_the_oldest_go() {
    let disk = Sim::new(1, u64::MAX >> 1);
    let o = Options { keys: 3, files: 2, key_age: Span::seconds(100), ..options() };
    let (mut j, _) = open(&disk, &o).expect("a new journal");
    let put = |j: &mut Journal, t: i64, mark: Mark| {
        j.append(&records(1, t, Some(mark), &["a".into(), "b".into()]));
        j.write().expect("room");
    };
    let key = |k: &str| Mark::Key { scope: "/a".into(), key: k.into(), body: [1; 16] };
    let file = |inode: u64, head_len: u32, head: u8, offset: u64| {
        let (source, path) = (Arc::from("f"), format!("/{inode}").as_str().into());
        Mark::File(FilePosition { source, path, inode: (1, inode), head_len, head: [head; 16], offset, skip: 0 })
    };
    for (i, k) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        put(&mut j, i as i64, key(k));
    }
    let keys = |j: &Journal| j.state().keys().map(|(_, k, a)| (k.to_owned(), a.first, a.last)).collect::<Vec<_>>();
    assert_eq!(keys(&j), [("c".to_owned(), 5, 6), ("a".to_owned(), 7, 8), ("d".to_owned(), 9, 10)]);
    assert!(j.state().key("/a", "a").is_some() && j.state().key("/b", "a").is_none());
    put(&mut j, 103, file(1, 8, 1, 10));
    assert_eq!(keys(&j).len(), 2, "one is over a hundred seconds old");
    // The same file goes on, another one has got its number, a third one is one too many.
    put(&mut j, 104, file(1, 16, 2, 20));
    put(&mut j, 104, file(1, 8, 3, 5));
    let files = |j: &Journal| j.state().files_of("f").map(|p| (p.inode.1, p.head[0], p.offset)).collect::<Vec<_>>();
    assert_eq!(files(&j), [(1, 3, 5), (1, 2, 20)]);
    put(&mut j, 104, file(2, 8, 4, 7));
    assert_eq!(files(&j), [(2, 4, 7), (1, 3, 5)]);
    put(&mut j, 104, Mark::Kafka { group: "g".into(), topic: "t".into(), partition: 3, next: 77 });
    assert_eq!(j.state().kafka("g", "t", 3), Some(77));
    j.sync().expect("no fault");
    let before = j.state().clone();
    drop(j);
    let (j, _) = open(&disk, &o).expect("it opens");
    assert!(*j.state() == before && keys(&j).len() == 1 && files(&j).len() == 2);
    assert_eq!(j.state().kafka("g", "t", 3), Some(77));
}

#[test]
fn segments_are_no_longer_than_their_limit_or_one_group() {
    let disk = Sim::new(1, u64::MAX >> 1);
    let (mut j, _) = open(&disk, &options()).expect("a new journal");
    fill(&mut j, 1..=100);
    j.append(&records(101, 101, None, &["w".repeat(20 << 10)]));
    j.write().expect("room");
    fill(&mut j, 102..=150);
    let names = disk.list(Path::new(DIR)).expect("names");
    let lens: Vec<usize> =
        names.iter().filter(|n| n.ends_with(".log")).map(|n| disk.content(&Path::new(DIR).join(n)).expect("it is there").len()).collect();
    assert!(lens.len() > 5 && lens.iter().filter(|n| **n > 8 << 10).count() == 1, "{lens:?}");
}
