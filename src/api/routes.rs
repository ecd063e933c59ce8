//! The routes: what is asked, what is answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::problem::Problem;
use super::ranges::{self, Ranges};
use super::wire::{self, json};
use super::{Sources, changes, upload};
use crate::board::{Activity, DayRow, LogRow, LogState, Reason, Watching};
use crate::heritage::Role;
use crate::log::{Day, shown};
use crate::show::UNDATED;

const FILES_PER_PAGE: usize = 1_000;
const FILES_PER_PAGE_MAX: usize = 10_000;
/// How many clients are told if nobody says how many.
const TOP: usize = 10;

pub(super) struct Api {
    pub(super) sources: Arc<Sources>,
    /// The last report and the generation it is of.
    report: Mutex<Option<(u64, Bytes)>>,
    /// Has everything been counted once?
    ready: AtomicBool,
}

pub(super) type Shared = State<Arc<Api>>;

pub(super) fn router(sources: Arc<Sources>) -> Router {
    let api = Arc::new(Api { sources, report: Mutex::default(), ready: AtomicBool::new(false) });
    let data = Router::new()
        .route("/api/v1/report", get(report))
        .route("/api/v1/files", get(files))
        .route("/api/v1/files/{id}", get(file).delete(changes::delete))
        .route("/api/v1/days", get(days))
        .route("/api/v1/days/{day}", get(day))
        .layer(from_fn_with_state(Arc::clone(&api), tagged));
    Router::new()
        .merge(data)
        .merge(upload::routes())
        .route("/api/v1/range", get(range))
        .route("/api/v1/top/clients", get(top_clients))
        .route("/api/v1/rescan", post(changes::rescan))
        .route("/api/v1/status", get(status))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || Problem::not_found("see the README for the paths there are"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn_with_state(Arc::clone(&api), every_answer))
        .with_state(api)
}

/// What every answer has.
async fn every_answer(State(api): Shared, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    api.sources.own.add_work();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Data answers carry the board's generation as their tag: while it lasts, nothing has changed.
async fn tagged(State(api): Shared, request: Request, next: Next) -> Response {
    let tag = format!("\"{:x}-{:x}\"", api.sources.started, api.sources.board.header().generation);
    let same = is_known(request.headers(), &tag);
    let mut response = next.run(request).await;
    if same && response.status() == StatusCode::OK {
        response = StatusCode::NOT_MODIFIED.into_response();
    }
    if matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED) {
        put_tag(&mut response, &tag);
    }
    response
}

/// Does who asks have the answer with this tag?
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let asked = headers.get(header::IF_NONE_MATCH).and_then(|asked| asked.to_str().ok());
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    asked.is_some_and(|asked| asked.split(',').map(str::trim).any(|asked| asked == "*" || bare(asked) == bare(tag)))
}

