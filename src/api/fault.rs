//! Faults that the tests ask for. They exist in debug builds only.
//!
//! `TALLYD_FAULT` names one, `TALLYD_FAULT_DIR` a folder: a fault happens as long as the file of its name is in that folder.
//!
//! - `panic`: the handler of `/api/v1/report` panics.

use std::path::Path;

/// Before a report is made.
pub(super) fn before_report() {
    let asked = std::env::var("TALLYD_FAULT").is_ok_and(|fault| fault == "panic");
    if asked && std::env::var_os("TALLYD_FAULT_DIR").is_some_and(|folder| Path::new(&folder).join("panic").exists()) {
        panic!("a test asked for it");
    }
}
