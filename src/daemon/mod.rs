//! The daemon: opens everything, starts the stages and the sources, and runs until it is told to stop.

mod inputs;
mod reload;

pub use reload::{Reload, Reloaded};

use crate::api::backup::Backups;
use crate::api::search::Searches;
use crate::api::{self, App, Missing};
use crate::backup;
use crate::config::{Config, Kind};
use crate::metrics::Metrics;
use crate::parse::Format;
use crate::pipeline::bundle::{Bundle, Loaded};
use crate::pipeline::evaluate::Sources;
use crate::pipeline::spine::{self, Spine, StartError};
use crate::pipeline::{Queue, lines};
use crate::search::Bounds;
use crate::service::{self, Inherited, Progress, notify, privileges};
use crate::source::connection::Budget;
use crate::source::http::hook::Hook;
use crate::source::http::{Door, Way};
use crate::source::{Intake, OpenError, syslog};
use inputs::Inputs;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// From the order to stop, everything has to have ended after so long.
const GRACE: Duration = Duration::from_millis(4500);
/// How often the engine is told what time it is.
const TICK: Duration = Duration::from_secs(1);
/// Reloads that wait at most.
const RELOADS: usize = 8;

/// What configuration and rules say.
pub struct Configured {
    /// The configuration, the command line over it.
    pub config: Config,
    /// What the engine is made of, as text …
    pub bundle: Bundle,
    /// … and read.
    pub loaded: Arc<Loaded>,
}

/// Reads configuration and rules again; an error is what is wrong with them, drawn.
pub type Again = Box<dyn Fn() -> Result<Configured, String> + Send + Sync>;

