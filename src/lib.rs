//! vigild, a security event correlation daemon. The map: a record meets the modules in this order.

#![forbid(unsafe_code)]

// The core: synchronous, no runtime, file, socket, clock, randomness or logging.
pub mod alert;
pub mod diag;
pub mod engine;
pub mod event;
pub mod parse;
pub mod rule;
pub mod ruletest;
pub mod worker;

// The shell.
pub mod api;
pub mod backtest;
pub mod backup;
pub mod builtin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod disk;
pub mod r#gen;
pub mod index;
pub mod journal;
pub mod metrics;
pub mod pipeline;
pub mod search;
pub mod service;
pub mod source;
pub mod store;
