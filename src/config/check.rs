//! Checks of single settings: folders, names, addresses. Each refusal says what would be accepted.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::bad_setting::BadSetting;

/// Returns whether two paths are one folder.
pub(super) fn same_folder(one: &Path, two: &Path) -> bool {
    one == two || matches!((fs::canonicalize(one), fs::canonicalize(two)), (Ok(one), Ok(two)) if one == two)
}

/// Returns whether `inner` is `outer` or in it.
pub(super) fn is_in(inner: &Path, outer: &Path) -> bool {
    let absolute = |path: &Path| {
        fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
    };
    absolute(inner).starts_with(absolute(outer))
}

/// Returns a folder and another one that is in it.
pub(super) fn nested(folders: &[PathBuf]) -> Option<(&Path, &Path)> {
    let inside = |outer: &PathBuf| {
        folders.iter().find(|inner| *inner != outer && is_in(inner, outer)).map(PathBuf::as_path)
    };
    folders.iter().find_map(|outer| Some((outer.as_path(), inside(outer)?)))
}

/// Checks the name of a host: valid in a path, an address and a label.
pub(super) fn host_name(name: String, origin: &str) -> Result<String, BadSetting> {
    let right = (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let wrong = || {
        BadSetting(format!(
            "{origin}{name:?} is not a valid host name: use 1 to 64 of A-Z a-z 0-9 . _ -, and no dot in front"
        ))
    };
    if right { Ok(name) } else { Err(wrong()) }
}

/// Treats an empty path as no path.
pub(super) fn named(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// Checks a name under which browsers and programs reach the API, without a port; returns it in lower case.
pub(super) fn web_name(name: &str, origin: &str) -> Result<String, BadSetting> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let right = (1..=253).contains(&bare.len())
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let wrong = || {
        BadSetting(format!(
            "{origin}{name:?} is not a valid host name: write it like stats.example.org, without http:// and without a port"
        ))
    };
    if right { Ok(bare.to_ascii_lowercase()) } else { Err(wrong()) }
}

/// Parses the address of the API.
pub(super) fn address(text: &str, origin: &str) -> Result<SocketAddr, BadSetting> {
    let wrong = || {
        BadSetting(format!(
            "{origin}{text:?} is not a valid address: write it like 127.0.0.1:8080 or [::1]:8080"
        ))
    };
    match text.parse() {
        Ok(address) => Ok(address),
        // `localhost` is the only name that means the same on every machine.
        Err(_) if text.starts_with("localhost:") => {
            text.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(wrong)
        }
        Err(_) => Err(wrong()),
    }
}
