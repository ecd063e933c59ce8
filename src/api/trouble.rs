//! The problems that tallyd reports about itself, in their order: each has a word for the metrics, and a sentence while the
//! problem exists.

use std::io;

use super::token::Keys;
use crate::board::{Header, Watching};
use crate::show::thousands;
use crate::sys::process::uid;

/// The word of a problem, and its sentence while the problem exists.
pub(super) type Trouble = (&'static str, Option<String>);

/// All problems. `unreadable` is the number of logs that tallyd cannot read.
pub(super) fn all(header: &Header, unreadable: u64, keys: &Keys) -> [Trouble; 6] {
    let Header { full, troubled, watching, state_error, .. } = *header;
    let state = || {
        let error = io::Error::from_raw_os_error(state_error);
        format!("state: tallyd cannot write to the state folder: {error}; counting continues, and tallyd tries to write again")
    };
    [
        ("board", full.then(|| "board: there are more logs or days than the board has rows; raise board_logs and restart tallyd".to_owned())),
        (
            "folders",
            (troubled > 0).then(|| {
                format!(
                    "logs: tallyd (uid {}) cannot read {}: mount what is missing, or give this user access; the journal has the error of the operating system",
                    uid(),
                    number_of(troubled, "watched folder")
                )
            }),
        ),
        (
            "unreadable",
            (unreadable > 0).then(|| {
                format!(
                    "logs: tallyd (uid {}) cannot read {}: give this user access, for example by `usermod -aG adm tallyd`, and restart tallyd; \
                     /api/v1/files has the reason of each log",
                    uid(),
                    number_of(unreadable, "log")
                )
            }),
        ),
        (
            "watch",
            (watching == Watching::Unable).then(|| {
                "watch: the operating system does not report changes in the folders (the journal has the reason); tallyd finds changes at each scan".to_owned()
            }),
        ),
        ("state", (state_error != 0).then(state)),
        ("auth", keys.trouble().map(str::to_owned)),
    ]
}

/// A number of things, such as `1 log` or `1,200 logs`.
fn number_of(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", thousands(number), if number == 1 { "" } else { "s" })
}
