//! What the fuzzer found worth keeping, once more: the targets in `tests/fuzz` run over their corpus as a
//! plain test.

#[path = "fuzz/check.rs"]
mod check;

use std::fs;
use std::path::Path;

/// Runs a target over each kept input.
fn run(target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut inputs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        // By both rules, both kernels, whole and in pieces, whatever the fuzzer chose.
        for how in 0..8 {
            target(&[&[how], input.get(1..).unwrap_or(&[])].concat());
        }
        inputs += 1;
    }
    assert!(inputs > 50, "the corpus is gone");
}

#[test]
fn pieces() {
    run(check::pieces);
}

#[test]
fn cuts() {
    run(check::cuts);
}
