//! The processes of the daemon and their use of resources, from the roster and /proc.

use std::fmt;

use super::page::{BYTES, Page, SECONDS};
use crate::board::{Roster, StatusPage};
use crate::heritage::Role;
use crate::sys::usage::{Usage, booted, usage};

/// One line of the roster, and the resources of its process.
pub(super) struct Process {
    /// The label `role`, and for workers `number`.
    labels: Vec<(&'static str, String)>,
    restarts: u64,
    lives: bool,
    usage: Option<Usage>,
    /// Workers only: the number of ranges counted since the daemon started.
    ranges: Option<u64>,
}

/// The supervisor, and all processes with a status page.
pub(super) fn all(roster: &Roster, pages: &[StatusPage]) -> Vec<Process> {
    let booted = booted();
    let process = |line: usize, labels: Vec<(&'static str, String)>, ranges: Option<u64>| {
        let entry = roster.get(line);
        Process {
            labels,
            restarts: entry.restarts,
            lives: entry.pid.is_some(),
            usage: entry.pid.and_then(|pid| usage(pid, booted)),
            ranges,
        }
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
    page.gauge(
        "process_up",
        None,
        "1 while the process of this role runs.",
        each().map(|(labels, process)| (labels, u64::from(process.lives))),
    )?;
    page.counter(
        "process_restarts",
        None,
        "Restarts of the process of this role since the daemon started.",
        each().map(|(labels, process)| (labels, process.restarts)),
    )?;
    let ranges = each().filter_map(|(labels, process)| Some((labels, process.ranges?)));
    page.counter("process_ranges", None, "Ranges counted by the worker since the daemon started, including those before a restart of the worker.", ranges)?;
    page.counter(
        "process_cpu",
        SECONDS,
        "User and system CPU time of the process in seconds.",
        used().map(|(labels, usage)| (labels, usage.cpu_ns as f64 / 1e9)),
    )?;
    let resident = used().map(|(labels, usage)| (labels, usage.resident_bytes));
    page.gauge(
        "process_resident_memory",
        BYTES,
        "Resident memory of the process in bytes. Shared memory is included in each process that uses it.",
        resident,
    )?;
    let open = used().filter_map(|(labels, usage)| Some((labels, usage.open_fds?)));
    page.gauge("process_open_fds", None, "Open file descriptors of the process.", open)?;
    page.gauge(
        "process_start_time",
        SECONDS,
        "Start time of the process, in seconds since 1970.",
        used().map(|(labels, usage)| (labels, usage.started)),
    )
}
