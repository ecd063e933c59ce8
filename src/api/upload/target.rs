//! The names under which logs may be uploaded.
//!
//! Pure. Refused are names that tallyd would not count, and names that could lead to another folder.

use std::path::PathBuf;

use crate::board::NAME_BYTES_MAX;
use crate::config::{Settings, prefixes};
use crate::log::{TEMPORARY, is_error_log, is_hidden, is_temporary, shown};

/// The longest name in bytes that file systems support.
const BYTES_MAX: usize = 255;

/// The destination of an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// The watched folder.
    pub(super) folder: PathBuf,
    /// The path of the log in this folder.
    pub(super) path: PathBuf,
    /// The name of the log in the API.
    pub(super) name: Vec<u8>,
}

impl Target {
    /// The target of a name, or the mistake in the name and the remedy.
    pub(super) fn new(name: &str, settings: &Settings) -> Result<Target, String> {
        let prefixes = prefixes(&settings.logs, settings.recursive);
        let within =
            settings.logs.iter().zip(&prefixes).filter_map(|(folder, prefix)| {
                Some((folder, name.strip_prefix(str::from_utf8(prefix).ok()?)?))
            });
        // If one folder is in another one, the inner folder has the longer prefix.
        let Some((folder, file)) = within.min_by_key(|(_, file)| file.len()) else {
            let known: Vec<String> = prefixes.iter().map(|prefix| shown(prefix)).collect();
            return Err(format!(
                "tallyd watches several folders: begin the name with one of {}",
                known.join(", ")
            ));
        };
        if let Some(wrong) = wrong(file, settings) {
            return Err(format!("{file:?}: {wrong}"));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "{name:?}: the name with its folder has {} bytes, and tallyd shows {NAME_BYTES_MAX}; use a shorter name",
                name.len()
            ));
        }
        Ok(Target { folder: folder.clone(), path: folder.join(file), name: name.into() })
    }
}

/// The mistake in the name of a log, if there is one, and the remedy.
fn wrong(file: &str, settings: &Settings) -> Option<String> {
    Some(if file.is_empty() {
        "the name is empty; give 1 to 255 bytes".to_owned()
    } else if file.contains('/') {
        "the name contains a slash; uploads go into the watched folder itself, so leave the slash out"
            .to_owned()
    } else if file.len() > BYTES_MAX {
        format!("the name has {} bytes; use at most {BYTES_MAX}", file.len())
    } else if file.chars().any(is_unseen) || file.trim().is_empty() {
        "the name contains a character that is invisible, or no visible one; use visible characters"
            .to_owned()
    } else if is_hidden(file.as_bytes()) {
        "the name begins with a dot, and tallyd does not count hidden files; leave the dot out".to_owned()
    } else if is_temporary(file.as_bytes()) {
        format!("tallyd does not count names that end in {}; use another ending", TEMPORARY.join(" or "))
    } else if settings.include.is_empty() && is_error_log(file.as_bytes()) {
        "tallyd does not count error logs; use another name, or start tallyd with --include '*'".to_owned()
    } else if !settings.takes(file) {
        "tallyd would not count this name because of the settings include and exclude; use another name, or change the settings".to_owned()
    } else {
        return None;
    })
}

/// Control characters, and characters that are invisible or change how others are shown (the assigned
/// characters of the Unicode categories Cf, Zl and Zp).
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(letter, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Given;

    fn settings(text: &str) -> Settings {
        let given: Given = toml::from_str(text).unwrap();
        Settings::settle(given, None).unwrap()
    }

    #[test]
    fn names_that_are_taken() {
        let settings = settings("logs = [\"in\"]");
        for name in [
            "20210322.log",
            "access.log.gz",
            "ä b",
            "a..b",
            "x.tmp.log",
            &"x".repeat(255),
            "~a",
            "a\\b",
            "%2e",
            "c:d",
        ] {
            let target = Target::new(name, &settings).unwrap();
            assert_eq!(
                (target.path, target.name),
                (PathBuf::from("in").join(name), name.as_bytes().to_vec())
            );
        }
    }

    #[test]
    fn names_that_are_refused_and_why() {
        let settings = settings("logs = [\"in\"]\nexclude = [\"*.old\"]");
        let long = "x".repeat(256);
        for (name, word) in [
            ("", "empty"),
            (".", "dot"),
            ("..", "dot"),
            (".hidden", "dot"),
            ("../../etc/passwd", "slash"),
            ("/etc/passwd", "slash"),
            ("a/b", "slash"),
            ("a/", "slash"),
            ("a\0b", "invisible"),
            ("a\u{202e}b", "invisible"),
            (" ", "invisible"),
            ("a\nb", "invisible"),
            ("a\u{85}", "invisible"),
            (&long, "256 bytes"),
            ("x.tmp", ".tmp or .part or ~"),
            ("x.part", "another ending"),
            ("x~", "another ending"),
            ("x.old", "include and exclude"),
            ("site.error.log", "--include '*'"),
        ] {
            let error = Target::new(name, &settings).unwrap_err();
            assert!(error.contains(word), "{name:?}: {error}");
        }
    }

    #[test]
    fn of_several_folders_the_name_tells_which() {
        let settings = settings("logs = [\"a/web1\", \"a/web2\", \"b/web2\"]\ninclude = [\"*.log\"]");
        let path = |name: &str| Target::new(name, &settings).map(|target| target.path);
        assert_eq!(path("web1/x.log"), Ok("a/web1/x.log".into()));
        assert_eq!(path("a/web2/x.log"), Ok("a/web2/x.log".into()));
        assert_eq!(path("b/web2/x.log"), Ok("b/web2/x.log".into()));
        for (name, word) in [
            ("x.log", "web1/, a/web2/, b/web2/"),
            ("web2/x.log", "begin the name with"),
            ("web1/y/x.log", "slash"),
            ("web1/", "empty"),
            ("web1/x", "include"),
        ] {
            let error = path(name).unwrap_err();
            assert!(error.contains(word), "{name:?}: {error}");
        }
    }
}
