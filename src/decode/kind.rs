//! Whether a file is a log, by its first bytes and its name.

use super::{Compression, format_of};
use crate::log::{FOREIGN_HEAD_BYTES, Foreign};

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A log, and what compresses it; `None`: the log is plain.
    Log(Option<Compression>),
    /// No log.
    Foreign(Foreign),
}

impl FileKind {
    /// The number of first bytes that [`FileKind::of`] needs to recognise every kind; fewer are allowed.
    pub const HEAD_BYTES: usize = FOREIGN_HEAD_BYTES;

    /// Returns what a file with this name and these first bytes is.
    pub fn of(name: &[u8], head: &[u8]) -> FileKind {
        match format_of(head) {
            None => Foreign::of(name, head).map_or(FileKind::Log(None), FileKind::Foreign),
            format => FileKind::Log(format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readable_compression_is_a_log_under_any_name() {
        assert_eq!(FileKind::of(b"access.log.br", b"\x1f\x8b\x08\x00"), FileKind::Log(Some(Compression::Gz)));
        assert_eq!(FileKind::of(b"access.log.gz", b"203.0.113.7 - -"), FileKind::Log(None));
        assert!(matches!(FileKind::of(b"access.log", b"PK\x03\x04"), FileKind::Foreign(_)));
    }
}
