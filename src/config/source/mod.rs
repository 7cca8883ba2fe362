//! `[[source]]`: one place where records come from. What is the same for every kind stands here; a kind has a file.

pub mod file;
pub mod hook;
pub mod journald;
pub mod kafka;
pub mod relp;
pub mod syslog;
pub mod tls;

use super::{Reader, Set, Table, near, net};
use crate::event::Span;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::time::Duration;

/// One place where records come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in metrics and streams.
    pub name: String,
    /// How bytes arrive.
    pub kind: Kind,
    /// The format's name; `None` recognises it record by record.
    pub format: Option<Set<String>>,
    /// The zone of times that name none.
    pub zone: Option<TimeZone>,
    /// How late an event may be.
    pub lateness: Span,
    /// Silence for so long is an alert of vigild's own; `None` never is.
    pub silent_after: Option<Duration>,
    /// Senders that are taken; none named means all.
    pub allow: Vec<IpNet>,
    /// Proxies that this source's records may have come through, in place of `[network] trusted_proxies`.
    pub proxies: Option<Vec<IpNet>>,
}

/// How bytes arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Files, followed.
    File(file::File),
    /// The journal of systemd.
    Journald(journald::Journald),
    /// Syslog.
    Syslog(syslog::Syslog),
    /// RELP, which answers when records are stored.
    Relp(relp::Relp),
    /// `POST /api/v1/ingest/…`.
    Http,
    /// `POST /hooks/NAME`.
    Hook(hook::Hook),
    /// Topics of Kafka.
    Kafka(Box<kafka::Kafka>),
    /// Standard input.
    Stdin,
}

/// The kinds, with the keys that each has beside those of all.
const KINDS: [(&str, &[&str]); 8] = [
    ("file", file::KEYS),
    ("journald", journald::KEYS),
    ("syslog", syslog::KEYS),
    ("relp", relp::KEYS),
    ("http", &[]),
    ("hook", hook::KEYS),
    ("kafka", kafka::KEYS),
    ("stdin", &[]),
];
/// What every kind has.
const COMMON: [&str; 8] = ["name", "kind", "format", "zone", "lateness", "silent_after", "allow", "trusted_proxies"];
const LATENESS: Span = Span::seconds(60);
const LATENESS_FILE: Span = Span::seconds(5);

impl Kind {
    /// The word in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::File(_) => "file",
            Kind::Journald(_) => "journald",
            Kind::Syslog(_) => "syslog",
            Kind::Relp(_) => "relp",
            Kind::Http => "http",
            Kind::Hook(_) => "hook",
            Kind::Kafka(_) => "kafka",
            Kind::Stdin => "stdin",
        }
    }

    /// How late its events may be where the file does not say.
    fn lateness(&self) -> Span {
        if matches!(self, Kind::File(_) | Kind::Kafka(_) | Kind::Stdin) { LATENESS_FILE } else { LATENESS }
    }
}

impl Source {
    /// A source of this kind with all else as it is where the file says nothing.
    pub fn of(name: &str, kind: Kind) -> Source {
        let lateness = kind.lateness();
        Source { name: name.into(), kind, format: None, zone: None, lateness, silent_after: None, allow: Vec::new(), proxies: None }
    }

    /// The source that listens for syslog on an address.
    pub fn syslog(listen: SocketAddr) -> Source {
        Source::of("syslog", Kind::Syslog(syslog::Syslog { listen, ..Default::default() }))
    }

    /// The source of HTTP ingest.
    pub fn http() -> Source {
        Source::of("http", Kind::Http)
    }

    /// The source that reads standard input.
    pub fn stdin(format: Option<String>) -> Source {
        Source { format: format.map(Set::given), ..Source::of("stdin", Kind::Stdin) }
    }
}

