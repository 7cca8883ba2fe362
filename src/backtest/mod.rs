//! A rule over what the journal holds: what it would have fired.
//!
//! It means a replay of all records of the range, each stream of the journal taken like a file ([`order`]). But only records that
//! may match are read ([`candidates`]): of the others no more is needed than their time and their stream, which the index knows.
//! The engine itself runs over them ([`run`]), under the formats and the settings that were in force when they came, so that the
//! alerts are those of the whole replay.

mod bounds;
mod candidates;
mod order;
mod report;
mod request;
mod run;

pub use bounds::{Bounds, Cut};
pub use report::{Report, Variant};
pub use request::{Refused, Request, answer};
pub use run::{Ran, Trial, run};
