//! `vigild backtest`: what rules would have fired, from the running daemon or from the directory of a stopped one.

use super::ask::Target;
use super::stopped::Stopped;
use super::{Failure, check, color, safe, written};
use crate::backtest::{self, Bounds, Refused, Request};
use crate::event::{Schema, Timestamp};
use crate::parse::Estate;
use crate::rule::load;
use crate::{clock, diag, search};
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The daemon may be silent so long; one that knows no lines of progress is so until it has the answer.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How often the progress is drawn.
const DRAWN: Duration = Duration::from_millis(200);
/// How long the bars of days and of progress are.
const BAR: usize = 40;

/// Tries rules on what came in: alerts by day and by key, the first of them, and what would be otherwise
///
/// The rules of the files take the place of rules in force of the same ids, and may listen to the others.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Rule files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Events from then on: 2026-11-23T05:00:00Z, or a span back from now as 90s, 1h, 30d [default: all there are]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Events before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Compare with the rules in force of the same ids
    #[arg(long)]
    against: bool,
    /// Tell what an exception for events with this condition would remove
    #[arg(long, value_name = "CONDITION")]
    except: Option<String>,
    /// Print the answer as one JSON object [default: on a pipe]
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
///
/// Errors: 2 for a time that is none, 3 for rules that are wrong, 4 where files or journal cannot be read, 5 where the daemon does not
/// answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let request = request(args)?;
    let stopped = if args.target.url.is_some() { None } else { Stopped::open(&args.target)? };
    let body = match stopped {
        Some(s) => here(&s, &request, Bounds::from(&args.target.settings()?.backtest))?,
        None => asked(&args.target, &request)?,
    };
    let mut out = io::stdout().lock();
    if args.json || !out.is_terminal() {
        return written(writeln!(out, "{}", body.trim_end()));
    }
    let report: Value = serde_json::from_str(&body).map_err(|_| Failure::Unreachable("what answers is not vigild".into()))?;
    written(out.write_all(told(&report).as_bytes()))
}

fn request(args: &Args) -> Result<Request, Failure> {
    let instant = |name: &str, t: &Option<String>| -> Result<Option<Timestamp>, Failure> {
        t.as_deref().map(|t| search::parameters::instant(name, t, clock::now())).transpose().map_err(Failure::Usage)
    };
    let files = check::files(&args.paths).map_err(|(p, e)| Failure::file(&p, &e))?;
    let named = RefCell::new(BTreeMap::new());
    // For the files that tables name. What is wrong is told by whoever knows the other rules.
    load::load(&files, &Estate::default(), Schema::default(), &|path| {
        let text = check::read(path)?;
        named.borrow_mut().insert(path.to_owned(), text.clone());
        Ok(text)
    });
    let (since, until) = (instant("since", &args.since)?, instant("until", &args.until)?);
    Ok(Request { files, named: named.into_inner(), since, until, against: args.against, except: args.except.clone() })
}

fn asked(target: &Target, request: &Request) -> Result<String, Failure> {
    let json = serde_json::to_string(request).map_err(|e| Failure::Usage(e.to_string()))?;
    let mut bar = Progress::default();
    let mut line = |l: &str| {
        if let Ok(Line { progress: Some(share), .. }) = serde_json::from_str(l) {
            // It goes to stderr; whoever reads that may have gone.
            let _ = bar.at(share);
        }
    };
    let (status, body) = target.follow("POST", "/api/v1/backtest", &json, PATIENCE, &mut line)?;
    bar.end();
    let (status, body) = match body.lines().last().map(serde_json::from_str) {
        Some(Ok(Line { report: Some(r), .. })) => (200, r.get().to_owned()),
        Some(Ok(Line { problem: Some(p), .. })) => (p["status"].as_u64().unwrap_or(0) as u16, p.to_string()),
        Some(Ok(Line { progress: Some(_), .. })) => return Err(Failure::Unreachable("the daemon ended before the backtest did".into())),
        _ => (status, body),
    };
    let detail = || {
        let said = serde_json::from_str::<Value>(&body).ok().and_then(|v| Some(super::ask::lines(v["detail"].as_str()?)));
        said.unwrap_or_else(|| format!("the daemon answers with status {status}"))
    };
    match status {
        200 => Ok(body),
        422 => Err(Failure::Wrong(detail())),
        _ => Err(Failure::Unreachable(detail())),
    }
}