fn put_tag(response: &mut Response, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

fn answer(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// The parameters of a query, all known and each what it should be.
pub(super) fn parameters<P>(query: Result<Query<P>, QueryRejection>) -> Result<P, Problem> {
    query.map(|Query(parameters)| parameters).map_err(|error| {
        let text = error.body_text();
        Problem::bad_parameter(text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text))
    })
}

/// The part of the path that names something.
pub(super) fn path_part(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(part)| part).map_err(|_| Problem::bad_parameter("the path: it must be UTF-8 when percent-decoded"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameters {}

async fn report(State(api): Shared, query: Result<Query<NoParameters>, QueryRejection>) -> Result<Response, Problem> {
    parameters(query)?;
    let generation = api.sources.board.header().generation;
    let kept = api.report.lock().expect("no holder panics").clone();
    if let Some((_, body)) = kept.filter(|(of, _)| *of == generation) {
        return Ok(answer(body));
    }
    let logs = api.sources.board.logs()?;
    let present = logs.iter().filter(|log| is_present(log));
    let report: BTreeMap<String, wire::Reported> = present.map(|log| (shown(&log.name), wire::Reported::from(&log.totals))).collect();
    let body = Bytes::from(json(&report));
    *api.report.lock().expect("no holder panics") = Some((generation, body.clone()));
    Ok(answer(body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesQuery {
    day: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn files(State(api): Shared, query: Result<Query<FilesQuery>, QueryRejection>) -> Result<Response, Problem> {
    let FilesQuery { day, limit, cursor } = parameters(query)?;
    let limit = limit.unwrap_or(FILES_PER_PAGE);
    if !(1..=FILES_PER_PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_parameter(format!("limit: {limit} is not within 1 to {FILES_PER_PAGE_MAX}")));
    }
    let mut logs = api.sources.board.logs()?;
    if let Some(day) = day {
        let day = parse_day("day", &day)?;
        // One walk over all shares: there may be many for each of many logs.
        let days: HashMap<u64, Option<Day>> = logs.iter().map(|log| (log.id, log.day)).collect();
        let mut of_day = HashSet::new();
        for share in api.sources.board.all_shares() {
            let share = share?;
            if days.get(&share.log).is_some_and(|name_day| share.day.or(*name_day) == day) {
                of_day.insert(share.log);
            }
        }
        logs.retain(|log| of_day.contains(&log.id));
    }
    logs.sort_by(|one, two| (&one.name, one.id).cmp(&(&two.name, two.id)));
    let start = match &cursor {
        None => 0,
        Some(cursor) => {
            let wrong = || Problem::bad_parameter("cursor: take the `next` of an earlier answer; its file may be gone, then begin again without a cursor");
            1 + logs.iter().position(|log| wire::file_id(log.id) == *cursor).ok_or_else(wrong)?
        }
    };
    let page = &logs[start..logs.len().min(start + limit)];
    let more = start + page.len() < logs.len();
    let next = page.last().filter(|_| more).map(|log| wire::file_id(log.id));
    Ok(answer(json(&wire::Files { files: page.iter().map(wire::File::from).collect(), next })))
}

async fn file(State(api): Shared, path: Result<Path<String>, PathRejection>, query: Result<Query<NoParameters>, QueryRejection>) -> Result<Response, Problem> {
    parameters(query)?;
    let id = path_part(path)?;
    let board = &api.sources.board;
    let log = board.logs()?.into_iter().find(|log| wire::file_id(log.id) == id);
    let log = log.ok_or_else(|| Problem::not_found("no file has this id; /api/v1/files lists them"))?;
    let days = board.shares(log.id)?.iter().map(|share| wire::Share::new(share, &log)).collect();
    let quarantine = wire::Quarantined::of(&log).into_iter().collect();
    Ok(answer(json(&wire::FileWithDays { file: wire::File::from(&log), days, quarantine })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DaysQuery {
    from: Option<String>,
    to: Option<String>,
}

async fn days(State(api): Shared, query: Result<Query<DaysQuery>, QueryRejection>) -> Result<Response, Problem> {
    let DaysQuery { from, to } = parameters(query)?;
    let ranges::Days { from, to } = parse_days(from, to)?;
    let mut days = api.sources.board.days()?;
    if from.is_some() || to.is_some() {
        days.retain(|row| row.day.is_some_and(|day| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to)));
    }
    // What has no date comes last.
    days.sort_by_key(|row| (row.day.is_none(), row.day));
    Ok(answer(json(&wire::Days { days: days.iter().map(wire::DayOfAll::from).collect() })))
}

async fn day(State(api): Shared, path: Result<Path<String>, PathRejection>, query: Result<Query<NoParameters>, QueryRejection>) -> Result<Response, Problem> {
    parameters(query)?;
    let wanted = parse_day("day", &path_part(path)?)?;
    let row: Option<DayRow> = api.sources.board.days()?.into_iter().find(|row| row.day == wanted);
    let row = row.ok_or_else(|| Problem::not_found(format!("there is nothing of {}", wire::day_name(wanted))))?;
    Ok(answer(json(&wire::DayOfAll::from(&row))))
}

async fn range(State(api): Shared, headers: HeaderMap, query: Result<Query<DaysQuery>, QueryRejection>) -> Result<Response, Problem> {
    let DaysQuery { from, to } = parameters(query)?;
    let days = parse_days(from, to)?;
    let ranges::Answer { outcome, complete, as_of, tag } = api.sources.ranges.numbers(&api.sources.board, days).await?;
    let bound = |day: Option<Day>| day.map(|day| day.to_string());
    let numbers = wire::Numbers::from(&outcome.numbers.totals);
    let body = json(&wire::Range { from: bound(days.from), to: bound(days.to), numbers, files: outcome.numbers.files, complete, as_of: &as_of });
    Ok(unless_known(&headers, &tag, body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopQuery {
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
}

async fn top_clients(State(api): Shared, headers: HeaderMap, query: Result<Query<TopQuery>, QueryRejection>) -> Result<Response, Problem> {
    let TopQuery { from, to, limit } = parameters(query)?;
    let limit = limit.unwrap_or(TOP);
    if !(1..=Ranges::TOP_MAX).contains(&limit) {
        return Err(Problem::bad_parameter(format!("limit: {limit} is not within 1 to {}", Ranges::TOP_MAX)));
    }
    let days = parse_days(from, to)?;
    let ranges::Answer { outcome, complete, as_of, tag } = api.sources.ranges.top(&api.sources.board, days).await?;
    let clients = outcome.top.iter().take(limit).map(wire::Client::from).collect();
    Ok(unless_known(&headers, &tag, json(&wire::TopClients { clients, complete, as_of: &as_of })))
}

/// An answer with its tag, or that it is the one that who asks has.
fn unless_known(headers: &HeaderMap, tag: &str, body: Vec<u8>) -> Response {
    let mut response = if is_known(headers, tag) { StatusCode::NOT_MODIFIED.into_response() } else { answer(body) };
    put_tag(&mut response, tag);
    response
}

fn parse_days(from: Option<String>, to: Option<String>) -> Result<ranges::Days, Problem> {
    let bound = |name, text: Option<String>| text.map(|text| parse_date(name, &text)).transpose();
    let (from, to) = (bound("from", from)?, bound("to", to)?);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Problem::bad_parameter(format!("from: {from} is after to: {to}")));
    }
    Ok(ranges::Days { from, to })
}

fn parse_date(name: &str, text: &str) -> Result<Day, Problem> {
    Day::parse(text).ok_or_else(|| Problem::bad_parameter(format!("{name}: {text:?} is no day: write it like 2021-03-22")))
}

fn parse_day(name: &str, text: &str) -> Result<Option<Day>, Problem> {
    if text == UNDATED { Ok(None) } else { parse_date(name, text).map(Some) }
}

async fn status(State(api): Shared, query: Result<Query<NoParameters>, QueryRejection>) -> Result<Response, Problem> {
    parameters(query)?;
    let sources = &api.sources;
    let header = sources.board.header();
    let logs = sources.board.logs()?;
    let mut degraded = Vec::new();
    if header.full {
        degraded.push("board: there are more logs or days than it has rows for; raise board_logs".to_owned());
    }
    if header.troubled > 0 {
        degraded.push(format!("logs: watched folders that cannot be read: {}", header.troubled));
    }
    let unreadable = logs.iter().filter(|log| is_unreadable(log)).count();
    if unreadable > 0 {
        degraded.push(format!("logs: logs that cannot be opened: {unreadable}; /api/v1/files tells which and why"));
    }
    if header.watching == Watching::Unable {
        degraded.push("watch: the system does not say what changes (its log tells why); changes are seen at each scan".to_owned());
    }
    if header.state_error != 0 {
        let error = std::io::Error::from_raw_os_error(header.state_error);
        degraded.push(format!("state: cannot write to the state folder: {error}; counting goes on, and it is written when it can be again"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    Ok(answer(json(&wire::Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: now.saturating_sub(sources.started),
        pending_bytes: header.scanned.then_some(header.pending),
        logs: logs.iter().filter(|log| is_present(log)).count(),
        watching: match header.watching {
            Watching::Starting => "starting",
            Watching::Notified => "inotify",
            Watching::Unwanted | Watching::Unable => "scan",
        },
        unstored_files: header.unstored,
        skipped: logs.iter().filter(|log| log.state == LogState::Skipped).count() as u64 + header.skipped_more,
        processes: processes(sources),
        degraded,
        quarantine: logs.iter().filter_map(wire::Quarantined::of).collect(),
    })))
}

/// Is it a log that is in a folder now?
fn is_present(log: &LogRow) -> bool {
    !matches!(log.state, LogState::Gone | LogState::Skipped)
}

/// Nothing of it can be read now. Waiting for it would be waiting for somebody to do something.
fn is_unreadable(log: &LogRow) -> bool {
    matches!(log.reason, Reason::Unreadable(_)) && log.quarantine.bytes == 0
}

fn processes(sources: &Sources) -> Vec<wire::Process> {
    let supervisor = sources.roster.get(0);
    let mut processes = vec![wire::Process {
        role: "supervisor",
        number: None,
        pid: supervisor.pid,
        state: Activity::Idle.name(),
        restarts: supervisor.restarts,
        file: None,
        range_bytes_done: None,
    }];
    for (slot, page) in sources.pages.iter().enumerate() {
        let role = Role::of_slot(slot);
        let entry = sources.roster.get(slot + 1);
        let activity = if entry.pid.is_some() { page.activity() } else { Activity::Dead };
        let (log, bytes) = page.progress();
        let counting = matches!(role, Role::Worker(_)) && activity == Activity::Working;
        processes.push(wire::Process {
            role: role.name(),
            number: if let Role::Worker(number) = role { Some(number) } else { None },
            pid: entry.pid,
            state: activity.name(),
            restarts: entry.restarts,
            file: counting.then(|| wire::file_id(log)),
            range_bytes_done: counting.then_some(bytes),
        });
    }
    processes
}

async fn healthz() -> &'static str {
    "alive\n"
}

async fn readyz(State(api): Shared) -> Result<&'static str, Problem> {
    if !api.ready.load(Relaxed) {
        let counted = api.sources.board.header().scanned && api.sources.board.logs()?.iter().all(|log| log.state != LogState::Counting || is_unreadable(log));
        if !counted {
            return Err(Problem::not_ready("the logs that were found at the start are being counted"));
        }
        api.ready.store(true, Relaxed);
    }
    Ok("ready\n")
}
