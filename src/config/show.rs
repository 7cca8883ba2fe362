//! Every setting with the value that holds, as it could be written. Secrets are shown by where they are kept.

use super::secret::Secret;
use super::source::file::Start;
use super::source::hook::Signature;
use super::source::kafka::{self, Kafka};
use super::source::syslog::UnixKind;
use super::source::tls::Tls;
use super::{Config, Kind, Source};
use crate::event::Span;
use crate::source::tls::name::ClientName;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use toml::Value;

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its path: `limits.idle`, `source.0.tls.key`.
    pub path: String,
    /// The value that holds; none where nothing is set and nothing is the default.
    pub value: Option<Value>,
    /// The file and the line that say so; none for a default.
    pub from: Option<(String, usize)>,
}

/// All settings in the order of the documentation, those without a table first.
pub fn settings(c: &Config) -> Vec<Setting> {
    let mut s = Settings { config: c, table: String::new(), all: Vec::new() };
    s.put("zone", zone(&c.zone));
    s.put("rules", list(c.rules.iter().map(|r| &r.value)));
    s.within("network");
    s.put("trusted_proxies", list(&c.proxies));
    s.within("http");
    s.put("listen", text(c.http));
    s.insecure();
    s.within("alerts");
    s.maybe("file", c.alerts.as_deref().map(path));
    s.put("provisional", c.provisional.into());
    s.within("run");
    s.maybe("user", c.user.as_ref().map(text));
    s.within("journal");
    s.put("max_bytes", size(c.journal.max_bytes));
    s.maybe("max_age", c.journal.max_age.map(time));
    s.maybe("min_free", c.journal.min_free.map(size));
    s.put("segment_bytes", size(c.journal.segment_bytes));
    s.within("index");
    s.put("enabled", c.index.enabled.into());
    s.put("max_bytes", size(c.index.max_bytes));
    s.put("slice_records", count(c.index.slice_records));
    s.put("builders", count(c.index.builders));
    s.within("store");
    s.put("max_alerts", count(c.store.max_alerts));
    s.put("max_age", time(c.store.max_age));
    s.put("reserve", size(c.store.reserve));
    s.within("search");
    s.put("time", time(c.search.time));
    s.put("memory", size(c.search.memory));
    s.put("records", count(c.search.records));
    s.put("at_once", count(c.search.at_once));
    s.within("backtest");
    s.put("time", time(c.backtest.time));
    s.put("candidates", count(c.backtest.candidates));
    s.put("alerts", count(c.backtest.alerts));
    s.put("body_bytes", size(c.backtest.body_bytes));
    s.put("at_once", count(c.backtest.at_once));
    s.within("state");
    s.put("budget", size(c.state.budget));
    s.put("keys_per_rule", count(c.state.keys_per_rule));
    s.put("waiting", count(c.state.waiting));
    s.within("limits");
    s.limits();
    for (i, h) in c.hosts.iter().enumerate() {
        s.within(&format!("host.{i}"));
        s.put("name", text(&h.name));
        s.put("aliases", list(&h.aliases));
        s.put("ip", list(&h.ip));
        s.put("tags", list(&h.tags));
    }
    for (i, source) in c.sources.iter().enumerate() {
        s.source(&format!("source.{i}"), source);
    }
    s.all
}

struct Settings<'c> {
    config: &'c Config,
    /// The path of the table, with its dot; empty at the top.
    table: String,
    all: Vec<Setting>,
}

