//! HTTP on raw sockets: requests that are none, clients that hold on, who may ask. Against the real binary.

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use support::{Daemon, Folder, PATIENCE, tallyd, wait_until};

const ADMIN: &str = "admin-Ahm4oo7aiqu9Eiph";
const READ: &str = "reads-ooPh3eizuu1Ohqu5";

fn connect(daemon: &Daemon) -> TcpStream {
    let url = daemon.url("");
    let address = url.split("://").nth(1).unwrap().replace("0.0.0.0", "127.0.0.1");
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the daemon closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open: {error}; it has said {}", bytes.escape_ascii()),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is answered to these bytes, until the connection is closed.
fn say(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = connect(daemon);
    // What is refused early may be closed before all of it is sent.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

/// A request with these fields after its Host, and the last of its connection.
fn request(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
}

/// The answers in what a connection said, each as its status, its head in small letters, and its body.
fn answers(said: &str) -> Vec<(u16, String, String)> {
    let (mut rest, mut answers) = (said, Vec::new());
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{rest:?} is no answer"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1."), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let length = if after.is_empty() { 0 } else { length };
        answers.push((
            status,
            head,
            after.get(..length).unwrap_or_else(|| panic!("{said:?} is cut short")).to_owned(),
        ));
        rest = after.get(length..).unwrap();
    }
    answers
}

#[track_caller]
fn check_headers(head: &str) {
    for header in [
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cross-origin-resource-policy: same-origin",
        "cache-control: private, no-cache",
    ] {
        assert!(head.contains(header), "{head} has no {header}");
    }
    assert!(!head.contains("access-control-"), "{head}");
}

/// The one answer is of this status, and if that is an error, it says everything that an error says.
#[track_caller]
fn check(daemon: &Daemon, bytes: impl AsRef<[u8]>, status: u16, code: &str) -> String {
    let bytes = bytes.as_ref();
    let said = say(daemon, bytes);
    let shown = bytes[..bytes.len().min(200)].escape_ascii();
    let answers = answers(&said);
    assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), [status], "{shown}: {said}");
    let (_, head, body) = &answers[0];
    check_headers(head);
    if status >= 400 {
        assert!(head.contains("content-type: application/problem+json"), "{shown}: {said}");
        let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{shown}: {said}"));
        assert_eq!(
            (problem["status"].as_u64(), problem["code"].as_str()),
            (Some(status.into()), Some(code)),
            "{shown}: {said}"
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    }
    head.clone()
}

#[test]
fn what_is_no_request_is_answered_all_the_same() {
    let daemon = Daemon::start(&[]);
    let bad = |bytes: &str| drop(check(&daemon, bytes, 400, "bad-request"));
    for line in [
        "GET /healthz",
        "GET /healthz HTTP/3.0",
        "GET healthz HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /healthz#x HTTP/1.1",
        "PRI * HTTP/2.0",
        "nonsense",
        "\x16\x03\x01\x02",
    ] {
        bad(&format!("{line}\r\nHost: localhost\r\n\r\n"));
    }
    bad("GET /healthz HTTP/1.1\r\n\r\n"); // no Host
    bad("GET /healthz HTTP/1.1\nHost: localhost\n\n");
    for fields in [
        "Host: localhost\r\n",
        "X: a\r\n folded\r\n",
        "X: a\0b\r\n",
        "X : a\r\n",
        "X: a\rY: b\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        bad(&request("GET /healthz", fields));
    }
    bad(&(request("GET /healthz", "Transfer-Encoding: chunked\r\n") + "zz\r\nabc\r\n0\r\n\r\n"));
    bad(&(request("POST /api/v1/rescan", "Transfer-Encoding: chunked\r\n") + "ffffffffffffffffff\r\nabc"));
    assert!(
        check(
            &daemon,
            "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
            405,
            "method-not-allowed"
        )
        .contains("\nallow: ")
    );
    for method in ["TRACE", "OPTIONS", "PATCH", "ODD"] {
        let head =
            check(&daemon, request(&format!("{method} /api/v1/report"), ""), 405, "method-not-allowed");
        assert!(head.contains("\nallow: get"), "{head}");
    }
    check(&daemon, request("OPTIONS *", ""), 404, "not-found");
    for path in [
        "/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "/api/v1/files/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
    ] {
        check(&daemon, request(&format!("GET {path}"), ""), 404, "not-found");
    }
    check(&daemon, request("GET /api/v1/files/%ff", ""), 400, "bad-parameter");
    assert_eq!(daemon.restarts("api"), 0);
}

