//! A worker: takes a job, looks at the bytes, counts, hands back.
//!
//! It opens nothing (it is shut in so that it could not), remembers nothing from one job to the next, and has
//! no output but sealed results. So it may die at any instruction, and nothing is lost but the time of one
//! range.

#[cfg(debug_assertions)]
pub mod fault;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tracing::error;

use crate::board::{Activity, StatusPage};
use crate::config::Settings;
use crate::decode::{Decoder, Limits};
use crate::heritage::{Heritage, Role};
use crate::job::{Answer, Job, MESSAGE_BYTES, RESULT_BYTES_MAX, Stream, encode};
use crate::journal;
use crate::range::{self, Counted, How, RangeError};
use crate::sys::memory::Sealed;
use crate::sys::process::limit_memory;
use crate::sys::sandbox::{Walls, limit_worker};
use crate::sys::signal::{Notice, Notices};
use crate::sys::socket::{Channel, Received, wait};
use crate::tally::Rules;

/// How long a worker waits for a job before it shows that it lives.
const BEAT: Duration = Duration::from_millis(500);

/// So much address space is for what is no memory of its own: the program, and the mapped range.
const MAPPED_BYTES_MAX: u64 = 1 << 30;

/// What shuts a worker in. The tests try each wall alone.
fn walls(heritage: &Heritage) -> Walls {
    #[cfg(debug_assertions)]
    return fault::walls(heritage.walls);
    #[cfg(not(debug_assertions))]
    heritage.walls
}

/// Runs worker `number` until the coordinator or the supervisor is gone. Says its exit code.
pub fn run(number: usize, heritage: &Heritage, coordinator: &Channel) -> i32 {
    match work(number, heritage, coordinator) {
        Ok(()) => 0,
        Err(error) => {
            error!(%error, "the worker failed");
            1
        }
    }
}

fn work(number: usize, heritage: &Heritage, coordinator: &Channel) -> io::Result<()> {
    let page =
        heritage.enter(Role::Worker(number), Some(std::os::fd::AsRawFd::as_raw_fd(&coordinator.as_fd())))?;
    let notices = Notices::take_ignored()?;
    limit_memory(heritage.settings.worker_memory)?;
    limit_worker(RESULT_BYTES_MAX, heritage.settings.worker_memory + MAPPED_BYTES_MAX)?;
    walls(heritage).shut_in()?;
    loop {
        page.set_activity(Activity::Idle);
        page.beat();
        let ready = wait(&[heritage.lifeline.as_fd(), coordinator.as_fd(), notices.as_fd()], BEAT)?;
        if ready[0] {
            return Ok(());
        }
        while let Some(Notice::Ignored(signal)) = notices.next() {
            journal::note_ignored(signal);
        }
        if !ready[1] {
            continue;
        }
        let mut message = [0; MESSAGE_BYTES];
        match coordinator.receive(&mut message)? {
            Received::Nothing => {}
            Received::Closed => return Ok(()),
            Received::Message(length, Some(file)) => {
                let job = Job::from_bytes(&message[..length])
                    .ok_or_else(|| io::Error::other("a job is not valid"))?;
                page.set_activity(Activity::Working);
                let (answer, result) = answer(&job, &File::from(file), &heritage.settings, &page);
                coordinator.send(&answer.to_bytes(), result.as_ref().map(AsFd::as_fd))?;
                page.add_work();
            }
            // The coordinator waits for an answer; it gets a death.
            Received::Message(_, None) => return Err(io::Error::other("a job came without its file")),
        }
    }
}

fn answer(job: &Job, file: &File, settings: &Settings, page: &StatusPage) -> (Answer, Option<OwnedFd>) {
    let number = job.number;
    #[cfg(debug_assertions)]
    fault::before(job);
    let beat = |bytes| {
        page.beat();
        page.set_progress(job.log, bytes);
        #[cfg(debug_assertions)]
        fault::between(job);
    };
    let how = How { rules: settings.rules(), io: job.io, last: job.last };
    let counted = match job.stream {
        None => range::count(file, job.range, how, beat),
        Some(stream) => {
            count_stream(file, stream, how.rules, settings.expanded(), beat).map_err(RangeError::Io)
        }
    };
    let result = counted.and_then(|counted| {
        #[allow(unused_mut, reason = "debug builds can damage it")]
        let mut bytes = encode(job, &counted);
        #[cfg(debug_assertions)]
        fault::damage(&mut bytes);
        Sealed::write(&bytes).map_err(RangeError::Io)
    });
    match result {
        Ok(sealed) => (Answer::Counted { job: number }, Some(sealed)),
        Err(RangeError::Shorter) => (Answer::Shorter { job: number }, None),
        Err(RangeError::Io(error)) => {
            (Answer::Failed { job: number, errno: error.raw_os_error().unwrap_or(libc::EIO) }, None)
        }
    }
}

/// Counts a compressed log.
fn count_stream(
    file: &File,
    stream: Stream,
    rules: Rules,
    limits: Limits,
    beat: impl FnMut(u64),
) -> io::Result<Counted> {
    let mut decoder = Decoder::open(file.try_clone()?, stream.format, limits)?;
    let mut counted = range::count_stream(&mut decoder, rules, stream.probe, beat)?;
    counted.checkpoint.damage = decoder.damage();
    Ok(counted)
}
