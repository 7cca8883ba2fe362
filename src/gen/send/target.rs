//! Where records go, and how they are told apart there.

use super::super::Made;
use std::fmt;
use std::path::PathBuf;

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, which is written anew.
    File(PathBuf),
    /// One datagram a record, to `host:port`.
    Udp(String),
    /// A connection each stream, to `host:port`.
    Tcp(String),
    /// Requests to `host:port`, and the path.
    Http {
        /// `host:port`
        authority: String,
        /// The path with its query.
        path: String,
    },
}

impl Target {
    /// Reads `-`, a path, or `udp://`, `tcp://`, `http://` and an address.
    pub fn parse(s: &str) -> Result<Target, String> {
        let Some((scheme, rest)) = s.split_once("://") else {
            return Ok(if s == "-" { Target::Stdout } else { Target::File(PathBuf::from(s)) });
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |i| rest.split_at(i));
        let port = authority.rsplit_once(':').is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok_and(|p| p > 0));
        if !port || !authority.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("`{s}` has no `host:port`"));
        }
        match scheme {
            "udp" | "tcp" if !path.is_empty() => Err(format!("`{s}` has a path, and {scheme} knows none")),
            "udp" => Ok(Target::Udp(authority.to_owned())),
            "tcp" => Ok(Target::Tcp(authority.to_owned())),
            "http" if path.len() < 2 || !path.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(format!("`{s}` has no path; ingest is at `/api/v1/ingest/FORMAT`"))
            }
            "http" => Ok(Target::Http { authority: authority.to_owned(), path: path.to_owned() }),
            _ => Err(format!("`{scheme}` is no way to send: known are udp, tcp, http, a file, and `-`")),
        }
    }

    /// Whether it is a file or stdout.
    pub fn is_file(&self) -> bool {
        matches!(self, Target::Stdout | Target::File(_))
    }

    /// Whether it is HTTP.
    pub fn is_http(&self) -> bool {
        matches!(self, Target::Http { .. })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("stdout"),
            Target::File(p) => f.write_str(&crate::cli::safe(&p.display().to_string())),
            Target::Udp(a) => write!(f, "udp://{}", crate::cli::safe(a)),
            Target::Tcp(a) => write!(f, "tcp://{}", crate::cli::safe(a)),
            Target::Http { authority, path } => write!(f, "http://{}{}", crate::cli::safe(authority), crate::cli::safe(path)),
        }
    }
}

/// How records are told apart on a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Framing {
    /// A record a line, as the tool wrote it.
    Lf,
    /// RFC 6587 octet counting: each record behind a syslog header of RFC 5424.
    Octet,
}

impl Framing {
    /// Appends a record as the target wants it.
    pub(super) fn frame(self, target: &Target, made: &Made, record: &[u8], out: &mut Vec<u8>) {
        match (target, self) {
            (Target::Udp(_), _) => out.extend_from_slice(record),
            (Target::Tcp(_), Framing::Octet) => {
                let mut header = b"<134>1 ".to_vec();
                made.ts.write(&mut header);
                header.extend_from_slice(b" gen ");
                header.extend_from_slice(made.form.tool().name().as_bytes());
                header.extend_from_slice(b" - - - ");
                out.extend_from_slice((header.len() + record.len()).to_string().as_bytes());
                out.push(b' ');
                out.extend_from_slice(&header);
                out.extend_from_slice(record);
            }
            _ => {
                out.extend_from_slice(record);
                out.extend_from_slice(made.form.end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_wrong_ones_are_told() {
        for (s, want) in [
            ("-", Ok("stdout")),
            ("a/b.log", Ok("a/b.log")),
            ("tcp://127.0.0.1:5514", Ok("tcp://127.0.0.1:5514")),
            ("udp://[::1]:5514", Ok("udp://[::1]:5514")),
            ("http://127.0.0.1:8514/api/v1/ingest/suricata", Ok("http://127.0.0.1:8514/api/v1/ingest/suricata")),
            ("tcp://127.0.0.1", Err("no `host:port`")),
            ("tcp://127.0.0.1:70000", Err("no `host:port`")),
            ("tcp://127.0.0.1:1/x", Err("knows none")),
            ("http://127.0.0.1:1", Err("no path")),
            ("http://127.0.0.1:1/a b", Err("no path")),
            ("tls://127.0.0.1:1", Err("no way to send")),
        ] {
            match (Target::parse(s), want) {
                (Ok(t), Ok(w)) => assert_eq!(t.to_string(), w),
                (Err(e), Err(w)) => assert!(e.contains(w), "{s}: {e}"),
                (got, _) => panic!("{s}: {got:?}"),
            }
        }
    }
}
