//! A source of kind `kafka`.

use super::super::secret::Secret;
use super::super::{Reader, Set, Table};
use super::{Kind, Source};
use crate::event::Span;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

/// Topics of a Kafka cluster, read as a member of a consumer group.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// Where the cluster is asked for, `host:port`.
    pub brokers: Vec<String>,
    /// Topics; a name that begins with `^` is a regular expression.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// Whether records of transactions are seen only once these are committed.
    pub committed_only: bool,
    /// Where a topic begins of which neither the journal nor the group knows anything.
    pub start: Start,
    /// Whether a message is one record, or cut into records as a file is.
    pub lines: bool,
    /// Bytes that are fetched ahead, for each partition.
    pub prefetch: usize,
    /// A member that is not heard of for so long has left the group.
    pub session_timeout: Duration,
    /// How the brokers are spoken to.
    pub security: Security,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what the topic still holds.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// How the brokers are spoken to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    /// TLS, if it is used.
    pub tls: Option<Tls>,
    /// SASL, if it is used.
    pub sasl: Option<Sasl>,
}

/// TLS to the brokers; what is `None` is the system's or absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// Certificates that the brokers' ones must follow from.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Who we are to the brokers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Its keys.
pub const KEYS: &[&str] =
    &["brokers", "topics", "group", "isolation", "start", "framing", "prefetch", "session_timeout", "security", "ca", "certificate", "key", "sasl"];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
/// Fetched ahead for each partition where the file does not say.
const PREFETCH: usize = 1 << 20;
/// Long enough for a busy machine, short enough that another member takes over soon.
const SESSION: Duration = Duration::from_secs(10);
/// What brokers can be asked for.
const SESSIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(1800);

impl Reader {
    pub(super) fn kafka(&mut self, before: &[Source], t: &Table<'_>, at: Range<usize>) -> Kafka {
        let brokers = self.needed(t, &at, "brokers", "brokers like \"kafka.example.org:9092\"", is_broker);
        let topics = self.needed(t, &at, "topics", "names of topics, or regular expressions that begin with `^`", is_topic);
        let group = self.read_at(t, "group", "a name of 1 to 255 characters without control characters", |s| {
            (!s.is_empty() && s.len() <= 255 && !s.contains(char::is_control)).then(|| s.to_owned())
        });
        let group = group.unwrap_or_else(|| "vigild".into());
        // The journal knows offsets by group, whatever cluster they are of.
        if before.iter().any(|s| matches!(&s.kind, Kind::Kafka(k) if k.group == group)) {
            let help = "give each source of kind kafka a `group` of its own".to_owned();
            self.say("V007", at.clone(), format!("there is another source of the group `{group}`"), "a second one of that group", Some(help));
        }
        let isolation = self.read_at(t, "isolation", "\"read_committed\" or \"read_uncommitted\"", |s| match s {
            "read_committed" => Some(true),
            "read_uncommitted" => Some(false),
            _ => None,
        });
        let start = self.read_at(t, "start", "\"earliest\" or \"latest\"", |s| match s {
            "earliest" => Some(Start::Earliest),
            "latest" => Some(Start::Latest),
            _ => None,
        });
        let lines = self.read_at(t, "framing", "\"message\" or \"lines\"", |s| match s {
            "message" => Some(false),
            "lines" => Some(true),
            _ => None,
        });
        let mut prefetch = PREFETCH;
        self.size(t, "prefetch", 64 << 10..(64 << 20) + 1, &mut prefetch);
        let session = self.read_at(t, "session_timeout", "a span of time like \"10s\", from 1 s to 30 min", |s| {
            Span::parse(s).and_then(|s| u64::try_from(s.0).ok()).map(Duration::from_nanos).filter(|d| SESSIONS.contains(d))
        });
        Kafka {
            brokers,
            topics,
            group,
            committed_only: isolation.unwrap_or(true),
            start: start.unwrap_or(Start::Earliest),
            lines: lines.unwrap_or(false),
            prefetch,
            session_timeout: session.unwrap_or(SESSION),
            security: self.kafka_security(t, at),
        }
    }

