//! `docs/CONFIGURATION.md` has every setting as the program has it. `UPDATE_DOCS=1` writes the settings into
//! the document instead.
//!
//! Names, values and defaults come from the flags, descriptions from `config/tallyd.toml`. The text around
//! them is written by hand, in the document.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Args, Command};
use tallyd::config::{BOUNDS, Given};
use tallyd::show::thousands;

const END: &str = "<!-- end -->";

/// A setting in `config/tallyd.toml`.
struct InFile {
    description: String,
    default: String,
}

/// The settings of `config/tallyd.toml` by name: each is a comment and a line `#name = default`.
fn in_file() -> BTreeMap<String, InFile> {
    let mut found = BTreeMap::new();
    for block in include_str!("../config/tallyd.toml").split("\n\n") {
        let (comment, settings): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with("# "));
        let comment = comment.iter().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join("\n");
        // Quoted words are code in the document: Markdown would read stars in them.
        let description = comment.replace('"', "`");
        for setting in settings {
            let (name, default) = setting
                .strip_prefix('#')
                .and_then(|line| line.split_once(" = "))
                .unwrap_or_else(|| panic!("{setting:?} is no setting"));
            found.insert(
                name.to_owned(),
                InFile { description: description.clone(), default: default.to_owned() },
            );
        }
    }
    found
}

/// What a setting may be, for people.
fn values(setting: &Arg) -> String {
    let name = setting.get_id().as_str();
    if let Some(bounds) = BOUNDS.iter().find(|bounds| bounds.name == name) {
        return format!("{} to {} {}", thousands(bounds.least), thousands(bounds.most), bounds.unit)
            .trim_end()
            .to_owned();
    }
    let words: Vec<String> =
        setting.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let unit = match setting.get_value_names().unwrap_or_default().first().map(|name| name.as_str()) {
        Some("DIR") => "folder",
        Some("FILE") => "file",
        Some("GLOB") => "glob",
        Some("NAME") => "name",
        Some("ADDR:PORT") => "address and port",
        other => {
            assert!(!words.is_empty(), "{name} is a {other:?}: what may its value be?");
            return words.join(", ");
        }
    };
    match setting.get_value_delimiter() {
        Some(separator) => format!("list of {unit}s, separated by `{separator}`"),
        None => unit.to_owned(),
    }
}

/// Checks that the default in the help of a setting is the one in the file, and returns it.
fn default(name: &str, help: &str, file: &InFile) -> String {
    let (_, default) =
        help.split_once(" [default: ").unwrap_or_else(|| panic!("the help of {name} has no default: {help}"));
    let default = default.trim_end_matches(']');
    let written = file.default.trim_matches(['[', ']', '"']);
    // The number of CPUs, and what an empty value means, are sentences.
    let is_sentence = name == "workers" || written.is_empty();
    assert!(
        is_sentence || default.split(',').next() == Some(written),
        "{name}: the default is {default} in the help and {written} in the file"
    );
    let first = default.split(',').next().unwrap_or_default();
    let number = first.parse().ok().map(|number: u64| default.replacen(first, &thousands(number), 1));
    number.unwrap_or_else(|| if is_sentence { default.to_owned() } else { format!("`{default}`") })
}

/// The sections of the settings, in the groups of the help.
fn settings() -> String {
    let (command, mut files) = (Given::augment_args(Command::new("tallyd")), in_file());
    let (mut text, mut group) = (String::new(), None);
    for setting in command.get_arguments() {
        let (name, heading) = (setting.get_id().as_str(), setting.get_help_heading());
        let file = files.remove(name).unwrap_or_else(|| panic!("config/tallyd.toml has no {name}"));
        let help = setting.get_help().unwrap_or_else(|| panic!("{name} has no help")).to_string();
        if group != heading {
            group = heading;
            write!(text, "\n### {}\n", heading.unwrap_or_else(|| panic!("{name} is in no group"))).unwrap();
        }
        let (flag, variable) =
            (setting.get_long().unwrap(), setting.get_env().and_then(|name| name.to_str()).unwrap());
        let (values, default) = (values(setting), default(name, &help, &file));
        write!(text, "\n#### `{name}`\n\n- flag `--{flag}`, variable `{variable}`\n- value: {values}\n- default: {default}\n\n{}\n", file.description).unwrap();
    }
    assert!(files.is_empty(), "config/tallyd.toml has {:?}, which are no settings", files.keys());
    text.trim_start().to_owned() + "\n"
}

/// The sentence on the settings that SIGHUP does not change: those that `src/supervisor/reload.rs` keeps.
fn restart() -> String {
    let source = include_str!("../src/supervisor/reload.rs");
    let kept = source
        .split("= stays!(")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .expect("reload.rs lists what stays");
    let names: Vec<String> = kept.split(", ").map(|name| format!("`{name}`")).collect();
    format!(
        "These settings change only with a restart of the daemon; the journal names them if they differ:\n{}.\n",
        names.join(", ")
    )
}

/// Replaces the lines between `start` and the next [`END`].
fn replaced(document: &str, start: &str, lines: &str) -> String {
    let (before, rest) =
        document.split_once(start).unwrap_or_else(|| panic!("the document has no {start:?}"));
    let (mark, rest) = rest.split_once('\n').unwrap();
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{start:?} has no end"));
    format!("{before}{start}{mark}\n{lines}{END}{after}")
}

#[test]
fn the_document_has_every_setting_as_the_program_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let document = fs::read_to_string(&path).unwrap();
    let wanted = replaced(&replaced(&document, "<!-- restart:", &restart()), "<!-- settings:", &settings());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, wanted).unwrap();
    }
    let differ = document.lines().zip(wanted.lines()).find(|(one, two)| one != two);
    assert!(
        document == wanted,
        "UPDATE_DOCS=1 writes docs/CONFIGURATION.md anew; first difference: {differ:?}"
    );
    let long: Vec<&str> = document.lines().filter(|line| line.chars().count() > 120).collect();
    assert!(long.is_empty(), "lines of more than 120 columns: {long:#?}");
}

/// The comparison itself: a test that cannot fail is worse than none.
#[test]
fn a_part_of_a_document_is_replaced() {
    let document = "a\n<!-- x: y -->\nold\n<!-- end -->\nb\n";
    assert_eq!(replaced(document, "<!-- x:", "new\n"), "a\n<!-- x: y -->\nnew\n<!-- end -->\nb\n");
    assert_eq!(replaced(document, "<!-- x:", "old\n"), document);
}
