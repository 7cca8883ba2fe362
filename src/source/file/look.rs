//! The look at what there is: new, renamed, copied, compressed, emptied and grown files.

use super::Follow;
use super::content::{self, Content, Packing, read_full_at};
use super::past::{ALL, Inode, Place};
use super::rotated::{self, Beside};
use super::tail::{Order, Tail, written};
use crate::clock;
use crate::config::source::file::Start;
use crate::event::Timestamp;
use crate::journal::FilePosition;
use crate::pipeline::Source;
use crate::source::BATCH;
use crate::source::frame::Framer;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of two files that may be one, so many bytes are compared.
const COMPARED: usize = 64 << 10;

/// A file that holds nothing to read, as long as it does not change.
pub struct Passed {
    len: u64,
    written: Timestamp,
    /// The open file that it is a copy of.
    pub of: Option<Inode>,
}

impl Passed {
    /// A file of which all has been read that can be.
    pub fn read(len: u64, written: Timestamp) -> Passed {
        Passed { len, written, of: None }
    }
}

/// A file that was found.
struct Found {
    source: Arc<Source>,
    path: PathBuf,
    inode: Inode,
    len: u64,
    written: Timestamp,
    /// The path of the file that it was before rotation renamed it, else its own.
    base: String,
    order: Order,
    /// The place of its source in the configuration; `None` of a file beside another that no glob names.
    watch: Option<usize>,
}

impl Found {
    fn new(source: Arc<Source>, path: PathBuf, m: &Metadata, base: String, watch: Option<usize>) -> Found {
        let rank = path.file_name().and_then(|n| n.to_str()).and_then(rotated::rotated).map_or(0, |r| r.rank);
        let order = (Path::new(&base) == path, written(m), rank);
        Found { source, path, inode: (m.dev(), m.ino()), len: m.len(), written: written(m), base, order, watch }
    }

    /// Whether it bears the name under which it is written, not one that rotation gave.
    fn is_current(&self) -> bool {
        self.order.0
    }
}

/// A file that is not open, and how it begins.
struct Candidate {
    found: Found,
    head: Vec<u8>,
    packing: Packing,
    place: Option<Place>,
}

impl Candidate {
    /// Its length, where that of its content is known.
    fn len(&self) -> Option<u64> {
        (self.packing == Packing::Plain).then_some(self.found.len)
    }
}

/// An open file that may have begun again since the last look.
struct Renewed {
    /// Its place among the open ones.
    tail: usize,
    /// When it had been written at the last look: copies of what it was are younger.
    before: Timestamp,
    /// Whether it surely is not what was read of it; else it was empty then, and may have been so again.
    cut: bool,
}

/// When what is known of each source and path was last written.
#[derive(Default)]
struct Newest(HashMap<(String, String), Timestamp>);

impl Newest {
    fn know(&mut self, source: &Source, base: &str, at: Timestamp) {
        let n = self.0.entry((source.name.clone(), base.to_owned())).or_insert(at);
        *n = at.max(*n);
    }

    fn of(&self, source: &Source, base: &str) -> Timestamp {
        self.0.get(&(source.name.clone(), base.to_owned())).copied().unwrap_or(Timestamp::MIN)
    }
}

