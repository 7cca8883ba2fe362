//! `vigild backup` and `vigild restore`: a copy of the data directory, by the running daemon or of a stopped one, and back.

use super::ask::Target;
use super::{Failure, journal, print, safe};
use crate::backup::{self, BackupError, Ground, Manifest, Options};
use crate::clock;
use crate::diag::causes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The daemon may copy all that it has before it answers.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Copies what the daemon keeps, while it runs or where it has stopped: journal, alerts, state, rules and settings
///
/// What was acknowledged before it began is in it. The administrator's token and the configuration are not.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to: an empty folder or one to be made, on the daemon's machine
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Copy the index too, which is else built again from the journal
    #[arg(long)]
    index: bool,
    #[command(flatten)]
    target: Target,
}

/// Puts a backup in place: every file is compared with its checksum before the first is used
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory, empty or not there yet
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs `vigild backup`.
///
/// Errors: 4 where something cannot be read or written, or has no room, 5 where the daemon does not answer or is at another.
pub fn run(args: &Args) -> Result<(), Failure> {
    let to = std::path::absolute(&args.to).map_err(|e| Failure::file(&args.to, &e))?;
    let data = args.target.folder()?;
    let stopped = if args.target.url.is_some() { None } else { journal::open(&data)? };
    let (files, bytes) = match stopped {
        Some(j) => {
            let (reader, stop) = (j.reader(), AtomicBool::new(false));
            let ground = Ground { data: &data, reader: &reader, store: None, stop: &stop, now: clock::now() };
            let m = backup::make(&ground, &to, &Options { index: args.index }).map_err(failed)?;
            (m.files.len() as u64, m.bytes())
        }
        None => asked(&args.target, &to, args.index)?,
    };
    print(&format!("{files} files, {bytes} bytes in {}\n", shown(&to)))
}

fn asked(target: &Target, to: &Path, index: bool) -> Result<(u64, u64), Failure> {
    let path = to.to_str().ok_or_else(|| Failure::Usage("the path is not UTF-8".into()))?;
    let (status, body) = target.send("POST", "/api/v1/backup", &json!({ "to": path, "index": index }).to_string(), PATIENCE)?;
    let v: Value = serde_json::from_str(&body).map_err(|_| Failure::Unreachable("what answers is not vigild".into()))?;
    let detail = || v["detail"].as_str().map_or_else(|| format!("the daemon answers with status {status}"), safe);
    match status {
        200 => Ok((v["files"].as_u64().unwrap_or(0), v["bytes"].as_u64().unwrap_or(0))),
        409 | 500 | 507 => Err(Failure::File(detail())),
        _ => Err(Failure::Unreachable(detail())),
    }
}

/// Runs `vigild restore`.
///
/// Errors: 4 where the backup is not whole, the directory is not empty, or something cannot be read or written.
pub fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let m: Manifest = backup::restore(&args.from, &args.data).map_err(failed)?;
    print(&format!("{} files, {} bytes of {} in {}\n", m.files.len(), m.bytes(), safe(&m.made), shown(&args.data)))
}

fn shown(p: &Path) -> String {
    safe(&p.display().to_string())
}

fn failed(e: BackupError) -> Failure {
    Failure::File(safe(&causes(&e)))
}
