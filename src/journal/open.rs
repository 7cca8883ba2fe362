//! Opening: which segments there are, what a crash left of the newest, and what is damaged.

use super::frame::Home;
use super::header::{self, HEADER, Header, IDENTITY, RAW, SEALED, Unread};
use super::read::Points;
use super::seal;
use super::segment::{Cache, Form, Point, Segment};
use super::shared::{Shared, gone};
use super::state::{Bounds, State, Told};
use super::walk::{Lost, Step, Walk};
use super::write::{Journal, Place};
use super::{JournalError, Options, wire};
use crate::disk::{Disk, DiskFile};
use crate::event::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What was found on opening.
#[derive(Debug, Default)]
pub struct Opened {
    /// What had to be put right, in order.
    pub repairs: Vec<Repair>,
    /// The greatest time of an entry.
    pub last_time: Option<Timestamp>,
}

/// Something that was put right on opening. Shown, it says the exact ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The end of the newest segment, which was never durable, was cut off.
    Torn {
        /// The segment: its first lsn.
        segment: u64,
        /// Offset of the first byte that went.
        from: u64,
        /// How many went.
        bytes: u64,
    },
    /// The newest segment had no whole beginning and no entry: it was never used, and was removed.
    Unused {
        /// The segment: its first lsn.
        segment: u64,
        /// Its length.
        bytes: u64,
    },
    /// What was durable is damaged. Reading goes on behind it.
    Quarantined {
        /// The segment: its first lsn.
        segment: u64,
        /// Offset of the first damaged byte.
        from: u64,
        /// Offset behind the last.
        to: u64,
        /// The first entry that is lost.
        first_lsn: u64,
        /// The last.
        last_lsn: u64,
        /// The first record that is lost.
        first_seq: u64,
        /// The last; less than `first_seq` if none is.
        last_seq: u64,
        /// The name of the copy in `quarantine`, if there was room for one.
        file: Option<String>,
    },
    /// Segments are missing.
    Missing {
        /// The first entry that is missing.
        first_lsn: u64,
        /// The last.
        last_lsn: u64,
        /// The first record that is missing.
        first_seq: u64,
        /// The last; less than `first_seq` if none is.
        last_seq: u64,
    },
    /// A segment's header is damaged; what it says was found elsewhere.
    Header {
        /// The segment: its first lsn.
        segment: u64,
    },
    /// The index of a sealed segment is damaged; its blocks were found one by one.
    Index {
        /// The segment: its first lsn.
        segment: u64,
    },
    /// Nothing in a segment can be read. It was taken away.
    Unreadable {
        /// The segment: its first lsn.
        segment: u64,
        /// Its length.
        bytes: u64,
        /// The name of the copy in `quarantine`, if there was room for one.
        file: Option<String>,
    },
    /// The positions that the newest segment begins with are damaged; they were made again from the entries before.
    Positions {
        /// The segment: its first lsn.
        segment: u64,
        /// The first entry that they were made from.
        from_lsn: u64,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |f: &mut fmt::Formatter<'_>, l: (u64, u64), s: (u64, u64)| {
            write!(f, "entries {} to {}, ", l.0, l.1)?;
            if s.1 < s.0 { write!(f, "no records") } else { write!(f, "records {} to {}", s.0, s.1) }
        };
        let copy = |f: &mut fmt::Formatter<'_>, file: &Option<String>| match file {
            Some(n) => write!(f, "; a copy is quarantine/{n}"),
            None => write!(f, "; no copy was kept"),
        };
        match self {
            Repair::Torn { segment, from, bytes } => {
                write!(f, "segment {segment}: {bytes} bytes from {from} on had never become durable and were cut off")
            }
            Repair::Unused { segment, bytes } => write!(f, "segment {segment} ({bytes} bytes) had never been used and was removed"),
            Repair::Quarantined { segment, from, to, first_lsn, last_lsn, first_seq, last_seq, file } => {
                write!(f, "segment {segment}: bytes {from} to {to} are damaged: lost are ")?;
                range(f, (*first_lsn, *last_lsn), (*first_seq, *last_seq))?;
                copy(f, file)
            }
            Repair::Missing { first_lsn, last_lsn, first_seq, last_seq } => {
                write!(f, "segments are missing: ")?;
                range(f, (*first_lsn, *last_lsn), (*first_seq, *last_seq))
            }
            Repair::Header { segment } => write!(f, "segment {segment}: the header is damaged; what it says was found elsewhere"),
            Repair::Index { segment } => write!(f, "segment {segment}: the index is damaged; its blocks were found one by one"),
            Repair::Unreadable { segment, bytes, file } => {
                write!(f, "segment {segment}: nothing in its {bytes} bytes can be read; it was taken away")?;
                copy(f, file)
            }
            Repair::Positions { segment, from_lsn } => {
                write!(f, "segment {segment}: the positions of sources are damaged and were made again from entry {from_lsn} on")
            }
        }
    }
}

