//! The logs: the list of all logs, and one log.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use globset::{GlobBuilder, GlobMatcher};
use tokio::task::spawn_blocking;

use crate::api::answer::{FORMAT_OF_LIST, Tag, answer};
use crate::api::problem::Problem;
use crate::api::query::media::Media;
use crate::api::query::page::{self, CURSOR, Order, PAGE_MAX, Place};
use crate::api::query::{Asked, FROM, Kind, Parameter, TO, path_part};
use crate::api::state::Sources;
use crate::api::state::{Api, Shared};
use crate::api::wire::{self, json};
use crate::api::{ranges, table};
use crate::board::{BoardReader, BusyError, LogRow, LogState, Reason};
use crate::log::Day;
use crate::period::today;
use crate::store::{self, State as StoreState};

/// The longest pattern of names, in bytes.
const PATTERN_BYTES_MAX: usize = 256;
/// The maximum time for matching all names with a pattern.
const MATCHING_MAX: Duration = Duration::from_secs(1);
/// The default number of logs on a page.
const PAGE: usize = 1_000;

static DAY: Parameter = Parameter {
    name: "day",
    about: "Only logs that have requests of this day: a date, `today` or `yesterday` (in UTC), or `undated`.",
    kind: Kind::Day,
};
static NAME: Parameter = Parameter {
    name: "name",
    about: "Only logs whose name matches this pattern: `*` matches any characters but `/`, `**` any characters, `?` one character, `[ab]` one of these characters, `{a,b}` one \
            of these words. `\\` before a special character matches the character itself.",
    kind: Kind::Text,
};
static STATE: Parameter =
    Parameter { name: "state", about: "Only logs in this state.", kind: Kind::Words(&LogState::NAMES) };
static SORT: Parameter = Parameter {
    name: "sort",
    about: "The field that the list is sorted by; a `-` reverses the order. Default: `name`. `state` sorts by the order of the allowed words of the parameter `state`. Logs \
            with equal values are sorted by name; logs without a day are last.",
    kind: Kind::Words(&[
        "name",
        "-name",
        "requests",
        "-requests",
        "day",
        "-day",
        "size",
        "-size",
        "unique_ips",
        "-unique_ips",
        "log_bytes",
        "-log_bytes",
        "counted_to",
        "-counted_to",
        "state",
        "-state",
    ]),
};
static LIMIT: Parameter = Parameter {
    name: "limit",
    about: "The maximum number of logs in the answer. Default: 1000.",
    kind: Kind::Count(PAGE_MAX),
};

/// The parameters of the list.
pub static OF_LIST: &[&Parameter] =
    &[&DAY, &FROM, &TO, &NAME, &STATE, &SORT, &LIMIT, &CURSOR, &FORMAT_OF_LIST];

/// `GET /api/v1/files`
pub async fn files(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_LIST)?;
    let format = asked.format(&FORMAT_OF_LIST)?;
    let today = today();
    let (day, days) = (asked.day(&DAY, today)?, asked.days(today)?);
    let name = asked.text(&NAME).map(pattern).transpose()?;
    let state = asked.word(&STATE)?;
    let sort = sort(&asked)?;
    let limit = asked.count(&LIMIT)?.unwrap_or(PAGE);
    let tag = Tag::of_board(&api).on(today);
    if limit > PAGE && api.room.is_short() && !tag.is_known(&asked, format) {
        return Err(Problem::too_busy());
    }
    let board = &api.sources.board;
    let mut logs = board.logs()?;
    logs.retain(|log| state.is_none_or(|state| log.state.name() == state));
    if let Some(name) = name {
        logs = named(logs, name).await?;
    }
    if day.is_some() || days.from.is_some() || days.to.is_some() {
        let of_days = of_days(board, &logs, day, days)?;
        logs.retain(|log| of_days.contains(&log.id));
    }
    let order = Order { word: sort, names_descend: sort == "-name" };
    let (logs, next) = order.page(logs, |log| place(log, sort), limit, &asked)?;
    let files: Vec<wire::File> = logs.iter().map(wire::File::from).collect();
    let response = answer(&asked, &tag, format, || match format {
        Media::Json => json(&wire::Files { files, next: next.clone() }),
        Media::Csv => table::csv(&files, &wire::File::from(&LogRow::default())),
        Media::Ndjson => table::json_lines(&files),
    });
    Ok(page::linked(next.as_deref(), response, &asked))
}

/// The order of the list. The name that `log_bytes` had before is refused with the new name.
fn sort(asked: &Asked) -> Result<&'static str, Problem> {
    if let Some(old @ ("bytes" | "-bytes")) = asked.text(&SORT) {
        let new = old.replace("bytes", "log_bytes");
        return Err(
            Problem::bad_parameter(format!("sort: {old:?} is now named {new:?}: the length of the lines in bytes, which is not network traffic")).of("sort")
        );
    }
    Ok(asked.word(&SORT)?.unwrap_or("name"))
}

