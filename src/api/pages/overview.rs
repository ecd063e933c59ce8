//! The page at `/`: requests and distinct clients of today and of the last days, the days as charts, and what
//! is missing.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::chart::Chart;
use super::completeness::Progress;
use super::html::{noun, page, wants_json};
use super::notice;
use super::tile::Tile;
use crate::api::nouns::status;
use crate::api::problem::Problem;
use crate::api::state::{Api, Shared};
use crate::api::wire;
use crate::board::{DayRow, LogRow, LogState};
use crate::log::{Day, shown_to_people};
use crate::period::today;
use crate::show::thousands;
use crate::sys::clock::monotonic_ms;

/// The page shows so many days: the latest that have requests.
const DAYS_MAX: usize = 28;
/// The page lists so many logs with parts that are not counted.
const MISSING_MAX: usize = 10;
/// Bytes that wait for less than this have just come.
const BEHIND_MS: u64 = 2_000;
/// The page cuts the name of a log behind so many characters.
const NAME_MAX: usize = 80;

/// The view model of the page.
#[derive(Template)]
#[template(path = "overview.html", config = "src/api/pages/askama.toml")]
struct Overview {
    completeness: String,
    degraded: Vec<String>,
    tiles: Vec<Tile>,
    charts: Vec<Chart>,
    days: Vec<DayLine>,
    /// How many requests have no date, as a sentence; empty if none has.
    undated: String,
    missing: Vec<MissingLog>,
    /// How many more logs have parts that are not counted.
    missing_more: usize,
    /// How many entries of the folders are skipped, as a sentence; empty if none is.
    skipped: String,
}

/// A line in the table of days.
struct DayLine {
    day: String,
    requests: String,
    clients: String,
    state: &'static str,
}

/// A log of which some lines are not counted.
struct MissingLog {
    name: String,
    state: &'static str,
    reason: String,
}

/// `GET /`
pub(in crate::api) async fn overview(State(api): Shared, headers: HeaderMap) -> Response {
    if wants_json(&headers) {
        return notice::problem(
            Problem::not_found("this page is HTML for browsers; /docs has the paths that answer JSON"),
            &headers,
        );
    }
    match Overview::of(&api).await {
        Ok(overview) => page(StatusCode::OK, &overview),
        Err(problem) => notice::problem(problem, &headers),
    }
}

impl Overview {
    async fn of(api: &Api) -> Result<Overview, Problem> {
        let today = today();
        let (of_today, of_yesterday, of_week, of_month) = tokio::join!(
            Tile::of_word(api, "today", "Today", "today", today),
            Tile::of_word(api, "yesterday", "Yesterday", "yesterday", today),
            Tile::of_word(api, "last-7-days", "Last 7 days", "7d", today),
            Tile::of_word(api, "last-28-days", "Last 28 days", "28d", today),
        );
        let mut tiles = vec![of_today, of_yesterday, of_week, of_month];
        let sources = &api.sources;
        let rows = sources.board.days()?;
        let undated: u64 =
            rows.iter().filter(|row| row.day.is_none()).map(|row| row.totals.counts.requests()).sum();
        let days = latest(rows);
        // Old logs have nothing of the last 28 days: the page shows their latest days then.
        if let (Some((from, _)), Some((to, _)), false) =
            (days.first(), days.last(), tiles.iter().any(|tile| tile.has_requests))
        {
            tiles.push(Tile::of_dates(api, "latest-days", "Latest days with requests", *from, *to).await);
        }
        // Nothing waits from here on: a copy of all logs is large, and not many pages may hold one at once.
        let header = sources.board.header();
        let logs = sources.board.logs()?;
        let present: Vec<&LogRow> = logs.iter().filter(|log| log.state.is_present()).collect();
        let incomplete: Vec<&LogRow> = present.iter().copied().filter(|log| !log.complete).collect();
        let (missing, missing_more) = missing(&incomplete);
        let progress = Progress {
            scanned: header.scanned,
            unreadable_folders: header.troubled,
            logs: present.len() as u64,
            incomplete: incomplete.len() as u64,
            broken: (missing.len() + missing_more) as u64,
            pending_bytes: header.pending,
            unstored: header.unstored,
            ranges_complete: tiles.iter().all(|tile| tile.complete),
            is_behind: header.behind_since > 0
                && monotonic_ms().saturating_sub(header.behind_since) >= BEHIND_MS,
        };
        let as_of = tiles.iter().rev().find_map(|tile| tile.as_of.as_deref()).unwrap_or_default();
        let skipped =
            logs.iter().filter(|log| log.state == LogState::Skipped).count() as u64 + header.skipped_more;
        let chart = |title, things, number: fn(&DayRow) -> u64| {
            Chart::of(
                title,
                things,
                &days.iter().map(|(day, row)| (day.to_string(), number(row))).collect::<Vec<_>>(),
            )
        };
        let charts = [
            chart("Requests a day", ["request", "requests"], |row| row.totals.counts.requests()),
            chart("Distinct clients a day", ["client", "clients"], |row| row.totals.clients.all()),
        ];
        Ok(Overview {
            completeness: progress.sentence(&time_of(as_of, today)),
            degraded: status::degraded(sources, &header, &logs),
            charts: charts.into_iter().flatten().collect(),
            days: days.iter().rev().map(DayLine::of).collect(),
            tiles,
            missing,
            missing_more,
            undated: match undated {
                0 => String::new(),
                count => {
                    format!(
                        "{} {} no date, so the days above do not include {}.",
                        thousands(count),
                        noun(count, "request has", "requests have"),
                        noun(count, "it", "them")
                    )
                }
            },
            skipped: match skipped {
                0 => String::new(),
                count => format!(
                    "tallyd skips {} {} of the folders.",
                    thousands(count),
                    noun(count, "entry", "entries")
                ),
            },
        })
    }
}

