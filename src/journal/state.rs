//! What the marks of all entries come to: where each source goes on, and which requests have been answered.

use super::entry::{FilePosition, Mark};
use crate::event::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes of text that the positions of files may hold together, and the keys likewise.
const TEXT: usize = 32 << 20;
/// Partitions of Kafka.
const PARTITIONS: usize = 10_000;
/// Sources with a cursor.
const CURSORS: usize = 1000;

/// What is known of a request that came with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Hash of the body.
    pub body: [u8; 16],
    /// The number of its first record.
    pub first: u64,
    /// The number of its last record; less than `first` if it had none.
    pub last: u64,
    /// When it came.
    pub received: Timestamp,
}

/// How much the state holds at most. Beyond it what was touched longest ago goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Positions of files.
    pub files: usize,
    /// Keys.
    pub keys: usize,
    /// How long a key is known, by the times of entries.
    pub key_age: Span,
}

/// An entry's part in the state.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The entry.
    pub lsn: u64,
    /// The number of its first record.
    pub seq: u64,
    /// How many records it has.
    pub count: u32,
    /// Its time.
    pub time: Option<Timestamp>,
    /// What it came with.
    pub mark: Option<Mark>,
}

/// Source, device, number.
type Inode = (Arc<str>, (u64, u64));
type Scoped = (Arc<str>, Arc<str>);
type Partition = (Arc<str>, Arc<str>, i32);

/// The folded marks. Everything in it is ordered by the entry that touched it last.
#[derive(Clone, Debug, Default)]
pub struct State {
    time: Option<Timestamp>,
    latest: Option<Timestamp>,
    files: BTreeMap<u64, FilePosition>,
    by_inode: HashMap<Inode, Vec<u64>>,
    files_text: usize,
    kafka: BTreeMap<Partition, (u64, i64)>,
    by_touch: BTreeMap<u64, Partition>,
    cursors: BTreeMap<Arc<str>, (u64, Arc<str>)>,
    keys: HashMap<Scoped, (u64, Answer)>,
    by_age: BTreeMap<u64, Scoped>,
    keys_text: usize,
}

/// The state as bytes.
#[derive(Serialize, Deserialize, Default)]
struct Wire {
    time: Option<i64>,
    latest: Option<i64>,
    files: Vec<(u64, FilePosition)>,
    kafka: Vec<(u64, Partition, i64)>,
    cursors: Vec<(u64, Arc<str>, Arc<str>)>,
    keys: Vec<(u64, Scoped, [u8; 16], u64, u64, i64)>,
}

fn text(p: &FilePosition) -> usize {
    p.source.len() + p.path.len()
}

impl State {
    /// The greatest time of all entries.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// The time of the last entry that has one.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// All positions of files, the one touched longest ago first.
    pub fn files(&self) -> impl Iterator<Item = &FilePosition> {
        self.files.values()
    }

    /// The positions of a source's files, the one touched last first.
    pub fn files_of<'s>(&'s self, source: &'s str) -> impl Iterator<Item = &'s FilePosition> {
        self.files.values().rev().filter(move |p| &*p.source == source)
    }

    /// The next offset of a partition.
    pub fn kafka(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.kafka.get(&(Arc::from(group), Arc::from(topic), partition)).map(|k| k.1)
    }

