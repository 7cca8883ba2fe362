//! The journal's thread: takes what the sources send, writes it in groups, hands it on, makes it durable, and answers.
//!
//! The next group is written when the fsync of the one before has returned; meanwhile parsing and matching run ahead.
//! When there is no room on the disk nothing is acknowledged: what can be refused is refused, datagrams are dropped,
//! counted, and the rest waits in its order until there is room again.

use super::bundle::Loaded;
use super::durable::Durable;
use super::evaluate::{Live, Work};
use super::lead::Ahead;
use super::{Chunk, Inbox, Message, NotStored, Sent, Source, Stored, Stream, WEIGHT, WhenFull};
use crate::clock;
use crate::journal::{Entry, Journal, Records, What, WriteError};
use crate::metrics::{Metrics, Reason};
use crate::parse::{Format, declared};
use crate::service::Stage;
use crate::source::Known;
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A group has at most about so many bytes …
const GROUP: usize = 8 << 20;
/// … and so many messages.
const MESSAGES: usize = 4096;
/// What has been waiting for room on the disk is written in groups of about so many bytes.
const PIECE: usize = 1 << 20;
/// How often what waits for room on the disk is tried again, and what cannot be made durable.
const AGAIN: Duration = Duration::from_millis(200);
/// When a disk becomes full, so long it is waited for the engine to let go of the oldest segment before anything is refused …
const GIVE_WAY: Duration = Duration::from_secs(2);
/// … looking so often.
const GIVES: Duration = Duration::from_millis(20);
/// How often it is looked whether the engine has caught up.
const CATCH: Duration = Duration::from_millis(5);
/// Entries that nobody waits for become durable after so long at the latest.
const LAZY: Duration = Duration::from_secs(5);

/// What the thread works with.
pub struct Intake {
    /// What comes.
    pub inbox: Inbox,
    /// Where it is written.
    pub journal: Journal,
    /// Who evaluates it.
    pub engine: Sender<Work>,
    /// How far that is behind.
    pub ahead: Ahead,
    /// Who waits for it to be durable.
    pub durable: Arc<Durable>,
    /// Set while the store has used its reserve: nothing more is taken.
    pub store_full: Arc<AtomicBool>,
    /// The formats, for their names.
    pub formats: declared::Formats,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Says that it moves.
    pub stage: Stage,
}

