//! The floors of the code: what each module may import, and what stays in its one place.
//!
//! A small reader of Rust tokens: comments and the insides of texts do not count, paths are followed through
//! `super` and groups. It sees what is written, so a path that a macro puts together escapes it; nothing here
//! does that. The checker is checked itself, on made-up files: a test that cannot fail is worse than none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules from the bottom up, each with exactly what it imports: one more arrow, or one less, is a
/// change to be made here too. Nothing imports what stands at its own height or above. The roles stand side
/// by side: worker, coordinator, api.
const FLOORS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("exit", &[]),
    ("log", &[]),
    ("sample", &["sys"]),
    ("decode", &["log", "sys"]),
    ("tally", &["log", "sys"]),
    ("numbers", &["tally"]),
    ("range", &["decode", "log", "sample", "sys", "tally"]),
    ("store", &["log", "range", "sample", "sys", "tally"]),
    ("period", &["log", "store"]),
    ("journal", &["log", "sys"]),
    ("config", &["decode", "journal", "log", "range", "sys", "tally"]),
    ("job", &["decode", "log", "range", "sample", "sys", "tally"]),
    ("board", &["decode", "log", "sys", "tally"]),
    ("count", &["config", "decode", "log", "range", "sys", "tally"]),
    ("show", &["count", "log", "numbers", "tally"]),
    ("stored", &["count", "log", "show", "store"]),
    ("ask", &[]),
    ("heritage", &["board", "config", "journal", "log", "sys"]),
    ("worker", &["board", "config", "decode", "heritage", "job", "journal", "range", "sys", "tally"]),
    (
        "coordinator",
        &[
            "board", "config", "decode", "exit", "heritage", "job", "journal", "log", "range", "sample",
            "show", "store", "sys", "tally",
        ],
    ),
    (
        "api",
        &[
            "board", "config", "decode", "exit", "heritage", "job", "journal", "log", "numbers", "period",
            "show", "store", "sys", "tally",
        ],
    ),
    (
        "supervisor",
        &[
            "api",
            "board",
            "config",
            "coordinator",
            "exit",
            "heritage",
            "job",
            "journal",
            "sys",
            "tally",
            "worker",
        ],
    ),
    ("cli", &["ask", "config", "count", "exit", "log", "period", "show", "stored", "supervisor", "tally"]),
    ("main", &["cli"]),
];

const ROLES: &[&str] = &["worker", "coordinator", "api"];

/// Words that stay in their places: the word, where it may stand, and why.
const PLACES: &[(&[&str], &[&str], &str)] = &[
    (
        &["unsafe"],
        &["sys/", "tally/kernel/"],
        "what the compiler cannot check is kept where it is looked for",
    ),
    (&["seccompiler"], &["sys/sandbox.rs"], "what shuts processes in stands in one place"),
    (
        &[
            "tokio",
            "tokio_rustls",
            "axum",
            "axum_core",
            "httparse",
            "hyper",
            "hyper_util",
            "tower",
            "tower_service",
        ],
        &["api/"],
        "only one process has a runtime, and it is the one that may die of it",
    ),
    (
        &["globset"],
        &["coordinator/", "config/globs.rs", "api/nouns/files.rs"],
        "which names are taken is settled with the settings and asked where folders are looked into; the api has patterns of its own",
    ),
    (
        &["rustls"],
        &["api/http/tls.rs", "ask.rs"],
        "keys and certificates are looked at where one answers and where one asks",
    ),
    (
        &["ring"],
        &["api/http/token.rs", "api/http/tls.rs", "ask.rs"],
        "what is secret is compared in one place; the others name it as the maker of TLS",
    ),
    (&["askama"], &["api/pages/", "api/nouns/docs.rs"], "HTML is made where the pages are"),
    (
        &["prometheus_client"],
        &["api/metrics.rs", "api/metrics/"],
        "its words are those of Prometheus, and stay at that edge",
    ),
    (
        &["clap_complete", "clap_mangen"],
        &["cli/manual.rs"],
        "completions and manual pages are printed in one place",
    ),
    (&["Inotify"], &["coordinator/notify.rs"], "events are hints, and one place knows of them"),
    // What is in `store/unite` is used by commands, by the api process, and by the thread of the coordinator
    // that keeps the store: none of them forks.
    (
        &["rayon"],
        &["count.rs", "store/unite.rs", "store/unite/", "api/ranges/"],
        "the daemon forks: no process of it may have threads that it does not know of",
    ),
];

