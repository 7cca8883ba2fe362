//! `vigild demo`: the release night, played into a daemon of its own and told as it happens.

use super::{Failure, print, safe};
use crate::demo::daemon::{Daemon, DaemonError, Instance};
use crate::demo::night::{self, Entry, Step};
use crate::demo::shift;
use crate::event::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

/// Plays the release night into a temporary instance and shows what happens.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Keep the instance running when the story is told
    #[arg(long)]
    stay: bool,
}

/// An alert of this severity or more has to be looked at.
const MEDIUM: i64 = 47;
/// The rule that recognises a deployment, and the action that the demo's own rule file attaches to it.
const ROTATION: (&str, &str) = ("deployment-started", "rotate-deploy-secrets");
/// The metrics that the night is about: their lines begin so, and the last must end at this value.
const METRICS: [(&str, Option<f64>); 2] =
    [("security_events_total{type=\"deployment\"}", None), ("container_security_scan_score{image=\"react-app:v2.1.7\"}", Some(0.98))];
/// So many bytes go in one request at most.
const GROUP: usize = 256 << 10;

impl From<DaemonError> for Failure {
    fn from(e: DaemonError) -> Failure {
        let mut text = e.to_string();
        let mut cause = std::error::Error::source(&e);
        while let Some(c) = cause {
            let _ = write!(text, ": {c}");
            cause = c.source();
        }
        match e {
            DaemonError::File { .. } => Failure::File(text),
            _ => Failure::Unreachable(text),
        }
    }
}

/// An alert as its last line has it.
#[derive(Clone, Debug)]
struct Told {
    ts: String,
    rule: String,
    severity: String,
    score: i64,
    signal: bool,
    key: String,
    message: String,
    /// `opened`, `amended`, `final`, …
    step: String,
    /// How many had been told before it.
    place: usize,
}

/// A line of the alerts file: the alert's id, and what it says.
fn told(line: &str) -> Option<(String, Told)> {
    let v: serde_json::Value = serde_json::from_str(line).ok()?;
    let s = |p: &str| v.pointer(p).and_then(|x| x.as_str()).unwrap_or_default().to_owned();
    let key = v.pointer("/alert/key").and_then(|k| k.as_object());
    let plain = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    Some((
        s("/event/id"),
        Told {
            ts: s("/@timestamp"),
            rule: s("/rule/id"),
            severity: s("/alert/severity"),
            score: v.pointer("/event/severity").and_then(|x| x.as_i64()).unwrap_or(0),
            signal: v.pointer("/alert/signal").and_then(|x| x.as_bool()).unwrap_or(false),
            key: key.map(|k| k.values().map(plain).collect::<Vec<_>>().join(", ")).unwrap_or_default(),
            message: s("/message"),
            step: s("/alert/step"),
            place: 0,
        },
    ))
}

/// The time of day of a written instant.
fn clock(ts: &str) -> &str {
    ts.get(11..19).unwrap_or(ts)
}

/// Colours, where they are seen.
struct Paint(bool);

impl Paint {
    #[allow(clippy::disallowed_methods)]
    fn new() -> Paint {
        Paint(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()))
    }

    fn with(&self, code: &str, s: &str) -> String {
        if self.0 { format!("\x1b[{code}m{s}\x1b[0m") } else { s.to_owned() }
    }

    fn severity(&self, severity: &str, s: &str) -> String {
        match severity {
            "critical" => self.with("1;31", s),
            "high" => self.with("31", s),
            "medium" => self.with("33", s),
            _ => self.with("36", s),
        }
    }
}

/// The night as it is told.
struct Teller {
    daemon: Daemon,
    paint: Paint,
    /// By which the night is moved.
    moved: i64,
    alerts: BTreeMap<String, Told>,
    /// The rules that have fired since the step began, in that order.
    fired: Vec<String>,
    step: Option<Step>,
    metrics: BTreeMap<&'static str, String>,
    /// Actions that alerts have asked for, and that have not been told yet.
    planned: Vec<String>,
    /// What is not as it has to be.
    wrong: Vec<String>,
    sent: usize,
}

