//! The answers of RELP, written in the order of the frames, each when it is due.

use super::frame::Malformed;
use crate::pipeline::Stored;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

/// Answers that nobody takes for so long end the session.
const TAKEN: Duration = Duration::from_secs(60);

/// What is to be written.
pub enum Answer {
    /// This.
    Say(Vec<u8>),
    /// That frames are stored, once they are.
    Stored {
        /// Their numbers.
        numbers: Vec<u32>,
        /// Says that they are durable.
        stored: oneshot::Receiver<Stored>,
        /// Their places in the window, free again when they are answered.
        window: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    },
}

fn response(number: u32, text: &str) -> Vec<u8> {
    if text.is_empty() { format!("{number} rsp 0\n").into_bytes() } else { format!("{number} rsp {} {text}\n", text.len()).into_bytes() }
}

/// The session is over from this side.
pub fn server_close() -> Vec<u8> {
    b"0 serverclose 0\n".to_vec()
}

/// The session is over since the other side has closed it.
pub fn closed(number: u32) -> Vec<u8> {
    [response(number, ""), server_close()].concat()
}

/// The session is over since it went wrong.
pub fn refused(m: Malformed) -> Vec<u8> {
    let mut out = m.number.map_or(Vec::new(), |n| response(n, &format!("500 {}", m.why)));
    out.extend(server_close());
    out
}

/// The answer to what the other side offers at the beginning, or why there is no session.
pub fn opened(number: u32, offers: &[u8]) -> Result<Vec<u8>, &'static str> {
    let offer = |name: &str| offers.split(|c| *c == b'\n').find_map(|l| l.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    match offer("relp_version") {
        // Version 1 was spoken for a while, and is the same.
        Some(b"0" | b"1") => {}
        Some(_) => return Err("relp_version must be 0"),
        None => return Err("relp_version is missing"),
    }
    if !offer("commands").is_some_and(|c| c.split(|c| *c == b',').any(|c| c == b"syslog")) {
        return Err("the command syslog must be offered");
    }
    Ok(response(number, concat!("200 OK\nrelp_version=0\nrelp_software=vigild,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog")))
}

/// Writes answers until there are no more, or until one of them will never be due or is not taken.
pub async fn write(mut to: impl AsyncWrite + Unpin, mut due: mpsc::Receiver<Answer>) {
    while let Some(a) = due.recv().await {
        let (text, _window) = match a {
            Answer::Say(text) => (text, None),
            Answer::Stored { numbers, stored, window } => {
                // Without an answer the sender keeps the records, and sends them again.
                let Ok(Ok(_)) = stored.await else { return };
                (numbers.iter().flat_map(|n| response(*n, "200 OK")).collect(), Some(window))
            }
        };
        let taken = timeout(TAKEN, async {
            to.write_all(&text).await?;
            to.flush().await
        });
        if !matches!(taken.await, Ok(Ok(()))) {
            return;
        }
    }
    // The other side may be gone already.
    let _ = timeout(TAKEN, to.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_opens_for_whoever_offers_syslog() {
        for (offers, ok) in [
            ("relp_version=0\nrelp_software=librelp,1.10.0,http://librelp.adiscon.com\ncommands=syslog", true),
            ("commands=eventlog,syslog\nrelp_version=1", true),
            ("relp_version=0", false),
            ("commands=syslog", false),
            ("relp_version=2\ncommands=syslog", false),
            ("relp_version=0\ncommands=syslogs", false),
            ("", false),
        ] {
            assert_eq!(opened(1, offers.as_bytes()).is_ok(), ok, "{offers}");
        }
        let text = String::from_utf8(opened(7, b"relp_version=0\ncommands=syslog").expect("fits")).expect("text");
        let (head, data) = text.split_once(" 200 OK").expect("it is granted");
        assert_eq!(head, format!("7 rsp {}", data.len() + "200 OK".len() - 1));
    }

    #[test]
    fn what_went_wrong_is_told_if_the_number_is_known() {
        let text = |number| String::from_utf8(refused(Malformed { number, why: "no length" })).expect("text");
        assert_eq!(text(Some(3)), "3 rsp 13 500 no length\n0 serverclose 0\n");
        assert_eq!(text(None), "0 serverclose 0\n");
        assert_eq!(closed(9), b"9 rsp 0\n0 serverclose 0\n");
    }
}
