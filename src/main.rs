//! argv in, exit code out.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use vigild::cli::{self, Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Security event correlation: what the security tools of an estate say goes in, alerts come out.
#[derive(Parser)]
#[command(name = "vigild", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(cli::check::Args),
    Test(cli::test::Args),
    Parse(cli::parse::Args),
    Replay(cli::replay::Args),
}

fn main() -> ExitCode {
    let run = |r: Result<(), Failure>| r.map_or_else(|f| f.report(), |()| ExitCode::SUCCESS);
    match Cli::parse().command {
        Command::Check(a) => {
            let (schema, _, _) = cli::load::formats(&mut Vec::new());
            cli::check::run(&a, &Default::default(), schema)
        }
        Command::Test(a) => run(cli::test::run(&a)),
        Command::Parse(a) => run(cli::parse::run(&a)),
        Command::Replay(a) => run(cli::replay::run(&a)),
    }
}
