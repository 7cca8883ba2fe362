//! The seam: where the shell calls the core. Parsers and engine live here, in the engine's thread.

use super::output::Lines;
use super::{Chunk, Stream};
use crate::config::Config;
use crate::diag::{Diagnostic, Level};
use crate::event::{Arena, Event, Layout, Out, Schema, Slot, Span, Timestamp, field};
use crate::metrics::Metrics;
use crate::parse::estate::Estate;
use crate::parse::{Context, Format, Native};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An event further ahead of its arrival than this is given its arrival time.
const AHEAD: Span = Span::seconds(300);

/// The number of a stream in the engine.
pub type StreamId = u32;

/// Rules and formats, loaded and checked.
pub struct Loaded {
    /// The inventory and the proxies.
    pub estate: Arc<Estate>,
    /// Names of formats that can be named, in the order of their numbers.
    declared: Vec<String>,
    /// How many rules there are.
    pub rules: usize,
}

impl Loaded {
    /// The format of a name: a folder of `parsers/`, `syslog` or `ecs`.
    pub fn format(&self, name: &str) -> Option<Format> {
        let native = |n| Some(Format::Native(n));
        match name {
            "ossec" => native(Native::Ossec),
            "falco" => native(Native::Falco),
            "suricata" => native(Native::Suricata),
            "fail2ban" => native(Native::Fail2ban),
            "modsecurity" => native(Native::Modsecurity),
            "syslog" => Some(Format::Syslog),
            "ecs" => Some(Format::Ecs),
            _ => self.declared.iter().position(|d| d == name).map(Format::Declared),
        }
    }