    /// A list that may not be empty.
    fn needed(&mut self, t: &Table<'_>, at: &Range<usize>, key: &str, wanted: &str, fits: fn(&str) -> bool) -> Vec<String> {
        let all = self.read_list(t, key, wanted, |s| fits(s).then(|| s.to_owned()));
        if all.is_empty() && t.get(key).is_none_or(|v| v.get_ref().as_array().is_some_and(|a| a.is_empty())) {
            self.say("V004", at.clone(), format!("a source of kind kafka must have `{key}`"), &format!("no {key} here"), None);
        }
        all
    }

    fn kafka_security(&mut self, t: &Table<'_>, at: Range<usize>) -> Security {
        let security = self.str(t, "security");
        let span = security.as_ref().map_or(at.clone(), |s: &Set<&str>| s.span.clone());
        let kinds = "\"plaintext\", \"tls\", \"sasl\" or \"sasl_tls\"";
        let (tls, sasl) = security
            .and_then(|s| {
                self.read(s, "security", kinds, |s| match s {
                    "plaintext" => Some((false, false)),
                    "tls" => Some((true, false)),
                    "sasl" => Some((false, true)),
                    "sasl_tls" => Some((true, true)),
                    _ => None,
                })
            })
            .unwrap_or((false, false));
        if (tls || sasl) && !cfg!(feature = "kafka-tls") {
            let help = "build it with `cargo build --release --features kafka-tls`, which needs OpenSSL's headers";
            self.say("V012", span, "this vigild was built without TLS and SASL to Kafka".into(), "not in this build", Some(help.into()));
        }
        for key in ["ca", "certificate", "key"].into_iter().filter(|k| !tls && t.contains_key(*k)) {
            self.say("V011", at.clone(), format!("without `security = \"tls\"` or \"sasl_tls\" there is no use for `{key}`"), "", None);
        }
        let [ca, certificate, key] =
            ["ca", "certificate", "key"].map(|k| self.read_at(t, k, "a path", |s| (!s.is_empty()).then(|| PathBuf::from(s))));
        if certificate.is_some() != key.is_some() {
            self.say("V004", at.clone(), "`certificate` and `key` go together".into(), "one of them is missing", None);
        }
        let who = self.table(t, "sasl").and_then(|s| self.sasl(s, &at));
        match (sasl, t.contains_key("sasl")) {
            (true, false) => {
                let help = "for example `sasl = { mechanism = \"SCRAM-SHA-512\", user = \"vigild\", password = { credential = \"kafka\" } }`";
                self.say("V004", at, "with SASL a source of kind kafka must have `sasl`".into(), "no sasl here", Some(help.into()));
            }
            (false, true) => {
                self.say("V011", at, "without `security = \"sasl\"` or \"sasl_tls\" there is no use for `sasl`".into(), "", None);
            }
            _ => {}
        }
        Security { tls: tls.then_some(Tls { ca, certificate, key }), sasl: who.filter(|_| sasl) }
    }

    fn sasl(&mut self, t: &Table<'_>, at: &Range<usize>) -> Option<Sasl> {
        self.keys(t, "`sasl`", &["mechanism", "user", "password"]);
        let mechanism = self.read_at(t, "mechanism", &format!("one of {}", MECHANISMS.join(", ")), |s| MECHANISMS.into_iter().find(|m| *m == s));
        let user = self.read_at(t, "user", "a name", |s| (!s.is_empty()).then(|| s.to_owned()));
        let password = self.secret(t, "password");
        for key in ["mechanism", "user", "password"].into_iter().filter(|k| !t.contains_key(*k)) {
            self.say("V004", at.clone(), format!("`sasl` must have a `{key}`"), &format!("no {key} here"), None);
        }
        Some(Sasl { mechanism: mechanism?, user: user?, password: password? })
    }
}

/// Whether it is `host:port`; a comma would make two of it.
fn is_broker(s: &str) -> bool {
    s.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([',', ' ', '/']) && !host.contains(char::is_control) && port.parse::<u16>().is_ok_and(|p| p > 0)
    })
}

