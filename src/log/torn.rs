//! A line that arrives in pieces, because it lies across the end of a buffer, of a range or of what has been
//! written yet.
//!
//! It keeps what the counting rules need and no more: at most 1,024 bytes of the client and the last few
//! bytes seen. So a line of a gigabyte costs no more memory than a short one, and each of its bytes is looked
//! at once.

use super::client::{CLIENT_BYTES_MAX, Rule};
use super::line::is_white;
use super::stamp::{STAMP_BYTES, Stamp};

/// The state of a line whose LF has not been seen.
#[derive(Debug, Clone)]
pub struct TornLine {
    rule: Rule,
    length: u64,
    blank: bool,
    /// The client so far; complete once `client_ended`.
    client: Vec<u8>,
    client_started: bool,
    client_ended: bool,
    stamp: Option<Stamp>,
    /// The last bytes seen: a time stamp may lie across pieces.
    recent: Vec<u8>,
}

impl TornLine {
    /// A line of which nothing has been seen.
    pub fn new(rule: Rule) -> TornLine {
        TornLine {
            rule,
            length: 0,
            blank: true,
            client: Vec::new(),
            client_started: rule == Rule::BeforeDashes,
            client_ended: false,
            stamp: None,
            recent: Vec::new(),
        }
    }

    /// Takes the next bytes of the line. There must be no LF among them.
    pub fn push(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.blank = self.blank && super::is_blank(piece);
        if !self.client_ended {
            self.push_client(piece);
        }
        if self.stamp.is_none() {
            self.push_stamp(piece);
        }
    }

    /// How many bytes have been seen.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Is there nothing but white space so far?
    pub fn is_blank(&self) -> bool {
        self.blank
    }

    /// The client, if the line ends here.
    pub fn client(&self) -> &[u8] {
        &self.client[..self.client.len().min(CLIENT_BYTES_MAX)]
    }

    /// The first time stamp so far.
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    fn push_client(&mut self, piece: &[u8]) {
        // ` - -` ends a client by the second rule, so up to three bytes too many may be held until it is
        // whole.
        const DASHES: &[u8] = b" - -";
        for &byte in piece {
            match self.rule {
                Rule::FirstField if !self.client_started && is_white(byte) => continue,
                Rule::FirstField => {
                    self.client_started = true;
                    self.client_ended = byte == b',' || is_white(byte);
                }
                Rule::BeforeDashes => self.client_ended = byte == b',',
            }
            if !self.client_ended {
                self.client.push(byte);
                if self.rule == Rule::BeforeDashes && self.client.ends_with(DASHES) {
                    self.client.truncate(self.client.len() - DASHES.len());
                    self.client_ended = true;
                }
                self.client_ended = self.client_ended || self.client.len() >= CLIENT_BYTES_MAX + DASHES.len();
            }
            if self.client_ended {
                return;
            }
        }
    }

    fn push_stamp(&mut self, piece: &[u8]) {
        // Stamps that begin in what was seen before and end in this piece, then those within it.
        let before = self.recent.len();
        self.recent.extend_from_slice(&piece[..piece.len().min(STAMP_BYTES - 1)]);
        if before > 0 {
            self.stamp = Stamp::find(&self.recent);
        }
        self.stamp = self.stamp.or_else(|| Stamp::find(piece));
        if piece.len() >= STAMP_BYTES {
            self.recent.clear();
            self.recent.extend_from_slice(&piece[piece.len() - (STAMP_BYTES - 1)..]);
        } else {
            self.recent.drain(..self.recent.len().saturating_sub(STAMP_BYTES - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::client;

    /// Whatever way a line is torn, it says the same as in one piece.
    #[test]
    fn any_tearing_says_the_same() {
        let mut long = vec![b'x'; 1022];
        long.extend_from_slice(b" - - [22/Mar/2021:06:25:24 +0100]");
        let lines: &[&[u8]] = &[
            b"203.0.113.7 - - [22/Mar/2021:06:25:24 +0100] \"GET /\"",
            b" \t 203.0.113.7, 10.0.0.1 - - [30/Feb/2021:06:25:24 +0100] [01/Mar/2021:07:00:00 +0000]",
            b" -  - - - -",
            b" \t\r",
            b",",
            b"[[22/Mar/2021:06:25:24 +0100]",
            &long,
        ];
        for line in lines {
            for rule in [Rule::FirstField, Rule::BeforeDashes] {
                for step in (1..=line.len()).filter(|step| *step < 64 || step % 31 == 0) {
                    let mut torn = TornLine::new(rule);
                    line.chunks(step).for_each(|piece| torn.push(piece));
                    let about = format!("{} in pieces of {step}", line.escape_ascii());
                    assert_eq!(torn.client(), client(line, rule), "{about}");
                    assert_eq!(torn.stamp(), Stamp::find(line), "{about}");
                    assert_eq!(torn.is_blank(), crate::log::is_blank(line), "{about}");
                    assert_eq!(torn.length(), line.len() as u64, "{about}");
                }
            }
        }
    }
}
