//! Under which names logs may be uploaded.
//!
//! Pure. A name that is refused here is one that would not be counted, or that could mean another place.

use std::path::PathBuf;

use crate::board::NAME_BYTES_MAX;
use crate::config::{Settings, prefixes};
use crate::log::{TEMPORARY, is_error_log, is_hidden, is_temporary, shown};

/// The longest name that file systems take, in bytes.
const BYTES_MAX: usize = 255;

/// Where an upload goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// The watched folder.
    pub(super) folder: PathBuf,
    /// The file in it.
    pub(super) path: PathBuf,
    /// The name as it is reported.
    pub(super) name: Vec<u8>,
}

impl Target {
    /// The target of a name; else what is wrong with it, and what to do.
    pub(super) fn new(name: &str, settings: &Settings) -> Result<Target, String> {
        let prefixes = prefixes(&settings.logs, settings.recursive);
        let within = settings.logs.iter().zip(&prefixes).filter_map(|(folder, prefix)| Some((folder, name.strip_prefix(str::from_utf8(prefix).ok()?)?)));
        // Of two folders of which one is in the other, the inner one has the longer prefix.
        let Some((folder, file)) = within.min_by_key(|(_, file)| file.len()) else {
            let known: Vec<String> = prefixes.iter().map(|prefix| shown(prefix)).collect();
            return Err(format!("several folders are watched: begin it with one of {}", known.join(", ")));
        };
        if let Some(wrong) = wrong(file, settings) {
            return Err(format!("{file:?}: {wrong}"));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(format!("{name:?}: with its folder it has {} bytes, and {NAME_BYTES_MAX} are shown; use a shorter one", name.len()));
        }
        Ok(Target { folder: folder.clone(), path: folder.join(file), name: name.into() })
    }
}

/// What is wrong with the name of a file, if anything is.
fn wrong(file: &str, settings: &Settings) -> Option<String> {
    Some(if file.is_empty() {
        "it is empty; give 1 to 255 bytes".to_owned()
    } else if file.contains('/') {
        "a slash is in it; uploads go into the watched folder itself".to_owned()
    } else if file.len() > BYTES_MAX {
        format!("it has {} bytes; use at most {BYTES_MAX}", file.len())
    } else if file.chars().any(is_unseen) || file.trim().is_empty() {
        "a character is in it that cannot be seen, or there is no other; leave it out".to_owned()
    } else if is_hidden(file.as_bytes()) {
        "it begins with a dot, and hidden files are not counted; leave the dot out".to_owned()
    } else if is_temporary(file.as_bytes()) {
        format!("names that end in {} are not counted; use another end", TEMPORARY.join(" or "))
    } else if settings.include.is_empty() && is_error_log(file.as_bytes()) {
        "this is the name of an error log, which is not counted; use another name, or start tallyd with --include '*'".to_owned()
    } else if !settings.takes(file) {
        "the patterns of include and exclude leave it out, so it would not be counted; use a name that they take".to_owned()
    } else {
        return None;
    })
}

/// Controls, and what changes how other letters are shown or is not shown at all (the general categories Cf, Zl and Zp of Unicode, as far as they are in use).
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
        for name in ["20210322.log", "access.log.gz", "ä b", "a..b", "x.tmp.log", &"x".repeat(255), "~a", "a\\b", "%2e", "c:d"] {
            let target = Target::new(name, &settings).unwrap();
            assert_eq!((target.path, target.name), (PathBuf::from("in").join(name), name.as_bytes().to_vec()));
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
            ("a\0b", "cannot be seen"),
            ("a\u{202e}b", "cannot be seen"),
            (" ", "cannot be seen"),
            ("a\nb", "cannot be seen"),
            ("a\u{85}", "cannot be seen"),
            (&long, "256 bytes"),
            ("x.tmp", ".tmp or .part or ~"),
            ("x.part", "another end"),
            ("x~", "another end"),
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
        for (name, word) in
            [("x.log", "web1/, a/web2/, b/web2/"), ("web2/x.log", "begin it with"), ("web1/y/x.log", "slash"), ("web1/", "empty"), ("web1/x", "include")]
        {
            let error = path(name).unwrap_err();
            assert!(error.contains(word), "{name:?}: {error}");
        }
    }
}
