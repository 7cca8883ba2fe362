//! `vigild health`: whether the daemon of this machine takes records; for health checks of containers and services.

use super::{Failure, ask, print, safe};
use crate::config;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Each part of the answer may take so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the daemon whether it takes records: exit code 0 if it does, 5 if not.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration file, for the address of HTTP
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where HTTP listens [default: 127.0.0.1:8514]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
}

/// Asks `/readyz`.
///
/// Errors: 3 where the configuration is wrong, 5 where the daemon does not answer or is not ready, with what is missing.
pub fn run(args: &Args) -> Result<(), Failure> {
    let addr = match (args.http, &args.config) {
        (Some(a), _) => a,
        (None, None) => config::HTTP,
        (None, Some(path)) => ask::configured(path)?,
    };
    let addr = ask::reachable(addr);
    let answer = ask::exchange(addr, "GET", "/readyz", "", PATIENCE).map_err(|e| Failure::Unreachable(format!("nothing answers on {addr}: {e}")))?;
    match ready(&answer) {
        Ok(()) => print("ready\n"),
        Err(why) => Err(Failure::Unreachable(format!("not ready: {why}"))),
    }
}

/// What an answer says: 200, or why not.
fn ready(answer: &str) -> Result<(), String> {
    match ask::split(answer) {
        Some((200, _)) => Ok(()),
        Some((status, body)) => {
            let detail = serde_json::from_str::<serde_json::Value>(body).ok().and_then(|v| v["detail"].as_str().map(safe));
            Err(detail.unwrap_or_else(|| format!("status {status}")))
        }
        None => Err("the answer is not HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_200_is_ready() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", Ok(())),
            ("HTTP/1.1 503 X\r\n\r\n{\"detail\":\"missing: engine\\u001b[2J\"}", Err("missing: engine\u{fffd}[2J")),
            ("HTTP/1.1 503 X\r\n\r\n<html>", Err("status 503")),
            ("HTTP/1.0 200 OK\r\n\r\nready\n", Ok(())),
            ("HTTP/1.1 2000 X\r\n\r\n", Err("the answer is not HTTP")),
            ("HTTP/1.1 2x X\r\n\r\n", Err("the answer is not HTTP")),
            ("SSH-2.0-OpenSSH 200 x", Err("the answer is not HTTP")),
            ("", Err("the answer is not HTTP")),
        ] {
            assert_eq!(ready(answer), want.map_err(str::to_owned), "{answer}");
        }
    }

    #[test]
    fn nobody_there_is_unreachable() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let r = run(&Args { config: None, http: Some(free) });
        assert!(matches!(r, Err(Failure::Unreachable(why)) if why.contains(&free.to_string())));
    }
}
