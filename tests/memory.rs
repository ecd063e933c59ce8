//! Days that have more clients than there is room for: on the real binary.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;

use serde_json::Value;
use support::{Daemon, Truth, wait_until};

const LOGS: u32 = 40;
const CLIENTS: u32 = 40_000;
const DAYS: u32 = 2;
/// With all unions in memory, and the clients of each log twice, it was 180 MiB.
const COORDINATOR_KIB_MAX: u64 = 96 << 10;

/// A log of clients that no other log has.
fn log(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let day = number % DAYS + 1;
    for client in number * CLIENTS..(number + 1) * CLIENTS {
        let address = std::net::Ipv4Addr::from(client.wrapping_mul(2_654_435_761));
        writeln!(bytes, "{address} - - [{day:02}/Oct/2026:10:00:00 +0000] \"GET /{number}\" 200 5").unwrap();
    }
    bytes
}

/// The clients of a day, if all of it is in them.
fn clients_of(daemon: &Daemon, day: u32) -> Option<u64> {
    let answer = daemon.get(&format!("/api/v1/days/2026-10-{day:02}"));
    (answer["complete"] == true).then(|| answer["unique_ips"].as_u64().unwrap())
}

/// The most memory that the coordinator has taken, in KiB.
fn most_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pids("coordinator")[0])).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
}

/// The unions of all days were kept in memory, whatever the budget.
#[test]
fn days_larger_than_the_budget_are_right_within_it() {
    let daemon = Daemon::start(&["--memory-budget-mib", "16"]);
    for number in 0..LOGS {
        fs::write(daemon.log(&format!("{number}.log")), log(number)).unwrap();
    }
    let of_day = u64::from(LOGS / DAYS * CLIENTS);
    wait_until("both days are complete and right", || {
        let days = daemon.get("/api/v1/days");
        for day in days["days"].as_array().into_iter().flatten() {
            // What is not complete yet is less, and what is complete of the logs that are there is no more.
            assert!(day["unique_ips"].as_u64() <= Some(of_day), "{day}");
        }
        (1..=DAYS).all(|day| clients_of(&daemon, day) == Some(of_day)).then_some(())
    });
    assert_eq!(daemon.get("/api/v1/range")["unique_ips"], of_day * u64::from(DAYS));
    let most = most_memory(&daemon);
    assert!(most < COORDINATOR_KIB_MAX, "the coordinator took {most} KiB");

    // A day that grows all the time is never quiet: it is right all the same, beyond the budget.
    let mut live = OpenOptions::new().append(true).open(daemon.log("0.log")).unwrap();
    let mut lines = u64::from(CLIENTS);
    wait_until("the day is right while it grows", || {
        writeln!(live, "another - - [01/Oct/2026:10:00:00 +0000] \"GET /\" 200 5").unwrap();
        lines += 1;
        (clients_of(&daemon, 1) == Some(of_day + 1)).then_some(())
    });
    daemon.wait_for("0.log", Truth { total: lines, ip: u64::from(CLIENTS) + 1 });
    // And then each line is shown at once, whoever it is of.
    writeln!(live, "one more - - [01/Oct/2026:10:00:00 +0000] \"GET /\" 200 5").unwrap();
    wait_until("the day has one client more", || (clients_of(&daemon, 1) == Some(of_day + 2)).then_some(()));
    let degraded: Value = daemon.get("/api/v1/status")["degraded"].clone();
    assert_eq!(degraded, serde_json::json!([]));
}