/// The logs whose names match. The matching has a thread of its own and a time limit: some patterns take
/// long.
async fn named(mut logs: Vec<LogRow>, name: GlobMatcher) -> Result<Vec<LogRow>, Problem> {
    let matching = move || {
        let start = Instant::now();
        logs.retain(|log| {
            start.elapsed() < MATCHING_MAX && name.is_match(FilePath::new(OsStr::from_bytes(&log.name)))
        });
        (start.elapsed() < MATCHING_MAX).then_some(logs)
    };
    let matched = spawn_blocking(matching).await.ok().flatten();
    matched.ok_or_else(|| {
        Problem::bad_parameter(
            "name: matching this pattern takes too long; use a simpler pattern, such as 2021*.log",
        )
        .of("name")
    })
}

fn pattern(pattern: &str) -> Result<GlobMatcher, Problem> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(
            Problem::bad_parameter(format!("name: the pattern is longer than {PATTERN_BYTES_MAX} bytes; use a shorter pattern, such as 2021*.log")).of("name")
        );
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| {
        Problem::bad_parameter(format!("name: {error}; use a pattern such as 2021*.log")).of("name")
    })
}

/// The ids of the logs that have requests of this day, if one is given, and of these days.
fn of_days(
    board: &BoardReader,
    logs: &[LogRow],
    day: Option<Option<Day>>,
    days: ranges::Days,
) -> Result<HashSet<u64>, BusyError> {
    // One pass over all shares: many logs may have many shares each.
    let name_days: HashMap<u64, Option<Day>> = logs.iter().map(|log| (log.id, log.day)).collect();
    let (mut of_day, mut of_days) = (HashSet::new(), HashSet::new());
    for share in board.all_shares() {
        let share = share?;
        let Some(name_day) = name_days.get(&share.log) else { continue };
        let reported = share.day.or(*name_day);
        if day.is_none_or(|day| day == reported) {
            of_day.insert(share.log);
        }
        if days.have(reported) {
            of_days.insert(share.log);
        }
    }
    of_day.retain(|log| of_days.contains(log));
    Ok(of_day)
}

fn place(log: &LogRow, sort: &str) -> Place {
    let (what, descends) = sort.strip_prefix('-').map_or((sort, false), |what| (what, true));
    let number = match what {
        "requests" => Some(log.totals.counts.requests()),
        "day" => log.day.map(|day| day.number().into()),
        "size" => Some(log.size),
        "unique_ips" => Some(log.totals.clients.all()),
        "log_bytes" => Some(log.totals.counts.log_bytes),
        "counted_to" => Some(log.counted_to),
        "state" => Some(log.state as u64),
        // By name alone.
        _ => return Place { key: 0, name: log.name.clone(), id: log.id },
    };
    Place { key: page::key(number, descends), name: log.name.clone(), id: log.id }
}

/// `GET /api/v1/files/{id}`
pub async fn file(
    State(api): Shared,
    path: Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Result<Response, Problem> {
    asked.only(&[])?;
    let id = path_part("id", path)?;
    let tag = Tag::of_board(&api);
    let log = find(&api, &id)?;
    let days = api.sources.board.shares(log.id)?.iter().map(|share| wire::Share::new(share, &log)).collect();
    let quarantine = quarantine(&api.sources, &log).await;
    Ok(answer(&asked, &tag, Media::Json, || {
        json(&wire::FileWithDays { file: wire::File::from(&log), days, quarantine })
    }))
}

/// The log with this id.
pub fn find(api: &Api, id: &str) -> Result<LogRow, Problem> {
    let log = wire::log_of(id).map(|id| api.sources.board.log(id)).transpose()?.flatten();
    log.ok_or_else(|| Problem::not_found("no log has this id; /api/v1/files lists the logs"))
}

/// The quarantined ranges of a log. The board has the first range and the length of all; the store has all
/// ranges, once it is as new as the board.
async fn quarantine(sources: &Sources, log: &LogRow) -> Vec<wire::Quarantined> {
    let Some(all) = wire::Quarantined::of(log) else { return Vec::new() };
    if log.quarantine.bytes == log.quarantine.to.saturating_sub(log.quarantine.from) {
        return vec![all];
    }
    let path = store::folder::path(&sources.partials, log.id);
    let stored =
        spawn_blocking(move || File::open(path).map_err(store::StoreError::from).and_then(store::read_meta))
            .await;
    match stored {
        Ok(Ok(meta))
            if meta.state != StoreState::Deleted
                && meta.holes.iter().map(|hole| hole.range.len()).sum::<u64>() == log.quarantine.bytes =>
        {
            let range = |hole: &store::Hole| {
                wire::Quarantined::range(
                    log,
                    hole.range.from(),
                    hole.range.to(),
                    Reason::from_word(hole.reason),
                )
            };
            meta.holes.iter().map(range).collect()
        }
        _ => vec![all],
    }
}
