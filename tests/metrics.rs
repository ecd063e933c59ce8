//! `/metrics` as Prometheus meets it: the numbers of the other answers, names as they should be, and no more
//! series than there are days, routes and processes.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;

use support::{Daemon, Folder, block, signal, wait_until};

/// What a scrape says.
#[derive(Debug, Default)]
struct Scrape {
    /// The type of each family.
    types: BTreeMap<String, String>,
    /// The value of each series, written like `tallyd_files{state="live"}`.
    values: BTreeMap<String, f64>,
}

impl Scrape {
    /// Scrapes a daemon; waits if the api is just being started again.
    fn of(daemon: &Daemon) -> Scrape {
        let (status, headers, body) = wait_until("a scrape", || daemon.ask("GET", "/metrics", &[]));
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Scrape::parse(&body)
    }

    /// Reads the text format 0.0.4.
    ///
    /// # Panics
    /// If a line is not as it should be, a family comes twice, or a sample belongs to no family.
    fn parse(text: &str) -> Scrape {
        assert!(text.ends_with('\n'), "the last line has its end");
        let (mut scrape, mut family, mut helped) = (Scrape::default(), String::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(is_name(name) && name.starts_with("tallyd_") && helped.contains(name), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                family = name.to_owned();
                assert_eq!(scrape.types.insert(family.clone(), kind.to_owned()), None, "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
                let name = series_of(series);
                let of_family = match name.strip_prefix(&family) {
                    Some("") => scrape.types[&family] != "histogram",
                    Some("_bucket" | "_sum" | "_count") => scrape.types[&family] == "histogram",
                    _ => false,
                };
                assert!(of_family, "{line} is within {family}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                assert!(value >= 0.0, "{line}");
                assert_eq!(scrape.values.insert(series.to_owned(), value), None, "{line} is there twice");
            }
        }
        scrape
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        *self
            .values
            .get(series)
            .unwrap_or_else(|| panic!("there is no {series} among {:#?}", self.values.keys()))
    }

    /// All series of a name: their labels, and the value.
    fn all(&self, name: &str) -> BTreeMap<&str, f64> {
        let of_name =
            self.values.iter().filter_map(|(series, value)| Some((series.strip_prefix(name)?, *value)));
        of_name.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{')).collect()
    }

    /// The names of all series.
    fn names(&self) -> BTreeSet<&str> {
        self.values.keys().map(|series| series.split('{').next().unwrap()).collect()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// The name of a series, once it is known to be written as it should be.
fn series_of(series: &str) -> &str {
    let Some((name, labels)) = series.split_once('{') else {
        assert!(is_name(series), "{series}");
        return series;
    };
    assert!(is_name(name), "{series}");
    let mut rest = labels.strip_suffix('}').unwrap_or_else(|| panic!("no end: {series}"));
    let mut known = BTreeSet::new();
    loop {
        let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {series}"));
        assert!(is_name(label) && known.insert(label), "{series}");
        // To the first quote that no backslash stands before.
        let mut escaped = false;
        let end = value.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        });
        let after =
            end.and_then(|end| value.get(end + 1..)).unwrap_or_else(|| panic!("no end of a value: {series}"));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => {
                assert_eq!(after, "", "{series}");
                return name;
            }
        }
    }
}

fn put(daemon: &Daemon, name: &str, bytes: &[u8]) {
    fs::write(daemon.log(name), bytes).unwrap();
}

/// A line of a day of March 2021.
fn line(client: &str, day: u32) -> String {
    format!("{client} - - [{day:02}/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n")
}

/// Waits until all is counted and stored, and nothing changes any more.
fn settle(daemon: &Daemon, files: usize) {
    wait_until("everything is counted and stored", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0 && status["unstored_files"] == 0 && status["logs"] == files)
            .then_some(())
    });
}

