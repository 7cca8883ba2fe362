//! Rule tests as data: what stands in `[[rule.test]]`.

use crate::event::{Field, Timestamp};

/// One `[[rule.test]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTest {
    /// What it shows.
    pub name: String,
    /// Its notation.
    pub body: Body,
    /// Where it stands: byte offset of the table in its file.
    pub offset: usize,
}

/// The two notations of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Rows of offset, fields and marks.
    Timeline(Vec<Row>),
    /// Records of a format and the alerts that they must give.
    Lines {
        /// The format; none means recognised.
        format: Option<String>,
        /// The records.
        lines: Vec<String>,
        /// The moment of arrival.
        received: Option<Timestamp>,
        /// What is due, in any order.
        alerts: Vec<Due>,
    },
}

/// A row of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Offset from the start.
    pub at: crate::event::Span,
    /// The event, `each` included; none where only time passes.
    pub event: Option<Vec<(Field, String)>>,
    /// Whether one alert is due at this time.
    pub due: bool,
    /// The row as it was written.
    pub text: String,
}

/// An alert that a test of raw lines expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Its `@timestamp`.
    pub at: Timestamp,
    /// Its key, nulls left out; none where the test does not say.
    pub key: Option<Vec<(Field, String)>>,
}
