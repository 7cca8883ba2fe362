//! Records to ECS JSON, with all that they hold: for output, not for the hot path.

use super::{Context, Format, Parsers, declared};
use crate::event::{Arena, Batch, Event, Layout, Out, Own, Record, Schema, Slot, Timestamp, Value, field, json};
use std::sync::Arc;

/// Writes the events of one stream's records as JSON lines.
pub struct Renderer {
    schema: Arc<Schema>,
    layout: Layout,
    parsers: Parsers,
    arena: Arena,
    slots: Vec<Slot>,
    own: Own,
    parts: Vec<Vec<u8>>,
    last: Option<Timestamp>,
}

impl Renderer {
    /// A renderer for all fields of the schema.
    pub fn new(schema: Arc<Schema>, declared: &declared::Formats) -> Renderer {
        let layout = Layout::full(&schema);
        let parsers = Parsers::new(&schema, &layout, declared);
        let slots = vec![Slot::Missing; layout.len()];
        Renderer { schema, layout, parsers, arena: Arena::default(), slots, own: Own::default(), parts: Vec::new(), last: None }
    }

    /// Forgets the time of the last record: another stream begins.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// Writes the event of one record, or the events of a document, as lines of JSON; `stream` is written as `event.stream`.
    ///
    /// An event without a time has that of the record before it, else `ctx.near`. Returns how many records did not parse.
    pub fn record(&mut self, ctx: &Context<'_>, format: Option<Format>, batch: &Batch, r: Record, stream: Option<&str>, out: &mut Vec<u8>) -> u64 {
        let mut parts = std::mem::take(&mut self.parts);
        let mut errors = 0;
        match self.parsers.split(format, batch.record(r), &mut parts) {
            Some(f) => {
                let mut inner = Batch::default();
                for p in &parts {
                    inner.clear();
                    inner.push(p, r.truncated);
                    for &r in &inner.records {
                        errors += self.event(ctx, Some(f), &inner, r, stream, out);
                    }
                }
            }
            None => errors += self.event(ctx, format, batch, r, stream, out),
        }
        self.parts = parts;
        errors
    }

    fn event(&mut self, ctx: &Context<'_>, format: Option<Format>, batch: &Batch, r: Record, stream: Option<&str>, line: &mut Vec<u8>) -> u64 {
        self.arena.clear();
        self.own.entries.clear();
        let mut out = Out::new(&batch.bytes, &mut self.arena, &mut self.slots, &self.layout, Some(&mut self.own));
        let seen = self.parsers.event(ctx, format, batch.record(r), r.truncated, &mut out);
        match out.get(field::TIMESTAMP) {
            Value::Time(t) => self.last = Some(t),
            _ => out.time(field::TIMESTAMP, self.last.unwrap_or(ctx.near)),
        }
        if let Some(s) = stream {
            // ECS JSON names its own.
            if !out.has(field::EVENT_STREAM) {
                out.str(field::EVENT_STREAM, s.as_bytes());
            }
        }
        json::write(&Event::new(&batch.bytes, &self.arena, &self.slots, &self.layout), &self.schema, &self.own, line);
        line.push(b'\n');
        seen.error as u64
    }
}
