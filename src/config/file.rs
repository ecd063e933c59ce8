//! The configuration file: TOML, one line a setting.

use std::fs;
use std::path::Path;

use super::bad_setting::BadSetting;
use super::given::Given;
use super::renamed::refuse_renamed;

/// Reads a configuration file.
///
/// # Errors
/// For a file that cannot be read or parsed, with the line and a remedy.
pub(super) fn read_file(path: &Path) -> Result<Given, BadSetting> {
    let text = fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        BadSetting(format!("cannot read the configuration {path}: {error}; name a file that is there, or none for the defaults"))
    })?;
    // The message of the parser lists the settings that are known.
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        let unknown = error.message().strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let sentence = unknown.and_then(refuse_renamed);
        let sentence = sentence.unwrap_or_else(|| {
            format!("{}; config/tallyd.toml in tallyd's sources lists every setting", error.message())
        });
        BadSetting(format!("{}:{line}: {sentence}", path.display()))
    })
}
