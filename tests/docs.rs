//! The transcripts of README.md and docs/API.md are what tallyd prints.
//!
//! Every line with `$` in a `console` block is run, in order, against a daemon of the document's own over a
//! copy of `files/`, and its output is compared with the lines below it. JSON is compared without the fields
//! that differ in each run (`VOLATILE`); ids are compared by the log they stand for. `UPDATE_DOCS=1` writes
//! the output into the document.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Daemon, Folder, wait_until};

const TOKEN: &str = "Eephaim2oSei8xoo6aLahngoo4Quuz7i";
const ADDRESS: &str = "http://127.0.0.1:8080";
/// The logs of `files/`.
const SAMPLES: [&str; 3] = ["20210322.log", "20210323.log", "access-2021-03-24.log"];
/// Fields that are different each time.
const VOLATILE: &[&str] =
    &["as_of", "pid", "uptime_seconds", "unstored_files", "landlock", "seccomp", "memory"];

/// A piece of the document.
enum Piece {
    /// As it is.
    Text(String),
    /// A command, and what it prints.
    Step(String, String),
}

fn pieces(document: &str) -> Vec<Piece> {
    let (mut pieces, mut in_console) = (Vec::new(), false);
    for line in document.split_inclusive('\n') {
        let command = line.strip_prefix("$ ").filter(|_| in_console);
        match (command, pieces.last_mut()) {
            _ if line.starts_with("```") => {
                in_console = line == "```console\n";
                pieces.push(Piece::Text(line.to_owned()));
            }
            (Some(command), _) => pieces.push(Piece::Step(command.trim_end().to_owned(), String::new())),
            (None, Some(Piece::Step(_, answer))) if in_console && line != "\n" => answer.push_str(line),
            _ => pieces.push(Piece::Text(line.to_owned())),
        }
    }
    pieces
}

/// The ids of the document, and what they are here.
#[derive(Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    fn translate(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (written, real)| text.replace(written, real))
    }

    /// Is this what was written, but for what is different each time?
    fn same(&mut self, written: &Value, real: &Value) -> bool {
        let is_id = |text: &str| {
            text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match (written, real) {
            (Value::Object(written), Value::Object(real)) => {
                let is_process = written.contains_key("role");
                let is_volatile = |key: &str| VOLATILE.contains(&key) || (is_process && key == "state");
                // All are looked at, whatever the first ones are: ids are learned on the way.
                let mut compare = |(key, one): (&String, &Value)| {
                    is_volatile(key) || real.get(key).is_some_and(|two| self.same(one, two))
                };
                let differ = written.iter().filter(|field| !compare(*field)).count();
                differ == 0 && written.keys().eq(real.keys())
            }
            (Value::Array(written), Value::Array(real)) => {
                let differ = written.iter().zip(real).filter(|(one, two)| !self.same(one, two)).count();
                differ == 0 && written.len() == real.len()
            }
            (Value::String(written), Value::String(real)) if is_id(written) && is_id(real) => {
                // A cursor has it within, byte by byte.
                let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
                self.0.entry(hex(written)).or_insert_with(|| hex(real));
                self.0.entry(written.clone()).or_insert_with(|| real.clone()) == real
            }
            (Value::String(written), Value::String(real)) => self.translate(written) == *real,
            _ => written == real,
        }
    }
}

/// Runs the transcripts of a document, of which there are at least `steps_min`, against a daemon of their
/// own.
fn transcripts_are_real(document: &str, steps_min: usize) {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: curl is not installed here");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, folder) = (root.join(document), Folder::new());
    for copy in ["logs", "files"] {
        fs::create_dir_all(folder.join(copy)).unwrap();
        for name in SAMPLES {
            // Written anew: as old as the test.
            fs::write(folder.join(copy).join(name), fs::read(root.join("files").join(name)).unwrap())
                .unwrap();
        }
    }
    let daemon = Daemon::start_in(folder, &[], &[("TALLYD_TOKEN", TOKEN)]);
    wait_until("all logs are counted and stored", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0 && status["logs"] == SAMPLES.len() && status["unstored_files"] == 0)
            .then_some(())
    });
    // `tallyd` is the program under test.
    let search =
        format!("{}:{}", support::program().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let (mut ids, mut wrong, mut updated) = (Ids::default(), Vec::new(), String::new());
    let mut steps = 0;
    for piece in pieces(&fs::read_to_string(&path).unwrap()) {
        let (command, written) = match piece {
            Piece::Text(text) => {
                updated += &text;
                continue;
            }
            Piece::Step(command, written) => (command, written),
        };
        steps += 1;
        let line = ids.translate(&command).replace(ADDRESS, &daemon.url(""));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &line])
            .env("TOKEN", TOKEN)
            .env("no_proxy", "*")
            .env("PATH", &search)
            .current_dir(daemon.folder.path());
        let output = shell.output().unwrap();
        let real = String::from_utf8(output.stdout).unwrap();
        let same = match (serde_json::from_str(&written), serde_json::from_str(&real)) {
            (Ok(written), Ok(real)) => ids.same(&written, &real),
            _ => written.trim_end() == real.trim_end(),
        };
        if !same {
            wrong.push(format!(
                "$ {command}\nthe document has:\n{written}tallyd prints:\n{real}\n{}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let end = if real.is_empty() || real.ends_with('\n') { "" } else { "\n" };
        updated += &format!("$ {}\n{real}{end}", ids.translate(&command));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, updated).unwrap();
    }
    assert!(steps >= steps_min, "{document} has only {steps} commands");
    assert!(wrong.is_empty(), "{document}: {}", wrong.join("\n"));
}

