//! How long known bytes have been waiting.
//!
//! A log that is written to all the time may never be seen without a pending byte, and yet each of them waits a moment only. So a mark is set at the size that
//! is known now, and lasts until all before it is counted; then the next one is set. The oldest mark tells: never more than the truth, and once the mark has moved, at
//! least half of it.
//! Pure. Deliberately absent: the clock.

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

/// The marks of the logs that are behind.
#[derive(Debug, Default)]
pub struct Lag {
    marks: HashMap<u64, Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    to: u64,
    at: u64,
}

impl Lag {
    /// Takes a look at all logs. Says since when the oldest mark stands, 0 if there is none.
    pub fn look(&mut self, logs: impl Iterator<Item = Behind>, now: u64) -> u64 {
        let old = std::mem::take(&mut self.marks);
        for Behind { log, known_to, counted_to, .. } in logs.filter(|log| log.pending > 0) {
            let mark = old.get(&log).filter(|mark| counted_to < mark.to).copied();
            self.marks.insert(log, mark.unwrap_or(Mark { to: known_to, at: now }));
        }
        self.marks.values().map(|mark| mark.at).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(log, known, counted)`.
    fn look(lag: &mut Lag, logs: &[(u64, u64, u64)], now: u64) -> u64 {
        lag.look(
            logs.iter().map(|(log, known_to, counted_to)| Behind { log: *log, pending: known_to - counted_to, known_to: *known_to, counted_to: *counted_to }),
            now,
        )
    }

    #[test]
    fn what_waits_is_as_old_as_it_is() {
        let mut lag = Lag::default();
        assert_eq!(look(&mut lag, &[(1, 10, 10)], 100), 0);
        assert_eq!(look(&mut lag, &[(1, 20, 10)], 200), 200);
        assert_eq!(look(&mut lag, &[(1, 20, 15)], 300), 200);
        assert_eq!(look(&mut lag, &[(1, 20, 20)], 400), 0);
        assert_eq!(look(&mut lag, &[(1, 30, 20)], 500), 500);
    }

    #[test]
    fn a_log_that_is_written_all_the_time_is_not_old() {
        let mut lag = Lag::default();
        for step in 1..1_000 {
            // At each look, what was known at the look before is counted.
            let since = look(&mut lag, &[(1, step * 10, step * 10 - 10)], step);
            assert!(since + 1 >= step, "{since} at {step}");
        }
    }

    #[test]
    fn the_oldest_tells_and_who_is_away_does_not() {
        let mut lag = Lag::default();
        look(&mut lag, &[(1, 10, 0)], 100);
        assert_eq!(look(&mut lag, &[(1, 10, 0), (2, 10, 0)], 200), 100);
        assert_eq!(look(&mut lag, &[(2, 10, 0)], 300), 200);
    }
}