#[test]
fn the_numbers_are_those_of_the_other_answers() {
    let daemon = Daemon::start(&[]);
    put(&daemon, "20210322.log", &block(5_000, 300, 1).0);
    put(
        &daemon,
        "20210323.log",
        format!("{}\n\nno time stamp\n{}", line("203.0.113.9", 23), line("2001:db8::1", 24)).as_bytes(),
    );
    put(&daemon, "plain.log", b"neither\n");
    put(&daemon, ".hidden", b"x\n");
    settle(&daemon, 3);
    let (scrape, days) = (Scrape::of(&daemon), daemon.get("/api/v1/days"));
    let mut requests = 0;
    for day in days["days"].as_array().unwrap() {
        let is = |name: &str, value: &serde_json::Value| {
            assert_eq!(
                scrape.get(&format!("tallyd_day_{name}{{day={}}}", day["day"])),
                value.as_f64().unwrap(),
                "{name} of {day}"
            )
        };
        is("requests", &day["requests"]);
        is("malformed_requests", &day["malformed"]);
        is("unique_clients", &day["unique_ips"]);
        is("log_bytes", &day["log_bytes"]);
        assert_eq!(scrape.get(&format!("tallyd_day_complete{{day={}}}", day["day"])), 1.0);
        requests += day["requests"].as_u64().unwrap();
    }
    assert_eq!((scrape.all("tallyd_day_requests").len(), requests), (4, 5_004));
    assert_eq!(scrape.get("tallyd_known_requests{kind=\"parsed\"}"), 5_002.0);
    assert_eq!(scrape.get("tallyd_known_requests{kind=\"malformed\"}"), 2.0);
    // Each line was counted once, so what was done is what is known.
    assert_eq!(scrape.get("tallyd_lines_total{kind=\"parsed\"}"), 5_002.0);
    assert_eq!(scrape.get("tallyd_lines_total{kind=\"malformed\"}"), 2.0);
    assert_eq!(scrape.get("tallyd_lines_total{kind=\"blank\"}"), 2.0);
    let files = daemon.get("/api/v1/files");
    let files = files["files"].as_array().unwrap();
    let size: u64 = files.iter().map(|file| file["size"].as_u64().unwrap()).sum();
    assert_eq!(scrape.get("tallyd_counted_log_bytes_total"), size as f64);
    for (labels, count) in scrape.all("tallyd_files") {
        let state = labels.trim_start_matches("{state=\"").trim_end_matches("\"}");
        assert_eq!(count, files.iter().filter(|file| file["state"] == state).count() as f64, "{state}");
    }
    assert_eq!(scrape.all("tallyd_files").len(), 7);
    let status = daemon.get("/api/v1/status");
    for (name, value) in [
        ("scanned", 1.0),
        ("pending_bytes", 0.0),
        ("lag_seconds", 0.0),
        ("unstored_files", 0.0),
        ("unstored_seconds", 0.0),
        ("quarantined_files", 0.0),
    ] {
        assert_eq!(scrape.get(&format!("tallyd_{name}")), value, "{name}");
    }
    let pids = status["processes"].as_array().unwrap().len();
    assert_eq!(
        (scrape.all("tallyd_process_up").len(), scrape.all("tallyd_process_open_fds").len()),
        (pids, pids)
    );
    assert_eq!(scrape.all("tallyd_process_up").values().sum::<f64>(), pids as f64);
    assert!(scrape.get("tallyd_process_resident_memory_bytes{role=\"coordinator\"}") > 1e6);
    assert!(scrape.get("tallyd_process_cpu_seconds_total{role=\"worker\",number=\"0\"}") < 600.0);
    assert!(scrape.get("tallyd_state_writes_total") >= 3.0);
    assert_eq!(scrape.get("tallyd_state_write_failures_total"), 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for name in ["last_scan_timestamp", "stored_timestamp"] {
        let age = now - scrape.get(&format!("tallyd_{name}_seconds"));
        assert!((-1.0..600.0).contains(&age), "{name}: {age}");
    }
    assert_eq!(
        scrape.all("tallyd_build_info").into_iter().collect::<Vec<_>>(),
        [(&*format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0)]
    );
    assert_eq!(scrape.all("tallyd_degraded").values().sum::<f64>(), 0.0);
    assert_eq!(status["degraded"], serde_json::json!([]));
}

/// The status said that nobody is asked for a token, and the metrics did not.
#[test]
fn what_is_wrong_is_told_by_metrics_and_status_alike() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start_as_nobody_by(&["--listen", "0.0.0.0:0", "--insecure-no-auth"], &[]);
    // It cannot be read from the moment it is there.
    let secret = daemon.folder.join("secret.log");
    fs::write(&secret, b"x\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    fs::rename(&secret, daemon.log("secret.log")).unwrap();
    let wrong = |scrape: &Scrape| {
        let reasons = scrape.all("tallyd_degraded");
        reasons
            .into_iter()
            .filter(|(_, is)| *is == 1.0)
            .map(|(labels, _)| labels.to_owned())
            .collect::<Vec<_>>()
    };
    let want = ["{reason=\"auth\"}", "{reason=\"unreadable\"}"];
    wait_until("both are told", || (wrong(&Scrape::of(&daemon)) == want).then_some(()));
    let status = daemon.get("/api/v1/status");
    let sentences = status["degraded"].as_array().unwrap();
    assert_eq!(sentences.len(), 2, "{status}");
    assert!(
        sentences[0].as_str().unwrap().contains("cannot read 1 log")
            && sentences[1].as_str().unwrap().starts_with("auth: "),
        "{status}"
    );
    // Each word is in the document of the metrics.
    let document = include_str!("../docs/METRICS.md");
    for reason in Scrape::of(&daemon).all("tallyd_degraded").into_keys() {
        let word = reason.trim_start_matches("{reason=\"").trim_end_matches("\"}");
        assert!(document.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_latest_31_days_are_shown() {
    let daemon = Daemon::start(&[]);
    let lines: String = (1..=31).map(|day| line("203.0.113.9", day)).collect();
    put(&daemon, "a.log", (lines.replace("Mar", "Jan") + &lines + "undated\n").as_bytes());
    settle(&daemon, 1);
    let scrape = Scrape::of(&daemon);
    let days = scrape.all("tallyd_day_requests");
    let expected: Vec<String> = (1..=31)
        .map(|day| format!("{{day=\"2021-03-{day:02}\"}}"))
        .chain(["{day=\"undated\"}".to_owned()])
        .collect();
    assert_eq!(days.into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(scrape.get("tallyd_known_requests{kind=\"parsed\"}"), 62.0);
}

#[test]
fn open_metrics_comes_if_it_is_asked_for() {
    let daemon = Daemon::start(&[]);
    let (_, headers, body) = daemon
        .ask("GET", "/metrics", &[("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")])
        .unwrap();
    assert_eq!(headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        body.ends_with("\n# EOF\n")
            && body.contains("# TYPE tallyd_lines counter\n")
            && body.contains("# UNIT tallyd_pending_bytes bytes\n"),
        "{body}"
    );
    let (status, headers, _) = daemon.ask("GET", "/metrics", &[("accept", "*/*")]).unwrap();
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &"text/plain; version=0.0.4; charset=utf-8".parse().unwrap())
    );
    assert_eq!(daemon.ask("POST", "/metrics", &[]).unwrap().0, 405);
}

#[test]
fn what_is_asked_for_makes_no_series() {
    let daemon = Daemon::start(&[]);
    let ask = |path: &str| daemon.ask("GET", path, &[]).unwrap().0;
    let (known, unknown) = ("/api/v1/files/0123456789abcdef", "/nothing");
    assert_eq!((ask(known), ask(unknown), ask("/api/v1/days?x=1")), (404, 404, 400));
    let before = Scrape::of(&daemon);
    let mut stream = TcpStream::connect(daemon.url("").strip_prefix("http://").unwrap()).unwrap();
    // Many at once on one connection: as methods, routes and names that nobody knows.
    for hundred in 0..100 {
        let requests: String = (0..100)
            .map(|one| {
                let number = hundred * 100 + one;
                let (method, path) = match one % 3 {
                    0 => ("GET".to_owned(), format!("/random/{number:x}?{number}")),
                    1 => ("GET".to_owned(), format!("/api/v1/files/{number:016x}")),
                    _ => (format!("BREW{number}"), format!("/{number}")),
                };
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            })
            .collect();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut seen = Vec::new();
        let mut part = [0; 65_536];
        // Each answer ends with the last brace of its problem.
        while seen.windows(9).filter(|bytes| *bytes == b"HTTP/1.1 ").count() < 100 || !seen.ends_with(b"}") {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&part[..length]);
        }
    }
    let after = Scrape::of(&daemon);
    let count = |method: &str, route: &str| {
        after.get(&format!(
            "tallyd_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"404\"}}"
        ))
    };
    assert_eq!(count("GET", "other"), 1.0 + 3_400.0);
    assert_eq!(count("GET", "/api/v1/files/{id}"), 1.0 + 3_300.0);
    assert_eq!(count("other", "other"), 3_300.0);
    assert_eq!(after.get("tallyd_http_request_duration_seconds_count{route=\"other\"}"), 6_701.0);
    assert_eq!(
        after.get("tallyd_http_request_duration_seconds_bucket{route=\"other\",le=\"+Inf\"}"),
        6_701.0
    );
    // What is answered is counted before it goes out; a scrape is not in itself, but in the next one.
    assert_eq!(after.get("tallyd_http_answers_total") - before.get("tallyd_http_answers_total"), 10_001.0);
    assert!(after.get("tallyd_http_open_connections") >= 1.0);
    let more: Vec<&String> =
        after.values.keys().filter(|series| !before.values.contains_key(*series)).collect();
    // The first scrape is counted once it is over. The methods that nobody knows are one series.
    let of_scrapes = more.iter().filter(|series| series.contains("route=\"/metrics\"")).count();
    let bounds = before
        .all("tallyd_http_request_duration_seconds_bucket")
        .keys()
        .filter(|labels| labels.contains("route=\"other\""))
        .count();
    assert_eq!((of_scrapes, more.len()), (1 + bounds + 2, of_scrapes + 1), "{more:#?}");
}

#[test]
fn each_name_of_health_is_a_route_and_no_other_path_is() {
    let daemon = Daemon::start(&[]);
    for path in ["/health", "/livez", "/-/healthy", "/-/ready", "/-/other", "/-/x", "/health/x"] {
        assert!(daemon.ask("GET", path, &[]).is_some(), "{path}");
    }
    let routes: std::collections::BTreeSet<String> = Scrape::of(&daemon)
        .all("tallyd_http_request_duration_seconds_count")
        .into_keys()
        .map(str::to_owned)
        .collect();
    let want = ["/health", "/livez", "/-/healthy", "/-/ready", "other"]
        .map(|route| format!("{{route=\"{route}\"}}"));
    assert!(
        want.iter().all(|route| routes.contains(route))
            && !routes.iter().any(|route| route.contains("/x") || route.contains("/-/other")),
        "{routes:?}"
    );
}

/// Two threads that answered at the same time counted one answer.
#[test]
fn answers_are_counted_exactly_though_many_are_given_at_once() {
    const ANSWERS: usize = 10_000;
    let daemon = Daemon::start(&[]);
    let before = Scrape::of(&daemon);
    let ask = || {
        let mut stream = TcpStream::connect(daemon.url("").strip_prefix("http://").unwrap()).unwrap();
        let mut writing = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                writing
                    .write_all("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(ANSWERS).as_bytes())
                    .unwrap()
            });
            let (mut seen, mut last, mut part) = (0, 0, [0; 65_536]);
            while seen < ANSWERS {
                let length = stream.read(&mut part).unwrap();
                assert!(length > 0, "the connection is closed after {seen} answers");
                // The bodies are the only place of this word, and it may come in two pieces.
                for byte in &part[..length] {
                    last = if *byte == b"alive\n"[last] { last + 1 } else { usize::from(*byte == b'a') };
                    if last == 6 {
                        (seen, last) = (seen + 1, 0);
                    }
                }
            }
        });
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(ask))));
    let answers = |scrape: &Scrape| scrape.get("tallyd_http_answers_total");
    assert_eq!(answers(&Scrape::of(&daemon)) - answers(&before), 4.0 * ANSWERS as f64 + 1.0);
}

