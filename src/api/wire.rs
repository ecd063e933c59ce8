//! What goes over the wire. These types are the API's own: the names of their fields are a contract, and what is written about them here is what the documents say.

use serde::Serialize;
use utoipa::ToSchema;

use crate::board::{DayRow, LogRow, Quarantine, Reason, ShareRow};
use crate::log::{Day, shown};
use crate::show::UNDATED;
use crate::store::unite::Top;
use crate::tally::Totals;

/// A value as JSON. Its map keys are strings and its numbers finite, so it always has one.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys are strings")
}

/// A log in the report, by the original program's words.
#[derive(Serialize, ToSchema)]
pub(super) struct Reported {
    /// How many requests: the same as `requests`.
    total: u64,
    /// How many distinct clients: the same as `unique_ips`.
    ip: u64,
}

/// A log in the report as CSV.
#[derive(Serialize)]
pub(super) struct NamedReported {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) reported: Reported,
}

impl From<&Totals> for Reported {
    fn from(totals: &Totals) -> Reported {
        Reported { total: totals.requests(), ip: totals.unique_clients() }
    }
}

/// The numbers of a file, a day or a range.
#[derive(Serialize, ToSchema)]
pub(super) struct Numbers {
    /// How many requests: lines that are not blank, `parsed` + `malformed`.
    pub(super) requests: u64,
    /// How many requests with a time stamp.
    parsed: u64,
    /// How many requests without one.
    malformed: u64,
    /// How many distinct clients: `ipv4` + `ipv6` + `other`. Over several days or logs, the clients are united: each counts once.
    pub(super) unique_ips: u64,
    /// How many clients that are written as an IPv4 address.
    ipv4: u64,
    /// How many clients that are written as an IPv6 address.
    ipv6: u64,
    /// How many clients that are written in another way.
    other: u64,
    /// The length of the lines in bytes, with their LF; of a file, of blank lines too.
    log_bytes: u64,
    /// How many parsed requests in each of 24 hours: the hour that is written in the line.
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
            log_bytes: totals.bytes,
            requests_by_hour: totals.hours,
        }
    }
}

/// A log.
#[derive(Serialize, ToSchema)]
pub(super) struct File {
    /// What `/api/v1/files/{id}` knows it by: 16 hexadecimal digits.
    id: String,
    /// Its name, with its folder's in front if several folders are watched. Bytes that are no UTF-8 are written `\xNN`.
    name: String,
    /// The day in its name, or null.
    #[schema(required)]
    day: Option<String>,
    #[serde(flatten)]
    reported: Reported,
    /// How many lines: `blank` + `requests`.
    lines: u64,
    /// How many lines of nothing but white space.
    blank: u64,
    #[serde(flatten)]
    numbers: Numbers,
    /// The size of the file in bytes, as it is stored: compressed if it is.
    size: u64,
    /// Up to which byte of its content its lines are counted. Half a line at the end waits for its LF.
    counted_to: u64,
    /// `counting`: for the first time; `live`: counted, may grow; `final`: counted, unchanged for long, rotated, or compressed; `gone`: no longer in the folder, its numbers
    /// stay; `duplicate`: counts within another file; `quarantined`: some of it could not be counted; `skipped`: left out, or taken back.
    state: &'static str,
    /// Is all of it in the numbers?
    complete: bool,
    /// Clients were removed (`retention_days`), and there may be more distinct ones than these numbers say.
    unique_ips_at_least: bool,
    /// The id of the file that it counts within, or null.
    #[schema(required)]
    duplicate_of: Option<String>,
    /// Why something of it is not counted, or null.
    #[schema(required)]
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
            unique_ips_at_least: log.at_least,
            duplicate_of: (log.duplicate_of != 0).then(|| file_id(log.duplicate_of)),
            reason: reason(log.reason),
        }
    }
}

/// What has become of an upload.
#[derive(Serialize, ToSchema)]
pub(super) struct Uploaded {
    /// The log that it is; null if it was not found yet.
    pub(super) id: Option<String>,
    /// The file's name, as `/api/v1/files` says it.
    pub(super) name: String,
    /// How many bytes were stored.
    pub(super) bytes: u64,
    /// Where to ask for it.
    pub(super) url: Option<String>,
}

/// How a log's number is written.
pub(super) fn file_id(id: u64) -> String {
    format!("{id:016x}")
}

/// The number that is written so.
pub(super) fn log_of(file_id: &str) -> Option<u64> {
    let is_written_so = file_id.len() == 16 && file_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_written_so.then(|| u64::from_str_radix(file_id, 16).ok()).flatten()
}

