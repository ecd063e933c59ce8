//! Days in words, such as `today` or `7d`: always in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::log::Day;
use crate::store::{day_of, later};

/// More of the last days than this are not asked for: a hundred years.
const LAST_MAX: i32 = 36_500;

/// Days without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) first: Day,
    pub(super) last: Day,
}

impl Period {
    /// The days that a date or a word names, given the day it is now.
    pub(super) fn parse(text: &str, today: Day) -> Option<Period> {
        let one = |day| Period { first: day, last: day };
        match text {
            "today" => Some(one(today)),
            "yesterday" => later(today, -1).map(one),
            "month" => {
                let (year, month) = (today.number() / 10_000, today.number() / 100 % 100);
                let last = (28..=31).rev().find_map(|day| Day::new(year, month, day))?;
                Some(Period { first: Day::new(year, month, 1)?, last })
            }
            _ => match text.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit())) {
                Some(days) => {
                    let days = days.parse().ok().filter(|days| (1..=LAST_MAX).contains(days))?;
                    Some(Period { first: later(today, 1 - days)?, last: today })
                }
                None => Day::parse(text).map(one),
            },
        }
    }
}

/// The day it is now, in UTC.
pub(super) fn today() -> Day {
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
        assert_eq!(got.as_ref().map(|(first, last)| (first.as_str(), last.as_str())), want, "{text} on {today}");
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
        for text in ["", "d", "0d", "-1d", "+1d", "36501d", "7", "7days", "Today", "tomorrow", "last month", "2021-02-30", "99999999999d"] {
            check(text, "2021-03-22", None);
        }
    }
}
