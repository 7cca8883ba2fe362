//! Records to what the engine has to say: parse, time, match, correlate. One for each thread; the same for `run`,
//! `replay` and `test`.

use crate::engine::{self, Engine, Meta, Options, Output, Reader, StreamId};
use crate::event::{Arena, Batch, Event, Field, Layout, Out, Record, Slot, Span, Timestamp, Value, field};
use crate::parse::{Context, Estate, Format, Parsers, Seen, declared, enrich};
use crate::rule::{RuleSet, compile};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use crate::engine::{Both, Parts, Restored, Saved, StateError, Work};

/// The lateness allowed to input that is read from a file or given to `replay` and `test`.
pub const FILE_LATENESS: Span = Span::seconds(5);

/// A parsed event that is not in the engine yet: its row, and what it points into.
#[derive(Default)]
pub struct Row {
    arena: Arena,
    slots: Vec<Slot>,
    /// The last event time of the stream it is read from, for records that have none.
    last: Option<Timestamp>,
}

/// Where a record comes from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// Zone, missing dates, inventory.
    pub ctx: Context<'a>,
    /// The format; none means recognised.
    pub format: Option<Format>,
    /// The stream, unless the event names one.
    pub stream: &'a str,
    /// How late it may be.
    pub lateness: Span,
    /// When it arrived, where that is known.
    pub received: Option<Timestamp>,
}

/// See the module.
pub struct Worker {
    engine: Engine,
    parsers: Parsers,
    layout: Arc<Layout>,
    streams: HashMap<String, StreamId>,
    /// The stream of the event before: most events are of the same.
    last: (String, Option<StreamId>),
    seq: u64,
    row: Row,
}

/// What of a worker is not of its engine: the number of the last record, the time of the last that was parsed here, and the
/// streams by name.
#[derive(Serialize, Deserialize)]
struct Own {
    seq: u64,
    time: Option<Timestamp>,
    streams: BTreeMap<String, StreamId>,
    last: (String, Option<StreamId>),
}

/// The layout that these rules need.
pub fn layout(rules: &RuleSet) -> Layout {
    let asked = compile::fields(rules).into_iter().chain(engine::fields(rules)).collect();
    Layout::of(&rules.schema, enrich::closed(asked))
}

impl Worker {
    /// A worker for these rules and formats.
    pub fn new(rules: Arc<RuleSet>, formats: &declared::Formats, estate: Arc<Estate>, options: Options) -> Worker {
        let layout = Arc::new(layout(&rules));
        let parsers = Parsers::new(&rules.schema, &layout, formats);
        let engine = Engine::new(rules, layout.clone(), estate, options);
        Worker { engine, parsers, layout, streams: HashMap::new(), last: Default::default(), seq: 0, row: Row::default() }
    }

