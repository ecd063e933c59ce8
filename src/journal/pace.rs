//! How often the same thing is said: a storm of bad files must not fill the disk with what is said of each.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;

/// So many events of one kind are said one after another, and then one for each `EVERY`.
const BURST: u32 = 1_000;
const EVERY: Duration = Duration::from_secs(1);

/// What one kind of event, a line of the source, may still say.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How many are left.
    left: u32,
    /// Up to when it was counted what time gives back.
    counted: Instant,
    /// How many were not said.
    unsaid: u64,
}

static PACES: LazyLock<Mutex<HashMap<Identifier, Pace>>> = LazyLock::new(Mutex::default);

/// May an event be said? Then with how many of its kind were not said before it.
pub(super) fn may_say(kind: Identifier) -> Option<u64> {
    let now = Instant::now();
    let mut paces = PACES.lock().unwrap_or_else(PoisonError::into_inner);
    paces.entry(kind).or_insert(Pace { left: BURST, counted: now, unsaid: 0 }).take(now)
}

impl Pace {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let more = now.saturating_duration_since(self.counted).as_secs() / EVERY.as_secs();
        self.counted += EVERY * u32::try_from(more).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(BURST);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.unsaid))
            }
            None => {
                self.unsaid += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_said_once_a_second_with_how_much_of_it_was_not() {
        let start = Instant::now();
        let mut pace = Pace { left: BURST, counted: start, unsaid: 0 };
        let said = (0..5_000).filter(|_| pace.take(start).is_some()).count();
        assert_eq!(said, BURST as usize);
        assert_eq!(pace.take(start + Duration::from_millis(999)), None);
        assert_eq!(pace.take(start + Duration::from_millis(1_000)), Some(4_001));
        assert_eq!(pace.take(start + Duration::from_millis(1_900)), None);
        assert_eq!(pace.take(start + Duration::from_millis(2_000)), Some(1));
        // After a rest, a storm is said again.
        let later = start + Duration::from_secs(100_000);
        assert_eq!((0..5_000).filter(|_| pace.take(later).is_some()).count(), BURST as usize);
    }
}
