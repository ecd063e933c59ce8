//! Does it live, and is it ready?

use axum::extract::State;

use super::problem::Problem;
use super::routes::Shared;

/// `GET /healthz`
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// `GET /readyz`
pub(super) async fn readyz(State(api): Shared) -> Result<&'static str, Problem> {
    // The coordinator says so on the board, where it outlives both of them.
    if api.sources.board.is_ready() { Ok("ready\n") } else { Err(Problem::not_ready("the logs that were found at the start are being counted")) }
}
