//! The index: what the journal holds, by value, word and time.
//!
//! It is cut into slices ([`Slice`]), each of which covers a stretch of the journal's entries and points into it. A slice is built
//! beside its place, made durable and published under its name at once ([`Builder`]), so that what is there is whole; every file's
//! checksum is compared before it is read. What no slice covers is found by reading the journal. The index can therefore be lost
//! without a loss: it is built again.
//!
//! A slice answers with sets of documents, and says of each test for which documents it cannot answer: values that are too long or
//! too many to be terms ([`Slice::unsure`]), words that are in every other record ([`Words::Common`]). Those are for the evaluator.

mod build;
mod common;
mod doc;
mod folder;
mod gather;
mod list;
mod manifest;
mod merge;
mod schema;
mod sets;
mod slice;
mod term;
#[cfg(test)]
mod tests;

pub use build::{Builder, From, MAX_VALUES, MAX_WORD, MAX_WORDS, MEMORY, Record};
pub use common::Common;
pub use list::{Index, Said, Verified, View};
pub use manifest::{Manifest, SliceError, VERSION};
pub use merge::{FACTOR, MATURE, merge, pick};
pub use schema::Plan;
pub use slice::{Slice, Words};
pub use term::MAX_TEXT;
