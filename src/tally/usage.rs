//! What a client did.

use std::ops::AddAssign;

/// What a client did on one day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Its requests.
    pub requests: u64,
    /// The length of their lines with LF, in bytes.
    pub bytes: u64,
    /// Bit h is set if it asked in the hour h; none for requests without a time stamp.
    pub hours: u32,
}

impl Usage {
    /// That of one request, by the length of its line with LF and its hour (0 to 23), if it has one.
    pub fn of_request(bytes: u64, hour: Option<u8>) -> Usage {
        Usage { requests: 1, bytes, hours: hour.map_or(0, |hour| 1 << hour) }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Usage) {
        self.requests += more.requests;
        self.bytes += more.bytes;
        self.hours |= more.hours;
    }
}
