//! A copy of the store as of one transaction, made beside whoever writes.

use super::StoreError;
use super::tables::*;
use redb::backends::FileBackend;
use redb::{Database, Key, ReadTransaction, TableDefinition, Value, WriteTransaction};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// So many rows are copied between two looks.
const LOOK: u64 = 256;
/// Bytes of memory for pages of the copy.
const CACHE: usize = 16 << 20;

/// Asked now and then whether to go on; its error ends it.
pub(crate) type GoOn<'a> = &'a dyn Fn() -> io::Result<()>;

/// Writes all tables to a new file (mode 0600).
pub(super) fn all(tx: &ReadTransaction, to: &Path, go_on: GoOn<'_>) -> Result<(), StoreError> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to)?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    let db = builder.create_with_backend(FileBackend::new(file)?)?;
    let mut new = db.begin_write()?;
    new.set_quick_repair(true);
    table(tx, &new, META, go_on)?;
    table(tx, &new, ALERTS, go_on)?;
    table(tx, &new, TIMES, go_on)?;
    table(tx, &new, EVIDENCE, go_on)?;
    table(tx, &new, RULES, go_on)?;
    table(tx, &new, RULE_NAMES, go_on)?;
    table(tx, &new, OUTBOX, go_on)?;
    table(tx, &new, SINKS, go_on)?;
    new.commit()?;
    Ok(db.close()?)
}

fn table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    def: TableDefinition<'static, K, V>,
    go_on: GoOn<'_>,
) -> Result<(), StoreError> {
    use redb::ReadableTable;
    let (from, mut to) = (from.open_table(def)?, to.open_table(def)?);
    for (n, row) in (0u64..).zip(from.iter()?) {
        if n.is_multiple_of(LOOK) {
            go_on()?;
        }
        let (k, v) = row?;
        to.insert(k.value(), v.value())?;
    }
    Ok(())
}
