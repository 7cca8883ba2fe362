//! The command line: one file a command, and the exit codes.

pub mod check;
pub mod demo;
pub mod parse;
pub mod replay;
pub mod run;
pub mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it should.
    Done = 0,
    /// A test failed, or there is something to complain of.
    Findings = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration or the rules are wrong.
    Config = 3,
    /// A file or the state cannot be read or written.
    State = 4,
    /// The daemon or a service cannot be reached.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(e: Exit) -> ExitCode {
        ExitCode::from(e as u8)
    }
}

const EXITS: &str = "Exit codes: 0 done, 1 findings, 2 usage, 3 configuration or rules wrong, 4 file or state trouble, \
                     5 cannot reach the daemon or a service";

#[derive(Parser)]
#[command(name = "vigild", version, about = "Security event correlation: many tools in, one kind of event, alerts out", after_help = EXITS)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon; without configuration it listens on loopback with the built-in rules
    Run(run::Args),
    /// Play an attack on the night of a release, and show what is found
    Demo(demo::Args),
    /// Check configuration, rules and formats: every complaint at once
    Check(check::Args),
    /// Run the tests in rules and the samples of formats
    Test(test::Args),
    /// Write one ECS JSON event a line
    Parse(parse::Args),
    /// Write one alert a line of what the rules find in files
    Replay(replay::Args),
}

/// Runs the command of the process's arguments. A wrong command line ends the process with 2.
pub fn main() -> ExitCode {
    let exit: ExitCode = match Cli::parse().command {
        Command::Run(a) => run::run(a).into(),
        Command::Demo(a) => demo::run(a).into(),
        Command::Check(a) => check::run(a).into(),
        Command::Test(a) => test::run(a).into(),
        Command::Parse(a) => parse::run(a).into(),
        Command::Replay(a) => replay::run(a).into(),
    };
    exit
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
