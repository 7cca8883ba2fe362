//! A source of kind `hook`: the webhooks of one sender, at `POST /hooks/NAME`.

use super::super::secret::Secret;
use super::super::{Reader, Table};
use std::ops::Range;

/// One sender of webhooks.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// What its bodies are proved by.
    pub signature: Signature,
    /// The secret that it shares with us.
    pub secret: Option<Secret>,
}

/// How a body is proved to come from who knows the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// HMAC-SHA256 of the body in `X-Hub-Signature-256`, as GitHub has it.
    Github,
    /// HMAC-SHA256 of the body in a header, in hex.
    Hmac {
        /// The header, in small letters.
        header: String,
    },
    /// The secret itself in a header.
    Token {
        /// The header, in small letters.
        header: String,
    },
    /// Not at all: senders on this machine, and those of `allow`.
    None,
}

/// Its keys.
pub const KEYS: &[&str] = &["secret", "signature", "header"];
const SIGNATURES: [&str; 4] = ["github", "hmac-sha256", "token", "none"];

impl Reader {
    pub(super) fn hook(&mut self, t: &Table<'_>, at: Range<usize>) -> Hook {
        let secret = self.secret(t, "secret");
        let known = format!("one of {}", SIGNATURES.join(", "));
        let signature = self.read_at(t, "signature", &known, |s| SIGNATURES.into_iter().find(|k| *k == s));
        let github = t.get("format").and_then(|f| f.get_ref().as_str()) == Some("github");
        let signature = signature.unwrap_or(if github { "github" } else { "token" });
        let is_header = |s: &str| axum::http::HeaderName::try_from(s).ok().map(|n| n.as_str().to_owned());
        let header = self.read_at(t, "header", "the name of a header", is_header);
        if t.contains_key("header") && matches!(signature, "github" | "none") {
            self.say("V011", at.clone(), format!("a hook with `signature = \"{signature}\"` has no `header` to choose"), "", None);
        }
        if signature == "hmac-sha256" && !t.contains_key("header") {
            let help = "for example `header = \"X-Signature\"`".to_owned();
            self.say(
                "V004",
                at.clone(),
                "a hook that is signed must have the `header` that its signature stands in".into(),
                "no header here",
                Some(help),
            );
        }
        match (signature, t.contains_key("secret")) {
            ("none", true) => {
                self.say("V011", at, "a hook with `signature = \"none\"` has no use for a `secret`".into(), "", Some("leave one of them out".into()));
            }
            ("none", false) | (_, true) => {}
            (_, false) => {
                let help = "for example `secret = { file = \"/etc/vigild/hook.secret\" }`; without a proof, `signature = \"none\"` takes only senders \
                            on this machine and those of `allow`";
                self.say("V004", at, "a hook must have a `secret`".into(), "no secret here", Some(help.into()));
            }
        }
        let signature = match signature {
            "github" => Signature::Github,
            "hmac-sha256" => Signature::Hmac { header: header.unwrap_or_default() },
            "none" => Signature::None,
            _ => Signature::Token { header: header.unwrap_or_else(|| "authorization".into()) },
        };
        Hook { signature, secret }
    }
}
