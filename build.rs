//! Which commit this is, for `tallyd --version`: of a checkout, of a packaged crate, or as `TALLYD_COMMIT`
//! says where there is neither.

use std::fs;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TALLYD_COMMIT");
    let given = std::env::var("TALLYD_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(of_package).or_else(of_checkout).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=BUILT_COMMIT={commit}");
    println!("cargo::rustc-env=BUILT_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}

/// What `cargo package` notes.
fn of_package() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\": \"")?;
    rest.get(..12).map(str::to_owned)
}

fn of_checkout() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // Only of this crate's own repository, not of one around it.
    let folder = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(folder).ok()? {
        return None;
    }
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "HEAD"])?);
    let branch =
        git(&["symbolic-ref", "-q", "HEAD"]).and_then(|branch| git(&["rev-parse", "--git-path", &branch]));
    if let Some(branch) = branch.filter(|branch| fs::exists(branch).unwrap_or(false)) {
        println!("cargo::rerun-if-changed={branch}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
