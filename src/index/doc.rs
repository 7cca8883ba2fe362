//! A document as Tantivy takes it: numbers, and stretches of one buffer that is used again for the next.

use super::schema::Part;
use std::iter::Empty;
use std::sync::Arc;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};

/// A document. Its memory is kept when it is cleared.
#[derive(Default)]
pub(super) struct Row {
    pub time: i64,
    pub seq: u64,
    pub segment: u64,
    pub offset: u64,
    pub record: u64,
    pub bytes: Vec<u8>,
    pub stream: (u32, u32),
    pub terms: Vec<(u32, u32)>,
    pub words: Vec<(u32, u32)>,
}

impl Row {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.terms.clear();
        self.words.clear();
    }

    fn get(&self, &(from, to): &(u32, u32)) -> Leaf<'_> {
        Leaf::Bytes(self.bytes.get(from as usize..to as usize).unwrap_or_default())
    }

    fn at(&self, i: usize) -> Option<(Part, Leaf<'_>)> {
        Some(match i {
            0 => (Part::Time, Leaf::Signed(self.time)),
            1 => (Part::Seq, Leaf::Number(self.seq)),
            2 => (Part::Segment, Leaf::Number(self.segment)),
            3 => (Part::Offset, Leaf::Number(self.offset)),
            4 => (Part::Record, Leaf::Number(self.record)),
            5 => (Part::Stream, self.get(&self.stream)),
            i if i < 6 + self.terms.len() => (Part::Terms, self.get(self.terms.get(i - 6)?)),
            i => (Part::Words, self.get(self.words.get(i - 6 - self.terms.len())?)),
        })
    }
}

/// A row on its way through Tantivy.
pub(super) struct Doc(pub Arc<Row>);

/// A value of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf<'a> {
    Number(u64),
    Signed(i64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> for Leaf<'a> {
    type ArrayIter = Empty<Self>;
    type ObjectIter = Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match *self {
            Leaf::Number(n) => ReferenceValueLeaf::U64(n),
            Leaf::Signed(n) => ReferenceValueLeaf::I64(n),
            Leaf::Bytes(b) => ReferenceValueLeaf::Bytes(b),
        })
    }
}

/// Over all values, those of a field one behind the other.
pub(super) struct All<'a> {
    row: &'a Row,
    at: usize,
}

impl<'a> Iterator for All<'a> {
    type Item = (tantivy::schema::Field, Leaf<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (part, leaf) = self.row.at(self.at)?;
        self.at += 1;
        Some((part.field(), leaf))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = (6 + self.row.terms.len() + self.row.words.len()).saturating_sub(self.at);
        (n, Some(n))
    }
}

impl Document for Doc {
    type Value<'a> = Leaf<'a>;
    type FieldsValuesIter<'a> = All<'a>;

    fn iter_fields_and_values(&self) -> All<'_> {
        All { row: &self.0, at: 0 }
    }
}
