//! tallyd counts the requests and the distinct clients of access logs, exactly: per log, per day, and per
//! range of days.
//!
//! This library is the program `tallyd`; its API may change in any version. The modules, from the bottom up
//! (a module imports only modules above it in this list; a test checks the imports):
//!
//! - [`sys`]: the operating system: fork, signals, shared memory, sockets that carry files. All unsafe code
//!   is here.
//! - [`log`]: the parts of a log: lines, clients, time stamps, names.
//! - [`tally`]: the counting engine: bytes in, a tally out. Pure.
//! - [`sample`]: hashes of short stretches of a log, which identify its content.
//! - [`decode`]: compressed logs as streams of their bytes.
//! - [`range`]: counts one byte range of one open log.
//! - [`store`]: the counted numbers and clients of each log, as one Parquet file per log.
//! - [`period`]: days in words: `today`, `7d`, `2021-03`.
//! - [`journal`], [`config`]: the messages on stderr, and the settings.
//! - [`job`]: the messages between coordinator and workers. [`board`]: the table in shared memory, and the
//!   status pages.
//! - [`heritage`]: everything that a process of the daemon inherits from the supervisor.
//! - [`worker`], [`coordinator`], [`api`]: the roles of the processes. They never import each other.
//! - [`supervisor`]: forks the processes, reaps them, and restarts them.
//! - [`count`], [`show`]: counting without a daemon, and numbers as text.
//! - [`stored`]: reads a state folder without a daemon.
//! - [`ask`]: queries the running daemon.
//! - [`cli`]: the commands.

pub mod api;
pub mod ask;
pub mod board;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod count;
pub mod decode;
pub mod exit;
pub mod heritage;
pub mod job;
pub mod journal;
pub mod log;
pub mod numbers;
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