/// A line of an answer that comes in lines.
#[derive(serde::Deserialize)]
struct Line<'a> {
    progress: Option<f64>,
    #[serde(borrow)]
    report: Option<&'a RawValue>,
    problem: Option<Value>,
}

fn here(s: &Stopped, request: &Request, bounds: Bounds) -> Result<String, Failure> {
    let in_force = s.bundle().ok_or_else(|| Failure::File("the rules that were in force when the daemon stopped cannot be read".into()))?;
    let mut bar = Progress::default();
    let done = s.on(|ground, last| backtest::answer(ground, &in_force, request, last, bounds, &mut |share| bar.at(share)));
    bar.end();
    match done {
        Ok(r) => serde_json::to_string(&r).map_err(|e| Failure::File(e.to_string())),
        Err(Refused::Request(why)) => Err(Failure::Wrong(why)),
        Err(Refused::Rules(said, texts)) => {
            eprint!("{}", diag::draw(&said, &texts, color(&io::stderr())));
            Err(Failure::Wrong("the rules are wrong".into()))
        }
        Err(Refused::Io(e)) => Err(Failure::File(format!("journal or index cannot be read: {e}"))),
    }
}

/// A bar on stderr, on a terminal alone.
#[derive(Default)]
struct Progress(Option<Instant>);

impl Progress {
    fn at(&mut self, share: f64) -> io::Result<()> {
        if io::stderr().is_terminal() && self.0.is_none_or(|t| t.elapsed() >= DRAWN) {
            self.0 = Some(clock::monotonic());
            let full = (share * BAR as f64) as usize;
            eprint!("\r[{}{}] {:3.0} %", "#".repeat(full), " ".repeat(BAR.saturating_sub(full)), share * 100.0);
        }
        Ok(())
    }

    fn end(&self) {
        if self.0.is_some() {
            eprint!("\r{}\r", " ".repeat(BAR + 10));
        }
    }
}

/// The answer for people.
fn told(report: &Value) -> String {
    let text = |v: &Value| safe(v.as_str().unwrap_or_default());
    let mut out = String::new();
    for r in report["rules"].as_array().into_iter().flatten() {
        let n = r["alerts"].as_u64().unwrap_or(0);
        out += &format!("{} ({}): {n} alert{}\n", text(&r["id"]), text(&r["title"]), if n == 1 { "" } else { "s" });
        let days = r["days"].as_array().cloned().unwrap_or_default();
        let most = days.iter().filter_map(|d| d["alerts"].as_u64()).max().unwrap_or(1).max(1);
        for d in &days {
            let n = d["alerts"].as_u64().unwrap_or(0);
            out += &format!("  {} {n:>6} {}\n", text(&d["day"]), "#".repeat((n as usize * BAR).div_ceil(most as usize)));
        }
        for k in r["keys"].as_array().into_iter().flatten() {
            out += &format!("  {:>6} {}\n", k["alerts"].as_u64().unwrap_or(0), safe(&k["key"].to_string()));
        }
        for a in r["first"].as_array().into_iter().flatten() {
            out += &format!("  {} {}\n", text(&a["@timestamp"]), text(&a["message"]));
        }
        if let Some(v) = r.get("against") {
            out += &format!(
                "  the rule in force: {} alerts; {} in both, {} only here, {} only there\n",
                v["alerts"], v["both"], v["only_here"], v["only_there"]
            );
        }
        if let Some(v) = r.get("exception") {
            out += &format!("  with the exception: {} alerts; it removes {} and adds {}\n", v["alerts"], v["only_here"], v["only_there"]);
        }
    }
    for m in report["missing"].as_array().into_iter().flatten() {
        out += &format!("not complete: {}\n", text(m));
    }
    out += &format!("{} of {} records were read\n", report["read"], report["events"]);
    out
}