#[test]
fn what_is_too_large_is_said_to_be() {
    let daemon = Daemon::start(&[]);
    check(
        &daemon,
        request("GET /healthz", &format!("X: {}\r\n", "a".repeat(1 << 20))),
        431,
        "head-too-large",
    );
    check(&daemon, request("GET /healthz", &"X: a\r\n".repeat(10_000)), 431, "head-too-large");
    check(&daemon, request("GET /healthz", &"X: a\r\n".repeat(99)), 431, "head-too-large");
    check(&daemon, request("GET /healthz", &"X: a\r\n".repeat(98)), 200, "");
    check(&daemon, request(&format!("GET /{}", "a".repeat(100_000)), ""), 414, "uri-too-long");
    check(&daemon, request(&format!("GET /{}", "a".repeat(9_000)), ""), 414, "uri-too-long");
    check(&daemon, request(&format!("GET /{}", "a".repeat(8_000)), ""), 404, "not-found");
    // Bodies where none belong.
    let body = "x".repeat(70_000);
    check(&daemon, request("GET /healthz", "Content-Length: 70000\r\n") + &body, 413, "body-too-large");
    check(
        &daemon,
        request("GET /healthz", "Content-Length: 7000000000000\r\n") + &body,
        413,
        "body-too-large",
    );
    check(
        &daemon,
        request("GET /healthz", "Transfer-Encoding: chunked\r\n") + &format!("11170\r\n{body}\r\n0\r\n\r\n"),
        413,
        "body-too-large",
    );
    check(&daemon, request("GET /healthz", "Content-Length: 60000\r\n") + &"x".repeat(60_000), 200, "");
    check(
        &daemon,
        request("GET /healthz", "Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n0\r\n\r\n",
        200,
        "",
    );
}

#[test]
fn requests_of_one_connection_are_answered_in_turn_and_nothing_is_smuggled() {
    let daemon = Daemon::start(&[]);
    let (ask, last) = ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n", request("GET /readyz", ""));
    let statuses = |bytes: String| {
        answers(&say(&daemon, bytes.as_bytes())).iter().map(|answer| answer.0).collect::<Vec<_>>()
    };
    wait_until("it is ready", || (daemon.ask("GET", "/readyz", &[]).unwrap().0 == 200).then_some(()));
    assert_eq!(statuses(format!("{ask}\r\n\r\n{ask}\r\n{last}")), [200, 200, 200]);
    // A body that looks like a request is a body.
    assert_eq!(statuses(format!("{ask}Content-Length: {}\r\n\r\n{last}{last}", last.len())), [200, 200]);
    // After what cannot be understood nothing is.
    assert_eq!(statuses(format!("{ask}\r\nnonsense\r\n\r\n{last}")), [200, 400]);
    assert_eq!(
        statuses(format!("{ask}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{last}")),
        [400]
    );
    assert_eq!(statuses(format!("{ask}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{last}")), [200]);
    assert_eq!(statuses(format!("{ask}Content-Length: 100000\r\n\r\n{last}")), [413]);
    // Whoever waits for the word to go on gets it, and an error without it.
    let expecting = "POST /api/v1/rescan HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: ";
    assert_eq!(statuses(format!("{expecting}4\r\n\r\nbody")), [100, 403]);
    assert_eq!(statuses(format!("{expecting}70000\r\n\r\n")), [413]);
    // HTTP/1.0, and a client that has closed its side.
    assert_eq!(statuses("GET /healthz HTTP/1.0\r\n\r\n".to_owned()), [200]);
    let mut stream = connect(&daemon);
    stream.write_all(format!("{ask}\r\n").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(answers(&rest(&mut stream))[0].0, 200);
    // No other protocol is taken up.
    assert_eq!(statuses(format!("{ask}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n{last}")), [200, 200]);
}

#[test]
fn only_names_of_this_machine_are_answered_to() {
    let daemon =
        Daemon::start(&["--allowed-hosts", "Stats.example.org", "--allowed-hosts", "other.example.org"]);
    let ask = |target: &str, host: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    for host in [
        "127.0.0.1",
        "192.0.2.1:80",
        "[::1]",
        "[2001:db8::1]:8080",
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "stats.example.org",
        "OTHER.example.org.:99",
    ] {
        check(&daemon, ask("/healthz", host), 200, "");
    }
    for host in [
        "evil.example",
        "",
        "localhost.evil.example",
        "x.stats.example.org",
        "127.0.0.1.evil.example",
        "evil.example:80",
        "user@localhost",
        "[::1]evil",
    ] {
        for path in [
            "/healthz",
            "/readyz",
            "/api/v1/report",
            "/api/v1/files",
            "/api/v1/days",
            "/api/v1/range",
            "/api/v1/top/clients",
            "/api/v1/status",
            "/metrics",
            "/",
        ] {
            check(&daemon, ask(path, host), 403, "host-not-allowed");
        }
    }
    // The target decides, if it names a host.
    check(&daemon, ask("http://localhost/healthz", "evil.example"), 200, "");
    check(&daemon, ask("http://evil.example/healthz", "localhost"), 403, "host-not-allowed");
    check(&daemon, ask("http://localhost@evil.example/healthz", "localhost"), 403, "host-not-allowed");
}

fn status_of(daemon: &Daemon, method: &str, path: &str, token: Option<&str>) -> u16 {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let (status, head, body) =
        answers(&say(daemon, request(&format!("{method} {path}"), &bearer).as_bytes())).remove(0);
    if status == 401 {
        assert!(head.contains("\nwww-authenticate: bearer"), "{head}");
        assert!(body.contains("\"code\":\"unauthorized\""), "{body}");
    }
    status
}

#[test]
fn on_loopback_reading_is_open_and_changing_is_not() {
    let daemon = Daemon::start(&[]);
    assert_eq!(status_of(&daemon, "GET", "/api/v1/report", None), 200);
    for token in [None, Some(ADMIN)] {
        assert_eq!(status_of(&daemon, "POST", "/api/v1/rescan", token), 403);
    }
    let daemon = Daemon::start_in(Folder::new(), &[], &[("TALLYD_TOKEN", ADMIN)]);
    for token in [None, Some(READ), Some(ADMIN), Some("wrong")] {
        assert_eq!(status_of(&daemon, "GET", "/api/v1/report", token), 200);
    }
    let (long, part) = (ADMIN.repeat(400), ADMIN.strip_prefix('a').unwrap());
    for (token, status) in [
        (None, 401),
        (Some("x"), 401),
        (Some(part), 401),
        (Some(&long), 401),
        (Some(READ), 401),
        (Some(ADMIN), 202),
    ] {
        assert_eq!(status_of(&daemon, "POST", "/api/v1/rescan", token), status, "{token:?}");
    }
    assert!(daemon.get("/api/v1/status")["degraded"].as_array().unwrap().is_empty());
}

/// A plain `proxy_pass` asks from loopback for everybody, and published all numbers although a read token was
/// set.
#[test]
fn a_read_token_is_asked_for_on_loopback_too() {
    let daemon =
        Daemon::start_in(Folder::new(), &[], &[("TALLYD_TOKEN", ADMIN), ("TALLYD_READ_TOKEN", READ)]);
    for (token, status) in [(None, 401), (Some("wrong"), 401), (Some(READ), 200), (Some(ADMIN), 200)] {
        for path in ["/api/v1/report", "/metrics", "/docs", "/"] {
            assert_eq!(status_of(&daemon, "GET", path, token), status, "{path} {token:?}");
        }
    }
    for path in ["/healthz", "/style.css"] {
        assert_eq!(status_of(&daemon, "GET", path, None), 200);
    }
    assert_eq!(
        [None, Some(READ), Some(ADMIN)].map(|token| status_of(&daemon, "POST", "/api/v1/rescan", token)),
        [401, 403, 202]
    );
    // No process has the tokens in its environment.
    let bearer = format!("Authorization: Bearer {READ}\r\n");
    let (_, _, body) = answers(&say(&daemon, request("GET /api/v1/status", &bearer).as_bytes())).remove(0);
    let status: Value = serde_json::from_str(&body).unwrap();
    let pids: Vec<u64> = status["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    assert!(pids.len() > 3, "{status}");
    for pid in pids {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(
            !environment.windows(ADMIN.len()).any(|part| part == ADMIN.as_bytes() || part == READ.as_bytes())
        );
    }
    // The commands send the token of their environment.
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let command = tallyd()
            .args(words)
            .args(["--listen", &address])
            .envs(variables.iter().copied())
            .current_dir(daemon.folder.path())
            .output();
        command.unwrap().status.success()
    };
    assert!(
        run(&["healthcheck"], &[])
            && run(&["status"], &[("TALLYD_READ_TOKEN", READ)])
            && run(&["status"], &[("TALLYD_TOKEN", ADMIN)])
    );
    assert!(!run(&["status"], &[]));
}

/// A browser sends the login again by itself, also for a form of another page: so it reads, and changes
/// nothing.
#[test]
fn a_browser_logs_in_with_a_token_as_password_and_only_reads() {
    let daemon =
        Daemon::start_in(Folder::new(), &[], &[("TALLYD_TOKEN", ADMIN), ("TALLYD_READ_TOKEN", READ)]);
    let ask = |line: &str, fields: &str| answers(&say(&daemon, request(line, fields).as_bytes())).remove(0);
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    // Browsers are asked for a login, programs for a token.
    let (status, head, body) = ask("GET /", browser);
    assert_eq!(status, 401);
    check_headers(&head);
    assert!(
        head.contains("www-authenticate: bearer\r\n")
            && head.contains("www-authenticate: basic realm=\"tallyd\""),
        "{head}"
    );
    assert!(head.contains("content-type: text/html") && body.contains("as the password"), "{head}{body}");
    for (line, fields) in [
        ("GET /", "Accept: */*\r\n"),
        ("GET /", ""),
        ("GET /api/v1/report", "Accept: application/json\r\n"),
        ("POST /api/v1/rescan", browser),
    ] {
        let (status, head, _) = ask(line, fields);
        assert!(
            status == 401 && head.contains("www-authenticate: bearer") && !head.contains("basic"),
            "{line}: {head}"
        );
    }
    // openssl has a base64 of its own.
    let login = |user: &str, token: &str| {
        let command = Command::new("sh")
            .args(["-c", "printf %s \"$0\" | openssl base64 -A", &format!("{user}:{token}")])
            .output()
            .unwrap();
        format!("Authorization: Basic {}\r\n", String::from_utf8(command.stdout).unwrap())
    };
    for (user, token, status) in
        [("", READ, 200), ("jane", READ, 200), ("jane", ADMIN, 200), ("jane", "wrong", 401), (READ, "", 401)]
    {
        for path in ["/", "/api/v1/report", "/docs"] {
            assert_eq!(
                ask(&format!("GET {path}"), &(login(user, token) + browser)).0,
                status,
                "{path} {user}:{token}"
            );
        }
    }
    for token in [READ, ADMIN] {
        for line in
            ["POST /api/v1/rescan", "DELETE /api/v1/files/0000000000000001", "PUT /api/v1/files/a.log"]
        {
            let (status, _, body) = ask(line, &login("jane", token));
            assert!(
                status == 403
                    && body.contains("\"code\":\"read-only-login\"")
                    && body.contains("Authorization: Bearer TOKEN"),
                "{line}: {body}"
            );
        }
    }
}

#[test]
fn refused_requests_are_in_the_journal_with_the_peer_and_without_the_token() {
    let daemon = Daemon::start_in(Folder::new(), &[], &[("TALLYD_READ_TOKEN", READ)]);
    let mut stream = connect(&daemon);
    let peer = stream.local_addr().unwrap();
    stream
        .write_all(
            request("GET /api/v1/report", "Authorization: Bearer not-this-Token-of-ours\r\n").as_bytes(),
        )
        .unwrap();
    assert_eq!(answers(&rest(&mut stream))[0].0, 401);
    wait_until("the line is in the journal", || {
        let journal = daemon.journal();
        journal
            .lines()
            .any(|line| {
                line.contains("WARN")
                    && line.contains("401")
                    && line.contains(&format!("peer={peer} token=wrong"))
            })
            .then_some(())
    });
    assert_eq!(status_of(&daemon, "GET", "/", None), 401);
    wait_until("the second line too", || daemon.journal().contains("token=missing").then_some(()));
    // A storm of them does not fill the disk.
    for _ in 0..4 {
        let many = "GET /api/v1/report HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
        assert_eq!(answers(&say(&daemon, (many + &request("GET /", "")).as_bytes())).len(), 401);
    }
    let journal = daemon.journal();
    let lines = journal.lines().filter(|line| line.contains("was refused with 401")).count();
    assert!((1_000..1_200).contains(&lines), "{lines} lines");
    assert!(!journal.contains("not-this-Token"), "{journal}");
}

#[test]
fn beyond_loopback_everything_asks_for_a_token() {
    let folder = Folder::new();
    fs::write(folder.join("admin"), format!("{ADMIN}\n")).unwrap();
    let options = ["--listen", "0.0.0.0:0", "--token-file", "admin"];
    let daemon = Daemon::start_in(folder, &options, &[("TALLYD_READ_TOKEN", READ)]);
    for path in ["/healthz", "/readyz"] {
        wait_until(path, || (status_of(&daemon, "GET", path, None) == 200).then_some(()));
    }
    for path in [
        "/api/v1/report",
        "/api/v1/status",
        "/api/v1/nothing",
        "/",
        "/metrics",
        "/healthz/",
        "/api/v1/files/0000000000000000",
    ] {
        assert_eq!(status_of(&daemon, "GET", path, None), 401, "{path}");
        assert_eq!(status_of(&daemon, "DELETE", path, Some("wrong")), 401, "{path}");
    }
    for path in ["/api/v1/report", "/api/v1/status"] {
        assert_eq!(
            (status_of(&daemon, "GET", path, Some(READ)), status_of(&daemon, "GET", path, Some(ADMIN))),
            (200, 200)
        );
    }
    assert_eq!(
        [None, Some(READ), Some(ADMIN)].map(|token| status_of(&daemon, "POST", "/api/v1/rescan", token)),
        [401, 403, 202]
    );
    // Who asks on the command line shows the token too.
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        tallyd()
            .args(words)
            .args(["--listen", &address])
            .envs(variables.iter().copied())
            .current_dir(daemon.folder.path())
            .output()
            .unwrap()
    };
    assert!(run(&["healthcheck"], &[]).status.success());
    let without = run(&["status"], &[]);
    assert!(!without.status.success() && String::from_utf8_lossy(&without.stderr).contains("401"));
    assert!(run(&["status"], &[("TALLYD_READ_TOKEN", READ)]).status.success());
    assert!(run(&["status", "--token-file", "admin"], &[]).status.success());
}

#[test]
fn an_open_address_is_said_aloud() {
    let daemon = Daemon::start(&["--listen", "0.0.0.0:0", "--insecure-no-auth"]);
    assert_eq!(status_of(&daemon, "GET", "/api/v1/report", None), 200);
    assert_eq!(status_of(&daemon, "POST", "/api/v1/rescan", None), 403);
    let (_, _, body) = answers(&say(&daemon, request("GET /api/v1/status", "").as_bytes())).remove(0);
    let status: Value = serde_json::from_str(&body).unwrap();
    assert!(status["degraded"][0].as_str().unwrap().starts_with("auth: "), "{status}");
    assert!(daemon.journal().contains("insecure_no_auth"), "{}", daemon.journal());
}

#[test]
fn what_cannot_guard_the_api_is_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    fs::write(folder.join("short"), "short\n").unwrap();
    certificate(&folder, "one");
    certificate(&folder, "two");
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("broken"), "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").unwrap();
    let check = |options: &[&str], variables: &[(&str, &str)], words: &[&str]| {
        let mut command = tallyd();
        let listen: &[&str] = if options.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        command
            .args(["serve", "--logs", "logs"])
            .args(listen)
            .args(options)
            .envs(variables.iter().copied())
            .current_dir(folder.path());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{options:?}: {stderr}");
        words
            .iter()
            .for_each(|word| assert!(stderr.contains(word), "{options:?}: {stderr} does not say {word}"));
    };
    check(&["--listen", "0.0.0.0:0"], &[], &["TALLYD_READ_TOKEN", "--read-token-file", "--insecure-no-auth"]);
    check(&["--listen", "[::]:0"], &[("TALLYD_TOKEN", "")], &["--insecure-no-auth"]);
    check(&["--read-token-file", "short"], &[], &["read_token_file short", "openssl rand"]);
    check(&["--read-token-file", "missing"], &[], &["read_token_file missing", "No such file"]);
    check(&[], &[("TALLYD_READ_TOKEN", ADMIN), ("TALLYD_TOKEN", ADMIN)], &["two different ones"]);
    for options in [&["--insecure-no-auth"][..], &["--insecure-no-auth", "--listen", "0.0.0.0:0"]] {
        check(
            options,
            &[("TALLYD_READ_TOKEN", READ)],
            &["insecure_no_auth", "a read token is set too", "remove one of them"],
        );
    }
    for example in [
        "0123456789abcdef0123456789abcdef",
        "changeme-changeme-1",
        "replace-me-by-openssl-rand-hex-32",
        "aaaaaaaaaaaaaaaaaaaa",
    ] {
        check(
            &[],
            &[("TALLYD_READ_TOKEN", example)],
            &["TALLYD_READ_TOKEN", "can be guessed", "openssl rand -hex 32"],
        );
        fs::write(folder.join("example"), example).unwrap();
        check(
            &["--token-file", "example"],
            &[],
            &["token_file example", "can be guessed", "openssl rand -hex 32"],
        );
    }
    check(&["--tls-cert", "one.cert"], &[], &["--tls-cert", "tls_key"]);
    check(&["--tls-cert", "missing", "--tls-key", "one.key"], &[], &["tls_cert missing", "No such file"]);
    check(&["--tls-cert", "empty", "--tls-key", "one.key"], &[], &["tls_cert empty", "no certificate"]);
    check(&["--tls-cert", "broken", "--tls-key", "one.key"], &[], &["tls_cert broken"]);
    check(&["--tls-cert", "one.cert", "--tls-key", "one.cert"], &[], &["tls_key one.cert", "no key"]);
    check(
        &["--tls-cert", "one.cert", "--tls-key", "two.key"],
        &[],
        &["one.cert", "two.key", "belong together"],
    );
}

