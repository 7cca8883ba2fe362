//! Records as events, as their bundle reads them, and what a query says of them.

use super::query::{Query, same};
use crate::event::{Arena, Event, Field, Layout, Out, Record, Slot, Timestamp, Value, field};
use crate::journal::Records;
use crate::parse::{Parsers, enrich};
use crate::pipeline::bundle::Loaded;
use crate::pipeline::past::{Head, Past, read};
use crate::rule::compile::{Condition, fields_of};
use std::sync::Arc;

/// So many bundles are held ready at once.
const HELD: usize = 4;

/// Reads records of one bundle.
pub struct Reading {
    loaded: Arc<Loaded>,
    layout: Layout,
    parsers: Parsers,
    condition: Option<Condition>,
    also: Vec<Option<Field>>,
    arena: Arena,
    slots: Vec<Slot>,
}

impl Reading {
    /// `also` are fields of the query's schema that are read beside those of its condition.
    pub fn new(query: &Query, loaded: Arc<Loaded>, also: &[Field]) -> Reading {
        let mut schema = loaded.rules.schema.clone();
        let expr = query.under(&mut schema);
        let also: Vec<Option<Field>> = also.iter().map(|f| same(*f, query.schema(), &mut schema)).collect();
        let mut needed = vec![field::TIMESTAMP, field::EVENT_INGESTED, field::EVENT_AHEAD, field::EVENT_SEQUENCE];
        needed.extend(expr.iter().flat_map(fields_of).chain(also.iter().flatten().copied()));
        let layout = Layout::of(&schema, enrich::closed(needed));
        let parsers = Parsers::new(&schema, &layout, &loaded.formats);
        let condition = expr.map(|e| Condition::new(&e, &layout));
        let slots = vec![Slot::Missing; layout.len()];
        Reading { loaded, layout, parsers, condition, also, arena: Arena::default(), slots }
    }

    /// Reads a record. Its time is that which the engine takes it for; its number is `seq`.
    pub fn read<'a>(&'a mut self, r: &'a Records, one: Record, seq: u64) -> Read<'a> {
        let head = Head { source: &r.source, format: r.format.as_deref(), received: r.received, near: r.near };
        self.arena.clear();
        let mut out = Out::new(&r.batch.bytes, &mut self.arena, &mut self.slots, &self.layout, None);
        let time = read(&self.loaded, &mut self.parsers, &head, (&r.batch, one), &mut out);
        out.put(field::EVENT_SEQUENCE, Out::number(seq));
        let event = Event::new(&r.batch.bytes, &self.arena, &self.slots, &self.layout);
        Read { event, time, condition: self.condition.as_ref(), also: &self.also }
    }
}

/// A record that was read.
pub struct Read<'a> {
    /// Its event.
    pub event: Event<'a>,
    /// Its time.
    pub time: Timestamp,
    condition: Option<&'a Condition>,
    also: &'a [Option<Field>],
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
    past: &'q Past,
    held: Vec<([u8; 32], Reading)>,
}

impl<'q> Readings<'q> {
    /// See [`Reading::new`].
    pub fn new(query: &'q Query, also: &'q [Field], past: &'q Past) -> Readings<'q> {
        Readings { query, also, past, held: Vec::new() }
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
                self.held.push((loaded.hash, Reading::new(self.query, loaded, self.also)));
                self.held.len() - 1
            }
        };
        &mut self.held[i].1
    }
}
