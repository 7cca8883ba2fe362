//! What the journal holds: records as they arrived, and all else that the engine is a function of.

use crate::event::{Batch, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One entry in its place.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number among entries, from 1, without a gap.
    pub lsn: u64,
    /// The number of its first record, from 1; of an entry without records, that of the next record to come.
    pub seq: u64,
    /// What it says.
    pub what: What,
}

/// What an entry says.
#[derive(Clone, Debug)]
pub enum What {
    /// Records came.
    Records(Records),
    /// It was so late by the clock.
    Tick(Timestamp),
    /// A stream has a backlog that the watermark waits for, or no longer has.
    Behind {
        /// The source's name.
        source: Arc<str>,
        /// The stream's name.
        stream: Arc<str>,
        /// Whether it has.
        yes: bool,
    },
    /// A stream ended.
    Closed {
        /// The source's name.
        source: Arc<str>,
        /// The stream's name.
        stream: Arc<str>,
    },
    /// From here on other rules, formats or settings hold.
    Load {
        /// The content hash that names the file of what was loaded.
        hash: [u8; 32],
        /// The entry from which the windows of rules that are new or mean something else are rebuilt; 0 where there is nothing to rebuild.
        rebuild: u64,
    },
    /// Nobody listened between these two instants.
    Gap {
        /// The last sign of life before.
        from: Timestamp,
        /// The first after.
        to: Timestamp,
    },
}

/// Records of one stream that came together, all of them or none in the journal.
#[derive(Clone, Debug)]
pub struct Records {
    /// The source's name.
    pub source: Arc<str>,
    /// The stream's name.
    pub stream: Arc<str>,
    /// The name of their format; `None` recognises each.
    pub format: Option<Arc<str>>,
    /// When they arrived.
    pub received: Timestamp,
    /// What a missing year or date is nearest to.
    pub near: Timestamp,
    /// The records.
    pub batch: Batch,
    /// Where their source goes on behind them.
    pub mark: Option<Mark>,
}

/// Where a source goes on, or what it need not take again: durable together with the records that it came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// A file's position behind these records.
    File(FilePosition),
    /// A partition's next offset.
    Kafka {
        /// Consumer group.
        group: Arc<str>,
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// The next offset to read.
        next: i64,
    },
    /// The cursor of the last entry taken from systemd's journal.
    Cursor {
        /// The source's name.
        source: Arc<str>,
        /// The cursor.
        cursor: Arc<str>,
    },
    /// The idempotency key of a request.
    Key {
        /// Whose key it is: the path and the token it came with.
        scope: Arc<str>,
        /// The key.
        key: Arc<str>,
        /// Hash of the body.
        body: [u8; 16],
    },
}

/// Where reading of a file goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The source's name.
    pub source: Arc<str>,
    /// The path under which it was read, also the stream's name.
    pub path: Arc<str>,
    /// Device and inode.
    pub inode: (u64, u64),
    /// How many of its first bytes `head` is made of, uncompressed.
    pub head_len: u32,
    /// Hash of its first `head_len` bytes, uncompressed.
    pub head: [u8; 16],
    /// Byte offset, uncompressed, at which a fresh framer begins.
    pub offset: u64,
    /// How many records behind that offset have been taken already.
    pub skip: u64,
}
