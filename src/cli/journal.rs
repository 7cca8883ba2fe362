//! `vigild journal`: what a stopped daemon's journal holds.

use super::{Failure, written};
use crate::clock;
use crate::config;
use crate::disk::Real;
use crate::journal::{Entry, Journal, JournalError, Mark, Reader, What};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The journal of a stopped daemon: its entries, or whether all of them can be read
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Do,
}

#[derive(clap::Subcommand, Debug)]
enum Do {
    /// Write entries as JSON lines, records as they came
    Dump {
        #[command(flatten)]
        at: At,
        /// The first entry
        #[arg(long, value_name = "LSN", default_value_t = 1)]
        from: u64,
    },
    /// Read all and tell what is damaged; exit 1 if something is
    Verify {
        #[command(flatten)]
        at: At,
    },
}

#[derive(clap::Args, Debug)]
struct At {
    /// The data directory [default: $STATE_DIRECTORY, else $XDG_STATE_HOME/vigild]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command.
///
/// Errors: 1 for damage, 4 where the journal cannot be opened or a daemon has it open.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        Do::Dump { at, from } => dump(&at.open()?.reader(), *from),
        Do::Verify { at } => verify(&at.open()?.reader()),
    }
}

impl At {
    fn open(&self) -> Result<Journal, Failure> {
        let data = self.data.clone().or_else(config::data_dir);
        let data = data.ok_or_else(|| Failure::Usage("there is no directory for state: give --data, or set HOME".into()))?;
        match open(&data)? {
            Some(journal) => Ok(journal),
            None => Err(Failure::File(format!("the journal in {} is in use by another process", super::safe(&data.display().to_string())))),
        }
    }
}

/// Opens the journal in a data directory; `None` where a daemon has it open.
pub fn open(data: &Path) -> Result<Option<Journal>, Failure> {
    let dir = data.join("journal");
    if !dir.is_dir() {
        return Err(Failure::File(format!("there is no journal in {}", super::safe(&data.display().to_string()))));
    }
    let defaults = config::Config::default();
    let options = defaults.journal.options(&defaults.limits);
    let (journal, opened) = match Journal::open(Arc::new(Real), &dir, options, || 0) {
        Ok(opened) => opened,
        Err(JournalError::InUse(_)) => return Ok(None),
        Err(e) => return Err(Failure::File(crate::diag::causes(&e))),
    };
    for r in &opened.repairs {
        eprintln!("vigild: repaired: {r}");
    }
    Ok(Some(journal))
}

fn dump(reader: &Reader, from: u64) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut damaged = 0;
    for entry in reader.entries(from) {
        let line = match entry {
            Ok(e) => shown(&e),
            Err(d) => {
                damaged += 1;
                json!({ "damage": d.to_string() })
            }
        };
        written(writeln!(out, "{line}"))?;
    }
    written(out.flush())?;
    if damaged > 0 { Err(Failure::Findings) } else { Ok(()) }
}

fn verify(reader: &Reader) -> Result<(), Failure> {
    let begin = clock::monotonic();
    let (mut entries, mut records, mut damaged) = (0u64, 0u64, 0u64);
    for entry in reader.entries(1) {
        match entry {
            Ok(e) => {
                entries += 1;
                if let What::Records(r) = &e.what {
                    records += r.batch.records.len() as u64;
                }
            }
            Err(d) => {
                damaged += 1;
                super::print(&format!("damaged: {d}\n"))?;
            }
        }
    }
    let size = reader.size();
    let seconds = begin.elapsed().as_secs_f64();
    super::print(&format!(
        "{entries} entries, {records} records, {} bytes in {} segments, read in {seconds:.1} s; {damaged} damaged\n",
        size.bytes, size.segments
    ))?;
    if damaged > 0 { Err(Failure::Findings) } else { Ok(()) }
}

fn shown(e: &Entry) -> Value {
    let mut v = match &e.what {
        What::Records(r) => json!({
            "kind": "records",
            "source": &*r.source,
            "stream": &*r.stream,
            "format": r.format.as_deref(),
            "received": r.received.to_string(),
            "near": r.near.to_string(),
            "mark": r.mark.as_ref().map(mark),
            "records": r.batch.records.iter().map(|&x| String::from_utf8_lossy(r.batch.record(x))).collect::<Vec<_>>(),
        }),
        What::Tick(t) => json!({ "kind": "tick", "at": t.to_string() }),
        What::Behind { source, stream, yes } => json!({ "kind": "behind", "source": &**source, "stream": &**stream, "yes": yes }),
        What::Closed { source, stream } => json!({ "kind": "closed", "source": &**source, "stream": &**stream }),
        What::Load { hash, rebuild } => json!({ "kind": "load", "bundle": crate::alert::hex(hash), "rebuild": rebuild }),
        What::Gap { from, to } => json!({ "kind": "gap", "from": from.to_string(), "to": to.to_string() }),
    };
    v["lsn"] = e.lsn.into();
    v["seq"] = e.seq.into();
    v
}

fn mark(m: &Mark) -> Value {
    serde_json::to_value(m).unwrap_or_default()
}
