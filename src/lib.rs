//! tallyd counts your visitors: exact requests and distinct clients of access logs, per file and per day.
//!
//! The code map, from the bottom up; imports point down only (a test sees to it):
//!
//! - [`sys`] the operating system: fork, signals, sealed and shared memory, sockets that carry files. The unsafe code.
//! - [`log`] the words of a log: lines, clients, time stamps, names.
//! - [`tally`] the counting engine: bytes in, a tally out. Pure.
//! - [`sample`] short stretches of a log as hashes, by which its content is told again.
//! - [`decode`] compressed logs as streams of their bytes.
//! - [`range`] counts one byte range of one open log.
//! - [`store`] what is known of each log, as one Parquet file a log.
//! - [`period`] days in words: `today`, `7d`, `2021-03`.
//! - [`journal`], [`config`] what tallyd says on stderr, and its settings.
//! - [`job`] what coordinator and workers say to each other. [`board`] the table in shared memory, and the status pages.
//! - [`heritage`] all that a process of the daemon inherits.
//! - [`worker`], [`coordinator`], [`api`] the roles. They never import each other.
//! - [`supervisor`] forks the roles, reaps them, starts them again.
//! - [`count`], [`show`] counting without a daemon, and how numbers are printed.
//! - [`stored`] what a state folder holds, without a daemon.
//! - [`ask`] asks the running daemon.
//! - [`cli`] the commands.

pub mod api;
pub mod ask;
pub mod board;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod count;
pub mod decode;
pub mod heritage;
pub mod job;
pub mod journal;
pub mod log;
pub mod period;
pub mod range;
pub mod sample;
pub mod show;
pub mod store;
pub mod stored;
pub mod supervisor;
pub mod sys;
pub mod tally;
pub mod worker;
