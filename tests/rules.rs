//! The rules of counting as facts, of which the engine says the same as the plain program.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use support::engine::{RULES, fast, fed, feed, rules};
use tallyd::log::{Rule, day_of_name};
use tallyd::tally::plain::{self, PlainTally};
use tallyd::tally::{Counter, Totals, Usage};

const STAMP: &str = "[22/Mar/2021:06:25:24 +0100]";

/// A log has these numbers, by the engine whole, by the engine byte by byte, and by the plain program.
#[track_caller]
fn check(log: &[u8], rule: Rule, requests: u64, uniques: u64, malformed: u64, blank: u64) {
    let shown = log.escape_ascii();
    for totals in all_ways(log, rule) {
        let got =
            (totals.counts.requests(), totals.clients.all(), totals.counts.malformed, totals.counts.blank);
        assert_eq!(
            got,
            (requests, uniques, malformed, blank),
            "requests, uniques, malformed, blank of {shown}"
        );
        assert_eq!(totals.counts.lines(), blank + requests, "{shown}");
        assert_eq!(totals.counts.requests(), totals.counts.parsed + malformed, "{shown}");
    }
}

/// Likewise by both rules.
#[track_caller]
fn check_both(log: &[u8], requests: u64, uniques: u64, malformed: u64, blank: u64) {
    RULES.iter().for_each(|rule| check(log, *rule, requests, uniques, malformed, blank));
}

/// A log has these clients by the first-field rule, and these by the before-dashes rule.
#[track_caller]
fn check_clients(log: &[u8], first_field: &[&[u8]], before_dashes: &[&[u8]]) {
    for (rule, want) in RULES.into_iter().zip([first_field, before_dashes]) {
        for tally in [
            PlainTally::from(&fast(log, rule)),
            PlainTally::from(&fed(log, rule, &[1])),
            plain::tally(log, rules(rule)),
        ] {
            let got: BTreeSet<&[u8]> =
                tally.days.values().flat_map(|day| day.clients.keys()).map(Vec::as_slice).collect();
            assert_eq!(got, want.iter().copied().collect(), "{rule:?} of {}", log.escape_ascii());
        }
    }
}

/// A client is IPv4, IPv6 or neither.
#[track_caller]
fn check_kind(client: &str, ipv4: u64, ipv6: u64, other: u64) {
    for totals in all_ways(format!("{client} - - {STAMP}\n").as_bytes(), Rule::FirstField) {
        assert_eq!(
            (totals.clients.ipv4, totals.clients.ipv6, totals.clients.other),
            (ipv4, ipv6, other),
            "{client}"
        );
    }
}

/// A line is of this day and hour, or malformed.
#[track_caller]
fn check_time(line: &str, want: Option<(&str, usize)>) {
    for rule in RULES {
        let log = line.as_bytes();
        for tally in [
            PlainTally::from(&fast(log, rule)),
            PlainTally::from(&fed(log, rule, &[1])),
            plain::tally(log, rules(rule)),
        ] {
            let times: Vec<_> = tally
                .days
                .iter()
                .map(|(day, numbers)| {
                    (day.as_str(), numbers.counts.hours.iter().position(|count| *count == 1))
                })
                .collect();
            assert_eq!(times, [want.map_or(("", None), |(day, hour)| (day, Some(hour)))], "{line}");
        }
    }
}

/// On a day (an empty text: none) a client did this.
#[track_caller]
fn check_usage(log: &[u8], day: &str, client: &str, requests: u64, bytes: usize, hours: &[u32]) {
    let hours = hours.iter().fold(0, |mask, hour| mask | 1 << hour);
    let want = Usage { requests, bytes: bytes as u64, hours };
    for rule in RULES {
        let portable = feed(Counter::new(rules(rule)).portable(), log, &[usize::MAX]);
        let engines = [fast(log, rule), fed(log, rule, &[1]), fed(log, rule, &[70]), portable]
            .map(|tally| PlainTally::from(&tally));
        for tally in engines.into_iter().chain([plain::tally(log, rules(rule))]) {
            assert_eq!(
                tally.days[day].clients[client.as_bytes()],
                want,
                "{rule:?}, {client} on {day:?} of {}",
                log.escape_ascii()
            );
        }
    }
}

