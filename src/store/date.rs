//! Days as Parquet counts them: from 1970-01-01 on, in the Gregorian calendar. And moments, for people.

use crate::log::Day;

/// From 0000-03-01, where years of this reckoning start, to 1970-01-01.
const EPOCH: i32 = 719_468;
/// The days of 400 years.
const ERA: i32 = 146_097;

/// Days since 1970-01-01. (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.)
pub(super) fn since_1970(day: Day) -> i32 {
    let number = day.number().cast_signed();
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - EPOCH
}

/// A moment, given in milliseconds since 1970, in UTC: `2021-03-22 06:25:24`. One after the year 9999 is
/// shown as its number.
pub fn utc(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    match i32::try_from(days).ok().and_then(from_1970) {
        Some(day) => format!("{day} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60),
        None => milliseconds.to_string(),
    }
}

/// The day in UTC of a moment, given in milliseconds since 1970; none after the year 9999.
pub fn day_of(milliseconds: u64) -> Option<Day> {
    i32::try_from(milliseconds / 86_400_000).ok().and_then(from_1970)
}

/// The day so many days after another one, or before it if negative; none beyond the years 0001 to 9999.
pub fn later(day: Day, days: i32) -> Option<Day> {
    since_1970(day).checked_add(days).and_then(from_1970)
}

/// The day so many days after 1970-01-01, if it is before the year 10000. (Likewise, `civil_from_days`.)
fn from_1970(days: i32) -> Option<Day> {
    let days = days.checked_add(EPOCH).filter(|days| *days >= 0)?;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    Day::new(u32::try_from(year + era * 400).ok()?, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-03-01", 11_017),
            ("2021-03-22", 18_708),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            let day = Day::parse(text).unwrap();
            assert_eq!(since_1970(day), days, "{text}");
        }
    }

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(1_616_394_324_999), "2021-03-22 06:25:24");
        assert_eq!(utc(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn days_are_reckoned_from_moments_and_days() {
        let day = |text| Day::parse(text).unwrap();
        assert_eq!(
            (day_of(0), day_of(86_399_999), day_of(86_400_000)),
            (Some(day("1970-01-01")), Some(day("1970-01-01")), Some(day("1970-01-02")))
        );
        assert_eq!(day_of(u64::MAX), None);
        assert_eq!(later(day("2021-03-01"), -1), Some(day("2021-02-28")));
        assert_eq!(later(day("2020-02-28"), 1), Some(day("2020-02-29")));
        assert_eq!(
            (later(day("9999-12-31"), 1), later(day("0001-01-01"), -1), later(day("2021-03-01"), i32::MAX)),
            (None, None, None)
        );
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let days: Vec<i32> = (10_101..=99_991_231).filter_map(Day::from_number).map(since_1970).collect();
        assert!(days.iter().all(|days| from_1970(*days).map(since_1970) == Some(*days)));
        assert_eq!((days[0], days.len()), (-719_162, 3_652_059));
        assert!(days.is_sorted_by(|one, two| one + 1 == *two));
    }
}
