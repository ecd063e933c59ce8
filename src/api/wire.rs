//! The wire types of the API. The names of their fields are a contract. The OpenAPI document and `/docs` show
//! their doc comments.

use serde::Serialize;
use utoipa::ToSchema;

use crate::board::{DayRow, LogRow, Quarantine, Reason, ShareRow};
use crate::log::{Day, shown};
use crate::numbers::Numbers;
use crate::show::UNDATED;
use crate::store::unite::Top;
use crate::tally::Totals;

/// Writes a value as JSON. This cannot fail: the map keys are strings, and the numbers are finite.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys are strings")
}

/// A log of the report, with the field names of the original program.
#[derive(Serialize, ToSchema)]
pub(super) struct Reported {
    /// The number of requests: the same number as `requests`.
    total: u64,
    /// The number of distinct clients: the same number as `unique_ips`.
    ip: u64,
}

/// A log of the report as CSV.
#[derive(Serialize)]
pub(super) struct NamedReported {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) reported: Reported,
}

impl From<&Totals> for Reported {
    fn from(totals: &Totals) -> Reported {
        Reported { total: totals.counts.requests(), ip: totals.clients.all() }
    }
}

/// A log and its numbers.
#[derive(Serialize, ToSchema)]
pub(super) struct File {
    /// The id of the log in `/api/v1/files/{id}`: 16 hexadecimal digits.
    id: String,
    /// The name of the log. If several folders are watched, the name begins with the folder. Bytes that are
    /// not UTF-8 are shown as `\xNN`.
    name: String,
    /// The day in the name of the log; null if the name has none.
    #[schema(required)]
    day: Option<String>,
    #[serde(flatten)]
    reported: Reported,
    /// The number of lines: `blank` + `requests`.
    lines: u64,
    /// The number of lines that contain only white space.
    blank: u64,
    #[serde(flatten)]
    numbers: Numbers,
    /// The size of the log on disk in bytes: the compressed size if the log is compressed.
    size: u64,
    /// The offset in bytes, in the uncompressed log, up to which all lines are counted. An unfinished last
    /// line counts once its line end is written.
    counted_to: u64,
    /// `counting`: tallyd counts the log for the first time. `live`: counted, and may grow. `final`: counted,
    /// and unchanged for long, rotated, or compressed. `gone`: no longer in the folder; its numbers stay.
    /// `duplicate`: a copy or the beginning of another log, which has its requests. `quarantined`: some
    /// ranges could not be counted. `skipped`: not counted, or deleted.
    state: &'static str,
    /// True if all lines of the log are in the numbers.
    complete: bool,
    /// True if clients were deleted (`retention_days`), so that `unique_ips` is a lower bound.
    unique_ips_at_least: bool,
    /// The id of the log that this log is a copy or the beginning of; null for all other logs.
    #[schema(required)]
    duplicate_of: Option<String>,
    /// The reason why some or all lines are not counted, or why the numbers are doubtful; null if there is
    /// none.
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
            lines: log.totals.counts.lines(),
            blank: log.totals.counts.blank,
            numbers: Numbers::from(&log.totals),
            size: log.size,
            counted_to: log.counted_to,
            state: log.state.name(),
            complete: log.complete,
            unique_ips_at_least: log.at_least,
            duplicate_of: (log.duplicate_of != 0).then(|| file_id(log.duplicate_of)),
            reason: reason(log.reason).or_else(|| log.doubt().map(|doubt| doubt.to_string())),
        }
    }
}

/// The result of an upload.
#[derive(Serialize, ToSchema)]
pub(super) struct Uploaded {
    /// The id of the log; null if tallyd has not found the log yet.
    pub(super) id: Option<String>,
    /// The name of the log, as in `/api/v1/files`.
    pub(super) name: String,
    /// The number of bytes of the body, which are stored.
    pub(super) bytes: u64,
    /// The path of the log in this API; null if tallyd has not found the log yet.
    pub(super) url: Option<String>,
}

/// The id of a log as text.
pub(super) fn file_id(id: u64) -> String {
    format!("{id:016x}")
}

/// The log with this id.
pub(super) fn log_of(file_id: &str) -> Option<u64> {
    let is_written_so =
        file_id.len() == 16 && file_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_written_so.then(|| u64::from_str_radix(file_id, 16).ok()).flatten()
}