/// Bytes of all that is kept in quarantine.
const QUARANTINE: u64 = 64 << 20;

const IDENTITY_FILE: &str = "identity";

struct Opening<'o> {
    disk: Arc<dyn Disk>,
    dir: &'o Path,
    bounds: Bounds,
    cache: Arc<Cache>,
    repairs: Vec<Repair>,
}

/// The disk's errors, with the place.
trait At<T> {
    fn at(self, path: &Path) -> Result<T, JournalError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, JournalError> {
        self.map_err(|source| JournalError::Io { path: path.to_owned(), source })
    }
}

/// A file that could be a segment.
struct Candidate {
    lsn: u64,
    sealed: bool,
    file: Arc<dyn DiskFile>,
    header: Option<Header>,
}

/// What was found in the newest segment.
struct Newest {
    state: State,
    last: u64,
    next_seq: u64,
    position: u64,
    generation: u32,
    /// Entries go on in a new segment.
    roll: bool,
}

fn name(lsn: u64, sealed: bool) -> String {
    format!("{lsn:020}{}", if sealed { ".seal" } else { ".log" })
}

fn parse(name: &str) -> Option<(u64, bool)> {
    let (number, kind) = name.split_once('.')?;
    let lsn = (number.len() == 20).then(|| number.parse::<u64>().ok())??;
    match kind {
        "log" if lsn > 0 => Some((lsn, false)),
        "seal" if lsn > 0 => Some((lsn, true)),
        _ => None,
    }
}

