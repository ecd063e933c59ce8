//! Patterns for the names of logs: `include` and `exclude`.

use std::path::Path;

use globset::{GlobBuilder, GlobSet};

use super::bad_setting::BadSetting;

/// Patterns of names, relative to a watched folder.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// Compiles patterns; `origin` starts the error and names the setting.
    ///
    /// # Errors
    /// For a pattern that is not valid, with an example of valid ones.
    pub fn new(patterns: Vec<String>, origin: &str) -> Result<Globs, BadSetting> {
        let glob = |pattern: &String| {
            // A pattern without a slash matches the name of a file in any subfolder.
            let whole = match pattern.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if pattern.contains('/') => pattern.clone(),
                None => format!("**/{pattern}"),
            };
            let whole = if whole.ends_with('/') { whole + "**" } else { whole };
            GlobBuilder::new(&whole).literal_separator(true).backslash_escape(true).build()
        };
        let wrong = |pattern: &str, why: &dyn std::fmt::Display| {
            BadSetting(format!(
                "{origin}{pattern:?} is not a valid pattern: {why}; examples: access.log*, 2021*.log.gz, old/**, and [*] for a literal star"
            ))
        };
        let mut set = GlobSet::builder();
        for pattern in &patterns {
            if pattern.is_empty() || pattern == "/" {
                return Err(wrong(pattern, &"the pattern is empty"));
            }
            set.add(glob(pattern).map_err(|error| wrong(pattern, error.kind()))?);
        }
        let set = set.build().map_err(|error| wrong(error.glob().unwrap_or_default(), error.kind()))?;
        Ok(Globs { patterns, set })
    }

    /// The compiled patterns.
    pub fn set(&self) -> &GlobSet {
        &self.set
    }

    /// Returns whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns as given, separated by commas.
    pub fn joined(&self) -> String {
        self.patterns.join(", ")
    }

    /// Returns whether one of the patterns matches a name.
    pub fn match_name(&self, name: impl AsRef<Path>) -> bool {
        self.set.is_match(name)
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Globs) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_relative_to_the_folder() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let globs = Globs::new(vec![pattern.to_owned()], "").unwrap();
            yes.iter()
                .for_each(|name| assert!(globs.set().is_match(name), "{pattern} does not match {name}"));
            no.iter().for_each(|name| assert!(!globs.set().is_match(name), "{pattern} matches {name}"));
        };
        check("*.log", &["a.log", "sub/a.log", "a/b/c.log", ".log"], &["a.log.1", "a.log/b"]);
        check("/*.log", &["a.log"], &["sub/a.log"]);
        check("sub/*.log", &["sub/a.log"], &["a.log", "sub/deep/a.log", "x/sub/a.log"]);
        check("sub/**", &["sub/a.log", "sub/deep/a.log"], &["a.log", "sub"]);
        check("sub/", &["sub/a.log"], &["a.log", "sub"]);
        check("old", &["old", "x/old"], &["old/a.log", "older"]);
        check("2021{03,04}??.log", &["20210322.log", "a/20210401.log"], &["20210522.log"]);
        check("[*]", &["*"], &["a"]);
        check("a:b", &["a:b"], &["a"]);
    }
}