impl DayLine {
    fn of((day, row): &(Day, DayRow)) -> DayLine {
        let state = match (row.complete, row.at_least) {
            (_, true) => "lower bound of clients: some were deleted",
            (true, false) => "complete",
            (false, false) => "not complete yet",
        };
        DayLine {
            day: day.to_string(),
            requests: thousands(row.totals.counts.requests()),
            clients: thousands(row.totals.clients.all()),
            state,
        }
    }
}

/// The latest days that have requests, ascending.
fn latest(rows: Vec<DayRow>) -> Vec<(Day, DayRow)> {
    let mut days: Vec<(Day, DayRow)> = rows
        .into_iter()
        .filter(|row| row.totals.counts.requests() > 0)
        .filter_map(|row| Some((row.day?, row)))
        .collect();
    days.sort_by_key(|(day, _)| *day);
    days.split_off(days.len().saturating_sub(DAYS_MAX))
}

/// The first logs whose reason is known, and how many more there are.
fn missing(incomplete: &[&LogRow]) -> (Vec<MissingLog>, usize) {
    let known = || incomplete.iter().filter_map(|log| Some((log, wire::reason(log.reason)?)));
    let mut first: Vec<_> = known().collect();
    first.sort_by_key(|(log, _)| &log.name);
    let more = first.len().saturating_sub(MISSING_MAX);
    let line = |(log, reason): (&&LogRow, String)| MissingLog {
        name: short(&shown_to_people(&log.name)),
        state: log.state.name(),
        reason,
    };
    (first.into_iter().take(MISSING_MAX).map(line).collect(), more)
}

/// The beginning of a long name.
fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{}…", name.split_at(end).0),
        None => name.to_owned(),
    }
}

/// The time of a moment in RFC 3339, with the date unless it is today.
fn time_of(moment: &str, today: Day) -> String {
    let (date, time) = moment.split_once('T').unwrap_or_default();
    let time = time.split_once('.').map_or(time, |(time, _)| time);
    if date == today.to_string() { format!("{time} UTC") } else { format!("{date} {time} UTC") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_today_is_a_time() {
        let today = Day::parse("2026-11-24").unwrap();
        assert_eq!(time_of("2026-11-24T22:10:20.676Z", today), "22:10:20 UTC");
        assert_eq!(time_of("2026-11-23T22:10:20.676Z", today), "2026-11-23 22:10:20 UTC");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(short("a.log"), "a.log");
        assert_eq!(short(&"ä".repeat(80)), "ä".repeat(80));
        assert_eq!(short(&"ä".repeat(81)), "ä".repeat(80) + "…");
    }
}
