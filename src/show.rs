//! How numbers are printed: tables for people, JSON and CSV for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::count::CountedFiles;
use crate::log::{shown, shown_to_people};
use crate::numbers::Numbers;
use crate::tally::{Doubt, Totals};

/// The name of the day of lines without a date.
pub const UNDATED: &str = "undated";

/// A number with thousands separators: `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// The numbers of a day or of a range of days, by the names of the API.
pub fn day_fields(totals: &Totals) -> Map<String, Value> {
    let fields = serde_json::to_value(Numbers::from(totals)).expect("the names are strings");
    let Value::Object(fields) = fields else { return Map::new() };
    fields
}

/// The numbers of a log: those of a day, its lines, and the two names of the original program (`total`,
/// `ip`).
pub fn file_fields(totals: &Totals) -> Map<String, Value> {
    let mut fields = day_fields(totals);
    for (name, number) in [
        ("total", totals.counts.requests()),
        ("ip", totals.clients.all()),
        ("lines", totals.counts.lines()),
        ("blank", totals.counts.blank),
    ] {
        fields.insert(name.to_owned(), number.into());
    }
    fields
}

/// `count --json`.
pub fn json(counts: &CountedFiles) -> Value {
    let mut files = Map::new();
    for file in counts.files() {
        // The path distinguishes files of one name in several folders.
        let name = shown(file.name());
        let path = shown(file.path.as_os_str().as_encoded_bytes());
        let key = if files.contains_key(&name) { path } else { name };
        files.insert(key, Value::Object(file_fields(&counts.of(file))));
    }
    let days: Map<String, Value> = counts
        .days()
        .into_iter()
        .map(|(day, totals)| {
            let mut fields = day_fields(&totals);
            fields.insert("total".to_owned(), totals.counts.requests().into());
            fields.insert("ip".to_owned(), totals.clients.all().into());
            (day.map_or(UNDATED.to_owned(), |day| day.to_string()), Value::Object(fields))
        })
        .collect();
    json!({"files": files, "days": days, "all": file_fields(&counts.all())})
}

/// `count --csv`: a line per file.
pub fn csv(counts: &CountedFiles) -> String {
    let mut text = String::from(
        "name,total,ip,lines,blank,requests,parsed,malformed,unique_ips,ipv4,ipv6,other,log_bytes\n",
    );
    for file in counts.files() {
        let totals = counts.of(file);
        let Numbers { requests, parsed, malformed, unique_ips, ipv4, ipv6, other, log_bytes, .. } =
            Numbers::from(&totals);
        let (lines, blank) = (totals.counts.lines(), totals.counts.blank);
        let numbers = [
            requests, unique_ips, lines, blank, requests, parsed, malformed, unique_ips, ipv4, ipv6, other,
            log_bytes,
        ];
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let _ = writeln!(text, "{},{}", csv_cell(&shown(file.name())), numbers.join(","));
    }
    text
}

/// A cell of text (RFC 4180). A text that a spreadsheet would read as a formula gets an apostrophe in front.
fn csv_cell(text: &str) -> String {
    let text = if text.len() > 1 && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A row of the table for people.
#[derive(Debug, Clone)]
pub struct Row {
    /// The log's name.
    pub name: Vec<u8>,
    /// Its numbers.
    pub totals: Totals,
}

/// A name with this mark has a note under the table.
const DOUBT_MARK: &str = "(?)";
/// The most notes under a table.
const DOUBTS_MAX: usize = 5;

/// The notes under a table: one for each marked log, at most five. Empty if no log is marked.
pub fn doubts(rows: &[Row]) -> String {
    let notes: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(Doubt::of(&row.totals)?.about(&shown_to_people(&row.name))))
        .collect();
    let mut text = String::new();
    for note in notes.iter().take(DOUBTS_MAX) {
        let _ = writeln!(text, "{DOUBT_MARK} {note}");
    }
    if let Some(more @ 1..) = notes.len().checked_sub(DOUBTS_MAX) {
        let _ = writeln!(text, "{DOUBT_MARK} and {more} more logs");
    }
    text
}

