//! The sources that run by themselves: opened, begun, ended and exchanged one by one, but for files, which are followed
//! together.

use super::Sockets;
use crate::config::{self, Config, Kind, Limits};
use crate::metrics::Metrics;
use crate::parse::Format;
use crate::pipeline::Source;
use crate::pipeline::bundle::Loaded;
use crate::service::Inherited;
use crate::source::{self, Intake, OpenError, Opened, file};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// A source of this configuration, with nothing counted yet or what has been counted under its name.
pub fn source(s: &config::Source, config: &Config, loaded: &Loaded, metrics: &Metrics) -> Arc<Source> {
    let metrics = metrics.source(&s.name);
    Arc::new(Source {
        kind: s.kind.name(),
        format: s.format.as_ref().and_then(|f| Format::named(&f.value, &loaded.formats)),
        zone: s.zone.clone().unwrap_or_else(|| config.zone.clone()),
        allow: s.allow.clone(),
        silent_after: s.silent_after,
        ..Source::new(&s.name, s.lateness, metrics)
    })
}

/// What is opened and begun of one source, or of all files.
#[derive(Default)]
struct Input {
    opened: Vec<Opened>,
    tasks: JoinSet<()>,
    stop: Option<watch::Sender<bool>>,
}

/// See the module.
pub struct Inputs {
    /// By name; that of all files is empty.
    all: BTreeMap<String, Input>,
    watches: Vec<file::Watch>,
    metrics: Arc<Metrics>,
    /// What the service manager has bound, by source: kept, so that a source that is opened again has the same.
    sockets: Sockets,
}

/// The name under which all files stand.
const FILES: &str = "";
/// The other sources wait so long for files to be looked at.
const FIRST_LOOK: Duration = Duration::from_secs(5);

impl Inputs {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>, sockets: Sockets) -> Inputs {
        Inputs { all: BTreeMap::new(), watches: Vec::new(), metrics, sockets }
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens a source; called inside the runtime.
    pub fn open(&mut self, s: &config::Source, source: Arc<Source>, limits: &Limits) -> Result<(), OpenError> {
        match &s.kind {
            Kind::File(c) => {
                self.watches.push((source, c.clone()));
                self.all.entry(FILES.to_owned()).or_default();
            }
            _ => {
                let inherited = self.sockets.get(&s.name).into_iter().flatten().map(Inherited::try_clone).collect::<io::Result<_>>();
                let no_socket = |e: io::Error| OpenError::Setting { what: s.name.clone(), why: format!("its inherited socket cannot be used: {e}") };
                let opened = source::open(s, source, limits, inherited.map_err(no_socket)?)?;
                self.all.entry(s.name.clone()).or_default().opened.extend(opened);
            }
        }
        Ok(())
    }

    /// Ends the following of files, so that [`Inputs::begin`] follows what is watched by then from where it was left.
    pub async fn pause_files(&mut self) {
        if let Some(input) = self.all.get_mut(FILES) {
            end(input).await;
        }
    }

    /// Begins all that is open and has not begun: files first, so that their backlog holds the watermark before anything else
    /// moves it.
    pub async fn begin(&mut self, intake: &Intake) -> io::Result<()> {
        for (name, input) in &mut self.all {
            if input.stop.is_some() {
                continue;
            }
            let (stop, stopping) = watch::channel(false);
            let intake = Intake { stop: stopping, ..intake.clone() };
            for o in input.opened.drain(..) {
                (o.begin)(intake.clone(), &mut input.tasks);
            }
            if name == FILES {
                let (watches, runtime) = (self.watches.clone(), Handle::current());
                let (ended, mut end) = watch::channel(());
                let (looked, first) = oneshot::channel();
                std::thread::Builder::new().name("vigild-files".into()).spawn(move || {
                    file::follow(watches, &intake, &runtime, looked);
                    drop(ended);
                })?;
                // Where looking takes longer, what is late is judged without it.
                let _ = tokio::time::timeout(FIRST_LOOK, first).await;
                input.tasks.spawn(async move { drop(end.changed().await) });
            }
            input.stop = Some(stop);
        }
        Ok(())
    }

    /// Ends a source, or all files where it is one: what has arrived is handed over.
    pub async fn close(&mut self, s: &config::Source) {
        let name = if matches!(s.kind, Kind::File(_)) {
            self.watches.retain(|w| w.0.name != s.name);
            FILES
        } else {
            &s.name
        };
        let Some(input) = self.all.get_mut(name) else { return };
        end(input).await;
        if name != FILES || self.watches.is_empty() {
            self.all.remove(name);
        }
    }

    /// Ends all.
    pub async fn end(&mut self) {
        for input in self.all.values_mut() {
            if let Some(s) = &input.stop {
                s.send_replace(true);
            }
        }
        for input in self.all.values_mut() {
            end(input).await;
        }
    }
}

async fn end(input: &mut Input) {
    if let Some(s) = input.stop.take() {
        s.send_replace(true);
    }
    while input.tasks.join_next().await.is_some() {}
}