/// One message as an entry, with what is needed to go on or to take it back.
struct Item {
    what: What,
    stream: Option<Arc<Stream>>,
    chunk: Option<Rest>,
    loaded: Option<Arc<Loaded>>,
    room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A chunk without what went into the entry.
struct Rest {
    format: Option<Format>,
    when_full: WhenFull,
    done: Option<oneshot::Sender<Stored>>,
    seen: Option<oneshot::Sender<()>>,
}

/// Who is answered when a group is durable, and what is counted.
struct Answer {
    source: Arc<Source>,
    done: Option<oneshot::Sender<Stored>>,
    first: u64,
    records: u64,
    bytes: u64,
    truncated: u64,
}

/// Runs until it is told to stop, or until the engine's thread is gone.
pub fn run(mut s: Intake) {
    // However this ends, nobody waits for it for ever.
    let _end = End(s.durable.clone());
    // What waits for room on the disk, in its order.
    let mut held: VecDeque<Sent> = VecDeque::new();
    let mut tried = clock::monotonic();
    // Whether the last of what had been held has found room: then the rest is tried at once.
    let mut moves = false;
    let mut stop = false;
    let mut dirty: Option<Instant> = None;
    let mut names = Vec::new();
    loop {
        let patience = match (&held, dirty) {
            (h, _) if !h.is_empty() && (moves || stop) => Duration::ZERO,
            (h, _) if !h.is_empty() => AGAIN,
            (_, Some(since)) => LAZY.saturating_sub(since.elapsed()),
            _ => LAZY,
        };
        s.stage.idle();
        if s.ahead.is_far() && !stop {
            // What the engine is to read must be durable.
            if dirty.take().is_some() {
                sync(&mut s);
            }
            std::thread::park_timeout(CATCH);
            continue;
        }
        let first = match s.inbox.rx.recv_timeout(patience) {
            Ok(m) => Some(m),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        s.stage.beat();
        let (mut group, mut wanted, mut asked) = (VecDeque::new(), false, Vec::new());
        gather(first, &s.inbox, &mut group, &mut wanted, &mut stop, &mut asked);
        if !held.is_empty() {
            wait_behind(&mut group, &mut held);
            if moves || stop || tried.elapsed() >= AGAIN {
                tried = clock::monotonic();
                group = beginning(&mut held);
            }
        }
        let lazy = group.iter().all(|(m, _)| matches!(m, Message::Tick(_)));
        let mut answers = Vec::new();
        if !group.is_empty() {
            let items = group.drain(..).filter_map(|m| item(m, &s.formats, &mut names)).collect();
            match write(&mut s, items, &mut answers) {
                Ok(true) => {
                    moves = !held.is_empty();
                    s.inbox.set_full(moves);
                    dirty = dirty.or(Some(clock::monotonic()));
                }
                Ok(false) => break,
                Err(refused) => {
                    moves = false;
                    s.inbox.set_full(true);
                    refused.into_iter().rev().for_each(|m| held.push_front(m));
                    tried = clock::monotonic();
                }
            }
        }
        if dirty.is_some_and(|d| wanted || stop || !lazy || d.elapsed() >= LAZY) {
            sync(&mut s);
            dirty = None;
        }
        s.metrics.journal_entry.set(s.journal.last() as i64);
        s.metrics.backlog_bytes.set(s.ahead.bytes() as i64);
        answer(answers);
        for ask in asked {
            // Whoever asked may have gone.
            let _ = ask.send(known(&s.journal, &held));
        }
        if stop && !moves {
            if !held.is_empty() {
                tracing::error!(messages = held.len(), "stopped with a full disk; what waited was not acknowledged");
            }
            s.ahead.stop();
            drop(s.engine.send(Work::Stop));
            break;
        }
    }
}

/// Says that nothing will become durable any more.
struct End(Arc<Durable>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the journal knows of sources, with what waits for room and goes into it first.
fn known(journal: &Journal, held: &VecDeque<Sent>) -> Known {
    let marks = held.iter().filter_map(|(m, _)| if let Message::Chunk(c) = m { c.mark.as_deref() } else { None });
    Known::of(&journal.state_with(marks))
}

/// Takes what is there, up to a group.
fn gather(
    first: Option<Sent>,
    inbox: &Inbox,
    group: &mut VecDeque<Sent>,
    wanted: &mut bool,
    stop: &mut bool,
    asked: &mut Vec<oneshot::Sender<Known>>,
) {
    let (mut next, mut bytes) = (first, 0);
    while let Some((message, room)) = next {
        match message {
            Message::Sync => *wanted = true,
            Message::Stop => *stop = true,
            Message::Known(ask) => asked.push(ask),
            m => {
                if let Message::Chunk(c) = &m {
                    bytes += c.batch.bytes.len();
                }
                group.push_back((m, room));
            }
        }
        if bytes >= GROUP || group.len() >= MESSAGES || *stop {
            break;
        }
        next = inbox.rx.try_recv().ok();
    }
}

/// Takes a group off the front of what waits for room: it may find some when all together does not.
fn beginning(held: &mut VecDeque<Sent>) -> VecDeque<Sent> {
    let (mut group, mut bytes) = (VecDeque::new(), 0);
    while let Some(m) = held.pop_front() {
        if let Message::Chunk(c) = &m.0 {
            bytes += c.batch.bytes.len();
        }
        group.push_back(m);
        if bytes >= PIECE || group.len() >= MESSAGES {
            break;
        }
    }
    group
}

/// With something waiting for room already, what can wait goes behind it, and the rest is refused.
fn wait_behind(group: &mut VecDeque<Sent>, held: &mut VecDeque<Sent>) {
    held.extend(group.drain(..).filter_map(refuse));
}

/// Refuses or drops a message for which there is no room on the disk; gives it back if it waits.
fn refuse((message, room): Sent) -> Option<Sent> {
    match message {
        Message::Tick(_) => None,
        Message::Chunk(mut c) if c.when_full == WhenFull::Refuse => {
            // Whoever asked may have gone.
            let _ = c.done.take().map(|d| d.send(Err(NotStored::Full)));
            None
        }
        Message::Chunk(c) if c.when_full == WhenFull::Drop => {
            c.stream.source.metrics.drop_records(Reason::Disk, c.batch.records.len() as u64);
            None
        }
        m => Some((m, room)),
    }
}

fn item((message, room): Sent, formats: &declared::Formats, names: &mut Vec<(Format, Arc<str>)>) -> Option<Item> {
    let of = |what, stream, loaded| Some(Item { what, stream, chunk: None, loaded, room: None });
    let name = |s: &Arc<Stream>| (Arc::from(s.source.name.as_str()), Arc::from(s.name.as_str()));
    let mut item = match message {
        Message::Chunk(c) => {
            let c = *c;
            let (source, stream) = name(&c.stream);
            let format = c.format.map(|f| match names.iter().find(|(n, _)| *n == f) {
                Some((_, n)) => n.clone(),
                None => {
                    let n: Arc<str> = Arc::from(f.name(formats));
                    names.push((f, n.clone()));
                    n
                }
            });
            let records = Records { source, stream, format, received: c.received, near: c.near, batch: c.batch, mark: c.mark.map(|m| *m) };
            let rest = Rest { format: c.format, when_full: c.when_full, done: c.done, seen: c.seen };
            Some(Item { what: What::Records(records), stream: Some(c.stream), chunk: Some(rest), loaded: None, room: None })
        }
        Message::Behind(s, yes) => {
            let (source, stream) = name(&s);
            of(What::Behind { source, stream, yes }, Some(s), None)
        }
        Message::Close(s) => {
            let (source, stream) = name(&s);
            of(What::Closed { source, stream }, Some(s), None)
        }
        Message::Tick(now) => of(What::Tick(now), None, None),
        Message::Load(l, rebuild) => of(What::Load { hash: l.hash, rebuild }, None, Some(l)),
        Message::Gap(from, to) => of(What::Gap { from, to }, None, None),
        Message::Sync | Message::Stop | Message::Known(_) => None,
    }?;
    item.room = room;
    Some(item)
}

/// The message that an item was made of.
fn back(i: Item) -> Option<Sent> {
    let message = match (i.what, i.stream) {
        (What::Records(r), Some(stream)) => {
            let rest = i.chunk?;
            Message::Chunk(Box::new(Chunk {
                stream,
                format: rest.format,
                received: r.received,
                near: r.near,
                batch: r.batch,
                mark: r.mark.map(Box::new),
                when_full: rest.when_full,
                done: rest.done,
                seen: rest.seen,
            }))
        }
        (What::Behind { yes, .. }, Some(s)) => Message::Behind(s, yes),
        (What::Closed { .. }, Some(s)) => Message::Close(s),
        (What::Tick(now), _) => Message::Tick(now),
        (What::Load { rebuild, .. }, _) => Message::Load(i.loaded?, rebuild),
        (What::Gap { from, to }, _) => Message::Gap(from, to),
        _ => return None,
    };
    Some((message, i.room))
}

/// Writes a group and hands it to the engine: `Ok(false)` if that is gone. Where there is no room, nothing is written, and
/// what waits for room comes back.
fn write(s: &mut Intake, items: Vec<Item>, answers: &mut Vec<Answer>) -> Result<bool, Vec<Sent>> {
    let refused = |items: Vec<Item>| Err(items.into_iter().filter_map(back).filter_map(refuse).collect());
    if s.store_full.load(Ordering::Relaxed) {
        return refused(items);
    }
    let begin = clock::monotonic();
    let (places, done) = loop {
        let places: Vec<_> = items.iter().map(|i| s.journal.append(&i.what)).collect();
        let done = s.journal.write();
        // Retention gives way first. Once something has been refused, what comes next does not wait again.
        let again = matches!(done, Err(WriteError::Full)) && !s.inbox.is_full() && s.journal.may_give_way() && begin.elapsed() < GIVE_WAY;
        if !again {
            break (places, done);
        }
        s.stage.beat();
        std::thread::park_timeout(GIVES);
    };
    if let Err(e) = done {
        match e {
            WriteError::Full => tracing::debug!("the disk is full"),
            WriteError::Io(e) => tracing::error!(error = %e, "the journal cannot be written; what can wait does"),
        }
        return refused(items);
    }
    let mut left = None;
    for (i, place) in items.into_iter().zip(places) {
        let (mut done, mut seen) = (None, None);
        if let Some(rest) = i.chunk {
            (done, seen) = (rest.done, rest.seen);
        }
        let mut bytes = 0;
        if let (What::Records(r), Some(stream)) = (&i.what, &i.stream) {
            bytes = r.batch.bytes.len();
            answers.push(Answer {
                source: stream.source.clone(),
                done,
                first: place.seq,
                records: r.batch.records.len() as u64,
                bytes: r.batch.records.iter().map(|r| r.span.len as u64).sum(),
                truncated: r.batch.records.iter().filter(|r| r.truncated).count() as u64,
            });
        }
        if let Some(l) = i.loaded {
            s.ahead.loads(l);
        }
        let work = if s.ahead.wrote(place.lsn, bytes + WEIGHT) {
            let entry = Entry { lsn: place.lsn, seq: place.seq, what: i.what };
            Work::Entry(Box::new(entry), Live { stream: i.stream, seen, room: i.room })
        } else {
            left = Some(place.lsn);
            if seen.is_none() {
                continue;
            }
            Work::Beside(place.lsn, Live { stream: i.stream, seen, room: None })
        };
        if s.engine.send(work).is_err() {
            return Ok(false);
        }
    }
    if left.is_some_and(|lsn| s.ahead.gave(lsn)) && s.engine.send(Work::Look).is_err() {
        return Ok(false);
    }
    Ok(true)
}

/// Makes durable what has been written, however long that takes: until then nobody is answered.
fn sync(s: &mut Intake) {
    let begin = clock::monotonic();
    let mut said = false;
    while let Err(e) = s.journal.sync() {
        if !std::mem::replace(&mut said, true) {
            tracing::error!(error = %e, "the journal cannot be made durable; nothing is acknowledged until it can");
        }
        s.inbox.set_full(e.kind() == ErrorKind::StorageFull);
        std::thread::park_timeout(AGAIN);
        // It is the disk that stands still, and a restart would not move it.
        s.stage.beat();
    }
    if said {
        s.inbox.set_full(false);
    }
    s.metrics.journal_fsync.observe(begin.elapsed().as_secs_f64());
    s.durable.set(s.journal.durable());
}

fn answer(answers: Vec<Answer>) {
    for a in answers {
        let m = &a.source.metrics;
        m.records.inc_by(a.records);
        m.bytes.inc_by(a.bytes);
        m.truncated.inc_by(a.truncated);
        // Whoever asked may have gone.
        let _ = a.done.map(|d| d.send(Ok((a.first, (a.first + a.records).saturating_sub(1)))));
    }
}
