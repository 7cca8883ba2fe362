//! The follower against a journal that keeps records and positions together, is killed at any moment, and gives them back.

// Rotation takes time, and a seed is asked for by name.
#![allow(clippy::disallowed_methods)]

use super::*;
use crate::config::Limits;
use crate::config::source::file::{File, Start};
use crate::event::Span;
use crate::metrics::Metrics;
use crate::pipeline::{Inbox, Queue};
use crate::source::Known;
use crate::source::connection::Budget;
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

const AT_ONCE: Pace = Pace { look: Duration::ZERO, idle: Duration::ZERO, quiet: Duration::ZERO, settled: Duration::ZERO };

/// What has been stored: records, and the latest position of each inode, in the same write.
#[derive(Default)]
struct Journal {
    records: Vec<String>,
    streams: Vec<String>,
    positions: Vec<FilePosition>,
}

impl Journal {
    fn store(&mut self, c: &Chunk) {
        for &r in &c.batch.records {
            self.records.push(String::from_utf8_lossy(c.batch.record(r)).into_owned());
            self.streams.push(c.stream.name.clone());
        }
        let Some(Mark::File(p)) = c.mark.as_deref() else { panic!("a chunk of a file has a position") };
        self.positions.retain(|o| (&o.source, o.inode) != (&p.source, p.inode));
        self.positions.push(p.clone());
    }
}

struct Rig {
    dir: TempDir,
    runtime: Runtime,
    config: File,
    limits: Limits,
    pace: Pace,
    journal: Journal,
    metrics: Metrics,
}

/// One life of the follower.
struct Life<'r> {
    follow: Follow<'r>,
    inbox: Inbox,
    journal: &'r mut Journal,
    /// So many more chunks are stored before it is killed.
    chunks: usize,
    dead: bool,
}

