//! The writer: entries into a buffer, the buffer into the newest segment, the segment onto the disk.

use super::entry::{Mark, What};
use super::frame::{ENTRY, HEAD, Head, Home, MAX_BODY, STATE, size, sum};
use super::header::{HEADER, Header, RAW};
use super::keep::Keeper;
use super::read::Reader;
use super::segment::{Form, Point, Segment};
use super::shared::{Shared, gone};
use super::state::{Bounds, State, Told};
use super::{header, wire};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Where an entry has been put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub lsn: u64,
    /// The number of its first record, or of the next to come.
    pub seq: u64,
}

/// Why a group of entries is not in the journal.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no room, and nothing more that may be deleted.
    #[error("no room for the journal: the disk is full, or below what is to stay free")]
    Full,
    /// The disk.
    #[error("cannot write the journal")]
    Io(#[from] io::Error),
}

/// Memory that the buffer keeps when it is empty.
const KEEP: usize = 8 << 20;

/// The journal's one writer.
///
/// What has been written and not made durable is kept in memory, at most a segment of it: a failed sync loses nothing.
pub struct Journal {
    pub(super) shared: Arc<Shared>,
    pub(super) bounds: Bounds,
    /// Frames that are not durable: first those that are written, then those that are not.
    pub(super) buffer: Vec<u8>,
    pub(super) written: usize,
    /// What each of these entries tells.
    pub(super) told: VecDeque<Told>,
    pub(super) told_written: usize,
    /// Folded up to the last written entry, and up to the last durable one.
    pub(super) state: State,
    pub(super) synced: State,
    pub(super) active: Arc<Segment>,
    pub(super) position: u64,
    pub(super) generation: u32,
    /// The next entry goes to a new segment; if `poisoned`, so does all that is not durable.
    pub(super) must_roll: bool,
    pub(super) poisoned: bool,
    /// There may be bytes behind `position`.
    pub(super) remains: bool,
    pub(super) next: Place,
    pub(super) next_unwritten: Place,
    pub(super) next_undurable: Place,
    pub(super) refused: bool,
}

fn full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A new segment whose beginning is durable under its name, in the list; and the offset of its first entry.
fn fresh(shared: &Shared, at: Place, state: &State, generation: u32) -> io::Result<(Arc<Segment>, u64)> {
    let (segment, begin) = create(shared, at, state, generation)?;
    segment.grow(begin, at.lsn, at.seq);
    let segment = Arc::new(segment);
    shared.add(segment.clone());
    Ok((segment, begin))
}

/// A new segment whose beginning is durable under its name; and the offset of its first entry.
fn create(shared: &Shared, at: Place, state: &State, generation: u32) -> io::Result<(Segment, u64)> {
    let home = Home { id: header::id(shared.seed), segment: at.lsn };
    let path = shared.path(at.lsn, ".log");
    let file = match shared.disk.create(&path) {
        // An earlier attempt, or a file whose sync failed: nothing in it is durable.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            gone(shared.disk.remove(&path))?;
            shared.disk.create(&path)?
        }
        made => made?,
    };
    let begun = (|| {
        let header = Header { seed: shared.seed, lsn: at.lsn, seq: at.seq, before: state.time() };
        let body = state.bytes();
        let (len, lsn) = (body.len() as u32, at.lsn - 1);
        let head = Head { body: sum(home.id, &body), len, generation, lsn, seq: at.seq, durable: lsn, count: 0, kind: STATE };
        let mut bytes = header.bytes(RAW).to_vec();
        bytes.extend_from_slice(&head.bytes(home, HEADER as u64));
        bytes.extend_from_slice(&body);
        bytes.resize(HEADER + head.size(), 0);
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        shared.disk.sync_dir(&shared.dir)?;
        Ok(bytes.len() as u64)
    })();
    match begun {
        Ok(offset) => {
            let first = Point { offset: HEADER as u64, lsn: at.lsn, seq: at.seq, before: state.time() };
            let segment = Segment::new(home, path, file, Form::Raw, first, offset, shared.cache.clone());
            // They are added as it is written.
            segment.set_points(Vec::new());
            Ok((segment, offset))
        }
        Err(e) => {
            // Room for what comes; if it stays, the next attempt takes its place.
            let _ = shared.disk.remove(&path);
            Err(e)
        }
    }
}