/// A page of logs.
#[derive(Serialize, ToSchema)]
pub(super) struct Files {
    /// The logs, also those that are gone.
    pub(super) files: Vec<File>,
    /// What to ask for with `cursor=` to go on; null on the last page.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// A log, by day.
#[derive(Serialize, ToSchema)]
pub(super) struct FileWithDays {
    #[serde(flatten)]
    pub(super) file: File,
    /// Its numbers by day, ascending. Requests without a time stamp are an entry of their own.
    pub(super) days: Vec<Share>,
    /// The ranges that could not be counted, ascending. Until the store has them all: the first one, with the bytes of all.
    pub(super) quarantine: Vec<Quarantined>,
}

/// A day of one log.
#[derive(Serialize, ToSchema)]
pub(super) struct Share {
    /// The day: of its lines, or for those without a time stamp the one in the log's name, or `undated`.
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
#[derive(Serialize, ToSchema)]
pub(super) struct Quarantined {
    /// The id of the file.
    file: String,
    /// The name of the file.
    name: String,
    /// Where in the content the range starts: the number of its first byte, from 0. In the status, of the first range.
    from: u64,
    /// Where it ends: the number of the byte behind it.
    to: u64,
    /// How many bytes. In the status, of all ranges of the file.
    bytes: u64,
    /// Why, or null if it is not known.
    #[schema(required)]
    reason: Option<String>,
}

impl Quarantined {
    /// What of a log is quarantined, if anything is.
    pub(super) fn of(log: &LogRow) -> Option<Quarantined> {
        let Quarantine { bytes, from, to, .. } = log.quarantine;
        (bytes > 0).then(|| Quarantined { bytes, ..Quarantined::range(log, from, to, log.reason) })
    }

