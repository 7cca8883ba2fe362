//! Files, followed as they grow.
//!
//! Each file is a stream named by its path and read from its start. A file is known by its device and inode: renamed, it
//! is read to its end and not again; another one under its name goes on in the same stream; one that has become shorter
//! is read from its start. A last line without its newline waits for it; a record of several lines that has been open
//! for a second is taken as whole.
//!
//! Files with a backlog are read in step: the one whose latest event is the oldest goes first, and the engine is told to
//! wait for them. Positions are not kept: at the next start, all is read again.

use super::frame::Framer;
use super::{BATCH, Intake};
use crate::clock;
use crate::config;
use crate::event::{Batch, Timestamp};
use crate::pipeline::{Source, Stream};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// A record of several lines is taken as whole after so long.
const IDLE: Duration = Duration::from_secs(1);
/// A file that has lost its name is read until it has been quiet for so long: its writer may not have noticed yet.
const QUIET: Duration = Duration::from_secs(5);
/// Read at once while several files have a backlog, so that their events stay near each other.
const STEP: usize = 32 << 10;

/// A source and how it is configured.
pub type Watch = (Arc<Source>, config::source::file::File);

type Inode = (u64, u64);

/// Follows files until the daemon stops; called on a thread of its own.
pub fn follow(watches: Vec<Watch>, intake: &Intake, runtime: &Handle) {
    let mut f = Follow { watches, intake, runtime, tails: Vec::new(), named: HashMap::new(), told: BTreeSet::new(), buffer: vec![0; BATCH] };
    let mut looked: Option<Instant> = None;
    while !intake.is_stopping() {
        if looked.is_none_or(|l| l.elapsed() >= LOOK) {
            f.look();
            looked = Some(clock::monotonic());
        }
        if !f.step() {
            let mut intake = intake.clone();
            let _ = runtime.block_on(async { tokio::time::timeout(LOOK, intake.stopped()).await });
        }
    }
    for tail in &mut f.tails {
        tail.stream.source.metrics.open.dec();
    }
}

struct Follow<'a> {
    watches: Vec<Watch>,
    intake: &'a Intake,
    runtime: &'a Handle,
    /// In the order in which they were found.
    tails: Vec<Tail>,
    /// The stream of each path.
    named: HashMap<PathBuf, Arc<Stream>>,
    /// Paths that could not be opened, complained of once.
    told: BTreeSet<PathBuf>,
    buffer: Vec<u8>,
}

struct Tail {
    path: PathBuf,
    stream: Arc<Stream>,
    file: File,
    inode: Inode,
    /// Read so far.
    offset: u64,
    /// Length when last looked at.
    size: u64,
    written: Timestamp,
    framer: Framer,
    /// When bytes were last fed to the framer; `None` if open records have been ended since.
    fed: Option<Instant>,
    /// It could not be read; the next look tries again.
    failed: bool,
    /// Whether the engine waits for it.
    behind: bool,
    /// Since when it has no name, or was last seen to grow after that.
    nameless: Option<Instant>,
    /// Chunks that the engine has not taken yet.
    flying: Vec<oneshot::Receiver<()>>,
}

