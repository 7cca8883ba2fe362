//! Rules as they are after loading and checking: what the engine and the matcher are built from.
//!
//! `expr` reads expressions, `load` reads files into these types, `check` has every complaint, `compile` makes the
//! predicate index. The language and its meaning are in `rules/README.md`.

pub mod attack;
pub mod check;
pub mod compile;
pub mod expr;
pub mod load;
pub mod testing;

use crate::event::{Field, Schema, Span, Timestamp, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A loaded, checked set of rules and all that they use.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// Enabled rules, ordered by id; a rule is named by its index here.
    pub rules: Vec<Rule>,
    /// Exceptions, in the order of files.
    pub exceptions: Vec<Exception>,
    /// Every field the rules know.
    pub schema: Schema,
    /// `[table.NAME]`, for searches.
    pub tables: BTreeMap<String, Arc<Table>>,
    /// `[condition.NAME]`, for searches; `None` where it has an error of its own.
    pub conditions: BTreeMap<String, Option<Expr>>,
}

/// How bad, as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Severity {
    /// Worth a record.
    Informational,
    /// Worth a look when there is time.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Worth waking somebody.
    Critical,
}

impl Severity {
    /// The word used in rules and alerts.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that name.
    pub fn of(name: &str) -> Option<Severity> {
        [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical].into_iter().find(|s| s.name() == name)
    }

    /// The default risk, 0 to 99.
    pub fn risk(self) -> u32 {
        match self {
            Severity::Informational => 0,
            Severity::Low => 21,
            Severity::Medium => 47,
            Severity::High => 73,
            Severity::Critical => 99,
        }
    }

    /// The alert's `event.severity`, 0 to 100.
    pub fn score(self) -> i64 {
        if self == Severity::Informational { 10 } else { self.risk() as i64 }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique and stable.
    pub id: Arc<str>,
    /// One line for people.
    pub title: String,
    /// The alert's message; the title where there is none.
    pub summary: Option<Template>,
    /// Severity of its alerts.
    pub severity: Severity,
    /// ATT&CK technique ids, `T1110.003`.
    pub attack: Vec<String>,
    /// ATT&CK tactics that follow from the techniques, `credential_access`, sorted.
    pub tactics: Vec<String>,
    /// Free words that `tag:` and exceptions refer to.
    pub tags: Vec<String>,
    /// Recorded, but not opened for triage.
    pub signal: bool,
    /// Whether it makes alerts at all.
    pub alert: bool,
    /// What the rule as a whole matches; the steps of a sequence have their own.
    pub when: When,
    /// The fields of the group key.
    pub by: Vec<Field>,
    /// Counted apart for each value of this field.
    pub per: Option<Field>,
    /// Whether an event that lacks a key field has a null key instead of none.
    pub missing_null: bool,
    /// What has to come together.
    pub kind: Kind,
    /// What happens after firing.
    pub rearm: Rearm,
    /// The fields that an alert takes along.
    pub carry: Vec<Field>,
    /// At most this many alerts in an hour of event time.
    pub max_alerts: u32,
    /// At most this many groups; none leaves it to the configuration.
    pub keys: Option<usize>,
    /// Tolerance for the order of steps between streams.
    pub skew: Span,
    /// What it feeds.
    pub metric: Option<Metric>,
    /// Actions it names.
    pub respond: Vec<String>,
    /// Indices of the exceptions that apply.
    pub exceptions: Vec<usize>,
    /// Hash of what the rule means: everything that decides when it fires, nothing of how it is told.
    pub meaning: [u8; 16],
    /// One above the highest level of the rules it listens to; 1 for a rule over events alone.
    pub level: u16,
    /// The file it stands in.
    pub file: String,
    /// Its tests.
    pub tests: Vec<testing::RuleTest>,
}

/// What wakes a rule or a step: an event that `where_` holds for, or an alert of one of `rules` that it holds for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct When {
    /// The condition; none means any alert of `rules`.
    pub where_: Option<Expr>,
    /// Indices of the rules whose alerts are meant; none means events, never alerts.
    pub rules: Option<Vec<usize>>,
}

/// What has to come together for an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Each match.
    Single,
    /// At least so many matches in a window.
    Count {
        /// From 1.
        at_least: u32,
        /// Window.
        within: Span,
    },
    /// At least so many different values of the fields together in a window.
    Distinct {
        /// From 1 field.
        fields: Vec<Field>,
        /// From 1.
        at_least: u32,
        /// Window.
        within: Span,
    },
    /// Values that add up in a window.
    Sum {
        /// A number field.
        field: Field,
        /// In millionths, above 0.
        at_least: i128,
        /// Window.
        within: Span,
    },
    /// Steps in order.
    Sequence {
        /// Window.
        within: Span,
        /// From 1 step.
        steps: Vec<Step>,
    },
    /// Steps in any order.
    AllOf {
        /// Window.
        within: Span,
        /// How many steps must be filled.
        at_least: u32,
        /// From 1 step.
        steps: Vec<Step>,
    },
}

impl Kind {
    /// The window, of a kind that has one.
    pub fn within(&self) -> Option<Span> {
        match self {
            Kind::Single => None,
            Kind::Count { within, .. }
            | Kind::Distinct { within, .. }
            | Kind::Sum { within, .. }
            | Kind::Sequence { within, .. }
            | Kind::AllOf { within, .. } => Some(*within),
        }
    }