impl Teller {
    /// Sends records that follow each other and are of one format, and tells what came of them.
    fn send(&mut self, group: &mut String, format: &'static str, n: &mut usize) -> Result<(), Failure> {
        if *n == 0 {
            return Ok(());
        }
        self.daemon.ingest(format, group)?;
        self.sent += *n;
        group.clear();
        *n = 0;
        self.listen()
    }

    /// Tells the alerts that have been written.
    fn listen(&mut self) -> Result<(), Failure> {
        for line in self.daemon.alerts()? {
            let Some((id, mut a)) = told(&line) else {
                self.wrong.push(format!("an alert line is not JSON: {}", safe(&line)));
                continue;
            };
            if a.rule.starts_with("vigild-") {
                self.wrong.push(format!("the daemon complains of itself: {} ({})", a.rule, safe(&a.message)));
            }
            let new = !self.alerts.contains_key(&id);
            a.place = self.alerts.get(&id).map_or(self.alerts.len(), |b| b.place);
            if new {
                self.fired.push(a.rule.clone());
                let severity = format!("{}{}", a.severity, if a.signal { " (signal)" } else { "" });
                self.made(&self.paint.severity(&a.severity, &format!("{} {severity}", safe(&a.rule))), &safe(&a.message))?;
                let first = self.step.as_ref().is_none_or(|s| s.act == 1);
                if first && a.score >= MEDIUM {
                    self.wrong.push(format!("the rollout is harmless, and yet {} ({}) fired: {}", safe(&a.rule), a.severity, safe(&a.message)));
                }
            } else if matches!(a.step.as_str(), "amended" | "withdrawn") {
                self.made(&format!("{} {}", safe(&a.rule), a.step), &safe(&a.message))?;
            }
            if a.step == "final" && a.rule == ROTATION.0 {
                self.planned.push(format!("planned action: {}, asked for by {}", ROTATION.1, ROTATION.0));
            }
            self.alerts.insert(id, a);
        }
        Ok(())
    }

    fn line(&self, clock: &str, tool: &str, what: &str) -> Result<(), Failure> {
        print(&format!("{}  {}  {what}\n", self.paint.with("2", clock), self.paint.with("1", &format!("{tool:<11}"))))
    }

    fn made(&self, what: &str, message: &str) -> Result<(), Failure> {
        print(&format!("{:10}-> {what}: {message}\n", ""))
    }

    /// Ends the step that is being told: what it had to set off must have come.
    fn end_step(&mut self) -> Result<(), Failure> {
        let fired = std::mem::take(&mut self.fired);
        if let Some(s) = self.step.take() {
            if fired.is_empty() && s.alerts.is_empty() {
                print(&format!("{:10}{}\n", "", self.paint.with("2", "-> recorded; no new alert")))?;
            }
            for rule in s.alerts.iter().filter(|r| !fired.contains(r)) {
                self.wrong.push(format!("at {} {} saw: {}; the rule {rule} had to fire and did not", s.at, s.tool, s.seen));
            }
        }
        for p in std::mem::take(&mut self.planned) {
            print(&format!("{:10}=> {}\n", "", self.paint.with("32", &p)))?;
        }
        self.look()
    }