    /// The engine, for ticks, ends of streams and counters.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<RuleSet> {
        self.engine.rules()
    }

    /// Takes one record in: parsed, at once given to the engine, and told.
    pub fn record(&mut self, batch: &Batch, r: Record, origin: &Origin<'_>, out: &mut Vec<Output>) -> Seen {
        let mut row = std::mem::take(&mut self.row);
        let (seen, _) = self.parse(batch, r, origin, &mut row);
        self.feed(batch, r, origin, &mut row, out);
        self.tell(out);
        self.row = row;
        seen
    }

    /// Parses one record into a row; its event time is the answer's second part.
    ///
    /// A record without a time has its arrival's, else that of the record before it, else `ctx.near`.
    pub fn parse(&mut self, batch: &Batch, r: Record, origin: &Origin<'_>, row: &mut Row) -> (Seen, Timestamp) {
        parse_by(&mut self.parsers, &self.layout, batch, r, origin, row)
    }

    /// Parsers of other formats than this worker's, for [`Worker::parse_by`].
    pub fn parsers(&self, formats: &declared::Formats) -> Parsers {
        Parsers::new(&self.engine.rules().schema, &self.layout, formats)
    }

    /// The same as [`Worker::parse`], by these parsers.
    pub fn parse_by(&self, parsers: &mut Parsers, batch: &Batch, r: Record, origin: &Origin<'_>, row: &mut Row) -> Timestamp {
        parse_by(parsers, &self.layout, batch, r, origin, row).1
    }

    /// A parsed row as an event.
    pub fn event<'a>(&'a self, batch: &'a Batch, row: &'a Row) -> Event<'a> {
        Event::new(&batch.bytes, &row.arena, &row.slots, &self.layout)
    }

    /// Gives a parsed row to the engine. What it comes to before it is final is told by [`Worker::tell`].
    pub fn feed(&mut self, batch: &Batch, r: Record, origin: &Origin<'_>, row: &mut Row, out: &mut Vec<Output>) {
        let o = Event::new(&batch.bytes, &row.arena, &row.slots, &self.layout);
        let ts = o.timestamp().unwrap_or(origin.ctx.near);
        let received = if let Value::Time(t) = o.get(field::EVENT_INGESTED) { Some(t) } else { None };
        self.enter(batch, r, origin, row, (ts, received), out);
    }

    /// The same where time goes by events alone, as in a replay: the row's event is taken for one of this time, whatever it says and
    /// whenever it arrived.
    pub fn feed_at(&mut self, ts: Timestamp, batch: &Batch, r: Record, origin: &Origin<'_>, row: &mut Row, out: &mut Vec<Output>) {
        let said = Event::new(&batch.bytes, &row.arena, &row.slots, &self.layout).timestamp();
        if said.is_some_and(|t| t != ts) {
            for (f, s) in [(field::TIMESTAMP, Slot::Time(ts)), (field::EVENT_AHEAD, Slot::Bool(true))] {
                if let Some(i) = self.layout.slot(f) {
                    row.slots[i] = s;
                }
            }
        }
        self.enter(batch, r, origin, row, (ts, None), out);
    }

    fn enter(
        &mut self,
        batch: &Batch,
        r: Record,
        origin: &Origin<'_>,
        row: &mut Row,
        (ts, received): (Timestamp, Option<Timestamp>),
        out: &mut Vec<Output>,
    ) {
        let mut o = Event::new(&batch.bytes, &row.arena, &row.slots, &self.layout);
        let named = o.get(field::EVENT_STREAM).str().and_then(|s| std::str::from_utf8(s).ok());
        let name = named.unwrap_or(origin.stream);
        let stream = match self.last.1 {
            Some(id) if self.last.0 == name => id,
            _ => {
                let id = stream_of(&mut self.streams, &mut self.engine, name, origin.lateness);
                self.last.0.clear();
                self.last.0.push_str(name);
                self.last.1 = Some(id);
                id
            }
        };
        let arrival = self.engine.arrive(stream, ts, received);
        let mut set = |f: Field, s: Slot| {
            if let Some(i) = self.layout.slot(f) {
                row.slots[i] = s;
            }
        };
        if arrival.ahead {
            set(field::TIMESTAMP, Slot::Time(arrival.ts));
            set(field::EVENT_AHEAD, Slot::Bool(true));
        }
        if arrival.late {
            set(field::EVENT_LATE, Slot::Bool(true));
        }
        o = Event::new(&batch.bytes, &row.arena, &row.slots, &self.layout);
        self.seq += 1;
        let record = o.get(field::EVENT_ORIGINAL).str().unwrap_or(batch.record(r));
        self.engine.event(&o, &Meta { stream, arrival, seq: self.seq, record }, out);
    }

    /// Tells what the rows given since the last time come to, before it is final.
    pub fn tell(&mut self, out: &mut Vec<Output>) {
        self.engine.tell(out);
    }

    /// These streams have come to this time, by events that no rule asks for or by what is known of them.
    pub fn come<'n>(&mut self, streams: impl Iterator<Item = &'n str>, lateness: Span, ts: Timestamp, out: &mut Vec<Output>) {
        for s in streams {
            let id = stream_of(&mut self.streams, &mut self.engine, s, lateness);
            self.engine.arrive(id, ts, None);
        }
        self.engine.advance(out);
    }

    /// A stream has ended.
    pub fn close(&mut self, stream: &str, out: &mut Vec<Output>) {
        self.last.1 = None;
        if let Some(id) = self.streams.remove(stream) {
            self.engine.close(id, out);
        }
    }

    /// Nobody listened between these two instants: all streams are closed, held ones too. One that comes again under its name
    /// opens again with its rank and its place.
    pub fn gap(&mut self, from: Timestamp, to: Timestamp, out: &mut Vec<Output>) {
        self.streams.clear();
        self.last.1 = None;
        self.engine.gap(from, to, out);
    }

    /// The number of the record before the next one. Evidence names records by their number.
    pub fn set_seq(&mut self, before_first: u64) {
        self.seq = before_first;
    }

    /// The whole state: what a worker that is restored from it makes of the same records is the same, byte for byte.
    pub fn save(&self) -> Vec<u8> {
        self.save_behind(Vec::new(), Parts::default(), &engine::in_turn).whole()
    }

    /// The same behind what stands there already. `room` is taken for the rules' parts; `both` does the two, and what comes out does not
    /// depend on how.
    pub fn save_behind(&self, before: Vec<u8>, room: Parts, both: Both<'_>) -> Saved {
        let mut to = Saved::open(before);
        let streams = self.streams.iter().map(|(n, id)| (n.clone(), *id)).collect();
        engine::put(to.to(), &Own { seq: self.seq, time: self.row.last, streams, last: self.last.clone() });
        to.add(self.engine.save(room, both));
        to
    }

    /// Puts saved state in place of this worker's. A rule that is there under the same id with the same meaning goes on with
    /// its state; what belonged to others goes, counted. An error changes nothing.
    pub fn restore(&mut self, saved: &[u8]) -> Result<Restored, StateError> {
        let mut from = Reader::new(saved)?;
        let own: Own = from.take()?;
        let named = own.streams.values().chain(&own.last.1).copied().collect::<Vec<_>>();
        let done = self.engine.restore(&mut from, &named)?;
        self.seq = own.seq;
        self.row.last = own.time;
        self.streams = own.streams.into_iter().collect();
        self.last = own.last;
        Ok(done)
    }

    /// Takes only the names of streams and their order, with nothing known of any: for a worker that rebuilds windows beside
    /// the running one. An error changes nothing.
    pub fn restore_streams(&mut self, saved: &[u8]) -> Result<(), StateError> {
        let mut from = Reader::new(saved)?;
        let _: Own = from.take()?;
        self.engine.restore_streams(&mut from)?;
        self.streams.clear();
        self.last.1 = None;
        Ok(())
    }

    /// Takes the state of these rules from another worker that saved it, in place of what is here of them; streams and all
    /// else stay. An error changes nothing.
    pub fn restore_rules(&mut self, saved: &[u8], ids: &BTreeSet<Arc<str>>) -> Result<Restored, StateError> {
        let mut from = Reader::new(saved)?;
        let _: Own = from.take()?;
        self.engine.restore_rules(&mut from, ids)
    }

    /// How many records have been taken in.
    pub fn records(&self) -> u64 {
        self.seq
    }
}

