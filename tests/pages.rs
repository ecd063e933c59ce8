//! The pages for browsers, on the real binary: the numbers are those of the API, and names from logs are
//! text.

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::{Daemon, Folder, wait_until};

const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8");
const READ: &str = "Eephaim2oSei8xoo6aLahngoo4Quuz7i";
/// No page is larger, as it is before it is packed.
const BYTES_MAX: usize = 20_000;

/// A page as a browser gets it.
fn page(daemon: &Daemon, path: &str) -> String {
    let (status, headers, page) = wait_until(path, || daemon.ask("GET", path, &[BROWSER]));
    assert_eq!(status, 200, "{path}: {page}");
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    page
}

/// So many requests of the first clients, on a day as a log writes it.
fn lines(day: &str, requests: usize, clients: usize) -> String {
    (0..requests)
        .map(|at| {
            format!(
                "10.0.{}.{} - - [{day}:06:25:24 +0000] \"GET / HTTP/1.1\" 200 5\n",
                at % clients / 256,
                at % clients % 256
            )
        })
        .collect()
}

/// The day so many days ago, in UTC, as a log writes it.
fn days_ago(days: u32) -> String {
    let output = Command::new("date")
        .args(["-u", "-d", &format!("{days} days ago"), "+%d/%b/%Y"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A daemon over these logs, all counted and stored.
fn over(folder: Folder, logs: &[(&str, String)], variables: &[(&str, &str)]) -> Daemon {
    fs::create_dir_all(folder.join("logs")).unwrap();
    for (name, content) in logs {
        fs::write(folder.join("logs").join(name), content).unwrap();
    }
    Daemon::start_in(folder, &[], variables)
}

fn wait_counted(daemon: &Daemon, logs: usize) {
    wait_until("all is counted and stored", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0 && status["unstored_files"] == 0 && status["logs"] == logs)
            .then_some(())
    });
}

/// The part of a page between two texts.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("there is no {from} in {page}"));
    rest.split_once(to).unwrap_or_else(|| panic!("there is no {to} in {rest}")).0
}

/// A number with its separators.
fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// The requests and the distinct clients of a tile.
fn tile(page: &str, id: &str) -> (u64, u64) {
    let tile = between(page, &format!("<li id=\"{id}\">"), "</li>");
    let numbers: Vec<u64> =
        tile.split("<b>").skip(1).map(|rest| number(rest.split("</b>").next().unwrap())).collect();
    (numbers[0], numbers[1])
}

fn numbers(range: &Value) -> (u64, u64) {
    (range["requests"].as_u64().unwrap(), range["unique_ips"].as_u64().unwrap())
}

