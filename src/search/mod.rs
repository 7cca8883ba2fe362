//! Search: which events of the past a query holds for, exactly as the engine would say of each.
//!
//! A [`request::Request`] is read, its query compiled ([`query`]) in the words of today's rules and formats. [`find`] asks every slice
//! of the index for the documents that surely are answers and those that may be ([`sets`]); the latter, and what no slice covers,
//! are read in the journal as their bundle read them ([`reading`]) and asked by the evaluator. Pages ([`page`], [`show`]), histograms
//! ([`histogram`]) and values ([`tally`]) are made of what was found; [`answer`] writes it all down. Bounds of time, memory and records
//! end a search that takes too much, and the answer says so.

pub mod answer;
pub mod find;
pub mod histogram;
pub mod missing;
pub mod page;
pub mod parameters;
pub mod query;
pub mod reading;
pub mod request;
pub mod sets;
pub mod show;
pub mod tally;

pub use answer::{Refused, answer};
pub use find::{Bounds, Ground, Piece, Range, pieces};
pub use missing::Missing;
pub use request::Request;