impl Reader {
    /// Reads one `[[source]]`; `None` where its kind is not known or it cannot be had.
    pub(super) fn source(&mut self, before: &[Source], t: &Set<&Table<'_>>) -> Option<Source> {
        let (at, t) = (t.span.clone(), t.value);
        let names: Vec<&str> = KINDS.iter().map(|k| k.0).collect();
        let kind = match self.str(t, "kind") {
            Some(k) if names.contains(&k.value) => k.value,
            Some(k) => {
                let help = near(k.value, names.iter().copied()).map_or(format!("known: {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
                self.say("V005", k.span, format!("there is no kind of source `{}`", k.value), "not a kind of source", Some(help));
                ""
            }
            None => {
                if !t.contains_key("kind") {
                    self.say("V004", at.clone(), format!("a `[[source]]` must have a `kind`: {}", names.join(", ")), "no kind here", None);
                }
                ""
            }
        };
        let own = KINDS.iter().filter(|k| kind.is_empty() || k.0 == kind).flat_map(|k| k.1);
        let known: Vec<&'static str> = COMMON.iter().chain(own).copied().collect();
        self.keys(t, &format!("a `[[source]]` of kind {}", if kind.is_empty() { "?" } else { kind }), &known);

        // A hook goes by its format, `/hooks/github`, where it has no name.
        let format = t.get("format").and_then(|f| f.get_ref().as_str());
        let name = self.source_name(before, t, &at, if kind == "hook" { format.unwrap_or(kind) } else { kind });
        let kind = match kind {
            "file" => Kind::File(self.file(t, at)),
            "journald" => Kind::Journald(self.journald(t)),
            "syslog" => Kind::Syslog(self.syslog(t)),
            "relp" => Kind::Relp(self.relp(t, at)?),
            "http" | "stdin" if before.iter().any(|s| s.kind.name() == kind) => {
                self.say("V007", at, format!("there is another source of kind {kind}"), "one is all there can be", None);
                return None;
            }
            "http" => Kind::Http,
            "hook" => Kind::Hook(self.hook(t, at)),
            "kafka" => Kind::Kafka(Box::new(self.kafka(before, t, at))),
            "stdin" => Kind::Stdin,
            _ => return None,
        };
        let mut s = Source::of(&name, kind);
        s.format = self.str(t, "format").map(|s| Set { value: s.value.to_owned(), span: s.span }).filter(|f| f.value != "auto");
        s.zone = self.zone(t);
        s.lateness = self.read_at(t, "lateness", "a span of time like \"60s\"", Span::parse).unwrap_or(s.lateness);
        let mut silent = Duration::ZERO;
        self.time(t, "silent_after", &mut silent);
        s.silent_after = Some(silent).filter(|s| !s.is_zero());
        s.allow = self.read_list(t, "allow", "addresses or networks like \"10.0.0.0/8\"", net);
        s.proxies = t.contains_key("trusted_proxies").then(|| self.read_list(t, "trusted_proxies", "addresses or networks like \"10.0.0.0/8\"", net));
        Some(s)
    }

    /// The name of a source, or what it goes by where it has none.
    fn source_name(&mut self, before: &[Source], t: &Table<'_>, at: &std::ops::Range<usize>, otherwise: &str) -> String {
        let name = self.str(t, "name");
        if let Some(n) = &name
            && (n.value.is_empty() || n.value.len() > 64 || !n.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
        {
            self.say("V005", n.span.clone(), "`name` must be 1 to 64 of the letters a-z, A-Z, 0-9, `.`, `_` and `-`".into(), "not such a name", None);
        }
        let span = name.as_ref().map_or(at.clone(), |n| n.span.clone());
        let name = name.map_or(otherwise.to_owned(), |n| n.value.to_owned());
        if before.iter().any(|s| s.name == name) {
            let help = "give each `[[source]]` a `name` of its own";
            self.say("V007", span, format!("there is another source with the name `{name}`"), "a second one of that name", Some(help.into()));
        }
        name
    }
}
