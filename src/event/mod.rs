//! The one event that every format becomes.
//!
//! A [`Batch`] owns bytes cut into records. A parser reads one record and writes an event through [`Out`]: a row of
//! [`Slot`]s that point into the batch or its [`Arena`]. [`Event`] reads a row back as [`Value`]s. Nothing is allocated
//! for an event: rows and arena are reused. Output runs the same parser with a full [`Layout`] and an [`Own`] collector
//! for what has no ECS name, and writes nested JSON ([`json`]).

mod batch;
pub mod field;
pub mod json;
pub mod time;
mod value;
pub mod words;

pub use batch::{Batch, Record};
pub use field::{Field, Layout, Schema, Type};
pub use time::{Span, Timestamp};
pub use value::{Arena, List, Slot, Stretch, Value, fold, ip};

use std::net::IpAddr;

/// Why a record is not of a format: what was expected, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What should have stood there, as it completes "expected …".
    pub expected: &'static str,
    /// Offset of the byte in the record.
    pub offset: usize,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for ParseError {}

/// What a record holds beyond its ECS fields, kept for output under the format's prefix: dotted paths and JSON texts.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// In order of appearance: path segments, and the value as JSON text.
    pub entries: Vec<(Vec<String>, Vec<u8>)>,
}

/// Where a parser writes an event.
///
/// Text that lies in the batch is pointed to, other text is copied to the arena. A value that cannot be read as the
/// field's type, and empty text, are not written. A field without a slot in the layout is skipped.
pub struct Out<'b> {
    bytes: &'b [u8],
    arena: &'b mut Arena,
    slots: &'b mut [Slot],
    layout: &'b Layout,
    own: Option<&'b mut Own>,
}

impl<'b> Out<'b> {
    /// A writer of one row: `slots` has `layout.len()` elements and is cleared here; `bytes` are the batch's.
    pub fn new(bytes: &'b [u8], arena: &'b mut Arena, slots: &'b mut [Slot], layout: &'b Layout, own: Option<&'b mut Own>) -> Out<'b> {
        slots.fill(Slot::Missing);
        Out { bytes, arena, slots, layout, own }
    }

    /// Takes everything back, to write the row anew.
    pub fn reset(&mut self) {
        self.slots.fill(Slot::Missing);
        if let Some(own) = self.own.as_deref_mut() {
            own.entries.clear();
        }
    }

    /// The `i`-th element of a slot: of a list that one, of another value itself for 0.
    pub fn nth(&self, s: Slot, i: usize) -> Option<Slot> {
        match s {
            Slot::Missing => None,
            Slot::List(r) if i < r.len as usize => self.arena.lists.get(r.off as usize + i).copied(),
            Slot::List(_) => None,
            one => (i == 0).then_some(one),
        }
    }

    /// Whether anybody reads this field; a parser may skip work for one that nobody does.
    #[inline]
    pub fn wants(&self, f: Field) -> bool {
        self.layout.slot(f).is_some()
    }

    /// The collector of what has no ECS name; `None` on the hot path.
    pub fn own(&mut self) -> Option<&mut Own> {
        self.own.as_deref_mut()
    }

    /// What was written to a field so far.
    pub fn get(&self, f: Field) -> Value<'_> {
        self.layout.slot(f).map_or(Value::Missing, |i| value::read(self.slots[i], self.bytes, self.arena))
    }

    /// Whether a field has been written.
    pub fn has(&self, f: Field) -> bool {
        self.layout.slot(f).is_some_and(|i| self.slots[i] != Slot::Missing)
    }

    /// The slot of a field, to be given to another field with [`Out::put`].
    pub fn slot(&self, f: Field) -> Slot {
        self.layout.slot(f).map_or(Slot::Missing, |i| self.slots[i])
    }

    /// Writes a slot as it stands.
    #[inline]
    pub fn put(&mut self, f: Field, s: Slot) {
        if let Some(i) = self.layout.slot(f) {
            self.slots[i] = s;
        }
    }

    /// Copies one field to another.
    pub fn copy(&mut self, from: Field, to: Field) {
        let s = self.slot(from);
        if s != Slot::Missing {
            self.put(to, s);
        }
    }

    /// Takes a value back.
    pub fn clear(&mut self, f: Field) {
        self.put(f, Slot::Missing);
    }

    /// A slot for text; nothing for empty text.
    #[inline]
    pub fn text(&mut self, s: &[u8]) -> Slot {
        if s.is_empty() {
            return Slot::Missing;
        }
        // The address of a slice tells whether it lies in the batch: no unsafe code, and none of the bytes are touched.
        let (base, at) = (self.bytes.as_ptr() as usize, s.as_ptr() as usize);
        if at >= base && at + s.len() <= base + self.bytes.len() {
            return Slot::Bytes(Stretch { off: (at - base) as u32, len: s.len() as u32 });
        }
        let off = self.arena.text.len() as u32;
        self.arena.text.extend_from_slice(s);
        Slot::Text(Stretch { off, len: s.len() as u32 })
    }

