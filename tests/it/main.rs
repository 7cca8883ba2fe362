//! Tests through the public face, in one binary.

mod diagnostics;
mod samples;
mod streams;