/// A certificate that its own key has signed, and the key.
fn certificate(folder: &Folder, name: &str) {
    let (cert, key) = (format!("{name}.cert"), format!("{name}.key"));
    let options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    let made = Command::new("openssl")
        .args(options.split(' '))
        .args(["-keyout", &key, "-out", &cert])
        .current_dir(folder.path())
        .output();
    let made = made.expect("openssl makes certificates for the test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::set_permissions(folder.join(&key), fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `openssl s_client` gets for these bytes.
fn say_by_tls(daemon: &Daemon, cert: &str, bytes: &str) -> String {
    let address = daemon.url("").strip_prefix("https://").unwrap().to_owned();
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            cert,
            "-alpn",
            "h2,http/1.1",
            "-connect",
            &address,
        ])
        .current_dir(daemon.folder.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    client.stdin.as_mut().unwrap().write_all(bytes.as_bytes()).unwrap();
    String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn tls_with_a_certificate_that_is_replaced() {
    let folder = Folder::new();
    certificate(&folder, "now");
    certificate(&folder, "next");
    let daemon = Daemon::start_in(folder, &["--tls-cert", "now.cert", "--tls-key", "now.key"], &[]);
    assert!(daemon.url("").starts_with("https://127.0.0.1:"), "{}", daemon.url(""));
    let (status, head, body) =
        answers(&say_by_tls(&daemon, "now.cert", &request("GET /healthz", ""))).remove(0);
    assert_eq!((status, body.as_str()), (200, "alive\n"));
    check_headers(&head);
    assert_eq!(answers(&say_by_tls(&daemon, "now.cert", "nonsense\r\n\r\n"))[0].0, 400);
    // Who speaks no TLS gets no HTTP.
    assert!(!say(&daemon, request("GET /healthz", "").as_bytes()).contains("HTTP/1.1"));
    let address = daemon.url("").strip_prefix("https://").unwrap().to_owned();
    let run = |words: &[&str]| {
        tallyd().args(words).args(["--listen", &address]).current_dir(daemon.folder.path()).output().unwrap()
    };
    assert!(run(&["healthcheck", "--tls-cert", "now.cert"]).status.success());
    assert!(run(&["status", "--tls-cert", "now.cert"]).status.success());
    let untrusted = run(&["healthcheck", "--tls-cert", "next.cert"]);
    assert_eq!(untrusted.status.code(), Some(1), "{}", String::from_utf8_lossy(&untrusted.stderr));
    assert!(!run(&["healthcheck"]).status.success());
    // The files are replaced one after the other, as they always are.
    for part in ["cert", "key"] {
        fs::rename(daemon.folder.join(&format!("now.{part}")), daemon.folder.join(&format!("old.{part}")))
            .unwrap();
        fs::rename(daemon.folder.join(&format!("next.{part}")), daemon.folder.join(&format!("now.{part}")))
            .unwrap();
    }
    wait_until("the new one is taken", || {
        run(&["healthcheck", "--tls-cert", "now.cert"]).status.success().then_some(())
    });
    assert!(!run(&["healthcheck", "--tls-cert", "old.cert"]).status.success());
}

/// They asked by their flags only, and an operator had to say again what the daemon's file says.
#[test]
fn the_other_commands_find_the_daemon_by_its_configuration() {
    let folder = Folder::new();
    certificate(&folder, "now");
    fs::write(folder.join("read"), format!("{READ}\n")).unwrap();
    let options = [
        "--listen",
        "0.0.0.0:0",
        "--tls-cert",
        "now.cert",
        "--tls-key",
        "now.key",
        "--read-token-file",
        "read",
    ];
    let daemon = Daemon::start_in(folder, &options, &[]);
    fs::write(daemon.log("a.log"), "192.0.2.7 - - [22/Mar/2021:08:00:00 +0100] \"GET / HTTP/1.1\" 200 5\n")
        .unwrap();
    let partials = daemon.folder.join("state/partials/v1/host=local");
    wait_until("the log is stored", || {
        fs::read_dir(&partials)
            .ok()?
            .any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "parquet"))
            .then_some(())
    });
    let address = daemon.url("").strip_prefix("https://").unwrap().to_owned();
    let file = format!(
        "listen = \"{address}\"\nstate = \"state\"\ntls_cert = \"now.cert\"\ntls_key = \"now.key\"\nread_token_file = \"read\"\nworkers = 2\n"
    );
    fs::write(daemon.folder.join("good.toml"), &file).unwrap();
    fs::write(daemon.folder.join("bad.toml"), file.replace("workers", "worker")).unwrap();
    fs::write(daemon.folder.join("elsewhere.toml"), "listen = \"127.0.0.1:1\"\nstate = \"nowhere\"\n")
        .unwrap();
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let output = tallyd()
            .args(words)
            .envs(variables.iter().copied())
            .current_dir(daemon.folder.path())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let commands: [(&[&str], &str); 6] = [
        (&["status"], "1 log, everything is counted"),
        (&["healthcheck"], ""),
        (&["report"], "2021-03-22"),
        (&["store", "ls"], "a.log"),
        (&["store", "check"], "1 partials are as they were written"),
        (&["store", "export", "copy"], "1 partials copied"),
    ];
    for (words, said) in commands {
        let with = |file: &'static str| [words, &["--config", file]].concat();
        let (code, out, error) = run(&with("good.toml"), &[]);
        assert!(code == Some(0) && out.contains(said) && error.is_empty(), "{words:?}: {out}{error}");
        let (code, out, _) = run(words, &[("TALLYD_CONFIG", "good.toml")]);
        assert!(code == Some(0) && (out.contains(said) || words[0] == "store"), "{words:?}: {out}");
        // What is wrong with a file is said as `serve` says it.
        let (code, _, error) = run(&with("bad.toml"), &[]);
        assert!(
            code == Some(1)
                && error.contains("bad.toml:6: unknown field `worker`")
                && error.contains("lists every setting"),
            "{words:?}: {error}"
        );
        let (code, _, error) = run(&with("none.toml"), &[]);
        assert!(
            code == Some(1)
                && error.contains("cannot read the configuration none.toml")
                && error.contains("name a file that is there"),
            "{words:?}: {error}"
        );
        assert_eq!(run(&with("elsewhere.toml"), &[]).0, Some(1), "{words:?}");
    }
    // Flags and environment win over the file.
    let (code, _, error) = run(&["status", "--config", "good.toml", "--listen", "127.0.0.1:1"], &[]);
    assert!(code == Some(1) && error.contains("no answer from a tallyd at 127.0.0.1:1"), "{error}");
    assert_eq!(run(&["report", "--config", "elsewhere.toml", "--state", "state"], &[]).0, Some(0));
    assert_eq!(run(&["report", "--config", "elsewhere.toml"], &[("TALLYD_STATE", "state")]).0, Some(0));
    let (code, _, error) =
        run(&["status", "--config", "good.toml"], &[("TALLYD_READ_TOKEN", "this is no right token")]);
    assert!(code == Some(1) && error.contains("401"), "{error}");
    assert_eq!(
        run(
            &["healthcheck", "--config", "elsewhere.toml"],
            &[("TALLYD_LISTEN", &address), ("TALLYD_TLS_CERT", "now.cert")]
        )
        .0,
        Some(0)
    );
}

