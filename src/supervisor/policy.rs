//! What to do about a child that died or is silent. Pure: values in, a decision out.

use std::time::Duration;

use crate::exit::Exit;
use crate::heritage::Role;
use crate::job::Hang;
use crate::sys::process::Death;

/// A child that gives no sign of life for so long is killed. With the supervisor's own steps it is found
/// within 10 seconds.
pub const SILENCE_MAX: Duration = Duration::from_secs(8);
/// The most that one step of the supervisor adds to a silence: after a suspend of the machine everybody looks
/// silent.
const STEP_MAX: Duration = Duration::from_secs(1);
/// How long to wait before the first new start.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// What to do after a death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// Start it again after so long.
    After(Duration),
    /// End everything: a restart cannot mend a setting.
    StopAll(Exit),
}

/// How far a life had come when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It had done some work: a job, an answer.
    Worked,
    /// It was ready and waited for its first work: it is not the start that fails.
    Waited,
    /// It was not ready yet, or died of its first work. So many lives in a row have, with this one.
    Failed(u32),
}

/// Decides after a death.
pub fn after_death(role: Role, death: Death, life: Life) -> Restart {
    if let Death::Exit(code) = death
        && let Some(exit) = Exit::of_setting(code)
    {
        return Restart::StopAll(exit);
    }
    let most = match role {
        Role::Worker(_) => Duration::from_secs(5),
        _ => Duration::from_secs(1),
    };
    match life {
        Life::Worked => Restart::After(Duration::ZERO),
        Life::Waited => Restart::After(FIRST_WAIT),
        Life::Failed(lives) => {
            Restart::After((FIRST_WAIT * 2u32.pow(lives.saturating_sub(1).min(7))).min(most))
        }
    }
}

/// For how long a child has been silent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    beats: u64,
    lasts: Duration,
    /// The processor time the child had used when half of the silence was over, in nanoseconds.
    used: Option<u64>,
}

impl Silence {
    /// Takes a look at a child's beats; `step` is the time since the look before. Says whether it has to be
    /// killed, and why it seems to hang.
    ///
    /// `used_ns` tells the processor time the child has used; it is asked only when there is a doubt.
    pub fn look(&mut self, beats: u64, step: Duration, used_ns: impl Fn() -> u64) -> Option<Hang> {
        if beats != self.beats {
            *self = Silence { beats, ..Silence::default() };
            return None;
        }
        self.lasts += step.min(STEP_MAX);
        if self.lasts >= SILENCE_MAX / 2 && self.used.is_none() {
            self.used = Some(used_ns());
        }
        if self.lasts < SILENCE_MAX {
            return None;
        }
        let used = used_ns().saturating_sub(self.used.unwrap_or(0));
        Some(if Duration::from_nanos(used) >= SILENCE_MAX / 8 { Hang::Busy } else { Hang::Still })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_worked_starts_again_at_once() {
        assert_eq!(
            after_death(Role::Worker(0), Death::Signal(9), Life::Worked),
            Restart::After(Duration::ZERO)
        );
        assert_eq!(after_death(Role::Api, Death::Exit(101), Life::Worked), Restart::After(Duration::ZERO));
    }

    #[test]
    fn a_child_that_was_killed_while_it_waited_starts_again_soon_each_time() {
        assert_eq!(
            after_death(Role::Worker(0), Death::Signal(9), Life::Waited),
            Restart::After(Duration::from_millis(50))
        );
    }

    #[test]
    fn a_child_that_cannot_start_waits_longer_each_time() {
        let waits = |role| {
            (1..=10)
                .map(|lives| after_death(role, Death::Signal(11), Life::Failed(lives)))
                .collect::<Vec<_>>()
        };
        let wants = |most: u64| {
            [50, 100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400]
                .map(|ms| Restart::After(Duration::from_millis(ms.min(most))))
                .to_vec()
        };
        assert_eq!(waits(Role::Worker(3)), wants(5_000));
        assert_eq!(waits(Role::Coordinator), wants(1_000));
        assert_eq!(waits(Role::Api), wants(1_000));
        assert_eq!(
            after_death(Role::Api, Death::Signal(9), Life::Failed(u32::MAX)),
            Restart::After(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_restart_cannot_mend_a_setting() {
        for exit in [Exit::Setting, Exit::Logs, Exit::State, Exit::Listen] {
            assert_eq!(
                after_death(Role::Api, Death::Exit(exit as i32), Life::Failed(5)),
                Restart::StopAll(exit)
            );
        }
        assert_eq!(after_death(Role::Api, Death::Exit(1), Life::Worked), Restart::After(Duration::ZERO));
        assert_eq!(after_death(Role::Api, Death::Exit(0), Life::Worked), Restart::After(Duration::ZERO));
    }

    #[test]
    fn silence_is_noticed_and_a_beat_ends_it() {
        let mut silence = Silence::default();
        let step = Duration::from_millis(250);
        assert_eq!(silence.look(1, step, || 0), None);
        for _ in 0..31 {
            assert_eq!(silence.look(1, step, || 0), None);
        }
        assert_eq!(silence.look(2, step, || 0), None);
        for _ in 0..31 {
            assert_eq!(silence.look(2, step, || 0), None);
        }
        assert_eq!(silence.look(2, step, || 0), Some(Hang::Still));
    }

    #[test]
    fn a_child_that_spins_is_told_from_one_that_is_stopped() {
        let used = std::cell::Cell::new(0);
        let mut silence = Silence::default();
        silence.look(1, Duration::ZERO, || 0);
        let hang = (0..40).find_map(|_| {
            used.set(used.get() + 250_000_000);
            silence.look(1, Duration::from_millis(250), || used.get())
        });
        assert_eq!(hang, Some(Hang::Busy));
    }

    #[test]
    fn a_jump_of_the_clock_is_no_silence() {
        let mut silence = Silence::default();
        silence.look(1, Duration::ZERO, || 0);
        assert_eq!(silence.look(1, Duration::from_secs(86_400), || 0), None);
        assert_eq!(silence.look(2, Duration::from_millis(250), || 0), None);
    }
}
