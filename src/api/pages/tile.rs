//! A tile of the overview: the requests and the distinct clients of some days, as `/api/v1/range` counts
//! them.

use std::time::Duration;

use super::html::noun;
use crate::api::nouns::days::range_of;
use crate::api::ranges::Days;
use crate::api::state::Api;
use crate::api::wire;
use crate::log::Day;
use crate::period::Period;
use crate::show::thousands;

/// The maximum time that a tile waits for the store. A page that is a second old is better than one that
/// comes late: it says that it is not complete.
const STORE_WAIT: Duration = Duration::from_millis(200);

/// A tile.
pub(super) struct Tile {
    /// The name of the tile in the page.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// The request to the API that has these numbers.
    pub(super) link: String,
    /// None if the numbers are not available now.
    pub(super) numbers: Option<Shown>,
    /// What limits these numbers; empty if nothing does.
    pub(super) note: String,
    /// Are all requests of these days in the numbers?
    pub(super) complete: bool,
    /// Are there any requests?
    pub(super) has_requests: bool,
    /// The moment of the numbers, in RFC 3339.
    pub(super) as_of: Option<String>,
}

/// Numbers with separators, and the nouns behind them.
pub(super) struct Shown {
    pub(super) requests: String,
    pub(super) word: &'static str,
    pub(super) clients: String,
    pub(super) clients_word: &'static str,
}

impl Tile {
    /// The tile of a period that the API has a word for, such as `7d`.
    pub(super) async fn of_word(api: &Api, id: &'static str, title: &str, word: &str, today: Day) -> Tile {
        let period = Period::parse(word, today);
        let days = Days { from: period.map(|period| period.first), to: period.map(|period| period.last) };
        Tile::of_days(api, id, title.to_owned(), format!("/api/v1/range?from={word}&to={word}"), days).await
    }

    /// The tile from one day to another.
    pub(super) async fn of_dates(api: &Api, id: &'static str, title: &str, from: Day, to: Day) -> Tile {
        let link = format!("/api/v1/range?from={from}&to={to}");
        Tile::of_days(
            api,
            id,
            format!("{title}: {from} to {to}"),
            link,
            Days { from: Some(from), to: Some(to) },
        )
        .await
    }

    async fn of_days(api: &Api, id: &'static str, title: String, link: String, days: Days) -> Tile {
        match range_of(api, days, STORE_WAIT).await {
            Ok((range, _)) => Tile {
                id,
                title,
                link,
                note: note(&range),
                complete: range.complete,
                has_requests: range.numbers.requests > 0,
                numbers: Some(Shown {
                    requests: thousands(range.numbers.requests),
                    word: noun(range.numbers.requests, "request", "requests"),
                    clients: thousands(range.numbers.unique_ips),
                    clients_word: noun(range.numbers.unique_ips, "distinct client", "distinct clients"),
                }),
                as_of: Some(range.as_of),
            },
            Err(why) => Tile {
                id,
                title,
                link,
                numbers: None,
                note: format!("not available now: {why}"),
                complete: false,
                has_requests: false,
                as_of: None,
            },
        }
    }
}

fn note(range: &wire::Range) -> String {
    let notes = [
        (!range.complete && !range.unique_ips_at_least).then_some("not complete yet"),
        range
            .unique_ips_at_least
            .then_some("the number of clients is a lower bound: some were deleted (retention_days)"),
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