impl Journal {
    /// The writer of a journal in which all before `next` is durable. `roll` makes a new segment at once; else the newest one goes on
    /// at `position`.
    pub(super) fn begin(
        shared: Arc<Shared>,
        bounds: Bounds,
        next: Place,
        state: State,
        position: u64,
        generation: u32,
        roll: bool,
    ) -> io::Result<Journal> {
        let newest = shared.segments().last().filter(|_| !roll).cloned();
        let (active, position) = match newest {
            Some(s) => {
                s.grow(position, next.lsn, next.seq);
                (s, position)
            }
            None => fresh(&shared, next, &state, generation)?,
        };
        Ok(Journal {
            shared,
            bounds,
            buffer: Vec::new(),
            written: 0,
            told: VecDeque::new(),
            told_written: 0,
            synced: state.clone(),
            state,
            active,
            position,
            generation,
            must_roll: false,
            poisoned: false,
            remains: false,
            next,
            next_unwritten: next,
            next_undurable: next,
            refused: false,
        })
    }

    /// The seed of hashes, chosen when the journal was made.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// The last entry that has been written, 0 if none has.
    pub fn last(&self) -> u64 {
        self.next_unwritten.lsn - 1
    }

    /// All entries up to this one are durable.
    pub fn durable(&self) -> u64 {
        self.next_undurable.lsn - 1
    }

    /// The number that the next record gets, of those that are written.
    pub fn next_seq(&self) -> u64 {
        self.next_unwritten.seq
    }

