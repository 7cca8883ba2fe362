//! `vigild.toml`: what the operator wants, read with a complaint for everything that is wrong in it.
//!
//! In: the text of the file and of its drop-ins. Out: a [`Config`] in which every setting has a value, and all complaints at once. What a
//! setting names (a format, a rule file) is looked up by those who own it; they complain with the span kept here.

pub mod files;
pub mod secret;
pub mod show;
pub mod source;

pub use files::{Files, Given};
pub use source::{Kind, Source};

use crate::diag::{Diagnostic, Level};
use crate::event::Span;
use crate::parse::estate::Host;
use crate::{journal, store};
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A setting and where it stands (`0..0` for one from the command line or a default). It is the same wherever it stands.
#[derive(Clone, Debug)]
pub struct Set<T> {
    /// The setting.
    pub value: T,
    /// Its byte range in the space of all files, see [`Files::place`].
    pub span: Range<usize>,
}

impl<T: PartialEq> PartialEq for Set<T> {
    fn eq(&self, other: &Set<T>) -> bool {
        self.value == other.value
    }
}

impl<T> Set<T> {
    /// A setting that no file names.
    pub fn given(value: T) -> Set<T> {
        Set { value, span: 0..0 }
    }
}

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

/// Bounds of what comes in; each has a metric that shows when it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// A longer record is cut.
    pub record_bytes: usize,
    /// Records that wait in memory, all sources together: for the journal, or for the engine.
    pub queue_bytes: usize,
    /// The journal may be so far ahead of the engine.
    pub backlog_bytes: usize,
    /// The engine's state is saved once entries have taken so long to evaluate, which a restart would take again.
    pub replay: Duration,
    /// One HTTP body, before and after decompression.
    pub body_bytes: usize,
    /// All HTTP bodies in flight.
    pub bodies_bytes: usize,
    /// Idempotency keys that are remembered.
    pub idempotency_keys: usize,
    /// Open connections of one listener.
    pub connections: usize,
    /// Those of them that come from one address, or from one /64 of IPv6.
    pub connections_per_sender: usize,
    /// What connections have begun and not finished, the records of all together.
    pub connection_bytes: usize,
    /// Open HTTP connections.
    pub http_connections: usize,
    /// A connection that completes no record for so long is closed.
    pub idle: Duration,
    /// A connection has so long for its TLS handshake, and so long to open a session of RELP.
    pub handshake_timeout: Duration,
    /// An HTTP client has so long for a request's head, the first included.
    pub header_timeout: Duration,
    /// An HTTP client has so long for a request's body.
    pub body_timeout: Duration,
    /// Receive buffer asked of the kernel for a UDP socket.
    pub udp_buffer_bytes: usize,
    /// Files that one source follows.
    pub files: usize,
    /// Entries of directories that one source looks at when it looks for files.
    pub directory_entries: usize,
    /// Content of one compressed file.
    pub unpacked_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            record_bytes: 1 << 20,
            queue_bytes: 64 << 20,
            backlog_bytes: 256 << 20,
            replay: Duration::from_secs(3),
            body_bytes: 16 << 20,
            bodies_bytes: 64 << 20,
            idempotency_keys: 100_000,
            connections: 256,
            connections_per_sender: 64,
            connection_bytes: 32 << 20,
            http_connections: 256,
            idle: Duration::from_secs(3600),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            udp_buffer_bytes: 8 << 20,
            files: 1000,
            directory_entries: 100_000,
            unpacked_bytes: 16 << 30,
        }
    }
}

/// Bounds of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Memory of all groups.
    pub budget: usize,
    /// Groups of one rule that does not say otherwise.
    pub keys_per_rule: usize,
    /// Matches that wait for the watermark, all rules together.
    pub waiting: usize,
}

