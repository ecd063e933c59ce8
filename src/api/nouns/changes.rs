//! Requests to the coordinator: to delete a log, and to scan the folders now. Both need the token.
//!
//! A request waits in the socket until a coordinator reads it. A coordinator that dies with a request has
//! done nothing, so the api repeats the request until its effect is visible. Repeating a request has no
//! further effect.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use tracing::warn;

use crate::api::nouns::files::find;
use crate::api::problem::Problem;
use crate::api::query::{Asked, path_part};
use crate::api::state::Shared;
use crate::api::state::Sources;
use crate::api::wire;
use crate::board::{LogRow, LogState, Reason};
use crate::job::Request;
use crate::store;

/// The maximum time that a deletion is waited for.
const WAIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// The time after which a request without effect is repeated.
const AGAIN: Duration = Duration::from_secs(1);

/// `DELETE /api/v1/files/{id}`
pub async fn delete(
    State(api): Shared,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
) -> Result<StatusCode, Problem> {
    let sources = &api.sources;
    permit(sources, &headers)?;
    asked?.only(&[])?;
    let id = path_part("id", path)?;
    let row = find(&api, &id)?;
    if row.duplicate_of != 0 || row.state == LogState::Duplicate {
        return Err(Problem::conflict(format!(
            "this log is a duplicate, so its requests count in another log; delete that log, {}, instead",
            wire::file_id(row.duplicate_of)
        )));
    }
    if row.state == LogState::Skipped && row.reason != Reason::Deleted {
        return Err(Problem::conflict("tallyd skips this log, so there is nothing to delete"));
    }
    let (log, start) = (row.id, Instant::now());
    let mut asked: Option<Instant> = None;
    loop {
        let row = sources.board.log(log)?;
        if row.as_ref().is_none_or(is_deleted) {
            // A deletion that is only on the board would be lost if the coordinator died.
            if is_stored(sources, log, row.is_none()).await {
                return Ok(StatusCode::NO_CONTENT);
            }
        } else if asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            ask(sources, Request::Delete { log })?;
            asked = Some(Instant::now());
        }
        if start.elapsed() >= WAIT {
            return Ok(StatusCode::ACCEPTED);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// `POST /api/v1/rescan`
pub async fn rescan(
    State(api): Shared,
    headers: HeaderMap,
    asked: Result<Asked, Problem>,
) -> Result<StatusCode, Problem> {
    permit(&api.sources, &headers)?;
    asked?.only(&[])?;
    ask(&api.sources, Request::Rescan)?;
    Ok(StatusCode::ACCEPTED)
}

/// Refuses requests without the token.
pub fn permit(sources: &Sources, headers: &HeaderMap) -> Result<(), Problem> {
    sources.keys.may_change(headers)
}

pub fn ask(sources: &Sources, request: Request) -> Result<(), Problem> {
    sources.requests.send(&request.to_bytes(), None).map_err(|error| {
        warn!(%error, "cannot send a request to the coordinator");
        Problem::not_ready("the coordinator does not accept requests at the moment; try again")
    })
}

fn is_deleted(row: &LogRow) -> bool {
    row.state == LogState::Skipped && row.reason == Reason::Deleted
}

/// True if the store has the deletion of the log, or if nobody knows the log any more.
async fn is_stored(sources: &Sources, log: u64, is_unknown: bool) -> bool {
    stored(sources, log, move |meta| meta.map_or(is_unknown, |meta| meta.state == store::State::Deleted))
        .await
}

/// True if `says` is true of the log in the store; `None` stands for a log that is not in the store. False if
/// the store cannot be read.
pub async fn stored(
    sources: &Sources,
    log: u64,
    says: impl FnOnce(Option<&store::Meta>) -> bool + Send + 'static,
) -> bool {
    let path = store::folder::path(&sources.partials, log);
    let look = move || match File::open(path).map_err(store::StoreError::from).and_then(store::read_meta) {
        Ok(meta) => says(Some(&meta)),
        Err(store::StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound => says(None),
        Err(_) => false,
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}
