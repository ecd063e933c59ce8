//! How long known bytes have been waiting.
//!
//! A log that is written to all the time may never be seen without a pending byte, and yet each of them waits
//! a moment only. So a mark is set at the size that is known now, and lasts until all before it is counted;
//! then the next one is set. The oldest mark tells, to half a second: never more than the truth, and once the
//! mark has moved, at least half of it. Pure. Deliberately absent: the clock.

use std::collections::HashMap;

/// What is pending of one log.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    /// The log.
    pub log: u64,
    /// How many bytes.
    pub pending: u64,
    /// Up to where it is known, in bytes.
    pub known_to: u64,
    /// Up to where it is counted. Of what has no such place, 0: its mark lasts until nothing is pending.
    pub counted_to: u64,
}

/// The logs are looked at no more often than this, in milliseconds: there may be many, and the board is
/// written many times a second.
const EVERY_MS: u64 = 500;

/// The marks of the logs that are behind.
#[derive(Debug, Default)]
pub struct Lag {
    marks: HashMap<u64, Mark>,
    /// When the logs were last looked at, and since when the oldest mark stood then.
    looked: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    to: u64,
    at: u64,
}

impl Lag {
    /// Takes a look at all logs, if it is time for one. Says since when the oldest mark stands, 0 if there is
    /// none. `pending`: over all logs.
    pub fn look(&mut self, pending: u64, logs: impl Iterator<Item = Behind>, now: u64) -> u64 {
        if pending == 0 {
            *self = Lag::default();
            return 0;
        }
        if let Some((_, since)) = self.looked.filter(|(looked, _)| now.saturating_sub(*looked) < EVERY_MS) {
            return since;
        }
        let old = std::mem::take(&mut self.marks);
        for Behind { log, known_to, counted_to, .. } in logs.filter(|log| log.pending > 0) {
            let mark = old.get(&log).filter(|mark| counted_to < mark.to).copied();
            self.marks.insert(log, mark.unwrap_or(Mark { to: known_to, at: now }));
        }
        let since = self.marks.values().map(|mark| mark.at).min().unwrap_or(0);
        self.looked = Some((now, since));
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(log, known, counted)`.
    fn look(lag: &mut Lag, logs: &[(u64, u64, u64)], now: u64) -> u64 {
        lag.look(
            logs.iter().map(|(_, known, counted)| known - counted).sum(),
            logs.iter().map(|(log, known_to, counted_to)| Behind {
                log: *log,
                pending: known_to - counted_to,
                known_to: *known_to,
                counted_to: *counted_to,
            }),
            now,
        )
    }

    #[test]
    fn what_waits_is_as_old_as_it_is() {
        let mut lag = Lag::default();
        assert_eq!(look(&mut lag, &[(1, 10, 10)], 1_000), 0);
        assert_eq!(look(&mut lag, &[(1, 20, 10)], 2_000), 2_000);
        assert_eq!(look(&mut lag, &[(1, 20, 15)], 3_000), 2_000);
        assert_eq!(look(&mut lag, &[(1, 20, 20)], 4_000), 0);
        assert_eq!(look(&mut lag, &[(1, 30, 20)], 4_001), 4_001);
        // It is not time for another look.
        assert_eq!(look(&mut lag, &[(1, 40, 30)], 4_500), 4_001);
        assert_eq!(look(&mut lag, &[(1, 40, 30)], 4_501), 4_501);
    }

    #[test]
    fn a_log_that_is_written_all_the_time_is_not_old() {
        let mut lag = Lag::default();
        for step in 1..1_000 {
            // At each look, what was known at the look before is counted.
            let since = look(&mut lag, &[(1, step * 10, step * 10 - 10)], step * 100);
            assert!(since + EVERY_MS >= step * 100, "{since} at {step}");
        }
    }

    #[test]
    fn the_oldest_tells_and_who_is_away_does_not() {
        let mut lag = Lag::default();
        look(&mut lag, &[(1, 10, 0)], 1_000);
        assert_eq!(look(&mut lag, &[(1, 10, 0), (2, 10, 0)], 2_000), 1_000);
        assert_eq!(look(&mut lag, &[(2, 10, 0)], 3_000), 2_000);
    }
}
