//! How bytes arrive, and how they are cut into records.

pub mod frame;