#[test]
fn a_death_is_counted_and_what_was_done_is_not_forgotten() {
    let daemon = Daemon::start(&[]);
    put(&daemon, "20210322.log", &block(1_000, 100, 1).0);
    settle(&daemon, 1);
    let restarts = |scrape: &Scrape, role: &str| {
        scrape.get(&format!("tallyd_process_restarts_total{{role=\"{role}\"}}"))
    };
    let of_workers = |scrape: &Scrape| {
        scrape
            .all("tallyd_process_restarts_total")
            .into_iter()
            .filter(|(labels, _)| labels.contains("worker"))
            .map(|(_, value)| value)
            .sum::<f64>()
    };
    let before = Scrape::of(&daemon);
    assert_eq!(
        (of_workers(&before), restarts(&before, "coordinator"), restarts(&before, "api")),
        (0.0, 0.0, 0.0)
    );
    signal(daemon.pids("worker")[0], libc::SIGKILL);
    wait_until("the worker's death is counted", || (of_workers(&Scrape::of(&daemon)) == 1.0).then_some(()));
    let start_time = |scrape: &Scrape| scrape.get("tallyd_process_start_time_seconds{role=\"api\"}");
    signal(daemon.pids("api")[0], libc::SIGKILL);
    let after = wait_until("the api's death is counted", || {
        Some(Scrape::of(&daemon)).filter(|scrape| restarts(scrape, "api") == 1.0)
    });
    assert!(start_time(&after) > start_time(&before));
    // These are kept where the api cannot harm them.
    for counter in [
        "tallyd_http_answers_total",
        "tallyd_lines_total{kind=\"parsed\"}",
        "tallyd_counted_log_bytes_total",
        "tallyd_state_writes_total",
    ] {
        assert!(
            after.get(counter) >= before.get(counter),
            "{counter}: {} {}",
            after.get(counter),
            before.get(counter)
        );
    }
    assert_eq!(of_workers(&after), 1.0);
    signal(daemon.pids("coordinator")[0], libc::SIGKILL);
    let later = wait_until("the coordinator's death is counted and it is back", || {
        Some(Scrape::of(&daemon)).filter(|scrape| {
            restarts(scrape, "coordinator") == 1.0 && scrape.values.get("tallyd_scanned") == Some(&1.0)
        })
    });
    assert_eq!(later.get("tallyd_lines_total{kind=\"parsed\"}"), 1_000.0);
    assert!(later.get("tallyd_state_writes_total") >= after.get("tallyd_state_writes_total"));
    assert_eq!(later.get("tallyd_day_requests{day=\"2021-03-22\"}"), 1_000.0);
}

