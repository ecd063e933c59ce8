//! The supervisor: forks the roles, reaps them, starts them again. Nothing else.
//!
//! One thread for life: forking from a threaded process is unsound, and it forks for as long as it lives. It reads no log, no result and no request, so nothing
//! from outside can reach it. It never waits for a child. As process 1 of a container it reaps strangers too.

mod child;
mod policy;
mod prepare;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::api;
use crate::board::{Roster, RosterEntry};
use crate::config::Settings;
use crate::coordinator;
use crate::heritage::{Heritage, Role};
use crate::job::{Hang, News};
use crate::journal;
use crate::sys::process::{Death, end, fork, reap, terminate};
use crate::sys::signal::{Notice, Notices};
use crate::sys::socket::{Channel, wait};
use crate::worker;

use child::Child;
pub use prepare::Exit;

/// The longest step: how often heartbeats are looked at.
const STEP: Duration = Duration::from_millis(250);
/// So long the numbers of an earlier life are waited for before it is said that the API answers.
const KNOWN_AFTER: Duration = Duration::from_secs(2);
/// After so long, children that were asked to end are ended.
const DRAIN: Duration = Duration::from_millis(1_500);
/// After so long, nobody is waited for: not even a signal ends a process that waits for a dead disk.
const DRAIN_MAX: Duration = Duration::from_millis(1_900);

/// Runs the daemon until it is told to stop. Says how it ended.
pub fn serve(settings: Settings) -> Exit {
    let heritage = match prepare::prepare(settings) {
        Ok(prepared) => prepared,
        Err((exit, sentence)) => {
            journal::say(&format!("tallyd: {sentence}\n"));
            return exit;
        }
    };
    let run = Supervisor::new(heritage).and_then(|mut supervisor| supervisor.run());
    run.unwrap_or_else(|error| {
        error!(%error, "the supervisor cannot go on");
        Exit::Failure
    })
}

struct Supervisor {
    heritage: Heritage,
    /// The writing end of the children's lifeline. It is never written to; it closes with this process.
    _lifeline: OwnedFd,
    notices: Notices,
    roster: Roster,
    /// By slot: the coordinator comes first, and so is the first to start.
    children: Vec<Child>,
    /// The way to the coordinator that lives now.
    coordinator: Option<Channel>,
    stopping: Option<(Instant, Exit)>,
    announced: bool,
    /// Since when the API answers, at the start.
    answers: Option<Instant>,
}

impl Supervisor {
    fn new((heritage, lifeline): (Heritage, OwnedFd)) -> io::Result<Supervisor> {
        // The seed of the tables must be the same in all processes: then a worker's clients come in the order of the coordinator's table.
        crate::tally::draw_seeds();
        let children = (0..heritage.pages.len()).map(|slot| Child::new(Role::of_slot(slot), &heritage)).collect::<io::Result<_>>()?;
        let roster = Roster::write(&heritage.roster)?;
        roster.set(0, RosterEntry { pid: Some(std::process::id().cast_signed()), restarts: 0 });
        let notices = Notices::take_all()?;
        Ok(Supervisor { heritage, _lifeline: lifeline, notices, roster, children, coordinator: None, stopping: None, announced: false, answers: None })
    }

    fn run(&mut self) -> io::Result<Exit> {
        let mut before = Instant::now();
        loop {
            let now = Instant::now();
            self.read_notices(now);
            while let Some((pid, death)) = reap() {
                self.bury(pid, death, now);
            }
            if let Some(exit) = self.drained(now) {
                return Ok(exit);
            }
            self.start_due(now);
            self.look_for_silence(now - before);
            self.announce(now);
            before = now;
            let next = self.children.iter().filter_map(Child::due).map(|due| due.saturating_duration_since(now)).min();
            let quick = if self.announced && self.stopping.is_none() { STEP } else { STEP / 25 };
            wait(&[self.notices.as_fd()], next.unwrap_or(quick).min(quick))?;
        }
    }

    fn read_notices(&mut self, now: Instant) {
        while let Some(notice) = self.notices.next() {
            match notice {
                Notice::Child => {}
                Notice::Reload => warn!("SIGHUP: settings are read at the start only; restart tallyd to change them (a new certificate is taken by itself)"),
                Notice::Stop if self.stopping.is_some() => self.children.iter().filter_map(Child::pid).for_each(end),
                Notice::Stop => {
                    info!("stopping");
                    self.stop(now, Exit::Success);
                }
            }
        }
    }

    /// Asks everybody to end. A second reason changes nothing.
    fn stop(&mut self, now: Instant, exit: Exit) {
        if self.stopping.is_none() {
            self.stopping = Some((now, exit));
            self.children.iter().filter_map(Child::pid).for_each(terminate);
        }
    }

    /// While stopping: ends those who take too long, and says how to exit when nobody is left.
    fn drained(&self, now: Instant) -> Option<Exit> {
        let (since, exit) = self.stopping?;
        let left: Vec<i32> = self.children.iter().filter_map(Child::pid).collect();
        if now - since >= DRAIN {
            left.iter().copied().for_each(end);
        }
        (left.is_empty() || now - since >= DRAIN_MAX).then_some(exit)
    }

