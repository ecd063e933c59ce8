//! The counting engine over whole logs, and over logs that come in pieces.

use tallyd::log::Rule;
use tallyd::tally::{Counter, Rules, Tally};

pub const BOM: &[u8] = b"\xef\xbb\xbf";
pub const RULES: [Rule; 2] = [Rule::FirstField, Rule::BeforeDashes];

pub fn rules(client: Rule) -> Rules {
    Rules { client }
}

/// The engine over a whole log.
pub fn fast(log: &[u8], rule: Rule) -> Tally {
    tallyd::tally::tally(log.strip_prefix(BOM).unwrap_or(log), rules(rule))
}

/// The engine over a whole log that comes in pieces of these sizes, again and again.
pub fn fed(log: &[u8], rule: Rule, sizes: &[usize]) -> Tally {
    feed(Counter::new(rules(rule)), log, sizes)
}

pub fn feed(mut counter: Counter, log: &[u8], sizes: &[usize]) -> Tally {
    pieces(log.strip_prefix(BOM).unwrap_or(log), sizes).for_each(|piece| counter.feed(piece));
    counter.finish_line();
    counter.into_tally()
}

pub fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(bytes.len().min(*sizes.next()?));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