fn parse_by(parsers: &mut Parsers, layout: &Layout, batch: &Batch, r: Record, origin: &Origin<'_>, row: &mut Row) -> (Seen, Timestamp) {
    row.arena.clear();
    row.slots.resize(layout.len(), Slot::Missing);
    let mut o = Out::new(&batch.bytes, &mut row.arena, &mut row.slots, layout, None);
    let seen = parsers.event(&origin.ctx, origin.format, batch.record(r), r.truncated, &mut o);
    let ts = match o.get(field::TIMESTAMP) {
        Value::Time(t) => t,
        _ => origin.received.or(row.last).unwrap_or(origin.ctx.near),
    };
    o.time(field::TIMESTAMP, ts);
    if let Some(t) = origin.received {
        o.time(field::EVENT_INGESTED, t);
    }
    row.last = Some(ts);
    (seen, ts)
}

fn stream_of(known: &mut HashMap<String, StreamId>, engine: &mut Engine, name: &str, lateness: Span) -> StreamId {
    if let Some(&id) = known.get(name) {
        return id;
    }
    let id = engine.stream(name, lateness);
    // The engine bounds how many it tells apart; this list of names is bounded likewise.
    if known.len() < crate::engine::stream::MAX_STREAMS {
        known.insert(name.to_owned(), id);
    }
    id
}
