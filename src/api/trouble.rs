//! What may be not as it should be, in the order in which it is told: each with a word for the metrics, and a sentence if it is so.

use std::io;

use super::token::Keys;
use crate::board::{Header, Watching};
use crate::sys::process::uid;

/// A word, and the sentence.
pub(super) type Trouble = (&'static str, Option<String>);

/// All that may be. `unreadable`: how many logs cannot be opened.
pub(super) fn all(header: &Header, unreadable: u64, keys: &Keys) -> [Trouble; 6] {
    let Header { full, troubled, watching, state_error, .. } = *header;
    let state = || {
        let error = io::Error::from_raw_os_error(state_error);
        format!("state: cannot use the state folder: {error}; counting goes on, and it is tried again")
    };
    [
        ("board", full.then(|| "board: there are more logs or days than it has rows for; raise board_logs".to_owned())),
        ("folders", (troubled > 0).then(|| format!("logs: watched folders that uid {} cannot read: {troubled}", uid()))),
        ("unreadable", (unreadable > 0).then(|| format!("logs: logs that uid {} cannot open: {unreadable}; /api/v1/files tells which and why", uid()))),
        (
            "watch",
            (watching == Watching::Unable).then(|| "watch: the system does not say what changes (its log tells why); changes are seen at each scan".to_owned()),
        ),
        ("state", (state_error != 0).then(state)),
        ("auth", keys.trouble().map(str::to_owned)),
    ]
}
