//! What the daemon does.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;

use super::Sources;
use super::answer::fleeting;
use super::files::{is_present, is_unreadable};
use super::problem::Problem;
use super::query::Asked;
use super::routes::Shared;
use super::wire::{self, json};
use crate::board::{Activity, LogState, Watching};
use crate::heritage::Role;

/// `GET /api/v1/status`
pub(super) async fn status(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(&[])?;
    let sources = &api.sources;
    let header = sources.board.header();
    let logs = sources.board.logs()?;
    let mut degraded = Vec::new();
    if header.full {
        degraded.push("board: there are more logs or days than it has rows for; raise board_logs".to_owned());
    }
    if header.troubled > 0 {
        degraded.push(format!("logs: watched folders that cannot be read: {}", header.troubled));
    }
    let unreadable = logs.iter().filter(|log| is_unreadable(log)).count();
    if unreadable > 0 {
        degraded.push(format!("logs: logs that cannot be opened: {unreadable}; /api/v1/files tells which and why"));
    }
    if header.watching == Watching::Unable {
        degraded.push("watch: the system does not say what changes (its log tells why); changes are seen at each scan".to_owned());
    }
    if header.state_error != 0 {
        let error = std::io::Error::from_raw_os_error(header.state_error);
        degraded.push(format!("state: cannot write to the state folder: {error}; counting goes on, and it is written when it can be again"));
    }
    degraded.extend(sources.keys.trouble().map(str::to_owned));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    Ok(fleeting(json(&wire::Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: now.saturating_sub(sources.started),
        pending_bytes: header.scanned.then_some(header.pending),
        logs: logs.iter().filter(|log| is_present(log)).count(),
        watching: match header.watching {
            Watching::Starting => "starting",
            Watching::Notified => "inotify",
            Watching::Unwanted | Watching::Unable => "scan",
        },
        unstored_files: header.unstored,
        skipped: logs.iter().filter(|log| log.state == LogState::Skipped).count() as u64 + header.skipped_more,
        processes: processes(sources),
        degraded,
        quarantine: logs.iter().filter_map(wire::Quarantined::of).collect(),
    })))
}

fn processes(sources: &Sources) -> Vec<wire::Process> {
    let supervisor = sources.roster.get(0);
    let mut processes = vec![wire::Process {
        role: "supervisor",
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
