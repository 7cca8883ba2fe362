//! The threads that build slices: at the journal's end as it grows, and where one is missing.

use super::shares::{At, Shares, Taken};
use super::{IDLE, Trouble, With, free};
use crate::clock;
use crate::event::Timestamp;
use crate::index::{Builder, Common, From, MEMORY, Plan, Record};
use crate::journal::{Address, Damage, Entries, Entry, Records, What, Why};
use crate::pipeline::past::{Eye, Head};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// At the journal's end a slice is published before it is full when the first of its documents has waited so long and there are not so
/// few of them,
const WAIT: Duration = Duration::from_secs(5);
const FEW: u32 = 20_000;
/// or when it has waited so long.
const LONG: Duration = Duration::from_secs(60);
/// A slice covers so many entries at most, though they hold no record.
const ENTRIES: u64 = 1_000_000;
/// After so many entries it looks whether it is to end.
const TURN: usize = 64;
/// How often it shows how far behind it is.
const SHOW: Duration = Duration::from_millis(250);
/// How often it looks whether a slice is missing.
const LOOK: Duration = Duration::from_secs(1);

/// Reads records as they were read then.
struct Reading {
    eye: Eye,
    plan: Arc<Plan>,
}

/// A stretch of the journal that is being built.
struct Run {
    entries: Entries,
    /// The first entry that is in no slice yet.
    first: u64,
    /// Where it ends; `None` goes on as the journal does.
    until: Option<u64>,
    builder: Option<Builder>,
    since: Instant,
    /// The arrival of the last record that is in a slice or on its way there.
    arrival: Option<Timestamp>,
}

/// See the module.
pub(super) struct Follow {
    /// Which of the threads; the first also shows how far behind they are.
    who: usize,
    shares: Arc<Shares>,
    with: With,
    stop: Arc<AtomicBool>,
    common: Common,
    reading: Option<Reading>,
    run: Option<Run>,
    /// Whether the last stretch was at the journal's end.
    was_end: bool,
    looked: Instant,
    shown: Instant,
    trouble: Arc<Trouble>,
}

impl Follow {
    pub fn new(who: usize, shares: Arc<Shares>, trouble: Arc<Trouble>, with: With, stop: Arc<AtomicBool>) -> Follow {
        Follow {
            who,
            shares,
            with,
            stop,
            common: Common::default(),
            reading: None,
            run: None,
            was_end: false,
            looked: clock::monotonic(),
            shown: clock::monotonic(),
            trouble,
        }
    }

