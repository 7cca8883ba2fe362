//! `vigild test`: the tests inside rule files, and the samples of formats.

use super::{Failure, load};
use crate::rule::testing::{Body, RuleTest};
use crate::ruletest::{self, BEGIN, Verdict};
use std::path::PathBuf;

/// Runs the tests in rule files: those named, or the built-in ones. Exit 1 if any failed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Rule files or folders.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Configuration: inventory, proxies.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let loaded = load(args.config.as_deref(), &args.paths)?;
    let (mut passed, mut failed, mut untested) = (0, 0, 0);
    let mut report = String::new();
    for (i, rule) in loaded.rules.rules.iter().enumerate() {
        untested += rule.tests.is_empty() as usize;
        for t in &rule.tests {
            let v = ruletest::run(&loaded.rules, i, t, &loaded.formats, &loaded.estate);
            if v.passed() {
                passed += 1;
            } else {
                failed += 1;
                report.push_str(&format!("\nFAILED {} ({}): {}\n", rule.id, rule.file, super::safe(&t.name)));
                show(t, &v, &mut report);
            }
        }
    }
    let rules = loaded.rules.rules.len();
    super::print(&format!(
        "{report}{}{passed} passed, {failed} failed, in {rules} rules ({untested} without a test)\n",
        if failed > 0 { "\n" } else { "" }
    ))?;
    if failed > 0 { Err(Failure::Findings) } else { Ok(()) }
}

/// A failing test as its timeline, with what came beside each row.
fn show(t: &RuleTest, v: &Verdict, out: &mut String) {
    if let Some(b) = &v.broken {
        out.push_str(&format!("  could not run: {b}\n"));
    }
    if let Body::Timeline(rows) = &t.body {
        let mut came = v.came.clone();
        for r in rows {
            let got = came.remove(&BEGIN.plus(r.at)).unwrap_or(0);
            let mark = match (r.due, got) {
                (true, 0) => "  <- an alert was due and did not come",
                (false, 1..) => "  <- an alert came and was not due",
                (true, 1) => "  ok",
                (true, _) => "  <- more than one alert came",
                (false, _) => "",
            };
            out.push_str(&format!("    {}{mark}\n", super::safe(&r.text)));
        }
        came.keys().for_each(|t| out.push_str(&format!("    an alert came at {t}, where no row is\n")));
        return;
    }
    v.missing.iter().for_each(|m| out.push_str(&format!("  due, and did not come: {}\n", super::safe(m))));
    v.surplus.iter().for_each(|m| out.push_str(&format!("  came, and was not due: {}\n", super::safe(m))));
}
