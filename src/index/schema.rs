//! What a document of the index is made of: Tantivy's fields, and which fields of an event are terms.

use super::term;
use crate::engine;
use crate::event::{Field, Layout, field};
use crate::parse::enrich;
use crate::rule::{RuleSet, compile};
use std::collections::BTreeSet;
use std::sync::Arc;
use tantivy::schema::{BytesOptions, NumericOptions, Schema, SchemaBuilder};

/// Fields of the table whose values are no terms: each value is of one event, or they are the engine's knowledge, or they are found
/// by their words.
const LEFT_OUT: [Field; 11] = [
    field::TIMESTAMP,
    field::MESSAGE,
    field::ERROR_MESSAGE,
    field::EVENT_ORIGINAL,
    field::EVENT_CREATED,
    field::EVENT_INGESTED,
    field::EVENT_START,
    field::EVENT_END,
    field::EVENT_SEQUENCE,
    field::EVENT_LATE,
    field::EVENT_AHEAD,
];

/// Tantivy's fields, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum Part {
    Time,
    Seq,
    Segment,
    Offset,
    Record,
    Stream,
    Terms,
    Words,
}

impl Part {
    pub(super) const ALL: [Part; 8] = [Part::Time, Part::Seq, Part::Segment, Part::Offset, Part::Record, Part::Stream, Part::Terms, Part::Words];

    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Time => "time",
            Part::Seq => "seq",
            Part::Segment => "segment",
            Part::Offset => "offset",
            Part::Record => "record",
            Part::Stream => "stream",
            Part::Terms => "terms",
            Part::Words => "words",
        }
    }

    pub(super) fn field(self) -> tantivy::schema::Field {
        tantivy::schema::Field::from_field_id(self as u32)
    }
}

/// The one schema of all slices of this format version.
pub(super) fn schema() -> Schema {
    let mut b = SchemaBuilder::new();
    for p in Part::ALL {
        match p {
            Part::Time => b.add_i64_field(p.name(), NumericOptions::default().set_fast()),
            Part::Seq | Part::Segment | Part::Offset | Part::Record => b.add_u64_field(p.name(), NumericOptions::default().set_fast()),
            Part::Stream => b.add_bytes_field(p.name(), BytesOptions::default().set_fast()),
            Part::Terms | Part::Words => b.add_bytes_field(p.name(), BytesOptions::default().set_indexed()),
        };
    }
    b.build()
}

/// One indexed field, in a row of the plan's layout.
pub(super) struct Column {
    pub slot: usize,
    pub name: String,
    pub prefix: Vec<u8>,
}

/// Which fields are indexed under a set of rules and formats, and the layout that their parser needs.
pub struct Plan {
    layout: Arc<Layout>,
    names: BTreeSet<String>,
    pub(super) columns: Vec<Column>,
}

impl Plan {
    /// All of the table but a few, and the own-prefix fields that a format asks for or a rule names.
    pub fn new(rules: &RuleSet, asked: &[Field]) -> Plan {
        let own = compile::fields(rules).into_iter().chain(engine::fields(rules)).chain(asked.iter().copied());
        let table = (0..field::TABLE.len() as u16).map(Field).filter(|f| !LEFT_OUT.contains(f));
        let mut indexed: BTreeSet<Field> = table.chain(own.filter(|f| usize::from(f.0) >= field::TABLE.len())).collect();
        let mut taken = BTreeSet::new();
        indexed.retain(|f| taken.insert(term::prefix(rules.schema.name(*f))));
        let also = [field::MESSAGE, field::EVENT_ORIGINAL, field::TIMESTAMP];
        let layout = Layout::of(&rules.schema, enrich::closed(indexed.iter().copied().chain(also).collect()));
        let name = |f: &Field| rules.schema.name(*f);
        let columns =
            indexed.iter().filter_map(|f| Some(Column { slot: layout.slot(*f)?, name: name(f).to_owned(), prefix: term::prefix(name(f)) })).collect();
        Plan { names: indexed.iter().map(|f| name(f).to_owned()).collect(), columns, layout: Arc::new(layout) }
    }

    /// The layout of events that are indexed.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The names of the indexed fields.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}