#[test]
fn the_transcripts_of_the_readme_are_real() {
    transcripts_are_real("README.md", 2);
}

#[test]
fn the_transcripts_of_the_api_document_are_real() {
    transcripts_are_real("docs/API.md", 20);
}

/// The README is a front door: it is short, and fits a terminal.
#[test]
fn the_readme_fits_a_screen() {
    let readme = include_str!("../README.md");
    assert!(readme.lines().count() < 160, "README.md has {} lines", readme.lines().count());
    for (number, line) in (1..).zip(readme.lines()) {
        assert!(line.chars().count() <= 120, "README.md:{number} has {} columns", line.chars().count());
    }
}

/// Each link of the documents leads to a file, and to a heading of it.
#[test]
fn the_links_of_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"));
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root.join(name));
    // As GitHub names the anchor of a heading: small letters, digits, `_` and `-`; a dash for each space.
    let anchor = |heading: &str| -> String {
        let letter = |character: char| match character {
            ' ' | '-' => Some('-'),
            '_' => Some('_'),
            other => other.is_alphanumeric().then(|| other.to_lowercase().next().unwrap()),
        };
        heading.trim_start_matches('#').trim().chars().filter_map(letter).collect()
    };
    let anchors = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
    };
    let (mut dead, mut links) = (Vec::new(), 0);
    for path in docs.chain(top) {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has_heading = || {
                heading.is_empty()
                    || fs::read_to_string(&file)
                        .is_ok_and(|text| anchors(&text).iter().any(|anchor| anchor == heading))
            };
            if !file.exists() || !has_heading() {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(links > 20, "only {links} links were found");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn the_scripts_of_the_document_can_be_read_by_a_shell() {
    let document = include_str!("../docs/API.md");
    let scripts: Vec<&str> =
        document.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```\n")?.0)).collect();
    assert!(!scripts.is_empty());
    for script in scripts {
        let output = Command::new("sh").args(["-n", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The comparison itself: a test that cannot fail is worse than none.
#[test]
fn what_is_different_is_found() {
    let check = |written: &str, real: &str, same: bool| {
        let (one, two) = (serde_json::from_str(written).unwrap(), serde_json::from_str(real).unwrap());
        assert_eq!(Ids::default().same(&one, &two), same, "{written} and {real}");
    };
    check(r#"{"a":1,"pid":2}"#, r#"{"a":1,"pid":3}"#, true);
    check(r#"{"a":1}"#, r#"{"a":2}"#, false);
    check(r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false);
    check(r#"{"state":"live"}"#, r#"{"state":"gone"}"#, false);
    check(r#"{"role":"api","state":"idle"}"#, r#"{"role":"api","state":"working"}"#, true);
    check(r#"[1,2]"#, r#"[1]"#, false);
    check(r#"["0123456789abcdef","0123456789abcdef"]"#, r#"["fedcba9876543210","fedcba9876543210"]"#, true);
    check(r#"["0123456789abcdef","0123456789abcdef"]"#, r#"["fedcba9876543210","fedcba9876543211"]"#, false);
    check(
        r#"["0123456789abcdef","/x/0123456789abcdef"]"#,
        r#"["fedcba9876543210","/x/fedcba9876543210"]"#,
        true,
    );
    assert_eq!(
        pieces("a\n```console\n$ b\nc\nd\n\n$ e\n```\n$ f\n")
            .iter()
            .filter(|piece| matches!(piece, Piece::Step(..)))
            .count(),
        2
    );
}

#[test]
fn completions_and_manual_pages_know_the_commands() {
    let run = |arguments: &[&str]| {
        let output = support::tallyd().args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        for word in ["healthcheck", "upload-max-mib", "client-rule"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let (_, script, _) = run(&["completions", "bash"]);
    assert!(Command::new("bash").args(["-n", "-c", &script]).status().is_ok_and(|status| status.success()));
    let (code, page, _) = run(&["man"]);
    assert!(
        code == Some(0)
            && page.contains(".TH tallyd 1")
            && page.contains(r"upload\-max\-mib")
            && page.contains("TALLYD_UPLOAD_MAX_MIB"),
        "{page}"
    );
    let (_, page, _) = run(&["man", "count"]);
    assert!(page.contains(".TH tallyd-count 1") && page.contains(r"\-\-csv"), "{page}");
    assert!(page.contains("zcat /var/log/nginx/access.log.*.gz | tallyd count"), "{page}");
    let (_, page, _) = run(&["man", "store", "ls"]);
    assert!(page.contains(".TH tallyd-store-ls 1") && page.contains(r"\-\-json"), "{page}");
    for words in [&["man"][..], &["man", "serve"], &["man", "store", "ls"]] {
        let (_, page, _) = run(words);
        let title = page.lines().find(|line| line.starts_with(".TH")).unwrap_or_default();
        assert!(title.ends_with(concat!("\"tallyd ", env!("CARGO_PKG_VERSION"), "\" ")), "{title:?}");
    }
    let (code, page, error) = run(&["man", "nothing"]);
    assert_eq!((code, page.as_str()), (Some(1), ""));
    assert!(error.contains("no command `nothing`"), "{error}");
}
