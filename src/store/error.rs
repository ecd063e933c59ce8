//! Why a partial cannot be read, and the versions of its format.

use std::io;

/// The latest version of the format: all up to this are read. A partial is written in the first that can say
/// what it has to.
pub const VERSION: u64 = REMOVALS;
/// Since this version, clients of days may be removed. An earlier tallyd would take such a partial for
/// damaged.
pub(super) const REMOVALS: u64 = 2;

/// Why a partial cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is no partial, an old one, or not as it was written: the log is to be counted again.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// A later tallyd wrote it. It must never be overwritten or deleted.
    #[error("written in version {0} of the format; this tallyd reads up to version {VERSION}")]
    Newer(u64),
    /// There is another one now in its place.
    #[error("another process replaced the partial while tallyd read it")]
    Replaced,
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StoreError {
    /// The same once more: it is the trouble of each day of a log.
    pub(super) fn again(&self) -> StoreError {
        match self {
            StoreError::Damaged(why) => StoreError::Damaged(why),
            StoreError::Newer(version) => StoreError::Newer(*version),
            StoreError::Replaced => StoreError::Replaced,
            StoreError::Io(error) => StoreError::Io(again(error)),
        }
    }
}

/// The same error once more. With the system's number, by which people are told.
pub fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