/// Over so many logs of a line, all counted.
fn over_many(logs: usize) -> Daemon {
    over(logs, |number| {
        (
            format!("{number}.log"),
            format!("10.0.{}.{} - - [22/Mar/2021:06:25:24 +0100] x\n", number / 256, number % 256),
        )
    })
}

/// Over so many logs, each of this name and content, all counted.
fn over(logs: usize, log: impl Fn(usize) -> (String, String)) -> Daemon {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    for (name, content) in (0..logs).map(log) {
        fs::write(folder.join(&format!("logs/{name}")), content).unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    wait_until("all is counted", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0 && status["logs"] == logs).then_some(())
    });
    daemon
}

#[test]
fn half_a_head_is_waited_for_and_then_told_so() {
    let daemon = Daemon::start(&[]);
    let (mut silent, mut half, mut slow) = (connect(&daemon), connect(&daemon), connect(&daemon));
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").unwrap();
    let start = Instant::now();
    // A byte now and then is not a head either.
    slow.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut said = Vec::new();
    loop {
        assert!(start.elapsed() < PATIENCE, "a byte now and then keeps a connection open");
        let _ = slow.write_all(b"G");
        let mut bytes = [0; 4096];
        match slow.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    assert!(start.elapsed() > Duration::from_secs(5), "a head is given some time");
    assert_eq!(answers(&String::from_utf8_lossy(&said))[0].0, 408);
    let (status, head, body) = answers(&rest(&mut half)).remove(0);
    assert!(status == 408 && body.contains("request-timeout"), "{head}");
    check_headers(&head);
    assert_eq!(rest(&mut silent), "");
}

/// Both take their time: 60 s without a request, 30 s without taking anything of an answer.
#[test]
fn who_does_not_go_on_is_let_go() {
    let daemon = over_many(3_000);
    let (mut idle, mut deaf) = (connect(&daemon), connect(&daemon));
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // So many that they do not lie in the system's buffers.
    deaf.write_all(&b"GET /api/v1/files?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20)).unwrap();
    let mut first = [0; 4_096];
    let length = deaf.read(&mut first).unwrap();
    let head = String::from_utf8_lossy(&first[..length]).to_ascii_lowercase();
    let promised: usize =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let promised = 20 * promised;
    assert!(is_held(&idle) && is_held(&deaf));
    // The one that is not read goes first.
    wait_until("one is let go", || (!is_held(&deaf)).then_some(()));
    assert!(is_held(&idle));
    let mut taken = Vec::new();
    let _ = deaf.read_to_end(&mut taken);
    assert!(length + taken.len() < promised, "{} of {promised} bytes came", length + taken.len());
    idle.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let said = rest(&mut idle);
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("alive\n"), "{said:?}");
    assert_eq!(daemon.restarts("api"), 0);
}

/// Has the daemon's end of this connection not been closed (proc_net_tcp(5))?
fn is_held(stream: &TcpStream) -> bool {
    let port = |address: &str| u16::from_str_radix(address.split(':').nth(1).unwrap(), 16).unwrap();
    let (ours, theirs) = (stream.local_addr().unwrap().port(), stream.peer_addr().unwrap().port());
    fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        const ESTABLISHED: &str = "01";
        (port(fields[1]), port(fields[2]), fields[3]) == (theirs, ours, ESTABLISHED)
    })
}