/// Where no thread is started: the supervisor forks, and a worker or the coordinator that is killed is to be
/// one thing.
const ONE_THREAD: &[&str] = &["supervisor", "coordinator", "worker", "heritage"];
/// The one file of theirs that starts one: a disk that hangs must stop no counting.
const STORE_WRITER: &str = "coordinator/store_writer.rs";

const LINES_MAX: usize = 700;

// ---- the reader ----

/// The words and signs of a source file: identifiers, `::`, and every other sign alone. Of texts, only those
/// that are paths.
fn tokens(source: &str) -> Vec<&str> {
    let bytes = source.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let find = |from: usize, end: &str| {
        source.get(from..).and_then(|rest| rest.find(end)).map_or(bytes.len(), |at| from + at + end.len())
    };
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let start = at;
        match rest {
            [b'/', b'/', ..] => at = find(at, "\n"),
            [b'/', b'*', ..] => {
                let mut depth = 0;
                while at < bytes.len() {
                    let (more, step) = match &bytes[at..] {
                        [b'/', b'*', ..] => (1, 2),
                        [b'*', b'/', ..] => (-1, 2),
                        _ => (0, 1),
                    };
                    (depth, at) = (depth + more, at + step);
                    if depth == 0 {
                        break;
                    }
                }
            }
            [b'"', ..] => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                // `#[serde(with = "crate::x")]` is an import like any other.
                let inside = source.get(start + 1..at - 1).unwrap_or("");
                if inside.starts_with("crate::") {
                    tokens.extend(self::tokens(inside));
                }
            }
            // A character, or else a lifetime.
            [b'\'', b'\\', ..] => at = find(at + 3, "'"),
            [b'\'', ..] => {
                let length =
                    source.get(at + 1..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                at += if bytes.get(at + 1 + length) == Some(&b'\'') { length + 2 } else { 1 };
            }
            [byte, ..] if word(*byte) => {
                at += rest.iter().position(|byte| !word(*byte)).unwrap_or(rest.len());
                let hashes = bytes[at.min(bytes.len())..].iter().take_while(|byte| **byte == b'#').count();
                let text = source.get(start..at).unwrap_or("");
                match bytes.get(at + hashes) {
                    // A raw text. Other texts with a letter before them are texts.
                    Some(b'"') if matches!(text, "r" | "br" | "cr") => {
                        at = find(at + hashes + 1, &format!("\"{}", "#".repeat(hashes)))
                    }
                    _ => tokens.push(text),
                }
            }
            [b':', b':', ..] => {
                at += 2;
                tokens.push("::");
            }
            [byte, ..] => {
                at += 1;
                if !byte.is_ascii_whitespace() {
                    tokens.extend(source.get(start..at));
                }
            }
            [] => {}
        }
    }
    tokens
}

/// The modules of the crate that a file names, by the first words of its paths. `*` is the crate itself.
fn imports<'a>(module: &[&'a str], tokens: &[&'a str]) -> BTreeSet<&'a str> {
    let mut imports = BTreeSet::new();
    // The modules within the file that are open, each with the depth of its brace.
    let (mut inner, mut depth): (Vec<(&str, usize)>, usize) = (Vec::new(), 0);
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inner.pop_if(|(_, open)| *open > depth);
            }
            "mod" if tokens.get(at + 2) == Some(&"{") => {
                inner.push((tokens[at + 1], depth + 1));
            }
            // `pub(crate)` and `pub(super)` name nobody. In the program, the crate is called by its name.
            "crate" | "super" if tokens.get(at + 1) != Some(&")") && (at == 0 || tokens[at - 1] != "::") => {
                let here: Vec<&str> =
                    module.iter().copied().chain(inner.iter().map(|(name, _)| *name)).collect();
                at = follow(here, tokens, at, &mut imports);
                continue;
            }
            "tallyd" if tokens.get(at + 1) == Some(&"::") => {
                at = follow(Vec::new(), tokens, at + 2, &mut imports);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    imports
}

/// Follows a path, or a group of them, from module `here` on; says where it ends.
fn follow<'a>(
    mut here: Vec<&'a str>,
    tokens: &[&'a str],
    mut at: usize,
    imports: &mut BTreeSet<&'a str>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match *token {
            "crate" => here.clear(),
            "super" => drop(here.pop()),
            "self" => {}
            "{" => {
                at += 1;
                while let Some(token) = tokens.get(at).filter(|token| **token != "}") {
                    at = match *token {
                        "," => at + 1,
                        "as" => at + 2,
                        _ => follow(here.clone(), tokens, at, imports),
                    };
                }
                return at + 1;
            }
            name => here.push(name),
        }
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    imports.insert(here.first().copied().unwrap_or("*"));
    at
}