impl Follow<'_> {
    /// Looks for new, renamed, shortened and grown files.
    fn look(&mut self) {
        let mut seen: BTreeMap<Inode, Metadata> = BTreeMap::new();
        for (source, config) in self.watches.clone() {
            let mut open = 0;
            for path in config.paths.iter().flat_map(|g| expand(g)) {
                let Ok(m) = std::fs::metadata(&path) else { continue };
                let inode = (m.dev(), m.ino());
                if !m.is_file() || seen.contains_key(&inode) {
                    continue;
                }
                open += 1;
                if !self.tails.iter().any(|t| t.inode == inode) && !self.open(&path, &m, &source, open) {
                    continue;
                }
                seen.insert(inode, m);
            }
        }
        for i in 0..self.tails.len() {
            let t = &mut self.tails[i];
            let named = seen.contains_key(&t.inode);
            let Ok(m) = t.file.metadata() else { continue };
            if named {
                t.nameless = None;
            } else if t.nameless.is_none() || m.len() != t.size {
                t.nameless = Some(clock::monotonic());
            }
            t.failed = false;
            (t.size, t.written) = (m.len(), m.modified().map_or_else(|_| clock::now(), clock::at));
            if t.size < t.offset {
                tracing::info!(file = %t.path.display(), "has become shorter and is read from its start");
                t.stream.source.metrics.cut_off.inc();
                self.end_records(i, Framer::flush);
                self.tails[i].offset = 0;
            }
            let t = &self.tails[i];
            if t.fed.is_some_and(|f| f.elapsed() >= IDLE) && t.offset >= t.size {
                self.end_records(i, Framer::idle);
            }
            let t = &mut self.tails[i];
            let backlog = t.size.saturating_sub(t.offset) > BATCH as u64;
            if backlog && !t.behind {
                t.behind = true;
                self.runtime.block_on(self.intake.queue.behind(&t.stream, true));
            }
        }
        let ended: Vec<usize> = (0..self.tails.len()).rev().filter(|&i| self.tails[i].is_over()).collect();
        for i in ended {
            self.end(i);
        }
    }

    /// Opens a file that was found; `false` if it is not followed.
    fn open(&mut self, path: &Path, m: &Metadata, source: &Arc<Source>, open: usize) -> bool {
        let refuse = |told: &mut BTreeSet<PathBuf>, why: &str| {
            if told.insert(path.to_owned()) {
                source.metrics.refused.inc();
                tracing::warn!(source = %source.name, file = %path.display(), "is not followed: {why}");
            }
            false
        };
        if open > self.intake.limits.files {
            return refuse(&mut self.told, "`[limits] files` is reached");
        }
        let file = match File::open(path) {
            Ok(f) => f,
            Err(e) => return refuse(&mut self.told, &e.to_string()),
        };
        self.told.remove(path);
        let stream = self.named.entry(path.to_owned()).or_insert_with(|| Stream::new(path.display().to_string(), source.clone())).clone();
        source.metrics.open.inc();
        let behind = m.len() > 0;
        if behind {
            // Before anything is read of any file: the watermark must not pass what this one holds.
            self.runtime.block_on(self.intake.queue.behind(&stream, true));
        }
        self.tails.push(Tail {
            path: path.to_owned(),
            stream,
            file,
            inode: (m.dev(), m.ino()),
            offset: 0,
            size: m.len(),
            written: m.modified().map_or_else(|_| clock::now(), clock::at),
            framer: Framer::new(source.format, self.intake.limits.record_bytes),
            fed: None,
            failed: false,
            behind,
            nameless: None,
            flying: Vec::new(),
        });
        true
    }

    /// Reads one stretch of the file whose turn it is; `false` if there is nothing to read now.
    fn step(&mut self) -> bool {
        let ready: Vec<usize> = (0..self.tails.len()).filter(|&i| self.tails[i].has_more()).collect();
        let Some(&i) = ready.iter().min_by_key(|&&i| self.tails[i].stream.last()) else { return false };
        let alone = ready.len() == 1;
        // Alone, a file is read while the engine works on what came before; else its latest event must be known first.
        let flying = alone as usize;
        while self.tails[i].flying.len() > flying {
            let first = self.tails[i].flying.remove(0);
            // An error means that the engine is gone, and so that the daemon stops.
            let _ = first.blocking_recv();
        }
        if !alone && ready.iter().any(|&j| self.tails[j].stream.last() < self.tails[i].stream.last()) {
            return true;
        }
        let t = &mut self.tails[i];
        let want = if alone { BATCH } else { STEP }.min((t.size - t.offset).min(BATCH as u64) as usize);
        let n = match t.file.read_at(&mut self.buffer[..want], t.offset) {
            Ok(n) => n,
            Err(e) => {
                tracing::warn!(file = %t.path.display(), error = %e, "cannot be read");
                0
            }
        };
        if n == 0 {
            // It has become shorter, or cannot be read: the next look sees to it.
            t.failed = true;
            self.catch_up(i);
            return true;
        }
        t.offset += n as u64;
        t.fed = Some(clock::monotonic());
        let mut batch = Batch::default();
        t.framer.feed(&self.buffer[..n], &mut batch);
        self.send(i, batch);
        if self.tails[i].offset >= self.tails[i].size {
            self.catch_up(i);
        }
        true
    }

    /// The end of the file has been reached: the engine need not wait for it.
    fn catch_up(&mut self, i: usize) {
        let t = &mut self.tails[i];
        if std::mem::take(&mut t.behind) {
            self.runtime.block_on(self.intake.queue.behind(&t.stream, false));
        }
    }

    fn send(&mut self, i: usize, mut batch: Batch) {
        let t = &mut self.tails[i];
        if let Some(mut chunk) = self.intake.chunk(&t.stream, t.stream.source.format, &mut batch) {
            let (seen, answer) = oneshot::channel();
            chunk.near = t.written;
            chunk.seen = Some(seen);
            t.flying.push(answer);
            self.runtime.block_on(self.intake.queue.send(chunk));
        }
    }

    /// Ends records that are open: those of several lines, or all that there is.
    fn end_records(&mut self, i: usize, end: fn(&mut Framer, &mut Batch)) {
        let t = &mut self.tails[i];
        t.fed = None;
        let mut batch = Batch::default();
        end(&mut t.framer, &mut batch);
        self.send(i, batch);
    }

    /// Lets go of a file that is read to its end and has no name any more.
    fn end(&mut self, i: usize) {
        self.end_records(i, Framer::flush);
        self.catch_up(i);
        let t = self.tails.remove(i);
        t.stream.source.metrics.open.dec();
        if !self.tails.iter().any(|o| Arc::ptr_eq(&o.stream, &t.stream)) {
            self.named.remove(&t.path);
            self.runtime.block_on(self.intake.queue.close(&t.stream));
        }
    }
}