#[test]
fn what_cannot_be_stored_is_told() {
    let daemon = Daemon::start(&[]);
    settle(&daemon, 0);
    // A file is where the folder of partials should be.
    fs::remove_dir_all(daemon.folder.join("state/partials")).unwrap();
    File::create(daemon.folder.join("state/partials")).unwrap();
    put(&daemon, "20210322.log", &block(1_000, 100, 1).0);
    let failing = |scrape: &Scrape| {
        scrape.get("tallyd_state_write_failures_total") >= 2.0 && scrape.get("tallyd_unstored_seconds") > 0.5
    };
    let scrape = wait_until("a write has failed twice", || Some(Scrape::of(&daemon)).filter(failing));
    assert_eq!(scrape.get("tallyd_degraded{reason=\"state\"}"), 1.0);
    assert_eq!(scrape.get("tallyd_unstored_files"), 1.0);
    // Counting does not depend on it.
    assert_eq!(scrape.get("tallyd_day_requests{day=\"2021-03-22\"}"), 1_000.0);
    fs::remove_file(daemon.folder.join("state/partials")).unwrap();
    let scrape = wait_until("it is stored", || {
        Some(Scrape::of(&daemon)).filter(|scrape| scrape.get("tallyd_unstored_files") == 0.0)
    });
    assert_eq!(
        (scrape.get("tallyd_unstored_seconds"), scrape.get("tallyd_degraded{reason=\"state\"}")),
        (0.0, 0.0)
    );
    assert!(scrape.get("tallyd_state_writes_total") >= 1.0);
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("tallyd_")).collect()
}

