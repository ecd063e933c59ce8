//! Sockets that carry whole messages, each with an open file if need be, and waiting for them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

/// One end of a pair of SEQPACKET sockets: a message arrives whole or not at all.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came over a [`Channel`].
#[derive(Debug)]
pub enum Received {
    /// A message of so many bytes, and the file that came with it.
    Message(usize, Option<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The other end is closed.
    Closed,
}

impl Channel {
    /// Makes both ends. Neither ever blocks.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, two) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Channel(one), Channel(two)))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// `WouldBlock` if the other end has not taken the earlier ones, `BrokenPipe` if it is closed.
    pub fn send(&self, message: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fds: Vec<RawFd> = file.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
        Ok(())
    }

    /// Takes the next message into `buffer`. One that is longer than the buffer is cut, which its reader will
    /// notice.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let mut parts = [IoSliceMut::new(buffer)];
        let message =
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
            {
                Ok(message) => message,
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(Received::Nothing),
                Err(nix::errno::Errno::ECONNRESET) => return Ok(Received::Closed),
                Err(error) => return Err(error.into()),
            };
        let mut file = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                for fd in fds {
                    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
                    file = Some(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
        // No message is empty, so nothing means the end.
        Ok(if message.bytes == 0 { Received::Closed } else { Received::Message(message.bytes, file) })
    }

    /// The descriptor itself, to be sent to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// An end that another process sent.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A pipe that nothing is ever written to: its reading end closes when the last process that holds the
/// writing end is gone.
pub fn lifeline() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Waits until one of the descriptors can be read or is closed, or the time is over. Says which.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up: a wait of half a millisecond must not become a busy loop.
    let timeout = PollTimeout::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(error) => Err(error.into()),
    }
}

/// Waits until a short write would go through at once, no longer than `timeout`. An error that it would meet
/// counts as going through.
pub fn can_write(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout.as_millis()).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], timeout), Ok(ready) if ready > 0)
}

/// Gives this process and its children a standard error of their own that never makes a writer wait: a file
/// that is opened anew has flags of its own, while those of the one that was inherited are also the shell's.
/// Only a pipe or a terminal makes anybody wait; what cannot be opened anew (another user's) stays as it is.
pub fn own_stderr() {
    let waits = |about: std::fs::Metadata| about.file_type().is_fifo() || about.file_type().is_char_device();
    if !std::fs::metadata("/proc/self/fd/2").is_ok_and(waits) {
        return;
    }
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    if let Ok(own) = nix::fcntl::open("/proc/self/fd/2", flags, nix::sys::stat::Mode::empty()) {
        let _ = nix::unistd::dup2_stderr(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_message_carries_a_file() {
        let (one, two) = Channel::pair().unwrap();
        let mut buffer = [0; 16];
        assert!(matches!(two.receive(&mut buffer).unwrap(), Received::Nothing));
        let file = std::fs::File::open("/proc/self/cmdline").unwrap();
        one.send(b"hello", Some(file.as_fd())).unwrap();
        one.send(b"again", None).unwrap();
        let Received::Message(5, Some(fd)) = two.receive(&mut buffer).unwrap() else { panic!("no file") };
        assert!(std::fs::File::from(fd).read(&mut buffer).unwrap() > 0);
        assert!(matches!(two.receive(&mut buffer).unwrap(), Received::Message(5, None)));
        assert_eq!(&buffer[..5], b"again");
        drop(one);
        assert!(matches!(two.receive(&mut buffer).unwrap(), Received::Closed));
        assert_eq!(two.send(b"x", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_cannot_be_written_to() {
        let (read, write) = lifeline().unwrap();
        let mut writes = 0;
        while can_write(write.as_fd(), Duration::ZERO) {
            nix::unistd::write(&write, &[b'x'; 4096]).unwrap();
            writes += 1;
        }
        assert!(writes > 0);
        drop(read);
        assert!(can_write(write.as_fd(), Duration::ZERO));
    }

    #[test]
    fn a_lifeline_closes_with_its_holder() {
        let (read, write) = lifeline().unwrap();
        assert_eq!(wait(&[read.as_fd()], Duration::ZERO).unwrap(), [false]);
        drop(write);
        assert_eq!(wait(&[read.as_fd()], Duration::from_secs(5)).unwrap(), [true]);
    }
}
