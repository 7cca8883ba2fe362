//! `vigild man`: the manual pages, made of the same text as `--help`.

use super::{Failure, print};
use std::path::PathBuf;

/// Prints the manual page, or writes one for each command.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Write vigild.1 and a page for each command into a folder that is there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes the pages of a command line.
///
/// Errors: 4 where a page cannot be written.
pub fn run(args: &Args, command: clap::Command) -> Result<(), Failure> {
    match &args.dir {
        Some(dir) => clap_mangen::generate_to(command, dir)
            .map_err(|e| Failure::File(format!("cannot write to {}: {e}", super::safe(&dir.display().to_string())))),
        None => {
            let mut out = Vec::new();
            clap_mangen::Man::new(command).render(&mut out).map_err(|e| Failure::File(format!("cannot draw the page: {e}")))?;
            print(&String::from_utf8_lossy(&out))
        }
    }
}