#[track_caller]
fn check_name(name: &str, want: Option<&str>) {
    assert_eq!(day_of_name(name.as_bytes()).map(|day| day.to_string()).as_deref(), want, "{name}");
}

fn all_ways(log: &[u8], rule: Rule) -> [Totals; 3] {
    [fast(log, rule).totals(), fed(log, rule, &[1]).totals(), plain::tally(log, rules(rule)).totals()]
}

#[test]
fn lines() {
    check_both(b"", 0, 0, 0, 0);
    // LF ends a line; no other byte does.
    check_both(b"a\nb\n", 2, 2, 2, 0);
    check_both(b"a\rb\n", 1, 1, 1, 0);
    check_both(b"a\0b\x0bc\x0cd\xc2\x85e\xe2\x80\xa8f\n", 1, 1, 1, 0);
    // CR before the LF is blank space like any other.
    check_both(b"\r\n", 0, 0, 0, 1);
    check(b"a\r\na\n", Rule::FirstField, 2, 1, 2, 0);
    check(b"a\r\na\n", Rule::BeforeDashes, 2, 2, 2, 0);
    // A byte order mark is skipped at the very start, nowhere else, and once.
    check(b"\xef\xbb\xbfa\na\n", Rule::FirstField, 2, 1, 2, 0);
    check_both(b"a\n\xef\xbb\xbfa\n", 2, 2, 2, 0);
    check_both(b"\xef\xbb\xbf\xef\xbb\xbfa\na\n", 2, 2, 2, 0);
    check_both(b"\xef\xbb\xbf", 0, 0, 0, 0);
    check_both(b"\xef\xbb\xbf\n", 0, 0, 0, 1);
    check_both(b"\xef\xbb", 1, 1, 1, 0);
    check_both(b"\xef\xbba\na\n", 2, 2, 2, 0);
    // Blank: nothing but ASCII white space.
    check_both(b"\n", 0, 0, 0, 1);
    check_both(b" \t\r\x0b\x0c\n", 0, 0, 0, 1);
    check_both(b"\0\n", 1, 1, 1, 0);
    check_both(b"\x1c\n", 1, 1, 1, 0);
    check_both(b"\xc2\xa0\n", 1, 1, 1, 0);
    check_both(b",\n", 1, 1, 1, 0);
    // A last line without LF counts.
    check_both(b"a\nb", 2, 2, 2, 0);
    check_both(b"a\n ", 1, 1, 1, 1);
    check_both(format!("1.2.3.4 - - {STAMP}").as_bytes(), 1, 1, 0, 0);
}