#[test]
fn dashboard_alerts_and_documents_name_what_is_there() {
    let daemon = Daemon::start(&[]);
    put(&daemon, "20210322.log", &block(100, 10, 1).0);
    settle(&daemon, 1);
    // A second one, so that the first is counted.
    Scrape::of(&daemon);
    let scrape = Scrape::of(&daemon);
    let names = scrape.names();
    let read =
        |path: &str| fs::read_to_string(format!("{}/docs/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for path in ["grafana/tallyd.json", "alerts.yml", "METRICS.md"] {
        let text = read(path);
        let named = named(&text);
        assert!(named.len() > 5, "{path} names {named:?}");
        let wrong: Vec<_> = named
            .iter()
            .filter(|name| !names.contains(**name) && !scrape.types.contains_key(**name))
            .collect();
        assert!(wrong.is_empty(), "{path} names what is not there: {wrong:?}");
    }
    let text = read("METRICS.md");
    let documented = named(&text);
    let missing: Vec<_> = scrape.types.keys().filter(|name| !documented.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "METRICS.md does not tell of {missing:?}");
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/tallyd.json")).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 5));
}

#[test]
fn who_is_behind_says_for_how_long() {
    let folder = Folder::new();
    fs::create_dir(folder.join("faults")).unwrap();
    fs::write(folder.join("faults/pause"), b"").unwrap();
    let daemon = Daemon::start_with_fault(folder, "pause", &[], &[]);
    let bytes = block(1_000, 100, 1).0;
    put(&daemon, "20210322.log", &bytes);
    // As long as the fault lasts: workers that are silent for too long are replaced, and the bytes wait on.
    let waits = |scrape: &Scrape| scrape.values.get("tallyd_lag_seconds").is_some_and(|lag| *lag > 0.5);
    let one = wait_until("the bytes wait", || Some(Scrape::of(&daemon)).filter(waits));
    assert_eq!(one.get("tallyd_pending_bytes"), bytes.len() as f64);
    let two = wait_until("they wait on", || {
        Some(Scrape::of(&daemon))
            .filter(|two| two.get("tallyd_lag_seconds") > one.get("tallyd_lag_seconds") + 0.1)
    });
    assert_eq!(two.get("tallyd_counted_log_bytes_total"), 0.0);
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    settle(&daemon, 1);
    let scrape = Scrape::of(&daemon);
    assert_eq!(
        (scrape.get("tallyd_lag_seconds"), scrape.get("tallyd_counted_log_bytes_total")),
        (0.0, bytes.len() as f64)
    );
}

#[test]
fn what_is_in_quarantine_is_told() {
    let folder = Folder::new();
    fs::create_dir(folder.join("faults")).unwrap();
    fs::write(folder.join("faults/crash"), b"").unwrap();
    let daemon = Daemon::start_with_fault(folder, "crash", &[("TALLYD_FAULT_AT", "50000")], &[]);
    put(&daemon, "20210322.log", &block(2_000, 100, 1).0);
    let range = wait_until("the range is in quarantine", || {
        daemon.get("/api/v1/status")["quarantine"].get(0).cloned()
    });
    settle(&daemon, 1);
    let scrape = Scrape::of(&daemon);
    assert_eq!((scrape.get("tallyd_quarantined_files"), scrape.get("tallyd_quarantined_ranges")), (1.0, 1.0));
    assert_eq!(scrape.get("tallyd_quarantined_bytes"), range["bytes"].as_f64().unwrap());
    assert_eq!(
        (
            scrape.get("tallyd_files{state=\"quarantined\"}"),
            scrape.get("tallyd_day_complete{day=\"2021-03-22\"}")
        ),
        (1.0, 0.0)
    );
}
