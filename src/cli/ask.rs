//! Asking the running daemon by its API: where it listens, the token of its data directory, one request.

use super::{Failure, load, safe};
use crate::{api, config};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connecting and sending may take so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// A longer answer is not from vigild.
const LONGEST: u64 = 256 << 20;

/// Which daemon is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// Where the daemon's API is, as http://127.0.0.1:8514 [default: as the configuration says]
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub url: Option<String>,
    /// The configuration file, for the address of HTTP [default: /etc/vigild/vigild.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where state is kept, the token among it [default: /var/lib/vigild where it is there, else as `vigild run`]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Target {
    /// Asks, and waits `patience` for each part of the answer: its body, where it is 200.
    ///
    /// Errors: 2 for an URL that is none, 3 with what the daemon says is wrong (422), 4 without the right token, 5 where nobody
    /// or something else answers.
    pub fn ask(&self, method: &str, path: &str, patience: Duration) -> Result<String, Failure> {
        let (status, body) = self.exchange(method, path, patience)?;
        if status == 200 {
            return Ok(body);
        }
        let said = serde_json::from_str::<serde_json::Value>(&body).ok().and_then(|v| Some(lines(v["detail"].as_str()?)));
        let detail = said.unwrap_or_else(|| format!("status {status}"));
        match status {
            422 => Err(Failure::Wrong(detail)),
            _ => Err(Failure::Unreachable(format!("the daemon on {} does not do it: {detail}", self.addr()?))),
        }
    }

    /// Asks likewise, for those who read what is wrong themselves: the status, which is not 401, and the body.
    pub fn exchange(&self, method: &str, path: &str, patience: Duration) -> Result<(u16, String), Failure> {
        self.send(method, path, "", patience)
    }

    /// The same with a body of JSON.
    pub fn send(&self, method: &str, path: &str, json: &str, patience: Duration) -> Result<(u16, String), Failure> {
        self.follow(method, path, json, patience, &mut |_| ())
    }

    /// The same, where the answer may come in lines of JSON: `line` is told each as it comes, and the body holds them all.
    pub fn follow(&self, method: &str, path: &str, json: &str, patience: Duration, line: &mut dyn FnMut(&str)) -> Result<(u16, String), Failure> {
        let addr = self.addr()?;
        let file = self.folder()?.join(api::token::FILE);
        let token = std::fs::read_to_string(&file).map_err(|e| Failure::file(&file, &e))?;
        let headers = format!("Authorization: Bearer {}\r\nAccept: application/json, application/x-ndjson\r\n", token.trim());
        let answer =
            send(addr, method, path, &headers, json, patience, line).map_err(|e| Failure::Unreachable(format!("nothing answers on {addr}: {e}")))?;
        match split(&answer).ok_or_else(|| Failure::Unreachable(format!("what answers on {addr} does not speak HTTP")))? {
            (401, _) => Err(Failure::File(format!("the daemon on {addr} does not take the token in {}", safe(&file.display().to_string())))),
            (status, body) => Ok((status, body.to_owned())),
        }
    }

    /// The data directory.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        let service = Path::new("/var/lib/vigild");
        let data = self.data.clone().or_else(|| service.is_dir().then(|| service.to_owned())).or_else(config::data_dir);
        data.ok_or_else(|| Failure::File("there is no directory for state: give --data, or set HOME".into()))
    }

    fn addr(&self) -> Result<SocketAddr, Failure> {
        if let Some(url) = &self.url {
            let wrong = |why: &str| Failure::Usage(format!("`{}` {why}", safe(url)));
            let rest = url.strip_prefix("http://").ok_or_else(|| wrong("is no URL like http://127.0.0.1:8514"))?;
            let host = rest.trim_end_matches('/');
            let port = host.rsplit(']').next().unwrap_or(host).contains(':');
            let host = if port { host.to_owned() } else { format!("{host}:80") };
            return host.to_socket_addrs().ok().and_then(|mut a| a.next()).ok_or_else(|| wrong("names no address that can be found"));
        }
        Ok(reachable(self.settings()?.http))
    }

    /// The configuration of the daemon, as far as it is known here; else the defaults.
    pub fn settings(&self) -> Result<config::Config, Failure> {
        match self.config.clone().or_else(load::installed) {
            Some(file) => settings(&file),
            None => Ok(config::Config::default()),
        }
    }
}

/// Where the daemon of a configuration can be reached from here.
pub fn configured(file: &Path) -> Result<SocketAddr, Failure> {
    Ok(reachable(settings(file)?.http))
}