/// The daemon may open 256 files. Two thousand clients hold on, each in its way; each that is let go comes
/// again. One asks, a hundred times.
#[test]
fn a_crowd_that_holds_on_keeps_nobody_waiting() {
    let daemon = Daemon::start_with_descriptors(256);
    let stop = AtomicBool::new(false);
    // The crowd is of this process, which may open more.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4_096), hard).unwrap();
    let each = hard.min(4_096) as usize / 4;
    assert!(each > 128, "a crowd needs descriptors (ulimit -Hn)");
    std::thread::scope(|scope| {
        for kind in 0..2 {
            let (daemon, stop) = (&daemon, &stop);
            scope.spawn(move || {
                let mut crowd: Vec<Option<TcpStream>> = (0..each).map(|_| None).collect();
                for round in 0_usize.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    for place in &mut crowd {
                        let stream = place.get_or_insert_with(|| connect(daemon));
                        stream.set_nonblocking(true).unwrap();
                        let gone = match kind {
                            0 => {
                                matches!(stream.read(&mut [0]), Ok(0))
                                    || stream.take_error().is_ok_and(|error| error.is_some())
                            }
                            _ => stream.write_all(if round % 20 == 0 { b"G" } else { b"" }).is_err(),
                        };
                        if gone {
                            *place = None;
                        }
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let (mut times, mut said) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let start = Instant::now();
            said.push(say(&daemon, request("GET /api/v1/report", "").as_bytes()));
            times.push(start.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(said.iter().all(|said| said.starts_with("HTTP/1.1 200")), "{said:?}");
        times.sort();
        println!("median {:?}, p99 {:?}", times[50], times[98]);
        // Without a place for those who ask, it would be the ten seconds that a head may take.
        assert!(times[98] < Duration::from_secs(5), "{times:?}");
    });
    assert!(daemon.journal().contains("fewer descriptors are allowed"), "{}", daemon.journal());
    assert_eq!(daemon.restarts("api"), 0);
}

/// What the system had no descriptors for was left out of ranges, as if it were damaged.
#[test]
fn a_range_over_more_logs_than_descriptors_has_all_of_them() {
    const LOGS: usize = 100;
    let daemon = Daemon::start_with_descriptors(80);
    for number in 0..LOGS {
        fs::write(
            daemon.log(&format!("{number}.log")),
            format!("10.0.0.{number} - - [22/Mar/2021:06:25:24 +0100] x\n"),
        )
        .unwrap();
    }
    wait_until("all is counted and stored", || {
        let (status, _, body) = daemon.ask("GET", "/api/v1/status", &[])?;
        let status: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        (status["pending_bytes"] == 0 && status["unstored_files"] == 0 && status["logs"] == LOGS)
            .then_some(())
    });
    let range = wait_until("a range", || {
        daemon.ask("GET", "/api/v1/range", &[]).filter(|(status, ..)| *status != 503)
    });
    let range: Value = serde_json::from_str(&range.2).unwrap();
    assert_eq!((&range["unique_ips"], &range["complete"]), (&LOGS.into(), &true.into()), "{range}");
}

/// A body where none belongs, of which nothing more comes: it held a place for ten seconds, and all of them
/// together all places.
#[test]
fn bodies_that_do_not_come_keep_nobody_waiting() {
    let daemon = Daemon::start(&["--connections-max", "16"]);
    let mut held: Vec<TcpStream> = (0..16).map(|_| connect(&daemon)).collect();
    for stream in &mut held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab").unwrap();
    }
    wait_until("all are held", || daemon.ask("GET", "/healthz", &[]).filter(|answer| answer.0 == 200));
    // One was closed for it. It was told nothing, as it would be if its time were over.
    let said: Vec<String> = held.iter_mut().map(rest).collect();
    assert!(said.iter().any(String::is_empty), "{said:?}");
}

#[test]
fn more_connections_than_there_may_be_push_the_oldest_out() {
    let daemon = Daemon::start(&["--connections-max", "16"]);
    let mut silent: Vec<TcpStream> = (0..40).map(|_| connect(&daemon)).collect();
    assert_eq!(status_of(&daemon, "GET", "/healthz", None), 200);
    for stream in &mut silent[..20] {
        assert_eq!(rest(stream), "");
    }
    // Those that came last are there still.
    let last = silent.last_mut().unwrap();
    last.write_all(request("GET /healthz", "").as_bytes()).unwrap();
    assert_eq!(answers(&rest(last))[0].0, 200);
}

/// The memory of the api, in KiB.
fn memory(daemon: &Daemon, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pids("api")[0])).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Two hundred who ask for the same, with these fields in the head, and read no more than the status; and how
/// many of them were refused.
fn unread(daemon: &Daemon, path: &str, fields: &str) -> (Vec<TcpStream>, usize) {
    let mut unread: Vec<TcpStream> = (0..200).map(|_| connect(daemon)).collect();
    for stream in &mut unread {
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes())
            .unwrap();
    }
    let mut statuses = Vec::new();
    for stream in &mut unread {
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        statuses.push(String::from_utf8_lossy(&line[9..]).into_owned());
    }
    let count = |status: &str| statuses.iter().filter(|other| *other == status).count();
    assert_eq!(count("200") + count("503"), 200, "{path}: {statuses:?}");
    (unread, count("503"))
}

#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let daemon = over_many(3_000);
    let length = daemon.ask("GET", "/api/v1/files?limit=10000", &[]).unwrap().2.len() as u64;
    let (unread, refused) = unread(&daemon, "/api/v1/files?limit=10000", "");
    assert!((1..200).contains(&refused), "{refused}");
    // Two hundred of them would be much more.
    assert!(length * 200 > 192 << 20, "{length}");
    let most = memory(&daemon, "VmHWM");
    assert!(most < 96 << 10, "{most} KiB");
    // Others are answered, and when the readers are gone there is room again.
    assert_eq!(status_of(&daemon, "GET", "/api/v1/report", None), 200);
    drop(unread);
    wait_until("there is room", || {
        (daemon.ask("GET", "/api/v1/files?limit=10000", &[])?.0 == 200).then_some(())
    });
}

/// Packed ones had no room of their own: each reader's was in memory for as long as he did not read it.
#[test]
fn packed_answers_that_nobody_reads_do_not_pile_up() {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let daemon = over(5_000, |number| {
        // What has no pattern stays long.
        let mut random = number as u64 + 1;
        let mut letter = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(LETTERS[(random >> 58) as usize])
        };
        let name: String = (0..240).map(|_| letter()).collect();
        (
            format!("x{name}.log"),
            format!("10.0.{}.{} - - [22/Mar/2021:06:25:24 +0100] x\n", number / 256, number % 256),
        )
    });
    for path in ["/api/v1/report", "/api/v1/files?limit=10000"] {
        let (unread, refused) = unread(&daemon, path, "Accept-Encoding: gzip\r\n");
        assert!((1..200).contains(&refused), "{path}: {refused}");
        let most = memory(&daemon, "VmHWM");
        assert!(most < 128 << 10, "{path}: {most} KiB");
        drop(unread);
        // Made, packed and let go, as what is sent is.
        wait_until("there is room", || {
            (daemon.ask("HEAD", path, &[("accept-encoding", "gzip")])?.0 == 200).then_some(())
        });
    }
}