#[test]
fn clients_by_the_first_field_and_before_dashes() {
    let line = |client: &str| format!("{client} - - {STAMP} \"GET / HTTP/1.1\" 200 12\n").into_bytes();
    let same = |client: &str| check_clients(&line(client), &[client.as_bytes()], &[client.as_bytes()]);
    same("203.0.113.7");
    same("2001:db8::1");
    same("host.example");
    same("-");
    same("203.0.113.7:8080");
    // With a user, as a list, or plain: one client by the first field.
    let three =
        format!("203.0.113.7 - - {STAMP}\n203.0.113.7 - frank {STAMP}\n203.0.113.7, 10.0.0.1 - - {STAMP}\n");
    check(three.as_bytes(), Rule::FirstField, 3, 1, 0, 0);
    check_clients(
        three.as_bytes(),
        &[b"203.0.113.7"],
        &[b"203.0.113.7", format!("203.0.113.7 - frank {STAMP}").as_bytes()],
    );
    // Leading white space is skipped, or is not.
    check_clients(b" \t\r\x0b\x0ca b\n", &[b"a"], &[b" \t\r\x0b\x0ca b"]);
    check_clients(b"  - - x\n", &[b"-"], &[b" "]);
    // The first white space or comma ends it; the first comma alone.
    check_clients(b"a\tb\n", &[b"a"], &[b"a\tb"]);
    check_clients(b"a\x0bb\nc\x0cd\ne\rf\n", &[b"a", b"c", b"e"], &[b"a\x0bb", b"c\x0cd", b"e\rf"]);
    check_clients(b"a,b - -\n", &[b"a"], &[b"a"]);
    check_clients(b"a - -, b\n", &[b"a"], &[b"a"]);
    check_clients(b"a -, - b\n", &[b"a"], &[b"a -"]);
    // A client may be empty.
    check_clients(b", 10.0.0.1 - -\n", &[b""], &[b""]);
    check_clients(b" - - x\n", &[b"-"], &[b""]);
    check_both(b", a\n,b\n", 2, 1, 2, 0);
    // Without ` - -`: the whole line up to its first comma.
    check_clients(b"a b c, d\n", &[b"a"], &[b"a b c"]);
    check_clients(b"a --\n", &[b"a"], &[b"a --"]);
    check_clients(b"a - - -\n", &[b"a"], &[b"a"]);
    check_clients(b"a  - -\n", &[b"a"], &[b"a "]);
    check_clients(b"a -- -\n", &[b"a"], &[b"a -- -"]);
    // Compared as bytes, as logged.
    check_both(b"A - -\na - -\n", 2, 2, 2, 0);
    check_both(b"::1 - -\n0:0:0:0:0:0:0:1 - -\n2001:DB8::1 - -\n2001:db8::1 - -\n", 4, 4, 4, 0);
    check_both(b"1.2.3.4 - -\n01.2.3.4 - -\n1.2.3.4. - -\n1.2.3.4x - -\n", 4, 4, 4, 0);
    check_clients(b"\xff\0\xfe - -\n", &[b"\xff\0\xfe"], &[b"\xff\0\xfe"]);
    // Only the first 1,024 bytes count.
    for (bytes, uniques) in [(1022, 2), (1023, 2), (1024, 1), (1025, 1), (5000, 1)] {
        let long = "x".repeat(bytes);
        check_both(format!("{long}a - -\n{long}b - -\n").as_bytes(), 2, uniques, 2, 0);
    }
    check_clients(&[b'x'; 2000], &[&[b'x'; 1024]], &[&[b'x'; 1024]]);
    check_clients(format!("{} - -", "x".repeat(1024)).as_bytes(), &[&[b'x'; 1024]], &[&[b'x'; 1024]]);
    // The debris of a torn line is a client like any other.
    check_clients(
        b".113.7 - - [22/Mar\n1.1\" 200 12\n",
        &[b".113.7", b"1.1\""],
        &[b".113.7", b"1.1\" 200 12"],
    );
}

#[test]
fn clients_are_split_by_kind() {
    for client in ["0.0.0.0", "1.2.3.4", "10.20.130.240", "255.255.255.255"] {
        check_kind(client, 1, 0, 0);
    }
    for client in [
        "::",
        "::1",
        "2001:db8::1",
        "2001:DB8:0:0:0:0:0:1",
        "::ffff:1.2.3.4",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
    ] {
        check_kind(client, 0, 1, 0);
    }
    for client in [
        "-",
        "host",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.4:80",
        "fe80::1%eth0",
        "[::1]",
        "::1/64",
        "12345::",
        "1::2::3",
    ] {
        check_kind(client, 0, 0, 1);
    }
}

