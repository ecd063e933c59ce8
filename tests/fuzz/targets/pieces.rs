#![no_main]

#[path = "../check.rs"]
#[allow(dead_code, reason = "the other target's")]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::pieces(data));
