//! What goes over the wire. These types are the API's own: the names of their fields are a contract.

use serde::Serialize;

use crate::board::{DayRow, LogRow, Quarantine, Reason, ShareRow};
use crate::log::{Day, shown};
use crate::show::UNDATED;
use crate::store::unite::Top;
use crate::tally::Totals;

/// A value as JSON. Its map keys are strings and its numbers finite, so it always has one.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys are strings")
}

/// One entry of `/report`: the original program's words.
#[derive(Serialize)]
pub(super) struct Reported {
    /// Requests.
    total: u64,
    /// Distinct clients.
    ip: u64,
}

impl From<&Totals> for Reported {
    fn from(totals: &Totals) -> Reported {
        Reported { total: totals.requests(), ip: totals.unique_clients() }
    }
}

#[derive(Serialize)]
pub(super) struct Numbers {
    requests: u64,
    parsed: u64,
    malformed: u64,
    unique_ips: u64,
    ipv4: u64,
    ipv6: u64,
    other: u64,
    /// The length of the lines with their LF.
    bytes: u64,
    requests_by_hour: [u64; 24],
}

impl From<&Totals> for Numbers {
    fn from(totals: &Totals) -> Numbers {
        Numbers {
            requests: totals.requests(),
            parsed: totals.parsed,
            malformed: totals.malformed,
            unique_ips: totals.unique_clients(),
            ipv4: totals.ipv4,
            ipv6: totals.ipv6,
            other: totals.other,
            bytes: totals.bytes,
            requests_by_hour: totals.hours,
        }
    }
}

#[derive(Serialize)]
pub(super) struct File {
    id: String,
    name: String,
    /// The day in its name.
    day: Option<String>,
    #[serde(flatten)]
    reported: Reported,
    lines: u64,
    blank: u64,
    #[serde(flatten)]
    numbers: Numbers,
    size: u64,
    counted_to: u64,
    state: &'static str,
    complete: bool,
    /// The file that it counts within.
    duplicate_of: Option<String>,
    /// Why something of it is not counted.
    reason: Option<String>,
}

impl From<&LogRow> for File {
    fn from(log: &LogRow) -> File {
        File {
            id: file_id(log.id),
            name: shown(&log.name),
            day: log.day.map(|day| day.to_string()),
            reported: Reported::from(&log.totals),
            lines: log.totals.lines(),
            blank: log.totals.blank,
            numbers: Numbers::from(&log.totals),
            size: log.size,
            counted_to: log.counted_to,
            state: log.state.name(),
            complete: log.complete,
            duplicate_of: (log.duplicate_of != 0).then(|| file_id(log.duplicate_of)),
            reason: reason(log.reason),
        }
    }
}

/// What has become of an upload.
#[derive(Serialize)]
pub(super) struct Uploaded<'a> {
    /// The log that it is; null if it was not found yet.
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// How many were stored.
    pub(super) bytes: u64,
    /// Where to ask for it.
    pub(super) url: Option<&'a str>,
}

/// How a log's number is written.
pub(super) fn file_id(id: u64) -> String {
    format!("{id:016x}")
}

