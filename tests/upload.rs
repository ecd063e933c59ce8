//! Uploads to the running daemon: whole or not at all, counted once, whoever dies.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::libc::{SIGKILL, SIGTERM};
use serde_json::{Value, json};
use support::{Daemon, Folder, Truth, block, signal, wait_until};

const TOKEN: &str = "Eephaim2oSei8xoo6aLahngoo4Quuz7i";

fn start(options: &[&str]) -> Daemon {
    start_in(Folder::new(), options)
}

fn start_in(folder: Folder, options: &[&str]) -> Daemon {
    Daemon::start_in(folder, options, &[("TALLYD_TOKEN", TOKEN)])
}

/// An answer, as it came over the wire.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Option<Answer> {
        let mut bytes = Vec::new();
        // A connection that is reset behind the answer has answered.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer {
            status,
            head: head.to_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.url("").trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream
}

/// A connection on which an upload has begun.
fn begin(daemon: &Daemon, path: &str, headers: &str) -> TcpStream {
    let mut stream = connect(daemon);
    write!(stream, "PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    stream
}

/// Uploads; `None` if the connection breaks.
fn try_put(daemon: &Daemon, path: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = begin(daemon, path, &format!("Content-Length: {}\r\n", body.len()));
    // Who refuses it need not read it.
    let _ = stream.write_all(body);
    Answer::read(stream)
}

fn put(daemon: &Daemon, path: &str, body: &[u8]) -> Answer {
    try_put(daemon, path, body).unwrap()
}

fn check_refused(answer: &Answer, status: u16, code: &str, word: &str) {
    assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{answer:?}");
    assert!(answer.body["detail"].as_str().unwrap().contains(word), "{answer:?}");
}

/// All names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until a draft is there and has some bytes.
fn wait_for_draft(folder: &Path) -> PathBuf {
    wait_until("an upload has begun to be written", || {
        let is_draft = |name: &String| {
            let digits = name.strip_prefix(".tallyd-upload-").and_then(|name| name.strip_suffix(".tmp"));
            digits.is_some_and(|digits| {
                digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
        };
        let name = names(folder).into_iter().find(is_draft)?;
        let path = folder.join(name);
        fs::metadata(&path).is_ok_and(|about| about.len() > 0).then_some(path)
    })
}

/// The requests of the only day there is, once all is counted.
fn day_requests(daemon: &Daemon) -> (u64, u64) {
    wait_until("all is counted", || (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(()));
    let days = daemon.get("/api/v1/days");
    match days["days"].as_array().unwrap().as_slice() {
        [] => (0, 0),
        [day] => (day["requests"].as_u64().unwrap(), day["unique_ips"].as_u64().unwrap()),
        more => panic!("{more:?}"),
    }
}

fn wait_for_day(daemon: &Daemon, truth: Truth) {
    let mut seen = (0, 0);
    wait_until(&format!("the day has {truth:?}"), || {
        seen = day_requests(daemon);
        (seen == (truth.total, truth.ip)).then_some(())
    });
    assert_eq!(day_requests(daemon), seen);
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in body.chunks(1_000) {
        text.extend(format!("{:x}\r\n", chunk.len()).bytes());
        text.extend(chunk);
        text.extend(b"\r\n");
    }
    text.extend(b"0\r\n\r\n");
    text
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_uploaded_is_counted_under_the_id_of_the_answer() {
    let daemon = start(&[]);
    let (bytes, truth) = block(1_000, 100, 1);
    let check = |answer: Answer, name: &str, length: usize, truth: Truth| {
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.body["id"].as_str().unwrap().to_owned();
        let url = format!("/api/v1/files/{id}");
        assert_eq!(answer.body, json!({ "id": id, "name": name, "bytes": length, "url": url }));
        assert_eq!(answer.header("location"), Some(url.as_str()));
        assert_eq!((answer.header("content-type"), answer.header("etag")), (Some("application/json"), None));
        daemon.wait_for(name, truth);
        let file = daemon.get(&url);
        assert_eq!(
            (&file["name"], &file["total"], &file["size"]),
            (&json!(name), &json!(truth.total), &json!(length))
        );
    };
    check(put(&daemon, "/api/v1/files/20210322.log", &bytes), "20210322.log", bytes.len(), truth);
    assert_eq!(fs::read(daemon.log("20210322.log")).unwrap(), bytes);
    // Compressed it is stored as it is.
    let (other, truth) = block(2_000, 50, 2);
    check(put(&daemon, "/api/v1/files/a%20b.log.gz", &gz(&other)), "a b.log.gz", gz(&other).len(), truth);
    assert_eq!(fs::read(daemon.log("a b.log.gz")).unwrap(), gz(&other));
    let (third, truth) = block(500, 50, 3);
    let mut stream = begin(&daemon, "/api/v1/files/c", "Transfer-Encoding: chunked\r\n");
    stream.write_all(&chunked(&third)).unwrap();
    check(Answer::read(stream).unwrap(), "c", third.len(), truth);
    check(put(&daemon, "/api/v1/files/empty.log", b""), "empty.log", 0, Truth::default());
    assert_eq!(day_requests(&daemon).0, 3_500);
    // A copy of what is there is a duplicate, under an id of its own.
    let answer = put(&daemon, "/api/v1/files/copy.log", &bytes);
    let file = daemon.get(answer.body["url"].as_str().unwrap());
    assert_eq!(
        (&file["state"], &file["duplicate_of"]),
        (&json!("duplicate"), &daemon.file("20210322.log").unwrap()["id"])
    );
    assert_eq!(day_requests(&daemon).0, 3_500);
    assert!(names(&daemon.logs()).iter().all(|name| !name.starts_with('.')), "{:?}", names(&daemon.logs()));
}

#[test]
fn without_notifications_the_answer_has_the_id_too() {
    let daemon = start(&["--no-inotify", "--scan-every-ms", "3600000"]);
    wait_until("the folders were looked at", || {
        (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(())
    });
    let (bytes, truth) = block(100, 10, 1);
    let answer = put(&daemon, "/api/v1/files/a.log", &bytes);
    assert!(answer.status == 201 && answer.body["id"].is_string(), "{answer:?}");
    daemon.wait_for("a.log", truth);
}

#[test]
fn names_that_would_not_be_counted_are_refused() {
    let daemon = start(&["--exclude", "*.old"]);
    for (name, word) in [
        ("..%2f..%2fetc%2fpasswd", "slash"),
        ("%2fetc%2fpasswd", "slash"),
        ("../../etc/passwd", "slash"),
        ("a/b", "slash"),
        ("a%2fb", "slash"),
        ("..", "dot"),
        (".", "dot"),
        ("%2e%2e", "dot"),
        (".hidden", "dot"),
        (".tallyd-upload-0123456789abcdef.tmp", "dot"),
        ("%00", "invisible"),
        ("a%00.log", "invisible"),
        ("a%0a.log", "invisible"),
        ("a%1b[2J.log", "invisible"),
        ("x.tmp", ".tmp"),
        ("x.part", ".part"),
        ("x~", "~"),
        ("x.old", "include and exclude"),
        ("a%ff.log", "UTF-8"),
        (&"x".repeat(256), "256 bytes"),
    ] {
        check_refused(&put(&daemon, &format!("/api/v1/files/{name}"), b"x\n"), 400, "bad-parameter", word);
    }
    for query in ["?replace=maybe", "?replace", "?x=1"] {
        check_refused(
            &put(&daemon, &format!("/api/v1/files/x.log{query}"), b"x\n"),
            400,
            "bad-parameter",
            "",
        );
    }
    assert_eq!(names(&daemon.logs()), [""; 0]);
    assert_eq!(put(&daemon, &format!("/api/v1/files/{}", "x".repeat(255)), b"x\n").status, 201);
}

#[test]
fn what_asks_for_more_than_to_be_stored_is_refused() {
    let daemon = start(&[]);
    let bytes = block(10, 5, 1).0;
    let ask = |query: &str, header: &str| {
        let fields = format!(
            "Content-Length: {}\r\n{header}{}",
            bytes.len(),
            if header.is_empty() { "" } else { "\r\n" }
        );
        let mut stream = begin(&daemon, &format!("/api/v1/files/access.log{query}"), &fields);
        stream.write_all(&bytes).unwrap();
        Answer::read(stream).unwrap()
    };
    for (query, header, status, code) in [
        ("", "Content-Range: bytes 10-99/100", 400, "bad-request"),
        ("", "If-Match: \"x\"", 400, "bad-request"),
        ("", "If-Unmodified-Since: Mon, 22 Mar 2021 06:25:24 GMT", 400, "bad-request"),
        ("?replace=true", "If-None-Match: *", 400, "bad-request"),
        ("", "Content-Encoding: br", 415, "unknown-coding"),
        ("", "Content-Encoding: gzip, br", 415, "unknown-coding"),
    ] {
        check_refused(&ask(query, header), status, code, "");
    }
    check_refused(
        &Answer::read(begin(&daemon, "/api/v1/files/access.log", "")).unwrap(),
        411,
        "length-required",
        "Content-Length",
    );
    assert!(names(&daemon.logs()).is_empty());
    for (query, parameter) in
        [("?replace=1", "replace"), ("?replace=true&replace=true", "replace"), ("?x=1", "x")]
    {
        let answer = ask(query, "");
        check_refused(&answer, 400, "bad-parameter", parameter);
        assert_eq!(answer.body["parameter"], parameter);
    }
    assert_eq!(ask("", "If-None-Match: *\r\nContent-Encoding: identity").status, 201);
}

#[test]
fn of_several_folders_the_name_says_which() {
    let folder = Folder::new();
    ["web1", "web2"].iter().for_each(|name| fs::create_dir(folder.join(name)).unwrap());
    let daemon = start_in(folder, &["--logs", "web1", "--logs", "web2"]);
    let (bytes, truth) = block(100, 10, 1);
    for (path, name) in
        [("web1/a.log", "web1/a.log"), ("web2%2fb.log", "web2/b.log"), ("logs/c.log", "logs/c.log")]
    {
        let answer = put(&daemon, &format!("/api/v1/files/{path}"), &bytes);
        assert_eq!((answer.status, &answer.body["name"]), (201, &json!(name)), "{answer:?}");
        assert_eq!(fs::read(daemon.folder.join(name)).unwrap(), bytes);
        daemon.wait_for(name, truth);
    }
    check_refused(&put(&daemon, "/api/v1/files/a.log", &bytes), 400, "bad-parameter", "web1/, web2/");
    check_refused(&put(&daemon, "/api/v1/files/web1/x/a.log", &bytes), 400, "bad-parameter", "slash");
    check_refused(&put(&daemon, "/api/v1/files/web1/..%2fa.log", &bytes), 400, "bad-parameter", "slash");
}

#[test]
fn only_who_shows_the_token_uploads() {
    let daemon = Daemon::start(&[]);
    check_refused(&put(&daemon, "/api/v1/files/a.log", b"x\n"), 403, "no-token-set", "TALLYD_TOKEN");
    assert_eq!(names(&daemon.logs()), [""; 0]);
    let daemon = start(&[]);
    for shown in [
        String::new(),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        "Authorization: Basic x\r\n".to_owned(),
    ] {
        // What is sent all the same does not keep the answer from arriving.
        for length in [2, 3 << 20] {
            let mut stream = connect(&daemon);
            write!(stream, "PUT /api/v1/files/a.log HTTP/1.1\r\nHost: localhost\r\n{shown}Connection: close\r\nContent-Length: {length}\r\n\r\n").unwrap();
            stream.write_all(&vec![b'\n'; length]).unwrap();
            check_refused(&Answer::read(stream).unwrap(), 401, "unauthorized", "Bearer");
        }
    }
    assert_eq!(names(&daemon.logs()), [""; 0]);
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told_or_refused() {
    let daemon = start(&[]);
    let (bytes, truth) = block(100, 10, 1);
    let head = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", bytes.len());
    let mut stream = begin(&daemon, "/api/v1/files/a.log", &head);
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(told, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&bytes).unwrap();
    assert_eq!(Answer::read(stream).unwrap().status, 201);
    daemon.wait_for("a.log", truth);
    let again = Answer::read(begin(&daemon, "/api/v1/files/a.log", &head)).unwrap();
    check_refused(&again, 409, "conflict", "replace=true");
}

#[test]
fn a_name_that_is_taken_is_replaced_only_if_asked() {
    for name in ["20210322.log", "access.log"] {
        let daemon = start(&[]);
        let path = format!("/api/v1/files/{name}");
        let (old, old_truth) = block(1_000, 100, 1);
        let (new, new_truth) = block(300, 30, 2);
        // The beginning of the old one, up to the end of a line.
        let half = old[..old.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap();
        let short = &old[..=half];
        let lines = short.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(put(&daemon, &path, &old).status, 201);
        daemon.wait_for(name, old_truth);
        check_refused(&put(&daemon, &path, &new), 409, "conflict", "replace=true");
        check_refused(&put(&daemon, &format!("{path}?replace=false"), &new), 409, "conflict", "replace=true");
        assert_eq!(fs::read(daemon.log(name)).unwrap(), old);
        wait_for_day(&daemon, old_truth);
        let replace = |bytes: &[u8]| {
            let answer = put(&daemon, &format!("{path}?replace=true"), bytes);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(fs::read(daemon.log(name)).unwrap(), bytes);
            answer.body["id"].as_str().unwrap().to_owned()
        };
        replace(&new);
        wait_for_day(&daemon, new_truth);
        replace(&old);
        wait_for_day(&daemon, old_truth);
        let id = replace(short);
        wait_until("the beginning counts", || (day_requests(&daemon).0 == lines).then_some(()));
        assert_eq!(replace(short), id, "the same content is the same log");
        assert_eq!(day_requests(&daemon).0, lines);
        assert_eq!(replace(&old), id, "and goes on");
        wait_for_day(&daemon, old_truth);
        replace(&gz(&new));
        wait_for_day(&daemon, new_truth);
        // Only the last is listed.
        let listed = daemon.get("/api/v1/files");
        assert_eq!(listed["files"].as_array().unwrap().len(), 1, "{listed}");
        // Where nothing is, nothing is replaced.
        assert_eq!(put(&daemon, "/api/v1/files/other?replace=true", &new).status, 201);
    }
}

#[test]
fn a_link_is_not_followed_and_what_is_no_file_stays() {
    let daemon = start(&[]);
    let outside = daemon.folder.join("outside");
    fs::write(&outside, "precious\n").unwrap();
    std::os::unix::fs::symlink("../outside", daemon.log("a.log")).unwrap();
    std::os::unix::fs::symlink("../nowhere", daemon.log("b.log")).unwrap();
    fs::create_dir(daemon.log("c.log")).unwrap();
    let (bytes, _) = block(100, 10, 1);
    for name in ["a.log", "b.log"] {
        let path = format!("/api/v1/files/{name}");
        check_refused(&put(&daemon, &path, &bytes), 409, "conflict", "replace=true");
        assert!(fs::symlink_metadata(daemon.log(name)).unwrap().is_symlink());
        assert_eq!(put(&daemon, &format!("{path}?replace=true"), &bytes).status, 200);
        assert!(fs::symlink_metadata(daemon.log(name)).unwrap().is_file());
    }
    assert_eq!(fs::read(&outside).unwrap(), b"precious\n");
    assert!(!daemon.folder.join("nowhere").exists());
    for query in ["", "?replace=true"] {
        check_refused(
            &put(&daemon, &format!("/api/v1/files/c.log{query}"), &bytes),
            409,
            "conflict",
            "not a regular file",
        );
    }
    assert!(daemon.log("c.log").is_dir());
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let daemon = start(&[]);
    let (bytes, _) = block(1_000, 100, 1);
    let whole = chunked(&bytes);
    let length = format!("Content-Length: {}\r\n", bytes.len());
    // All but the last byte, and all but the last chunk.
    for (headers, sent) in [
        (length.as_str(), &bytes[..bytes.len() - 1]),
        ("Transfer-Encoding: chunked\r\n", &whole[..whole.len() - 5]),
    ] {
        let mut stream = begin(&daemon, "/api/v1/files/20210322.log", headers);
        stream.write_all(sent).unwrap();
        wait_for_draft(&daemon.logs());
        drop(stream);
        wait_until("nothing is left", || names(&daemon.logs()).is_empty().then_some(()));
    }
    assert_eq!(daemon.get("/api/v1/report"), json!({}));
    assert_eq!(put(&daemon, "/api/v1/files/20210322.log", &bytes).status, 201);
}

#[test]
fn what_a_killed_process_leaves_is_removed() {
    let mut daemon = start(&[]);
    let (bytes, truth) = block(1_000, 100, 1);
    let others = [".tallyd-upload-0123.tmp", ".tallyd-upload-0123456789abcdeg.tmp", ".x.tmp"];
    others.iter().for_each(|name| fs::write(daemon.log(name), "x").unwrap());
    let headers = format!("Content-Length: {}\r\n", bytes.len() + 1);
    let begin = |daemon: &Daemon| {
        let mut stream = begin(daemon, "/api/v1/files/a.log", &headers);
        stream.write_all(&bytes).unwrap();
        (wait_for_draft(&daemon.logs()), stream)
    };
    let (draft, _stream) = begin(&daemon);
    daemon.pids("api").into_iter().for_each(|pid| signal(pid, SIGKILL));
    wait_until("the next api has removed it", || (!draft.exists()).then_some(()));
    // The daemon is killed; it ends as it should.
    for number in [SIGKILL, SIGTERM] {
        let (draft, _stream) = begin(&daemon);
        let folder = daemon.end(number);
        assert!(number == SIGKILL || !draft.exists(), "{} is left", draft.display());
        daemon = start_in(folder, &[]);
        wait_until("the next daemon has removed it", || (!draft.exists()).then_some(()));
    }
    assert_eq!(names(&daemon.logs()), others);
    assert_eq!(daemon.get("/api/v1/report"), json!({}));
    // What another daemon on the same folder is making stays.
    let (draft, _stream) = begin(&daemon);
    let other = start_in(Folder::new(), &["--logs", daemon.logs().to_str().unwrap()]);
    assert_eq!(put(&other, "/api/v1/files/logs%2fb.log", b"x\n").status, 400, "its names are other ones");
    assert!(draft.exists());
    drop(other);
    assert_eq!(put(&daemon, "/api/v1/files/b.log", &bytes).status, 201);
    daemon.wait_for("b.log", truth);
}

/// Whoever is killed at whichever moment: the file is the old or the new one, whole, and exactly that is
/// counted, also if the name has no date.
#[test]
fn a_log_is_replaced_whole_whoever_dies() {
    let mut daemon = start(&[]);
    let path = "/api/v1/files/access.log?replace=true";
    let contents: Vec<(Vec<u8>, Truth)> =
        (1..=18).map(|round| block(100 * round, 20 * round as u32, round)).collect();
    assert_eq!(put(&daemon, path, &contents[0].0).status, 201);
    wait_for_day(&daemon, contents[0].1);
    for (round, (bytes, truth)) in contents.iter().enumerate().skip(1) {
        let delay = Duration::from_millis((round as u64 * 389) % 1_400);
        let answer = std::thread::scope(|scope| {
            let uploading = scope.spawn(|| try_put(&daemon, path, bytes));
            // Not for luck: any moment will do, and each is another one.
            std::thread::sleep(delay);
            match round % 3 {
                0 => daemon.pids("api").into_iter().for_each(|pid| signal(pid, SIGKILL)),
                1 => daemon.pids("coordinator").into_iter().for_each(|pid| signal(pid, SIGKILL)),
                _ => signal(daemon.pid(), SIGKILL),
            }
            uploading.join().unwrap()
        });
        if round % 3 == 2 {
            daemon = start_in(daemon.end(SIGKILL), &[]);
        }
        let there = fs::read(daemon.log("access.log")).unwrap();
        let held = contents.iter().position(|(bytes, _)| *bytes == there);
        let held =
            held.unwrap_or_else(|| panic!("round {round}: {} bytes that nobody uploaded", there.len()));
        assert!(
            held == round || answer.as_ref().is_none_or(|answer| answer.status >= 400),
            "round {round}: {answer:?}, and {held} is there"
        );
        wait_for_day(&daemon, contents[held].1);
        wait_until("the upload is done", || {
            try_put(&daemon, path, bytes).filter(|answer| matches!(answer.status, 200 | 202))
        });
        wait_for_day(&daemon, *truth);
        wait_until("no draft is left", || (names(&daemon.logs()) == ["access.log"]).then_some(()));
    }
}

#[test]
fn of_two_uploads_of_one_name_one_wins() {
    let daemon = start(&[]);
    for (round, query) in (0..10).flat_map(|round| [(round, ""), (round, "?replace=true")]) {
        let path = format!("/api/v1/files/log{round}{}{query}", query.len());
        let bodies = [block(100, 10, 2 * round + 1).0, block(200, 20, 2 * round + 2).0];
        let answers = std::thread::scope(|scope| {
            let both = bodies.each_ref().map(|body| scope.spawn(|| put(&daemon, &path, body)));
            both.map(|answer| answer.join().unwrap())
        });
        let there = fs::read(daemon.log(&format!("log{round}{}", query.len()))).unwrap();
        let statuses = answers.each_ref().map(|answer| answer.status);
        match statuses {
            [201, 409] => assert_eq!(there, bodies[0]),
            [409, 201] => assert_eq!(there, bodies[1]),
            // One came when the other was done.
            [201, 200] if !query.is_empty() => assert_eq!(there, bodies[1]),
            [200, 201] if !query.is_empty() => assert_eq!(there, bodies[0]),
            _ => panic!("{answers:?}"),
        }
    }
    assert!(names(&daemon.logs()).iter().all(|name| !name.starts_with('.')));
}

#[test]
fn what_is_too_long_is_refused_before_and_while_it_comes() {
    let daemon = start(&["--upload-max-mib", "1"]);
    let longest = vec![b'\n'; 1 << 20];
    let mut stream = begin(&daemon, "/api/v1/files/a.log", "Content-Length: 1048577\r\n");
    // The answer comes before any byte.
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, *b"HTTP/1.1 413");
    let mut stream = begin(&daemon, "/api/v1/files/a.log", "Transfer-Encoding: chunked\r\n");
    let _ = stream.write_all(&chunked(&vec![b'\n'; 3 << 20]));
    check_refused(&Answer::read(stream).unwrap(), 413, "too-large", "upload_max_mib");
    wait_until("nothing is left", || names(&daemon.logs()).is_empty().then_some(()));
    assert_eq!(put(&daemon, "/api/v1/files/a.log", &longest).status, 201);
}

#[test]
fn more_than_four_at_once_have_to_wait() {
    let daemon = start(&[]);
    let streams: Vec<TcpStream> = (0..4)
        .map(|number| {
            let mut stream = begin(&daemon, &format!("/api/v1/files/{number}.log"), "Content-Length: 3\r\n");
            stream.write_all(b"x").unwrap();
            stream
        })
        .collect();
    wait_until("four are under way", || (names(&daemon.logs()).len() == 4).then_some(()));
    let answer = put(&daemon, "/api/v1/files/5.log", b"x\n");
    check_refused(&answer, 429, "too-many-uploads", "4 uploads");
    assert_eq!(answer.header("retry-after"), Some("1"));
    for mut stream in streams {
        stream.write_all(b"y\n").unwrap();
        assert_eq!(Answer::read(stream).unwrap().status, 201);
    }
    assert_eq!(put(&daemon, "/api/v1/files/5.log", b"x\n").status, 201);
}

#[test]
fn an_upload_that_does_not_go_on_is_given_up() {
    let daemon = start(&[]);
    let mut stream = begin(&daemon, "/api/v1/files/a.log", "Content-Length: 100\r\n");
    stream.write_all(b"x").unwrap();
    wait_for_draft(&daemon.logs());
    check_refused(&Answer::read(stream).unwrap(), 408, "stalled", "20 s");
    wait_until("nothing is left", || names(&daemon.logs()).is_empty().then_some(()));
}

#[test]
fn a_long_upload_takes_little_memory() {
    let daemon = start(&[]);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pids("api")[0])).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        line.trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let (bytes, _) = block(10_000, 1_000, 1);
    assert_eq!(put(&daemon, "/api/v1/files/a.log", &bytes).status, 201);
    let before = peak();
    let long = bytes.repeat((64 << 20) / bytes.len());
    assert_eq!(put(&daemon, "/api/v1/files/b.log", &long).status, 201);
    assert!(peak() < before + 16_384, "{} kB, then {} kB", before, peak());
}

#[test]
fn a_folder_that_is_not_writable_is_named() {
    let daemon = Daemon::start_as_nobody_with(&[("TALLYD_TOKEN", TOKEN)]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
    fs::set_permissions(daemon.logs(), mode).unwrap();
    check_refused(&put(&daemon, "/api/v1/files/a.log", b"x\n"), 403, "not-writable", "let uid ");
    fs::set_permissions(daemon.logs(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Option<Small> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=100m,mode=755", "tallyd-test"])
            .arg(&path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Small(path)),
            other => {
                eprintln!("SKIPPED: no small file system can be mounted here: {other:?}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_nearly_full_is_not_filled() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    // 65 MiB of its 100 are to stay free.
    let Some(_small) = Small::mount(folder.join("logs")) else { return };
    let daemon = start_in(folder, &[]);
    let bytes = vec![b'\n'; 40 << 20];
    let mut stream = begin(&daemon, "/api/v1/files/a.log", &format!("Content-Length: {}\r\n", bytes.len()));
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, *b"HTTP/1.1 507");
    let mut stream = begin(&daemon, "/api/v1/files/a.log", "Transfer-Encoding: chunked\r\n");
    let _ = stream.write_all(&chunked(&bytes));
    check_refused(&Answer::read(stream).unwrap(), 507, "disk-full", "65 MiB must stay free");
    wait_until("nothing is left", || names(&daemon.logs()).is_empty().then_some(()));
    assert_eq!(put(&daemon, "/api/v1/files/a.log", &bytes[..10 << 20]).status, 201);
}