    /// Tells which of the metrics have changed.
    fn look(&mut self) -> Result<(), Failure> {
        let text = self.daemon.metrics()?;
        for (name, _) in METRICS {
            let value = text.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned()).unwrap_or_default();
            if !value.is_empty() && self.metrics.get(name) != Some(&value) {
                print(&format!("{:10}=> {} {value}\n", "", self.paint.with("32", name)))?;
                self.metrics.insert(name, value);
            }
        }
        Ok(())
    }

    fn begin_step(&mut self, s: &Step) -> Result<(), Failure> {
        self.end_step()?;
        let at = shift::at(&s.at).unwrap_or_default() + self.moved;
        let at = Timestamp::new(at, 0).map(|t| t.to_string()).unwrap_or_default();
        self.step = Some(s.clone());
        self.line(clock(&at), &s.tool, &s.seen)
    }

    /// Plays the night.
    fn play(&mut self, night: &[Entry], story: &[Step]) -> Result<(), Failure> {
        let mut steps = story.iter().peekable();
        let (mut group, mut n, mut format) = (String::new(), 0, "");
        let mut act = 0;
        for e in night {
            let next = steps.next_if(|s| e.story && e.format == s.log && shift::at(&s.at) == Some(e.second()));
            if e.format != format || group.len() > GROUP || next.is_some() {
                self.send(&mut group, format, &mut n)?;
                format = e.format;
            }
            if let Some(s) = next {
                if s.act != act {
                    self.end_step()?;
                    self.title(s.act, act)?;
                    act = s.act;
                }
                self.begin_step(s)?;
            }
            group.push_str(&shift::by(&e.text, self.moved));
            group.push('\n');
            n += 1;
        }
        self.send(&mut group, format, &mut n)?;
        self.end_step()?;
        for s in steps {
            self.wrong.push(format!("the step at {} was not played: {}", s.at, s.seen));
        }
        Ok(())
    }

    fn title(&self, act: u32, before: u32) -> Result<(), Failure> {
        if before == 1 {
            let n = self.alerts.values().filter(|a| a.score >= MEDIUM).count();
            print(&format!("\nThe rollout is over: {} records, {n} alerts of at least medium.\n", self.sent))?;
        }
        let title = if act == 1 { "First act: a release" } else { "Second act: an attacker uses the noise" };
        print(&format!("\n{}\n\n", self.paint.with("1", title)))
    }

    /// The alerts in order, the metrics, and what was counted.
    fn sum_up(&mut self) -> Result<(), Failure> {
        let mut all: Vec<&Told> = self.alerts.values().filter(|a| a.step != "withdrawn").collect();
        // What rests on another alert of the same instant comes after it.
        all.sort_by(|a, b| (&a.ts, a.place).cmp(&(&b.ts, b.place)));
        let wide = |f: fn(&Told) -> &str, name: &str| all.iter().map(|a| f(a).chars().count()).chain([name.len()]).max().unwrap_or(0);
        let (rules, keys) = (wide(|a| &a.rule, "rule"), wide(|a| &a.key, "key"));
        let mut out = format!("\n{}\n\n", self.paint.with("1", "Alerts"));
        let _ = writeln!(out, "time      {:<21}  {:<rules$}  {:<keys$}  message", "severity", "rule", "key");
        for a in &all {
            let severity =
                self.paint.severity(&a.severity, &format!("{:<21}", if a.signal { format!("{}, signal", a.severity) } else { a.severity.clone() }));
            let _ = writeln!(out, "{}  {severity}  {:<rules$}  {:<keys$}  {}", clock(&a.ts), safe(&a.rule), safe(&a.key), safe(&a.message));
        }
        let open = all.iter().filter(|a| a.step != "final" && a.step != "updated").map(|a| a.rule.clone()).collect::<Vec<_>>();
        let opened = all.iter().filter(|a| a.score >= MEDIUM && !a.signal).count();
        let signals = all.iter().filter(|a| a.signal).count();
        if !open.is_empty() {
            self.wrong.push(format!("not final at the end: {}", open.join(", ")));
        }
        let text = self.daemon.metrics()?;
        let counted = |name: &str| -> u64 {
            let of = |l: &str| l.strip_prefix(name).filter(|r| r.starts_with('{'))?.rsplit(' ').next()?.parse::<f64>().ok();
            text.lines().filter_map(of).sum::<f64>() as u64
        };
        let _ = writeln!(out, "\n{}\n", self.paint.with("1", "Metrics"));
        for (name, wanted) in METRICS {
            match text.lines().find(|l| l.starts_with(name)) {
                None => self.wrong.push(format!("/metrics has no {name}")),
                Some(l) => {
                    let _ = writeln!(out, "{l}");
                    let is: f64 = l.rsplit(' ').next().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN);
                    if wanted.is_some_and(|w| (is - w).abs() > 1e-9) || (wanted.is_none() && is.is_nan()) || is <= 0.0 {
                        self.wrong.push(format!("{name} is {is}"));
                    }
                }
            }
        }
        for name in ["vigild_late_events_total", "vigild_ahead_events_total", "vigild_records_dropped_total", "vigild_parse_errors_total"] {
            let n = counted(name);
            if n != 0 {
                self.wrong.push(format!("{name} is {n}"));
            }
        }
        let records = counted("vigild_records_total");
        if records != self.sent as u64 {
            self.wrong.push(format!("{} records were sent, and {records} taken in", self.sent));
        }
        let late = counted("vigild_late_events_total");
        let _ = writeln!(out, "\n{records} records, {late} late; {opened} alerts to look at and {signals} signals.");
        print(&out)
    }
}

