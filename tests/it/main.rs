//! Tests through the public face, in one binary.

mod diagnostics;
mod memory;
mod samples;
mod streams;