impl Opening<'_> {
    fn header(&self, file: &dyn DiskFile, sealed: bool, path: &Path) -> Result<Option<Header>, JournalError> {
        let mut b = [0; HEADER];
        let n = file.read_at(&mut b, 0).at(path)?;
        match Header::read(b.get(..n).unwrap_or_default(), if sealed { SEALED } else { RAW }) {
            Ok(h) => Ok(Some(h)),
            Err(Unread::Bad) => Ok(None),
            Err(Unread::Version(version)) => Err(JournalError::Version { path: path.to_owned(), version }),
        }
    }

    /// The files that could be segments, the oldest first; half-made files are removed.
    fn candidates(&mut self) -> Result<Vec<Candidate>, JournalError> {
        let mut found: BTreeMap<u64, Vec<bool>> = BTreeMap::new();
        for n in self.disk.list(self.dir).at(self.dir)? {
            if n.ends_with(".tmp") {
                let path = self.dir.join(&n);
                self.disk.remove(&path).at(&path)?;
            } else if let Some((lsn, sealed)) = parse(&n) {
                found.entry(lsn).or_default().push(sealed);
            }
        }
        // What is seen from here on is so after the next crash, too.
        self.disk.sync_dir(self.dir).at(self.dir)?;
        let mut all = Vec::new();
        for (lsn, kinds) in found {
            for sealed in kinds {
                let path = self.dir.join(name(lsn, sealed));
                let file = self.disk.open(&path).at(&path)?;
                let header = self.header(&*file, sealed, &path)?.filter(|h| h.lsn == lsn);
                all.push(Candidate { lsn, sealed, file, header });
            }
        }
        Ok(all)
    }

    /// The journal's seed: from its own file, else from a segment, else a new one.
    fn seed(&self, all: &[Candidate], new: impl FnOnce() -> u64) -> Result<u64, JournalError> {
        let path = self.dir.join(IDENTITY_FILE);
        let known = match self.disk.open(&path) {
            Ok(f) => {
                let mut b = [0; HEADER];
                let n = f.read_at(&mut b, 0).at(&path)?;
                match Header::read(b.get(..n).unwrap_or_default(), IDENTITY) {
                    Err(Unread::Version(version)) => return Err(JournalError::Version { path, version }),
                    read => read.ok(),
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).at(&path),
        };
        if let Some(h) = known {
            return Ok(h.seed);
        }
        let seed = match all.iter().rev().find_map(|c| c.header) {
            Some(h) => h.seed,
            None if all.is_empty() => new(),
            None => return Err(JournalError::Unreadable(self.dir.to_owned())),
        };
        let temporary = self.dir.join("identity.tmp");
        let write = || {
            gone(self.disk.remove(&temporary))?;
            let f = self.disk.create(&temporary)?;
            f.write_all_at(&Header { seed, lsn: 0, seq: 0, before: None }.bytes(IDENTITY), 0)?;
            f.sync_data()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(self.dir)
        };
        write().at(&path)?;
        Ok(seed)
    }

    /// Where both forms of a segment are there, a crash has interrupted sealing: the sealed one counts if it is whole.
    fn one_form(&self, all: Vec<Candidate>, id: u64) -> Result<Vec<Candidate>, JournalError> {
        let mut kept: Vec<Candidate> = Vec::with_capacity(all.len());
        for c in all {
            let Some(other) = kept.pop_if(|o| o.lsn == c.lsn) else {
                kept.push(c);
                continue;
            };
            let (raw, sealed) = if c.sealed { (other, c) } else { (c, other) };
            let path = self.dir.join(name(sealed.lsn, true));
            let index = seal::index(&*sealed.file, Home { id, segment: sealed.lsn }).at(&path)?;
            let whole = sealed.header.is_some() && index.footer.is_some() && !index.blocks.is_empty();
            let (keep, drop) = if whole { (sealed, raw) } else { (raw, sealed) };
            let path = self.dir.join(name(drop.lsn, drop.sealed));
            self.disk.remove(&path).at(&path)?;
            kept.push(keep);
        }
        Ok(kept)
    }

    /// A candidate as a segment; `None` if nothing in it can be read, or nothing is.
    fn segment(&mut self, c: &Candidate, id: u64) -> Result<Option<Segment>, JournalError> {
        let path = self.dir.join(name(c.lsn, c.sealed));
        let here = Home { id, segment: c.lsn };
        let from_header = c.header.map(|h| Point { offset: HEADER as u64, lsn: c.lsn, seq: h.seq, before: h.before });
        if from_header.is_none() {
            self.repairs.push(Repair::Header { segment: c.lsn });
        }
        let len = c.file.len().at(&path)?;
        if !c.sealed {
            let make = |first, cache| Segment::new(here, path.clone(), c.file.clone(), Form::Raw, first, len, cache);
            let first = match from_header {
                Some(f) => Some(f),
                None => self.beginning(make(Point { offset: HEADER as u64, lsn: c.lsn, seq: 0, before: None }, self.cache.clone())).at(&path)?,
            };
            return Ok(first.map(|f| make(f, self.cache.clone())));
        }
        let index = seal::index(&*c.file, here).at(&path)?;
        let first = from_header.or_else(|| index.blocks.first().map(|b| b.point).filter(|p| p.offset == HEADER as u64));
        let (Some(first), Some(last)) = (first, index.blocks.last()) else { return Ok(None) };
        let end = index.footer.map_or(last.end(), |f| f.end);
        let s = Segment::new(here, path, c.file.clone(), Form::Sealed(index.blocks), first, end, self.cache.clone());
        s.set_stored(len);
        match index.footer {
            Some(f) => s.set_limit(f.limit.0, f.limit.1),
            None => self.repairs.push(Repair::Index { segment: c.lsn }),
        }
        Ok(Some(s))
    }

    /// Where the first entry of a segment with a damaged header begins.
    fn beginning(&self, s: Segment) -> io::Result<Option<Point>> {
        let first = s.first;
        let mut walk = Walk::new(Arc::new(s), first);
        let (seq, before) = match walk.step() {
            Step::State { seq, whole: true, .. } => (seq, State::read(walk.body(), &self.bounds).and_then(|s| s.time())),
            Step::State { seq, .. } => (seq, None),
            Step::Entry { head, .. } => (head.seq, None),
            Step::Lost(Lost { error: Some(e), .. }) => return Err(e),
            Step::Lost(l) if l.next.1 != u64::MAX => (l.next.1, None),
            Step::Lost(_) | Step::End => return Ok(None),
        };
        Ok(Some(Point { seq, before, ..first }))
    }

    /// Copies bytes to the quarantine, if there is room: its name. That it cannot be copied is no reason not to go on.
    fn quarantine(&self, file: &dyn DiskFile, segment: u64, from: u64, to: u64) -> Option<String> {
        const STEP: u64 = 1 << 20;
        let dir = self.dir.join("quarantine");
        self.disk.create_dir(&dir).ok()?;
        let name = format!("{segment:020}-{from}");
        let mut held = 0;
        for n in self.disk.list(&dir).ok()? {
            let len = self.disk.open(&dir.join(&n)).and_then(|f| f.len()).ok()?;
            if n == name && len == to - from {
                return Some(name);
            }
            held += len;
        }
        if held + (to - from) > QUARANTINE {
            return None;
        }
        let path = dir.join(&name);
        let copy = || {
            gone(self.disk.remove(&path))?;
            let out = self.disk.create(&path)?;
            let mut at = from;
            while at < to {
                let mut b = vec![0; STEP.min(to - at) as usize];
                let n = file.read_at(&mut b, at)?;
                out.write_all_at(&b[..n], at - from)?;
                if n == 0 {
                    break;
                }
                at += n as u64;
            }
            out.sync_data()?;
            self.disk.sync_dir(&dir)
        };
        if copy().is_err() {
            let _ = self.disk.remove(&path);
            return None;
        }
        Some(name)
    }

    fn lost(&mut self, s: &Segment, l: &Lost, last: u64, next_seq: u64) {
        let file = self.quarantine(&*s.file, s.home.segment, l.from, l.to);
        self.repairs.push(Repair::Quarantined {
            segment: s.home.segment,
            from: l.from,
            to: l.to,
            first_lsn: l.first.0,
            last_lsn: last,
            first_seq: l.first.1,
            last_seq: next_seq.saturating_sub(1),
            file,
        });
    }

    /// Folds a segment's entries up to this one into a state; a state that the segment begins with takes its place.
    fn fold(&self, s: &Arc<Segment>, mut state: State, last: u64, points: &mut Points) -> io::Result<State> {
        let mut walk = Walk::new(s.clone(), s.first);
        // The state comes first, also where no entry follows.
        while walk.lsn <= last || walk.offset == s.begin() {
            match walk.step() {
                Step::State { whole: true, .. } => state = State::read(walk.body(), &self.bounds).unwrap_or(state),
                Step::State { .. } => {}
                Step::Entry { offset, head } => {
                    points.add(Point { offset, lsn: head.lsn, seq: head.seq, before: state.time() });
                    let (time, mark) = wire::told(walk.body()).unwrap_or_default();
                    state.fold(&Told { lsn: head.lsn, seq: head.seq, count: head.count, time, mark }, &self.bounds);
                }
                Step::Lost(Lost { error: Some(e), .. }) => return Err(e),
                Step::Lost(_) => {}
                Step::End => break,
            }
        }
        Ok(state)
    }

    /// The state behind these segments.
    fn state_of(&self, all: &[Arc<Segment>]) -> io::Result<State> {
        let whole = |s: &Arc<Segment>| matches!(Walk::new(s.clone(), s.first).step(), Step::State { whole: true, .. });
        let from = all.iter().rposition(whole).unwrap_or(0);
        all.get(from..).unwrap_or_default().iter().try_fold(State::default(), |state, s| self.fold(s, state, u64::MAX, &mut Points::default()))
    }

    /// Reads the newest segment and puts right what a crash left; `None` if it was never used.
    fn newest(&mut self, all: &[Arc<Segment>], header: bool) -> Result<Option<Newest>, JournalError> {
        let Some((s, older)) = all.split_last() else { return Ok(None) };
        let path = s.path.clone();
        let first = s.first.lsn;
        let sealed = !s.is_raw();
        let mut walk = Walk::new(s.clone(), s.first);
        let (mut durable, mut begun, mut entries) = (first - 1, false, false);
        let mut losts = Vec::new();
        // What the last whole frame leaves: where it ends, the next entry, the next record.
        let mut sound = (walk.offset, walk.lsn, walk.seq);
        loop {
            match walk.step() {
                Step::State { durable: d, whole, .. } => {
                    durable = durable.max(d);
                    begun |= whole;
                }
                Step::Entry { head, .. } => {
                    durable = durable.max(head.durable);
                    entries = true;
                }
                Step::Lost(Lost { error: Some(e), .. }) => return Err(e).at(&path),
                Step::Lost(l) => losts.push(l),
                Step::End => break,
            }
            if walk.lsn != u64::MAX {
                sound = (walk.offset, walk.lsn, walk.seq);
            }
        }
        let used = entries || sealed || begun && header;
        if !used {
            return Ok(None);
        }
        let (mut last, mut next_seq, mut cut) = (sound.1 - 1, sound.2, None);
        let mut roll = sealed || !begun || !header;
        for l in losts {
            let prelude = l.from == s.begin() && l.next.0 == first;
            if prelude || sealed {
                // A sealed segment was durable as a whole.
                if !prelude {
                    self.lost(s, &l, l.next.0.saturating_sub(1), l.next.1);
                }
                roll = true;
                continue;
            }
            if l.first.0 > durable {
                (last, next_seq, cut) = (l.first.0 - 1, l.first.1, Some(l.from));
                break;
            }
            roll = true;
            if l.next.0 - 1 > durable {
                (last, next_seq) = (durable, if l.next.1 == u64::MAX { l.first.1 } else { l.next.1 });
                self.lost(s, &l, last, next_seq);
                break;
            }
            self.lost(s, &l, l.next.0 - 1, l.next.1);
        }
        if let Some(from) = cut {
            let bytes = s.end() - from;
            s.file.set_len(from).at(&path)?;
            s.cut(from);
            self.repairs.push(Repair::Torn { segment: first, from, bytes });
        }
        let mut points = Points::default();
        let base = if begun { State::default() } else { self.state_of(older).at(&path)? };
        if !begun {
            let from_lsn = older.first().map_or(first, |s| s.first.lsn);
            self.repairs.push(Repair::Positions { segment: first, from_lsn });
        }
        let state = self.fold(s, base, last, &mut points).at(&path)?;
        let position = cut.unwrap_or(sound.0);
        if !sealed {
            s.set_points(points.0);
            self.settle(s, durable, last, position).at(&path)?;
        }
        s.set_limit(last + 1, next_seq);
        Ok(Some(Newest { state, last, next_seq, position, generation: walk.generation() + 1, roll }))
    }

    /// Makes durable what the newest segment holds. What is not known to be durable is written once more: a sync that failed
    /// before this process began has left it readable, and the system thinks that it has been written.
    fn settle(&self, s: &Arc<Segment>, durable: u64, last: u64, end: u64) -> io::Result<()> {
        const STEP: u64 = 1 << 20;
        let mut at = end;
        if durable < s.first.lsn {
            at = 0;
        } else if durable < last {
            let mut walk = Walk::new(s.clone(), s.last_point(|p| p.lsn <= durable + 1));
            while walk.lsn <= durable + 1 {
                at = walk.offset;
                if matches!(walk.step(), Step::End) {
                    break;
                }
            }
        }
        while at < end {
            let mut b = vec![0; STEP.min(end - at) as usize];
            let n = s.file.read_at(&mut b, at)?;
            if n == 0 {
                break;
            }
            s.file.write_all_at(&b[..n], at)?;
            at += n as u64;
        }
        s.file.sync_data()
    }
}