/// What is kept of what came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Bytes on disk at most.
    pub max_bytes: usize,
    /// Nothing is kept longer; none leaves it to the size.
    pub max_age: Option<Duration>,
    /// Nothing is taken in while less is free on the file system; none is the lesser of 2 GiB and 5 % of it.
    pub min_free: Option<usize>,
    /// A segment is sealed at this size.
    pub segment_bytes: usize,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { max_bytes: 4 << 30, max_age: None, min_free: None, segment_bytes: 64 << 20 }
    }
}

/// What is indexed of what came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Whether anything is.
    pub enabled: bool,
    /// Bytes on disk at most.
    pub max_bytes: usize,
}

impl Default for Index {
    fn default() -> Index {
        Index { enabled: true, max_bytes: 3 << 30 }
    }
}

impl Journal {
    /// What the journal is opened with, but for the free space that depends on the file system.
    pub fn options(&self, limits: &Limits) -> journal::Options {
        journal::Options {
            segment_bytes: self.segment_bytes as u64,
            max_bytes: self.max_bytes as u64,
            max_age: self.max_age.map(span),
            min_free: 0,
            floor_bytes: (self.max_bytes as u64 / 16).max(2 * self.segment_bytes as u64),
            keys: limits.idempotency_keys,
            // Several sources, and what rotation has put aside.
            files: limits.files.saturating_mul(20).max(20_000),
            ..journal::Options::default()
        }
    }
}

impl Store {
    /// What the store is opened with.
    pub fn options(&self) -> store::Options {
        store::Options {
            max_alerts: self.max_alerts,
            max_age: span(self.max_age),
            reserve: self.reserve as u64,
            sinks: vec![crate::pipeline::lines::SINK.to_owned()],
            ..store::Options::default()
        }
    }
}

fn span(d: Duration) -> Span {
    Span(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// What is kept of alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Alerts at most.
    pub max_alerts: usize,
    /// How long they are kept.
    pub max_age: Duration,
    /// Disk space set aside so that alerts can be written when nothing else can.
    pub reserve: usize,
}

impl Default for Store {
    fn default() -> Store {
        Store { max_alerts: 1_000_000, max_age: Duration::from_secs(400 * 86_400), reserve: 16 << 20 }
    }
}

/// What one search may take, and how many may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// How long it takes.
    pub time: Duration,
    /// Memory that its answer is made in.
    pub memory: usize,
    /// Records of the journal that it reads beside the index.
    pub records: usize,
    /// Searches at once.
    pub at_once: usize,
}

impl Default for Search {
    fn default() -> Search {
        Search { time: Duration::from_secs(10), memory: 64 << 20, records: 2_000_000, at_once: 2 }
    }
}

/// What one backtest may take, and how many may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backtest {
    /// How long it takes.
    pub time: Duration,
    /// Records that may match, held at once.
    pub candidates: usize,
    /// Alerts that it makes.
    pub alerts: usize,
    /// Rules, and the files that they name, in one request.
    pub body_bytes: usize,
    /// Backtests at once.
    pub at_once: usize,
}

impl Default for Backtest {
    fn default() -> Backtest {
        Backtest { time: Duration::from_secs(600), candidates: 512 << 10, alerts: 100_000, body_bytes: 8 << 20, at_once: 1 }
    }
}

/// The default port of syslog, on loopback.
pub const SYSLOG: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5514);
/// The default address of HTTP.
pub const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8514);

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
            state: State { budget: 128 << 20, keys_per_rule: 100_000, waiting: 200_000 },
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

/// Where state is kept: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/vigild`, else `~/.local/state/vigild`.
#[allow(clippy::disallowed_methods)]
pub fn data_dir() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // systemd gives several directories separated by colons; the first is ours.
    let state = var("STATE_DIRECTORY").map(|v| PathBuf::from(v.to_string_lossy().split(':').next().unwrap_or_default()));
    state.or_else(|| var("XDG_STATE_HOME").map(|v| v.join("vigild"))).or_else(|| var("HOME").map(|v| v.join(".local/state/vigild")))
}

/// Whether an address can be reached from other machines.
pub fn is_public(addr: SocketAddr) -> bool {
    !addr.ip().to_canonical().is_loopback()
}

