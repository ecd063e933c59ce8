//! The reported names of all numbers: in the API, in JSON and CSV.

use serde::Serialize;
use utoipa::ToSchema;

use crate::tally::Totals;

/// The numbers of a log, a day or a range.
#[derive(Serialize, ToSchema)]
pub struct Numbers {
    /// The number of requests, which is the number of lines that are not blank: `parsed` + `malformed`.
    pub requests: u64,
    /// The number of requests with a time stamp.
    pub parsed: u64,
    /// The number of requests without a time stamp.
    pub malformed: u64,
    /// The number of distinct clients: `ipv4` + `ipv6` + `other`. A client of several days or logs counts
    /// once.
    pub unique_ips: u64,
    /// The number of distinct clients that are an IPv4 address.
    pub ipv4: u64,
    /// The number of distinct clients that are an IPv6 address.
    pub ipv6: u64,
    /// The number of distinct clients that are no IP address, such as host names.
    pub other: u64,
    /// The length of the lines in the log in bytes, line ends included. This is not network traffic. The
    /// number of a log includes blank lines.
    pub log_bytes: u64,
    /// The number of parsed requests in each of the 24 hours. The hour is the one in the line, in the time
    /// zone of the line.
    pub requests_by_hour: [u64; 24],
}

impl From<&Totals> for Numbers {
    fn from(totals: &Totals) -> Numbers {
        Numbers {
            requests: totals.counts.requests(),
            parsed: totals.counts.parsed,
            malformed: totals.counts.malformed,
            unique_ips: totals.clients.all(),
            ipv4: totals.clients.ipv4,
            ipv6: totals.clients.ipv6,
            other: totals.clients.other,
            log_bytes: totals.counts.log_bytes,
            requests_by_hour: totals.counts.hours,
        }
    }
}
