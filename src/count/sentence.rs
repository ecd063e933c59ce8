//! Sentences on the files that are counted.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::decode::Damage;
use crate::log::shown_to_people;
use crate::range;

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// A sentence on a path that cannot be read.
pub(super) fn cannot_read(path: &Path, error: &range::RangeError) -> String {
    let path = shown(path);
    match error {
        range::RangeError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!(
                "cannot read {path}: permission denied (tallyd runs as uid {})",
                crate::sys::process::uid()
            )
        }
        _ => format!("cannot read {path}: {error}"),
    }
}

/// A sentence on a log of which only a part could be read.
pub(super) fn damaged(path: &Path, damage: Damage) -> String {
    format!("{}: counted up to the damage: {damage}", shown(path))
}

/// A path in a sentence.
pub(super) fn shown(path: &Path) -> String {
    if path.as_os_str() == STDIN {
        "standard input".to_owned()
    } else {
        shown_to_people(path.as_os_str().as_bytes())
    }
}
