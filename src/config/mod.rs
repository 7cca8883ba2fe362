//! `vigild.toml`: what the operator wants, read with a complaint for everything that is wrong in it.
//!
//! In: the text of the file and of its drop-ins. Out: a [`Config`] in which every setting has a value, and all complaints at once. What a
//! setting names (a format, a rule file) is looked up by those who own it; they complain with the span kept here.

mod address;
mod backtest;
mod data_dir;
pub mod files;
mod host;
mod index;
mod journal;
mod limits;
mod near;
mod reader;
mod search;
pub mod secret;
mod set;
pub mod show;
pub mod source;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod units;

pub use address::{HTTP, SYSLOG, is_public};
pub use backtest::Backtest;
pub use data_dir::data_dir;
pub use files::{Files, Given};
pub use index::Index;
pub use journal::Journal;
pub use limits::Limits;
pub use near::near;
pub use search::Search;
pub use set::Set;
pub use source::{Kind, Source};
pub use state::State;
pub use store::Store;
pub use units::bytes;

use crate::diag::Diagnostic;
use crate::parse::estate::Host;
use address::net;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use reader::{Reader, Table, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files it comes from, as the user named them; none without one.
    pub files: Files,
    /// What they name, by its path: `limits.idle`, `source.0.tls.key`.
    pub given: BTreeMap<String, Given>,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// The inventory.
    pub hosts: Vec<Host>,
    /// `[network] trusted_proxies`.
    pub proxies: Vec<IpNet>,
    /// Rule files and folders; `builtin` names those in the binary.
    pub rules: Vec<Set<String>>,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Where records come from.
    pub sources: Vec<Source>,
    /// Bounds of what comes in.
    pub limits: Limits,
    /// Bounds of the engine.
    pub state: State,
    /// What is kept of what came in.
    pub journal: Journal,
    /// What is indexed of it.
    pub index: Index,
    /// What is kept of alerts.
    pub store: Store,
    /// Bounds of searches.
    pub search: Search,
    /// Bounds of backtests.
    pub backtest: Backtest,
    /// Where alerts go; `None` is stdout.
    pub alerts: Option<PathBuf>,
    /// Whether alerts that may still change are written before they are final.
    pub provisional: bool,
    /// The user to become when started as root, once all sockets are bound.
    pub user: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            files: Files::default(),
            given: BTreeMap::new(),
            zone: TimeZone::UTC,
            hosts: Vec::new(),
            proxies: Vec::new(),
            rules: vec![Set::given("builtin".into())],
            http: HTTP,
            sources: vec![Source::syslog(SYSLOG), Source::http()],
            limits: Limits::default(),
            state: State::default(),
            journal: Journal::default(),
            index: Index::default(),
            store: Store::default(),
            search: Search::default(),
            backtest: Backtest::default(),
            alerts: None,
            provisional: true,
            user: None,
        }
    }
}

/// What is wrong with a value whatever stands in the other files; the rest is judged when all are put together.
const LOCAL: [&str; 4] = ["V002", "V003", "V005", "V007"];

/// Reads the text of one file alone, see [`read_all`].
pub fn read(file: &str, text: &str) -> (Config, Vec<Diagnostic>) {
    read_all(&[(file.to_owned(), text.to_owned())])
}

/// Reads the text of `vigild.toml` and of its drop-ins, by name, in their order. The configuration is whole even where there
/// are complaints, for those who check on.
pub fn read_all(texts: &[(String, String)]) -> (Config, Vec<Diagnostic>) {
    let files = Files::of(texts);
    let (tables, wrong) = files::parse(texts, &files);
    let mut r = Reader { found: Vec::new() };
    for (span, message) in wrong {
        r.say("V001", span, message, "", None);
    }
    if tables.len() > 1 {
        let mut alone = Reader { found: Vec::new() };
        for t in &tables {
            alone.config(t);
        }
        r.found.extend(alone.found.into_iter().filter(|d| LOCAL.contains(&d.code)));
    }
    let root = files::merge(tables);
    let mut config = r.config(&root);
    config.given = files::given(&root, &files, texts);
    r.found.sort_by_key(|d| d.span.start);
    let mut said = BTreeSet::new();
    r.found.retain(|d| said.insert((d.span.start, d.span.end, d.code, d.message.clone())));
    for d in &mut r.found {
        let (file, span) = files.place(&d.span);
        (d.file, d.span) = (file.to_owned(), span);
    }
    config.files = files;
    (config, r.found)
}

impl Reader {
    fn config(&mut self, root: &Table<'_>) -> Config {
        let mut c = Config::default();
        self.keys(
            root,
            "the configuration",
            &[
                "zone", "rules", "host", "network", "http", "source", "limits", "state", "journal", "index", "store", "search", "backtest", "alerts",
                "run",
            ],
        );
        c.zone = self.zone(root).unwrap_or(TimeZone::UTC);
        if let Some(rules) = self.list(root, "rules") {
            c.rules = rules.into_iter().map(|s| Set { value: s.value.to_owned(), span: s.span }).collect();
        }
        for h in self.tables(root, "host") {
            if let Some(h) = self.host(&c.hosts, &h) {
                c.hosts.push(h);
            }
        }
        if let Some(t) = self.table(root, "network") {
            self.keys(t, "`[network]`", &["trusted_proxies"]);
            c.proxies = self.read_list(t, "trusted_proxies", "addresses or networks like \"10.0.0.0/8\"", net);
        }
        if let Some(t) = self.table(root, "http") {
            self.keys(t, "`[http]`", &["listen", "insecure"]);
            self.listen(t, &mut c.http);
        }
        if let Some(t) = self.table(root, "limits") {
            self.limits(t, &mut c.limits);
        }
        if let Some(t) = self.table(root, "state") {
            self.state(t, &mut c.state);
        }
        if let Some(t) = self.table(root, "run") {
            self.keys(t, "`[run]`", &["user"]);
            c.user = self.str(t, "user").map(|s| s.value.to_owned());
        }
        if let Some(t) = self.table(root, "journal") {
            self.journal(t, &mut c.journal);
        }
        if let Some(t) = self.table(root, "index") {
            self.index(t, &mut c.index);
        }
        if let Some(t) = self.table(root, "store") {
            self.store(t, &mut c.store);
        }
        if let Some(t) = self.table(root, "search") {
            self.search(t, &mut c.search);
        }
        if let Some(t) = self.table(root, "backtest") {
            self.backtest(t, &mut c.backtest);
        }
        if let Some(t) = self.table(root, "alerts") {
            self.keys(t, "`[alerts]`", &["file", "provisional"]);
            c.alerts = self.str(t, "file").map(|s| PathBuf::from(s.value));
            c.provisional = self.bool(t, "provisional").unwrap_or(true);
        }
        let named = self.tables(root, "source");
        if !named.is_empty() {
            c.sources.clear();
        }
        for t in named {
            if let Some(s) = self.source(&c.sources, &t) {
                c.sources.push(s);
            }
        }
        // HTTP always takes records: the listener is there for `/metrics` in any case.
        if !c.sources.iter().any(|s| matches!(s.kind, Kind::Http)) {
            c.sources.push(Source::http());
        }
        c
    }
}