/// Neither what is made from the store nor the status was in any room.
#[test]
fn long_names_of_clients_that_nobody_reads_do_not_pile_up() {
    let clients = |number: usize| format!("{number:01000} - - [22/Mar/2021:06:25:24 +0100] x\n");
    let daemon = over(1, |_| ("a.log".to_owned(), (0..10_000).map(clients).collect()));
    let path = "/api/v1/top/clients?limit=10000";
    wait_until("all is stored", || (daemon.get("/api/v1/status")["unstored_files"] == 0).then_some(()));
    let length = daemon.ask("GET", path, &[]).unwrap().2.len() as u64;
    let (unread, refused) = unread(&daemon, path, "");
    assert!((1..200).contains(&refused), "{refused}");
    // Two hundred of them would be much more.
    assert!(length * 200 > 1 << 30, "{length}");
    let most = memory(&daemon, "VmHWM");
    assert!(most < 256 << 10, "{most} KiB");
    drop(unread);
    wait_until("there is room", || (daemon.ask("GET", path, &[])?.0 == 200).then_some(()));
}

/// While large answers were on their way, a list was refused whatever was wanted of it.
#[test]
fn short_lists_and_what_is_known_are_answered_beside_large_ones() {
    let daemon = over_many(3_000);
    let path = "/api/v1/files?limit=10000";
    let (_unread, refused) = unread(&daemon, path, "");
    assert!(refused > 0);
    assert_eq!(daemon.ask("GET", path, &[]).unwrap().0, 503);
    assert_eq!(daemon.ask("GET", "/api/v1/files?limit=1", &[]).unwrap().0, 200);
    // Whoever has any answer is told that he has it.
    assert_eq!(daemon.ask("GET", path, &[("if-none-match", "*")]).unwrap().0, 304);
}

