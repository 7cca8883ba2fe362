//! Why the store did not do what it was asked.

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};
use std::io::{self, ErrorKind};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room on the disk, the reserve included.
    #[error("there is no room for the store")]
    Full(#[source] io::Error),
    /// The disk refuses.
    #[error("cannot read or write the store")]
    Io(#[source] io::Error),
    /// What is in the file cannot be made sense of.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Another process has it.
    #[error("another process has the store open")]
    InUse,
    /// A later version wrote it.
    #[error("a later version wrote the store: its layout is {0}, and this version does not know it")]
    Later(u64),
    /// A commit with alerts does not go past what is in the store.
    #[error("outputs up to entry {mark} are in the store; a commit up to {asked} tells them again")]
    Behind {
        /// What the store has.
        mark: u64,
        /// What was to be committed.
        asked: u64,
    },
    /// A sink that the options do not name.
    #[error("there is no sink `{0}`")]
    Sink(String),
    /// The database refuses for another reason.
    #[error("the store refuses: {0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the file must be opened anew, and may then do what was asked.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self, StoreError::Full(_) | StoreError::Io(_))
    }
}

impl From<io::Error> for StoreError {
    fn from(e: io::Error) -> StoreError {
        match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(e),
            // The file is shorter than it says, or not what it should be.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => StoreError::Damaged(e.to_string()),
            _ => StoreError::Io(e),
        }
    }
}

impl From<StorageError> for StoreError {
    fn from(e: StorageError) -> StoreError {
        match e {
            StorageError::Io(e) => e.into(),
            StorageError::Corrupted(why) => StoreError::Damaged(why),
            // The error itself was seen before: this one says only that there was one.
            StorageError::PreviousIo | StorageError::DatabaseClosed | StorageError::LockPoisoned(_) => {
                StoreError::Io(io::Error::other(e.to_string()))
            }
            e => StoreError::Refused(e.to_string()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(e: TableError) -> StoreError {
        match e {
            TableError::Storage(e) => e.into(),
            TableError::TableTypeMismatch { .. } | TableError::TableDoesNotExist(_) | TableError::TypeDefinitionChanged { .. } => {
                StoreError::Damaged(e.to_string())
            }
            e => StoreError::Refused(e.to_string()),
        }
    }
}

impl From<TransactionError> for StoreError {
    fn from(e: TransactionError) -> StoreError {
        match e {
            TransactionError::Storage(e) => e.into(),
            e => StoreError::Refused(e.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(e: CommitError) -> StoreError {
        match e {
            CommitError::Storage(e) => e.into(),
            e => StoreError::Refused(e.to_string()),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(e: DatabaseError) -> StoreError {
        match e {
            DatabaseError::Storage(e) => e.into(),
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => StoreError::InUse,
            DatabaseError::RepairAborted => StoreError::Damaged("it cannot be repaired".into()),
            e => StoreError::Refused(e.to_string()),
        }
    }
}
