//! One child as the supervisor sees it: who plays the role now, when it is due to start, how it has fared.

use std::io;
use std::time::{Duration, Instant};

use super::policy::{Life, Restart, Silence, after_death};
use crate::board::{Activity, RosterEntry, StatusPage};
use crate::heritage::{Heritage, Role};
use crate::job::Hang;
use crate::sys::process::{Death, cpu_time_ns};

pub(super) struct Child {
    pub(super) role: Role,
    /// For reading the beats.
    page: StatusPage,
    /// For what is said while nobody plays the role.
    own: StatusPage,
    pid: Option<i32>,
    due: Option<Instant>,
    lives: u64,
    /// How many lives in a row failed.
    failed: u32,
    work_before: u64,
    silence: Silence,
    hung: Option<Hang>,
}

impl Child {
    pub(super) fn new(role: Role, heritage: &Heritage) -> io::Result<Child> {
        let memory = &heritage.pages[role.slot()];
        Ok(Child {
            role,
            page: StatusPage::read(memory)?,
            own: StatusPage::write(memory)?,
            pid: None,
            due: Some(Instant::now()),
            lives: 0,
            failed: 0,
            work_before: 0,
            silence: Silence::default(),
            hung: None,
        })
    }

    pub(super) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// When to start it. `None` while it lives.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Was there an earlier life under this supervisor?
    pub(super) fn lived_before(&self) -> bool {
        self.lives > 0
    }

    pub(super) fn is_ready(&self) -> bool {
        self.pid.is_some() && matches!(self.page.activity(), Activity::Idle | Activity::Working)
    }

    pub(super) fn entry(&self) -> RosterEntry {
        RosterEntry { pid: self.pid, restarts: self.lives.saturating_sub(1) }
    }

    /// Before a fork: the page is the new life's.
    pub(super) fn prepare(&mut self) {
        self.own.set_activity(Activity::Starting);
        self.work_before = self.page.work();
        self.silence = Silence::default();
        self.hung = None;
    }

    pub(super) fn started(&mut self, pid: i32) {
        (self.pid, self.due) = (Some(pid), None);
        self.lives += 1;
    }

    /// A fork failed, for want of memory or processes. Says when it is tried again.
    pub(super) fn could_not_start(&mut self, now: Instant) -> Duration {
        self.own.set_activity(Activity::Dead);
        self.failed = self.failed.saturating_add(1);
        let Restart::After(wait) = after_death(self.role, Death::Exit(1), Life::Failed(self.failed)) else {
            return Duration::ZERO;
        };
        self.due = Some(now + wait);
        wait
    }

    /// The child is reaped. Says what to do, and whether it was killed for its silence.
    pub(super) fn bury(&mut self, death: Death, now: Instant) -> (Restart, Option<Hang>) {
        self.pid = None;
        let life = if self.page.work() != self.work_before {
            Life::Worked
        } else if self.page.activity() == Activity::Idle {
            Life::Waited
        } else {
            Life::Failed(self.failed.saturating_add(1))
        };
        self.failed = if let Life::Failed(lives) = life { lives } else { 0 };
        self.own.set_activity(Activity::Dead);
        let restart = after_death(self.role, death, life);
        self.due = match restart {
            Restart::After(wait) => Some(now + wait),
            Restart::StopAll(_) => None,
        };
        (restart, self.hung.take())
    }

    /// Says whom to kill for silence, if it must be.
    pub(super) fn look_for_silence(&mut self, step: Duration) -> Option<(i32, Hang)> {
        // One that is killed already and cannot die, waiting for a disk, is not killed again.
        let pid = self.pid.filter(|_| self.hung.is_none())?;
        let hang = self.silence.look(self.page.beats(), step, || cpu_time_ns(pid))?;
        self.hung = Some(hang);
        Some((pid, hang))
    }
}
