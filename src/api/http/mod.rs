//! The HTTP door: connections, request heads, limits, tokens, compression.
//!
//! hyper parses requests and axum routes them. This folder has what they lack: closing idle connections when
//! all are taken, time limits for heads and for clients that do not read, a budget of memory for answers.

pub mod accept;
pub mod admission;
pub mod catch_panic;
pub mod connections;
pub mod encode;
pub mod guard;
pub mod request_head;
pub mod response_budget;
pub mod tls;
pub mod token;
