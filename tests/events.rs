//! Server-sent events: what listeners are told, and what they cost.

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Daemon, PATIENCE, wait_until};

const LINE: &str = "1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n";

/// Somebody who listens.
struct Listener(BufReader<TcpStream>);

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Listener {
    fn new(daemon: &Daemon, last: Option<&str>) -> Listener {
        let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n{last}\r\n").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut listener = Listener(BufReader::new(stream));
        let head: Vec<String> =
            std::iter::from_fn(|| Some(listener.line()?).filter(|line| !line.is_empty())).collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        assert!(
            head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")),
            "{head:?}"
        );
        assert!(
            head.iter().any(|line| line.eq_ignore_ascii_case("cache-control: private, no-cache")),
            "{head:?}"
        );
        assert!(!head.iter().any(|line| line.to_lowercase().starts_with("content-encoding")), "{head:?}");
        listener
    }

    /// A line of what comes, be it of a chunk's head or of its content; none at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).unwrap();
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; none at the end.
    fn event(&mut self) -> Option<Event> {
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            if let Some(value) = line.strip_prefix("event: ") {
                name = value.to_owned();
            } else if let Some(value) = line.strip_prefix("id: ") {
                id = value.to_owned();
            } else if let Some(value) = line.strip_prefix("data: ") {
                return Some(Event { name, id, data: serde_json::from_str(value).unwrap() });
            }
        }
    }

    /// The next event of which this is true.
    fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        std::iter::from_fn(|| self.event()).find(wanted).expect("the events go on")
    }
}

fn append(daemon: &Daemon, name: &str, bytes: &[u8]) {
    File::options().append(true).create(true).open(daemon.log(name)).unwrap().write_all(bytes).unwrap();
}

/// Waits until nothing is going to change any more.
fn settle(daemon: &Daemon) {
    wait_until("all is counted and stored", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0 && status["unstored_files"] == 0).then_some(())
    });
}

#[test]
fn a_change_is_told_with_its_numbers() {
    let daemon = Daemon::start(&[]);
    let mut listener = Listener::new(&daemon, None);
    let first = listener.event().unwrap();
    assert_eq!(
        (first.name.as_str(), &first.data["requests"], &first.data["files"]),
        ("change", &json!(0), &json!(0))
    );
    append(&daemon, "a.log", LINE.repeat(3).as_bytes());
    // The last state is always told; one on the way to it may be left out.
    let event = listener.until(|event| event.data["requests"] == 3 && event.data["pending_bytes"] == 0);
    assert_eq!((event.name.as_str(), &event.data["files"]), ("change", &json!(1)));
    assert!(event.data["generation"].as_u64() > first.data["generation"].as_u64());
    // Every answer agrees with an event that came before it.
    assert_eq!(daemon.reported("a.log"), Some((3, 1)));
}

#[test]
fn who_comes_back_is_told_at_once_if_something_was_missed() {
    let daemon = Daemon::start(&[]);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", support::Truth { total: 1, ip: 1 });
    let last = Listener::new(&daemon, None).until(|event| event.data["requests"] == 1);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", support::Truth { total: 2, ip: 1 });
    let missed = Listener::new(&daemon, Some(&last.id)).event().unwrap();
    assert_eq!(missed.data["requests"], 2);
    // An id of another life of the daemon tells nothing.
    assert_eq!(Listener::new(&daemon, Some("0-1")).event().unwrap().data["requests"], 2);
    // Who has seen the last one gets the next one first.
    settle(&daemon);
    let now = Listener::new(&daemon, None).event().unwrap();
    let mut listener = Listener::new(&daemon, Some(&now.id));
    append(&daemon, "a.log", LINE.as_bytes());
    let next = listener.event().unwrap();
    assert!(next.data["generation"].as_u64() > now.data["generation"].as_u64(), "{next:?} after {now:?}");
}

#[test]
fn no_more_than_four_events_come_in_a_second() {
    let daemon = Daemon::start(&[]);
    let start = Instant::now();
    let mut listener = Listener::new(&daemon, None);
    listener.event().unwrap();
    // For as long as lines come, so do changes.
    let mut events = 0;
    while events < 8 {
        append(&daemon, "a.log", LINE.as_bytes());
        listener.event().unwrap();
        events += 1;
    }
    // The first one may come at once; after it, each is 250 ms behind the one before. A slow machine only
    // makes it longer.
    assert!(
        start.elapsed() >= Duration::from_millis(250) * (events - 1),
        "{events} in {:?}",
        start.elapsed()
    );
}

#[test]
fn an_end_is_prompt_and_clean() {
    let mut daemon = Daemon::start(&[]);
    let mut listeners: Vec<Listener> = (0..50).map(|_| Listener::new(&daemon, None)).collect();
    for listener in &mut listeners {
        listener.event().unwrap();
    }
    let (status, took) = daemon.stop(&[nix::sys::signal::Signal::SIGTERM as i32]);
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    for mut listener in listeners {
        let mut rest = String::new();
        // The last chunk has come: the answer is whole.
        listener.0.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    }
}

/// The processor time of a process, in clock ticks.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn many_who_listen_cost_nothing_while_nothing_changes() {
    let daemon = Daemon::start(&[]);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", support::Truth { total: 1, ip: 1 });
    settle(&daemon);
    let mut listeners: Vec<Listener> = (0..800).map(|_| Listener::new(&daemon, None)).collect();
    for listener in &mut listeners {
        listener.event().unwrap();
    }
    let api = daemon.pids("api")[0];
    let (before, start) = (ticks(api), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    // Of processor time, not of the clock: a slow machine does not change it. A poll by each of them would
    // take many times that.
    let (used, elapsed) = (ticks(api) - before, start.elapsed());
    assert!(used as f64 / 100.0 < elapsed.as_secs_f64() * 0.1, "{used} ticks in {elapsed:?}");
    append(&daemon, "a.log", LINE.as_bytes());
    for listener in &mut listeners {
        listener.until(|event| event.data["requests"] == 2);
    }
}

/// Whoever listens is never closed for another one: as many as there may be connections left nobody else one.
#[test]
fn those_who_listen_leave_room_for_those_who_ask() {
    let daemon = Daemon::start(&["--connections-max", "16"]);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", support::Truth { total: 1, ip: 1 });
    let mut listeners: Vec<Listener> = (0..8).map(|_| Listener::new(&daemon, None)).collect();
    for _ in 0..20 {
        let (status, headers, body) = daemon.ask("GET", "/api/v1/events", &[]).unwrap();
        assert_eq!((status, headers.contains_key("retry-after")), (503, true), "{body}");
        assert!(body.contains("\"too-busy\"") && body.contains("listen"), "{body}");
    }
    assert_eq!(daemon.reported("a.log"), Some((1, 1)));
    // When one goes, which is noticed when it is told something, another one can listen.
    listeners.pop();
    let mut lines = 1;
    wait_until("there is a place again", || {
        append(&daemon, "a.log", LINE.as_bytes());
        lines += 1;
        let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        (&line == b"HTTP/1.1 200").then_some(())
    });
    listeners[0].until(|event| event.data["requests"].as_u64() >= Some(lines));
}
