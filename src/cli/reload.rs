//! `vigild reload`: the running daemon reads configuration and rules again.

use super::ask::Target;
use super::{Failure, print, safe};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Reading the rules and ending sources may take so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes the running daemon read configuration and rules again, and says what changed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

/// Asks `POST /api/v1/reload`.
///
/// Errors: 3 with every complaint where configuration or rules are wrong: then all stays as it was; 4 without the right token,
/// 5 where the daemon does not answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let answer = args.target.ask("POST", "/api/v1/reload", PATIENCE).map_err(|f| match f {
        Failure::Wrong(why) => Failure::Wrong(format!("not reloaded:\n{why}")),
        other => other,
    })?;
    let v: Value = serde_json::from_str(&answer).map_err(|_| Failure::Unreachable("what answers is not vigild".into()))?;
    print(&said(&v))
}

/// What changed, in words.
fn said(v: &Value) -> String {
    let mut out = format!("reloaded, {} rules\n", v["rules"].as_u64().unwrap_or(0));
    for (key, what) in [
        ("added", "rules added"),
        ("changed", "rules changed, windows rebuilt from the journal"),
        ("removed", "rules removed"),
        ("sources", "sources begun or ended"),
        ("needs_restart", "changed, and holds only after a restart"),
    ] {
        let all: Vec<String> = v[key].as_array().into_iter().flatten().filter_map(|s| s.as_str().map(safe)).collect();
        if !all.is_empty() {
            let _ = writeln!(out, "{what}: {}", all.join(", "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_changed_is_said_and_the_rest_is_not() {
        let v = json!({ "rules": 3, "added": ["a", "b\u{1b}[2J"], "changed": [], "needs_restart": ["[http]"] });
        assert_eq!(said(&v), "reloaded, 3 rules\nrules added: a, b\u{fffd}[2J\nchanged, and holds only after a restart: [http]\n");
        assert_eq!(said(&json!({})), "reloaded, 0 rules\n");
    }
}
