//! argv in, exit code out.

#![forbid(unsafe_code)]

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;
use vigild::cli::{self, Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXITS: &str = "Exit codes: 0 done, 1 findings, 2 usage, 3 configuration or rules wrong, 4 file or state trouble, \
                     5 cannot reach the daemon or a service";

/// Security event correlation: what the security tools of an estate say goes in, alerts come out.
#[derive(Parser)]
#[command(name = "vigild", version, after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(cli::run::Args),
    Demo(cli::demo::Args),
    Check(cli::check::Args),
    Test(cli::test::Args),
    Parse(cli::parse::Args),
    Replay(cli::replay::Args),
    Search(cli::search::Args),
    Backtest(cli::backtest::Args),
    Backup(cli::backup::Args),
    Restore(cli::backup::RestoreArgs),
    Journal(cli::journal::Args),
    Index(cli::index::Args),
    Gen(cli::r#gen::Args),
    Config(cli::config::Args),
    Sources(cli::sources::Args),
    Reload(cli::reload::Args),
    Init(cli::init::Args),
    Connect(cli::connect::Args),
    Health(cli::health::Args),
    Completions(cli::completions::Args),
    Man(cli::man::Args),
}

fn main() -> ExitCode {
    let run = |r: Result<(), Failure>| r.map_or_else(|f| f.report(), |()| ExitCode::SUCCESS);
    match Cli::parse().command {
        Command::Run(a) => run(cli::run::run(a)),
        Command::Demo(a) => run(cli::demo::run(&a)),
        Command::Check(a) => cli::check::run(&a),
        Command::Test(a) => run(cli::test::run(&a)),
        Command::Parse(a) => run(cli::parse::run(&a)),
        Command::Replay(a) => run(cli::replay::run(&a)),
        Command::Search(a) => run(cli::search::run(&a)),
        Command::Backtest(a) => run(cli::backtest::run(&a)),
        Command::Backup(a) => run(cli::backup::run(&a)),
        Command::Restore(a) => run(cli::backup::restore(&a)),
        Command::Journal(a) => run(cli::journal::run(&a)),
        Command::Index(a) => run(cli::index::run(&a)),
        Command::Gen(a) => run(cli::r#gen::run(&a)),
        Command::Config(a) => run(cli::config::run(&a)),
        Command::Sources(a) => run(cli::sources::run(&a)),
        Command::Reload(a) => run(cli::reload::run(&a)),
        Command::Init(a) => run(cli::init::run(&a)),
        Command::Connect(a) => run(cli::connect::run(&a)),
        Command::Health(a) => run(cli::health::run(&a)),
        Command::Completions(a) => run(cli::completions::run(&a, Cli::command())),
        Command::Man(a) => run(cli::man::run(&a, Cli::command())),
    }
}
