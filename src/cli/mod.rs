//! The command line: one file a command, and the exit codes.

pub mod ask;
pub mod backtest;
pub mod backup;
pub mod check;
pub mod completions;
pub mod config;
pub mod connect;
pub mod demo;
pub mod r#gen;
pub mod health;
pub mod index;
pub mod init;
pub mod inputs;
pub mod journal;
pub mod load;
pub mod man;
pub mod parse;
pub mod reload;
pub mod replay;
pub mod run;
pub mod search;
pub mod sources;
pub mod stopped;
pub mod test;

pub use load::load;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Why a command ends without success.
#[derive(Debug)]
pub enum Failure {
    /// It found what it was asked to look for; told already.
    Findings,
    /// It was called wrongly.
    Usage(String),
    /// Configuration or rules are wrong.
    Wrong(String),
    /// A file or the state is in the way.
    File(String),
    /// A service cannot be reached, or an address cannot be had.
    Unreachable(String),
    /// Whoever read the output has gone.
    Closed,
}

impl Failure {
    /// A file that cannot be used.
    pub fn file(path: &Path, e: &io::Error) -> Failure {
        Failure::File(format!("cannot read {}: {e}", safe(&path.display().to_string())))
    }

    /// Why, in words; nothing where it has been told already.
    fn why(&self) -> &str {
        match self {
            Failure::Findings | Failure::Closed => "",
            Failure::Usage(s) | Failure::Wrong(s) | Failure::File(s) | Failure::Unreachable(s) => s,
        }
    }

    /// Says why, on stderr, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        let code = match self {
            Failure::Closed => 0,
            Failure::Findings => 1,
            Failure::Usage(_) => 2,
            Failure::Wrong(_) => 3,
            Failure::File(_) => 4,
            Failure::Unreachable(_) => 5,
        };
        match self.why() {
            "" => {}
            why => eprintln!("vigild: {why}"),
        }
        ExitCode::from(code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why())
    }
}

/// Text from outside without anything that a terminal acts on.
pub fn safe(s: &str) -> String {
    s.chars()
        .map(|c| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) { '\u{fffd}' } else { c })
        .collect()
}

/// Turns an error of writing to stdout into a failure: a closed pipe is a quiet end.
pub fn written(r: io::Result<()>) -> Result<(), Failure> {
    r.map_err(|e| if e.kind() == io::ErrorKind::BrokenPipe { Failure::Closed } else { Failure::File(format!("cannot write to stdout: {e}")) })
}

/// Whether to colour what goes to `to`: only on a terminal, and not against `NO_COLOR`.
#[allow(clippy::disallowed_methods)] // `NO_COLOR` is the terminal user's word, no setting of vigild's.
pub fn color(to: &impl io::IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Writes to stdout.
pub fn print(s: &str) -> Result<(), Failure> {
    written(io::stdout().lock().write_all(s.as_bytes()))
}
