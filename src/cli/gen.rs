//! `vigild gen`: load in all five native formats.

use super::Failure;
use crate::config;
use crate::event::{Span, Timestamp, time};
use crate::r#gen::send::{self, Account, Framing, Manifest, Plan, Target};
use crate::r#gen::{Attacks, Form, MAX_STREAMS, Recipe, START, Stream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Makes load: records of the five native formats, ordinary and attack traffic, the same for the same seed.
///
/// Times without a zone are UTC. Each record holds its connection and a gapless number from 1, packed as
/// connection × 2^40 + number: EVE in `flow_id`, Falco in `evt.num`, Fail2ban in the process id, OSSEC in the alert's id,
/// ModSecurity in the unique id.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// suricata, falco, fail2ban, ossec, ossec-json, modsecurity, modsecurity-native, or mixed; several take turns.
    #[arg(long, value_name = "NAME", default_value = "mixed")]
    format: Vec<String>,
    /// Where the random numbers begin; the same seed with `--start` or without `--rate` gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many records in all; 1000 where nothing else says when to end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long to go on: `30s`, `5m`.
    #[arg(long, value_name = "D", conflicts_with = "count")]
    duration: Option<String>,
    /// Records a second, over all connections: `20000/s`. Event times are then those of the clock, unless `--start` is given.
    #[arg(long, value_name = "N/s")]
    rate: Option<String>,
    /// Attacks among the ordinary traffic: a part of the records (`0.01`) or a number of attacks (`25`).
    #[arg(long, value_name = "FRACTION|N", default_value = "0")]
    attacks: String,
    /// The first event time, RFC 3339; without it and `--rate`, 2026-11-23T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// How many records a second of event time has where event times are not the clock's: as `--rate`, else 1000/s.
    #[arg(long, value_name = "N/s")]
    spacing: Option<String>,
    /// How many machines the records speak of.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    hosts: u64,
    /// `-` for stdout, a file, udp://HOST:PORT, tcp://HOST:PORT, or http://HOST:PORT/api/v1/ingest/FORMAT.
    #[arg(long, value_name = "TARGET", default_value = "-")]
    to: String,
    /// On TCP: lines as they stand, or octet counting with a syslog header before each record.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Framing::Lf)]
    framing: Framing,
    /// How many connections, each with a stream of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// How many records an HTTP request has at most.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// A file with the bearer token for HTTP.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long an HTTP request is repeated, with the same idempotency key, that was refused for the moment or not answered.
    #[arg(long, value_name = "D", default_value = "30s")]
    patience: String,
    /// Lists the attacks that were planted here, one JSON line each: scenario, rule, key, time.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Writes what was sent and acknowledged, in all and by connection, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn forms(names: &[String]) -> Result<Vec<(Form, u64)>, Failure> {
    if names.iter().any(|n| n == "mixed") {
        if names.len() > 1 {
            return Err(Failure::Usage("`--format mixed` is all formats already".into()));
        }
        return Ok(Form::MIXED.to_vec());
    }
    let known = || Form::ALL.iter().map(|(n, _)| *n).chain(["mixed"]);
    let mut forms: Vec<(Form, u64)> = Vec::new();
    for name in names {
        let form = Form::named(name).ok_or_else(|| {
            let near = config::near(name, known()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Failure::Usage(format!("`{}` cannot be made{near}\nknown are: {}", super::safe(name), known().collect::<Vec<_>>().join(", ")))
        })?;
        match forms.iter_mut().find(|(f, _)| *f == form) {
            Some((_, n)) => *n += 1,
            None => forms.push((form, 1)),
        }
    }
    Ok(forms)
}

fn rate(option: &str, s: &str) -> Result<f64, Failure> {
    let n = s.strip_suffix("/s").unwrap_or(s).replace('_', "").parse::<f64>().ok().filter(|n| (1e-3..=1e9).contains(n));
    n.ok_or_else(|| Failure::Usage(format!("`{option} {}` is no rate: write `20000/s`, from 0.001/s to 1000000000/s", super::safe(s))))
}

fn duration(option: &str, s: &str) -> Result<Duration, Failure> {
    let span = Span::parse(s).ok_or_else(|| Failure::Usage(format!("`{option} {}` is no duration: write `500ms`, `30s` or `5m`", super::safe(s))))?;
    Ok(Duration::from_nanos(span.0.unsigned_abs()))
}

fn attacks(s: &str) -> Result<Attacks, Failure> {
    let wrong = || Failure::Usage(format!("`--attacks {}` is neither a part such as `0.01` nor a number such as `25`", super::safe(s)));
    if s.contains('.') {
        return s.parse().ok().filter(|f| (0.0..=1.0).contains(f)).map(Attacks::Fraction).ok_or_else(wrong);
    }
    s.parse().map(Attacks::Number).map_err(|_| wrong())
}

fn start(s: &str) -> Result<Timestamp, Failure> {
    let read = time::iso(s.as_bytes(), &jiff::tz::TimeZone::UTC).filter(|(t, n)| *n == s.len() && t.0 >= 0);
    read.map(|(t, _)| t).ok_or_else(|| Failure::Usage(format!("`--start {}` is no time: write `2026-11-23T00:00:00Z`", super::safe(s))))
}

