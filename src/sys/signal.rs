//! Signals as data: they are blocked, and read from a descriptor when the reader is ready for them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A signal that tallyd acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGHUP: read the settings again.
    Reload,
    /// SIGCHLD: a child died.
    Child,
    /// SIGUSR1 or SIGUSR2: ignored, with a line in the journal. Other daemons reopen their logs or reload for
    /// these signals.
    Ignored(&'static str),
}

/// Where signals arrive.
#[derive(Debug)]
pub struct Notices(SignalFd);

impl Notices {
    /// Blocks the signals and takes them from now on: as the supervisor does.
    pub fn take_all() -> io::Result<Notices> {
        Notices::take(&[
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGCHLD,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ])
    }

    /// Takes the request to stop, and the signals that are ignored. The supervisor sends the request to its
    /// children; a terminal sends its signals to all processes at once.
    pub fn take_stop() -> io::Result<Notices> {
        Notices::take(&[Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2])
    }

    /// Takes only the signals that are ignored.
    pub fn take_ignored() -> io::Result<Notices> {
        Notices::take(&[Signal::SIGUSR1, Signal::SIGUSR2])
    }

    fn take(signals: &[Signal]) -> io::Result<Notices> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        Ok(Notices(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next signal, if one has come.
    pub fn next(&self) -> Option<Notice> {
        let info = self.0.read_signal().ok()??;
        match Signal::try_from(info.ssi_signo.cast_signed()).ok()? {
            Signal::SIGCHLD => Some(Notice::Child),
            Signal::SIGHUP => Some(Notice::Reload),
            signal @ (Signal::SIGUSR1 | Signal::SIGUSR2) => Some(Notice::Ignored(signal.as_str())),
            _ => Some(Notice::Stop),
        }
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
