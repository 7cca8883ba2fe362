//! Records as events, as their bundle reads them, and what a query says of them.

use super::query::{Query, same};
use crate::engine::stream::AHEAD;
use crate::event::{Arena, Event, Field, Layout, Out, Own, Record, Schema, Slot, Timestamp, Value, field};
use crate::journal::Records;
use crate::parse::{Context, Format, Parsers, enrich};
use crate::pipeline::bundle::Loaded;
use crate::pipeline::past::Past;
use crate::rule::compile::{Condition, fields_of};
use std::sync::Arc;

/// So many bundles are held ready at once.
const HELD: usize = 4;

/// Reads records of one bundle.
pub struct Reading {
    loaded: Arc<Loaded>,
    schema: Schema,
    layout: Layout,
    parsers: Parsers,
    condition: Option<Condition>,
    also: Vec<Option<Field>>,
    arena: Arena,
    slots: Vec<Slot>,
    own: Own,
    whole: bool,
}

impl Reading {
    /// `also` are fields of the query's schema that are read beside those of its condition; `whole` reads all there is.
    pub fn new(query: &Query, loaded: Arc<Loaded>, also: &[Field], whole: bool) -> Reading {
        let mut schema = loaded.rules.schema.clone();
        let expr = query.under(&mut schema);
        let also: Vec<Option<Field>> = also.iter().map(|f| same(*f, query.schema(), &mut schema)).collect();
        let mut needed = vec![field::TIMESTAMP, field::EVENT_INGESTED, field::EVENT_AHEAD, field::EVENT_SEQUENCE];
        needed.extend(expr.iter().flat_map(fields_of).chain(also.iter().flatten().copied()));
        let layout = if whole { Layout::full(&schema) } else { Layout::of(&schema, enrich::closed(needed)) };
        let parsers = Parsers::new(&schema, &layout, &loaded.formats);
        let condition = expr.map(|e| Condition::new(&e, &layout));
        let slots = vec![Slot::Missing; layout.len()];
        Reading { loaded, schema, layout, parsers, condition, also, arena: Arena::default(), slots, own: Own::default(), whole }
    }

    /// Reads a record. Its time is that which the engine takes it for; its number is `seq`.
    pub fn read<'a>(&'a mut self, r: &'a Records, one: Record, seq: u64) -> Read<'a> {
        let setting = self.loaded.source(&r.source);
        let format = r.format.as_deref().and_then(|f| Format::named(f, &self.loaded.formats));
        let ctx = Context { zone: &setting.zone, near: r.near, named: format.is_some(), estate: &setting.estate };
        self.arena.clear();
        self.own.entries.clear();
        let own = self.whole.then_some(&mut self.own);
        let mut out = Out::new(&r.batch.bytes, &mut self.arena, &mut self.slots, &self.layout, own);
        self.parsers.event(&ctx, format, r.batch.record(one), one.truncated, &mut out);
        let said = if let Value::Time(t) = out.get(field::TIMESTAMP) { t } else { r.received };
        let ahead = said > r.received.plus(AHEAD);
        let time = if ahead { r.received } else { said };
        out.time(field::TIMESTAMP, time);
        out.time(field::EVENT_INGESTED, r.received);
        if ahead {
            out.bool(field::EVENT_AHEAD, true);
        }
        out.put(field::EVENT_SEQUENCE, Out::number(seq));
        let event = Event::new(&r.batch.bytes, &self.arena, &self.slots, &self.layout);
        Read { event, time, seq, condition: self.condition.as_ref(), also: &self.also, schema: &self.schema, own: &self.own }
    }
}

/// A record that was read.
pub struct Read<'a> {
    /// Its event.
    pub event: Event<'a>,
    /// Its time.
    pub time: Timestamp,
    /// Its number.
    pub seq: u64,
    condition: Option<&'a Condition>,
    also: &'a [Option<Field>],
    /// The names of its fields.
    pub schema: &'a Schema,
    /// What has no ECS name, where all was read.
    pub own: &'a Own,
}

impl Read<'_> {
    /// Whether the query holds for it.
    pub fn holds(&self) -> bool {
        self.condition.is_none_or(|c| c.holds(&self.event))
    }

    /// The value of one of the fields that are read beside the condition's.
    pub fn also(&self, i: usize) -> Value<'_> {
        self.also.get(i).copied().flatten().map_or(Value::Missing, |f| self.event.get(f))
    }
}

/// Readings of the bundles that a search comes through.
pub struct Readings<'q> {
    query: &'q Query,
    also: &'q [Field],
    whole: bool,
    past: &'q Past,
    held: Vec<([u8; 32], Reading)>,
}

impl<'q> Readings<'q> {
    /// See [`Reading::new`].
    pub fn new(query: &'q Query, also: &'q [Field], whole: bool, past: &'q Past) -> Readings<'q> {
        Readings { query, also, whole, past, held: Vec::new() }
    }

    /// The reading of the records of an entry.
    pub fn at(&mut self, lsn: u64) -> &mut Reading {
        let loaded = self.past.at(lsn);
        let i = match self.held.iter().position(|(hash, _)| *hash == loaded.hash) {
            Some(i) => i,
            None => {
                if self.held.len() == HELD {
                    self.held.remove(0);
                }
                self.held.push((loaded.hash, Reading::new(self.query, loaded, self.also, self.whole)));
                self.held.len() - 1
            }
        };
        &mut self.held[i].1
    }
}