/// A log that is taken back is waited for until the store has it, and held one of the two turns in which
/// lists are made.
#[test]
fn who_takes_logs_back_keeps_nobody_from_lists() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    for number in 0..3 {
        fs::write(
            folder.join(&format!("logs/{number}.log")),
            format!("10.0.0.{number} - - [22/Mar/2021:06:25:24 +0100] x\n"),
        )
        .unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[("TALLYD_TOKEN", ADMIN)]);
    wait_until("all is counted and stored", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0 && status["logs"] == 3 && status["unstored_files"] == 0).then_some(())
    });
    // A file is where the folder of partials should be: nothing can be stored.
    fs::remove_dir_all(daemon.folder.join("state/partials")).unwrap();
    fs::write(daemon.folder.join("state/partials"), b"").unwrap();
    let files = daemon.get("/api/v1/files");
    let mut deletes: Vec<TcpStream> = (0..2).map(|_| connect(&daemon)).collect();
    for (number, stream) in deletes.iter_mut().enumerate() {
        let line = format!("DELETE /api/v1/files/{}", files["files"][number]["id"].as_str().unwrap());
        stream.write_all(request(&line, &format!("Authorization: Bearer {ADMIN}\r\n")).as_bytes()).unwrap();
    }
    wait_until("both are shown as taken back", || {
        let files = daemon.get("/api/v1/files?state=skipped");
        (files["files"].as_array().unwrap().len() == 2).then_some(())
    });
    assert_eq!(daemon.get("/api/v1/report").as_object().unwrap().len(), 1);
    // The report came, and they still wait.
    for stream in &deletes {
        stream.set_nonblocking(true).unwrap();
        assert!(stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }
}