/// Whether it can be a topic's name, or is a regular expression.
fn is_topic(s: &str) -> bool {
    let named = !s.is_empty() && s.len() <= 249 && s != "." && s != ".." && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    named || (s.starts_with('^') && s.len() > 1 && s.len() <= 1024 && !s.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The codes of all complaints about a source with these settings, each with the text it points at.
    fn complaints(settings: &str) -> Vec<String> {
        let text = format!("[[source]]\nkind = \"kafka\"\n{settings}\n");
        config::read("vigild.toml", &text).1.iter().map(|d| format!("{} {}", d.code, &text[d.span.clone()])).collect()
    }

    const NEEDED: &str = "brokers = [\"k1.example.org:9092\", \"[2001:db8::1]:9092\"]\ntopics = [\"falco\", \"^suricata\\\\..*\"]\n";

    #[test]
    fn what_is_not_said_is_safe() {
        let (c, found) = config::read("vigild.toml", &format!("[[source]]\nkind = \"kafka\"\n{NEEDED}"));
        assert_eq!(found, []);
        let Kind::Kafka(k) = &c.sources[0].kind else { panic!("{:?}", c.sources[0]) };
        assert_eq!((k.group.as_str(), k.committed_only, k.start, k.lines), ("vigild", true, Start::Earliest, false));
        assert_eq!((k.prefetch, k.session_timeout), (PREFETCH, SESSION));
        assert_eq!(c.sources[0].lateness, Span::seconds(5));
        assert_eq!(k.security, Security::default());
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        for (settings, want) in [
            ("", vec!["V004 [[source]]", "V004 [[source]]"]),
            ("brokers = \"k:9092\"\ntopics = []", vec!["V004 [[source]]"]),
            ("brokers = \"k\"\ntopics = \"a\"", vec!["V005 \"k\""]),
            ("brokers = \"k:0\"\ntopics = \"a b\"", vec!["V005 \"k:0\"", "V005 \"a b\""]),
            ("brokers = \"k:1,l:2\"\ntopics = \"..\"", vec!["V005 \"k:1,l:2\"", "V005 \"..\""]),
        ] {
            assert_eq!(complaints(settings), want, "{settings}");
        }
        for (settings, want) in [
            ("group = \"\"", vec!["V005 \"\""]),
            ("isolation = \"dirty\"", vec!["V005 \"dirty\""]),
            ("start = \"now\"", vec!["V005 \"now\""]),
            ("framing = \"json\"", vec!["V005 \"json\""]),
            ("prefetch = \"1KiB\"", vec!["V005 \"1KiB\""]),
            ("session_timeout = \"1ms\"", vec!["V005 \"1ms\""]),
            ("security = \"ssl\"", vec!["V005 \"ssl\""]),
            ("broker = \"k:1\"", vec!["V002 broker"]),
            ("ca = \"/ca.pem\"", vec!["V011 [[source]]"]),
            ("sasl = { mechanism = \"PLAIN\", user = \"u\", password = { env = \"P\" } }", vec!["V011 [[source]]"]),
        ] {
            assert_eq!(complaints(&format!("{NEEDED}{settings}")), want, "{settings}");
        }
    }

    #[test]
    fn a_group_belongs_to_one_source() {
        let second = |group: &str| format!("{NEEDED}[[source]]\nkind = \"kafka\"\nname = \"two\"\n{NEEDED}{group}");
        assert_eq!(complaints(&second("")), ["V007 [[source]]"]);
        assert_eq!(complaints(&second("group = \"other\"")), Vec::<String>::new());
    }

    #[test]
    #[cfg(not(feature = "kafka-tls"))]
    fn a_build_without_tls_says_so() {
        assert_eq!(complaints(&format!("{NEEDED}security = \"tls\"")), ["V012 \"tls\""]);
    }

    #[test]
    #[cfg(feature = "kafka-tls")]
    fn a_password_stands_elsewhere_and_a_key_beside_its_certificate() {
        for (settings, want) in [
            ("security = \"sasl\"", "V004 [[source]]"),
            ("security = \"sasl\"\nsasl = { mechanism = \"PLAIN\", user = \"u\", password = \"p\" }", "V010 \"p\""),
            ("security = \"sasl\"\nsasl = { mechanism = \"MD5\", user = \"u\", password = { env = \"P\" } }", "V005 \"MD5\""),
            ("security = \"tls\"\nkey = \"/k.pem\"", "V004 [[source]]"),
        ] {
            assert_eq!(complaints(&format!("{NEEDED}{settings}")), [want], "{settings}");
        }
    }
}
