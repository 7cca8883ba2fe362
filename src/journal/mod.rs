//! The journal: everything that came in, in one order, durable.

mod entry;

pub use entry::{Entry, FilePosition, Mark, Records, What};
