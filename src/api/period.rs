//! Days in words, as queries name them.

pub(super) use crate::period::{Period, today};
