//! Days that have more clients than there is room for: on the real binary.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Cgroup, Daemon, Folder, Truth, wait_until};

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
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap()
}

/// A daemon that has counted more than there is room for, and how many clients each day has.
fn counted() -> (Daemon, u64) {
    let daemon = Daemon::start(&["--memory-budget-mib", "16"]);
    for number in 0..LOGS {
        fs::write(daemon.log(&format!("{number}.log")), log(number)).unwrap();
    }
    let of_day = u64::from(LOGS / DAYS * CLIENTS);
    wait_until("both days are complete and right", || {
        (1..=DAYS).all(|day| clients_of(&daemon, day) == Some(of_day)).then_some(())
    });
    (daemon, of_day)
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

/// Only one day had its room beyond the budget, and lost it once its logs were stored: a day that grew all
/// the time was never right again. Here are two.
#[test]
fn days_larger_than_the_budget_stay_right_while_they_grow() {
    let (daemon, of_day) = counted();
    let mut live: Vec<_> = (0..DAYS)
        .map(|number| OpenOptions::new().append(true).open(daemon.log(&format!("{number}.log"))).unwrap())
        .collect();
    // So often, one after the other, both must be right while they grow.
    let mut right = 0;
    let mut rounds = 0;
    wait_until("both days are right twenty times while they grow", || {
        for (number, live) in live.iter_mut().enumerate() {
            writeln!(live, "another - - [{:02}/Oct/2026:10:00:00 +0000] \"GET /\" 200 5", number + 1)
                .unwrap();
        }
        std::thread::sleep(Duration::from_millis(150)); // the rate of growth, not a wait for anything
        rounds += 1;
        let both = (1..=DAYS).all(|day| clients_of(&daemon, day) == Some(of_day + 1));
        right += u32::from(both && rounds > 40);
        (right == 20).then_some(())
    });
}

/// A day that was over was not counted as long as its logs grew on another one, and neither was that one.
#[test]
fn a_day_that_is_over_is_right_while_its_logs_grow() {
    let daemon = Daemon::start(&["--memory-budget-mib", "16"]);
    let logs = LOGS / DAYS;
    for number in 0..logs {
        fs::write(daemon.log(&format!("{number}.log")), log(number * DAYS)).unwrap();
    }
    let mut live: Vec<_> = (0..logs)
        .map(|number| OpenOptions::new().append(true).open(daemon.log(&format!("{number}.log"))).unwrap())
        .collect();
    let mut rounds = 0;
    wait_until("both days are right while the logs grow", || {
        for live in &mut live {
            writeln!(live, "another - - [02/Oct/2026:10:00:00 +0000] \"GET /\" 200 5").unwrap();
        }
        std::thread::sleep(Duration::from_millis(100)); // the rate of growth, not a wait for anything
        rounds += 1;
        (rounds > 20
            && clients_of(&daemon, 1) == Some(u64::from(logs * CLIENTS))
            && clients_of(&daemon, 2) == Some(1))
        .then_some(())
    });
}

/// What could not be read was asked for again at once, and said each time.
#[test]
fn a_stored_log_that_cannot_be_read_is_not_asked_for_without_end() {
    let (daemon, of_day) = counted();
    wait_until("all is stored", || (daemon.get("/api/v1/status")["unstored_files"] == 0).then_some(()));
    // A folder in the place of each partial but that of the log that grows.
    let id = |name: &str| daemon.file(name).unwrap()["id"].as_str().unwrap().to_owned();
    let partials = daemon.folder.join("state/partials/v1/host=local");
    let hidden: Vec<_> =
        (1..LOGS).map(|number| partials.join(format!("{}.parquet", id(&format!("{number}.log"))))).collect();
    for path in &hidden {
        fs::rename(path, path.with_extension("hidden")).unwrap();
        fs::create_dir(path).unwrap();
    }
    let mut live = OpenOptions::new().append(true).open(daemon.log("0.log")).unwrap();
    writeln!(live, "another - - [01/Oct/2026:10:00:00 +0000] \"GET /\" 200 5").unwrap();
    wait_until("the store is said to be in trouble", || {
        daemon.journal().contains("the store; counting continues").then_some(())
    });
    let said = daemon.journal().len();
    let uptime = || daemon.get("/api/v1/status")["uptime_seconds"].as_u64().unwrap();
    let start = uptime();
    wait_until("the daemon has had three seconds to ask again", || (uptime() >= start + 3).then_some(()));
    let more = daemon.journal().len() - said;
    assert!(more < 4_000, "{more} bytes were said in 3 s:\n{}", daemon.journal());
    for path in &hidden {
        fs::remove_dir(path).unwrap();
        fs::rename(path.with_extension("hidden"), path).unwrap();
    }
    wait_until("the day is right again", || (clients_of(&daemon, 1) == Some(of_day + 1)).then_some(()));
}

/// With what it takes elsewhere, coordinator and api were killed one after the other.
#[test]
fn what_nobody_gave_keeps_to_the_limit_of_the_cgroup() {
    let Some(group) = Cgroup::with_memory(128 << 20) else { return };
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    for number in 0..LOGS {
        fs::write(folder.join("logs").join(format!("{number}.log")), log(number)).unwrap();
    }
    let mut daemon = Daemon::start_in_cgroup(&group, folder, &[]);
    let memory = json!({"limit": 128 << 20, "budget": 32 << 20, "cache": 16 << 20, "worker": 128 << 20});
    assert_eq!(daemon.get("/api/v1/status")["memory"], memory);
    assert!(
        daemon.journal().contains("the cgroup limits memory limit_mib=128 memory_budget_mib=32 cache_mib=16"),
        "{}",
        daemon.journal()
    );
    let of_day = u64::from(LOGS / DAYS * CLIENTS);
    wait_until("all that was there is counted", || {
        daemon.ask("GET", "/readyz", &[]).filter(|(status, ..)| *status == 200)
    });
    wait_until("both days are complete and right", || {
        (1..=DAYS).all(|day| clients_of(&daemon, day) == Some(of_day)).then_some(())
    });
    // More than the cache holds, so they are answered in stripes; two at a time.
    let all = of_day * u64::from(DAYS);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| assert_eq!(daemon.get("/api/v1/range")["unique_ips"], all));
            threads.spawn(|| {
                let top = daemon.get("/api/v1/top/clients?limit=10000");
                let clients = top["clients"].as_array().unwrap();
                // All asked once, so they come by their bytes.
                let is_sorted =
                    clients.is_sorted_by(|one, two| one["client"].as_str() < two["client"].as_str());
                assert!(clients.len() == 10_000 && is_sorted && top["complete"] == true);
            });
        }
    });
    assert_eq!(["coordinator", "api", "worker"].map(|role| daemon.restarts(role)), [0, 0, 0]);
    daemon.stop(&[15]);
    assert_eq!(group.killed(), 0);
}

/// What somebody gave stays as it is, and is spoken of if it is too much.
#[test]
fn what_was_given_beyond_the_limit_of_the_cgroup_is_said() {
    let Some(group) = Cgroup::with_memory(64 << 20) else { return };
    let mut daemon =
        Daemon::start_in_cgroup(&group, Folder::new(), &["--memory-budget-mib", "60", "--cache-mib", "5"]);
    fs::write(daemon.log("a.log"), "192.0.2.7 - - [22/Mar/2021:08:00:00 +0100] \"GET / HTTP/1.1\" 200 5\n")
        .unwrap();
    daemon.wait_for("a.log", Truth { total: 1, ip: 1 });
    let status = daemon.get("/api/v1/status");
    assert_eq!(
        (&status["memory"]["budget"], &status["memory"]["cache"]),
        (&json!(60 << 20), &json!(5 << 20))
    );
    let said = "memory_budget_mib = 60, cache_mib = 5 are together more than the 64 MiB of memory that the cgroup grants";
    assert_eq!(daemon.journal().matches(said).count(), 1, "{}", daemon.journal());
    daemon.stop(&[15]);
}
