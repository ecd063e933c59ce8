//! The report: the original program's dictionary.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::answer::{FORMAT, Format, Tag, answer};
use super::files::is_present;
use super::large::OneCopy;
use super::problem::Problem;
use super::query::{Asked, Parameter};
use super::routes::{Api, Shared};
use super::table;
use super::wire::{self, json};
use crate::board::Busy;
use crate::log::shown;
use crate::tally::Totals;

/// What can be asked of it.
pub(super) static OF_REPORT: &[&Parameter] = &[&FORMAT];

/// `GET /api/v1/report`
pub(super) async fn report(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_REPORT)?;
    let format = asked.format(&FORMAT)?;
    #[cfg(debug_assertions)]
    super::fault::before_report();
    let tag = Tag::of_board(&api);
    let body = if format == Format::Csv { as_csv(&api)? } else { as_json(&api)? };
    let mut response = answer(&asked, &tag, format, || body);
    if format != Format::Csv {
        response.extensions_mut().insert(OneCopy);
    }
    Ok(response)
}

/// As JSON. Kept as long as nothing changes: this is what is asked most.
fn as_json(api: &Api) -> Result<Bytes, Busy> {
    let generation = api.sources.board.header().generation;
    let kept = api.report.lock().expect("no holder panics").clone();
    if let Some((_, body)) = kept.filter(|(of, _)| *of == generation) {
        return Ok(body);
    }
    let logs = api.sources.board.logs()?;
    let present = logs.iter().filter(|log| is_present(log));
    let report: BTreeMap<String, wire::Reported> = present.map(|log| (shown(&log.name), wire::Reported::from(&log.totals))).collect();
    let body = Bytes::from(json(&report));
    *api.report.lock().expect("no holder panics") = Some((generation, body.clone()));
    Ok(body)
}

fn as_csv(api: &Api) -> Result<Bytes, Busy> {
    let row = |name, totals: &Totals| wire::NamedReported { name, reported: wire::Reported::from(totals) };
    let mut rows: Vec<_> = api.sources.board.logs()?.iter().filter(|log| is_present(log)).map(|log| row(shown(&log.name), &log.totals)).collect();
    rows.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(table::csv(&rows, &row(String::new(), &Totals::default())).into())
}
