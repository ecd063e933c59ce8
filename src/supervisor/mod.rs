//! The supervisor: forks the roles, reaps them, starts them again. Nothing else.
//!
//! One thread for life: forking from a threaded process is unsound, and it forks for as long as it lives. It
//! reads no log, no result and no request, so nothing from outside can reach it. It never waits for a child.
//! As process 1 of a container it reaps strangers too.

mod child;
mod policy;
mod prepare;
mod reload;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify};
use tracing::{debug, error, info, warn};

use crate::api;
use crate::board::{Roster, RosterEntry};
use crate::config::{BadSetting, Settings};
use crate::coordinator;
use crate::exit::Exit;
use crate::heritage::{Heritage, Role};
use crate::job::{Hang, News};
use crate::journal;
use crate::sys::process::{Death, end, fork, reap, terminate};
use crate::sys::signal::{Notice, Notices};
use crate::sys::socket::{Channel, wait};
use crate::worker;

use child::Child;
use reload::Reload;

/// The longest step: how often heartbeats are looked at.
const STEP: Duration = Duration::from_millis(250);
/// So long the numbers of an earlier life are waited for before it is said that the API answers.
const KNOWN_AFTER: Duration = Duration::from_secs(2);
/// After so long, children that were asked to end are ended.
const DRAIN: Duration = Duration::from_millis(1_500);
/// After so long, nobody is waited for: not even a signal ends a process that waits for a dead disk.
const DRAIN_MAX: Duration = Duration::from_millis(1_900);

/// Runs the daemon until it is told to stop. Says how it ended.
///
/// `settle` gives the settings again when they are asked for.
pub fn serve(settings: Settings, settle: Settle<'_>) -> Exit {
    let heritage = match prepare::prepare(settings) {
        Ok(prepared) => prepared,
        Err((exit, sentence)) => {
            journal::say(&format!("tallyd: {sentence}\n"));
            return exit;
        }
    };
    let run = Supervisor::new(heritage, settle).and_then(|mut supervisor| supervisor.run());
    run.unwrap_or_else(|error| {
        error!(%error, "the supervisor failed");
        Exit::Failure
    })
}

/// Gives the settings as they are now.
pub type Settle<'a> = &'a dyn Fn() -> Result<Settings, BadSetting>;

struct Supervisor<'a> {
    heritage: Heritage,
    settle: Settle<'a>,
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
    /// Settings that were read again, and the child that looks whether the api can start with them.
    reload: Option<(i32, Reload)>,
}

impl<'a> Supervisor<'a> {
    fn new((heritage, lifeline): (Heritage, OwnedFd), settle: Settle<'a>) -> io::Result<Supervisor<'a>> {
        // The seed of the tables must be the same in all processes: then a worker's clients come in the order
        // of the coordinator's table.
        crate::tally::draw_seeds();
        let children = (0..heritage.pages.len())
            .map(|slot| Child::new(Role::of_slot(slot), &heritage))
            .collect::<io::Result<_>>()?;
        let roster = Roster::write(&heritage.roster)?;
        roster.set(0, RosterEntry { pid: Some(std::process::id().cast_signed()), restarts: 0 });
        let notices = Notices::take_all()?;
        Ok(Supervisor {
            heritage,
            settle,
            _lifeline: lifeline,
            notices,
            roster,
            children,
            coordinator: None,
            stopping: None,
            announced: false,
            answers: None,
            reload: None,
        })
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
            let next = self
                .children
                .iter()
                .filter_map(Child::due)
                .map(|due| due.saturating_duration_since(now))
                .min();
            let quick = if self.announced && self.stopping.is_none() { STEP } else { STEP / 25 };
            wait(&[self.notices.as_fd()], next.unwrap_or(quick).min(quick))?;
        }
    }

    fn read_notices(&mut self, now: Instant) {
        while let Some(notice) = self.notices.next() {
            match notice {
                Notice::Child => {}
                Notice::Ignored(signal) => journal::note_ignored(signal),
                Notice::Reload => self.read_settings(),
                Notice::Stop if self.stopping.is_some() => {
                    self.children.iter().filter_map(Child::pid).for_each(end)
                }
                Notice::Stop => {
                    info!("stopping");
                    tell_manager(&[NotifyState::Stopping]);
                    self.stop(now, Exit::Success);
                }
            }
        }
    }

