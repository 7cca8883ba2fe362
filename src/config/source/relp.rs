//! A source of kind `relp`.

use super::super::{Reader, Table};
use super::tls::Tls;
use std::net::SocketAddr;
use std::ops::Range;

/// Where RELP is listened for.
#[derive(Clone, Debug, PartialEq)]
pub struct Relp {
    /// The address.
    pub listen: SocketAddr,
    /// How it is encrypted; `None` is not at all.
    pub tls: Option<Tls>,
    /// So many messages of a connection may wait for their answer; beyond them it is not read.
    pub window: usize,
    /// So many bytes of them.
    pub window_bytes: usize,
}

/// Its keys.
pub const KEYS: &[&str] = &["listen", "insecure", "tls", "window", "window_bytes"];

impl Reader {
    pub(super) fn relp(&mut self, t: &Table<'_>, at: Range<usize>) -> Option<Relp> {
        let tls = self.tls(t);
        let listen = self.listen_for(t, t.contains_key("tls"));
        if !t.contains_key("listen") {
            self.say("V004", at, "a source of kind relp must have a `listen`".into(), "no address here", None);
        }
        let (mut window, mut window_bytes) = (1000, 4 << 20);
        self.size(t, "window", 1..100_001, &mut window);
        self.size(t, "window_bytes", 1 << 10..(1 << 30) + 1, &mut window_bytes);
        Some(Relp { listen: listen?, tls, window, window_bytes })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::read;

    #[test]
    fn what_is_wrong_is_told_all_at_once() {
        let tls = "[source.tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        for (text, said) in [
            ("listen = \"127.0.0.1:2514\"\nwindow = 10\nwindow_bytes = \"1MiB\"\n", &[][..]),
            (&format!("listen = \"0.0.0.0:2514\"\n{tls}"), &[]),
            ("listen = \"0.0.0.0:2514\"\n", &["V006 \"0.0.0.0:2514\""]),
            ("window = 0\n", &["V004 [[source]]", "V005 0"]),
            ("listen = \"127.0.0.1:2514\"\ntransport = \"tcp\"\n", &["V002 transport"]),
        ] {
            let text = format!("[[source]]\nkind = \"relp\"\n{text}");
            let got: Vec<String> = read("vigild.toml", &text).1.iter().map(|d| format!("{} {}", d.code, &text[d.span.clone()])).collect();
            assert_eq!(got, said, "{text}");
        }
    }
}
