//! What a process uses, as /proc tells it.

use std::fs;

/// What a process uses and has used.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    /// Processor time, of user and system, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory that is resident, in bytes. What it shares with others is in it.
    pub resident_bytes: u64,
    /// Descriptors that are open; `None` if this process may not look.
    pub open_fds: Option<u64>,
    /// When it started, in seconds since 1970.
    pub started: f64,
}

/// A tick of proc_pid_stat(5): Linux has 100 a second on every machine.
const TICK_NS: u64 = 10_000_000;

/// What a process uses. `booted`: see [`booted`]. `None` if there is no such process.
pub fn usage(pid: i32, booted: u64) -> Option<Usage> {
    let (cpu_ns, started_ns) = times(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // A process that is dead and not reaped has no memory.
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Some(Usage {
        cpu_ns,
        resident_bytes: resident.unwrap_or(0) * 1024,
        open_fds: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|fds| fds.count() as u64),
        started: booted as f64 + started_ns as f64 / 1e9,
    })
}

/// When the machine started, in seconds since 1970; 0 if that cannot be told.
pub fn booted() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok()).unwrap_or(0)
}

/// The processor time that a process has used, and when it started, counted from the start of the machine;
/// both in nanoseconds.
pub fn times(pid: i32) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything: fields 3 and following of proc_pid_stat(5). 14 and 15 are
    // user and system time, 22 is the start.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
    Some(((field(14)? + field(15)?) * TICK_NS, field(22)? * TICK_NS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn it_tells_of_this_process() {
        let held = vec![1_u8; 8 << 20];
        let usage = usage(std::process::id().cast_signed(), booted()).unwrap();
        assert!(usage.resident_bytes >= held.len() as u64, "{usage:?}");
        assert!(usage.open_fds >= Some(3), "{usage:?}");
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - usage.started;
        assert!((-2.0..3600.0).contains(&age), "{usage:?} is {age} s old");
    }

    #[test]
    fn there_is_none_of_nobody() {
        assert_eq!(usage(i32::MAX, 0), None);
    }
}
