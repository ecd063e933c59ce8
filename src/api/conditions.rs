//! The conditions that somebody has to look into, in the order in which they are shown: each with a word,
//! which the metrics and the status have in common, and a sentence if the condition holds.

use std::collections::BTreeMap;
use std::io;

use crate::api::http::token::Keys;
use crate::api::state::Sources;
use crate::board::{Header, LogRow, Unreadable, Watching};
use crate::config::prefixes;
use crate::log::shown;
use crate::show::thousands;
use crate::sys::process::uid;

/// The most names or reasons that a sentence lists.
const LISTED_MAX: usize = 3;

/// A word, and the sentence.
pub type Condition = (&'static str, Option<String>);

/// The sentences on logs; `None`: there is no such log.
#[derive(Default)]
pub struct OfLogs {
    /// Logs that cannot be read.
    pub unreadable: Option<String>,
    /// Logs whose numbers are doubtful.
    pub doubtful: Option<String>,
}

impl OfLogs {
    /// Writes the sentences on these rows of the board.
    pub fn of(rows: &[LogRow], sources: &Sources) -> OfLogs {
        OfLogs { unreadable: unreadable(rows, sources), doubtful: doubtful(rows) }
    }
}

/// All conditions.
pub fn all(header: &Header, logs: OfLogs, keys: &Keys) -> [Condition; 7] {
    let Header { full, troubled, watching, state_error, .. } = *header;
    let state = || {
        let error = io::Error::from_raw_os_error(state_error);
        format!(
            "tallyd cannot write to the state folder: {error}; counting continues, and tallyd tries to write again"
        )
    };
    let folders = || {
        format!(
            "cannot read {} of the watched folders (tallyd runs as uid {}); the journal names them",
            thousands(troubled),
            uid()
        )
    };
    [
        ("board", full.then(|| "there are more logs or days than the board has rows; raise board_logs and restart tallyd".to_owned())),
        ("folders", (troubled > 0).then(folders)),
        ("unreadable", logs.unreadable),
        ("doubt", logs.doubtful),
        (
            "watch",
            (watching == Watching::Unable)
                .then(|| "the operating system reports no changes in the folders (the journal has the reason); tallyd finds changes at each scan".to_owned()),
        ),
        ("state", (state_error != 0).then(state)),
        ("auth", keys.trouble().map(str::to_owned)),
    ]
}

/// The sentence on logs that cannot be read, with the remedy for each reason.
fn unreadable(rows: &[LogRow], sources: &Sources) -> Option<String> {
    let mut counts: BTreeMap<(usize, Unreadable), u64> = BTreeMap::new();
    let settings = sources.uploads.settings();
    let prefixes = prefixes(&settings.logs, settings.recursive);
    for row in rows {
        let Some(why) = row.unreadable() else { continue };
        let folders = prefixes.iter().enumerate().filter(|(_, prefix)| row.name.starts_with(prefix));
        // A watched folder may be within another one.
        let folder = folders.max_by_key(|(_, prefix)| prefix.len()).map_or(0, |(at, _)| at);
        *counts.entry((folder, why)).or_default() += 1;
    }
    let sentences: Vec<String> = counts
        .iter()
        .map(|((folder, why), count)| {
            let folder =
                settings.logs.get(*folder).map_or(String::new(), |folder| folder.display().to_string());
            why.sentence(*count, &folder, uid(), &sources.accounts)
        })
        .collect();
    (!sentences.is_empty()).then(|| listed(&sentences, "; ", "reasons"))
}

/// The sentence on logs whose numbers are doubtful.
fn doubtful(rows: &[LogRow]) -> Option<String> {
    let rows: Vec<&LogRow> = rows.iter().filter(|row| row.brief().is_doubtful()).collect();
    if let [row] = rows[..] {
        return row.doubt().map(|doubt| doubt.about(&shown(&row.name)));
    }
    let mut names: Vec<String> = rows.iter().map(|row| shown(&row.name)).collect();
    names.sort();
    (!names.is_empty()).then(|| {
        format!(
            "the numbers of {} logs are doubtful, since most of their clients are not IP addresses or most of their lines have no time stamp: {}; \
             /api/v1/files has the reason for each",
            thousands(names.len() as u64),
            listed(&names, ", ", "logs")
        )
    })
}

/// The first few of some words, and how many more there are.
fn listed(words: &[String], between: &str, what: &str) -> String {
    let first = words[..words.len().min(LISTED_MAX)].join(between);
    match words.len().saturating_sub(LISTED_MAX) {
        0 => first,
        more => format!("{first} and {} more {what}", thousands(more as u64)),
    }
}