/// A page of logs.
#[derive(Serialize, ToSchema)]
pub(super) struct Files {
    /// The logs, including those that are no longer in the folders.
    pub(super) files: Vec<File>,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// A log with its numbers by day.
#[derive(Serialize, ToSchema)]
pub(super) struct FileWithDays {
    #[serde(flatten)]
    pub(super) file: File,
    /// The numbers of the log by day, in ascending order. Requests without a time stamp have an entry of
    /// their own.
    pub(super) days: Vec<Share>,
    /// The ranges that could not be counted, in ascending order. Until the store has all of them: the first
    /// range, with the bytes of all.
    pub(super) quarantine: Vec<Quarantined>,
}

/// The numbers of one day of one log.
#[derive(Serialize, ToSchema)]
pub(super) struct Share {
    /// The day of the requests. Requests without a time stamp are of the day in the name of the log, or else
    /// `undated`.
    day: String,
    #[serde(flatten)]
    numbers: Numbers,
}

impl Share {
    /// Requests without a time stamp are of the day in the name of the log.
    pub(super) fn new(share: &ShareRow, log: &LogRow) -> Share {
        Share { day: day_name(share.day.or(log.day)), numbers: Numbers::from(&share.totals) }
    }
}

/// A range of bytes that could not be counted.
#[derive(Serialize, ToSchema)]
pub(super) struct Quarantined {
    /// The id of the log.
    file: String,
    /// The name of the log.
    name: String,
    /// The offset of the first byte of the range in the uncompressed log. In the status: of the first range.
    from: u64,
    /// The offset of the byte behind the range.
    to: u64,
    /// The length of the range in bytes. In the status: of all ranges of the log.
    bytes: u64,
    /// The reason why the range could not be counted; null if the reason is not known.
    #[schema(required)]
    reason: Option<String>,
}

impl Quarantined {
    /// The quarantine of a log, if the log has one.
    pub(super) fn of(log: &LogRow) -> Option<Quarantined> {
        let Quarantine { bytes, from, to, .. } = log.quarantine;
        (bytes > 0).then(|| Quarantined { bytes, ..Quarantined::range(log, from, to, log.reason) })
    }

    /// A quarantined range of a log.
    pub(super) fn range(log: &LogRow, from: u64, to: u64, why: Reason) -> Quarantined {
        Quarantined {
            file: file_id(log.id),
            name: shown(&log.name),
            from,
            to,
            bytes: to.saturating_sub(from),
            reason: reason(why),
        }
    }
}

/// The numbers of one day over all logs.
#[derive(Serialize, ToSchema)]
#[schema(as = Day)]
pub(super) struct DayOfAll {
    /// The day in the lines, such as `2021-03-22`, or `undated`.
    day: String,
    #[serde(flatten)]
    numbers: Numbers,
    /// The number of logs that have requests of this day.
    files: u64,
    /// True if all known requests of this day are in the numbers. False while a log that may have some is
    /// being counted, cannot be read, or has a range that could not be counted.
    complete: bool,
    /// True if clients were deleted (`retention_days`), so that `unique_ips` is a lower bound.
    unique_ips_at_least: bool,
}

impl From<&DayRow> for DayOfAll {
    fn from(row: &DayRow) -> DayOfAll {
        DayOfAll {
            day: day_name(row.day),
            numbers: Numbers::from(&row.totals),
            files: row.files,
            complete: row.complete,
            unique_ips_at_least: row.at_least,
        }
    }
}

/// The numbers of several days over all logs, day by day.
#[derive(Serialize, ToSchema)]
pub(super) struct Days {
    /// The days in the order that `sort` asks for: ascending by default; `undated` is last.
    pub(super) days: Vec<DayOfAll>,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// The numbers of several days over all logs. Each client counts once.
#[derive(Serialize, ToSchema)]
pub(super) struct Range {
    /// The first day of the range; null if the request has no `from`.
    #[schema(required)]
    pub(super) from: Option<String>,
    /// The last day of the range; null if the request has no `to`.
    #[schema(required)]
    pub(super) to: Option<String>,
    #[serde(flatten)]
    pub(super) numbers: Numbers,
    /// The number of logs that have requests of these days.
    pub(super) files: u64,
    /// True if all known requests of these days are in the numbers. False also while the store is behind what
    /// is counted.
    pub(super) complete: bool,
    /// True if clients were deleted (`retention_days`), so that `unique_ips` is a lower bound.
    pub(super) unique_ips_at_least: bool,
    /// The time of the numbers, in UTC.
    pub(super) as_of: String,
}

/// The clients with the most requests.
#[derive(Serialize, ToSchema)]
pub(super) struct TopClients {
    /// The clients by their number of requests, the most first. Clients with the same number are in the order
    /// of their bytes.
    pub(super) clients: Vec<Client>,
    /// True if all known requests of these days are in the numbers. False also while the store is behind, or
    /// if clients of these days were deleted (`retention_days`).
    pub(super) complete: bool,
    /// The time of the numbers, in UTC.
    pub(super) as_of: String,
}

/// A client and its requests.
#[derive(Serialize, ToSchema)]
pub(super) struct Client {
    /// The client as the logs have it: an IP address or a name. Bytes that are not UTF-8 are shown as `\xNN`.
    client: String,
    /// The number of requests of this client.
    requests: u64,
    /// The number of days on which this client sent requests.
    days: u64,
}

impl From<&Top> for Client {
    fn from(top: &Top) -> Client {
        Client { client: shown(&top.client), requests: top.requests, days: top.days }
    }
}

/// The data of an event: the state of the numbers after a change.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    /// The number of this state: higher after each change, and restarted when tallyd starts.
    pub(super) generation: u64,
    /// The number of bytes in the logs that are not counted yet; null until the first scan of the folders is
    /// complete.
    #[schema(required)]
    pub(super) pending_bytes: Option<u64>,
    /// The number of requests of all days together.
    pub(super) requests: u64,
    /// The number of logs in the folders.
    pub(super) files: usize,
}

/// The state of the daemon.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// The version of tallyd.
    pub(super) version: &'static str,
    /// The time since the daemon started, in seconds.
    pub(super) uptime_seconds: u64,
    /// The number of bytes in the logs that are not counted and shown yet; null until the first scan of the
    /// folders is complete. An unfinished last line is not pending.
    #[schema(required)]
    pub(super) pending_bytes: Option<u64>,
    /// The number of logs in the folders.
    pub(super) logs: usize,
    /// How tallyd finds changes in the folders: `inotify`, or `scan` for periodic scans only; `starting`
    /// before the first scan.
    pub(super) watching: &'static str,
    /// The number of logs whose current numbers are not in the store yet.
    pub(super) unstored_files: u64,
    /// The number of entries in the folders that tallyd skips.
    pub(super) skipped: u64,
    /// The sandbox of the processes.
    pub(super) sandbox: Sandbox,
    /// The memory limits of the processes.
    pub(super) memory: Memory,
    /// The processes of the daemon.
    pub(super) processes: Vec<Process>,
    /// The problems of the daemon, one sentence each: the affected part, a colon, the problem and the remedy.
    pub(super) degraded: Vec<String>,
    /// The ranges that could not be counted: one entry for each affected log.
    pub(super) quarantine: Vec<Quarantined>,
}