    pub fn run(mut self) {
        while !self.ends() {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => std::thread::park_timeout(if self.run.is_some() { IDLE } else { SHOW }),
                Err(_) if self.ends() => break,
                Err(e) => {
                    self.abandon();
                    self.trouble.met("a slice of the index cannot be written", &e);
                    self.trouble.wait(&self.stop);
                }
            }
            if self.who == 0 {
                self.show();
            }
        }
        self.abandon();
    }

    /// Builds all that is missing in a journal that nobody writes any more, and says now and then how many entries are left.
    pub fn catch_up(&mut self, tell: &mut dyn FnMut(u64)) -> io::Result<()> {
        while self.turn()? || self.run.is_some() {
            if self.looked.elapsed() >= LOOK {
                self.looked = clock::monotonic();
                let all = self.missing(self.with.durable.get());
                tell(all.iter().map(|r| r.end() - r.start() + 1).sum());
            }
        }
        Ok(())
    }

    fn ends(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Gives up what is being built; it is begun anew.
    fn abandon(&mut self) {
        if let Some(b) = self.run.take().and_then(|r| r.builder) {
            // What is left over is removed at the next start at the latest.
            let _ = b.drop_it();
        }
        self.shares.leave(self.who);
    }

    /// Shows how far behind it is, now and then.
    fn show(&mut self) {
        if self.shown.elapsed() < SHOW {
            return;
        }
        self.shown = clock::monotonic();
        let m = &self.with.metrics.index;
        let missing = self.missing(self.with.durable.get());
        let all: u64 = missing.iter().map(|r| r.end() - r.start() + 1).sum();
        // What has been read is in memory.
        let (read, arrival) = self.shares.read();
        let behind = all.saturating_sub(read);
        m.lag_entries.set(i64::try_from(behind).unwrap_or(i64::MAX));
        let age = arrival.filter(|_| behind > 0).map_or(0, |t| clock::now().0.saturating_sub(t.0).max(0));
        m.lag_seconds.set(age as f64 / 1e9);
    }

    /// Takes a few entries in; `false` if there is nothing to do now.
    fn turn(&mut self) -> io::Result<bool> {
        let end = self.with.durable.get();
        if self.run.is_none() && !self.choose(end)? {
            return Ok(false);
        }
        if let Some(run) = &mut self.run {
            let docs = run.builder.as_ref().map_or(0, Builder::docs);
            run.until = self.shares.go_on(self.who, At { first: run.first, next: run.entries.lsn(), docs, arrival: run.arrival });
        }
        for _ in 0..TURN {
            let Some(run) = &mut self.run else { return Ok(true) };
            let limit = run.until.unwrap_or(end);
            if run.entries.lsn() > limit {
                return self.at_end(end);
            }
            match run.entries.next_at() {
                None => return self.at_end(end),
                Some(Ok((at, entry))) => self.take(at, &entry)?,
                Some(Err(d)) => self.lost(&d),
            }
            self.cut()?;
        }
        Ok(true)
    }

    /// Chooses what to build next: in turn the journal's end and the oldest stretch that is missing before it, or a part of what
    /// another thread has.
    fn choose(&mut self, end: u64) -> io::Result<bool> {
        let mut at_end = self.was_end;
        let ended = self.with.durable.has_ended();
        let taken = self.shares.take(
            self.who,
            end,
            (self.with.options.slice_docs, TURN as u64),
            || self.missing(end),
            |free| {
                let (first, last) = (free.first()?, free.last()?);
                let whole = *last.end() == end;
                let range = if whole && (free.len() == 1 || !at_end) { last } else { first };
                at_end = range == last && whole;
                let goes_on = free.len() == 1 && whole && !ended;
                Some((*range.start(), Some(*range.end()).filter(|_| !goes_on)))
            },
        );
        self.was_end = at_end;
        let Some(Taken { first, until, unread }) = taken else { return Ok(false) };
        if free(&self.with.index)? < self.with.options.min_free {
            return Err(io::Error::other("there is too little room on the disk"));
        }
        // What is loaded in between is in force here, and nobody else may have come to it yet.
        for e in unread.into_iter().flat_map(|from| self.with.reader.entries(from)) {
            match e {
                Ok(e) if e.lsn >= first => break,
                Ok(Entry { lsn, what: What::Load { hash, .. }, .. }) => self.with.past.note(lsn, hash),
                Err(d) if d.first_lsn >= first => break,
                _ => {}
            }
        }
        let entries = self.with.reader.entries(first);
        self.run = Some(Run { entries, first, until, builder: None, since: clock::monotonic(), arrival: None });
        Ok(true)
    }

    fn missing(&self, end: u64) -> Vec<RangeInclusive<u64>> {
        self.with.index.missing(self.with.reader.size().first_lsn..=end)
    }

    /// What was to be built is read to its end.
    fn at_end(&mut self, end: u64) -> io::Result<bool> {
        let Some(run) = &self.run else { return Ok(true) };
        if let Some(until) = run.until {
            self.publish(until)?;
            self.run = None;
            self.shares.leave(self.who);
            return Ok(true);
        }
        // With nothing else to do: is something missing elsewhere?
        if self.looked.elapsed() >= LOOK {
            self.looked = clock::monotonic();
            let (next, first, built) = (run.entries.lsn(), run.first, run.builder.is_some());
            if self.shares.free(|| self.missing(end)).iter().any(|r| *r.start() < first) {
                if built {
                    self.publish(next - 1)?;
                }
                self.run = None;
                self.shares.leave(self.who);
                return Ok(true);
            }
        }
        self.cut()?;
        Ok(false)
    }

    /// Publishes what there is if it is time.
    fn cut(&mut self) -> io::Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        let next = run.entries.lsn();
        let due = match &run.builder {
            None => next - run.first >= ENTRIES,
            Some(b) => {
                let age = run.since.elapsed();
                let waited = age >= LONG || age >= WAIT && b.docs() >= FEW && run.until.is_none();
                b.docs() >= self.with.options.slice_docs || b.memory() >= MEMORY || waited || next - run.first >= ENTRIES
            }
        };
        if due {
            self.publish(next - 1)?;
        }
        Ok(())
    }

    /// Publishes what has been built, up to this entry.
    fn publish(&mut self, last: u64) -> io::Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if last < run.first {
            return Ok(());
        }
        let builder = match run.builder.take() {
            Some(b) => b,
            None => {
                let first = run.first;
                self.builder(first, last)?
            }
        };
        let slice = builder.publish(last, &self.common)?;
        self.with.metrics.index.built.inc();
        self.with.index.add(slice)?;
        if let Some(run) = &mut self.run {
            run.first = last + 1;
        }
        self.trouble.over();
        Ok(())
    }

    /// A builder of a slice that begins here and whose first record is in the entry `lsn`, and what reads its records. A load in
    /// between is in force for all of it.
    fn builder(&mut self, first: u64, lsn: u64) -> io::Result<Builder> {
        let loaded = self.with.past.at(lsn);
        let reading = match self.reading.take().filter(|r| r.eye.loaded().hash == loaded.hash) {
            Some(r) => r,
            None => {
                let plan = Arc::new(Plan::new(&loaded.rules, loaded.formats.indexed()));
                Reading { eye: Eye::new(loaded.clone(), plan.layout().clone()), plan }
            }
        };
        let plan = reading.plan.clone();
        self.reading = Some(reading);
        let from = From { lsn: first, bundle: &loaded.hash };
        Builder::new(&self.with.index, from, plan, &mut self.common, self.stop.clone())
    }

    fn take(&mut self, at: Address, entry: &Entry) -> io::Result<()> {
        match &entry.what {
            What::Records(r) => self.records(at, entry.seq, r),
            What::Load { hash, .. } => {
                // Records of a slice are all read under one bundle.
                if self.run.as_ref().is_some_and(|r| r.builder.is_some()) {
                    self.publish(entry.lsn - 1)?;
                }
                self.with.past.note(entry.lsn, *hash);
                Ok(())
            }
            What::Tick(_) | What::Behind { .. } | What::Closed { .. } | What::Gap { .. } => Ok(()),
        }
    }

    fn records(&mut self, at: Address, seq: u64, r: &Records) -> io::Result<()> {
        if self.run.as_ref().is_some_and(|r| r.builder.is_none()) {
            let (first, lsn) = self.run.as_ref().map_or((0, 0), |r| (r.first, r.entries.lsn() - 1));
            let b = self.builder(first, lsn)?;
            if let Some(run) = &mut self.run {
                (run.builder, run.since) = (Some(b), clock::monotonic());
            }
        }
        let (Some(run), Some(reading)) = (&mut self.run, &mut self.reading) else { return Ok(()) };
        let Some(builder) = &mut run.builder else { return Ok(()) };
        run.arrival = Some(r.received);
        let head = Head { source: &r.source, format: r.format.as_deref(), received: r.received, near: r.near };
        for (n, &one) in r.batch.records.iter().enumerate() {
            let (event, time) = reading.eye.event(&head, &r.batch, one);
            let at = Address { record: n as u32, ..at };
            let record = Record { seq: seq + n as u64, at, time, stream: &r.stream, raw: r.batch.record(one) };
            builder.add(&record, &event, &mut self.common)?;
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("the index is being closed"));
            }
        }
        Ok(())
    }

    /// A part of the journal is not there; the slice goes on behind it.
    fn lost(&mut self, d: &Damage) {
        let Some(run) = &mut self.run else { return };
        match d.why {
            // It was deleted as it was to be, before it was indexed.
            Why::Deleted => {
                tracing::warn!(%d, "a part of the journal is not indexed");
                if run.builder.is_none() {
                    run.first = d.last_lsn + 1;
                }
            }
            Why::Checksum | Why::Missing | Why::Io(_) => tracing::error!(damage = %d, "a part of the journal cannot be read, and is not indexed"),
        }
    }
}