impl Follow<'_> {
    /// Looks for new, renamed, shortened and grown files.
    pub fn look(&mut self) {
        let first = !std::mem::replace(&mut self.looked, true);
        let mut failing = BTreeSet::new();
        let mut found = self.list(&mut failing);
        let mut beside = Beside::new(self.intake.limits.directory_entries);
        let renewed = self.refresh(&found);
        for (source, path) in self.to_scan(&found, &renewed, first) {
            self.scan(&source, &path, &mut beside, &mut found);
        }
        let mut newest = Newest::default();
        for r in &renewed {
            newest.know(&self.tails[r.tail].stream.source, &self.tails[r.tail].stream.name, r.before);
        }
        self.cut_short(renewed, &found);
        let new = self.candidates(found, &mut failing);
        self.take_in(new, newest, &mut failing);
        self.fresh.clear();
        for i in (0..self.tails.len()).rev() {
            if self.is_over(i) {
                self.end(i);
            }
        }
        for (source, _) in &self.watches {
            let lag: u64 = self.tails.iter().filter(|t| Arc::ptr_eq(&t.stream.source, source)).map(Tail::lag).sum();
            source.metrics.lag_bytes.set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
        self.told = failing;
        if self.passed.len() > self.intake.limits.files.saturating_mul(super::REMEMBERED) {
            // They are only looked at again.
            self.passed.clear();
        }
    }

    /// Complains of a path, once as long as it stays so.
    fn refuse(&self, failing: &mut BTreeSet<PathBuf>, source: &Source, path: &Path, why: &str) {
        if failing.insert(path.to_owned()) && !self.told.contains(path) {
            source.metrics.refused.inc();
            tracing::warn!(source = %source.name, file = %path.display(), "is not followed: {why}");
        }
    }

    /// The files that globs name, each once.
    fn list(&self, failing: &mut BTreeSet<PathBuf>) -> Vec<Found> {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for (watch, (source, config)) in self.watches.iter().enumerate() {
            let mut entries = self.intake.limits.directory_entries;
            let mut paths = Vec::new();
            for glob in &config.paths {
                paths.extend(super::glob::expand(glob, &mut entries));
                if entries == 0 {
                    self.refuse(failing, source, Path::new(glob), "`[limits] directory_entries` is reached: not all of its files are seen");
                }
            }
            let names: HashSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
            for path in &paths {
                let m = match std::fs::metadata(path) {
                    Ok(m) => m,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(e) => {
                        self.refuse(failing, source, path, &e.to_string());
                        continue;
                    }
                };
                if !m.is_file() {
                    // A folder that a glob happens to name is nobody's wish.
                    if !m.is_dir() || config.paths.iter().any(|g| Path::new(g) == path) {
                        self.refuse(failing, source, path, "not a regular file");
                    }
                    continue;
                }
                if !seen.insert((m.dev(), m.ino())) {
                    continue;
                }
                let base = self.base(source, path, &names);
                all.push(Found::new(source.clone(), path.clone(), &m, base, Some(watch)));
            }
        }
        all
    }

    /// The path that a rotated file had, where there is a file of that name or has been one; else its own.
    fn base(&self, source: &Source, path: &Path, names: &HashSet<&Path>) -> String {
        let own = || path.display().to_string();
        let base = path.file_name().and_then(|n| n.to_str()).and_then(rotated::rotated).map(|r| path.with_file_name(r.base));
        let Some(base) = base else { return own() };
        let text = base.display().to_string();
        let known = names.contains(base.as_path())
            || self.tails.iter().any(|t| t.stream.name == text && t.stream.source.name == source.name)
            || self.past.has_path(&source.name, &text);
        if known { text } else { own() }
    }

    /// Looks at the open files; gives those that have been emptied or written anew.
    fn refresh(&mut self, found: &[Found]) -> Vec<Renewed> {
        let named: HashMap<Inode, &Found> = found.iter().map(|f| (f.inode, f)).collect();
        let mut all: Vec<Renewed> = Vec::new();
        for i in 0..self.tails.len() {
            let t = &mut self.tails[i];
            let Ok(m) = t.content.file.metadata() else { continue };
            let (size, at) = (m.len(), written(&m));
            let changed = (size, at) != (t.size, t.written);
            // One that was renamed, but not as rotation does it, goes on.
            t.order = (named.get(&t.inode).is_some_and(|f| f.is_current()), at, t.order.2);
            if t.order.0 {
                t.retired = None;
            } else if t.retired.is_none() || size != t.size {
                t.retired = Some(clock::monotonic());
            }
            let failed = std::mem::take(&mut t.failed);
            let cut = (changed || failed) && !t.is_same(t.offset);
            if cut || changed && t.head().is_empty() {
                all.push(Renewed { tail: i, before: t.written, cut });
            }
            (t.size, t.written) = (size, at);
            if changed && t.broken.is_some_and(|b| b.elapsed() >= self.pace.settled) {
                (t.broken, t.whole) = (None, false);
            }
            if t.fed.is_some_and(|f| f.elapsed() >= self.pace.idle) && t.content.packing == Packing::Plain && t.offset >= t.size && !cut {
                self.end_records(i, Framer::idle);
            }
            let t = &self.tails[i];
            if t.has_more() && t.size.saturating_sub(t.offset) > BATCH as u64 {
                self.fall_behind(i);
            }
        }
        all
    }

    /// Whether a file is done with.
    fn is_over(&mut self, i: usize) -> bool {
        let t = &self.tails[i];
        let quiet = |since: Option<std::time::Instant>| since.is_some_and(|s| s.elapsed() >= self.pace.quiet);
        if quiet(t.broken) && super::age(t.written) >= self.pace.quiet {
            t.stream.source.metrics.cut_off.inc();
            tracing::warn!(file = %t.stream.name, "a compressed file of it is damaged or too long; what could be read has been");
            return true;
        }
        t.whole || t.broken.is_none() && !t.has_more() && !t.failed && quiet(t.retired)
    }

    /// The paths beside which there may be files to read that no glob names.
    fn to_scan(&self, found: &[Found], renewed: &[Renewed], first: bool) -> Vec<(Arc<Source>, String)> {
        let mut all: Vec<(Arc<Source>, String)> = Vec::new();
        if first {
            for (source, _) in &self.watches {
                let paths: BTreeSet<&str> = self.past.paths(&source.name).collect();
                all.extend(paths.into_iter().map(|p| (source.clone(), p.to_owned())));
            }
            return all;
        }
        all.extend(renewed.iter().map(|r| &self.tails[r.tail].stream).map(|s| (s.source.clone(), s.name.clone())));
        for f in found.iter().filter(|f| f.is_current() && !self.is_open(f) && !self.is_passed(f)) {
            let had = self.tails.iter().any(|t| t.stream.name == f.base && Arc::ptr_eq(&t.stream.source, &f.source));
            if had || self.past.has_path(&f.source.name, &f.base) {
                all.push((f.source.clone(), f.base.clone()));
            }
        }
        all
    }

    /// Adds the rotated files beside a path to those that were found.
    fn scan(&self, source: &Arc<Source>, path: &str, beside: &mut Beside, found: &mut Vec<Found>) {
        for p in beside.of(Path::new(path)) {
            let Ok(m) = std::fs::metadata(&p) else { continue };
            if m.is_file() && !found.iter().any(|f| f.inode == (m.dev(), m.ino())) {
                found.push(Found::new(source.clone(), p, &m, path.to_owned(), None));
            }
        }
    }

    fn is_open(&self, f: &Found) -> bool {
        self.tails.iter().any(|t| t.inode == f.inode)
    }

    fn is_passed(&self, f: &Found) -> bool {
        self.passed.get(&f.inode).is_some_and(|p| (p.len, p.written) == (f.len, f.written))
    }

    fn pass(&mut self, f: &Found, of: Option<Inode>) {
        self.passed.insert(f.inode, Passed { of, ..Passed::read(f.len, f.written) });
    }

    /// Files that have been emptied or written anew begin again; what was not read of them is sought in a copy later.
    fn cut_short(&mut self, renewed: Vec<Renewed>, found: &[Found]) {
        for i in renewed.into_iter().filter(|r| r.cut).map(|r| r.tail) {
            let t = &self.tails[i];
            let copy = |f: &&Found| {
                let fits = !f.is_current() && !self.is_open(f) && f.base == t.stream.name && Arc::ptr_eq(&f.source, &t.stream.source);
                let content = || content::open(&f.path).and_then(|(file, _)| Content::new(file)).ok();
                fits && content().is_some_and(|c| c.head().starts_with(t.head()) && (c.packing != Packing::Plain || f.len >= t.offset))
            };
            let copied = !t.head().is_empty() && found.iter().any(|f| copy(&f));
            t.stream.source.metrics.cut_off.inc();
            if copied {
                tracing::info!(file = %t.stream.name, "has been emptied or written anew; what is not read yet is read from its copy");
            } else {
                tracing::info!(file = %t.stream.name, "has been emptied or written anew, and there is no copy of it beside it");
                self.end_records(i, Framer::flush);
            }
            let framer = self.framer(i);
            let t = &mut self.tails[i];
            let (position, inode) = (t.position(), t.inode);
            t.restart(framer);
            if position.head_len > 0 {
                self.past.push(position, false);
            }
            self.passed.retain(|_, p| p.of != Some(inode));
        }
    }

    fn framer(&self, i: usize) -> Framer {
        Framer::new(self.tails[i].stream.source.format, self.intake.limits.record_bytes)
    }

    /// The files that are not open and have changed since they were last looked at, with how they begin; those that have
    /// been read under the same inode have their place.
    fn candidates(&mut self, found: Vec<Found>, failing: &mut BTreeSet<PathBuf>) -> Vec<Candidate> {
        let mut all = Vec::new();
        for found in found {
            if self.is_open(&found) || self.is_passed(&found) {
                continue;
            }
            let content = content::open(&found.path).and_then(|(file, _)| Content::new(file));
            let c = match content {
                Ok(c) => Candidate { head: c.head(), packing: c.packing, found, place: None },
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => {
                    self.refuse(failing, &found.source, &found.path, &e.to_string());
                    continue;
                }
            };
            // An empty file that rotation has named is a copy that is about to be made; a compressed one begins with its header.
            if !(c.head.is_empty() && (!c.found.is_current() || c.packing != Packing::Plain)) {
                all.push(c);
            }
        }
        all.sort_by(|a, b| (&a.found.base, a.found.order, &a.found.path).cmp(&(&b.found.base, b.found.order, &b.found.path)));
        for c in &mut all {
            c.place = self.past.same_file(&c.found.source.name, c.found.inode, &c.head, c.len());
            if let Some(p) = &c.place {
                self.past.remove(&p.position);
            }
        }
        all
    }

    /// Takes in what was found: goes on, passes by, or begins.
    fn take_in(&mut self, all: Vec<Candidate>, mut newest: Newest, failing: &mut BTreeSet<PathBuf>) {
        // One that has been emptied is as new as it can be, and nothing is known of what it holds.
        for t in self.tails.iter().filter(|t| t.offset > 0 || !t.order.0) {
            newest.know(&t.stream.source, &t.stream.name, t.written);
        }
        let mut new = Vec::new();
        for mut c in all {
            let (source, base, at) = (c.found.source.clone(), c.found.base.clone(), c.found.written);
            let mut adopted = false;
            if c.place.is_none() {
                if let Some(of) = self.copied(&c) {
                    tracing::debug!(file = %c.found.path.display(), "is a copy of one that is read");
                    self.pass(&c.found, Some(of));
                    newest.know(&source, &base, at);
                    continue;
                }
                c.place = self.past.same_content(&source.name, &c.found.path, &c.head, c.len());
                adopted = c.place.is_some();
            }
            match c.place.take() {
                Some(place) => {
                    newest.know(&source, &base, at);
                    self.go_on(c, place, adopted, failing);
                }
                None => new.push(c),
            }
        }
        // Those that are being written first: the others may be copies of them. The order of reading does not hang on it.
        new.sort_by_key(|c| !c.found.is_current());
        let mut begun = HashSet::new();
        for c in new {
            if c.found.watch.is_none() && c.found.written < newest.of(&c.found.source, &c.found.base) {
                self.pass(&c.found, None);
            } else if let Some(of) = self.copied(&c) {
                self.pass(&c.found, Some(of));
            } else {
                begun.extend(self.begin(c, failing));
            }
        }
        // Known from now on: they may be rotated before anything of them has been stored, and vigild killed before it can tell.
        // In the order of reading: where it is killed in between, those that it does not know are newer than what it knows.
        for i in 0..self.tails.len() {
            // One that was empty when it was opened is known by nothing yet, and may be older than what is known now.
            if begun.contains(&self.tails[i].inode) || !begun.is_empty() && self.tails[i].begins() {
                let position = self.tails[i].position();
                self.mark(i, position);
            }
        }
    }

    /// The open file that a rotated one is a copy of, made while the open one goes on.
    fn copied(&self, c: &Candidate) -> Option<Inode> {
        if c.found.is_current() {
            return None;
        }
        let mine = content::open(&c.found.path).and_then(|(f, _)| Content::new(f)).ok()?;
        let related =
            |t: &&Tail| Arc::ptr_eq(&t.stream.source, &c.found.source) && rotated::base(Path::new(&t.stream.name)) == rotated::base(&c.found.path);
        let same = |t: &&Tail| {
            if t.content.packing != Packing::Plain || c.packing == Packing::Plain && c.found.len > t.size {
                return t.content.packing != Packing::Plain && !t.head().is_empty() && c.head.starts_with(t.head());
            }
            let (mut a, mut b) = (vec![0; COMPARED], vec![0; COMPARED]);
            let n = mine.begin(&mut a);
            let end = |f, to: &mut [u8]| read_full_at(f, to, c.found.len - to.len() as u64).unwrap_or(0);
            if n == 0 || read_full_at(&t.content.file, &mut b[..n], 0).ok() != Some(n) || a[..n] != b[..n] {
                return false;
            }
            // And how it ends, of what is longer than that.
            let z = if c.packing == Packing::Plain { c.found.len.min(COMPARED as u64) as usize } else { 0 };
            end(&mine.file, &mut a[..z]) == end(&t.content.file, &mut b[..z]) && a[..z] == b[..z]
        };
        self.tails.iter().filter(related).find(same).map(|t| t.inode)
    }

    /// Goes on in a file whose content has been read up to a place; `adopted` where that was under another inode.
    fn go_on(&mut self, c: Candidate, place: Place, adopted: bool, failing: &mut BTreeSet<PathBuf>) {
        let Candidate { found, head, packing, .. } = c;
        let (packed, old) = (packing != Packing::Plain, place.position);
        let ends = |offset| content::open(&found.path).and_then(|(f, m)| Ok(Content::new(f)?.ends_at(offset, m.len()))).unwrap_or(false);
        let nothing = match packed {
            true => old.offset == ALL || adopted && place.ended || ends(old.offset) && old.skip == 0,
            false => old.offset >= found.len,
        };
        let mut p = FilePosition { inode: found.inode, ..old.clone() };
        self.past.supersede(&found.path, &head, &old);
        tracing::debug!(file = %found.path.display(), stream = %p.path, offset = p.offset, adopted, nothing, "is known");
        if nothing && (packed || !found.is_current()) {
            (p.offset, p.skip) = (if packed { ALL } else { found.len }, 0);
            self.pass(&found, None);
            if adopted {
                let stream = self.stream(&found.source, &p.path);
                self.mark_in(&stream, p.clone());
            }
            self.past.push(p, place.ended);
            return;
        }
        match self.open(&found, &head, Some(&p), failing) {
            Some(i) if adopted => self.mark(i, p),
            Some(_) => {}
            None => self.past.push(old, place.ended),
        }
    }

    /// Begins a file that nobody has read; which, if it is open and the journal does not know it yet.
    fn begin(&mut self, c: Candidate, failing: &mut BTreeSet<PathBuf>) -> Option<Inode> {
        let f = &c.found;
        tracing::debug!(file = %f.path.display(), stream = %f.base, "has not been read");
        let config = f.watch.and_then(|w| self.watches.get(w)).map(|w| &w.1);
        if config.and_then(|w| w.ignore_older).is_some_and(|o| super::age(f.written) > o) {
            self.pass(f, None);
            return None;
        }
        let at_end = config.is_some_and(|w| w.from == Start::End) && self.fresh.contains(&f.source.name);
        if !at_end {
            return self.open(f, &c.head, None, failing).map(|i| self.tails[i].inode);
        }
        let offset = if c.packing == Packing::Plain { line_start(&f.path, f.len) } else { ALL };
        let position = FilePosition {
            source: f.source.name.as_str().into(),
            path: f.base.as_str().into(),
            inode: f.inode,
            head_len: c.head.len() as u32,
            head: super::head::hash(&c.head),
            offset,
            skip: 0,
        };
        if offset == ALL {
            self.pass(f, None);
            let stream = self.stream(&f.source, &f.base);
            self.mark_in(&stream, position.clone());
            self.past.push(position, false);
        } else if let Some(i) = self.open(f, &c.head, Some(&position), failing) {
            self.mark(i, position);
        }
        None
    }

    /// Opens a file, among those of its stream where it belongs.
    fn open(&mut self, found: &Found, head: &[u8], from: Option<&FilePosition>, failing: &mut BTreeSet<PathBuf>) -> Option<usize> {
        let source = &found.source;
        if self.tails.iter().filter(|t| Arc::ptr_eq(&t.stream.source, source)).count() >= self.intake.limits.files {
            self.refuse(failing, source, &found.path, "`[limits] files` is reached");
            return None;
        }
        let opened = content::open(&found.path).and_then(|(file, m)| Ok((Content::new(file)?, m)));
        let (content, m) = match opened {
            // Another has come in between; the next look sees which.
            Ok((c, m)) if (m.dev(), m.ino()) != found.inode || !c.head().starts_with(head) => return None,
            Ok(o) => o,
            Err(e) => {
                self.refuse(failing, source, &found.path, &e.to_string());
                return None;
            }
        };
        let stream = self.stream(source, from.map_or(&*found.base, |p| &*p.path));
        let framer = Framer::new(source.format, self.intake.limits.record_bytes);
        let head = content.head();
        let tail = Tail::new(stream, content, &m, head, from, framer, found.order);
        let after = |t: &Tail| Arc::ptr_eq(&t.stream, &tail.stream) && t.order > tail.order;
        let i = self.tails.iter().position(after).unwrap_or(self.tails.len());
        source.metrics.open.inc();
        self.passed.remove(&found.inode);
        self.tails.insert(i, tail);
        if self.tails[i].has_more() {
            // Before anything is read of any file: the watermark must not pass what this one holds.
            self.fall_behind(i);
        }
        Some(i)
    }
}

/// Where the last line of a file that has no newline yet begins; its end where there is none.
fn line_start(path: &Path, len: u64) -> u64 {
    let mut end = vec![0; COMPARED.min(len as usize)];
    let at = len - end.len() as u64;
    let n = content::open(path).and_then(|(f, _)| read_full_at(&f, &mut end, at)).unwrap_or(0);
    memchr::memrchr(b'\n', &end[..n]).map_or(len, |i| at + i as u64 + 1)
}