impl Journal {
    /// Opens the journal in a folder, which is made if it is not there, and puts right what a crash left. `seed` is asked only for
    /// a new journal: a random number, of which its id is made, too.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options, seed: impl FnOnce() -> u64) -> Result<(Journal, Opened), JournalError> {
        disk.create_dir(dir).at(dir)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            disk.sync_dir(parent).at(parent)?;
        }
        let lock = dir.join("lock");
        let lock = match disk.lock(&lock) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(JournalError::InUse(dir.to_owned())),
            taken => taken.at(&lock)?,
        };
        let bounds = Bounds { files: options.files, keys: options.keys, key_age: options.key_age };
        let cache: Arc<Cache> = Arc::default();
        let mut o = Opening { disk: disk.clone(), dir, bounds, cache: cache.clone(), repairs: Vec::new() };
        let found = o.candidates()?;
        let seed = o.seed(&found, seed)?;
        let id = header::id(seed);
        if let Some(c) = found.iter().find(|c| c.header.is_some_and(|h| h.seed != seed)) {
            return Err(JournalError::Foreign(dir.join(name(c.lsn, c.sealed))));
        }
        let found = o.one_form(found, id)?;
        let (mut all, mut whole): (Vec<Arc<Segment>>, Vec<bool>) = (Vec::new(), Vec::new());
        let newest = found.last().map(|c| c.lsn);
        for c in found {
            let path = dir.join(name(c.lsn, c.sealed));
            if let Some(s) = o.segment(&c, id)? {
                all.push(Arc::new(s));
                whole.push(c.header.is_some());
                continue;
            }
            let bytes = c.file.len().at(&path)?;
            o.repairs.retain(|r| *r != Repair::Header { segment: c.lsn });
            if Some(c.lsn) == newest && !c.sealed {
                o.repairs.push(Repair::Unused { segment: c.lsn, bytes });
            } else {
                let file = o.quarantine(&*c.file, c.lsn, 0, bytes);
                o.repairs.push(Repair::Unreadable { segment: c.lsn, bytes, file });
            }
            disk.remove(&path).at(&path)?;
        }
        let mut next = all.iter().skip(1).map(|s| (s.first.lsn, s.first.seq)).collect::<VecDeque<_>>();
        for s in &all {
            let Some((lsn, seq)) = next.pop_front() else { break };
            let own = s.limit();
            if !s.is_raw() && own.0 < lsn {
                o.repairs.push(Repair::Missing { first_lsn: own.0, last_lsn: lsn - 1, first_seq: own.1, last_seq: seq.saturating_sub(1) });
            } else {
                s.set_limit(lsn, seq);
            }
        }
        let newest = loop {
            let Some((s, header)) = all.last().cloned().zip(whole.last().copied()) else { break None };
            if s.is_raw() {
                s.set_limit(u64::MAX, u64::MAX);
            }
            if let Some(n) = o.newest(&all, header)? {
                break Some(n);
            }
            o.repairs.retain(|r| *r != Repair::Header { segment: s.first.lsn });
            o.repairs.push(Repair::Unused { segment: s.first.lsn, bytes: s.end() });
            disk.remove(&s.path).at(&s.path)?;
            all.pop();
            whole.pop();
        };
        disk.sync_dir(dir).at(dir)?;
        let shared = Shared::new(disk, dir.to_owned(), options, seed, cache, lock, all);
        let fresh = Newest { state: State::default(), last: 0, next_seq: 1, position: 0, generation: 1, roll: true };
        let n = newest.unwrap_or(fresh);
        let next = Place { lsn: n.last + 1, seq: n.next_seq };
        shared.written(n.last, n.next_seq, n.state.latest());
        let opened = Opened { repairs: o.repairs, last_time: n.state.time() };
        let journal = Journal::begin(Arc::new(shared), bounds, next, n.state, n.position, n.generation, n.roll).at(dir)?;
        Ok((journal, opened))
    }
}
