//! `vigild run`: the daemon, from its configuration to its last line.

use super::{Failure, load};
use crate::api::{self, App, Missing};
use crate::config::{self, Config, Kind, Set};
use crate::diag::{Diagnostic, Level};
use crate::metrics::Metrics;
use crate::parse::{Format, declared};
use crate::pipeline::bundle::{Bundle, Loaded};
use crate::pipeline::evaluate::Sources;
use crate::pipeline::sight::Sight;
use crate::pipeline::spine::{self, StartError};
use crate::pipeline::{Source, lines};
use crate::source::connection::Budget;
use crate::source::http::hook::Hook;
use crate::source::http::{Door, Way};
use crate::source::{self, Intake, OpenError, file, syslog};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// From the order to stop, everything has to have ended after so long.
const GRACE: Duration = Duration::from_millis(4500);
/// How often the engine is told what time it is.
const TICK: Duration = Duration::from_secs(1);

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

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("there is no directory for state: give --data, or set HOME")]
    NoData,
    #[error(transparent)]
    Token(#[from] api::token::TokenError),
    #[error("cannot open {} for alerts", path.display())]
    Alerts { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot start {what}")]
    Start { what: &'static str, source: io::Error },
    #[error(transparent)]
    Spine(#[from] StartError),
    #[error("the engine's thread has failed")]
    Engine,
}

impl From<RunError> for Failure {
    fn from(e: RunError) -> Failure {
        Failure::File(super::causes(&e))
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// Errors: 3 with every complaint where configuration or rules are wrong, 4 where a file or an address cannot be had.
pub fn run(args: &Args) -> Result<(), Failure> {
    logging();
    let (config, bundle, loaded) = configure(args)?;
    Ok(start(args, config, bundle, loaded)?)
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

/// Reads the configuration, puts the command line over it, and loads what it names, or tells all that is wrong.
fn configure(args: &Args) -> Result<(Config, Bundle, Loaded), Failure> {
    let mut files = Vec::new();
    let (mut config, mut found) = match &args.config {
        None => (Config::default(), Vec::new()),
        Some(path) => match load::read_config(Some(path), &mut files) {
            Ok(read) => read,
            Err(Failure::File(why)) => return Err(Failure::Wrong(why)),
            Err(e) => return Err(e),
        },
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
    load::tell(&found, &files)?;
    Ok((config, bundle, loaded))
}

/// A complaint about a setting, where it stands or on the command line.
fn complaint(config: &Config, at: &Set<String>, code: &'static str, message: String, help: Option<String>) -> Diagnostic {
    let file = if at.span.is_empty() { "command line".to_owned() } else { config.file.clone() };
    Diagnostic { code, level: Level::Error, message, file, span: at.span.clone(), label: String::new(), help }
}

/// The way out for a format that is not known.
fn meant(name: &str, formats: &declared::Formats) -> String {
    let known = Format::names(formats);
    match config::near(name, known.iter().copied()) {
        Some(n) => format!("did you mean `{n}`?"),
        None => format!("known: auto, {}", known.join(", ")),
    }
}

fn start(args: &Args, config: Config, bundle: Bundle, loaded: Loaded) -> Result<(), RunError> {
    let data = args.data.clone().or_else(config::data_dir).ok_or(RunError::NoData)?;
    let token = api::token::open(&data)?;
    let metrics = Arc::new(Metrics::default());
    let opened = spine::open(&data, &config, metrics.clone())?;
    let alerts = |source| RunError::Alerts { path: config.alerts.clone().unwrap_or_default(), source };
    let lines = lines::open(config.alerts.as_deref()).map_err(alerts)?;
    let begin = |what| move |source| RunError::Start { what, source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("vigild-io").enable_all().build().map_err(begin("the runtime"))?;
    let result = runtime.block_on(daemon(config, (bundle, Arc::new(loaded)), token, opened, metrics, lines));
    // A read of standard input cannot be called off.
    runtime.shutdown_background();
    result
}

async fn daemon(
    config: Config,
    (bundle, loaded): (Bundle, Arc<Loaded>),
    token: String,
    opened: spine::Opened,
    metrics: Arc<Metrics>,
    lines: Box<dyn Write + Send>,
) -> Result<(), RunError> {
    let begin = |what| move |source| RunError::Start { what, source };
    let mut term = signal(SignalKind::terminate()).map_err(begin("listening for SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(begin("listening for SIGINT"))?;
    let (stop, stopping) = watch::channel(false);
    let queue = opened.queue.clone();
    let limits = Arc::new(config.limits.clone());
    let budget = Budget::new(limits.connection_bytes, metrics.connection_bytes.clone());
    let intake = Intake { queue: queue.clone(), limits: limits.clone(), stop: stopping, known: Arc::new(opened.known.clone()), budget };
    let missing = Arc::new(Missing::of(&["engine", "sources"]));

    // All that can fail comes before anything runs.
    let listen = |source| OpenError::Listen { what: "HTTP".into(), addr: config.http.to_string(), source };
    let http_listener = syslog::bind_tcp(config.http).map_err(listen)?;
    tracing::info!(http = %http_listener.local_addr().map_err(listen)?, "listening");
    let (all, mut sources, mut watches, mut http, mut hooks) = (Sources::default(), Vec::new(), Vec::new(), None, BTreeMap::new());
    for s in &config.sources {
        let source = Arc::new(Source {
            name: s.name.clone(),
            format: s.format.as_ref().and_then(|f| Format::named(&f.value, &loaded.formats)),
            zone: s.zone.clone().unwrap_or_else(|| config.zone.clone()),
            lateness: s.lateness,
            allow: s.allow.clone(),
            silent_after: s.silent_after,
            metrics: metrics.source(&s.name),
            sight: Sight::default(),
        });
        all.write().unwrap_or_else(PoisonError::into_inner).push(source.clone());
        match &s.kind {
            Kind::Http => http = Some(source),
            Kind::Hook(c) => drop(hooks.insert(s.name.clone(), Hook::open(c, source)?)),
            Kind::File(c) => watches.push((source, c.clone())),
            _ => sources.extend(source::open(s, source, &limits)?),
        }
    }

    let mut tasks = JoinSet::new();
    if let Some(source) = http {
        let formats: BTreeMap<_, _> = Format::names(&loaded.formats)
            .into_iter()
            .map(|n| (n.to_owned(), Format::named(n, &loaded.formats)))
            .chain([("auto".to_owned(), None)])
            .collect();
        let door = Door::new(intake.clone(), metrics.clone());
        let store = opened.store.clone();
        let app = App { token, metrics: metrics.clone(), missing: missing.clone(), store, door, http: Way::new(source), hooks, formats, limits };
        tasks.spawn(api::serve(http_listener, Arc::new(app), intake.clone()));
    }
    let (rules, counted) = (loaded.rules.rules.len(), all.clone());
    let started = tokio::task::spawn_blocking(move || opened.start(&bundle, loaded, all, lines));
    let mut spine = tokio::select! {
        s = started => s.map_err(|_| RunError::Engine)??,
        _ = term.recv() => return Ok(()),
        _ = int.recv() => return Ok(()),
    };
    missing.found("engine");
    for o in sources {
        (o.begin)(intake.clone(), &mut tasks);
    }
    let (followed, mut following) = watch::channel(());
    if !watches.is_empty() {
        thread("vigild-files", &intake, move |i, h| {
            file::follow(watches, i, h);
            drop(followed);
        })
        .map_err(begin("following files"))?;
    } else {
        drop(followed);
    }
    missing.found("sources");
    tracing::info!(rules, version = env!("CARGO_PKG_VERSION"), "ready");

    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let name = loop {
        tokio::select! {
            _ = term.recv() => break "SIGTERM",
            _ = int.recv() => break "SIGINT",
            _ = spine.ended.changed() => {
                // It ends before it is told to only by a panic, which has been written already.
                return Err(RunError::Engine);
            }
            _ = tick.tick() => {
                // A full queue delays the tick, and must not delay the signals.
                let queue = queue.clone();
                let now = crate::clock::now();
                if tokio::time::timeout(TICK, queue.tick(now)).await.is_err() {
                    tracing::debug!("the journal is busy; a tick is left out");
                }
            }
        }
    };
    tracing::info!(signal = name, "stopping");
    missing.lost("the daemon stops");
    let _ = stop.send(true);
    let drained = tokio::time::timeout(GRACE, async {
        while tasks.join_next().await.is_some() {}
        let _ = following.changed().await;
        spine.stop();
        let _ = spine.ended.changed().await;
    });
    let drained = drained.await;
    for s in counted.read().unwrap_or_else(PoisonError::into_inner).iter() {
        tracing::info!(source = %s.name, records = s.metrics.records.get(), dropped = s.metrics.dropped(), "taken in all");
    }
    match drained {
        Ok(()) => tracing::info!("stopped; all that had arrived is in the journal and has been through the engine"),
        Err(_) => tracing::error!("stopped before all that had arrived was in the journal and through the engine; the next start goes on there"),
    }
    Ok(())
}

/// Starts a thread that reads with blocking calls.
fn thread(name: &str, intake: &Intake, f: impl FnOnce(&Intake, &Handle) + Send + 'static) -> io::Result<()> {
    let (intake, handle) = (intake.clone(), Handle::current());
    std::thread::Builder::new().name(name.into()).spawn(move || f(&intake, &handle)).map(drop)
}