#[test]
fn the_tiles_are_what_the_ranges_of_the_api_say() {
    let logs = [
        ("today.log", 0, 1_500),
        ("yesterday.log", 1, 300),
        ("week.log", 6, 40),
        ("month.log", 20, 2_000),
        ("old.log", 60, 7),
    ];
    let logs = logs.map(|(name, days, requests)| (name, lines(&days_ago(days), requests, requests / 2 + 1)));
    let daemon = over(Folder::new(), &logs, &[]);
    wait_counted(&daemon, 5);
    // At midnight, the two may be of different days.
    wait_until("the page and the api agree", || {
        let page = page(&daemon, "/");
        let tiles =
            [("today", "today"), ("yesterday", "yesterday"), ("last-7-days", "7d"), ("last-28-days", "28d")];
        let same = tiles.iter().all(|(id, word)| {
            tile(&page, id) == numbers(&daemon.get(&format!("/api/v1/range?from={word}&to={word}")))
        });
        (same && page.contains("complete: all 5 logs are counted, as of ") && !page.contains("not complete"))
            .then_some(())
    });
    let page = page(&daemon, "/");
    assert!(
        tile(&page, "last-28-days").0 > tile(&page, "last-7-days").0
            && tile(&page, "last-7-days").0 > tile(&page, "today").0,
        "{page}"
    );
    assert!(
        !page.contains("id=\"latest-days\"")
            && !page.contains("id=\"degraded\"")
            && !page.contains("id=\"missing\""),
        "{page}"
    );
    assert!(page.contains("<b>1,500</b> requests"), "{page}");
    for link in ["/docs", "/openapi.json", "/metrics", "/api/v1/status"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
    }
    // Each link of the page leads somewhere.
    for link in page
        .split("href=\"/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
    {
        assert_eq!(daemon.ask("GET", &format!("/{link}"), &[]).unwrap().0, 200, "{link}");
    }
}

/// Nothing of the last 28 days: the page was zeros only.
#[test]
fn old_logs_have_a_page_too() {
    let days: Vec<String> =
        (1..=31).filter(|day| *day != 13).map(|day| format!("{day:02}/Mar/2021")).collect();
    let content = days.iter().enumerate().map(|(at, day)| lines(day, 10 + at * 7 % 90, 5 + at)).collect();
    let daemon = over(Folder::new(), &[("old.log", content)], &[]);
    wait_counted(&daemon, 1);
    let page = page(&daemon, "/");
    assert_eq!(tile(&page, "last-28-days"), (0, 0));
    assert_eq!(
        tile(&page, "latest-days"),
        numbers(&daemon.get("/api/v1/range?from=2021-03-03&to=2021-03-31"))
    );
    assert!(page.contains("complete: the only log is counted"), "{page}");
    // The charts and their twin have the latest 28 days that have requests.
    let charts: Vec<&str> =
        page.split("<svg").skip(1).map(|rest| rest.split_once("</svg>").unwrap().0).collect();
    assert_eq!(charts.iter().map(|chart| chart.matches("<rect").count()).collect::<Vec<_>>(), [28, 28]);
    let table = between(&page, "<tbody>", "</tbody>");
    assert_eq!(table.matches("<tr>").count(), 28);
    let days = daemon.get("/api/v1/days");
    for day in days["days"].as_array().unwrap().iter().skip(2) {
        let row = between(
            table,
            &format!(">{}</a></td><td class=\"number\">", day["day"].as_str().unwrap()),
            "</tr>",
        );
        let cells: Vec<u64> = row
            .split("</td><td class=\"number\">")
            .map(|cell| number(cell.split('<').next().unwrap()))
            .collect();
        assert_eq!((cells[0], cells[1]), numbers(day), "{row}");
    }
    assert!(
        page.contains("28 days with requests, 2021-03-03 to 2021-03-31: most requests on 2021-03-"),
        "{page}"
    );
}

#[test]
fn without_logs_the_page_says_so() {
    let daemon = Daemon::start(&[]);
    let page = wait_until("the folder is scanned", || {
        Some(page(&daemon, "/")).filter(|page| !page.contains("not complete"))
    });
    assert!(
        page.contains("complete: the folders have no log")
            && page.contains("No request with a date is counted yet"),
        "{page}"
    );
    assert!(!page.contains("<svg"), "{page}");
}

/// Who names a log is not a friend.
#[test]
fn names_of_logs_are_text_and_the_page_stays_small() {
    let names = [
        "\"><script>alert(1)<.gz",
        "<img src=x onerror=alert(1)>.gz",
        "'&amp;\u{202e}gol.gz",
        "new\nline\u{1b}[31m.gz",
    ];
    let long = (0..10).map(|at| format!("a{at}{}.gz", "<\"&".repeat(80)));
    let names: Vec<String> = names.into_iter().map(str::to_owned).chain(long).collect();
    let mut logs: Vec<(&str, String)> =
        names.iter().map(|name| (name.as_str(), "\u{1f}broken".to_owned())).collect();
    let content: String = (1..=28).map(|day| lines(&format!("{day:02}/Mar/2021"), 1_234, 1_000)).collect();
    logs.push(("good.log", content));
    let daemon = over(Folder::new(), &[], &[]);
    for (name, content) in &logs {
        let bytes = if *name == "good.log" {
            content.clone().into_bytes()
        } else {
            b"\x1f\x8b\x08\x00broken, and no gzip".to_vec()
        };
        fs::write(daemon.log(name), bytes).unwrap();
    }
    let page = wait_until("the broken logs are listed", || {
        let page = page(&daemon, "/");
        (page.contains("And 4 more") && page.contains(">2021-03-28</a>")).then_some(page)
    });
    assert!(page.len() < BYTES_MAX, "{} bytes", page.len());
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{1b}'), "{page}");
    assert!(page.contains("&#34;&#62;&#60;script&#62;alert(1)&#60;.gz"), "{page}");
    assert!(page.contains("not complete: "), "{page}");
    // No name leaves its cell, in whichever direction it is written.
    let rows = between(&page, "<section id=\"missing\">", "</section>");
    assert_eq!((rows.matches("<bdi>").count(), rows.matches("</bdi></td>").count()), (10, 10), "{rows}");
}

#[test]
fn pages_load_nothing_but_the_stylesheet() {
    let daemon = over(Folder::new(), &[("old.log", lines("22/Mar/2021", 30, 3))], &[]);
    wait_counted(&daemon, 1);
    for path in ["/", "/docs", "/nothing"] {
        let (_, headers, page) = daemon.ask("GET", path, &[BROWSER]).unwrap();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self' data:",
            "script-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{path}: {policy} has no {part}");
        }
        assert_eq!(
            (&headers["cache-control"], &headers["x-content-type-options"]),
            (&"private, no-cache".parse().unwrap(), &"nosniff".parse().unwrap())
        );
        for word in ["<script", "<style", "style=", "src=", "http://", "https://", "url(", " on"] {
            assert!(
                !page
                    .split('<')
                    .any(|tag| tag.split('>').next().is_some_and(|tag| format!("<{tag}").contains(word))),
                "{path} has {word}"
            );
        }
        assert_eq!(page.matches("rel=\"stylesheet\" href=\"/style.css\"").count(), 1, "{path}");
    }
    let (status, headers, style) = daemon.ask("GET", "/style.css", &[]).unwrap();
    assert_eq!((status, &headers["content-type"]), (200, &"text/css; charset=utf-8".parse().unwrap()));
    assert!(
        style.contains("prefers-color-scheme: dark") && !style.contains("url(") && !style.contains("@import"),
        "{style}"
    );
    let tag = headers["etag"].to_str().unwrap();
    assert_eq!(daemon.ask("GET", "/style.css", &[("if-none-match", tag)]).unwrap().0, 304);
}

