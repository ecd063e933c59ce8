//! Settings that changed their names.

/// The settings that changed their names: the old name and the current one, as in the configuration file.
const RENAMED: [(&str, &str); 2] = [("log_format", "journal_format"), ("rule", "client_rule")];

/// Returns the current name for the old name `given` of a flag (`--log-format`), an environment variable
/// (`TALLYD_LOG_FORMAT`) or a line of the configuration file (`log_format`), in the same form.
pub fn renamed(given: &str) -> Option<String> {
    let forms: [fn(&str) -> String; 3] = [flag, variable, str::to_owned];
    forms
        .into_iter()
        .find_map(|form| RENAMED.iter().find(|(old, _)| form(old) == given).map(|(_, new)| form(new)))
}

/// Returns the sentence that refuses the old name `given`, if it is one.
pub fn refuse_renamed(given: &str) -> Option<String> {
    renamed(given).map(|new| format!("`{given}` is now called `{new}`: use the new name"))
}

/// Returns the flag of a setting: `--log-level`.
pub fn flag(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

/// Returns the environment variable of a setting: `TALLYD_LOG_LEVEL`.
pub fn variable(setting: &str) -> String {
    format!("TALLYD_{}", setting.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_have_new_ones_in_each_form() {
        let new = |given| renamed(given).unwrap_or_default();
        assert_eq!(
            ["--log-format", "TALLYD_LOG_FORMAT", "log_format", "--rule"].map(new),
            ["--journal-format", "TALLYD_JOURNAL_FORMAT", "journal_format", "--client-rule"]
        );
        for name in ["--log-level", "TALLYD_LOG_LEVEL", "log_level", "--log_format", ""] {
            assert_eq!(renamed(name), None, "{name}");
        }
    }
}