#[derive(Serialize)]
pub(super) struct Files {
    pub(super) files: Vec<File>,
    /// What to ask for with `cursor=` to go on, if there is more.
    pub(super) next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct FileWithDays {
    #[serde(flatten)]
    pub(super) file: File,
    pub(super) days: Vec<Share>,
    pub(super) quarantine: Vec<Quarantined>,
}

/// A day of one log.
#[derive(Serialize)]
pub(super) struct Share {
    day: String,
    #[serde(flatten)]
    numbers: Numbers,
}

impl Share {
    /// Requests without a time stamp are those of the day in the log's name.
    pub(super) fn new(share: &ShareRow, log: &LogRow) -> Share {
        Share { day: day_name(share.day.or(log.day)), numbers: Numbers::from(&share.totals) }
    }
}

/// Bytes that could not be counted.
#[derive(Serialize)]
pub(super) struct Quarantined {
    file: String,
    name: String,
    /// The first range.
    from: u64,
    to: u64,
    /// All ranges.
    bytes: u64,
    reason: Option<String>,
}

impl Quarantined {
    /// What of a log is quarantined, if anything is.
    pub(super) fn of(log: &LogRow) -> Option<Quarantined> {
        let Quarantine { bytes, from, to, .. } = log.quarantine;
        (bytes > 0).then(|| Quarantined { file: file_id(log.id), name: shown(&log.name), from, to, bytes, reason: reason(log.reason) })
    }
}

#[derive(Serialize)]
pub(super) struct DayOfAll {
    day: String,
    #[serde(flatten)]
    numbers: Numbers,
    /// How many logs have lines of it.
    files: u64,
    complete: bool,
}

impl From<&DayRow> for DayOfAll {
    fn from(row: &DayRow) -> DayOfAll {
        DayOfAll { day: day_name(row.day), numbers: Numbers::from(&row.totals), files: row.files, complete: row.complete }
    }
}

#[derive(Serialize)]
pub(super) struct Days {
    pub(super) days: Vec<DayOfAll>,
}

/// Several days, their clients united.
#[derive(Serialize)]
pub(super) struct Range<'a> {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    #[serde(flatten)]
    pub(super) numbers: Numbers,
    /// How many logs have lines of them.
    pub(super) files: u64,
    pub(super) complete: bool,
    pub(super) as_of: &'a str,
}

#[derive(Serialize)]
pub(super) struct TopClients<'a> {
    pub(super) clients: Vec<Client>,
    pub(super) complete: bool,
    pub(super) as_of: &'a str,
}

#[derive(Serialize)]
pub(super) struct Client {
    client: String,
    requests: u64,
    /// On how many days it asked.
    days: u64,
}

impl From<&Top> for Client {
    fn from(top: &Top) -> Client {
        Client { client: shown(&top.client), requests: top.requests, days: top.days }
    }
}

#[derive(Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) uptime_seconds: u64,
    /// Bytes that are known and not counted and published yet; null until the folders were looked at.
    pub(super) pending_bytes: Option<u64>,
    pub(super) logs: usize,
    /// How changes in the folders are found: `inotify`, or `scan` now and then.
    pub(super) watching: &'static str,
    /// Files of which the store does not have the latest yet.
    pub(super) unstored_files: u64,
    /// Entries of the folders that are left out.
    pub(super) skipped: u64,
    pub(super) processes: Vec<Process>,
    pub(super) degraded: Vec<String>,
    pub(super) quarantine: Vec<Quarantined>,
}

#[derive(Serialize)]
pub(super) struct Process {
    pub(super) role: &'static str,
    /// Which worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<usize>,
    pub(super) pid: Option<i32>,
    pub(super) state: &'static str,
    pub(super) restarts: u64,
    /// The log a worker is counting, and how far it is in its range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_bytes_done: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Problem<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) detail: &'a str,
}

pub(super) fn day_name(day: Option<Day>) -> String {
    day.map_or(UNDATED.to_owned(), |day| day.to_string())
}

fn unreadable(errno: i32) -> String {
    format!("it cannot be read: {}", std::io::Error::from_raw_os_error(errno))
}

/// Why something is not counted, in words.
fn reason(reason: Reason) -> Option<String> {
    Some(match reason {
        Reason::Nothing => return None,
        Reason::Signal(number) => format!("each worker that counted it died of {}", crate::sys::process::Death::Signal(number)),
        Reason::Exit(code) => format!("each worker that counted it ended with code {code}"),
        Reason::Hang => "each worker that counted it hung".to_owned(),
        Reason::Unreadable(errno) => unreadable(errno),
        Reason::Refused => "no worker gave a result that could be taken".to_owned(),
        Reason::Damage(damage) => format!("counted up to the damage: {damage}"),
        Reason::Skipped(skip) => format!("left out: {skip}"),
        Reason::Deleted => "it was taken back".to_owned(),
    })
}
