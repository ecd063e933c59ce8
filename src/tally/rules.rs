//! The rules for counting.

use crate::log::Rule;

/// What the numbers mean where there is a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Which part of a line is its client.
    pub client: Rule,
}
