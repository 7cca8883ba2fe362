//! Tests through the public face, in one binary.

mod diagnostics;
mod rules;
mod samples;
mod streams;
