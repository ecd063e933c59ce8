//! A day of the calendar as a log writes it: no time zone is applied.

use std::fmt;
use std::num::NonZeroU32;

/// A real date of the years 0001 to 9999. Orders by time; `Option<Day>` is four bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Day(NonZeroU32);

impl Day {
    /// The day of a date, or `None` if there is no such date.
    pub fn new(year: u32, month: u32, day: u32) -> Option<Day> {
        let length = match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=9999).contains(&year) || !(1..=length).contains(&day) {
            return None;
        }
        NonZeroU32::new(year * 10_000 + month * 100 + day).map(Day)
    }

    /// The day as the number yyyymmdd.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The day of a number yyyymmdd, or `None` if that is no date.
    pub fn from_number(number: u32) -> Option<Day> {
        Day::new(number / 10_000, number / 100 % 100, number % 100)
    }

    /// The day written `yyyy-mm-dd`, or `None` if it is not written so or is no date.
    pub fn parse(text: &str) -> Option<Day> {
        let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
        if bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        Day::new(digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        write!(f, "{:04}-{:02}-{:02}", number / 10_000, number / 100 % 100, number % 100)
    }
}

/// The number that ASCII digits write, or `None` if one of the bytes is none. At most nine digits.
pub(crate) fn digits(bytes: &[u8]) -> Option<u32> {
    bytes
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_dates_are_days() {
        assert_eq!(Day::new(2021, 3, 22).unwrap().to_string(), "2021-03-22");
        assert_eq!(Day::new(1, 1, 1).unwrap().to_string(), "0001-01-01");
        assert!(Day::new(9999, 12, 31).is_some());
        assert!(Day::new(2020, 2, 29).is_some());
        assert!(Day::new(2000, 2, 29).is_some());
        for (year, month, day) in [
            (0, 1, 1),
            (10_000, 1, 1),
            (2021, 2, 29),
            (1900, 2, 29),
            (2021, 4, 31),
            (2021, 13, 1),
            (2021, 0, 1),
            (2021, 1, 0),
        ] {
            assert_eq!(Day::new(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn days_read_back_from_numbers_and_text() {
        let day = Day::new(2021, 3, 22).unwrap();
        assert_eq!(Day::from_number(day.number()), Some(day));
        assert_eq!(Day::parse("2021-03-22"), Some(day));
        for text in ["2021-3-22", "20210322", "2021-02-30", "2021-03-22 ", "+021-03-22", "", "2021/03/22"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert_eq!(Day::from_number(0), None);
        assert_eq!(Day::from_number(u32::MAX), None);
    }
}