/// The sandbox of the processes: workers cannot open files, connect, or start programs; the api cannot read
/// logs; no process can start programs.
#[derive(Serialize, ToSchema, Clone, Copy)]
pub(super) struct Sandbox {
    /// The setting `sandbox`: `auto`, `require` or `off`.
    pub(super) setting: &'static str,
    /// True if Landlock restricts the access to files, TCP and signals.
    pub(super) landlock: bool,
    /// True if seccomp restricts the system calls.
    pub(super) seccomp: bool,
}

/// The memory limits of the processes, in bytes.
#[derive(Serialize, ToSchema, Clone, Copy)]
pub(super) struct Memory {
    /// The limit of the cgroup for all processes together; null if the cgroup has no limit.
    #[schema(required)]
    pub(super) limit: Option<u64>,
    /// The limit of the numbers that the coordinator keeps in memory (`memory_budget_mib`).
    pub(super) budget: u64,
    /// The limit of the decoded days that the api keeps in memory (`cache_mib`).
    pub(super) cache: u64,
    /// The limit of one worker (`worker_memory_mib`).
    pub(super) worker: u64,
}

/// A process of the daemon.
#[derive(Serialize, ToSchema)]
pub(super) struct Process {
    /// The role of the process.
    pub(super) role: &'static str,
    /// The number of the worker, from 0. Only workers have this field.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<usize>,
    /// The process id; null while the process does not run.
    #[schema(required)]
    pub(super) pid: Option<i32>,
    /// The state of the process.
    pub(super) state: &'static str,
    /// How many times the process was restarted.
    pub(super) restarts: u64,
    /// The id of the log that the worker is counting. Only workers that are counting have this field.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// The number of bytes of its range that the worker has counted. Only workers that are counting have this
    /// field.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_bytes_done: Option<u64>,
}

/// An error as problem+json (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// A link to the description of the error: `/docs#`, followed by `code`.
    #[schema(format = "uri-reference")]
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// A short title of the error, the same for each `code`.
    pub(super) title: String,
    /// The HTTP status of the answer.
    pub(super) status: u16,
    /// The kind of error, as a stable word.
    pub(super) code: &'static str,
    /// The cause of this error, and the remedy.
    pub(super) detail: String,
    /// The name of the parameter, or of the part of the path, that is not valid.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameter: Option<String>,
    /// The id of this answer in the journal of tallyd. Only bugs in tallyd have this field.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

pub(super) fn day_name(day: Option<Day>) -> String {
    day.map_or(UNDATED.to_owned(), |day| day.to_string())
}

fn unreadable(errno: i32) -> String {
    format!("tallyd cannot read the log: {}", std::io::Error::from_raw_os_error(errno))
}

/// The reason why lines are not counted, in words.
pub(super) fn reason(reason: Reason) -> Option<String> {
    Some(match reason {
        Reason::Nothing => return None,
        Reason::Signal(number) => format!(
            "every worker that counted this range died of {}",
            crate::sys::process::Death::Signal(number)
        ),
        Reason::Exit(code) => format!("every worker that counted this range ended with code {code}"),
        Reason::Hang => "every worker that counted this range hung".to_owned(),
        Reason::Unreadable(errno) => unreadable(errno),
        Reason::Refused => "no worker returned a valid result".to_owned(),
        Reason::Damage(damage) => format!("tallyd counted the log up to a damage: {damage}"),
        Reason::Skipped(skip) => format!("skipped: {skip}"),
        Reason::Deleted => "the numbers of the log were deleted".to_owned(),
    })
}