    /// A slot for text put together in the arena by `write`, which appends to what is given to it.
    pub fn build(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Slot {
        let off = self.arena.text.len();
        write(&mut self.arena.text);
        match self.arena.text.len() - off {
            0 => Slot::Missing,
            len => Slot::Text(Stretch { off: off as u32, len: len as u32 }),
        }
    }

    /// A slot for an address.
    #[inline]
    pub fn address(&mut self, ip: IpAddr) -> Slot {
        match fold(ip) {
            IpAddr::V4(v4) => Slot::Ip4(v4.into()),
            IpAddr::V6(v6) => {
                self.arena.ips.push(v6);
                Slot::Ip6(self.arena.ips.len() as u32 - 1)
            }
        }
    }

    /// A slot for an unsigned number.
    pub fn number(v: u64) -> Slot {
        i64::try_from(v).map_or(Slot::Big(v), Slot::Int)
    }

    /// Writes text.
    #[inline]
    pub fn str(&mut self, f: Field, s: &[u8]) {
        if self.wants(f) && !s.is_empty() {
            let s = self.text(s);
            self.put(f, s);
        }
    }

    /// Writes a constant.
    #[inline]
    pub fn word(&mut self, f: Field, s: &'static str) {
        self.str(f, s.as_bytes());
    }

    /// Writes a whole number.
    #[inline]
    pub fn int(&mut self, f: Field, v: i64) {
        self.put(f, Slot::Int(v));
    }

    /// Writes a truth value.
    pub fn bool(&mut self, f: Field, v: bool) {
        self.put(f, Slot::Bool(v));
    }

    /// Writes a float; one that is no number is missing.
    pub fn float(&mut self, f: Field, v: f64) {
        if v.is_finite() {
            self.put(f, Slot::Float(v));
        }
    }

    /// Writes an instant.
    #[inline]
    pub fn time(&mut self, f: Field, t: Timestamp) {
        self.put(f, Slot::Time(t));
    }

    /// Writes an address.
    #[inline]
    pub fn ip(&mut self, f: Field, v: IpAddr) {
        if self.wants(f) {
            let s = self.address(v);
            self.put(f, s);
        }
    }

    /// Reads text as an address and writes it; `false` where it is none.
    #[inline]
    pub fn ip_text(&mut self, f: Field, s: &[u8]) -> bool {
        let v = ip(s);
        if let Some(v) = v {
            self.ip(f, v);
        }
        v.is_some()
    }

    /// Reads text as a whole number and writes it; nothing else than digits and a leading minus is a number.
    pub fn int_text(&mut self, f: Field, s: &[u8]) {
        if let Some(s) = int_slot(s) {
            self.put(f, s);
        }
    }

    /// Reads text as a port, 1 to 65535, and writes it.
    pub fn port_text(&mut self, f: Field, s: &[u8]) {
        if let Some(Slot::Int(v @ 1..=65535)) = int_slot(s) {
            self.int(f, v);
        }
    }

    /// Appends a value to an array field.
    pub fn push(&mut self, f: Field, s: Slot) {
        let Some(i) = self.layout.slot(f) else { return };
        if s == Slot::Missing {
            return;
        }
        let lists = &mut self.arena.lists;
        let (off, len) = match self.slots[i] {
            Slot::Missing => (lists.len() as u32, 0),
            Slot::List(r) if (r.off + r.len) as usize == lists.len() => (r.off, r.len),
            Slot::List(r) => {
                let off = lists.len() as u32;
                lists.extend_from_within(r.off as usize..(r.off + r.len) as usize);
                (off, r.len)
            }
            one => {
                lists.push(one);
                (lists.len() as u32 - 1, 1)
            }
        };
        lists.push(s);
        self.slots[i] = Slot::List(Stretch { off, len: len + 1 });
    }

    /// Appends text to an array field; empty text is not written.
    pub fn add(&mut self, f: Field, s: &[u8]) {
        if self.wants(f) {
            let s = self.text(s);
            self.push(f, s);
        }
    }

    /// Appends a value to an array field unless it holds an equal one already.
    pub fn add_once(&mut self, f: Field, s: Slot) {
        if !self.wants(f) {
            return;
        }
        let v = value::read(s, self.bytes, self.arena);
        if !self.get(f).each().any(|x| x == v) {
            self.push(f, s);
        }
    }

    /// Reads back a slot that this writer made.
    pub fn value(&self, s: Slot) -> Value<'_> {
        value::read(s, self.bytes, self.arena)
    }
}

/// A slot for a whole number read from text: digits with an optional leading minus, within `i64` and `u64`.
pub fn int_slot(s: &[u8]) -> Option<Slot> {
    if s.is_empty() || s.len() > 20 || !(s[0] == b'-' && s.len() > 1 || s[0].is_ascii_digit()) {
        return None;
    }
    let t = std::str::from_utf8(s).ok()?;
    t.parse::<i64>().map(Slot::Int).ok().or_else(|| t.parse::<u64>().map(Slot::Big).ok())
}

/// One event, read from its row.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    bytes: &'a [u8],
    arena: &'a Arena,
    slots: &'a [Slot],
    layout: &'a Layout,
}

impl<'a> Event<'a> {
    /// A view of a row that [`Out`] wrote with the same batch, arena and layout.
    pub fn new(bytes: &'a [u8], arena: &'a Arena, slots: &'a [Slot], layout: &'a Layout) -> Event<'a> {
        Event { bytes, arena, slots, layout }
    }

    /// The value of a field; missing where the layout has no slot for it.
    #[inline]
    pub fn get(&self, f: Field) -> Value<'a> {
        self.layout.slot(f).map_or(Value::Missing, |i| self.at(i))
    }

    /// The value of a slot.
    #[inline]
    pub fn at(&self, slot: usize) -> Value<'a> {
        value::read(self.slots[slot], self.bytes, self.arena)
    }

    /// The layout of the row.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// The event time, where the record has one.
    pub fn timestamp(&self) -> Option<Timestamp> {
        if let Value::Time(t) = self.get(field::TIMESTAMP) { Some(t) } else { None }
    }
}