// ---- the checks ----

/// The modules that a file of `src/` is in: `tally/kernel/x86.rs` is `tally`, `kernel`, `x86`.
fn module(path: &str) -> Vec<&str> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.strip_suffix("/mod").unwrap_or(path).split('/').filter(|name| *name != "lib").collect()
}

/// What the modules of a file import, without themselves.
fn imports_of(path: &str, source: &str) -> BTreeSet<String> {
    let module = module(path);
    let imports = imports(if module == ["main"] { &[] } else { &module }, &tokens(source));
    imports.into_iter().filter(|import| module.first() != Some(import)).map(str::to_owned).collect()
}

/// What is wrong with a file of `src/`.
fn wrongs(path: &str, source: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    let tokens = tokens(source);
    let name = module(path).first().copied().unwrap_or("lib");
    match FLOORS.iter().find(|(module, _)| *module == name) {
        Some((_, allowed)) => {
            let more =
                imports_of(path, source).into_iter().filter(|import| !allowed.contains(&import.as_str()));
            wrongs.extend(more.map(|import| format!("{path} imports {import}")));
        }
        // The library's root names all modules and imports none.
        None if name == "lib" => wrongs
            .extend(imports_of(path, source).into_iter().map(|import| format!("{path} imports {import}"))),
        None => wrongs.push(format!("{path} stands on no floor")),
    }
    for (words, places, why) in PLACES {
        if !places.iter().any(|place| path.starts_with(place))
            && let Some(word) = words.iter().find(|word| tokens.contains(word))
        {
            wrongs.push(format!("{path} has {word}: {why}"));
        }
    }
    if ONE_THREAD.contains(&name) && path != STORE_WRITER {
        let starts = |pair: &[&str]| {
            pair[0] == "spawn" || (pair[0] == "::" && ["spawn", "scope", "Builder"].contains(&pair[1]))
        };
        if tokens.windows(2).any(starts) {
            wrongs.push(format!("{path} starts a thread"));
        }
    }
    if source.lines().count() > LINES_MAX {
        wrongs.push(format!("{path} has more than {LINES_MAX} lines"));
    }
    wrongs
}

/// All files of `src/`, by their paths in it.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                // The pages are made of templates, which are beside their code.
                if name.starts_with("api/pages/templates/") || name == "api/pages/askama.toml" {
                    continue;
                }
                assert!(name.ends_with(".rs"), "{name} is no source");
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), BTreeMap::new());
    walk(&root, &root, &mut found);
    found
}

#[test]
fn the_sources_keep_to_their_floors() {
    let wrongs: Vec<String> = sources().iter().flat_map(|(path, source)| wrongs(path, source)).collect();
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[test]
fn the_floors_are_those_of_the_sources() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, source) in sources().iter().filter(|(path, _)| *path != "lib.rs") {
        found.entry(module(path)[0].to_owned()).or_default().extend(imports_of(path, source));
    }
    let written = FLOORS.iter().map(|(module, imports)| {
        ((*module).to_owned(), imports.iter().map(|import| (*import).to_owned()).collect())
    });
    assert_eq!(found, written.collect());
}

#[test]
fn arrows_point_down() {
    for (height, (module, imports)) in FLOORS.iter().enumerate() {
        for import in *imports {
            assert!(
                FLOORS[..height].iter().any(|(lower, _)| lower == import),
                "{module} imports {import}, which is not below it"
            );
            assert!(
                !(ROLES.contains(module) && ROLES.contains(import)),
                "the role {module} imports the role {import}"
            );
        }
    }
    assert!(ROLES.iter().all(|role| FLOORS.iter().any(|(module, _)| module == role)));
}