impl Settings<'_> {
    fn within(&mut self, table: &str) {
        self.table = format!("{table}.");
    }

    fn put(&mut self, key: &str, value: Value) {
        self.maybe(key, Some(value));
    }

    fn maybe(&mut self, key: &str, value: Option<Value>) {
        let path = format!("{}{key}", self.table);
        let given = self.config.given.get(&path);
        let from = given.and_then(|g| self.config.files.line(&g.span)).map(|(file, line)| (file.to_owned(), line));
        self.all.push(Setting { path, value, from });
    }

    /// What is read for its effect on a complaint alone.
    fn insecure(&mut self) {
        let yes = self.config.given.get(&format!("{}insecure", self.table)).is_some_and(|g| g.text == "true");
        self.put("insecure", yes.into());
    }

    fn limits(&mut self) {
        let l = &self.config.limits;
        self.put("record_bytes", size(l.record_bytes));
        self.put("queue_bytes", size(l.queue_bytes));
        self.put("backlog_bytes", size(l.backlog_bytes));
        self.put("replay", time(l.replay));
        self.put("body_bytes", size(l.body_bytes));
        self.put("bodies_bytes", size(l.bodies_bytes));
        self.put("idempotency_keys", count(l.idempotency_keys));
        self.put("connections", count(l.connections));
        self.put("connections_per_sender", count(l.connections_per_sender));
        self.put("connection_bytes", size(l.connection_bytes));
        self.put("http_connections", count(l.http_connections));
        self.put("idle", time(l.idle));
        self.put("handshake_timeout", time(l.handshake_timeout));
        self.put("header_timeout", time(l.header_timeout));
        self.put("body_timeout", time(l.body_timeout));
        self.put("udp_buffer_bytes", size(l.udp_buffer_bytes));
        self.put("files", count(l.files));
        self.put("directory_entries", count(l.directory_entries));
        self.put("unpacked_bytes", size(l.unpacked_bytes));
    }

    fn source(&mut self, table: &str, s: &Source) {
        self.within(table);
        self.put("name", text(&s.name));
        self.put("kind", text(s.kind.name()));
        self.maybe("format", s.format.as_ref().map(|f| text(&f.value)));
        self.maybe("zone", s.zone.as_ref().map(zone));
        self.put("lateness", text(s.lateness));
        self.maybe("silent_after", s.silent_after.map(time));
        self.put("allow", list(&s.allow));
        self.maybe("trusted_proxies", s.proxies.as_ref().map(list::<&Vec<IpNet>>));
        match &s.kind {
            Kind::Http | Kind::Stdin => {}
            Kind::File(f) => {
                self.put("path", list(&f.paths));
                self.put("from", start(f.from));
                self.maybe("ignore_older", f.ignore_older.map(time));
            }
            Kind::Journald(j) => {
                self.put("program", path(&j.program));
                self.put("units", list(&j.units));
                self.put("identifiers", list(&j.identifiers));
                self.maybe("priority", j.priority.as_ref().map(text));
                self.put("from", start(j.from));
            }
            Kind::Syslog(c) => {
                self.maybe("listen", c.has_address().then(|| text(c.listen)));
                self.insecure();
                let on = [("udp", c.udp), ("tcp", c.tcp), ("tls", c.tls.is_some())];
                self.maybe("transport", c.has_address().then(|| list(on.into_iter().filter(|t| t.1).map(|t| t.0))));
                self.maybe("unix", c.unix.as_ref().map(|u| path(&u.path)));
                let kind = |k| if k == UnixKind::Stream { "stream" } else { "datagram" };
                self.maybe("unix_type", c.unix.as_ref().map(|u| text(kind(u.kind))));
                self.maybe("unix_mode", c.unix.as_ref().map(|u| text(format!("{:04o}", u.mode))));
                self.tls(table, c.tls.as_ref());
            }
            Kind::Relp(r) => {
                self.put("listen", text(r.listen));
                self.insecure();
                self.put("window", count(r.window));
                self.put("window_bytes", size(r.window_bytes));
                self.tls(table, r.tls.as_ref());
            }
            Kind::Kafka(k) => self.kafka(table, k),
            Kind::Hook(h) => {
                self.maybe("secret", h.secret.as_ref().map(secret));
                let (signature, header) = match &h.signature {
                    Signature::Github => ("github", None),
                    Signature::Hmac { header } => ("hmac-sha256", Some(header)),
                    Signature::Token { header } => ("token", Some(header)),
                    Signature::None => ("none", None),
                };
                self.put("signature", text(signature));
                self.maybe("header", header.map(text));
            }
        }
    }

    fn kafka(&mut self, table: &str, k: &Kafka) {
        self.put("brokers", list(&k.brokers));
        self.put("topics", list(&k.topics));
        self.put("group", text(&k.group));
        self.put("isolation", text(if k.committed_only { "read_committed" } else { "read_uncommitted" }));
        self.put("start", text(if k.start == kafka::Start::Latest { "latest" } else { "earliest" }));
        self.put("framing", text(if k.lines { "lines" } else { "message" }));
        self.put("prefetch", size(k.prefetch));
        self.put("session_timeout", time(k.session_timeout));
        let (tls, sasl) = (k.security.tls.as_ref(), k.security.sasl.as_ref());
        let security = match (tls.is_some(), sasl.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "tls",
            (false, true) => "sasl",
            (true, true) => "sasl_tls",
        };
        self.put("security", text(security));
        self.maybe("ca", tls.and_then(|t| t.ca.as_deref()).map(path));
        self.maybe("certificate", tls.and_then(|t| t.certificate.as_deref()).map(path));
        self.maybe("key", tls.and_then(|t| t.key.as_deref()).map(path));
        let Some(s) = sasl else { return self.maybe("sasl", None) };
        self.within(&format!("{table}.sasl"));
        self.put("mechanism", text(s.mechanism));
        self.put("user", text(&s.user));
        self.put("password", secret(&s.password));
    }

    /// The last of a source: in TOML, what stands behind its table would belong to it.
    fn tls(&mut self, table: &str, tls: Option<&Tls>) {
        let Some(t) = tls else { return self.maybe("tls", None) };
        self.within(&format!("{table}.tls"));
        self.put("certificate", path(&t.certificate));
        self.put("key", path(&t.key));
        self.maybe("client_ca", t.client_ca.as_deref().map(path));
        let name = |n: &ClientName| match n {
            ClientName::Exact(n) => n.clone(),
            ClientName::Below(n) => format!("*{n}"),
            ClientName::Ip(ip) => ip.to_string(),
        };
        let names = Some(&t.client_names).filter(|_| t.client_ca.is_some());
        self.maybe("client_names", names.map(|all| list(all.iter().map(name))));
    }
}

