//! Days over all logs: one by one, united, and who asked most in them.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::answer::{FORMAT, FORMAT_OF_LIST, Format, Tag, answer};
use super::page::{self, CURSOR, Order, PAGE_MAX, Place};
use super::period::today;
use super::problem::Problem;
use super::query::{Asked, FROM, Kind, Parameter, TO, parse_day, path_part};
use super::ranges::{self, Days, NotNow, Ranges};
use super::routes::{Api, Shared};
use super::table;
use super::wire::{self, json};
use crate::board::DayRow;
use crate::log::Day;
use crate::store::unite::Top;

/// How many clients are told if nobody says how many.
const TOP: usize = 10;

static SORT: Parameter = Parameter {
    name: "sort",
    about: "`day`, from the first to the last, if not given; `-day` is from the last to the first. `undated` comes last.",
    kind: Kind::Words(&["day", "-day"]),
};
static LIMIT: Parameter = Parameter { name: "limit", about: "The most days of an answer; all if not given.", kind: Kind::Count(PAGE_MAX) };
static LIMIT_OF_TOP: Parameter = Parameter { name: "limit", about: "How many clients, 10 if not given.", kind: Kind::Count(Ranges::TOP_MAX) };

/// What can be asked of the list of days.
pub(super) static OF_LIST: &[&Parameter] = &[&FROM, &TO, &SORT, &LIMIT, &CURSOR, &FORMAT_OF_LIST];
/// What can be asked of a range.
pub(super) static OF_RANGE: &[&Parameter] = &[&FROM, &TO, &FORMAT];
/// What can be asked of the clients that asked most.
pub(super) static OF_TOP: &[&Parameter] = &[&FROM, &TO, &LIMIT_OF_TOP, &FORMAT_OF_LIST];

/// `GET /api/v1/days`
pub(super) async fn days(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_LIST)?;
    let format = asked.format(&FORMAT_OF_LIST)?;
    let today = today();
    let wanted = asked.days(today)?;
    let sort = asked.word(&SORT)?.unwrap_or("day");
    let limit = asked.count(&LIMIT)?.unwrap_or(usize::MAX);
    let tag = Tag::of_board(&api).on(today);
    let mut rows = api.sources.board.days()?;
    rows.retain(|row| wanted.have(row.day));
    let place = |row: &DayRow| Place { key: page::key(row.day.map(|day| day.number().into()), sort == "-day"), name: Vec::new(), id: 0 };
    let (rows, next) = Order { word: sort, names_descend: false }.page(rows, place, limit, &asked)?;
    let days: Vec<wire::DayOfAll> = rows.iter().map(wire::DayOfAll::from).collect();
    let response = answer(&asked, &tag, format, || match format {
        Format::Json => json(&wire::Days { days, next: next.clone() }),
        Format::Csv => table::csv(&days, &wire::DayOfAll::from(&DayRow::default())),
        Format::Ndjson => table::json_lines(&days),
    });
    Ok(page::linked(next.as_deref(), response, &asked))
}

/// `GET /api/v1/days/{day}`
pub(super) async fn day(State(api): Shared, path: Result<Path<String>, PathRejection>, asked: Asked) -> Result<Response, Problem> {
    asked.only(&[])?;
    let today = today();
    let wanted = parse_day("day", &path_part("day", path)?, today)?;
    let tag = Tag::of_board(&api).on(today);
    let row: Option<DayRow> = api.sources.board.days()?.into_iter().find(|row| row.day == wanted);
    let row = row.ok_or_else(|| Problem::not_found(format!("there is nothing of {}; /api/v1/days lists the days", wire::day_name(wanted))))?;
    Ok(answer(&asked, &tag, Format::Json, || json(&wire::DayOfAll::from(&row))))
}

/// `GET /api/v1/range`
pub(super) async fn range(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_RANGE)?;
    let format = asked.format(&FORMAT)?;
    let today = today();
    let days = asked.days(today)?;
    let (range, tag) = range_of(&api, days).await?;
    Ok(answer(&asked, &Tag::new(tag).on(today), format, || match format {
        Format::Csv => table::csv(std::slice::from_ref(&range), &range),
        Format::Json | Format::Ndjson => json(&range),
    }))
}

/// The numbers over days, and the tag of the answer. The pages have their numbers from here too.
pub(super) async fn range_of(api: &Api, days: Days) -> Result<(wire::Range, String), NotNow> {
    let ranges::Answer { outcome, complete, as_of, tag } = api.sources.ranges.numbers(&api.sources.board, days).await?;
    let bound = |day: Option<Day>| day.map(|day| day.to_string());
    let numbers = wire::Numbers::from(&outcome.numbers.totals);
    let (files, unique_ips_at_least) = (outcome.numbers.files, outcome.numbers.at_least);
    Ok((wire::Range { from: bound(days.from), to: bound(days.to), numbers, files, complete, unique_ips_at_least, as_of }, tag))
}

/// `GET /api/v1/top/clients`
pub(super) async fn top_clients(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_TOP)?;
    let format = asked.format(&FORMAT_OF_LIST)?;
    let limit = asked.count(&LIMIT_OF_TOP)?.unwrap_or(TOP);
    let today = today();
    let days = asked.days(today)?;
    let ranges::Answer { outcome, complete, as_of, tag } = api.sources.ranges.top(&api.sources.board, days, limit).await?;
    let clients: Vec<wire::Client> = outcome.top.iter().take(limit).map(wire::Client::from).collect();
    Ok(answer(&asked, &Tag::new(tag).on(today), format, || match format {
        Format::Json => json(&wire::TopClients { clients, complete, as_of }),
        Format::Csv => table::csv(&clients, &wire::Client::from(&Top::default())),
        Format::Ndjson => table::json_lines(&clients),
    }))
}
