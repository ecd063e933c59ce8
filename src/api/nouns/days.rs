//! Days over all logs: day by day, as a range, and the clients with the most requests.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::api::answer::{FORMAT, FORMAT_OF_LIST, Tag, answer};
use crate::api::problem::Problem;
use crate::api::query::media::Media;
use crate::api::query::page::{self, CURSOR, Order, PAGE_MAX, Place};
use crate::api::query::{Asked, FROM, Kind, Parameter, TO, parse_day, path_part};
use crate::api::ranges::{self, Days, Ranges, STORE_WAIT, UnavailableError};
use crate::api::state::{Api, Shared};
use crate::api::table;
use crate::api::wire::{self, json};
use crate::board::{BoardReader, DayRow, Header, LogRow, LogState};
use crate::log::Day;
use crate::numbers::Numbers;
use crate::period::today;
use crate::store::unite::Top;

/// The default number of clients.
const TOP: usize = 10;

static SORT: Parameter = Parameter {
    name: "sort",
    about: "The order of the days: `day` from the first to the last (default), `-day` from the last to the first. `undated` is last in both.",
    kind: Kind::Words(&["day", "-day"]),
};
static LIMIT: Parameter = Parameter {
    name: "limit",
    about: "The maximum number of days in the answer. Default: all.",
    kind: Kind::Count(PAGE_MAX),
};
static LIMIT_OF_TOP: Parameter = Parameter {
    name: "limit",
    about: "The maximum number of clients in the answer. Default: 10.",
    kind: Kind::Count(Ranges::TOP_MAX),
};

/// The parameters of the list of days.
pub static OF_LIST: &[&Parameter] = &[&FROM, &TO, &SORT, &LIMIT, &CURSOR, &FORMAT_OF_LIST];
/// The parameters of a range.
pub static OF_RANGE: &[&Parameter] = &[&FROM, &TO, &FORMAT];
/// The parameters of the clients with the most requests.
pub static OF_TOP: &[&Parameter] = &[&FROM, &TO, &LIMIT_OF_TOP, &FORMAT_OF_LIST];

/// `GET /api/v1/days`
pub async fn days(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_LIST)?;
    let format = asked.format(&FORMAT_OF_LIST)?;
    let today = today();
    let wanted = asked.days(today)?;
    let sort = asked.word(&SORT)?.unwrap_or("day");
    let limit = asked.count(&LIMIT)?.unwrap_or(usize::MAX);
    let tag = Tag::of_board(&api).on(today);
    let mut rows = api.sources.board.days()?;
    rows.retain(|row| wanted.have(row.day));
    let place = |row: &DayRow| Place {
        key: page::key(row.day.map(|day| day.number().into()), sort == "-day"),
        name: Vec::new(),
        id: 0,
    };
    let (rows, next) = Order { word: sort, names_descend: false }.page(rows, place, limit, &asked)?;
    let days: Vec<wire::DayOfAll> = rows.iter().map(wire::DayOfAll::from).collect();
    let response = answer(&asked, &tag, format, || match format {
        Media::Json => json(&wire::Days { days, next: next.clone() }),
        Media::Csv => table::csv(&days, &wire::DayOfAll::from(&DayRow::default())),
        Media::Ndjson => table::json_lines(&days),
    });
    Ok(page::linked(next.as_deref(), response, &asked))
}

/// `GET /api/v1/days/{day}`
pub async fn day(
    State(api): Shared,
    path: Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Result<Response, Problem> {
    asked.only(&[])?;
    let today = today();
    let wanted = parse_day("day", &path_part("day", path)?, today)?;
    let tag = Tag::of_board(&api).on(today);
    let board = &api.sources.board;
    // Before the rows: a day that is settled now has its row already.
    let header = board.header();
    let rows = board.days()?;
    let row = match (rows.iter().find(|row| row.day == wanted), wanted) {
        (Some(row), _) => *row,
        (None, Some(day)) => day_without_requests(board, &header, &rows, day)?,
        (None, None) => {
            return Err(Problem::not_found("no log has requests without a day; /api/v1/days lists the days"));
        }
    };
    Ok(answer(&asked, &tag, Media::Json, || json(&wire::DayOfAll::from(&row))))
}

/// A day of zeros, if it is between the first and the last day of these rows.
fn day_without_requests(
    board: &BoardReader,
    header: &Header,
    rows: &[DayRow],
    day: Day,
) -> Result<DayRow, Problem> {
    let mut dated = rows.iter().filter_map(|row| row.day);
    let Some(first) = dated.next() else {
        return Err(Problem::not_found(format!(
            "tallyd has counted no requests with a day yet, so none of {day}; /api/v1/status shows what is left to count"
        )));
    };
    let last = dated.next_back().unwrap_or(first);
    if day < first || last < day {
        return Err(Problem::not_found(format!(
            "{day} is outside of the days that tallyd has counted, {first} to {last}; /api/v1/days lists them"
        )));
    }
    // A full board has no row for a new day, although there may be requests of that day.
    let may_lack = !header.scanned || header.unsettled || header.full;
    let is_of_day =
        |log: &LogRow| log.day == Some(day) && log.state != LogState::Skipped && log.lacks_lines();
    let complete = !may_lack && !board.logs()?.iter().any(is_of_day);
    Ok(DayRow { used: true, day: Some(day), complete, ..DayRow::default() })
}

/// `GET /api/v1/range`
pub async fn range(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_RANGE)?;
    let format = asked.format(&FORMAT)?;
    let today = today();
    let days = asked.days(today)?;
    let (range, tag) = range_of(&api, days, STORE_WAIT).await?;
    Ok(answer(&asked, &Tag::new(tag).on(today), format, || match format {
        Media::Csv => table::csv(std::slice::from_ref(&range), &range),
        Media::Json | Media::Ndjson => json(&range),
    }))
}

/// The numbers over days, and the tag of the answer, which waits up to `wait` for the store. The pages have
/// their numbers from here too.
pub async fn range_of(
    api: &Api,
    days: Days,
    wait: Duration,
) -> Result<(wire::Range, String), UnavailableError> {
    let ranges::Answer { outcome, complete, as_of, tag } =
        api.sources.ranges.numbers(&api.sources.board, days, wait).await?;
    let bound = |day: Option<Day>| day.map(|day| day.to_string());
    let numbers = Numbers::from(&outcome.numbers.totals);
    let (files, unique_ips_at_least) = (outcome.numbers.files, outcome.numbers.at_least);
    Ok((
        wire::Range {
            from: bound(days.from),
            to: bound(days.to),
            numbers,
            files,
            complete,
            unique_ips_at_least,
            as_of,
        },
        tag,
    ))
}

/// `GET /api/v1/top/clients`
pub async fn top_clients(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_TOP)?;
    let format = asked.format(&FORMAT_OF_LIST)?;
    let limit = asked.count(&LIMIT_OF_TOP)?.unwrap_or(TOP);
    let today = today();
    let days = asked.days(today)?;
    let ranges::Answer { outcome, complete, as_of, tag } =
        api.sources.ranges.top(&api.sources.board, days, limit).await?;
    let clients: Vec<wire::Client> = outcome.top.iter().take(limit).map(wire::Client::from).collect();
    Ok(answer(&asked, &Tag::new(tag).on(today), format, || match format {
        Media::Json => json(&wire::TopClients { clients, complete, as_of }),
        Media::Csv => table::csv(&clients, &wire::Client::from(&Top::default())),
        Media::Ndjson => table::json_lines(&clients),
    }))
}