    /// All partitions: group, topic, partition, next offset.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, &str, i32, i64)> {
        self.kafka.iter().map(|((g, t, p), (_, next))| (&**g, &**t, *p, *next))
    }

    /// All cursors: source, cursor.
    pub fn cursors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cursors.iter().map(|(s, (_, c))| (&**s, &**c))
    }

    /// What was answered to a request with this key. Of two entries with one key it is the last.
    pub fn key(&self, scope: &str, key: &str) -> Option<&Answer> {
        self.keys.get(&(Arc::from(scope), Arc::from(key))).map(|k| &k.1)
    }

    /// All keys, the oldest first: scope, key, answer.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str, &Answer)> {
        self.by_age.values().filter_map(|k| Some((&*k.0, &*k.1, &self.keys.get(k)?.1)))
    }

    /// Adds what an entry says.
    pub(super) fn fold(&mut self, told: &Told, bounds: &Bounds) {
        if let Some(t) = told.time {
            self.time = self.time.max(Some(t));
            self.latest = Some(t);
        }
        match &told.mark {
            Some(Mark::File(p)) => self.file(told.lsn, p.clone()),
            Some(Mark::Kafka { group, topic, partition, next }) => self.offset(told.lsn, (group.clone(), topic.clone(), *partition), *next),
            Some(Mark::Cursor { source, cursor }) => {
                self.cursors.insert(source.clone(), (told.lsn, cursor.clone()));
            }
            Some(Mark::Key { scope, key, body }) => {
                let received = told.time.unwrap_or_default();
                let answer = Answer { body: *body, first: told.seq, last: (told.seq + u64::from(told.count)).saturating_sub(1), received };
                self.answer(told.lsn, (scope.clone(), key.clone()), answer);
            }
            None => {}
        }
        self.bound(bounds);
    }

    fn file(&mut self, lsn: u64, p: FilePosition) {
        let at = self.by_inode.entry((p.source.clone(), p.inode)).or_default();
        // The same beginning is the same file. A shorter one may have grown; else the number has been given to another file,
        // and where the first one was left is still needed: it may live on as a compressed copy.
        let known = |same: &dyn Fn(&FilePosition) -> bool| at.iter().rposition(|l| self.files.get(l).is_some_and(same));
        let same = known(&|o| (o.head_len, o.head) == (p.head_len, p.head)).or_else(|| known(&|o| o.head_len < p.head_len && o.offset <= p.offset));
        if let Some(old) = same.map(|i| at.remove(i)).and_then(|l| self.files.remove(&l)) {
            self.files_text -= text(&old);
        }
        at.push(lsn);
        self.files_text += text(&p);
        self.files.insert(lsn, p);
    }

    fn offset(&mut self, lsn: u64, at: Partition, next: i64) {
        if let Some((old, _)) = self.kafka.insert(at.clone(), (lsn, next)) {
            self.by_touch.remove(&old);
        }
        self.by_touch.insert(lsn, at);
    }

    fn answer(&mut self, lsn: u64, key: Scoped, answer: Answer) {
        self.keys_text += key.0.len() + key.1.len();
        if let Some((old, _)) = self.keys.insert(key.clone(), (lsn, answer)) {
            self.keys_text -= key.0.len() + key.1.len();
            self.by_age.remove(&old);
        }
        self.by_age.insert(lsn, key);
    }

    fn bound(&mut self, b: &Bounds) {
        while self.files.len() > b.files || self.files_text > TEXT {
            let Some((lsn, p)) = self.files.pop_first() else { break };
            self.files_text -= text(&p);
            let key = (p.source, p.inode);
            if let Some(at) = self.by_inode.get_mut(&key) {
                at.retain(|l| *l != lsn);
                if at.is_empty() {
                    self.by_inode.remove(&key);
                }
            }
        }
        while self.kafka.len() > PARTITIONS {
            let Some((_, at)) = self.by_touch.pop_first() else { break };
            self.kafka.remove(&at);
        }
        while self.cursors.len() > CURSORS {
            let oldest = self.cursors.iter().min_by_key(|(_, (lsn, _))| *lsn).map(|(s, _)| s.clone());
            oldest.map(|s| self.cursors.remove(&s));
        }
        while let Some((lsn, key)) = self.by_age.first_key_value() {
            let old = self.keys.get(key).zip(self.latest).is_some_and(|(k, now)| now.0.saturating_sub(k.1.received.0) > b.key_age.0);
            if !old && self.keys.len() <= b.keys && self.keys_text <= TEXT {
                break;
            }
            self.keys_text -= key.0.len() + key.1.len();
            self.keys.remove(key);
            let lsn = *lsn;
            self.by_age.remove(&lsn);
        }
    }

    /// The state as bytes: a few tens of MiB at most.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let wire = Wire {
            time: self.time.map(|t| t.0),
            latest: self.latest.map(|t| t.0),
            files: self.files.iter().map(|(l, p)| (*l, p.clone())).collect(),
            kafka: self.kafka.iter().map(|(at, (l, next))| (*l, at.clone(), *next)).collect(),
            cursors: self.cursors.iter().map(|(s, (l, c))| (*l, s.clone(), c.clone())).collect(),
            keys: self
                .by_age
                .iter()
                .filter_map(|(l, k)| self.keys.get(k).map(|(_, a)| (*l, k.clone(), a.body, a.first, a.last, a.received.0)))
                .collect(),
        };
        postcard::to_stdvec(&wire).unwrap_or_default()
    }

    /// Reads it back; `None` if the bytes are none.
    pub(super) fn read(bytes: &[u8], bounds: &Bounds) -> Option<State> {
        let w: Wire = postcard::from_bytes(bytes).ok()?;
        let mut s = State { time: w.time.map(Timestamp), latest: w.latest.map(Timestamp), ..State::default() };
        for (lsn, p) in w.files {
            s.by_inode.entry((p.source.clone(), p.inode)).or_default().push(lsn);
            s.files_text += text(&p);
            s.files.insert(lsn, p);
        }
        for (lsn, at, next) in w.kafka {
            s.offset(lsn, at, next);
        }
        s.cursors = w.cursors.into_iter().map(|(lsn, source, cursor)| (source, (lsn, cursor))).collect();
        for (lsn, key, body, first, last, received) in w.keys {
            s.answer(lsn, key, Answer { body, first, last, received: Timestamp(received) });
        }
        s.bound(bounds);
        Some(s)
    }
}

impl PartialEq for State {
    fn eq(&self, o: &State) -> bool {
        self.bytes() == o.bytes()
    }
}
