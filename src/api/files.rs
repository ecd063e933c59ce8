//! The logs, one by one.

use std::collections::{HashMap, HashSet};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::answer::answer;
use super::problem::Problem;
use super::query::{NoParameters, parameters, parse_day, path_part};
use super::routes::Shared;
use super::wire::{self, json};
use crate::board::{LogRow, LogState, Reason};
use crate::log::Day;

const FILES_PER_PAGE: usize = 1_000;
const FILES_PER_PAGE_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesQuery {
    day: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /api/v1/files`
pub(super) async fn files(State(api): Shared, query: Result<Query<FilesQuery>, QueryRejection>) -> Result<Response, Problem> {
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

/// `GET /api/v1/files/{id}`
pub(super) async fn file(
    State(api): Shared,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<NoParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    parameters(query)?;
    let id = path_part(path)?;
    let board = &api.sources.board;
    let log = board.logs()?.into_iter().find(|log| wire::file_id(log.id) == id);
    let log = log.ok_or_else(|| Problem::not_found("no file has this id; /api/v1/files lists them"))?;
    let days = board.shares(log.id)?.iter().map(|share| wire::Share::new(share, &log)).collect();
    let quarantine = wire::Quarantined::of(&log).into_iter().collect();
    Ok(answer(json(&wire::FileWithDays { file: wire::File::from(&log), days, quarantine })))
}

/// Is it a log that is in a folder now?
pub(super) fn is_present(log: &LogRow) -> bool {
    !matches!(log.state, LogState::Gone | LogState::Skipped)
}

/// Nothing of it can be read now. Waiting for it would be waiting for somebody to do something.
pub(super) fn is_unreadable(log: &LogRow) -> bool {
    matches!(log.reason, Reason::Unreadable(_)) && log.quarantine.bytes == 0
}