/// The table for people: a line per log and a last one over all of them, whose clients are united; without
/// one if they are not at hand. A log whose numbers are doubtful is marked: see [`doubts`].
pub fn table(rows: &[Row], all: Option<&Totals>) -> String {
    let line = |name: String, totals: &Totals| {
        [
            name,
            thousands(totals.counts.requests()),
            thousands(totals.clients.all()),
            thousands(totals.counts.malformed),
        ]
    };
    let mut cells = vec![["log", "requests", "unique clients", "malformed"].map(str::to_owned)];
    let mark = |row: &Row| if Doubt::of(&row.totals).is_some() { DOUBT_MARK } else { "" };
    cells.extend(rows.iter().map(|row| line(shown_to_people(&row.name) + mark(row), &row.totals)));
    cells.extend(all.map(|all| line(format!("all {}", thousands(rows.len() as u64)), all)));
    columns(&cells)
}

/// The answer of `/api/v1/status` for people.
///
/// # Errors
/// If `body` is not such an answer.
pub fn status(body: &str) -> Result<String, String> {
    let status: Value = serde_json::from_str(body)
        .map_err(|error| format!("the answer of the daemon is not JSON: {error}"))?;
    let text = |value: &Value| match value {
        Value::String(text) => shown_to_people(text.as_bytes()),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), thousands),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let pending = match &status["pending_bytes"] {
        Value::Null => "the folders have not been scanned yet".to_owned(),
        Value::Number(number) if number.as_u64() == Some(0) => {
            // Other words of `degraded` concern the store or the watching, not the counting.
            let lacks = list("degraded")
                .iter()
                .any(|word| word.as_str().is_some_and(|word| word.starts_with("logs: ")));
            if lacks { "everything readable is counted" } else { "everything is counted" }.to_owned()
        }
        number => format!("{} bytes to count", text(number)),
    };
    let logs = if status["logs"].as_u64() == Some(1) {
        "1 log".to_owned()
    } else {
        format!("{} logs", text(&status["logs"]))
    };
    let mut page = format!(
        "tallyd {}, up {} s, {logs}, {pending}\n\n",
        text(&status["version"]),
        text(&status["uptime_seconds"])
    );
    let mut cells = vec![["process", "pid", "state", "restarts"].map(str::to_owned)];
    for process in list("processes") {
        let number = process.get("number").map_or(String::new(), |number| format!(" {number}"));
        let pid = process["pid"].as_u64().map_or("-".to_owned(), |pid| pid.to_string());
        cells.push([
            text(&process["role"]) + &number,
            pid,
            text(&process["state"]),
            text(&process["restarts"]),
        ]);
    }
    page.push_str(&columns(&cells));
    if let Some(sandbox) = status["sandbox"].as_object() {
        let walls: Vec<&str> = ["landlock", "seccomp"]
            .into_iter()
            .filter(|wall| sandbox.get(*wall) == Some(&Value::Bool(true)))
            .collect();
        let _ = writeln!(
            page,
            "\nsandbox: {}",
            if walls.is_empty() { "none".to_owned() } else { walls.join(", ") }
        );
    }
    for word in list("degraded") {
        let _ = writeln!(page, "\ndegraded: {}", text(&word));
    }
    for range in list("quarantine") {
        let (name, bytes, from, reason) =
            (text(&range["name"]), text(&range["bytes"]), text(&range["from"]), text(&range["reason"]));
        let _ =
            writeln!(page, "\nquarantine: {name}: {bytes} bytes from {from} on are not counted: {reason}");
    }
    Ok(page)
}

/// Cells in columns, the first to the left, the others to the right.
pub fn columns<const N: usize>(cells: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in cells {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ =
                if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn the_headline_says_what_is_counted() {
        let first = |logs: u64, pending: Value, degraded: &[&str]| {
            let answer = serde_json::json!({"version": "1", "uptime_seconds": 2, "logs": logs, "pending_bytes": pending, "degraded": degraded});
            status(&answer.to_string()).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(first(1, 0.into(), &[]), "tallyd 1, up 2 s, 1 log, everything is counted");
        assert_eq!(first(2, 0.into(), &["watch: x"]), "tallyd 1, up 2 s, 2 logs, everything is counted");
        assert_eq!(
            first(2, 0.into(), &["logs: x"]),
            "tallyd 1, up 2 s, 2 logs, everything readable is counted"
        );
        assert_eq!(first(1_000, 1_234.into(), &[]), "tallyd 1, up 2 s, 1,000 logs, 1,234 bytes to count");
        assert_eq!(
            first(0, Value::Null, &[]),
            "tallyd 1, up 2 s, 0 logs, the folders have not been scanned yet"
        );
    }

    #[test]
    fn cells_are_no_formulas() {
        assert_eq!(csv_cell("=1+1"), "'=1+1");
        assert_eq!(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_cell("20210322.log"), "20210322.log");
        assert_eq!(csv_cell("-"), "-"); // standard input
    }
}
