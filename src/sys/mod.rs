//! The operating system: processes, signals, sockets that carry files, memory that is shared or sealed,
//! mapped files, what cgroups grant.
//!
//! All unsafe code of tallyd is in here and in the kernels of the counting engine, each with the fact it
//! relies on. Nothing here knows what a log is. Deliberately absent: policy. What to do about a dead process
//! is decided elsewhere.

pub mod accounts;
pub mod cgroup;
pub mod clock;
pub mod disk;
pub mod map;
pub mod memory;
pub mod private;
pub mod process;
pub mod sandbox;
pub mod secret;
pub mod signal;
pub mod socket;
pub mod state_lock;
pub mod title;
pub mod usage;
