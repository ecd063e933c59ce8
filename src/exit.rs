//! How the program ends, as its exit code.

/// An exit code of tallyd, and of its processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded, or the daemon stopped on request.
    Success = 0,
    /// Any other failure.
    Failure = 1,
    /// A setting or the command line is not valid.
    Setting = 2,
    /// tallyd cannot read a watched folder.
    Logs = 3,
    /// tallyd cannot use the state folder.
    State = 4,
    /// tallyd cannot listen on the address.
    Listen = 5,
}

impl Exit {
    /// Returns the exit of a child that a restart cannot mend, by its code.
    pub fn of_setting(code: i32) -> Option<Exit> {
        [Exit::Setting, Exit::Logs, Exit::State, Exit::Listen].into_iter().find(|exit| *exit as i32 == code)
    }
}