    /// Reads the settings again, and has a child look whether the api can start with them: that takes files,
    /// and those may be on a disk that hangs.
    fn read_settings(&mut self) {
        if self.stopping.is_some() || self.reload.is_some() {
            return;
        }
        tell_manager(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading),
        ]);
        let is_token_given = self.heritage.token.is_some() || self.heritage.read_token.is_some();
        let settled = (self.settle)().map_err(|error| error.to_string()).and_then(|settings| {
            let reload = Reload::new(&self.heritage.settings, settings);
            prepare::possible(&reload.settings, is_token_given).map_err(|(_, sentence)| sentence)?;
            let old = std::mem::replace(&mut self.heritage.settings, reload.settings.clone());
            let checker = fork(|| api::check(&self.heritage));
            self.heritage.settings = old;
            Ok((checker.map_err(|error| error.to_string())?, reload))
        });
        match settled {
            Ok(reload) => self.reload = Some(reload),
            Err(sentence) => {
                warn!("SIGHUP: the settings stay as they are: {sentence}");
                tell_manager(&[NotifyState::Ready]);
            }
        }
    }

    /// The settings that were read again hold from now on, if the api can start with them.
    fn take_settings(&mut self, reload: Reload, death: Death) {
        let Reload { settings, counts_otherwise, left } = reload;
        if death == Death::Exit(0) {
            let left = if left.is_empty() { None } else { Some(left.join(", ")) };
            info!(
                counting = if counts_otherwise { "starts again" } else { "continues" },
                needs_a_restart = left,
                "SIGHUP: reloaded the settings"
            );
            let is_watched_otherwise = {
                let old = &self.heritage.settings;
                (&old.logs, old.recursive, &old.include, &old.exclude)
                    != (&settings.logs, settings.recursive, &settings.include, &settings.exclude)
            };
            self.heritage.settings = settings;
            if is_watched_otherwise {
                prepare::say_watched(&self.heritage.settings);
                self.heritage.set_title("supervisor");
            }
            let roles = [Some(Role::Api), counts_otherwise.then_some(Role::Coordinator)];
            roles
                .into_iter()
                .flatten()
                .filter_map(|role| self.children[role.slot()].pid())
                .for_each(terminate);
        } else {
            warn!(%death, "SIGHUP: the settings stay as they are: the api cannot start with the new ones");
        }
        tell_manager(&[NotifyState::Ready]);
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
            match self.reload.take_if(|(checker, _)| *checker == pid) {
                Some((_, reload)) => self.take_settings(reload, death),
                None => debug!(pid, "reaped a process that is no child of tallyd"),
            }
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
                error!(%role, %death, "stopping: this process cannot start with these settings");
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

    /// Tells the coordinator, if there is one. One that does not listen is ended: what it knows would be
    /// wrong from now on.
    fn tell(&mut self, news: News, channel: Option<Channel>) {
        let Some(coordinator) = &self.coordinator else { return };
        let fd = channel.map(Channel::into_fd);
        if let Err(error) = coordinator.send(&news.to_bytes(), fd.as_ref().map(AsFd::as_fd)) {
            warn!(%error, "cannot send to the coordinator; it is restarted");
            self.children[Role::Coordinator.slot()].pid().into_iter().for_each(end);
        }
    }

    fn start_due(&mut self, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        for slot in 0..self.children.len() {
            // Workers wait for a coordinator, and a new one waits until the last worker of the old one is
            // reaped.
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
                warn!(role = %child.role, pid, hang = hang.name(), "killing a process that shows no sign of life");
                end(pid);
            }
        }
    }

    /// Says once, on stdout, that the API answers, and with what was known before, unless that takes too
    /// long.
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
                warn!(%error, "cannot write the address of the API to stdout");
            }
            tell_manager(&[NotifyState::Ready]);
        }
    }
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn tell_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        debug!(%error, "cannot notify the service manager");
    }
}
