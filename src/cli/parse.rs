//! `vigild parse`: one ECS JSON event a line.

use super::inputs::Inputs;
use super::{Failure, load};
use crate::event::Batch;
use crate::parse::{Context, Estate, Renderer};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Writes one ECS JSON event a line on stdout, in the order of the records.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The format of the files; without it each record is recognised.
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Configuration: zone, inventory, proxies.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Files, `-` for stdin.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the command. It holds one piece of input and its events in memory, however long the input is.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut sources = Vec::new();
    let (config, mut said) = load::read_config(args.config.as_deref(), &mut sources)?;
    let (schema, formats, more) = load::formats(&mut sources);
    said.extend(more);
    load::tell(&said, &sources)?;
    let format = args.format.as_deref().map(|n| load::named(n, &formats)).transpose()?;
    let inputs = Inputs::open(&args.files, format, config.limits.record_bytes)?;
    let estate = Estate::new(config.hosts.clone(), config.proxies.clone());
    let mut renderer = Renderer::new(Arc::new(schema), &formats);
    let mut stdout = std::io::stdout().lock();
    let (mut batch, mut lines) = (Batch::default(), Vec::new());
    for mut input in inputs {
        renderer.restart();
        let ctx = Context { zone: &config.zone, near: input.modified, named: format.is_some(), estate: &estate };
        let mut more = true;
        while more {
            batch.clear();
            lines.clear();
            more = input.read(&mut batch).map_err(|e| input.failure(e))?;
            for &r in &batch.records {
                renderer.record(&ctx, format, &batch, r, Some(&input.stream), &mut lines);
                // A document can hold far more findings than bytes were read.
                if lines.len() > 1 << 20 {
                    super::written(stdout.write_all(&lines))?;
                    lines.clear();
                }
            }
            super::written(stdout.write_all(&lines).and_then(|()| stdout.flush()))?;
        }
    }
    Ok(())
}
