//! The index: what the journal holds, by value, word and time.
//!
//! It is cut into slices ([`Slice`]), each of which covers a stretch of the journal's entries and points into it. A slice is built
//! beside its place, made durable and published under its name at once ([`Builder`]), so that what is there is whole; every file's
//! checksum is compared before it is read. What no slice covers is found by reading the journal. The index can therefore be lost
//! without a loss: it is built again.
//!
//! Values and words that come again and again are Tantivy's terms; large whole numbers stand in columns; what comes seldom is in
//! signatures, which name a few documents too many. A slice answers a test with the documents for which it surely holds and those for
//! which it may ([`Answer`]); the difference is for the evaluator.

mod answer;
mod ask;
mod build;
mod common;
mod folder;
mod gather;
mod list;
mod manifest;
mod merge;
mod numbers;
mod postings;
mod rare;
mod said;
mod schema;
mod segment;
mod sets;
mod signatures;
mod slice;
mod term;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use build::{Builder, From, MAX_VALUES, MAX_WORD, MAX_WORDS, MEMORY, Record};
pub use common::Common;
pub use folder::is_slice;
pub use list::{Index, Verified, View};
pub use manifest::{Manifest, SliceError, VERSION};
pub use merge::{FACTOR, MATURE, merge, pick};
pub use said::{Fate, Said};
pub use schema::Plan;
pub use slice::Slice;
pub use term::MAX_TEXT;
