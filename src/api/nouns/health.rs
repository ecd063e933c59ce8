//! Liveness and readiness: `/healthz`, `/readyz`, and the other names that monitoring systems use for them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::api::conditions::OfLogs;
use crate::api::problem::Problem;
use crate::api::state::{Api, Shared};
use crate::board::{BoardReader, BusyError, Header, LogState};
use crate::show::thousands;
use crate::sys::process::uid;

/// Other paths that answer like `/healthz`. They are open without a token, as those of [`READY`] are: see
/// `guard`.
const LIVE: [&str; 3] = ["/health", "/livez", "/-/healthy"];
/// Other paths that answer like `/readyz`.
const READY: [&str; 2] = ["/ready", "/-/ready"];

/// The routes of the other paths.
pub fn other_routes() -> Router<Arc<Api>> {
    let live = LIVE.into_iter().fold(Router::new(), |router, path| router.route(path, get(healthz)));
    READY.into_iter().fold(live, |router, path| router.route(path, get(readyz)))
}

/// `GET /healthz`
pub async fn healthz() -> &'static str {
    "alive\n"
}

/// `GET /readyz`
pub async fn readyz(State(api): Shared) -> Result<&'static str, Problem> {
    let sources = &api.sources;
    let header = sources.board.header();
    let logs = Logs::of(&sources.board)?;
    let folders = sources.uploads.settings().logs.len() as u64;
    let of_logs = || Ok::<_, BusyError>(OfLogs::of(&sources.board.logs()?, sources).unreadable);
    // The coordinator sets the flag on the board, where it outlives the coordinator and the api.
    match unreadable(&header, logs, folders, sources.board.is_ready()) {
        Some(Unreadable::Folders(sentence)) => Err(Problem::not_ready(sentence)),
        Some(Unreadable::Logs) => Err(Problem::not_ready(of_logs()?.unwrap_or_default())),
        None if sources.board.is_ready() => Ok("ready\n"),
        None => Err(Problem::not_ready(format!(
            "tallyd is counting the logs that it found when it started: {} bytes are left",
            thousands(header.pending)
        ))),
    }
}

/// What keeps tallyd from reading any log.
enum Unreadable {
    /// Watched folders, in a sentence with the remedy.
    Folders(String),
    /// Every log that is in the folders.
    Logs,
}

/// How many logs in the folders tallyd can read, and how many it cannot.
#[derive(Clone, Copy)]
struct Logs {
    readable: u64,
    unreadable: u64,
}

impl Logs {
    fn of(board: &BoardReader) -> Result<Logs, BusyError> {
        let mut logs = Logs { readable: 0, unreadable: 0 };
        for log in board.briefs() {
            let log = log?;
            match log.state {
                _ if !log.state.is_present() => {}
                _ if log.is_unreadable() => logs.unreadable += 1,
                // A duplicate is a copy or another name of a log, which has a row of its own.
                LogState::Duplicate => {}
                _ => logs.readable += 1,
            }
        }
        Ok(logs)
    }
}

/// The reason and the remedy if tallyd can read no log at all, or was never able to read all of its folders.
/// A folder that can be read and is empty is no reason.
fn unreadable(header: &Header, logs: Logs, folders: u64, is_ready: bool) -> Option<Unreadable> {
    const REMEDY: &str = "give this user access, for example by `usermod -aG adm tallyd`, and restart tallyd";
    let (uid, troubled) = (uid(), header.troubled);
    if troubled > 0 && (logs.readable == 0 || troubled >= folders || !is_ready) {
        let which = if folders == 1 {
            "the watched folder".to_owned()
        } else {
            format!("{troubled} of the {folders} watched folders")
        };
        return Some(Unreadable::Folders(format!(
            "tallyd (uid {uid}) cannot read {which}: mount what is missing, or {REMEDY}; the journal has the error of the operating system"
        )));
    }
    (logs.unreadable > 0 && logs.readable == 0).then_some(Unreadable::Logs)
}
