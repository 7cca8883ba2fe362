//! Tests through the public face, in one binary.

mod samples;
mod streams;