#[test]
fn uniques_are_exact() {
    let log: String = (0..30_000u32)
        .map(|at| format!("10.{}.{}.{} - - {STAMP}\n", at % 3, at / 250 % 250, at % 250))
        .collect();
    let want =
        (0..30_000u32).map(|at| (at % 3, at / 250 % 250, at % 250)).collect::<BTreeSet<_>>().len() as u64;
    check_both(log.as_bytes(), 30_000, want, 0, 0);
    let log: String = (0..3_000).map(|at| format!("host-{}.example - - {STAMP}\n", at % 1_234)).collect();
    check_both(log.as_bytes(), 3_000, 1_234, 0, 0);
}

#[test]
fn days_and_hours() {
    check_time("a - - [22/Mar/2021:06:25:24 +0100] x", Some(("2021-03-22", 6)));
    // As written: no time zone is applied.
    check_time("a - - [22/Mar/2021:00:00:00 +1200]", Some(("2021-03-22", 0)));
    check_time("a - - [22/Mar/2021:23:59:59 -1200]", Some(("2021-03-22", 23)));
    check_time("a - - [22/Mar/2021:23:59:59 +9999]", Some(("2021-03-22", 23)));
    // Anywhere in the line, with any words before it, and the first that is real.
    check_time("[22/Mar/2021:06:25:24 +0100]", Some(("2021-03-22", 6)));
    check_time("[[22/Mar/2021:06:25:24 +0100]", Some(("2021-03-22", 6)));
    check_time(
        "a [x] [30/Feb/2021:06:25:24 +0100] [01/Mar/2021:07:00:00 +0000] [02/Mar/2021:08:00:00 +0000]",
        Some(("2021-03-01", 7)),
    );
    check_time("a - frank [22/Mar/2021:06:25:24 +0100]", Some(("2021-03-22", 6)));
    // Real dates of the years 0001 to 9999, real times.
    check_time("a [01/Jan/0001:00:00:00 +0000]", Some(("0001-01-01", 0)));
    check_time("a [31/Dec/9999:23:59:60 +0000]", Some(("9999-12-31", 23)));
    check_time("a [29/Feb/2020:06:25:24 +0100]", Some(("2020-02-29", 6)));
    check_time("a [29/Feb/2000:06:25:24 +0100]", Some(("2000-02-29", 6)));
    for stamp in [
        "[22/Mar/0000:06:25:24 +0100]",
        "[00/Mar/2021:06:25:24 +0100]",
        "[32/Mar/2021:06:25:24 +0100]",
        "[31/Apr/2021:06:25:24 +0100]",
        "[29/Feb/2021:06:25:24 +0100]",
        "[29/Feb/1900:06:25:24 +0100]",
        "[22/Mar/2021:24:25:24 +0100]",
        "[22/Mar/2021:06:60:24 +0100]",
        "[22/Mar/2021:06:25:61 +0100]",
        "[22/Mar/2021:06:25:24 01000]",
        "[22/Mar/2021:06:25:24 +01:00]",
        "[22/Mar/2021:06:25:24 +010]",
        "[22/Mar/2021:06:25:24 +0100",
        "[22/Mar/2021:06:25:24]",
        "[22/mar/2021:06:25:24 +0100]",
        "[22/M\u{e4}r/2021:06:25:24 +0100]",
        "[22/03/2021:06:25:24 +0100]",
        "[2/Mar/2021:06:25:24 +0100]",
        "22/Mar/2021:06:25:24 +0100]",
        "(22/Mar/2021:06:25:24 +0100)",
    ] {
        check_time(&format!("a - - {stamp} x"), None);
    }
    // A malformed request counts as a request, and its first field as a client.
    check_both(b"1.2.3.4 - - [nonsense\n", 1, 1, 1, 0);
    check_both(format!("1.2.3.4 - - {STAMP}\n1.2.3.4 - - x\n").as_bytes(), 2, 1, 1, 0);
}

