//! Errors that pass once the process has more descriptors or memory.

use std::io;

/// True if the operating system has no file descriptors or no memory left, whichever file is opened.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}