/// What is wanted and how it is sent, or what is wrong with it.
fn plan(args: &Args) -> Result<(Recipe, Plan), Failure> {
    let forms = forms(&args.format)?;
    let target = Target::parse(&args.to).map_err(|e| Failure::Usage(super::safe(&e)))?;
    let pace = args.rate.as_deref().map(|r| rate("--rate", r)).transpose()?;
    let spacing = args.spacing.as_deref().map(|r| rate("--spacing", r)).transpose()?;
    let lasts = args.duration.as_deref().map(|d| duration("--duration", d)).transpose()?;
    let start = args.start.as_deref().map(start).transpose()?;
    let blocks = forms.iter().any(|(f, _)| f.is_block());
    let usage = |s: &str| Err(Failure::Usage(s.into()));
    if blocks && matches!(target, Target::Tcp(_)) && args.framing == Framing::Lf {
        return usage("a record of ossec or modsecurity-native has several lines: use `--framing octet`, or ossec-json and modsecurity");
    }
    if blocks && forms.len() > 1 && (target.is_file() || target.is_http()) {
        return usage("blocks of several lines cannot stand in one file with another format: use ossec-json and modsecurity");
    }
    if args.connections > 1 && target.is_file() {
        return usage("`--connections` is for udp, tcp and http");
    }
    let token = match &args.token_file {
        None => None,
        Some(p) => Some(std::fs::read_to_string(p).map_err(|e| Failure::file(p, &e))?.trim().to_owned()),
    };
    if token.as_ref().is_some_and(|t| t.is_empty() || !t.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(Failure::File("the token file holds no token".into()));
    }
    // With a rate, a duration is a number of records.
    let count = match (args.count, pace, lasts) {
        (Some(n), ..) => Some(n),
        (None, Some(r), Some(d)) => Some(((r * d.as_secs_f64()) as u64).max(1)),
        (None, None, Some(_)) => None,
        (None, _, None) => Some(1000),
    };
    let recipe = Recipe {
        forms,
        seed: args.seed,
        hosts: args.hosts,
        attacks: attacks(&args.attacks)?,
        streams: args.connections.min(MAX_STREAMS),
        count,
        start: if pace.is_some() && spacing.is_none() { start } else { Some(start.unwrap_or(START)) },
        spacing: spacing.or(pace).unwrap_or(1000.0),
    };
    if let Some(c) = recipe.complaint() {
        return Err(Failure::Usage(c));
    }
    let plan = Plan {
        target,
        framing: args.framing,
        rate: pace.map(|r| r / f64::from(args.connections)),
        duration: lasts.filter(|_| pace.is_none()),
        batch: args.batch as usize,
        token,
        patience: duration("--patience", &args.patience)?,
        run: format!("{:x}-{:x}", crate::clock::now().0, std::process::id()),
    };
    Ok((recipe, plan))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (recipe, plan) = plan(args)?;
    let file = |p: &PathBuf, e: &std::io::Error| Failure::File(format!("cannot write {}: {e}", super::safe(&p.display().to_string())));
    let manifest = Manifest::create(args.manifest.as_deref()).map_err(|e| file(args.manifest.as_ref().unwrap_or(&PathBuf::new()), &e))?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(recipe.streams as usize);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::File(format!("cannot start threads: {e}")))?;
    let begun = crate::clock::monotonic();
    let accounts: Vec<Account> = runtime.block_on(async {
        let shared = Arc::new((plan, manifest));
        let tasks: Vec<_> = (0..recipe.streams)
            .map(|i| {
                let (shared, stream) = (shared.clone(), Stream::new(&recipe, i));
                tokio::spawn(async move { send::send(&shared.0, i, stream, &shared.1).await })
            })
            .collect();
        let mut accounts = Vec::with_capacity(tasks.len());
        for t in tasks {
            match t.await {
                Ok(a) => accounts.push(a),
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            }
        }
        accounts
    });
    let seconds = begun.elapsed().as_secs_f64();
    let sum = |f: fn(&Account) -> u64| accounts.iter().map(f).sum::<u64>();
    let (records, bytes, acknowledged) = (sum(|a| a.records), sum(|a| a.bytes), sum(|a| a.acknowledged));
    let (repeats, refused) = (sum(|a| a.repeats), sum(|a| a.refused));
    let mut said = format!("{records} records, {bytes} bytes sent, {seconds:.3} s, {:.0} records/s", records as f64 / seconds.max(1e-9));
    for (n, what) in [(acknowledged, "acknowledged"), (repeats, "requests repeated"), (refused, "datagrams refused")] {
        if n > 0 || what == "acknowledged" && args.to.starts_with("http") {
            said += &format!(", {n} {what}");
        }
    }
    eprintln!("{said}");
    if let Some(p) = &args.report {
        let report = serde_json::json!({
            "records": records, "bytes": bytes, "acknowledged": acknowledged, "repeats": repeats, "refused": refused,
            "seconds": seconds, "connections": accounts,
        });
        std::fs::write(p, format!("{report}\n")).map_err(|e| file(p, &e))?;
    }
    let failed: Vec<&Account> = accounts.iter().filter(|a| a.error.is_some()).collect();
    let why = failed.iter().filter_map(|a| a.error.as_deref()).collect::<Vec<_>>().join("\n");
    match failed.first() {
        None => Ok(()),
        Some(a) if a.file => Err(Failure::File(why)),
        Some(_) => Err(Failure::Unreachable(why)),
    }
}
