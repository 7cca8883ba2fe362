//! `vigild run`: the daemon, from its configuration to its last line.

use super::{Failure, load};
use crate::config::{self, Config, Kind, Set};
use crate::daemon::{self, Configured};
use crate::diag::{Diagnostic, Level};
use crate::parse::{Format, declared};
use crate::pipeline::bundle::Bundle;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What stands on the command line; it overrides the configuration.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where state is kept [default: $STATE_DIRECTORY, else $XDG_STATE_HOME/vigild]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where HTTP listens [default: 127.0.0.1:8514]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where syslog listens, UDP and TCP [default: 127.0.0.1:5514]
    #[arg(long, value_name = "ADDR")]
    syslog: Option<SocketAddr>,
    /// Rule files and folders in place of the configured ones; `builtin` names those in the binary
    #[arg(long, value_name = "PATH", num_args = 1..)]
    rules: Vec<String>,
    /// Append alerts to a file in place of standard output
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Read records from standard input too, of a format or recognised
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "auto")]
    stdin: Option<String>,
}

impl Args {
    /// Of a configuration and of rules in place of those that it names, if there are any.
    pub(super) fn of(config: PathBuf, rules: &[PathBuf]) -> Args {
        Args { config: Some(config), rules: rules.iter().map(|p| p.display().to_string()).collect(), ..Args::default() }
    }
}

impl From<daemon::RunError> for Failure {
    fn from(e: daemon::RunError) -> Failure {
        Failure::File(crate::diag::causes(&e))
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// Errors: 3 with every complaint where configuration or rules are wrong, 4 where a file or an address cannot be had.
pub fn run(args: Args) -> Result<(), Failure> {
    logging();
    // Before any thread: the environment says which sockets are there.
    let sockets = crate::service::inherited().map_err(|e| Failure::File(crate::diag::causes(&e)))?;
    let first = tell(configure(&args).map_err(|f| if let Failure::File(why) = f { Failure::Wrong(why) } else { f })?)?;
    let data = args
        .data
        .clone()
        .or_else(config::data_dir)
        .ok_or_else(|| Failure::File("there is no directory for state: give --data, or set HOME".into()))?;
    let again = move || -> Result<Configured, String> {
        let read = configure(&args).map_err(|f| f.to_string())?;
        match load::errors(&read.found) {
            0 => Ok(read.configured),
            _ => Err(load::drawn(&read.found, &read.files, false)),
        }
    };
    Ok(daemon::run(first, &data, sockets, Box::new(again))?)
}

/// What configuration and rules say, and what is wrong with them.
pub(super) struct Read {
    /// What was read.
    pub configured: Configured,
    /// What is wrong with it.
    pub found: Vec<Diagnostic>,
    /// All files by name, with their text.
    pub files: Vec<(String, String)>,
}

/// Draws what is wrong on stderr; errors end it.
fn tell(read: Read) -> Result<Configured, Failure> {
    load::tell(&read.found, &read.files)?;
    Ok(read.configured)
}

/// Logs go to stderr; `VIGILD_LOG` chooses what, as `info` or `vigild=debug`.
fn logging() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .with_env_var("VIGILD_LOG")
        .from_env_lossy();
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // A second call in one process, as in tests, keeps the first.
    let _ = to.try_init();
}

/// Reads the configuration, puts the command line over it, and loads what it names.
pub(super) fn configure(args: &Args) -> Result<Read, Failure> {
    let mut files = Vec::new();
    let (mut config, mut found) = match &args.config {
        None => (Config::default(), Vec::new()),
        Some(path) => load::read_config(Some(path), &mut files)?,
    };
    let public = |what: &str, addr: SocketAddr, found: &mut Vec<Diagnostic>| {
        if config::is_public(addr) {
            found.push(Diagnostic {
                code: "V006",
                level: Level::Error,
                message: format!("{what} on {addr} can be reached from other machines, and what comes there is neither encrypted nor proved"),
                file: String::from("command line"),
                span: 0..0,
                label: String::new(),
                help: Some("listen on 127.0.0.1, or set `listen` and `insecure = true` in the configuration".into()),
            });
        }
    };
    if let Some(addr) = args.http {
        public("--http", addr, &mut found);
        config.http = addr;
    }
    if let Some(addr) = args.syslog {
        public("--syslog", addr, &mut found);
        let first = config.sources.iter_mut().find_map(|s| match &mut s.kind {
            Kind::Syslog(c) if c.has_address() => Some(&mut c.listen),
            _ => None,
        });
        match first {
            Some(listen) => *listen = addr,
            None => config.sources.push(config::Source::syslog(addr)),
        }
    }
    if let Some(format) = &args.stdin {
        let format = Some(format.clone()).filter(|f| f != "auto");
        match config.sources.iter_mut().find(|s| s.kind == Kind::Stdin) {
            Some(s) => s.format = format.map(Set::given),
            None => config.sources.push(config::Source::stdin(format)),
        }
    }
    if !args.rules.is_empty() {
        config.rules = args.rules.iter().cloned().map(Set::given).collect();
    }
    if let Some(file) = &args.alerts {
        config.alerts = Some(file.clone());
    }
    let mut texts = Vec::new();
    for path in &config.rules {
        if path.value == "builtin" {
            texts.extend(crate::builtin::rules());
            continue;
        }
        match super::check::files(&[PathBuf::from(&path.value)]) {
            Ok(read) => texts.extend(read),
            Err((p, e)) => found.push(complaint(&config, path, "V009", format!("cannot read the rules in {}: {e}", p.display()), None)),
        }
    }
    let (bundle, loaded, more) = Bundle::of(&config, texts, &super::check::read);
    found.extend(more);
    files.extend(bundle.texts().cloned());
    for f in config.sources.iter().filter_map(|s| s.format.as_ref()) {
        if Format::named(&f.value, &loaded.formats).is_none() {
            let help = meant(&f.value, &loaded.formats);
            found.push(complaint(&config, f, "V008", format!("there is no format `{}`", f.value), Some(help)));
        }
    }
    Ok(Read { configured: Configured { config, bundle, loaded: Arc::new(loaded) }, found, files })
}

/// A complaint about a setting, where it stands or on the command line.
fn complaint(config: &Config, at: &Set<String>, code: &'static str, message: String, help: Option<String>) -> Diagnostic {
    let (file, span) = if at.span.is_empty() { ("command line", 0..0) } else { config.files.place(&at.span) };
    Diagnostic { code, level: Level::Error, message, file: file.to_owned(), span, label: String::new(), help }
}

/// The way out for a format that is not known.
fn meant(name: &str, formats: &declared::Formats) -> String {
    let known = Format::names(formats);
    match config::near(name, known.iter().copied()) {
        Some(n) => format!("did you mean `{n}`?"),
        None => format!("known: auto, {}", known.join(", ")),
    }
}
