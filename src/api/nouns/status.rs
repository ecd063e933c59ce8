//! The state of the daemon.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;

use crate::api::answer::fleeting;
use crate::api::conditions::{self, OfLogs};
use crate::api::problem::Problem;
use crate::api::query::Asked;
use crate::api::state::Shared;
use crate::api::state::Sources;
use crate::api::wire::{self, json};
use crate::board::{Activity, Header, LogRow, LogState, Watching};
use crate::heritage::Role;

/// The allowed words of `watching`.
pub static WATCHING: [&str; 3] = ["starting", "inotify", "scan"];
/// The role of the supervisor, which is no child.
pub const SUPERVISOR: &str = "supervisor";

/// `GET /api/v1/status`
pub async fn status(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(&[])?;
    let sources = &api.sources;
    let header = sources.board.header();
    let logs = sources.board.logs()?;
    let degraded = degraded(sources, &header, &logs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    Ok(fleeting(json(&wire::Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: now.saturating_sub(sources.started) / 1_000,
        pending_bytes: header.scanned.then_some(header.pending),
        logs: logs.iter().filter(|log| log.state.is_present()).count(),
        watching: watching(header.watching),
        unstored_files: header.unstored,
        skipped: logs.iter().filter(|log| log.state == LogState::Skipped).count() as u64
            + header.skipped_more,
        sandbox: sources.sandbox,
        memory: sources.memory,
        processes: processes(sources),
        degraded,
        quarantine: logs.iter().filter_map(wire::Quarantined::of).collect(),
    })))
}

/// The sentences of `degraded`, each after its word, for the status and for the page.
pub fn degraded(sources: &Sources, header: &Header, logs: &[LogRow]) -> Vec<String> {
    let conditions = conditions::all(header, OfLogs::of(logs, sources), &sources.keys);
    conditions.into_iter().filter_map(|(word, sentence)| Some(format!("{word}: {}", sentence?))).collect()
}

/// How changes are found, in a word of [`WATCHING`].
fn watching(watching: Watching) -> &'static str {
    let [starting, inotify, scan] = WATCHING;
    match watching {
        Watching::Starting => starting,
        Watching::Notified => inotify,
        Watching::Unwanted | Watching::Unable => scan,
    }
}

fn processes(sources: &Sources) -> Vec<wire::Process> {
    let supervisor = sources.roster.get(0);
    let mut processes = vec![wire::Process {
        role: SUPERVISOR,
        number: None,
        pid: supervisor.pid,
        state: Activity::Idle.name(),
        restarts: supervisor.restarts,
        file: None,
        range_bytes_done: None,
    }];
    for (slot, page) in sources.pages.iter().enumerate() {
        let role = Role::of_slot(slot);
        let entry = sources.roster.get(slot + 1);
        let activity = if entry.pid.is_some() { page.activity() } else { Activity::Dead };
        let (log, bytes) = page.progress();
        let counting = matches!(role, Role::Worker(_)) && activity == Activity::Working;
        processes.push(wire::Process {
            role: role.name(),
            number: if let Role::Worker(number) = role { Some(number) } else { None },
            pid: entry.pid,
            state: activity.name(),
            restarts: entry.restarts,
            file: counting.then(|| wire::file_id(log)),
            range_bytes_done: counting.then_some(bytes),
        });
    }
    processes
}
