//! A line's time stamp, `[dd/Mon/yyyy:HH:MM:SS ±hhmm]`, as Apache and nginx write it in common and combined
//! logs.

use super::day::{Day, digits};

/// The length of a time stamp with its brackets, in bytes.
pub const STAMP_BYTES: usize = 28;

/// What a time stamp says, as written there: no time zone is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The date.
    pub day: Day,
    /// 0 to 23.
    pub hour: u8,
}

impl Stamp {
    /// The first time stamp of a line that has a real date and time.
    pub fn find(line: &[u8]) -> Option<Stamp> {
        let mut at = 0;
        loop {
            at += memchr::memchr(b'[', &line[at..])?;
            // Of a run of brackets, each is looked at without a new search.
            while line.get(at) == Some(&b'[') {
                if line.get(at + 3) == Some(&b'/')
                    && let Some(stamp) = line[at..].first_chunk().and_then(Stamp::parse)
                {
                    return Some(stamp);
                }
                at += 1;
            }
        }
    }

    /// Reads a whole time stamp, from `[` to `]`.
    pub fn parse(text: &[u8; STAMP_BYTES]) -> Option<Stamp> {
        if text[0] != b'[' || text[3] != b'/' || text[7] != b'/' {
            return None;
        }
        let hour = Stamp::parse_clock(text)?;
        let month = match &text[4..7] {
            b"Jan" => 1,
            b"Feb" => 2,
            b"Mar" => 3,
            b"Apr" => 4,
            b"May" => 5,
            b"Jun" => 6,
            b"Jul" => 7,
            b"Aug" => 8,
            b"Sep" => 9,
            b"Oct" => 10,
            b"Nov" => 11,
            b"Dec" => 12,
            _ => return None,
        };
        let day = Day::new(digits(&text[8..12])?, month, digits(&text[1..3])?)?;
        Some(Stamp { day, hour })
    }

    /// Reads only what follows the date, `:HH:MM:SS ±hhmm]`, of a time stamp whose date is known: the hour.
    #[inline]
    pub fn parse_clock(text: &[u8; STAMP_BYTES]) -> Option<u8> {
        const SHAPE: [u8; 16] = *b":00:00:00 +0000]";
        // A digit is 0x30 to 0x39: xor with '0' leaves 0 to 9 and nothing else does. Written without an early
        // exit, so that it becomes vector code.
        let clock: &[u8; 16] = text[12..].first_chunk()?;
        let mut wrong = 0;
        for (&byte, shape) in clock.iter().zip(SHAPE) {
            wrong |= match shape {
                b'0' => u8::from((byte ^ b'0') > 9),
                b'+' => u8::from(byte != b'+') & u8::from(byte != b'-'),
                _ => byte ^ shape,
            };
        }
        let two = |at: usize| (clock[at] & 15) * 10 + (clock[at + 1] & 15);
        let (hour, minute, second) = (two(1), two(4), two(7));
        (wrong == 0 && hour < 24 && minute < 60 && second <= 60).then_some(hour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Option<(&str, u8)>) {
        let got = Stamp::find(line.as_bytes()).map(|stamp| (stamp.day.to_string(), stamp.hour));
        assert_eq!(got, want.map(|(day, hour)| (day.to_string(), hour)), "{line}");
    }

    #[test]
    fn the_first_real_stamp_counts() {
        check("1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] x", Some(("2021-03-22", 6)));
        check("[22/Mar/2021:23:59:60 -1234]", Some(("2021-03-22", 23)));
        check("[[22/Mar/2021:00:00:00 +0000]", Some(("2021-03-22", 0)));
        check("[30/Feb/2021:06:25:24 +0100] [01/Mar/2021:07:00:00 +0000]", Some(("2021-03-01", 7)));
        check("[29/Feb/2020:06:25:24 +0100]", Some(("2020-02-29", 6)));
        check("[22/Mar/2021:06:25:24 +0100", None);
        check("22/Mar/2021:06:25:24 +0100]", None);
        check("[22/mar/2021:06:25:24 +0100]", None);
        check("[22/Mar/2021:24:25:24 +0100]", None);
        check("[22/Mar/2021:06:60:24 +0100]", None);
        check("[22/Mar/2021:06:25:61 +0100]", None);
        check("[22/Mar/2021:06:25:24 01000]", None);
        check("[22/Mar/2021:06:25:24 +01:0]", None);
        check("[22/Mar/0000:06:25:24 +0100]", None);
        check("[ 2/Mar/2021:06:25:24 +0100]", None);
        check("", None);
    }
}