// ---- the checker, checked ----

/// A made-up file is wrong in this one way.
#[track_caller]
fn check_wrong(path: &str, source: &str, wrong: &str) {
    let found = wrongs(path, source);
    assert!(found.len() == 1 && found[0].contains(wrong), "{source}: {found:?} is not {wrong:?}");
}

#[track_caller]
fn check_right(path: &str, source: &str) {
    assert_eq!(wrongs(path, source), [""; 0], "{source}");
}

#[test]
fn an_import_that_points_up_is_found() {
    check_wrong("log/day.rs", "use crate::tally::Tally;", "log/day.rs imports tally");
    check_wrong("log/mod.rs", "pub use crate::tally::Tally;", "imports tally");
    check_wrong("tally/counter.rs", "use crate::range::Range;", "imports range");
    check_wrong("range.rs", "use crate::{log::BOM, count::Counts, tally::{Tally, Rules}};", "imports count");
    check_wrong("range.rs", "use crate::{log::{self, BOM}, tally as t, show};", "imports show");
    check_wrong("range.rs", "use crate::{self as all};", "imports *");
    check_wrong("range.rs", "use crate as all;", "imports *");
    check_wrong("range.rs", "use crate::*;", "imports *");
    check_wrong("journal.rs", "fn f() { let x = crate::board::Row::new(); }", "imports board");
    check_wrong("journal.rs", "fn f() -> Option<crate::board::Row> { None }", "imports board");
    check_wrong("journal.rs", "fn f() { x!(crate::board::Row) }", "imports board");
    check_wrong("journal.rs", "fn f() {\n    crate\n        ::board::g()\n}", "imports board");
    check_wrong("journal.rs", "#[serde(with = \"crate::show::json\")]", "imports show");
    check_wrong(
        "journal.rs",
        "use crate::{log::{self as l, shown as s}, board::row::{publish, read}};",
        "imports board",
    );
    check_wrong(
        "journal.rs",
        "const X: &str = \"/*\"; use crate::board; const Y: &str = \"*/\";",
        "imports board",
    );
    check_wrong(
        "journal.rs",
        "const X: char = '\"'; use crate::board; const Y: char = '\"';",
        "imports board",
    );
    check_wrong("journal.rs", "const X: &str = r#\"\"//\"#; use crate::board;", "imports board");
    check_wrong("journal.rs", "fn f<'a>(x: &'a str) -> &'a str { crate::board::g(x) }", "imports board");
    // Through `super`, from a file, a file in a folder, and a module within a file.
    check_wrong("range.rs", "use super::count::Counts;", "imports count");
    check_wrong("range.rs", "use super::{count::Counts, log::BOM};", "imports count");
    check_wrong("log/day.rs", "use super::super::tally::Tally;", "imports tally");
    check_wrong("log/mod.rs", "use super::tally::Tally;", "imports tally");
    check_wrong("tally/kernel/x86.rs", "fn f() { super::super::super::range::count() }", "imports range");
    check_wrong("range.rs", "mod tests { use super::*; use super::super::count::Counts; }", "imports count");
    check_wrong("range.rs", "mod tests { fn f() {} } use super::count::Counts;", "imports count");
    // Roles.
    check_wrong("worker/mod.rs", "use crate::coordinator::ledger::Log;", "imports coordinator");
    check_wrong("coordinator/scan.rs", "use crate::worker::run;", "imports worker");
    check_wrong("api/routes.rs", "fn f() { crate::coordinator::run() }", "imports coordinator");
    check_wrong("heritage.rs", "use crate::supervisor::Exit;", "imports supervisor");
    check_wrong("supervisor/mod.rs", "use crate::cli::run;", "imports cli");
    check_wrong("main.rs", "use tallyd::{cli, worker::run};", "imports worker");
    check_wrong("main.rs", "fn main() { tallyd::supervisor::serve() }", "imports supervisor");
    check_wrong("lib.rs", "pub mod log; pub use crate::log::Day;", "imports log");
    check_wrong("util.rs", "", "stands on no floor");
}