/// Sockets that the service manager has bound, by name: `http`, or a source's.
pub type Sockets = BTreeMap<String, Vec<Inherited>>;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory is half of what it is to be.
    #[error("a restore into {} was not finished: run `vigild restore` again, with the same backup", .0.display())]
    Restoring(PathBuf),
    /// The administrator's token.
    #[error(transparent)]
    Token(#[from] api::token::TokenError),
    /// The file for alerts.
    #[error("cannot open {} for alerts", path.display())]
    Alerts {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A source, or the HTTP listener.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The user to become.
    #[error(transparent)]
    Drop(#[from] privileges::DropError),
    /// Something of the system.
    #[error("cannot start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The journal, the store or a thread.
    #[error(transparent)]
    Spine(#[from] StartError),
    /// A stage has ended without being told to.
    #[error("a stage of the daemon has failed; the log says which")]
    Stage,
}

/// Runs until SIGTERM or SIGINT. `data` is the data directory, made if need be.
pub fn run(first: Configured, data: &Path, sockets: Sockets, again: Again) -> Result<(), RunError> {
    if backup::is_unfinished(data) {
        return Err(RunError::Restoring(data.to_owned()));
    }
    let begin = |what| move |source| RunError::Start { what, source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("vigild-io").enable_all().build().map_err(begin("the runtime"))?;
    let result = runtime.block_on(daemon(first, data, sockets, Arc::from(again)));
    // A read of standard input cannot be called off.
    runtime.shutdown_background();
    result
}

/// What runs.
struct Running {
    /// What it started with: what cannot change holds as it stands there.
    started: Config,
    /// What it runs with.
    config: Config,
    spine: Spine,
    inputs: Inputs,
    queue: Queue,
    all: Sources,
    again: Arc<dyn Fn() -> Result<Configured, String> + Send + Sync>,
}

async fn daemon(
    first: Configured,
    data: &Path,
    mut sockets: Sockets,
    again: Arc<dyn Fn() -> Result<Configured, String> + Send + Sync>,
) -> Result<(), RunError> {
    let begin = |what| move |source| RunError::Start { what, source };
    let on = |kind| signal(kind).map_err(begin("listening for signals"));
    let (mut term, mut int, mut hup) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    let Configured { config, bundle, loaded } = first;
    let metrics = Arc::new(Metrics::default());
    let progress = Progress::default();
    let limits = Arc::new(config.limits.clone());

    // All that can fail comes before anything runs, and all that needs root before it is given up.
    let listen = |source| OpenError::Listen { what: "HTTP".into(), addr: config.http.to_string(), source };
    let inherited = sockets.remove("http").unwrap_or_default().into_iter().find_map(|s| if let Inherited::Tcp(s) = s { Some(s) } else { None });
    let listener = inherited.map_or_else(|| syslog::bind_tcp(config.http), tokio::net::TcpListener::from_std).map_err(listen)?;
    tracing::info!(http = %listener.local_addr().map_err(listen)?, "listening");
    for name in sockets.keys().filter(|n| !config.sources.iter().any(|s| reload::is_input(s) && s.name == **n)) {
        tracing::warn!(name, "an inherited socket has the name of no source, and is not used");
    }
    let (all, mut inputs, mut hooks, mut http) = (Sources::default(), Inputs::new(metrics.clone(), sockets), BTreeMap::new(), None);
    for s in &config.sources {
        let source = inputs::source(s, &config, &loaded, &metrics);
        all.write().unwrap_or_else(PoisonError::into_inner).push(source.clone());
        match &s.kind {
            Kind::Http => http = Some(source),
            Kind::Hook(c) => drop(hooks.insert(s.name.clone(), Hook::open(c, source)?)),
            _ => inputs.open(s, source, &limits)?,
        }
    }
    match &config.user {
        Some(user) => service::drop_to(user)?,
        None if privileges::is_root() => tracing::warn!("running as root; set `[run] user`, or `User=` in the unit"),
        None => {}
    }
    let token = api::token::open(data)?;
    let opened = spine::open(data, &config, &loaded, metrics.clone(), &progress)?;
    let to = lines::open(config.alerts.as_deref()).map_err(|source| RunError::Alerts { path: config.alerts.clone().unwrap_or_default(), source })?;

    let (stop, stopping) = watch::channel(false);
    let queue = opened.queue.clone();
    let budget = Budget::new(limits.connection_bytes, metrics.connection_bytes.clone());
    let intake = Intake { queue: queue.clone(), limits: limits.clone(), stop: stopping, known: Arc::new(opened.known.clone()), budget };
    let missing = Arc::new(Missing::of(&["engine", "sources"]));
    let (reload, mut reloads) = mpsc::channel(RELOADS);
    let mut served = JoinSet::new();
    if let Some(source) = http {
        let named = Format::names(&loaded.formats).into_iter().map(|n| (n.to_owned(), Format::named(n, &loaded.formats)));
        let app = App {
            token,
            metrics: metrics.clone(),
            missing: missing.clone(),
            store: opened.store.clone(),
            index: opened.index.clone(),
            door: Door::new(intake.clone(), metrics.clone()),
            http: Way::new(source),
            hooks,
            formats: named.chain([("auto".to_owned(), None)]).collect(),
            limits,
            sources: all.clone(),
            searches: Searches {
                reader: opened.reader.clone(),
                durable: opened.durable.clone(),
                past: opened.past.clone(),
                bounds: Bounds::from(&config.search),
                room: Arc::new(Semaphore::new(config.search.at_once)),
            },
            backtests: (&config.backtest).into(),
            backups: Backups::of(data.to_owned()),
            reload,
        };
        served.spawn(api::serve(listener, Arc::new(app), intake.clone()));
    }
    tokio::spawn(notify::feed_watchdog(progress));
    let rules = loaded.rules.rules.len();
    notify::recovering("replaying the journal", Duration::from_secs(600));
    let started = tokio::task::spawn_blocking({
        let all = all.clone();
        move || opened.start(&bundle, loaded, all, to)
    });
    let spine = tokio::select! {
        s = started => s.map_err(|_| RunError::Stage)??,
        _ = term.recv() => return Ok(()),
        _ = int.recv() => return Ok(()),
    };
    missing.found("engine");
    inputs.begin(&intake).await.map_err(begin("a source"))?;
    missing.found("sources");
    tracing::info!(rules, version = env!("CARGO_PKG_VERSION"), "ready");
    notify::ready("taking records");

    let mut running = Running { started: config.clone(), config, spine, inputs, queue, all, again };
    let signal = running.serve(&mut term, &mut int, &mut hup, &mut reloads, &intake).await?;
    tracing::info!(signal, "stopping");
    notify::stopping();
    missing.lost("the daemon stops");
    let _ = stop.send(true);
    running.stop(served).await;
    Ok(())
}

impl Running {
    /// Tells the time and reloads, until a signal says to stop: which.
    async fn serve(
        &mut self,
        term: &mut Signal,
        int: &mut Signal,
        hup: &mut Signal,
        reloads: &mut mpsc::Receiver<Reload>,
        intake: &Intake,
    ) -> Result<&'static str, RunError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = term.recv() => return Ok("SIGTERM"),
                _ = int.recv() => return Ok("SIGINT"),
                // It ends before it is told to only by a panic, which has been written already.
                _ = self.spine.ended.changed() => return Err(RunError::Stage),
                _ = tick.tick() => {
                    // A full queue delays the tick, and must not delay the signals.
                    let now = crate::clock::now();
                    if tokio::time::timeout(TICK, self.queue.tick(now)).await.is_err() {
                        tracing::debug!("the journal is busy; a tick is left out");
                    }
                }
                _ = hup.recv() => {
                    notify::reloading();
                    let done = tokio::select! {
                        r = self.reload(intake) => r,
                        _ = term.recv() => return Ok("SIGTERM"),
                        _ = int.recv() => return Ok("SIGINT"),
                    };
                    match done {
                        Ok(r) => tracing::info!("reloaded: {r}"),
                        Err(why) => tracing::error!("not reloaded\n{why}"),
                    }
                    notify::ready("taking records");
                }
                Some(asked) = reloads.recv() => {
                    let done = tokio::select! {
                        r = self.reload(intake) => r,
                        _ = term.recv() => return Ok("SIGTERM"),
                        _ = int.recv() => return Ok("SIGINT"),
                    };
                    // Whoever asked may have gone.
                    let _ = asked.send(done);
                }
            }
        }
    }

    /// Lets everything that has arrived through, then ends.
    async fn stop(mut self, mut served: JoinSet<()>) {
        let drained = tokio::time::timeout(GRACE, async {
            self.inputs.end().await;
            while served.join_next().await.is_some() {}
            self.spine.stop();
            let _ = self.spine.ended.changed().await;
        });
        let drained = drained.await;
        for s in self.all.read().unwrap_or_else(PoisonError::into_inner).iter() {
            tracing::info!(source = %s.name, records = s.metrics.records.get(), dropped = s.metrics.dropped(), "taken in all");
        }
        match drained {
            Ok(()) => tracing::info!("stopped; all that had arrived is in the journal"),
            Err(_) => tracing::error!("stopped before all that had arrived was in the journal; sources that can wait go on there at the next start"),
        }
    }
}