    /// Every name that [`Loaded::format`] knows, sorted.
    pub fn formats(&self) -> Vec<&str> {
        let mut all = vec!["ecs", "fail2ban", "falco", "modsecurity", "ossec", "suricata", "syslog"];
        all.extend(self.declared.iter().map(String::as_str));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A file that was read: its name as the user wrote it, and its text.
pub type File = (String, String);

/// Loads everything that the configuration names, with every complaint; `files` gets what complaints point into.
pub fn load(config: &Config, files: &mut Vec<File>) -> (Loaded, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let mut rules = Vec::new();
    for path in &config.rules {
        if path.value == "builtin" {
            rules.extend(crate::builtin::rules());
        } else if let Err(message) = read_rules(Path::new(&path.value), &mut rules) {
            found.push(Diagnostic {
                code: "V009",
                level: Level::Error,
                message,
                file: if path.span.is_empty() { String::new() } else { config.file.clone() },
                span: path.span.clone(),
                label: "cannot be read".into(),
                help: Some("name a rule file, a folder of them, or `builtin`".into()),
            });
        }
    }
    let declared = crate::builtin::parsers().into_iter().filter_map(|(p, _)| p.split('/').nth(1).map(str::to_owned)).collect();
    let estate = Arc::new(Estate::new(config.hosts.clone(), config.proxies.clone()));
    let loaded = Loaded { estate, declared, rules: rules.len() };
    files.extend(rules);
    for s in &config.sources {
        if let Some(f) = &s.format
            && loaded.format(&f.value).is_none()
        {
            let known = loaded.formats();
            found.push(Diagnostic {
                code: "V008",
                level: Level::Error,
                message: format!("there is no format `{}`", f.value),
                file: config.file.clone(),
                span: f.span.clone(),
                label: "not a format".into(),
                help: Some(match crate::config::near(&f.value, known.iter().copied()) {
                    Some(n) => format!("did you mean `{n}`?"),
                    None => format!("known: auto, {}", known.join(", ")),
                }),
            });
        }
    }
    (loaded, found)
}

/// Reads a rule file, or all `*.toml` of a folder and those in it, ordered by path.
pub fn read_rules(path: &Path, to: &mut Vec<File>) -> Result<(), String> {
    const DEEP: usize = 16;
    fn walk(path: &Path, deep: usize, to: &mut Vec<PathBuf>) -> std::io::Result<()> {
        let mut all: Vec<PathBuf> = std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        all.sort();
        for p in all {
            if p.is_dir() && deep > 0 {
                walk(&p, deep - 1, to)?;
            } else if p.extension().is_some_and(|e| e == "toml") {
                to.push(p);
            }
        }
        Ok(())
    }
    let mut all = Vec::new();
    let io = |p: &Path, e: std::io::Error| format!("cannot read {}: {e}", p.display());
    if path.is_dir() {
        walk(path, DEEP, &mut all).map_err(|e| io(path, e))?;
    } else {
        all.push(path.to_owned());
    }
    for p in all {
        let bytes = std::fs::read(&p).map_err(|e| io(&p, e))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", p.display()))?;
        to.push((p.display().to_string(), text));
    }
    Ok(())
}

/// What became of the records of a chunk.
#[derive(Default)]
pub struct Taken {
    /// Taken by no parser.
    pub errors: u64,
    /// Given their arrival time.
    pub ahead: u64,
    /// Too late for windows.
    pub late: u64,
    /// The greatest event time.
    pub last: Timestamp,
}

/// Parsers and engine, and the memory that they use again and again.
pub struct Brain {
    loaded: Loaded,
    layout: Layout,
    arena: Arena,
    slots: Vec<Slot>,
    streams: u32,
    seq: u64,
}

impl Brain {
    /// Of what was loaded.
    pub fn new(loaded: Loaded, config: &Config) -> Brain {
        let _ = (&config.state, config.provisional);
        let layout = Layout::full(&Schema::default());
        let slots = vec![Slot::Missing; layout.len()];
        Brain { loaded, layout, arena: Arena::default(), slots, streams: 0, seq: 0 }
    }

    /// Opens a stream.
    pub fn open(&mut self, stream: &Stream) -> StreamId {
        let _ = (&stream.name, stream.source.lateness);
        self.streams += 1;
        self.streams
    }

    /// Takes the records of a chunk in their order.
    pub fn take(&mut self, chunk: &Chunk, id: StreamId, lines: &mut Lines, metrics: &Metrics) -> Taken {
        let mut taken = Taken { last: Timestamp::MIN, ..Taken::default() };
        let source = &chunk.stream.source;
        let context = Context { zone: &source.zone, near: chunk.near, named: chunk.format.is_some(), estate: &self.loaded.estate };
        for &r in &chunk.batch.records {
            let record = chunk.batch.record(r);
            self.seq += 1;
            self.arena.clear();
            let mut out = Out::new(&chunk.batch.bytes, &mut self.arena, &mut self.slots, &self.layout, None);
            let _ = (&context, record, id);
            taken.errors += !record.starts_with(b"{") as u64;
            let found = if let crate::event::Value::Time(t) = out.get(field::TIMESTAMP) { Some(t) } else { None };
            let ts = match found {
                Some(t) if t <= chunk.received.plus(AHEAD) => t,
                other => {
                    taken.ahead += other.is_some() as u64;
                    out.time(field::TIMESTAMP, chunk.received);
                    chunk.received
                }
            };
            if !out.has(field::EVENT_INGESTED) {
                out.time(field::EVENT_INGESTED, chunk.received);
            }
            let event = Event::new(&chunk.batch.bytes, &self.arena, &self.slots, &self.layout);
            let _ = event;
            taken.last = taken.last.max(ts);
        }
        self.drain(lines, metrics);
        taken
    }

    /// Holds the watermark for a stream with a backlog, or no longer.
    pub fn behind(&mut self, id: StreamId, yes: bool, lines: &mut Lines, metrics: &Metrics) {
        let _ = (id, yes);
        self.drain(lines, metrics);
    }

    /// Ends a stream.
    pub fn close(&mut self, id: StreamId, lines: &mut Lines, metrics: &Metrics) {
        let _ = id;
        self.drain(lines, metrics);
    }

    /// Tells the engine what time it is.
    pub fn tick(&mut self, now: Timestamp, lines: &mut Lines, metrics: &Metrics) {
        let _ = now;
        self.drain(lines, metrics);
    }

    /// Groups given up so far, by rule.
    pub fn evicted(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    /// Writes what the engine put out.
    fn drain(&mut self, _lines: &mut Lines, _metrics: &Metrics) {}
}
