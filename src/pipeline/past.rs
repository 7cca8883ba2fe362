//! What was in force when: the bundle of rules and formats under which an entry's records are read, and their events under it.

use super::bundle::{Bundle, Loaded, SourceSetting};
use super::snapshot::Snapshots;
use super::whole::Kept;
use crate::engine::stream::AHEAD;
use crate::event::{Arena, Batch, Event, Layout, Out, Record, Slot, Timestamp, Value, field};
use crate::index::Manifest;
use crate::parse::{Context, Format, Parsers};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names a bundle.
pub type Hash = [u8; 32];

/// So many bundles are kept read.
const READ: usize = 4;
/// So many changes are known; of more, the oldest are forgotten.
const MAX: usize = 10_000;

/// Which bundle was in force at which entry. Shared by the index and by those who search.
pub struct Past {
    snapshots: Snapshots,
    state: Mutex<State>,
    whole: Kept,
}

struct State {
    /// What holds from this entry on, as far as is known.
    changes: BTreeMap<u64, Hash>,
    /// Read lately, the newest last.
    read: Vec<Arc<Loaded>>,
    /// What the configuration says now.
    current: Arc<Loaded>,
}

impl Past {
    /// With what slices and saved states say.
    pub fn of(snapshots: Snapshots, current: Arc<Loaded>, slices: &[Manifest]) -> Past {
        let mut changes = BTreeMap::new();
        for lsn in snapshots.list().unwrap_or_default() {
            // One that cannot be read is told of by those who need it.
            changes.extend(snapshots.load_of(lsn).ok().flatten().map(|h| (lsn, h)));
        }
        changes.extend(slices.iter().flat_map(Manifest::bundles));
        Past { snapshots, state: Mutex::new(State { changes, read: Vec::new(), current }), whole: Kept::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This bundle holds from this entry on: it loads it, or a slice that begins with it says so.
    pub fn note(&self, lsn: u64, hash: Hash) {
        let mut s = self.state();
        s.changes.insert(lsn, hash);
        if s.changes.len() > MAX {
            s.changes.pop_first();
        }
    }

    /// The journal begins with this entry now.
    pub fn forget(&self, first: u64) {
        let mut s = self.state();
        let kept = s.changes.split_off(&first);
        let last = s.changes.pop_last();
        s.changes = kept;
        s.changes.extend(last);
    }

    /// The configuration says this now.
    pub fn now(&self, current: Arc<Loaded>) {
        self.state().current = current;
    }

    /// What the configuration says now.
    pub fn today(&self) -> Arc<Loaded> {
        self.state().current.clone()
    }

    /// The bundle that was in force at this entry; `None` where nothing is known of it.
    pub fn hash_at(&self, lsn: u64) -> Option<Hash> {
        self.state().changes.range(..=lsn).next_back().map(|c| *c.1)
    }

    /// The same, read; where it cannot be had, that of now.
    pub fn at(&self, lsn: u64) -> Arc<Loaded> {
        match self.hash_at(lsn) {
            Some(h) => self.loaded(&h),
            None => self.state().current.clone(),
        }
    }

    /// What reads records as whole events, kept for whoever comes next.
    pub fn whole(&self) -> &Kept {
        &self.whole
    }

    /// The bundle of now as it is kept, if it can be read.
    pub fn bundle(&self) -> Option<Bundle> {
        let hash = self.state().current.hash;
        self.snapshots.bundle(&hash).ok()
    }

    /// The bundle of that hash; where it cannot be had, that of now.
    pub fn loaded(&self, hash: &Hash) -> Arc<Loaded> {
        {
            let mut s = self.state();
            if s.current.hash == *hash {
                return s.current.clone();
            }
            if let Some(i) = s.read.iter().position(|l| l.hash == *hash) {
                let l = s.read.remove(i);
                s.read.push(l.clone());
                return l;
            }
        }
        let read = match self.snapshots.bundle(hash).and_then(|b| b.load()) {
            Ok(l) => Arc::new(l),
            Err(why) => {
                let current = self.state().current.clone();
                tracing::warn!(why, "the formats and settings of then cannot be had any more; records are read with those of now");
                // Under the hash that was asked for, so that this is said once.
                Arc::new(Loaded { hash: *hash, ..(*current).clone() })
            }
        };
        let mut s = self.state();
        if s.read.len() == READ {
            s.read.remove(0);
        }
        s.read.push(read.clone());
        read
    }
}

/// What an entry says of all its records.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The name of the format; `None` recognises each.
    pub format: Option<&'a str>,
    /// When they arrived.
    pub received: Timestamp,
    /// What a missing year or date is nearest to.
    pub near: Timestamp,
}

/// Reads records under one bundle, into rows of one layout.
pub struct Eye {
    loaded: Arc<Loaded>,
    layout: Arc<Layout>,
    parsers: Parsers,
    arena: Arena,
    slots: Vec<Slot>,
}

impl Eye {
    /// The layout is one of the bundle's schema, and has what enrichment derives its fields from.
    pub fn new(loaded: Arc<Loaded>, layout: Arc<Layout>) -> Eye {
        let parsers = Parsers::new(&loaded.rules.schema, &layout, &loaded.formats);
        Eye { slots: vec![Slot::Missing; layout.len()], parsers, arena: Arena::default(), loaded, layout }
    }

    /// The bundle.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// The event of a record as the engine sees it, and its time: the arrival's where the record has none, or one that is more than
    /// [`AHEAD`] ahead of it. What the engine alone knows (late or not, its number) is missing.
    pub fn event<'a>(&'a mut self, head: &Head<'_>, batch: &'a Batch, record: Record) -> (Event<'a>, Timestamp) {
        self.arena.clear();
        let mut out = Out::new(&batch.bytes, &mut self.arena, &mut self.slots, &self.layout, None);
        let time = read(&self.loaded, &mut self.parsers, head, (batch, record), &mut out);
        (Event::new(&batch.bytes, &self.arena, &self.slots, &self.layout), time)
    }
}

/// Reads a record as its bundle says, with parsers for its formats and for the layout of `out`; its time, as [`Eye::event`] has it.
pub fn read(loaded: &Loaded, parsers: &mut Parsers, head: &Head<'_>, (batch, record): (&Batch, Record), out: &mut Out<'_>) -> Timestamp {
    let setting: &SourceSetting = loaded.source(head.source);
    let format = head.format.and_then(|f| Format::named(f, &loaded.formats));
    let ctx = Context { zone: &setting.zone, near: head.near, named: format.is_some(), estate: &setting.estate };
    parsers.event(&ctx, format, batch.record(record), record.truncated, out);
    let said = if let Value::Time(t) = out.get(field::TIMESTAMP) { t } else { head.received };
    let ahead = said > head.received.plus(AHEAD);
    let time = if ahead { head.received } else { said };
    out.time(field::TIMESTAMP, time);
    out.time(field::EVENT_INGESTED, head.received);
    if ahead {
        out.bool(field::EVENT_AHEAD, true);
    }
    time
}