impl Rig {
    fn new(globs: &[&str]) -> Rig {
        let dir = tempfile::tempdir().expect("a folder");
        let config = File { paths: globs.iter().map(|g| format!("{}/{g}", dir.path().display())).collect(), ..File::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Rig { dir, runtime, config, limits: Limits::default(), pace: AT_ONCE, journal: Journal::default(), metrics: Metrics::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        fs::OpenOptions::new().create(true).append(true).open(self.path(name)).and_then(|mut f| f.write_all(text.as_bytes())).expect("written");
    }

    /// Runs the follower until `script` ends or `chunks` have been stored; what is then on its way is lost.
    fn live(&mut self, chunks: usize, script: impl FnOnce(&mut Life<'_>)) {
        let source = Source::new("app", Span::seconds(5), self.metrics.source("app"));
        let (queue, inbox) = Queue::new(64 << 20, Arc::new(Metrics::default()));
        let (_stop, stopping) = watch::channel(false);
        let known = Arc::new(Known { files: self.journal.positions.clone(), ..Known::default() });
        let intake = Intake { queue, limits: Arc::new(self.limits.clone()), stop: stopping, known, budget: Budget::new(1 << 20, Default::default()) };
        let watches = vec![(Arc::new(source), self.config.clone())];
        let follow = Follow::new(watches, &intake, self.runtime.handle(), self.pace);
        let mut life = Life { follow, inbox, journal: &mut self.journal, chunks, dead: false };
        script(&mut life);
        life.follow.leave();
    }

    /// Starts, reads all there is, and stops.
    fn read(&mut self) {
        self.live(usize::MAX, |l| l.read());
    }

    #[track_caller]
    fn check(&self, want: &[&str]) {
        assert_eq!(self.journal.records, want);
    }
}

impl Life<'_> {
    fn drain(&mut self) {
        while let Some(mut c) = self.inbox.chunk() {
            self.dead |= self.chunks == 0;
            if !self.dead {
                self.chunks -= 1;
                self.journal.store(&c);
            }
            if let Some(seen) = c.seen.take() {
                let _ = seen.send(());
            }
        }
    }

    fn look(&mut self) {
        if !self.dead {
            self.follow.look();
            self.drain();
        }
    }

    /// Looks and reads until nothing more comes; a file that has ended shows what it was a copy of at the next look.
    fn read(&mut self) {
        for _ in 0..4 {
            self.look();
            while !self.dead && self.follow.step() {
                self.drain();
            }
        }
    }
}

/// Compresses a file as gzip does: with its time, and without the file.
fn gzip(path: &Path) {
    let to = PathBuf::from(format!("{}.gz", path.display()));
    let mut e = flate2::write::GzEncoder::new(fs::File::create(&to).expect("created"), flate2::Compression::fast());
    e.write_all(&fs::read(path).expect("read")).expect("written");
    let f = e.finish().expect("written");
    f.set_modified(fs::metadata(path).and_then(|m| m.modified()).expect("a time")).expect("set");
    fs::remove_file(path).expect("removed");
}

fn zstd(path: &Path) {
    let to = PathBuf::from(format!("{}.zst", path.display()));
    fs::write(&to, zstd::encode_all(&*fs::read(path).expect("read"), 1).expect("in memory")).expect("written");
    let time = fs::metadata(path).and_then(|m| m.modified()).expect("a time");
    fs::OpenOptions::new().write(true).open(&to).and_then(|f| f.set_modified(time)).expect("set");
    fs::remove_file(path).expect("removed");
}

/// Times of files differ from one rotation to the next.
fn tick() {
    std::thread::sleep(Duration::from_millis(9));
}

#[test]
fn reading_goes_on_where_the_journal_says() {
    let mut r = Rig::new(&["a.log"]);
    r.append("a.log", "1\n2\n3");
    r.read();
    r.check(&["1", "2"]);
    r.append("a.log", "x\n4\n");
    r.read();
    r.read();
    r.check(&["1", "2", "3x", "4"]);
    assert_eq!(r.journal.streams[3], r.path("a.log").display().to_string());
}

#[test]
fn a_record_of_several_lines_that_is_open_at_the_end_is_read_again_as_a_whole() {
    let mut r = Rig::new(&["a.log"]);
    r.pace.idle = Duration::from_secs(3600);
    r.append("a.log", "x\n** Alert 1.1: - a,\none\n");
    r.read();
    r.check(&["x"]);
    r.append("a.log", "two\n** Alert 2.1: - b,\nthree\n");
    r.read();
    r.check(&["x", "** Alert 1.1: - a,\none\ntwo"]);
    r.pace.idle = Duration::ZERO;
    r.read();
    r.read();
    r.check(&["x", "** Alert 1.1: - a,\none\ntwo", "** Alert 2.1: - b,\nthree"]);
}

#[test]
fn a_record_that_is_open_when_its_file_is_rotated_comes_before_what_follows() {
    let mut r = Rig::new(&["a.log"]);
    r.pace = Pace { idle: Duration::from_millis(50), quiet: Duration::from_secs(3600), ..AT_ONCE };
    r.append("a.log", "x\n** Alert 1.1: - a,\none\n");
    let (name, aside) = (r.path("a.log"), r.path("a.log.1"));
    r.live(usize::MAX, |l| {
        l.read();
        fs::rename(&name, &aside).and_then(|()| fs::write(&name, "y\n")).expect("rotated");
        l.read();
        std::thread::sleep(Duration::from_millis(60));
        l.read();
    });
    r.check(&["x", "** Alert 1.1: - a,\none", "y"]);
}

/// How a log is rotated once.
#[derive(Clone, Copy, Debug)]
enum Rotation {
    Rename,
    RenameGzip,
    RenameZstd,
    Copy,
    CopyGzip,
    Date,
}

const ROTATIONS: [Rotation; 6] = [Rotation::Rename, Rotation::RenameGzip, Rotation::RenameZstd, Rotation::Copy, Rotation::CopyGzip, Rotation::Date];

/// Rotates `a.log`: generations move up by one.
fn rotate(dir: &Path, how: Rotation, day: &mut u32) {
    tick();
    let live = dir.join("a.log");
    for n in (1..60).rev() {
        for end in ["", ".gz", ".zst"] {
            let old = dir.join(format!("a.log.{n}{end}"));
            if old.exists() {
                fs::rename(&old, dir.join(format!("a.log.{}{end}", n + 1))).expect("renamed");
            }
        }
    }
    let first = dir.join("a.log.1");
    match how {
        Rotation::Copy | Rotation::CopyGzip => {
            fs::copy(&live, &first).expect("copied");
            fs::OpenOptions::new().write(true).open(&live).and_then(|f| f.set_len(0)).expect("emptied");
        }
        Rotation::Date => {
            *day += 1;
            fs::rename(&live, dir.join(format!("a.log-2026{day:04}"))).expect("renamed");
        }
        _ => fs::rename(&live, &first).expect("renamed"),
    }
    match how {
        Rotation::RenameGzip | Rotation::CopyGzip => gzip(&first),
        Rotation::RenameZstd => zstd(&first),
        _ => {}
    }
    tick();
}

#[test]
fn nothing_is_lost_or_repeated_at_a_rotation_of_any_kind() {
    for globs in [&["a.log"][..], &["a.log*"]] {
        for how in ROTATIONS {
            for (running, end) in [(true, "\n"), (true, ""), (false, "\n"), (false, "")] {
                let mut r = Rig::new(globs);
                let dir = r.dir.path().to_owned();
                let append = |text: &str| {
                    fs::OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(dir.join("a.log"))
                        .and_then(|mut f| f.write_all(text.as_bytes()))
                        .expect("written")
                };
                append("1\n2\n");
                if running {
                    r.live(usize::MAX, |l| {
                        l.read();
                        append(&format!("3\n4{end}"));
                        rotate(&dir, how, &mut 0);
                        append("5\n");
                        l.read();
                        append("6\n");
                        l.read();
                    });
                } else {
                    r.read();
                    append(&format!("3\n4{end}"));
                    rotate(&dir, how, &mut 0);
                    append("5\n");
                    r.read();
                    append("6\n");
                }
                r.read();
                r.read();
                if end.is_empty() {
                    // It may still be finished, so the new file does not wait for it.
                    r.journal.records.sort();
                }
                assert_eq!(r.journal.records, ["1", "2", "3", "4", "5", "6"], "{globs:?} {how:?} while it ran: {running}");
                assert!(r.journal.streams.iter().all(|s| s.ends_with("/a.log")), "{:?}", r.journal.streams);
            }
        }
    }
}

#[test]
fn generations_that_came_and_went_while_nobody_looked_are_read_in_order() {
    for globs in [&["a.log"][..], &["a.log*"]] {
        for how in ROTATIONS {
            let mut r = Rig::new(globs);
            r.append("a.log", "1\n");
            r.read();
            let mut day = 0;
            for n in 2..6 {
                r.append("a.log", &format!("{n}\n"));
                rotate(r.dir.path(), how, &mut day);
            }
            r.append("a.log", "6\n");
            r.read();
            r.read();
            assert_eq!(r.journal.records, ["1", "2", "3", "4", "5", "6"], "{globs:?} {how:?}");
        }
    }
}

#[test]
fn generations_that_nobody_had_looked_at_are_read_in_order_whenever_the_one_who_finds_them_is_killed() {
    for how in ROTATIONS {
        for chunks in 0..12 {
            let mut r = Rig::new(&["a.log"]);
            r.append("a.log", "1\n");
            r.read();
            let mut day = 0;
            for n in 2..6 {
                r.append("a.log", &format!("{n}\n"));
                rotate(r.dir.path(), how, &mut day);
            }
            r.append("a.log", "6\n");
            r.live(chunks, |l| l.read());
            r.read();
            r.read();
            assert_eq!(r.journal.records, ["1", "2", "3", "4", "5", "6"], "{how:?}, killed after {chunks} chunks");
        }
    }
}

#[test]
fn a_generation_that_was_empty_when_it_was_opened_is_read_whenever_the_one_who_finds_the_next_is_killed() {
    for how in ROTATIONS {
        for chunks in 0..12 {
            let mut r = Rig::new(&["a.log"]);
            r.append("a.log", "1\n");
            r.read();
            let (dir, mut day) = (r.dir.path().to_owned(), 0);
            let append = |text: &str| {
                let f = fs::OpenOptions::new().create(true).append(true).open(dir.join("a.log"));
                f.and_then(|mut f| f.write_all(text.as_bytes())).expect("written");
            };
            r.live(chunks, |l| {
                l.read();
                rotate(&dir, how, &mut day);
                append("");
                l.look();
                append("2\n");
                rotate(&dir, how, &mut day);
                append("3\n");
                l.read();
            });
            r.read();
            r.read();
            assert_eq!(r.journal.records, ["1", "2", "3"], "{how:?}, killed after {chunks} chunks");
        }
    }
}

/// A small generator of numbers, so that a seed comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Writer {
    random: Random,
    dir: PathBuf,
    day: u32,
    lines: Vec<String>,
    /// The rest of a line that has been begun.
    rest: String,
}

impl Writer {
    fn write(&mut self, text: &str) {
        let path = self.dir.join("a.log");
        fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut f| f.write_all(text.as_bytes())).expect("written");
    }

