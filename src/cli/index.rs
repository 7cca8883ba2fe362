//! `vigild index`: whether the index is what was written, and building it again. Of a running daemon by its API, else directly.

use super::ask::Target;
use super::{Failure, print, safe};
use crate::config::{self, Config};
use crate::diag::causes;
use crate::disk::Real;
use crate::index::{Index, Verified};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::pipeline::bundle::Bundle;
use crate::pipeline::durable::Durable;
use crate::pipeline::index::{self as indexing, With};
use crate::pipeline::past::Past;
use crate::pipeline::snapshot::Snapshots;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The daemon may read its whole index before it answers.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The index, by which what came in is found: whether it is whole, or building it again
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Do,
}

#[derive(clap::Subcommand, Debug)]
enum Do {
    /// Compare every file with its checksum; what differs is put aside and built again. Exit 1 if something does
    Verify {
        #[command(flatten)]
        target: Target,
    },
    /// Remove all slices and build them again from the journal
    Rebuild {
        #[command(flatten)]
        target: Target,
    },
}

/// Runs the command.
///
/// Errors: 1 for damage, 4 where journal or index cannot be opened or written, 5 where a daemon has them open and does not answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        Do::Verify { target } => {
            let found = match open(target)? {
                Some(o) => o.index()?.verify(&|| false),
                None => of(&target.ask("POST", "/api/v1/index/verify", PATIENCE)?)?,
            };
            told(&found)
        }
        Do::Rebuild { target } => match open(target)? {
            Some(o) => o.rebuild(),
            None => {
                target.ask("POST", "/api/v1/index/rebuild", PATIENCE)?;
                print("the slices are removed; the daemon builds them again\n")
            }
        },
    }
}

fn of(answer: &str) -> Result<Verified, Failure> {
    let wrong = || Failure::Unreachable("what answers is not vigild".into());
    let v: Value = serde_json::from_str(answer).map_err(|_| wrong())?;
    let names = v["damaged"].as_array().ok_or_else(wrong)?.iter().filter_map(|n| n.as_str().map(str::to_owned));
    Ok(Verified { slices: v["slices"].as_u64().unwrap_or(0) as usize, bytes: v["bytes"].as_u64().unwrap_or(0), damaged: names.collect() })
}

fn told(v: &Verified) -> Result<(), Failure> {
    print(&format!("{} slices are whole, {} bytes\n", v.slices, v.bytes))?;
    for name in &v.damaged {
        print(&format!("damaged, put aside: {}\n", safe(name)))?;
    }
    if v.damaged.is_empty() { Ok(()) } else { Err(Failure::Findings) }
}

/// What a stopped daemon has left.
struct Stopped {
    data: PathBuf,
    journal: Journal,
}

/// Opens the data directory; `None` if a daemon has it.
fn open(target: &Target) -> Result<Option<Stopped>, Failure> {
    let data = target.folder()?;
    Ok(super::journal::open(&data)?.map(|journal| Stopped { data, journal }))
}

fn failed(what: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |e| Failure::File(format!("cannot use {}: {}", safe(&what.display().to_string()), causes(&e)))
}

impl Stopped {
    fn index(&self) -> Result<Arc<Index>, Failure> {
        let root = self.data.join("index");
        let index = Index::open(&root, self.journal.seed()).map_err(failed(&root))?;
        for s in index.said() {
            eprintln!("vigild: {s}");
        }
        Ok(Arc::new(index))
    }

    fn rebuild(&self) -> Result<(), Failure> {
        let index = self.index()?;
        index.clear().map_err(failed(index.root()))?;
        let snapshots = Snapshots::open(Arc::new(Real), &self.data, self.journal.seed()).map_err(failed(&self.data))?;
        // What is in force by the journal is kept in the data directory; this is for what cannot be had there.
        let (_, current, _) = Bundle::of(&Config::default(), crate::builtin::rules(), &super::check::read);
        let with = With {
            past: Arc::new(Past::of(snapshots, Arc::new(current), &[])),
            index: index.clone(),
            reader: self.journal.reader(),
            durable: Arc::new(Durable::default()),
            metrics: Arc::new(Metrics::default()),
            options: indexing::Options::of(&config::Index::default(), 0),
        };
        indexing::catch_up(with, &mut |left| eprintln!("vigild: {left} entries left")).map_err(failed(index.root()))?;
        let docs: u64 = index.manifests().iter().map(|m| u64::from(m.docs)).sum();
        print(&format!("{} slices, {docs} records\n", index.manifests().len()))
    }
}