    /// A child is dead and reaped.
    fn bury(&mut self, pid: i32, death: Death, now: Instant) {
        let Some(slot) = self.children.iter().position(|child| child.pid() == Some(pid)) else {
            debug!(pid, "reaped a stranger");
            return;
        };
        let stopping = self.stopping.is_some();
        let child = &mut self.children[slot];
        let (restart, hung) = child.bury(death, now);
        let role = child.role;
        self.roster.set(slot + 1, child.entry());
        if stopping {
            return;
        }
        match restart {
            policy::Restart::StopAll(exit) => {
                error!(%role, %death, "cannot start with these settings");
                return self.stop(now, exit);
            }
            // A worker that has no coordinator any more is done.
            policy::Restart::After(_) if death == Death::Exit(0) => debug!(%role, pid, "a process ended"),
            policy::Restart::After(wait) => {
                warn!(%role, pid, %death, hung = hung.map(Hang::name), restart_in_ms = wait.as_millis() as u64, "a process died");
            }
        }
        match role {
            Role::Api => {}
            // A new coordinator knows nothing of what the workers were asked, so they start afresh with it.
            Role::Coordinator => {
                self.coordinator = None;
                self.workers().filter_map(Child::pid).for_each(end);
            }
            Role::Worker(worker) => self.tell(News::Reaped { worker, death, hung }, None),
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Child> {
        self.children.iter().filter(|child| matches!(child.role, Role::Worker(_)))
    }

    /// Tells the coordinator, if there is one. One that does not listen is ended: what it knows would be wrong from now on.
    fn tell(&mut self, news: News, channel: Option<Channel>) {
        let Some(coordinator) = &self.coordinator else { return };
        let fd = channel.map(Channel::into_fd);
        if let Err(error) = coordinator.send(&news.to_bytes(), fd.as_ref().map(AsFd::as_fd)) {
            warn!(%error, "the coordinator does not listen");
            self.children[Role::Coordinator.slot()].pid().into_iter().for_each(end);
        }
    }

    fn start_due(&mut self, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        for slot in 0..self.children.len() {
            // Workers wait for a coordinator, and a new one waits until the last worker of the old one is reaped.
            let ready = match self.children[slot].role {
                Role::Api => true,
                Role::Worker(_) => self.coordinator.is_some(),
                Role::Coordinator => self.workers().all(|worker| worker.pid().is_none()),
            };
            if ready && self.children[slot].due().is_some_and(|due| due <= now) {
                if let Err(error) = self.start(slot) {
                    let wait = self.children[slot].could_not_start(now);
                    warn!(role = %self.children[slot].role, %error, restart_in_ms = wait.as_millis() as u64, "cannot start a process");
                }
                self.roster.set(slot + 1, self.children[slot].entry());
            }
        }
    }

    fn start(&mut self, slot: usize) -> io::Result<()> {
        let heritage = &self.heritage;
        let role = self.children[slot].role;
        self.children[slot].prepare();
        // Each life has a socket pair of its own, so nothing can arrive from a dead one.
        let pid = match role {
            Role::Api => fork(|| api::run(heritage))?,
            Role::Coordinator => {
                let (ours, theirs) = Channel::pair()?;
                let alone = self.children[slot].lived_before();
                let pid = fork(|| coordinator::run(heritage, &theirs, alone))?;
                self.coordinator = Some(ours);
                pid
            }
            Role::Worker(worker) => {
                let (ours, theirs) = Channel::pair()?;
                let pid = fork(|| worker::run(worker, heritage, &theirs))?;
                self.children[slot].started(pid);
                self.tell(News::Born { worker }, Some(ours));
                return Ok(());
            }
        };
        self.children[slot].started(pid);
        Ok(())
    }

    fn look_for_silence(&mut self, step: Duration) {
        for child in &mut self.children {
            if let Some((pid, hang)) = child.look_for_silence(step) {
                warn!(role = %child.role, pid, hang = hang.name(), "a process gives no sign of life and is killed");
                end(pid);
            }
        }
    }

    /// Says once, on stdout, that the API answers, and with what was known before, unless that takes too long.
    fn announce(&mut self, now: Instant) {
        let is_ready = |role: Role| self.children[role.slot()].is_ready();
        if self.announced || !is_ready(Role::Api) {
            return;
        }
        let since = *self.answers.get_or_insert(now);
        if is_ready(Role::Coordinator) || now - since >= KNOWN_AFTER {
            self.announced = true;
            let mut stdout = io::stdout();
            let said = match self.heritage.listener.local_addr() {
                Ok(address) => {
                    let scheme = if self.heritage.settings.tls.is_some() { "https" } else { "http" };
                    writeln!(stdout, "tallyd listening on {scheme}://{address}").and_then(|()| stdout.flush())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = said {
                warn!(%error, "cannot say on stdout where the API answers");
            }
        }
    }
}