#[test]
fn a_line_like_the_one_before_counts_by_what_it_says() {
    let first = format!("1.2.3.4 - - {STAMP} \"GET / HTTP/1.1\" 200 12\n");
    for (line, uniques, malformed) in [
        ("1.2.3.5 - - [22/Mar/2021:07:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 2, 0),
        ("1.2.3.4 - - [22/Mar/2021:24:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 1, 1),
        ("1.2.3.4 - - [22/Mar/2021:06:60:24 +0100] \"GET / HTTP/1.1\" 200 12", 1, 1),
        ("1.2.3.4 - - [22/Mar/2021:06:25:61 +0100] \"GET / HTTP/1.1\" 200 12", 1, 1),
        ("1.2.3.4 - - [22/Mar/2021:06:25:24 ,0100] \"GET / HTTP/1.1\" 200 12", 1, 1),
        ("1.2.3.4 - - [22/Mar/2021:06:25:24 +0100) \"GET / HTTP/1.1\" 200 12", 1, 1),
        ("1.2.3.4 - - [23/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 1, 0),
        ("1.2.3.4 - - [32/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 1, 1),
        ("1.2.3.04 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 2, 0),
        ("1.2.3.256 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 2, 0),
        ("1.2.3.4.5 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12", 2, 0),
        ("255.255.255.255 - - [22/Mar/2021:06:25:24 +0100]", 2, 0),
        ("255.255.255.2555 - - [22/Mar/2021:06:25:24 +0100]", 2, 0),
        ("1.2.3.4 - - [22/Mar/2021:06:25:24 +0100]", 1, 0),
        ("1.2.3.4 - - [22/Mar/2021:06:25:24 +010", 1, 1),
        ("1.2.3.4 - - [22/Mar/2021", 1, 1),
        ("1.2.3.4", 1, 1),
    ] {
        // Last in the log and not, so that what follows the line can be looked at by mistake.
        check_both(format!("{first}{line}\n").as_bytes(), 2, uniques, malformed, 0);
        check_both(format!("{first}{line}\n{}", first.repeat(3)).as_bytes(), 5, uniques, malformed, 0);
    }
}

#[test]
fn the_day_of_a_name() {
    check_name("20210322.log", Some("2021-03-22"));
    check_name("access-2021-03-22.log", Some("2021-03-22"));
    check_name("access.log-20210322.gz", Some("2021-03-22"));
    check_name("access.log", None);
    // The first real date, not inside more digits, in one of two spellings.
    check_name("20210230-20210322", Some("2021-03-22"));
    check_name("20210322-20210323", Some("2021-03-22"));
    check_name("120210322.log", None);
    check_name("202103220.log", None);
    check_name("2021-0322.log", None);
    check_name("2021_03_22.log", None);
    check_name("00000322.log", None);
}

#[test]
fn what_is_reported() {
    let log = format!(
        "a - - {STAMP}\r\nb - - [23/Mar/2021:07:00:00 +0000]\n\r\n\nc x\na - - [23/Mar/2021:07:00:00 +0000]"
    );
    for totals in all_ways(log.as_bytes(), Rule::FirstField) {
        // The clients of several days are united, not added up.
        assert_eq!(
            (
                totals.counts.requests(),
                totals.counts.parsed,
                totals.counts.malformed,
                totals.counts.blank,
                totals.clients.all()
            ),
            (4, 3, 1, 2, 3)
        );
        // The length of the lines with their LF, where they have one.
        assert_eq!(totals.counts.log_bytes, log.len() as u64);
        assert_eq!(
            (totals.counts.hours[6], totals.counts.hours[7], totals.counts.hours.iter().sum::<u64>()),
            (1, 2, 3)
        );
    }
    // A byte order mark is no part of a line.
    assert_eq!(fast(b"\xef\xbb\xbfa\n", Rule::FirstField).totals().counts.log_bytes, 2);
    // Each day has its own clients.
    let days = PlainTally::from(&fast(log.as_bytes(), Rule::FirstField)).days;
    let clients = |day: &str| {
        days[day].clients.keys().map(|client| client.escape_ascii().to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!(
        (clients("2021-03-22"), clients("2021-03-23"), clients("")),
        (
            ["a"].map(str::to_owned).into(),
            ["a", "b"].map(str::to_owned).into(),
            ["c"].map(str::to_owned).into()
        )
    );
}

#[test]
fn what_a_client_did() {
    let at = |client: &str, day: u32, hour: u32| {
        format!("{client} - - [{day}/Mar/2021:{hour:02}:00:00 +0000] x\n")
    };
    for client in ["1.2.3.4", "host-77", "fe80::1", "0.0.0.0", "x"] {
        // Each day for itself, each hour once, the lines with their LF.
        let lines = [(22, 0), (22, 23), (22, 0), (23, 7)].map(|(day, hour)| at(client, day, hour)).concat();
        let other = at("9.9.9.9", 22, 5) + &at("other", 22, 5) + "\n";
        let log = [lines.as_str(), &other, &lines, "\n"].concat();
        let length = at(client, 22, 0).len();
        check_usage(log.as_bytes(), "2021-03-22", client, 6, length * 6, &[0, 23]);
        check_usage(log.as_bytes(), "2021-03-23", client, 2, length * 2, &[7]);
        check_usage(log.as_bytes(), "2021-03-22", "other", 1, at("other", 22, 5).len(), &[5]);
        // CR is part of a line, and an unterminated line has no LF.
        let log =
            [&at(client, 22, 5), client, &at("", 22, 6).replace('\n', "\r\n"), at(client, 22, 7).trim_end()]
                .concat();
        check_usage(log.as_bytes(), "2021-03-22", client, 3, log.len(), &[5, 6, 7]);
        // Without a time stamp there is no hour.
        let log = format!("{client} - -\n{client} - - [22/Mar/2021:24:00:00 +0000]\n{client} - -");
        check_usage(log.as_bytes(), "", client, 3, log.len(), &[]);
    }
    // More than are put into the tables at once, with lines of every length.
    let lines: Vec<String> = (0..5_000u32)
        .map(|step| at("1.2.3.4", 22, step % 24).replace('x', &"x".repeat(step as usize % 300)))
        .collect();
    let log = lines.concat();
    check_usage(log.as_bytes(), "2021-03-22", "1.2.3.4", 5_000, log.len(), &Vec::from_iter(0..24));
    check_usage(
        log.replace("1.2.3.4", "host").as_bytes(),
        "2021-03-22",
        "host",
        5_000,
        log.len() - 3 * 5_000,
        &Vec::from_iter(0..24),
    );
}

/// The samples that come with the program: what the README promises of them.
#[test]
fn the_samples() {
    fn check_sample(
        name: &str,
        rule: Rule,
        [requests, uniques, malformed, blank]: [u64; 4],
        [ipv4, ipv6, other, bytes]: [u64; 4],
    ) {
        let log = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("files").join(name)).unwrap();
        check(&log, rule, requests, uniques, malformed, blank);
        for totals in all_ways(&log, rule) {
            assert_eq!(
                (totals.clients.ipv4, totals.clients.ipv6, totals.clients.other, totals.counts.log_bytes),
                (ipv4, ipv6, other, bytes),
                "{name}"
            );
        }
    }
    check_sample("20210322.log", Rule::FirstField, [401, 61, 1, 2], [57, 3, 1, 58_917]);
    check_sample("20210323.log", Rule::FirstField, [301, 48, 1, 0], [43, 4, 1, 43_684]);
    check_sample("access-2021-03-24.log", Rule::FirstField, [250, 40, 0, 0], [39, 1, 0, 36_901]);
    check_sample("20210322.log", Rule::BeforeDashes, [401, 72, 1, 2], [57, 3, 12, 58_917]);
    check_sample("20210323.log", Rule::BeforeDashes, [301, 56, 1, 0], [43, 4, 9, 43_684]);
    check_sample("access-2021-03-24.log", Rule::BeforeDashes, [250, 45, 0, 0], [39, 1, 5, 36_901]);
}