fn text(v: impl Display) -> Value {
    Value::String(v.to_string())
}

fn path(p: &Path) -> Value {
    text(p.display())
}

fn list<L: IntoIterator<Item: Display>>(all: L) -> Value {
    Value::Array(all.into_iter().map(text).collect())
}

fn count(n: usize) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn size(n: usize) -> Value {
    let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(bits, _)| n > 0 && n.trailing_zeros() >= *bits);
    unit.map_or_else(|| count(n), |(bits, name)| text(format!("{}{name}", n >> bits)))
}

fn time(d: Duration) -> Value {
    text(Span(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
}

fn start(s: Start) -> Value {
    text(if s == Start::End { "end" } else { "begin" })
}

fn secret(s: &Secret) -> Value {
    let (key, value) = match s {
        Secret::Env(n) => ("env", text(n)),
        Secret::File(p) => ("file", path(p)),
        Secret::Credential(n) => ("credential", text(n)),
    };
    Value::Table([(key.to_owned(), value)].into_iter().collect())
}

fn zone(z: &TimeZone) -> Value {
    let fixed = || {
        let east = z.to_fixed_offset().map_or(0, |o| o.seconds());
        format!("{}{:02}:{:02}", if east < 0 { '-' } else { '+' }, east.abs() / 3600, east.abs() / 60 % 60)
    };
    text(z.iana_name().map_or_else(fixed, str::to_owned))
}