#[test]
fn an_import_that_points_down_is_right() {
    check_right(
        "range.rs",
        "use crate::log::BOM; use crate::tally::{Counter, Rules}; fn f() { crate::sys::map::read_at() }",
    );
    check_right(
        "range.rs",
        "// use crate::count;\n/* crate::count /* crate::show */ crate::cli */ //! crate::count",
    );
    check_right(
        "range.rs",
        "const X: &str = \"see crate::count, or \\\" crate::show\"; const Y: &str = r#\"crate::\"count\"#; const Z: &[u8] = b\"crate\";",
    );
    check_right("range.rs", "pub(crate) fn f() {} pub(super) struct X; pub(in crate::range) fn g() {}");
    check_right(
        "range.rs",
        "mod tests { use super::*; use super::count; mod more { use super::super::count; } }",
    );
    check_right(
        "tally/kernel/x86.rs",
        "use super::{Kernel, Work}; use super::super::range; use crate::tally::range;",
    );
    check_right(
        "coordinator/ledger/tests.rs",
        "use super::*; use crate::coordinator::work::X; use super::super::worker;",
    );
    check_right("log/day.rs", "fn f() { self::count::g(); other::count::h(); }");
    check_right("main.rs", "fn main() -> ExitCode { tallyd::cli::run() }");
    check_right("lib.rs", "pub mod log; pub mod cli;");
}

#[test]
fn a_word_out_of_its_place_is_found() {
    check_wrong("range.rs", "fn f() { unsafe { g() } }", "range.rs has unsafe");
    check_wrong("tally/counter.rs", "unsafe fn f() {}", "has unsafe");
    check_wrong("tally/kernel.rs", "#[unsafe(no_mangle)] fn f() {}", "has unsafe");
    check_wrong("worker/mod.rs", "unsafe impl Send for X {}", "has unsafe");
    check_wrong("coordinator/mod.rs", "use tokio::net::TcpListener;", "has tokio");
    check_wrong("show.rs", "fn f(x: axum::Router) {}", "has axum");
    check_wrong("cli.rs", "use hyper::server;", "has hyper");
    check_wrong("cli.rs", "use hyper_util::rt;", "has hyper_util");
    check_wrong("supervisor/mod.rs", "use rayon::prelude::*;", "has rayon");
    check_wrong("api/routes.rs", "use prometheus_client::registry::Registry;", "has prometheus_client");
    check_wrong("range.rs", "fn f() { rayon::join(g, h); }", "has rayon");
    check_wrong("api/mod.rs", "use rayon::prelude::*;", "has rayon");
    check_right("sys/map.rs", "fn f() { unsafe { g() } }");
    check_right("tally/kernel/x86.rs", "fn f() { unsafe { g() } }");
    check_right("api/http/accept.rs", "use tokio::net::TcpListener; use axum::Router; use hyper_util::rt;");
    check_right("api/metrics/page.rs", "use prometheus_client::registry::Unit;");
    check_right("count.rs", "fn f() { rayon::join(g, h); }");
    check_right("coordinator/store_writer.rs", "fn f() { std::thread::spawn(g); }");
    check_right(
        "range.rs",
        "// unsafe, tokio\n/// unsafe\nconst X: &str = \"unsafe rayon\"; #![deny(unsafe_op_in_unsafe_fn)]",
    );
}

#[test]
fn a_thread_where_none_is_started_is_found() {
    for path in [
        "supervisor/mod.rs",
        "supervisor/child.rs",
        "coordinator/mod.rs",
        "worker/mod.rs",
        "worker/fault.rs",
        "heritage.rs",
    ] {
        check_wrong(path, "fn f() { std::thread::spawn(g); }", "starts a thread");
        check_wrong(path, "use std::thread::{self, spawn}; fn f() { spawn(g); }", "starts a thread");
        check_wrong(path, "fn f() { std::thread::Builder::new(); }", "starts a thread");
        check_wrong(path, "fn f() { thread::scope(g); }", "starts a thread");
        check_right(path, "fn f() { std::thread::sleep(X); } // std::thread::spawn");
    }
    check_right("api/mod.rs", "fn f() { std::thread::spawn(g); }");
}

#[test]
fn a_file_that_is_too_long_is_found() {
    check_wrong("range.rs", &"\n".repeat(LINES_MAX + 1), "more than 700 lines");
    check_right("range.rs", &"\n".repeat(LINES_MAX));
}
