//! What coordinator, workers and supervisor say to each other.
//!
//! Messages are a few little-endian 64-bit words over a SEQPACKET socket; a file travels beside them. Nothing
//! that is received is trusted: a message that cannot be is no message.

mod message;
mod result;

pub use message::{Answer, Hang, Job, MESSAGE_BYTES, News, RESULT_BYTES_MAX, Request, Stream};
pub use result::{PartView, ResultError, ResultView, encode};