/// Reads a number of bytes: `65536`, `64KiB`, `16MiB`, `1GiB`.
pub fn bytes(s: &str) -> Option<usize> {
    let n = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = match s[n..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    s[..n].parse::<usize>().ok()?.checked_mul(unit)
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

/// The name of a list that is nearest to one that is not in it, if any is near.
pub fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let (best, d) = known.into_iter().map(|k| (k, distance(name, k))).min_by_key(|&(_, d)| d)?;
    (d <= 1 + name.chars().count() / 4).then_some(best)
}

/// How many letters must be inserted, removed or changed, or neighbours swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = (a[i - 1] != b[j - 1]) as usize;
                let mut d = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    d = d.min(rows[i - 2][j - 2] + 1);
                }
                d
            };
        }
    }
    rows[a.len()][b.len()]
}

type Table<'i> = DeTable<'i>;
type Value<'i> = Spanned<DeValue<'i>>;

struct Reader {
    /// What is wrong, with spans in the space of all files and no file's name yet.
    found: Vec<Diagnostic>,
}

impl Reader {
    fn say(&mut self, code: &'static str, span: Range<usize>, message: String, label: &str, help: Option<String>) {
        self.found.push(Diagnostic { code, level: Level::Error, message, file: String::new(), span, label: label.to_owned(), help });
    }

