//! `vigild completions`: what a shell needs to complete vigild's command line.

use super::{Failure, print};
use clap_complete::Shell;

/// Prints completions for a shell, as `vigild completions bash > /etc/bash_completion.d/vigild`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    shell: Shell,
}

/// Prints the completions of a command line.
pub fn run(args: &Args, mut command: clap::Command) -> Result<(), Failure> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut command, "vigild", &mut out);
    print(&String::from_utf8_lossy(&out))
}
