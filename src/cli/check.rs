//! Stub until the command is joined.
#[derive(clap::Args)]
pub struct Args {}
pub fn run(_args: Args) -> super::Exit {
    eprintln!("not in this build");
    super::Exit::Usage
}
