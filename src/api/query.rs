//! What is asked: parameters and parts of the path.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use serde::Deserialize;

use super::problem::Problem;
use super::ranges;
use crate::log::Day;
use crate::show::UNDATED;

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

pub(super) fn parse_days(from: Option<String>, to: Option<String>) -> Result<ranges::Days, Problem> {
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

pub(super) fn parse_day(name: &str, text: &str) -> Result<Option<Day>, Problem> {
    if text == UNDATED { Ok(None) } else { parse_date(name, text).map(Some) }
}
