//! Processes: fork, reap, kill, and what a child does first.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, getppid};

use super::usage::times;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// It ended itself with this code.
    Exit(i32),
    /// A signal of this number ended it.
    Signal(i32),
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Death::Exit(code) => write!(f, "exit {code}"),
            Death::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// Starts a child that runs `body` and ends with the exit code it gives. Says the child's pid.
///
/// # Panics
/// If this process has more than one thread: a child of it could find locks held by threads it does not have.
pub fn fork(body: impl FnOnce() -> i32) -> io::Result<i32> {
    assert_eq!(threads()?, 1, "the supervisor must have one thread when it forks");
    let parent = getpid();
    // SAFETY: this process has one thread (asserted above), so the child is a whole copy of it, no lock is
    // held by anybody else, and it may go on as any program would.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            // The kernel ends the child with its parent. If that is gone already, nobody will tell.
            let asked = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            if asked.is_err() || getppid() != parent {
                std::process::exit(1);
            }
            std::process::exit(body())
        }
    }
}

/// How many threads this process has.
pub fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Takes one dead child, if there is one. As process 1 of a container that may be a stranger.
pub fn reap() -> Option<(i32, Death)> {
    let mut status = 0;
    // SAFETY: `status` is a place for the answer. (nix's own waitpid forgets the pid of a child that a
    // real-time signal ended.)
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    // Without WUNTRACED or WCONTINUED in the call, a pid means a death.
    (pid > 0).then(|| {
        let exited = libc::WIFEXITED(status);
        (
            pid,
            if exited {
                Death::Exit(libc::WEXITSTATUS(status))
            } else {
                Death::Signal(libc::WTERMSIG(status))
            },
        )
    })
}

/// Waits until a child has ended.
///
/// # Errors
/// If it is no child.
pub fn wait_for(pid: i32) -> io::Result<Death> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Death::Exit(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Death::Signal(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks a process to end.
pub fn terminate(pid: i32) {
    // It may be dead already; then it waits to be reaped, and its pid is nobody else's.
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

/// Ends a process.
pub fn end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Lets SIGTERM end this process, or reach its handler: the parent blocked it for itself.
pub fn unblock_stop() {
    let _ = SigSet::from_iter([Signal::SIGTERM]).thread_unblock();
}

/// Lets SIGUSR1 and SIGUSR2 reach the handlers of this process: the parent blocked both for itself. Without a
/// handler, they would end the process.
pub fn unblock_ignored() {
    let _ = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGUSR2]).thread_unblock();
}

/// Closes every descriptor but standard input, output, error and those named: a child keeps what it was
/// given, nothing else.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter(|&&fd| fd > 2).map(|&fd| fd.cast_unsigned()).collect();
    keep.sort_unstable();
    let mut from = 3;
    for end in keep.into_iter().chain([u32::MAX]) {
        if from < end {
            // SAFETY: whoever owned these descriptors is a stack frame below `fork` that the child never
            // returns to.
            let result = unsafe {
                libc::syscall(libc::SYS_close_range, from, if end == u32::MAX { end } else { end - 1 }, 0)
            };
            Errno::result(result)?;
        }
        from = end.wrapping_add(1);
    }
    Ok(())
}

/// The processor time that a process has used, in nanoseconds; 0 if that cannot be told.
pub fn cpu_time_ns(pid: i32) -> u64 {
    times(pid).map_or(0, |(cpu_ns, _)| cpu_ns)
}

/// Lets this process have so many bytes of memory of its own. Then it gets no more, and ends by its own doing
/// instead of being picked by the system, with whatever else is in its container. Mapped files do not count.
pub fn limit_memory(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?)
}

/// The number of this process.
pub fn pid() -> i32 {
    getpid().as_raw()
}

/// The user this process runs as.
pub fn uid() -> u32 {
    nix::unistd::getuid().as_raw()
}