#[test]
fn a_wrong_path_is_a_page_for_browsers_and_a_problem_for_programs() {
    let daemon = Daemon::start(&[]);
    for path in ["/nothing", "/api/v2", "/index.html?q=<script>alert(1)</script>"] {
        let (status, headers, page) =
            daemon.ask("GET", &path.replace('<', "%3C").replace('>', "%3E"), &[BROWSER]).unwrap();
        assert_eq!(
            (status, headers["content-type"].to_str().unwrap()),
            (404, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(
            page.contains("href=\"/\"") && page.contains("href=\"/docs\"") && !page.contains("alert"),
            "{page}"
        );
        for accept in ["*/*", "application/json", "text/csv"] {
            let (status, headers, problem) = daemon.ask("GET", "/nothing", &[("accept", accept)]).unwrap();
            assert_eq!(
                (status, headers["content-type"].to_str().unwrap()),
                (404, "application/problem+json"),
                "{accept}"
            );
            assert!(problem.contains("\"code\":\"not-found\""), "{problem}");
        }
    }
    // The page itself is for all who do not ask for JSON.
    for (accept, status, kind) in
        [("*/*", 200, "text/html; charset=utf-8"), ("application/json", 404, "application/problem+json")]
    {
        let answer = daemon.ask("GET", "/", &[("accept", accept)]).unwrap();
        assert_eq!((answer.0, answer.1["content-type"].to_str().unwrap()), (status, kind), "{accept}");
    }
    assert_eq!(daemon.ask("POST", "/", &[BROWSER]).unwrap().0, 405);
}

#[test]
fn with_a_read_token_the_page_needs_a_login() {
    let daemon =
        over(Folder::new(), &[("old.log", lines("22/Mar/2021", 30, 3))], &[("TALLYD_READ_TOKEN", READ)]);
    let (status, headers, page) = daemon.ask("GET", "/", &[BROWSER]).unwrap();
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (401, "text/html; charset=utf-8"));
    assert!(page.contains("A token is needed") && !page.contains("tile"), "{page}");
    assert!(
        headers
            .get_all("www-authenticate")
            .iter()
            .any(|way| way.to_str().unwrap().starts_with("Basic realm=\"tallyd\""))
    );
    // The user is `jane`.
    let login = ("authorization", "Basic amFuZTpFZXBoYWltMm9TZWk4eG9vNmFMYWhuZ29vNFF1dXo3aQ==");
    wait_until("the page has the log", || {
        let (status, _, page) = daemon.ask("GET", "/", &[BROWSER, login])?;
        (status == 200
            && page.contains("complete: the only log is counted")
            && tile(&page, "latest-days") == (30, 3))
            .then_some(())
    });
    let (_, _, docs) = daemon.ask("GET", "/docs", &[BROWSER, login]).unwrap();
    assert!(
        docs.contains("Reading needs a token.")
            && docs.contains("are refused: no admin token is set")
            && docs.contains("Bearer $TOKEN"),
        "{docs}"
    );
}