    /// What the marks of all written entries come to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The same with these marks behind all others: of what is to be written and has no number yet.
    pub fn state_with<'m>(&self, marks: impl Iterator<Item = &'m Mark>) -> State {
        let mut state = self.state.clone();
        for (lsn, mark) in (self.next.lsn..).zip(marks) {
            state.fold(&Told { lsn, seq: self.next.seq, count: 0, time: None, mark: Some(mark.clone()) }, &self.bounds);
        }
        state
    }

    /// A reader of all that is written.
    pub fn reader(&self) -> Reader {
        Reader { shared: self.shared.clone() }
    }

    /// Who seals and deletes.
    pub fn keeper(&self) -> Keeper {
        Keeper { shared: self.shared.clone() }
    }

    /// Puts an entry into the buffer; it is in the journal when [`Journal::write`] has succeeded. One of more than 128 MiB makes
    /// that fail.
    pub fn append(&mut self, what: &What) -> Place {
        let place = self.next;
        let begin = self.buffer.len();
        self.buffer.resize(begin + HEAD, 0);
        wire::put(what, &mut self.buffer);
        let count = wire::count(what);
        let body = self.buffer.get(begin + HEAD..).unwrap_or_default();
        self.refused |= body.len() > MAX_BODY;
        let (id, len) = (self.active.home.id, body.len());
        let head = Head { body: sum(id, body), len: len as u32, generation: 0, lsn: place.lsn, seq: place.seq, durable: 0, count, kind: ENTRY };
        // Generation, durable and checksum are filled in when it is known where it stands.
        self.buffer[begin..begin + HEAD].copy_from_slice(&head.bytes(self.active.home, 0));
        self.buffer.resize(begin + size(len), 0);
        let (time, mark) = wire::tell(what);
        self.told.push_back(Told { lsn: place.lsn, seq: place.seq, count, time, mark });
        self.next = Place { lsn: place.lsn + 1, seq: place.seq + u64::from(count) };
        place
    }

    /// Writes what is in the buffer. After an error nothing that was appended since the last success is in the journal, and its
    /// numbers are given again. Before there is no room, the oldest segments that may go have gone.
    pub fn write(&mut self) -> Result<(), WriteError> {
        if self.buffer.len() == self.written {
            return Ok(());
        }
        let done = self.try_write();
        if done.is_err() {
            self.buffer.truncate(self.written);
            self.told.truncate(self.told_written);
            self.next = self.next_unwritten;
            self.generation += 1;
            self.refused = false;
        }
        done
    }

    fn try_write(&mut self) -> Result<(), WriteError> {
        if self.refused {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an entry of more than 128 MiB").into());
        }
        let group = (self.buffer.len() - self.written) as u64;
        while self.shared.disk.free(&self.shared.dir)? < self.shared.options.min_free.saturating_add(group) {
            if !self.shared.delete_oldest().unwrap_or(false) {
                return Err(WriteError::Full);
            }
        }
        let begun = self.next_unwritten.lsn > self.active.first.lsn;
        if self.must_roll || begun && self.position + group > self.shared.options.segment_bytes {
            self.with_room(Journal::roll)?;
        }
        self.with_room(Journal::put)?;
        let mut time = self.state.time();
        let mut at = self.written;
        for t in self.told.range(self.told_written..) {
            let offset = self.position + (at - self.written) as u64;
            self.active.add_point(Point { offset, lsn: t.lsn, seq: t.seq, before: time });
            time = time.max(t.time);
            at += Head::plausible(self.buffer.get(at..).unwrap_or_default()).map_or(HEAD, |h| h.size());
            self.state.fold(t, &self.bounds);
        }
        self.position += group;
        self.written = self.buffer.len();
        self.told_written = self.told.len();
        self.next_unwritten = self.next;
        self.active.grow(self.position, self.next.lsn, self.next.seq);
        self.shared.written(self.last(), self.next.seq, self.state.latest());
        Ok(())
    }

    /// Does something that needs room; the oldest segments go as long as there is none.
    fn with_room(&mut self, what: fn(&mut Journal) -> io::Result<()>) -> Result<(), WriteError> {
        loop {
            match what(self) {
                Err(e) if full(&e) => {
                    if !self.shared.delete_oldest().unwrap_or(false) {
                        return Err(WriteError::Full);
                    }
                }
                done => return Ok(done?),
            }
        }
    }

    /// Gives each frame in a stretch of the buffer its place: the first one stands at this offset of this segment.
    fn place(&mut self, from: usize, to: usize, home: Home, offset: u64) {
        let (mut at, durable) = (from, self.durable());
        while let Some(mut h) = self.buffer.get(at..to).and_then(Head::plausible) {
            (h.generation, h.durable) = (self.generation, durable);
            self.buffer[at..at + HEAD].copy_from_slice(&h.bytes(home, offset + (at - from) as u64));
            at += h.size();
        }
    }

    fn put(&mut self) -> io::Result<()> {
        let (from, to, at) = (self.written, self.buffer.len(), self.position);
        self.place(from, to, self.active.home, at);
        self.remains = true;
        self.active.file.write_all_at(&self.buffer[from..to], at)?;
        self.remains = false;
        Ok(())
    }

    /// Makes durable all that has been written. After an error it is not durable, but nothing is lost from memory, and the next
    /// call tries again in a new segment.
    pub fn sync(&mut self) -> Result<(), io::Error> {
        if self.poisoned {
            match self.with_room(Journal::roll) {
                Ok(()) => {}
                Err(WriteError::Full) => return Err(io::ErrorKind::StorageFull.into()),
                Err(WriteError::Io(e)) => return Err(e),
            }
        }
        self.settle()
    }

    /// Whether there would be room if entries that are still needed no longer were.
    pub fn may_give_way(&self) -> bool {
        self.shared.waits()
    }

    /// Makes the newest segment durable.
    fn settle(&mut self) -> io::Result<()> {
        if self.written == 0 {
            return Ok(());
        }
        if let Err(e) = self.active.file.sync_data() {
            // The system may have forgotten what it could not write, and say so only once.
            (self.poisoned, self.must_roll) = (true, true);
            self.generation += 1;
            return Err(e);
        }
        for t in self.told.drain(..self.told_written) {
            self.synced.fold(&t, &self.bounds);
        }
        self.buffer.drain(..self.written);
        if self.buffer.is_empty() {
            self.buffer.shrink_to(KEEP);
        }
        (self.written, self.told_written) = (0, 0);
        self.next_undurable = self.next_unwritten;
        Ok(())
    }

    /// Begins a new segment: behind all that is written, once that is durable; behind what is durable, if the rest can no longer
    /// be made so where it stands.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        self.must_roll = true;
        if !self.poisoned {
            if self.remains {
                // What a failed write left must not be found when what stands before it is damaged one day.
                self.active.file.set_len(self.position)?;
                self.remains = false;
            }
            // On an error it is taken along.
            let _ = self.settle();
        }
        let at = self.next_undurable;
        let (segment, begin) = create(&self.shared, at, &self.synced, self.generation)?;
        let written = self.written;
        self.place(0, written, segment.home, begin);
        if written > 0 {
            segment.file.write_all_at(&self.buffer[..written], begin)?;
        }
        self.position = begin + written as u64;
        segment.grow(self.position, self.next_unwritten.lsn, self.next_unwritten.seq);
        self.active = Arc::new(segment);
        self.shared.add(self.active.clone());
        (self.must_roll, self.poisoned, self.remains) = (false, false, false);
        Ok(())
    }
}