    /// The steps, of a kind that has some.
    pub fn steps(&self) -> &[Step] {
        match self {
            Kind::Sequence { steps, .. } | Kind::AllOf { steps, .. } => steps,
            _ => &[],
        }
    }
}

/// One step of a sequence or an `all_of`.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What fills it.
    pub when: When,
    /// Its own key fields, as many as the rule's and of the same types.
    pub by: Option<Vec<Field>>,
    /// In an `all_of`: must be filled.
    pub required: bool,
}

/// What happens after firing.
#[derive(Clone, Debug, PartialEq)]
pub enum Rearm {
    /// Each match at which the condition holds fires.
    Every,
    /// Quiet for the window, and the state is cleared.
    Reset,
    /// Quiet for a time, the state goes on; several keys may share it.
    Cooldown {
        /// From the firing.
        time: Span,
        /// The fields whose values share the quiet; none means the rule's own.
        by: Option<Vec<Field>>,
    },
    /// Quiet until the value has fallen below this (a count, or millionths of a sum).
    Below(i128),
}

/// A metric that a rule feeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The name in the exposition format.
    pub name: String,
    /// What a match does to it.
    pub kind: MetricKind,
    /// The field whose value is taken; a counter without one counts matches.
    pub value: Option<Field>,
    /// Constant labels.
    pub labels: Vec<(String, String)>,
    /// Labels whose values come from the event.
    pub label_fields: Vec<(String, Template)>,
    /// At most so many series; the rest is one, `other`.
    pub max_series: usize,
    /// Help text.
    pub help: String,
}

/// What a match does to a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MetricKind {
    /// Adds.
    Counter,
    /// Sets.
    Gauge,
}

/// Text with fields in it: `Shell in {container.name}`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text as it stands.
    Text(String),
    /// The value of a field.
    Field(Field),
}

/// What does not exist for some rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Exception {
    /// What it hides.
    pub where_: Expr,
    /// The first instant at which it no longer holds.
    pub until: Option<Timestamp>,
    /// When somebody wants to be reminded of it; it stays in force.
    pub review: Option<Timestamp>,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
}

/// A condition over one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All hold.
    And(Vec<Expr>),
    /// One holds.
    Or(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// A test of one field.
    Test(Test),
}

/// A test of one field: true if any of its values passes, false where it is missing. The text of the event
/// ([`Op::Words`]) is the one exception: it is `message`, or `event.original` where there is no message.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The field.
    pub field: Field,
    /// The test.
    pub op: Op,
}

/// What a value is tested for. Literals have the type of the field by the time they stand here.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `==`, and `in [..]`: equal to one of these.
    In(Vec<Literal>),
    /// `!=`.
    NotEqual(Literal),
    /// `<`, `<=`, `>`, `>=`.
    Order(Order, Literal),
    /// `contains`, `startswith`, `endswith`.
    Text(Place, String),
    /// `matches`.
    Matches(Pattern),
    /// `:`, one of these.
    Like(Vec<String>),
    /// A string or a word alone: the text of the event has these words (of [`crate::event::words`], at least one) one
    /// behind the other. The test's field is `message`.
    Words(Vec<String>),
    /// `exists`.
    Exists,
    /// `in cidr(..)`.
    Cidr(Vec<ipnet::IpNet>),
    /// `in table(..)` and `in hosts(..)`, resolved when loaded.
    Table(Arc<Table>),
    /// A comparison with another field of the same event.
    Field(Compare, Field),
}

/// The ordering comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// Comparisons between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// An ordering.
    Order(Order),
}

/// Where text must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Anywhere.
    Contains,
    /// At the start.
    Starts,
    /// At the end.
    Ends,
}

/// A literal value in its field's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Text.
    Str(String),
    /// A whole number, within `i64` and `u64`.
    Int(i128),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// An address, folded.
    Ip(std::net::IpAddr),
    /// An instant.
    Time(Timestamp),
}

impl Literal {
    /// As a value of an event. A whole number outside `i64` and `u64` is not in the language; it is no value.
    pub fn value(&self) -> Value<'_> {
        match self {
            Literal::Str(s) => Value::Str(s.as_bytes()),
            Literal::Int(v) => i64::try_from(*v).map(Value::Int).or_else(|_| u64::try_from(*v).map(Value::Big)).unwrap_or(Value::Missing),
            Literal::Float(v) => Value::Float(*v),
            Literal::Bool(b) => Value::Bool(*b),
            Literal::Ip(ip) => Value::Ip(crate::event::fold(*ip)),
            Literal::Time(t) => Value::Time(*t),
        }
    }
}

/// A regular expression, compiled within the size limit; equal if its text is.
#[derive(Clone, Debug)]
pub struct Pattern(pub regex::bytes::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A named list of values: text, numbers and addresses compared as `==` does, and networks for addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its name, `hosts(tag)` for those of the inventory.
    pub name: String,
    /// The values as text, exact.
    pub text: std::collections::BTreeSet<String>,
    /// The values that read as whole numbers.
    pub numbers: std::collections::BTreeSet<i128>,
    /// The values that read as addresses, folded, and networks (an address is a network of one).
    pub nets: Vec<ipnet::IpNet>,
}
