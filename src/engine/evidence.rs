//! What an alert cites.

use super::blob;
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One piece of evidence: an event, or an alert of another rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened.
    pub ts: Timestamp,
    /// The number of the record, or of the one that completed the alert.
    pub seq: u64,
    /// Its content, and its rank among the hits of its key at the same time: what the alert's id is made of.
    pub mark: u64,
    /// The alert, where it is one.
    pub alert: Option<Arc<AlertRef>>,
    /// What an alert takes from it, see [`Kept`].
    #[serde(with = "blob::option")]
    pub kept: Option<Kept>,
}

/// Values of a rule's fields to keep, in the order of the rule's list, each a count and as many encoded values.
pub type Kept = Arc<[u8]>;

/// An alert as evidence of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRef {
    /// Its id.
    pub id: [u8; 16],
    /// Its rule's id.
    pub rule: Arc<str>,
}

/// At most so much evidence is kept in an alert.
pub const MAX_EVIDENCE: usize = 100;