    /// Complains of every key that is not one of these.
    fn keys(&mut self, table: &Table<'_>, place: &str, known: &[&'static str]) {
        for (k, _) in table.iter() {
            let name: &str = k.get_ref();
            if !known.contains(&name) {
                let help = match near(name, known.iter().copied()) {
                    Some(n) => format!("did you mean `{n}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.say("V002", k.span(), format!("{place} has no key `{name}`"), "not known here", Some(help));
            }
        }
    }

    fn wrong(&mut self, v: &Value<'_>, key: &str, wanted: &str) {
        let is = v.get_ref().type_str();
        self.say("V003", v.span(), format!("`{key}` must be {wanted}"), &format!("this is of type {is}"), None);
    }

    fn str<'a>(&mut self, t: &'a Table<'_>, key: &str) -> Option<Set<&'a str>> {
        let v = t.get(key)?;
        match v.get_ref().as_str() {
            Some(s) => Some(Set { value: s, span: v.span() }),
            None => {
                self.wrong(v, key, "a string");
                None
            }
        }
    }

    fn bool(&mut self, t: &Table<'_>, key: &str) -> Option<bool> {
        let v = t.get(key)?;
        let b = v.get_ref().as_bool();
        if b.is_none() {
            self.wrong(v, key, "true or false");
        }
        b
    }

    /// The strings of an array; one string is an array of one.
    fn list<'a>(&mut self, t: &'a Table<'_>, key: &str) -> Option<Vec<Set<&'a str>>> {
        let v = t.get(key)?;
        if let Some(s) = v.get_ref().as_str() {
            return Some(vec![Set { value: s, span: v.span() }]);
        }
        let Some(array) = v.get_ref().as_array() else {
            self.wrong(v, key, "an array of strings");
            return None;
        };
        let mut all = Vec::new();
        for e in array.iter() {
            match e.get_ref().as_str() {
                Some(s) => all.push(Set { value: s, span: e.span() }),
                None => self.wrong(e, key, "an array of strings"),
            }
        }
        Some(all)
    }

    /// A string that something reads, or the complaint that it cannot.
    fn read<T>(&mut self, s: Set<&str>, key: &str, wanted: &str, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        let v = f(s.value);
        if v.is_none() {
            self.say("V005", s.span, format!("`{key}` must be {wanted}"), &format!("cannot be read as {wanted}"), None);
        }
        v
    }

    fn read_at<T>(&mut self, t: &Table<'_>, key: &str, wanted: &str, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.str(t, key).and_then(|s| self.read(s, key, wanted, f))
    }

    fn read_list<T>(&mut self, t: &Table<'_>, key: &str, wanted: &str, f: impl Fn(&str) -> Option<T>) -> Vec<T> {
        self.list(t, key).unwrap_or_default().into_iter().filter_map(|s| self.read(s, key, wanted, &f)).collect()
    }

    /// A count or a number of bytes, within bounds.
    fn size(&mut self, t: &Table<'_>, key: &str, within: Range<usize>, to: &mut usize) {
        let Some(v) = t.get(key) else { return };
        let n = match v.get_ref() {
            DeValue::Integer(i) => usize::from_str_radix(i.as_str(), i.radix()).ok(),
            DeValue::String(s) => bytes(s),
            _ => return self.wrong(v, key, "a number, or a string like \"64MiB\""),
        };
        match n {
            Some(n) if within.contains(&n) => *to = n,
            _ => {
                let message = format!("`{key}` must be a number or a size like \"64MiB\", from {} to {}", within.start, within.end - 1);
                self.say("V005", v.span(), message, "not within these bounds", None)
            }
        }
    }

    fn time(&mut self, t: &Table<'_>, key: &str, to: &mut Duration) {
        if let Some(s) = self.read_at(t, key, "a span of time like \"30s\"", |s| Span::parse(s).filter(|s| s.0 > 0)) {
            *to = Duration::from_nanos(s.0 as u64);
        }
    }

    fn table<'a, 'i>(&mut self, t: &'a Table<'i>, key: &str) -> Option<&'a Table<'i>> {
        let v = t.get(key)?;
        let inner = v.get_ref().as_table();
        if inner.is_none() {
            self.wrong(v, key, &format!("a table, `[{key}]`"));
        }
        inner
    }

    /// The tables of `[[key]]`, with where they stand.
    fn tables<'a, 'i>(&mut self, t: &'a Table<'i>, key: &str) -> Vec<Set<&'a Table<'i>>> {
        let Some(v) = t.get(key) else { return Vec::new() };
        let mut all = Vec::new();
        match v.get_ref().as_array() {
            Some(array) => {
                for e in array.iter() {
                    match e.get_ref().as_table() {
                        Some(t) => all.push(Set { value: t, span: e.span() }),
                        None => self.wrong(e, key, &format!("tables, `[[{key}]]`")),
                    }
                }
            }
            None => self.wrong(v, key, &format!("tables, `[[{key}]]`")),
        }
        all
    }

    fn zone(&mut self, t: &Table<'_>) -> Option<TimeZone> {
        self.read_at(t, "zone", "a time zone like \"Europe/Berlin\" or \"UTC\"", |s| {
            let offset = crate::event::time::offset(s.as_bytes()).filter(|&(_, n)| n == s.len() && s.len() > 1);
            match offset {
                Some((east, _)) => jiff::tz::Offset::from_seconds(east as i32).ok().map(TimeZone::fixed),
                None => TimeZone::get(s).ok(),
            }
        })
    }

    fn listen(&mut self, t: &Table<'_>, to: &mut SocketAddr) {
        if let Some(addr) = self.listen_for(t, false) {
            *to = addr;
        }
    }

    /// The address at `listen`; one that others can reach must be encrypted, or said to be wanted.
    fn listen_for(&mut self, t: &Table<'_>, encrypted: bool) -> Option<SocketAddr> {
        let insecure = self.bool(t, "insecure").unwrap_or(false);
        let s = self.str(t, "listen")?;
        let span = s.span.clone();
        let addr = self.read(s, "listen", "an address and a port like \"127.0.0.1:8514\"", |s| s.parse::<SocketAddr>().ok())?;
        if is_public(addr) && !insecure && !encrypted {
            self.say(
                "V006",
                span,
                format!("{addr} can be reached from other machines, and what comes there is neither encrypted nor proved"),
                "not a loopback address",
                Some("listen on 127.0.0.1, or write `insecure = true` beside it if the network in between is your own".into()),
            );
        }
        Some(addr)
    }

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
            self.keys(t, "`[state]`", &["budget", "keys_per_rule", "waiting"]);
            self.size(t, "budget", 1 << 20..1 << 40, &mut c.state.budget);
            self.size(t, "keys_per_rule", 1000..100_000_000, &mut c.state.keys_per_rule);
            self.size(t, "waiting", 1000..100_000_000, &mut c.state.waiting);
        }
        if let Some(t) = self.table(root, "run") {
            self.keys(t, "`[run]`", &["user"]);
            c.user = self.str(t, "user").map(|s| s.value.to_owned());
        }
        if let Some(t) = self.table(root, "journal") {
            self.journal(t, &mut c.journal);
        }
        if let Some(t) = self.table(root, "index") {
            self.keys(t, "`[index]`", &["enabled", "max_bytes"]);
            c.index.enabled = self.bool(t, "enabled").unwrap_or(true);
            self.size(t, "max_bytes", 4 << 20..(1 << 50) + 1, &mut c.index.max_bytes);
        }
        if let Some(t) = self.table(root, "store") {
            self.keys(t, "`[store]`", &["max_alerts", "max_age", "reserve"]);
            self.size(t, "max_alerts", 1000..100_000_001, &mut c.store.max_alerts);
            self.time(t, "max_age", &mut c.store.max_age);
            self.size(t, "reserve", 1 << 20..(1 << 30) + 1, &mut c.store.reserve);
        }
        if let Some(t) = self.table(root, "search") {
            self.keys(t, "`[search]`", &["time", "memory", "records", "at_once"]);
            self.time(t, "time", &mut c.search.time);
            self.size(t, "memory", 1 << 20..(1 << 40) + 1, &mut c.search.memory);
            self.size(t, "records", 0..1_000_000_001, &mut c.search.records);
            self.size(t, "at_once", 1..101, &mut c.search.at_once);
        }
        if let Some(t) = self.table(root, "backtest") {
            self.keys(t, "`[backtest]`", &["time", "candidates", "alerts", "body_bytes", "at_once"]);
            self.time(t, "time", &mut c.backtest.time);
            self.size(t, "candidates", 1000..100_000_001, &mut c.backtest.candidates);
            self.size(t, "alerts", 1..10_000_001, &mut c.backtest.alerts);
            self.size(t, "body_bytes", 1 << 10..(256 << 20) + 1, &mut c.backtest.body_bytes);
            self.size(t, "at_once", 1..101, &mut c.backtest.at_once);
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

    fn host(&mut self, before: &[Host], t: &Set<&Table<'_>>) -> Option<Host> {
        self.keys(t.value, "`[[host]]`", &["name", "aliases", "ip", "tags"]);
        let owned = |l: Option<Vec<Set<&str>>>| l.unwrap_or_default().into_iter().map(|s| s.value.to_owned()).collect::<Vec<_>>();
        let aliases = owned(self.list(t.value, "aliases"));
        let ip = self.read_list(t.value, "ip", "addresses", |s| s.parse().ok());
        let tags = owned(self.list(t.value, "tags"));
        let name = match self.str(t.value, "name") {
            Some(s) => s,
            None => {
                if !t.value.contains_key("name") {
                    self.say("V004", t.span.clone(), "a `[[host]]` must have a `name`".into(), "no name here", None);
                }
                return None;
            }
        };
        if before.iter().any(|h| h.name.eq_ignore_ascii_case(name.value)) {
            self.say("V007", name.span, format!("there is another host with the name `{}`", name.value), "named a second time", None);
        }
        Some(Host { name: name.value.to_owned(), aliases, ip, tags })
    }

    fn journal(&mut self, t: &Table<'_>, j: &mut Journal) {
        self.keys(t, "`[journal]`", &["max_bytes", "max_age", "min_free", "segment_bytes"]);
        self.size(t, "segment_bytes", 1 << 20..(1 << 30) + 1, &mut j.segment_bytes);
        self.size(t, "max_bytes", 4 << 20..(1 << 50) + 1, &mut j.max_bytes);
        let (mut age, mut free) = (Duration::ZERO, 0);
        self.time(t, "max_age", &mut age);
        j.max_age = Some(age).filter(|a| !a.is_zero());
        if t.contains_key("min_free") {
            self.size(t, "min_free", 0..(1 << 50) + 1, &mut free);
            j.min_free = Some(free);
        }
    }

    fn limits(&mut self, t: &Table<'_>, l: &mut Limits) {
        self.keys(
            t,
            "`[limits]`",
            &[
                "record_bytes",
                "queue_bytes",
                "backlog_bytes",
                "replay",
                "body_bytes",
                "bodies_bytes",
                "idempotency_keys",
                "connections",
                "connections_per_sender",
                "connection_bytes",
                "http_connections",
                "idle",
                "handshake_timeout",
                "header_timeout",
                "body_timeout",
                "udp_buffer_bytes",
                "files",
                "directory_entries",
                "unpacked_bytes",
            ],
        );
        self.size(t, "record_bytes", 1 << 10..(64 << 20) + 1, &mut l.record_bytes);
        self.size(t, "queue_bytes", 1 << 10..(16 << 30) + 1, &mut l.queue_bytes);
        self.size(t, "backlog_bytes", 1 << 10..(1 << 40) + 1, &mut l.backlog_bytes);
        self.time(t, "replay", &mut l.replay);
        // An entry of the journal has an end.
        self.size(t, "body_bytes", 1 << 10..(48 << 20) + 1, &mut l.body_bytes);
        self.size(t, "bodies_bytes", 1 << 10..(16 << 30) + 1, &mut l.bodies_bytes);
        self.size(t, "idempotency_keys", 1..10_000_001, &mut l.idempotency_keys);
        self.size(t, "connections", 1..1_000_001, &mut l.connections);
        self.size(t, "connections_per_sender", 1..1_000_001, &mut l.connections_per_sender);
        self.size(t, "connection_bytes", 64 << 10..(16 << 30) + 1, &mut l.connection_bytes);
        self.size(t, "http_connections", 1..1_000_001, &mut l.http_connections);
        self.time(t, "idle", &mut l.idle);
        self.time(t, "handshake_timeout", &mut l.handshake_timeout);
        self.time(t, "header_timeout", &mut l.header_timeout);
        self.time(t, "body_timeout", &mut l.body_timeout);
        self.size(t, "udp_buffer_bytes", 1 << 10..(1 << 30) + 1, &mut l.udp_buffer_bytes);
        self.size(t, "files", 1..100_001, &mut l.files);
        self.size(t, "directory_entries", 1..100_000_001, &mut l.directory_entries);
        self.size(t, "unpacked_bytes", 1 << 10..(1 << 50) + 1, &mut l.unpacked_bytes);
    }
}

/// Reads a network, or an address as the network of one.
fn net(s: &str) -> Option<IpNet> {
    s.parse::<IpNet>().ok().or_else(|| s.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of all complaints, each with the text it points at.
    fn complaints(text: &str) -> Vec<String> {
        read("vigild.toml", text).1.iter().map(|d| format!("{} {}", d.code, &text[d.span.clone()])).collect()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let (c, found) = read("vigild.toml", "");
        assert_eq!(found, []);
        assert_eq!((c.http, c.sources.len(), c.limits), (HTTP, 2, Limits::default()));
        assert_eq!(c.sources[0].kind, Kind::Syslog(source::syslog::Syslog::default()));
    }

    #[test]
    fn everything_can_be_set() {
        let (c, found) = read(
            "vigild.toml",
            r#"
            zone = "Europe/Berlin"
            rules = ["builtin", "/etc/vigild/rules.d"]
            [[host]]
            name = "vm-prod"
            aliases = ["vm-prod.example.net"]
            ip = ["192.0.2.10", "2001:db8::10"]
            tags = ["prod"]
            [network]
            trusted_proxies = ["192.0.2.0/24", "198.51.100.7"]
            [http]
            listen = "0.0.0.0:9000"
            insecure = true
            [[source]]
            kind = "syslog"
            listen = "[::1]:514"
            transport = ["udp"]
            allow = ["192.0.2.0/24"]
            [[source]]
            name = "ids"
            kind = "file"
            path = "/var/log/suricata/eve*.json"
            format = "suricata"
            zone = "+02:00"
            lateness = "10s"
            [limits]
            record_bytes = 4096
            queue_bytes = "1MiB"
            idle = "5m"
            [state]
            budget = "64MiB"
            [index]
            enabled = false
            max_bytes = "1GiB"
            [backtest]
            time = "5s"
            candidates = 1000
            alerts = 7
            body_bytes = "1MiB"
            at_once = 3
            [alerts]
            file = "/var/log/vigild/alerts.json"
            "#,
        );
        assert_eq!(found, []);
        assert_eq!(c.hosts[0].ip.len(), 2);
        assert_eq!(c.proxies.len(), 2);
        assert_eq!(c.http.port(), 9000);
        assert_eq!(c.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["syslog", "ids", "http"]);
        assert_eq!(c.sources[1].lateness, Span::seconds(10));
        assert_eq!((c.limits.record_bytes, c.limits.queue_bytes, c.limits.idle), (4096, 1 << 20, Duration::from_secs(300)));
        assert_eq!(c.state.budget, 64 << 20);
        assert_eq!(c.index, Index { enabled: false, max_bytes: 1 << 30 });
        let backtest = Backtest { time: Duration::from_secs(5), candidates: 1000, alerts: 7, body_bytes: 1 << 20, at_once: 3 };
        assert_eq!(c.backtest, backtest);
    }

    #[test]
    fn every_complaint_comes_at_once_and_points_at_its_cause() {
        let text = r#"
zone = "Europe/Berlm"
rulez = []
[http]
listen = "0.0.0.0:8514"
[[source]]
kind = "sylog"
[[source]]
kind = "file"
[[source]]
kind = "stdin"
listen = "127.0.0.1:1"
[limits]
queue_bytes = true
record_bytes = 3
idle = "soon"
"#;
        assert_eq!(
            complaints(text),
            [
                "V005 \"Europe/Berlm\"",
                "V002 rulez",
                "V006 \"0.0.0.0:8514\"",
                "V005 \"sylog\"",
                "V004 [[source]]",
                "V002 listen",
                "V003 true",
                "V005 3",
                "V005 \"soon\"",
            ]
        );
        let help: Vec<_> = read("vigild.toml", text).1.into_iter().filter_map(|d| d.help).collect();
        assert!(help.contains(&"did you mean `rules`?".to_owned()), "{help:?}");
        assert!(help.contains(&"did you mean `syslog`?".to_owned()), "{help:?}");
    }

    #[test]
    fn a_backtest_has_bounds_that_are_bounded() {
        let text = "[backtest]\ntime = \"0s\"\ncandidates = 999\nalerts = 0\nbody_bytes = 1\nat_once = 0\nrecords = 1\n";
        assert_eq!(complaints(text), ["V005 \"0s\"", "V005 999", "V005 0", "V005 1", "V005 0", "V002 records"]);
    }

    #[test]
    fn a_hook_has_a_secret_that_stands_elsewhere() {
        let kinds = |text: &str| {
            let (c, found) = read("vigild.toml", text);
            assert_eq!(found, [], "{text}");
            c.sources.into_iter().filter_map(|s| if let Kind::Hook(h) = s.kind { Some((s.name, h)) } else { None }).collect::<Vec<_>>()
        };
        use secret::Secret;
        use source::hook::{Hook, Signature};
        let github = Hook { signature: Signature::Github, secret: Some(Secret::File("/etc/vigild/github".into())) };
        assert_eq!(kinds("[[source]]\nkind=\"hook\"\nformat=\"github\"\nsecret={file=\"/etc/vigild/github\"}\n"), [("github".into(), github)]);
        let sonar = Hook { signature: Signature::Hmac { header: "x-sonar".into() }, secret: Some(Secret::Env("SONAR".into())) };
        let text = "[[source]]\nkind=\"hook\"\nname=\"sonar\"\nsecret={env=\"SONAR\"}\nsignature=\"hmac-sha256\"\nheader=\"X-Sonar\"\n";
        assert_eq!(kinds(text), [("sonar".into(), sonar)]);
        let harbor = Hook { signature: Signature::Token { header: "authorization".into() }, secret: Some(Secret::Credential("harbor".into())) };
        assert_eq!(kinds("[[source]]\nkind=\"hook\"\nname=\"h\"\nsecret={credential=\"harbor\"}\n"), [("h".into(), harbor)]);
        let open = Hook { signature: Signature::None, secret: None };
        assert_eq!(kinds("[[source]]\nkind=\"hook\"\nname=\"falco\"\nsignature=\"none\"\n"), [("falco".into(), open)]);

        let wrong = |rest: &str| complaints(&format!("[[source]]\nkind=\"hook\"\nname=\"x\"\n{rest}\n"));
        assert_eq!(wrong("secret=\"s3cret\""), ["V010 \"s3cret\""]);
        assert_eq!(wrong("secret={env=\"A\",file=\"b\"}"), ["V004 {env=\"A\",file=\"b\"}"]);
        assert_eq!(wrong("secret={flie=\"b\"}"), ["V002 flie"]);
        assert_eq!(wrong("secret={credential=\"../x\"}"), ["V005 \"../x\""]);
        assert_eq!(wrong("secret=3"), ["V003 3"]);
        assert_eq!(wrong(""), ["V004 [[source]]"]);
        assert_eq!(wrong("signature=\"none\"\nsecret={env=\"A\"}"), ["V011 [[source]]"]);
        assert_eq!(wrong("signature=\"hmac-sha256\"\nsecret={env=\"A\"}"), ["V004 [[source]]"]);
        assert_eq!(wrong("signature=\"sha1\"\nsecret={env=\"A\"}"), ["V005 \"sha1\""]);
        assert_eq!(wrong("header=\"not a header\"\nsecret={env=\"A\"}"), ["V005 \"not a header\""]);
        let help = read("x", "[[source]]\nkind=\"hook\"\nsecret=\"s3cret\"\n").1.into_iter().find_map(|d| d.help).expect("a way out");
        assert!(help.contains("file =") && !help.contains("s3cret"), "{help}");
    }

    #[test]
    fn broken_toml_is_a_complaint_and_the_rest_is_still_checked() {
        let found = complaints("zone = \nrulez = 1\n");
        assert!(found.iter().any(|c| c.starts_with("V001")), "{found:?}");
        assert!(found.contains(&"V002 rulez".to_owned()), "{found:?}");
    }

    #[test]
    fn one_name_is_one_source() {
        let text = "[[source]]\nkind=\"file\"\npath=\"a\"\n[[source]]\nkind=\"file\"\npath=\"b\"\n";
        assert_eq!(complaints(text).len(), 1);
        assert_eq!(complaints("[[host]]\nname=\"a\"\n[[host]]\nname=\"A\"\n"), ["V007 \"A\""]);
    }

    #[test]
    fn sizes_are_read_in_their_units() {
        for (s, n) in
            [("0", Some(0)), ("10", Some(10)), ("64KiB", Some(65536)), ("1 MiB", Some(1 << 20)), ("1GiB", Some(1 << 30)), ("64k", None), ("", None)]
        {
            assert_eq!(bytes(s), n, "{s}");
        }
    }

    #[test]
    fn the_example_of_the_readme_is_read_without_a_complaint() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```toml\n").nth(1).and_then(|r| r.split("```").next()).expect("the README shows a configuration");
        let (config, said) = read("README.md", example);
        assert_eq!(said, []);
        // HTTP is there whether it is named or not.
        assert_eq!((config.sources.len(), config.hosts.len(), config.proxies.len()), (2, 1, 1));
    }
}
