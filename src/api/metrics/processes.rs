//! What the processes of the daemon use, as the roster and /proc tell it.

use std::fmt;

use super::page::{BYTES, Page, SECONDS};
use crate::board::{Roster, StatusPage};
use crate::heritage::Role;
use crate::sys::usage::{Usage, booted, usage};

/// One line of the roster, and what its process uses.
pub(super) struct Process {
    /// `role`, and of a worker `number`.
    labels: Vec<(&'static str, String)>,
    restarts: u64,
    lives: bool,
    usage: Option<Usage>,
    /// Of a worker: how many ranges it has counted, over all lives.
    ranges: Option<u64>,
}

/// All of them: the supervisor, and who has a page.
pub(super) fn all(roster: &Roster, pages: &[StatusPage]) -> Vec<Process> {
    let booted = booted();
    let process = |line: usize, labels: Vec<(&'static str, String)>, ranges: Option<u64>| {
        let entry = roster.get(line);
        Process { labels, restarts: entry.restarts, lives: entry.pid.is_some(), usage: entry.pid.and_then(|pid| usage(pid, booted)), ranges }
    };
    let mut processes = vec![process(0, vec![("role", "supervisor".to_owned())], None)];
    for (slot, page) in pages.iter().enumerate() {
        let role = Role::of_slot(slot);
        let mut labels = vec![("role", role.name().to_owned())];
        let mut ranges = None;
        if let Role::Worker(number) = role {
            labels.push(("number", number.to_string()));
            ranges = Some(page.work());
        }
        processes.push(process(slot + 1, labels, ranges));
    }
    processes
}

pub(super) fn write(processes: &[Process], page: &mut Page<'_>) -> fmt::Result {
    let each = || processes.iter().map(|process| (&process.labels[..], process));
    let used = || each().filter_map(|(labels, process)| Some((labels, process.usage?)));
    page.gauge("process_up", None, "1 if there is a process that plays the role.", each().map(|(labels, process)| (labels, u64::from(process.lives))))?;
    page.counter(
        "process_restarts",
        None,
        "How often the role was started again since the daemon started.",
        each().map(|(labels, process)| (labels, process.restarts)),
    )?;
    let ranges = each().filter_map(|(labels, process)| Some((labels, process.ranges?)));
    page.counter("process_ranges", None, "Ranges that the worker has counted since the daemon started, over all its lives.", ranges)?;
    page.counter(
        "process_cpu",
        SECONDS,
        "Processor time of the process, of user and system.",
        used().map(|(labels, usage)| (labels, usage.cpu_ns as f64 / 1e9)),
    )?;
    let resident = used().map(|(labels, usage)| (labels, usage.resident_bytes));
    page.gauge("process_resident_memory", BYTES, "Resident memory of the process. What processes share is in each of them.", resident)?;
    let open = used().filter_map(|(labels, usage)| Some((labels, usage.open_fds?)));
    page.gauge("process_open_fds", None, "Descriptors that the process has open.", open)?;
    page.gauge("process_start_time", SECONDS, "When the process started, since 1970.", used().map(|(labels, usage)| (labels, usage.started)))
}