    /// Does one thing of those that happen to logs.
    fn act(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        self.write(&rest);
        match self.random.below(10) {
            n @ 0..7 => {
                let mut text = String::new();
                for _ in 0..self.random.below(if n == 0 { 900 } else { 6 }) {
                    let line = format!("line {} {}", self.lines.len(), "x".repeat(self.random.below(90) as usize));
                    text += &line;
                    text.push('\n');
                    self.lines.push(line);
                }
                let cut = if text.is_empty() { 0 } else { self.random.below(text.len() as u64) as usize };
                let now = if self.random.below(3) == 0 { cut } else { text.len() };
                self.write(&text[..now]);
                self.rest = text[now..].to_owned();
            }
            _ => {
                let how = ROTATIONS[self.random.below(ROTATIONS.len() as u64) as usize];
                tracing::debug!(?how, lines = self.lines.len(), "rotates");
                rotate(&self.dir.clone(), how, &mut self.day);
                self.write("");
            }
        }
    }
}

#[test]
fn killed_at_any_moment_every_line_is_stored_once_and_in_order() {
    let seeds = std::env::var("VIGILD_SEED").ok().and_then(|s| s.parse().ok()).map_or(1..25, |s: u64| s..s + 1);
    if seeds.end - seeds.start == 1 {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    }
    for seed in seeds {
        let globs: &[&str] = if seed % 2 == 0 { &["a.log"] } else { &["a.log*"] };
        let mut r = Rig::new(globs);
        let mut w = Writer {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            dir: r.dir.path().to_owned(),
            day: 0,
            lines: Vec::new(),
            rest: String::new(),
        };
        w.lines.push("line 0".into());
        w.write("line 0\n");
        r.read();
        for _ in 0..8 {
            for _ in 0..w.random.below(4) {
                w.act();
            }
            tracing::debug!(stored = r.journal.records.len(), positions = ?r.journal.positions, "starts");
            let (chunks, rounds) = (w.random.below(12) as usize, w.random.below(6));
            r.live(chunks, |l| {
                for _ in 0..rounds {
                    l.look();
                    for _ in 0..w.random.below(4) {
                        if !l.dead && l.follow.step() {
                            l.drain();
                        }
                        if w.random.below(4) == 0 {
                            w.act();
                        }
                    }
                    if l.dead {
                        break;
                    }
                    w.act();
                }
            });
        }
        w.act();
        let rest = std::mem::take(&mut w.rest);
        w.write(&rest);
        tick();
        w.write("the end\n");
        w.lines.push("the end".into());
        r.read();
        r.read();
        let wrong = r.journal.records.iter().zip(&w.lines).position(|(a, b)| a != b).unwrap_or(w.lines.len().min(r.journal.records.len()));
        let mut sorted = [r.journal.records.clone(), w.lines.clone()];
        sorted.iter_mut().for_each(|s| s.sort());
        let what = if sorted[0] == sorted[1] { "out of order" } else { "lost or repeated" };
        let (got, want) = (r.journal.records.get(wrong), w.lines.get(wrong));
        assert!(r.journal.records == w.lines, "VIGILD_SEED={seed}: {what}: record {wrong} of {} is {got:?}, written was {want:?}", w.lines.len());
    }
}

