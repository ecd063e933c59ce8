//! Does it live, and is it ready?

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;

use super::files::is_unreadable;
use super::problem::Problem;
use super::routes::Shared;
use crate::board::LogState;

/// `GET /healthz`
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// `GET /readyz`
pub(super) async fn readyz(State(api): Shared) -> Result<&'static str, Problem> {
    if !api.ready.load(Relaxed) {
        let counted = api.sources.board.header().scanned && api.sources.board.logs()?.iter().all(|log| log.state != LogState::Counting || is_unreadable(log));
        if !counted {
            return Err(Problem::not_ready("the logs that were found at the start are being counted"));
        }
        api.ready.store(true, Relaxed);
    }
    Ok("ready\n")
}