impl Tail {
    fn has_more(&self) -> bool {
        self.offset < self.size && !self.failed
    }

    fn is_over(&self) -> bool {
        !self.has_more() && self.nameless.is_some_and(|n| n.elapsed() >= QUIET)
    }
}

/// The paths that a glob names, sorted: `*`, `?` and `[a-z]` within one part of the path. A path without any of these is
/// itself, whether it exists or not.
fn expand(glob: &str) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::new()];
    for part in Path::new(glob).components() {
        let part = part.as_os_str();
        let Some(pattern) = part.to_str().filter(|p| p.contains(['*', '?', '['])) else {
            all.iter_mut().for_each(|p| p.push(part));
            continue;
        };
        let matching = |dir: PathBuf| -> Vec<PathBuf> {
            let here = if dir.as_os_str().is_empty() { Path::new(".") } else { &dir };
            let Ok(entries) = std::fs::read_dir(here) else { return Vec::new() };
            let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
            // Like a shell's, a pattern sees hidden files only if it begins with a dot itself.
            names
                .filter(|n| (!n.starts_with('.') || pattern.starts_with('.')) && matches(pattern.as_bytes(), n.as_bytes()))
                .map(|n| dir.join(n))
                .collect()
        };
        all = all.into_iter().flat_map(matching).collect();
    }
    all.sort();
    all
}

/// Whether a name matches a pattern, in time linear in each star.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => {
                if let Some(after) = one(pattern, p, name[n]) {
                    (p, n) = (after, n + 1);
                    continue;
                }
            }
            None => {}
        }
        match star {
            Some((sp, sn)) => {
                star = Some((sp, sn + 1));
                (p, n) = (sp + 1, sn + 1);
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Whether what stands at `p` takes a byte, and where the pattern goes on.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'[' => {
            let Some(len) = pattern[p + 1..].iter().position(|&b| b == b']').filter(|&l| l > 0) else { return (byte == b'[').then_some(p + 1) };
            let mut set = &pattern[p + 1..p + 1 + len];
            let not = matches!(set, [b'!' | b'^', _, ..]);
            if not {
                set = &set[1..];
            }
            let mut found = false;
            while let [first, rest @ ..] = set {
                match rest {
                    [b'-', last, rest @ ..] => {
                        found |= (*first..=*last).contains(&byte);
                        set = rest;
                    }
                    _ => {
                        found |= *first == byte;
                        set = rest;
                    }
                }
            }
            (found != not).then_some(p + 2 + len)
        }
        c => (c == byte).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_s_do() {
        for (pattern, name, yes) in [
            ("*.log", "auth.log", true),
            ("*.log", "auth.log.1", false),
            ("eve*.json", "eve.json", true),
            ("eve*.json", "eve-2026.json", true),
            ("eve?.json", "eve1.json", true),
            ("eve?.json", "eve.json", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("log.[0-9]", "log.7", true),
            ("log.[0-9]", "log.x", false),
            ("log.[!0-9]", "log.x", true),
            ("[", "[", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn a_glob_goes_through_folders_and_leaves_hidden_files_out() {
        let dir = tempfile::tempdir().expect("a folder");
        for f in ["a/1.log", "b/2.log", "b/3.txt", "b/.4.log"] {
            let p = dir.path().join(f);
            std::fs::create_dir_all(p.parent().expect("it has one")).expect("a folder");
            std::fs::write(p, "").expect("a file");
        }
        let found = expand(&format!("{}/*/*.log", dir.path().display()));
        assert_eq!(found, [dir.path().join("a/1.log"), dir.path().join("b/2.log")]);
        assert_eq!(expand("/no/such/file"), [PathBuf::from("/no/such/file")]);
        assert_eq!(expand("/no/such/*"), Vec::<PathBuf>::new());
    }
}