/// Runs the command.
///
/// Errors: 1 if what had to fire did not, or what had not to fire did; 5 if the daemon cannot be started.
pub fn run(args: &Args) -> Result<(), Failure> {
    let begun = crate::clock::monotonic();
    let story = night::story().map_err(|e| Failure::File(format!("the bundled story cannot be read: {e}")))?;
    let night = night::night();
    let last = night.last().map_or(0, Entry::second);
    // It ends just before now, so that nothing is ahead of its arrival.
    let moved = crate::clock::now().0.div_euclid(1_000_000_000) - 1 - last;
    let daemon = Daemon::start(&night::file("vigild.toml"), &night::file("rules.toml"))?;
    let (http, data) = (daemon.http, daemon.data.clone());
    let ending = Ending::watch(daemon.instance.clone());
    let mut teller = Teller {
        daemon,
        paint: Paint::new(),
        moved,
        alerts: BTreeMap::new(),
        fired: Vec::new(),
        step: None,
        metrics: BTreeMap::new(),
        planned: Vec::new(),
        wrong: Vec::new(),
        sent: 0,
    };
    print(&format!(
        "The release night of a web shop: a Friday evening on vm-prod, vm-staging, vm-monitor, vm-security and vm-devops,\n\
         told as if it had ended now (times are UTC), played into a daemon on {http}.\n"
    ))?;
    teller.play(&night, &story.step)?;
    teller.sum_up()?;
    print(&format!("Told in {:.1} s.\n", begun.elapsed().as_secs_f64()))?;
    for w in &teller.wrong {
        eprintln!("vigild: {w}");
    }
    if args.stay {
        print(&format!(
            "\nThe daemon stays until Ctrl-C:\n  API      http://{http}/api/v1/\n  metrics  http://{http}/metrics\n  token    {}\n",
            data.join("admin.token").display()
        ))?;
        ending.wait();
    }
    if teller.wrong.is_empty() { Ok(()) } else { Err(Failure::Findings) }
}

/// Whoever stops the demo stops its daemon too.
struct Ending(std::thread::JoinHandle<()>);

/// Whether all has been told and only the daemon stays.
static STAYING: AtomicBool = AtomicBool::new(false);

impl Ending {
    /// On SIGINT or SIGTERM ends the daemon and the process.
    fn watch(instance: Instance) -> Ending {
        Ending(std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let stopped = runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return false };
                tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
                true
            });
            if stopped {
                instance.end();
                if !STAYING.load(Ordering::SeqCst) {
                    std::process::exit(130);
                }
            }
        }))
    }

    /// Waits for the signal.
    fn wait(self) {
        STAYING.store(true, Ordering::SeqCst);
        // It has ended either way.
        let _ = self.0.join();
    }
}