    /// A range of a log.
    pub(super) fn range(log: &LogRow, from: u64, to: u64, why: Reason) -> Quarantined {
        Quarantined { file: file_id(log.id), name: shown(&log.name), from, to, bytes: to.saturating_sub(from), reason: reason(why) }
    }
}

/// A day over all logs.
#[derive(Serialize, ToSchema)]
#[schema(as = Day)]
pub(super) struct DayOfAll {
    /// The day, as the lines write it: `2021-03-22`, or `undated`.
    day: String,
    #[serde(flatten)]
    numbers: Numbers,
    /// How many logs have lines of it.
    files: u64,
    /// Is everything that is known in these numbers? `false` while a log that may have a part in them is being counted, or if some of it could not be.
    complete: bool,
    /// Clients were removed (`retention_days`), and there may be more distinct ones than these numbers say.
    unique_ips_at_least: bool,
}

impl From<&DayRow> for DayOfAll {
    fn from(row: &DayRow) -> DayOfAll {
        DayOfAll { day: day_name(row.day), numbers: Numbers::from(&row.totals), files: row.files, complete: row.complete, unique_ips_at_least: row.at_least }
    }
}

/// Days over all logs.
#[derive(Serialize, ToSchema)]
pub(super) struct Days {
    /// The days, ascending unless asked otherwise; `undated` last.
    pub(super) days: Vec<DayOfAll>,
    /// What to ask for with `cursor=` to go on; null on the last page.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// Several days, their clients united.
#[derive(Serialize, ToSchema)]
pub(super) struct Range {
    /// The first day that was asked for, or null.
    #[schema(required)]
    pub(super) from: Option<String>,
    /// The last day that was asked for, or null.
    #[schema(required)]
    pub(super) to: Option<String>,
    #[serde(flatten)]
    pub(super) numbers: Numbers,
    /// How many logs have lines of them.
    pub(super) files: u64,
    /// As of a day, for each of the days; and `false` while the store is behind what is counted.
    pub(super) complete: bool,
    /// Clients were removed (`retention_days`), and there may be more distinct ones than these numbers say.
    pub(super) unique_ips_at_least: bool,
    /// The moment that the answer shows, in UTC.
    pub(super) as_of: String,
}

/// The clients with the most requests.
#[derive(Serialize, ToSchema)]
pub(super) struct TopClients {
    /// Those with the most requests first; of those with equally many, by the bytes of the client.
    pub(super) clients: Vec<Client>,
    /// As of a range. `false` also if clients of these days were removed (`retention_days`), for those cannot be told any more.
    pub(super) complete: bool,
    /// The moment that the answer shows, in UTC.
    pub(super) as_of: String,
}

/// A client.
#[derive(Serialize, ToSchema)]
pub(super) struct Client {
    /// The client as logged: an address, or another word. Bytes that are no UTF-8 are written `\xNN`.
    client: String,
    /// How many requests came from it.
    requests: u64,
    /// On how many days it asked.
    days: u64,
}

impl From<&Top> for Client {
    fn from(top: &Top) -> Client {
        Client { client: shown(&top.client), requests: top.requests, days: top.days }
    }
}

/// What is told when numbers change.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    /// Which state of the numbers this is: it is counted up with each change. It begins anew when tallyd does.
    pub(super) generation: u64,
    /// How many bytes are known and not counted yet; null until the folders were looked at.
    #[schema(required)]
    pub(super) pending_bytes: Option<u64>,
    /// How many requests there are in all days together.
    pub(super) requests: u64,
    /// How many logs are in the folders.
    pub(super) files: usize,
}

/// What the daemon does.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// The version of tallyd.
    pub(super) version: &'static str,
    /// For how many seconds the daemon has been running.
    pub(super) uptime_seconds: u64,
    /// How many bytes are known and not counted and published yet; null until the folders were looked at. Half a line that waits for its end is not pending.
    #[schema(required)]
    pub(super) pending_bytes: Option<u64>,
    /// How many logs are in the folders.
    pub(super) logs: usize,
    /// How changes in the folders are found: `inotify`, or `scan` now and then; `starting` before the first look.
    pub(super) watching: &'static str,
    /// How many logs the store does not have as they are yet.
    pub(super) unstored_files: u64,
    /// How many entries of the folders are left out.
    pub(super) skipped: u64,
    /// How the processes are shut in.
    pub(super) sandbox: Sandbox,
    /// What bounds the memory of the processes.
    pub(super) memory: Memory,
    /// The processes of the daemon.
    pub(super) processes: Vec<Process>,
    /// What is not as it should be, a sentence each: a word for the part, a colon, what it is and what to do.
    pub(super) degraded: Vec<String>,
    /// What could not be counted, by file.
    pub(super) quarantine: Vec<Quarantined>,
}

/// How the processes are shut in: workers open, connect and start nothing; the api reads no log; nobody starts programs.
#[derive(Serialize, ToSchema, Clone, Copy)]
pub(super) struct Sandbox {
    /// What is asked for: `auto`, `require` or `off`.
    pub(super) setting: &'static str,
    /// Is it forbidden by Landlock? Files, TCP, signals.
    pub(super) landlock: bool,
    /// And by seccomp? System calls.
    pub(super) seccomp: bool,
}

/// What bounds the memory of the processes, in bytes.
#[derive(Serialize, ToSchema, Clone, Copy)]
pub(super) struct Memory {
    /// What the cgroup grants to all of them together; null if it has no limit.
    #[schema(required)]
    pub(super) limit: Option<u64>,
    /// The numbers that the coordinator keeps in memory (`memory_budget_mib`).
    pub(super) budget: u64,
    /// The decoded days that the api keeps (`cache_mib`).
    pub(super) cache: u64,
    /// What one worker may take (`worker_memory_mib`).
    pub(super) worker: u64,
}

/// A process of the daemon.
#[derive(Serialize, ToSchema)]
pub(super) struct Process {
    /// Which part it plays.
    pub(super) role: &'static str,
    /// Which worker, from 0. Only workers have it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<usize>,
    /// Its process id; null while there is no such process.
    #[schema(required)]
    pub(super) pid: Option<i32>,
    /// What it does.
    pub(super) state: &'static str,
    /// How often it was started again.
    pub(super) restarts: u64,
    /// The id of the log that it is counting. Only workers that count have it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// How many bytes of its range are done. Only workers that count have it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_bytes_done: Option<u64>,
}

/// What was wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: `code` tells what it is.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// What it is, in a few words that are the same for each `code`.
    pub(super) title: String,
    /// The status of the answer.
    pub(super) status: u16,
    /// What it is, in a word that never changes.
    pub(super) code: &'static str,
    /// What was wrong this time, and what to do.
    pub(super) detail: String,
    /// The parameter, or the part of the path, that is wrong.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameter: Option<String>,
    /// What tallyd's log knows this answer by. Only a mistake in tallyd has it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

pub(super) fn day_name(day: Option<Day>) -> String {
    day.map_or(UNDATED.to_owned(), |day| day.to_string())
}

fn unreadable(errno: i32) -> String {
    format!("it cannot be read: {}", std::io::Error::from_raw_os_error(errno))
}

/// Why something is not counted, in words.
pub(super) fn reason(reason: Reason) -> Option<String> {
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
