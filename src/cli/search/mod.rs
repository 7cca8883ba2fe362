//! `vigild search`: events of the past, from the running daemon or from the directory of a stopped one.

mod csv;
mod print;

use super::ask::{self, Target};
use super::stopped::Stopped;
use super::{Failure, color, written};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// The daemon may take so long for each part of its answer: longer than a search may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// So many events are asked for at once.
const PAGE: usize = 500;
/// So many stretches of time are drawn.
const BUCKETS: usize = 40;

/// Searches what came in. The query is a condition as in a rule, where a word or a "string" alone searches the text
///
/// For example: '"sql injection" and source.ip in cidr("203.0.113.0/24") and event.severity >= 60'. Without a query every event is found.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The query
    #[arg(value_name = "QUERY", default_value = "")]
    query: String,
    /// Events from then on: 2026-11-23T05:00:00Z, or a span back from now as 90s, 1h, 30d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Events before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many events [default: 100, or none where something else is asked for]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The fields to show, with commas between them
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
    /// Which events come first: the oldest (asc) or the newest (desc)
    #[arg(long, value_enum, default_value_t = Order::Desc)]
    order: Order,
    /// The most frequent values of a field
    #[arg(long, value_name = "FIELD")]
    top: Option<String>,
    /// So many of them
    #[arg(long, value_name = "N", default_value_t = 10)]
    values: usize,
    /// How many different values a field has
    #[arg(long, value_name = "FIELD")]
    distinct: Option<String>,
    /// The least, the greatest and the sum of the numbers of a field
    #[arg(long, value_name = "FIELD")]
    stats: Option<String>,
    /// How many events there are over time
    #[arg(long)]
    histogram: bool,
    /// How to print it [default: table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    output: Option<Output>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Asc,
    Desc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Ndjson,
    Csv,
}

/// One page of an answer.
#[derive(Deserialize)]
struct Answer {
    total: u64,
    hits: Vec<Box<RawValue>>,
    #[serde(default)]
    highlights: Vec<Vec<(usize, usize)>>,
    histogram: Option<Histogram>,
    top: Option<Top>,
    distinct: Option<Box<RawValue>>,
    stats: Option<Box<RawValue>>,
    complete: bool,
    reason: Option<String>,
    scanned: u64,
    missing: Vec<Missing>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Histogram {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    from: String,
    count: u64,
}

#[derive(Deserialize)]
struct Top {
    field: String,
    distinct: u64,
    values: Vec<Counted>,
}

#[derive(Deserialize)]
struct Counted {
    value: Box<RawValue>,
    count: u64,
}

#[derive(Deserialize)]
struct Missing {
    first: u64,
    last: u64,
    why: String,
}

/// Where answers come from.
enum From<'a> {
    Daemon(&'a Target),
    Stopped(Box<Stopped>),
}

impl From<'_> {
    fn ask(&self, pairs: &[(String, String)]) -> Result<Answer, Failure> {
        let body = match self {
            From::Daemon(target) => {
                let path = form_urlencoded::Serializer::new("/api/v1/search?".to_owned()).extend_pairs(pairs).finish();
                let path = path.replacen("?&", "?", 1);
                match target.exchange("GET", &path, PATIENCE)? {
                    (200, body) => body,
                    (400, body) => return Err(refused(&body)),
                    (status, body) => {
                        return Err(Failure::Unreachable(detail(&body).unwrap_or_else(|| format!("the daemon answers with status {status}"))));
                    }
                }
            }
            From::Stopped(s) => s.answer(pairs)?,
        };
        serde_json::from_str(&body).map_err(|_| Failure::Unreachable("what answers is not vigild, or its answer is too long".into()))
    }
}

fn detail(body: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Value>(body).ok().and_then(|v| Some(ask::lines(v["detail"].as_str()?)))
}

/// A query that is wrong is drawn, with a caret.
fn refused(body: &str) -> Failure {
    let drawn = serde_json::from_str::<serde_json::Value>(body).ok().and_then(|v| Some(ask::lines(v["drawn"].as_str()?)));
    match drawn {
        Some(d) => {
            eprintln!("{}", d.trim_end());
            Failure::Usage("the query is wrong".into())
        }
        None => Failure::Usage(detail(body).unwrap_or_else(|| "the daemon does not take the request".into())),
    }
}

/// Runs the command: a directory that no daemon has open is searched itself, else its daemon is asked.
///
/// Errors: 2 for a query that is wrong, 4 where journal or token cannot be read, 5 where the daemon does not answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let stopped = if args.target.url.is_some() { None } else { Stopped::open(&args.target)? };
    let from = stopped.map_or(From::Daemon(&args.target), |s| From::Stopped(Box::new(s)));
    let counts = args.top.is_some() || args.distinct.is_some() || args.stats.is_some() || args.histogram;
    let limit = args.limit.unwrap_or(if counts { 0 } else { 100 });
    let mut out = io::stdout().lock();
    let output = args.output.unwrap_or(if out.is_terminal() { Output::Table } else { Output::Ndjson });
    let mut print = print::Print::new(output, args.fields.as_deref(), color(&out));
    let (mut left, mut cursor, mut shown) = (limit, None, 0);
    loop {
        let answer = from.ask(&pairs(args, left.min(PAGE), cursor.as_deref()))?;
        if cursor.is_none() {
            written(print.counts(&answer, &mut out))?;
        }
        written(print.hits(&answer, &mut out))?;
        shown += answer.hits.len();
        left = left.saturating_sub(answer.hits.len());
        if left == 0 || answer.next.is_none() || answer.hits.is_empty() {
            written(print.end(&mut out).and_then(|()| out.flush()))?;
            eprint!("{}", print::summary(&answer, shown));
            return Ok(());
        }
        cursor = answer.next;
    }
}

/// The parameters of a page. What is made of all events is asked for with the first page alone.
fn pairs(args: &Args, limit: usize, cursor: Option<&str>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut put = |k: &str, v: Option<String>| all.extend(v.map(|v| (k.to_owned(), v)));
    put("q", Some(args.query.clone()));
    put("since", args.since.clone());
    put("until", args.until.clone());
    put("order", Some(if args.order == Order::Asc { "asc" } else { "desc" }.into()));
    put("limit", Some(limit.to_string()));
    put("fields", args.fields.clone());
    put("cursor", cursor.map(str::to_owned));
    if cursor.is_none() {
        put("top", args.top.clone());
        put("values", args.top.as_ref().map(|_| args.values.to_string()));
        put("distinct", args.distinct.clone());
        put("stats", args.stats.clone());
        put("buckets", args.histogram.then(|| BUCKETS.to_string()));
    }
    all
}
