//! Days in words, such as `today`, `7d` or `2021-03`. Words that depend on the date use UTC.
//!
//! Queries of the API and `tallyd report` read the same words.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::log::Day;
use crate::store::{day_of, later};

/// Largest number of days in `Nd`: a hundred years.
const LAST_MAX: i32 = 36_500;

/// A run of days without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub first: Day,
    /// The last day; the same as `first` for a single day.
    pub last: Day,
}

impl Period {
    /// Parses a date, a month or a word for days; words are relative to `today`.
    pub fn parse(text: &str, today: Day) -> Option<Period> {
        let one = |day| Period { first: day, last: day };
        match text {
            "today" => Some(one(today)),
            "yesterday" => later(today, -1).map(one),
            "month" => Period::of_month(today),
            _ => match text.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit())) {
                Some(days) => {
                    let days = days.parse().ok().filter(|days| (1..=LAST_MAX).contains(days))?;
                    Some(Period { first: later(today, 1 - days)?, last: today })
                }
                None => {
                    Day::parse(text).map(one).or_else(|| Period::of_month(Day::parse(&format!("{text}-01"))?))
                }
            },
        }
    }

    /// The calendar month that contains `day`.
    fn of_month(day: Day) -> Option<Period> {
        let (year, month) = (day.number() / 10_000, day.number() / 100 % 100);
        let last = (28..=31).rev().find_map(|day| Day::new(year, month, day))?;
        Some(Period { first: Day::new(year, month, 1)?, last })
    }
}

/// The current day in UTC.
pub fn today() -> Day {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    // A clock after the year 9999 is as wrong as one before 1970.
    day_of(now).or_else(|| day_of(0)).expect("1970 has days")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, today: &str, want: Option<(&str, &str)>) {
        let period = Period::parse(text, Day::parse(today).unwrap());
        let got = period.map(|Period { first, last }| (first.to_string(), last.to_string()));
        assert_eq!(
            got.as_ref().map(|(first, last)| (first.as_str(), last.as_str())),
            want,
            "{text} on {today}"
        );
    }

    #[test]
    fn words_name_days() {
        check("2021-03-22", "2024-01-01", Some(("2021-03-22", "2021-03-22")));
        check("today", "2021-03-22", Some(("2021-03-22", "2021-03-22")));
        check("yesterday", "2021-03-01", Some(("2021-02-28", "2021-02-28")));
        check("1d", "2021-03-22", Some(("2021-03-22", "2021-03-22")));
        check("7d", "2021-01-03", Some(("2020-12-28", "2021-01-03")));
        check("36500d", "2021-01-01", Some(("1921-01-27", "2021-01-01")));
        check("month", "2020-02-10", Some(("2020-02-01", "2020-02-29")));
        check("month", "2021-12-31", Some(("2021-12-01", "2021-12-31")));
        check("2021-03", "2024-01-01", Some(("2021-03-01", "2021-03-31")));
        check("2024-02", "2021-01-01", Some(("2024-02-01", "2024-02-29")));
        for text in [
            "",
            "d",
            "0d",
            "-1d",
            "+1d",
            "36501d",
            "7",
            "7days",
            "Today",
            "tomorrow",
            "last month",
            "2021-02-30",
            "99999999999d",
        ] {
            check(text, "2021-03-22", None);
        }
        for text in ["2021-13", "2021-00", "2021", "2021-3", "21-03", "2021-03-", "2021-03-22-01"] {
            check(text, "2021-03-22", None);
        }
    }
}