#[test]
fn a_file_written_anew_beyond_its_old_length_is_noticed_by_its_beginning() {
    let mut r = Rig::new(&["a.log"]);
    let path = r.path("a.log");
    r.append("a.log", "1\n2\n");
    r.live(usize::MAX, |l| {
        l.read();
        fs::write(&path, "3\n4\n5\n6\n").expect("written");
        l.read();
        assert_eq!(l.follow.watches[0].0.metrics.cut_off.get(), 1);
    });
    // While it was down too.
    fs::write(&path, "7\n8\n9\n10\n11\n").expect("written");
    r.read();
    r.check(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
}

#[test]
fn two_logs_that_begin_alike_are_two() {
    let mut r = Rig::new(&["*.log"]);
    let banner = format!("{}\n", "=".repeat(2000));
    r.append("a.log", &banner);
    r.append("b.log", &banner);
    r.read();
    r.append("c.log", &format!("{banner}1\n"));
    r.append("a.log", "2\n");
    r.read();
    assert_eq!(r.journal.records.len(), 5);
}

#[test]
fn a_last_line_without_a_newline_waits_in_a_live_file_and_is_a_record_of_one_that_is_gone() {
    let mut r = Rig::new(&["a.log"]);
    let path = r.path("a.log");
    r.append("a.log", "1\n2");
    r.live(usize::MAX, |l| {
        l.read();
        assert_eq!(l.journal.records, ["1"]);
        fs::remove_file(&path).expect("removed");
        l.read();
    });
    r.check(&["1", "2"]);
}

#[test]
fn from_end_leaves_out_what_is_there_at_the_first_start_and_nothing_else() {
    let mut r = Rig::new(&["*.log*"]);
    r.config.from = Start::End;
    r.append("a.log", "1\n2");
    r.append("old.log", "0\n");
    gzip(&r.path("old.log"));
    r.read();
    r.append("a.log", "3\n");
    r.append("b.log", "4\n");
    r.read();
    r.check(&["23", "4"]);
}

#[test]
fn a_file_that_is_older_than_wished_is_left_alone_until_it_is_written() {
    let mut r = Rig::new(&["*.log"]);
    r.config.ignore_older = Some(Duration::from_secs(60));
    r.append("a.log", "1\n");
    r.append("b.log", "2\n");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::OpenOptions::new().append(true).open(r.path("a.log")).and_then(|f| f.set_modified(old)).expect("set");
    r.read();
    r.check(&["2"]);
    r.append("a.log", "3\n");
    r.read();
    r.check(&["2", "1", "3"]);
}

#[test]
fn what_cannot_be_followed_is_told_once_and_counted_and_holds_nothing_up() {
    let mut r = Rig::new(&["*.log", "sub"]);
    fs::create_dir(r.path("sub")).expect("a folder");
    fs::create_dir(r.path("x.log")).expect("a folder");
    let fifo = std::process::Command::new("mkfifo").arg(r.path("f.log")).status().expect("mkfifo is there");
    assert!(fifo.success());
    std::os::unix::fs::symlink(r.path("real"), r.path("l.log")).expect("a link");
    r.append("real", "1\n");
    r.limits.files = 1;
    r.append("z.log", "2\n");
    r.live(usize::MAX, |l| {
        l.read();
        l.read();
        let m = &l.follow.watches[0].0.metrics;
        assert_eq!((m.refused.get(), m.open.get()), (3, 1), "the folder that is named, the FIFO, and one file too many");
    });
    r.check(&["1"]);
    r.limits.directory_entries = 1;
    r.live(usize::MAX, |l| {
        let before = l.follow.watches[0].0.metrics.refused.get();
        l.read();
        assert!(l.follow.watches[0].0.metrics.refused.get() > before);
    });
}

#[test]
fn a_compressed_file_is_read_as_far_as_it_goes_and_on_when_it_has_grown_whole() {
    let mut r = Rig::new(&["*.gz"]);
    let text: String = (0..40_000).map(|i| format!("line {i}\n")).collect();
    r.append("a", &text);
    gzip(&r.path("a"));
    let whole = fs::read(r.path("a.gz")).expect("read");
    fs::write(r.path("a.gz"), &whole[..whole.len() / 2]).expect("written");
    r.read();
    let some = r.journal.records.len();
    assert!(some > 1000 && some < 40_000, "{some}");
    fs::write(r.path("a.gz"), &whole).expect("written");
    r.read();
    r.read();
    assert!(r.journal.records.iter().enumerate().all(|(i, l)| *l == format!("line {i}")));
    assert_eq!(r.journal.records.len(), 40_000);
}

#[test]
fn the_content_of_a_compressed_file_has_a_limit() {
    let mut r = Rig::new(&["*.gz"]);
    r.limits.unpacked_bytes = 64 << 10;
    r.append("a", &"x\n".repeat(1 << 20));
    gzip(&r.path("a"));
    r.live(usize::MAX, |l| {
        l.read();
        assert_eq!(l.follow.watches[0].0.metrics.cut_off.get(), 1);
    });
    assert!(r.journal.records.len() < 200_000, "{}", r.journal.records.len());
}

#[test]
fn the_lag_is_what_has_not_been_read() {
    let mut r = Rig::new(&["a.log"]);
    r.append("a.log", "1\n2\n");
    r.live(usize::MAX, |l| {
        l.look();
        assert_eq!(l.follow.watches[0].0.metrics.lag_bytes.get(), 4);
        l.read();
        assert_eq!(l.follow.watches[0].0.metrics.lag_bytes.get(), 0);
    });
}
