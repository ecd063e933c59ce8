//! The report: the original program's dictionary.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use super::answer::answer;
use super::files::is_present;
use super::problem::Problem;
use super::query::{NoParameters, parameters};
use super::routes::Shared;
use super::wire::{self, json};
use crate::log::shown;

/// `GET /api/v1/report`

pub(super) async fn report(State(api): Shared, query: Result<Query<NoParameters>, QueryRejection>) -> Result<Response, Problem> {
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
