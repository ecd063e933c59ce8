//! Days over all logs: one by one, united, and who asked most in them.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::answer::{answer, unless_known};
use super::problem::Problem;
use super::query::{NoParameters, parameters, parse_day, parse_days, path_part};
use super::ranges::{self, Ranges};
use super::routes::Shared;
use super::wire::{self, json};
use crate::board::DayRow;
use crate::log::Day;

/// How many clients are told if nobody says how many.
const TOP: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DaysQuery {
    from: Option<String>,
    to: Option<String>,
}

/// `GET /api/v1/days`
pub(super) async fn days(State(api): Shared, query: Result<Query<DaysQuery>, QueryRejection>) -> Result<Response, Problem> {
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

/// `GET /api/v1/days/{day}`
pub(super) async fn day(
    State(api): Shared,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<NoParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    parameters(query)?;
    let wanted = parse_day("day", &path_part(path)?)?;
    let row: Option<DayRow> = api.sources.board.days()?.into_iter().find(|row| row.day == wanted);
    let row = row.ok_or_else(|| Problem::not_found(format!("there is nothing of {}", wire::day_name(wanted))))?;
    Ok(answer(json(&wire::DayOfAll::from(&row))))
}

/// `GET /api/v1/range`
pub(super) async fn range(State(api): Shared, headers: HeaderMap, query: Result<Query<DaysQuery>, QueryRejection>) -> Result<Response, Problem> {
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
pub(super) struct TopQuery {
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/top/clients`
pub(super) async fn top_clients(State(api): Shared, headers: HeaderMap, query: Result<Query<TopQuery>, QueryRejection>) -> Result<Response, Problem> {
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
