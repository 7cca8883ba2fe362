//! `vigild replay`: files in, final alerts out.

use super::inputs::{Input, Inputs};
use super::{Failure, load};
use crate::engine::Options;
use crate::engine::collect::Collected;
use crate::event::{Batch, Timestamp};
use crate::parse::Context;
use crate::worker::{FILE_LATENESS, Origin, Row, Worker};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Finds alerts in files: one alert JSON a line on stdout, a summary on stderr.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Rule files or folders; they take the place of the built-in rules.
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// The format of the files; without it each record is recognised.
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Configuration: zone, inventory, proxies.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Files, `-` for stdin; several are merged by event time.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One file being read: a batch of records, and the parsed row of the next.
struct Reader<'a> {
    input: Input,
    batch: Batch,
    at: usize,
    origin: Origin<'a>,
    row: Row,
    next: Option<Timestamp>,
}

impl Reader<'_> {
    /// Parses the next record; `next` is none at the end.
    fn advance(&mut self, worker: &mut Worker, errors: &mut u64) -> std::io::Result<()> {
        while self.at == self.batch.records.len() {
            self.batch.clear();
            self.at = 0;
            if !self.input.read(&mut self.batch)? && self.batch.records.is_empty() {
                self.next = None;
                return Ok(());
            }
        }
        let (seen, ts) = worker.parse(&self.batch, self.batch.records[self.at], &self.origin, &mut self.row);
        *errors += seen.error as u64;
        self.next = Some(ts);
        Ok(())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let loaded = load(args.config.as_deref(), &args.rules)?;
    let format = loaded.format(args.format.as_deref())?;
    let names: Vec<PathBuf> = args.files.clone();
    let inputs = Inputs::open(&names, format, loaded.config.limits.record_bytes)?;
    let begun = crate::clock::monotonic();
    let mut worker = Worker::new(
        Arc::new(loaded.rules),
        &loaded.formats,
        loaded.estate.clone(),
        Options {
            budget: loaded.config.state.budget,
            keys: loaded.config.state.keys_per_rule,
            waiting: loaded.config.state.waiting,
            ..Options::default()
        },
    );
    let streams: Vec<String> = inputs.iter().map(|i| i.stream.clone()).collect();
    let (zone, estate) = (loaded.zone.clone(), loaded.estate.clone());
    let mut readers: Vec<Reader<'_>> = Vec::new();
    let mut errors = 0;
    for (input, stream) in inputs.into_iter().zip(&streams) {
        let ctx = Context { zone: &zone, near: input.modified, named: format.is_some(), estate: &estate };
        let origin = Origin { ctx, format, stream, lateness: FILE_LATENESS, received: None };
        let mut r = Reader { input, batch: Batch::default(), at: 0, origin, row: Row::default(), next: None };
        r.advance(&mut worker, &mut errors).map_err(|e| r.input.failure(e))?;
        readers.push(r);
    }
    let (mut said, mut got) = (Vec::new(), Collected::default());
    // The file whose next event is the oldest goes first; of several, the first on the command line.
    while let Some(i) = (0..readers.len()).filter(|&i| readers[i].next.is_some()).min_by_key(|&i| readers[i].next) {
        let r = &mut readers[i];
        worker.feed(&r.batch, r.batch.records[r.at], &r.origin, &mut r.row, &mut said);
        r.at += 1;
        r.advance(&mut worker, &mut errors).map_err(|e| r.input.failure(e))?;
        if r.next.is_none() {
            worker.close(r.origin.stream, &mut said);
        }
        if !said.is_empty() {
            got.take(&mut said);
        }
    }
    worker.engine().finish(&mut said);
    got.take(&mut said);
    let events = worker.records();
    let rules = worker.engine().rules().clone();
    let alerts = got.finish();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    for a in &alerts {
        line.clear();
        a.write(&rules, None, &mut line);
        line.push(b'\n');
        super::written(out.write_all(&line))?;
    }
    super::written(out.flush())?;
    let seconds = begun.elapsed().as_secs_f64();
    let late = worker.engine().counters().late;
    eprintln!(
        "{events} events, {} alerts, {seconds:.3} s, {:.0} events/s{}{}",
        alerts.len(),
        events as f64 / seconds.max(1e-9),
        if errors > 0 { format!(", {errors} records not parsed") } else { String::new() },
        if late > 0 { format!(", {late} late") } else { String::new() },
    );
    Ok(())
}
