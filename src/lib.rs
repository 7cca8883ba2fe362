//! vigild, a security event correlation daemon. The map: a record meets the modules in this order.

// The core: synchronous, no runtime, file, socket, clock, randomness or logging.
pub mod event;
pub mod parse;
pub mod rule;
pub mod engine;
pub mod alert;
pub mod diag;

// The shell.
pub mod builtin;
pub mod clock;
pub mod config;
pub mod source;
pub mod metrics;
pub mod pipeline;
pub mod api;
pub mod cli;
