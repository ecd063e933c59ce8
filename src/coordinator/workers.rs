//! The workers as the coordinator knows them: what they are given, what they answer, and that they die.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::ledger::{Dispatch, Ledger};
use super::probe::all_hold;
use super::{Coordinator, probe, scan};
use crate::job::{Answer, Job, MESSAGE_BYTES, News};
use crate::sys::process::Death;
use crate::sys::socket::{Channel, Received};

/// While memory is short, one range of the logs that are behind is counted so often.
const LET_THROUGH_EVERY: Duration = Duration::from_secs(1);

/// A worker's life.
pub(super) struct Worker {
    /// `None`: nothing more is given to it or taken from it. It sees the end of its socket, ends, and is
    /// reaped.
    pub(super) channel: Option<Channel>,
    /// What it counts, and the file.
    pub(super) flight: Option<(Job, File)>,
}

impl Coordinator<'_> {
    /// Takes what has come. Says whether the supervisor is still there.
    pub(super) fn read_news(&mut self) -> io::Result<bool> {
        let mut message = [0; MESSAGE_BYTES];
        loop {
            match self.supervisor.receive(&mut message)? {
                Received::Nothing => return Ok(true),
                Received::Closed => return Ok(false),
                Received::Message(length, file) => match (News::from_bytes(&message[..length]), file) {
                    (Some(News::Born { worker: number }), Some(fd)) if number < self.workers.len() => {
                        self.workers[number] =
                            Some(Worker { channel: Some(Channel::from_fd(fd)), flight: None });
                    }
                    (Some(News::Reaped { worker: number, death, hung }), None)
                        if number < self.workers.len() =>
                    {
                        // Before the last words are lost: what it had finished counts.
                        self.read_answers(number);
                        if let Some((job, file)) =
                            self.workers[number].take().and_then(|worker| worker.flight)
                        {
                            self.bury(&job, &file, death, hung);
                        }
                    }
                    _ => warn!("ignored a message of the supervisor that is not valid"),
                },
            }
        }
    }

    /// A worker died with a job.
    pub(super) fn bury(&mut self, job: &Job, file: &File, death: Death, hung: Option<crate::job::Hang>) {
        info!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), %death, "a worker died while it counted a range; the range is counted again");
        let shorter = file.metadata().is_ok_and(|about| about.len() < job.range.to());
        if shorter && job.stream.is_none() {
            // It was truncated under the mapping: not the range's doing.
            self.lose_content(job);
        } else {
            self.ledger.lost(job.number, death, hung);
            self.drain(job.log);
        }
        self.stale = true;
    }

    pub(super) fn read_answers(&mut self, number: usize) {
        let mut message = [0; MESSAGE_BYTES];
        while let Some(worker) = self.workers[number].as_mut()
            && let Some(channel) = &worker.channel
        {
            match channel.receive(&mut message) {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(length, result)) => {
                    let answer = Answer::from_bytes(&message[..length]);
                    match (answer, worker.flight.take()) {
                        (Some(answer), Some((job, file))) if answer.job() == job.number => {
                            // The worker need not wait while its result is merged.
                            self.dispatch();
                            self.take(answer, &job, file, result);
                        }
                        (_, flight) => {
                            warn!(
                                worker = number,
                                "a worker sent an answer that is not valid; the worker is replaced"
                            );
                            *worker = Worker { channel: None, flight };
                        }
                    }
                }
                Ok(Received::Closed) => worker.channel = None,
                Err(error) => {
                    warn!(worker = number, %error, "cannot read from a worker; the worker is replaced");
                    worker.channel = None;
                }
            }
        }
    }

    pub(super) fn take(&mut self, answer: Answer, job: &Job, file: File, result: Option<OwnedFd>) {
        self.stale = true;
        match answer {
            Answer::Shorter { .. } => self.lose_content(job),
            Answer::Failed { errno, .. } => {
                warn!(log = self.name(job.log), from = job.range.from(), error = %io::Error::from_raw_os_error(errno), "cannot read a range");
                self.ledger.failed(job.number, errno);
                self.drain(job.log);
            }
            Answer::Counted { .. } => match self.accept(job, file, result) {
                Ok(()) => self.page.add_work(),
                Err(error) => {
                    warn!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), %error, "a result cannot be used; its range is counted again");
                    self.ledger.refused(job.number);
                    self.drain(job.log);
                }
            },
        }
    }

    pub(super) fn dispatch(&mut self) {
        let pressed = self.persist.is_pressed();
        for number in 0..self.workers.len() {
            while let Some(worker) = self.workers[number].as_mut().filter(|worker| worker.flight.is_none())
                && let Some(channel) = &worker.channel
            {
                let Some(next) = next_job(&mut self.ledger, pressed, &mut self.let_through) else { return };
                let opened = scan::open(&next.path, next.file).and_then(|file| {
                    let same = all_hold(&next.samples, &file)?;
                    let raw = if next.job.stream.is_some() {
                        probe::raw_samples(&file, next.job.range.to())?
                    } else {
                        Vec::new()
                    };
                    Ok((file, same, raw))
                });
                self.inflight.note(self.ledger.suspects());
                match opened {
                    Ok((file, true, raw)) => match channel.send(&next.job.to_bytes(), Some(file.as_fd())) {
                        Ok(()) => {
                            self.ledger.opened(&next.job, raw);
                            worker.flight = Some((next.job, file));
                        }
                        Err(_) => {
                            // It is dead, or it ends now that its socket does; its death will be told.
                            worker.channel = None;
                            self.ledger.put_back(next.job.number);
                        }
                    },
                    Ok((_, false, _)) => self.lose_content(&next.job),
                    Err(error) => {
                        // Renamed or removed since the last look, most often.
                        if error.kind() == io::ErrorKind::NotFound {
                            self.scan_soon();
                        }
                        self.ledger
                            .cannot_open(next.job.number, error.raw_os_error().unwrap_or(libc::ENOENT));
                    }
                }
                self.stale = true;
            }
        }
    }
}

/// The next job. While memory is short and writing lags behind, only tails; but of the other logs one now and
/// then, or they would wait for ever for tails that grow all the time.
fn next_job(ledger: &mut Ledger, pressed: bool, let_through: &mut Instant) -> Option<Dispatch> {
    if !pressed {
        return ledger.next_job(false);
    }
    if let_through.elapsed() >= LET_THROUGH_EVERY
        && let Some(next) = ledger.next_behind()
    {
        *let_through = Instant::now();
        return Some(next);
    }
    ledger.next_job(true)
}