fn settings(file: &Path) -> Result<config::Config, Failure> {
    let mut files = Vec::new();
    let (config, said) = load::read_config(Some(file), &mut files)?;
    load::tell(&said, &files)?;
    Ok(config)
}

/// Where a socket that listens on all addresses can be reached from here.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(a) if a.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(a) if a.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        a => a,
    };
    SocketAddr::new(ip, addr.port())
}

/// One request without a body, and its answer as it came. `headers` end with a line break, or are none.
pub fn exchange(addr: SocketAddr, method: &str, path: &str, headers: &str, patience: Duration) -> io::Result<String> {
    send(addr, method, path, headers, "", patience, &mut |_| ())
}

/// An answer of HTTP/1.0 is not cut into chunks: it comes as it is, to its end.
fn send(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &str, patience: Duration, line: &mut dyn FnMut(&str)) -> io::Result<String> {
    let mut s = TcpStream::connect_timeout(&addr, PATIENCE)?;
    s.set_read_timeout(Some(patience))?;
    s.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    s.write_all(format!("{method} {path} HTTP/1.0\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n").as_bytes())?;
    s.write_all(body.as_bytes())?;
    let (mut from, mut bytes) = (BufReader::new(s.take(LONGEST)), Vec::new());
    loop {
        let at = bytes.len();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        if bytes[at..].starts_with(b"{") {
            line(&String::from_utf8_lossy(&bytes[at..]));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Status and body of an answer; `None` where it is no HTTP.
pub fn split(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.split(' ').next()?;
    Some((status.parse().ok().filter(|s| (100..1000).contains(s))?, body))
}

/// Text of several lines without anything that a terminal acts on.
pub fn lines(s: &str) -> String {
    s.lines().map(safe).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        for (listen, ask) in [("0.0.0.0:8514", "127.0.0.1:8514"), ("[::]:1", "[::1]:1"), ("192.0.2.7:2", "192.0.2.7:2")] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), ask);
        }
    }

    #[test]
    fn an_url_names_an_address() {
        let addr = |url: &str| Target { url: Some(url.into()), ..Target::default() }.addr();
        for (url, want) in [
            ("http://127.0.0.1:8514", "127.0.0.1:8514"),
            ("http://127.0.0.1:1/", "127.0.0.1:1"),
            ("http://[::1]:2", "[::1]:2"),
            ("http://192.0.2.1", "192.0.2.1:80"),
        ] {
            assert_eq!(addr(url).ok().map(|a| a.to_string()).as_deref(), Some(want), "{url}");
        }
        for url in ["https://127.0.0.1:1", "127.0.0.1:1", "http://", "http://127.0.0.1:1/x"] {
            assert!(matches!(addr(url), Err(Failure::Usage(_))), "{url}");
        }
    }

    #[test]
    fn what_an_answer_means_is_told_by_its_status() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(api::token::FILE), "t0ken\n").expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let answers = [
            "HTTP/1.1 200 OK\r\n\r\nbody",
            "HTTP/1.1 422 X\r\n\r\n{\"detail\":\"line 1\\u001b\\nline 2\"}",
            "HTTP/1.1 401 X\r\n\r\n",
            "HTTP/1.1 503 X\r\n\r\n<html>",
            "SSH-2.0-OpenSSH",
        ];
        let server = std::thread::spawn(move || {
            for a in answers {
                let (mut s, _) = listener.accept().expect("a client");
                let mut head = [0; 1024];
                let n = s.read(&mut head).expect("a request");
                assert!(String::from_utf8_lossy(&head[..n]).contains("Bearer t0ken\r\n"));
                s.write_all(a.as_bytes()).expect("sent");
            }
        });
        let target = Target { url: Some(url), data: Some(dir.path().to_owned()), ..Target::default() };
        let ask = || target.ask("GET", "/", PATIENCE);
        assert!(matches!(ask(), Ok(b) if b == "body"));
        assert!(matches!(ask(), Err(Failure::Wrong(why)) if why == "line 1\u{fffd}\nline 2"));
        assert!(matches!(ask(), Err(Failure::File(why)) if why.contains("admin.token")));
        assert!(matches!(ask(), Err(Failure::Unreachable(why)) if why.contains("503")));
        assert!(matches!(ask(), Err(Failure::Unreachable(why)) if why.contains("HTTP")));
        server.join().expect("no panic");
        assert!(matches!(ask(), Err(Failure::Unreachable(_))), "nobody is there");
    }
}
