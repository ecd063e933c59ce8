//! `tallyd count` and `tallyd verify` as they are used: the program itself, its output, its exit code.

mod support;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use support::{Folder, tallyd};
use tallyd::log::{Rule, day_of_name};
use tallyd::tally::plain::{self, PlainTally};
use tallyd::tally::{Rules, Totals};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/files");
const NAMES: [&str; 3] = ["20210322.log", "20210323.log", "access-2021-03-24.log"];
const LINE: &str = "203.0.113.7 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n";

/// What a run of the program gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs it with these arguments and this on standard input.
fn run_with<S: AsRef<OsStr>>(input: &[u8], arguments: &[S]) -> Ran {
    let mut child = tallyd()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program may end without reading it.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Ran {
    run_with(b"", arguments)
}

/// Runs it, which must go well and without a word on stderr; says what it printed.
#[track_caller]
fn print<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let Ran { code, out, err } = run(arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

/// `count --json` of these paths.
#[track_caller]
fn count_json(paths: &[&Path]) -> Value {
    let mut arguments = vec![OsStr::new("count"), OsStr::new("--json")];
    arguments.extend(paths.iter().map(|path| path.as_os_str()));
    serde_json::from_str(&print(&arguments)).unwrap()
}

/// A log alone, counted: its requests and its unique clients.
#[track_caller]
fn check_counted(path: &Path, requests: u64, uniques: u64) {
    let all = &count_json(&[path])["all"];
    assert_eq!((&all["requests"], &all["unique_ips"]), (&json!(requests), &json!(uniques)), "{all}");
}

/// A wrong command line: exit 2, a word on stderr, nothing printed.
#[track_caller]
fn check_usage(arguments: &[&str], word: &str) {
    let ran = run(arguments);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
    assert!(ran.err.contains(word), "{}", ran.err);
}

fn gz(members: &[&[u8]]) -> Vec<u8> {
    let member = |bytes: &&[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    members.iter().flat_map(member).collect()
}

/// Numbers by the names of the API.
fn day_fields(totals: &Totals) -> BTreeMap<&'static str, Value> {
    let (requests, uniques) = (
        json!(totals.counts.parsed + totals.counts.malformed),
        json!(totals.clients.ipv4 + totals.clients.ipv6 + totals.clients.other),
    );
    BTreeMap::from([
        ("total", requests.clone()),
        ("requests", requests),
        ("ip", uniques.clone()),
        ("unique_ips", uniques),
        ("parsed", json!(totals.counts.parsed)),
        ("malformed", json!(totals.counts.malformed)),
        ("ipv4", json!(totals.clients.ipv4)),
        ("ipv6", json!(totals.clients.ipv6)),
        ("other", json!(totals.clients.other)),
        ("log_bytes", json!(totals.counts.log_bytes)),
        ("requests_by_hour", json!(totals.counts.hours)),
    ])
}

/// Likewise with those that only files have.
fn file_fields(totals: &Totals) -> BTreeMap<&'static str, Value> {
    let mut fields = day_fields(totals);
    fields.extend([
        ("blank", json!(totals.counts.blank)),
        ("lines", json!(totals.counts.parsed + totals.counts.malformed + totals.counts.blank)),
    ]);
    fields
}

/// What `count --json` must say of logs, by the plain program.
fn expected(logs: &[(&str, Vec<u8>)], rule: Rule) -> Value {
    let (mut files, mut days, mut all) =
        (BTreeMap::new(), BTreeMap::<String, PlainTally>::new(), PlainTally::default());
    for (name, log) in logs {
        let tally = plain::tally(log, Rules { client: rule });
        files.insert(name, file_fields(&tally.totals()));
        all.blank += tally.blank;
        // Under a key of its own for each file, so that the clients of all are united.
        for (day, numbers) in plain::tally(log, Rules { client: rule }).days {
            let file_day = day_of_name(name.as_bytes()).map_or("undated".to_owned(), |day| day.to_string());
            days.entry(if day.is_empty() { file_day } else { day.clone() })
                .or_default()
                .days
                .insert(format!("{name} {day}"), numbers);
        }
        all.days.extend(tally.days.into_iter().map(|(day, numbers)| (format!("{name} {day}"), numbers)));
    }
    let days: BTreeMap<_, _> = days.iter().map(|(day, tally)| (day, day_fields(&tally.totals()))).collect();
    json!({"files": files, "days": days, "all": file_fields(&all.totals())})
}

/// A folder with the samples and nothing else: `files/` may hold logs of whoever runs the tests.
fn samples_folder() -> Folder {
    let folder = Folder::new();
    samples().into_iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    folder
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    NAMES.iter().map(|name| (*name, fs::read(Path::new(FILES).join(name)).unwrap())).collect()
}

#[test]
fn json_says_what_the_plain_program_counts() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let got: Value = serde_json::from_str(&print(&["count", "--json", files])).unwrap();
    assert_eq!(got, expected(&samples(), Rule::FirstField));
    assert_eq!(
        got["days"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["2021-03-22", "2021-03-23", "2021-03-24", "2021-03-25"]
    );
    assert_eq!(
        (&got["files"]["20210322.log"]["total"], &got["files"]["20210322.log"]["ip"]),
        (&json!(401), &json!(61))
    );
    assert_eq!((&got["all"]["requests"], &got["all"]["unique_ips"]), (&json!(952), &json!(83)));
}

#[test]
fn the_rule_can_be_chosen() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let got: Value =
        serde_json::from_str(&print(&["count", "--client-rule", "before-dashes", "--json", files])).unwrap();
    assert_eq!(got, expected(&samples(), Rule::BeforeDashes));
    assert_eq!((&got["files"]["20210322.log"]["ip"], &got["all"]["unique_ips"]), (&json!(72), &json!(107)));
    assert_eq!(
        print(&["count", "--client-rule", "first-field", "--json", files]),
        print(&["count", "--json", files])
    );
}

#[test]
fn a_table_for_people() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let table = "\
log                    requests  unique clients  malformed
20210322.log                401              61          1
20210323.log                301              48          1
access-2021-03-24.log       250              40          0
all 3                       952              83          2
";
    assert_eq!(print(&["count", files]), table);
    let folder = Folder::new();
    fs::write(folder.join("x.log"), LINE.repeat(1_234)).unwrap();
    let table = "\
log    requests  unique clients  malformed
x.log     1,234               1          0
all 1     1,234               1          0
";
    assert_eq!(print(&[OsStr::new("count"), folder.path().as_os_str()]), table);
}

#[test]
fn csv_for_programs() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let csv = "\
name,total,ip,lines,blank,requests,parsed,malformed,unique_ips,ipv4,ipv6,other,log_bytes
20210322.log,401,61,403,2,401,400,1,61,57,3,1,58917
20210323.log,301,48,301,0,301,300,1,48,43,4,1,43684
access-2021-03-24.log,250,40,250,0,250,250,0,40,39,1,0,36901
";
    assert_eq!(print(&["count", "--csv", files]), csv);
}

#[test]
fn paths_are_counted_in_the_order_given() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let paths = NAMES.map(|name| format!("{files}/{name}"));
    let out = print(&["count", "--csv", &paths[2], &paths[0]]);
    let names: Vec<&str> = out.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(names, ["name", NAMES[2], NAMES[0]]);
}

#[test]
fn standard_input() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let (_, log) = &samples()[0];
    let ran = run_with(log, &["count", "--json", "-"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let got: Value = serde_json::from_str(&ran.out).unwrap();
    // Its name has no date, so its malformed requests are undated.
    assert_eq!(got, expected(&[("-", log.clone())], Rule::FirstField));
    assert_eq!(got["days"]["undated"]["malformed"], json!(1));
    // Beside a file, with a mark, without an LF.
    let ran =
        run_with(b"\xef\xbb\xbf203.0.113.7 - -", &["count", "--csv", &format!("{files}/{}", NAMES[0]), "-"]);
    assert_eq!((ran.code, ran.out.lines().last()), (0, Some("-,1,1,1,0,1,0,1,1,1,0,0,15")));
    // Nothing at all.
    assert_eq!(print(&["count", "--csv", "-"]).lines().last(), Some("-,0,0,0,0,0,0,0,0,0,0,0,0"));
}

#[test]
fn a_folder_means_its_visible_files() {
    let folder = Folder::new();
    for name in ["b.log", "a.log", ".hidden.log"] {
        fs::write(folder.join(name), LINE).unwrap();
    }
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/c.log"), LINE).unwrap();
    File::create(folder.join("empty.log")).unwrap();
    let out = print(&[OsStr::new("count"), OsStr::new("--csv"), folder.path().as_os_str()]);
    let counted: Vec<Vec<&str>> = out.lines().skip(1).map(|line| line.split(',').take(3).collect()).collect();
    assert_eq!(counted, [["a.log", "1", "1"], ["b.log", "1", "1"], ["empty.log", "0", "0"]]);
    // One that is hidden counts if it is asked for.
    check_counted(&folder.join(".hidden.log"), 1, 1);
    // A folder without files is no error.
    fs::create_dir(folder.join("none")).unwrap();
    check_counted(&folder.join("none"), 0, 0);
}

#[test]
fn gz_files() {
    let folder = Folder::new();
    let path = folder.join("access.log-20210322.gz");
    let other = LINE.replace("113.7", "113.8");
    let check = |bytes: &[u8], requests, uniques| {
        fs::write(&path, bytes).unwrap();
        check_counted(&path, requests, uniques);
    };
    check(&gz(&[LINE.as_bytes()]), 1, 1);
    // Members one after another are one log; a line may lie across both.
    check(&gz(&[LINE.as_bytes(), other.as_bytes()]), 2, 2);
    check(&gz(&[&LINE.as_bytes()[..20], &LINE.as_bytes()[20..], other.as_bytes()]), 2, 2);
    check(&gz(&[b"\xef\xbb\xbf", LINE.as_bytes(), LINE.as_bytes()]), 2, 1);
    check(&gz(&[b"a\nb"]), 2, 2);
    check(&gz(&[b""]), 0, 0);
    // What does not fit a buffer.
    check(&gz(&[LINE.repeat(100_000).as_bytes(), other.repeat(5).as_bytes()]), 100_005, 2);
    // Cut where a member ends: nothing tells.
    let both = gz(&[LINE.as_bytes(), other.as_bytes()]);
    let one = gz(&[LINE.as_bytes()]).len();
    check(&both[..one], 1, 1);
    check(&[&both[..], &[0; 512]].concat(), 2, 2);
    // It is told by its content, not by its name.
    check(LINE.as_bytes(), 1, 1);
    fs::write(folder.join("x.log"), gz(&[LINE.as_bytes()])).unwrap();
    check_counted(&folder.join("x.log"), 1, 1);
    // Its malformed lines have the day of its name.
    check(&gz(&[b"no stamp\n"]), 1, 1);
    assert_eq!(count_json(&[&path])["days"]["2021-03-22"]["malformed"], json!(1));
}

/// A log that hardly shrinks: a line for each of so many clients.
fn clients(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|at| format!("client-{} - -\n", at.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

/// A log in each format: the ending of its name, and its bytes.
fn packed(bytes: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    // With blocks of 100 kB: a block that is cut gives nothing.
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(bytes).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(bytes).unwrap();
    let mut zst = zstd::Encoder::new(Vec::new(), 1).unwrap();
    // As the program `zstd` has it; the library leaves it out.
    zst.include_checksum(true).unwrap();
    zst.write_all(bytes).unwrap();
    [
        ("gz", gz(&[bytes])),
        ("zst", zst.finish().unwrap()),
        ("bz2", bz2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
    ]
}

#[test]
fn compressed_files_of_every_format() {
    let folder = Folder::new();
    let log = clients(20_000);
    let names = packed(b"").map(|(ending, _)| format!("access.log-20210322.{ending}"));
    for ((_, bytes), name) in packed(&log).into_iter().zip(&names) {
        fs::write(folder.join(name), bytes).unwrap();
        check_counted(&folder.join(name), 20_000, 20_000);
    }
    let got = count_json(&[folder.path()]);
    assert_eq!((&got["all"]["requests"], &got["all"]["unique_ips"]), (&json!(80_000), &json!(20_000)));
    assert_eq!(got["days"]["2021-03-22"]["malformed"], json!(80_000));
    // It is told by its content, not by its name.
    for (ending, bytes) in packed(LINE.as_bytes()) {
        fs::write(folder.join("x.log"), bytes).unwrap();
        check_counted(&folder.join("x.log"), 1, 1);
        fs::write(folder.join("plain").with_extension(ending), LINE).unwrap();
        check_counted(&folder.join("plain").with_extension(ending), 1, 1);
    }
    assert_eq!(
        print(&[OsStr::new("verify"), folder.path().as_os_str()])
            .lines()
            .filter(|line| line.contains("both engines agree"))
            .count(),
        2 * 9
    );
}

/// A damaged file beside a good one: exit 1, a sentence on it, the numbers of both. Says how many requests of
/// the damaged one counted.
#[track_caller]
fn check_damaged(path: &Path, sentence: &str) -> u64 {
    let good = format!("{FILES}/{}", NAMES[0]);
    let ran = run(&[OsStr::new("count"), OsStr::new("--json"), path.as_os_str(), OsStr::new(&good)]);
    let sentence = format!("tallyd: {}: counted up to the damage: {sentence}\n", path.display());
    assert_eq!((ran.code, &ran.err), (1, &sentence));
    let got: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(got["files"]["20210322.log"]["total"], json!(401));
    let verified = run(&[OsStr::new("verify"), path.as_os_str()]);
    assert_eq!(
        (verified.code, &verified.err, verified.out.matches("both engines agree").count()),
        (1, &sentence, 2)
    );
    got["files"][path.file_name().unwrap().to_str().unwrap()]["total"].as_u64().unwrap()
}

#[test]
fn a_damaged_file_counts_up_to_the_damage() {
    let cut = "the compressed data ends too early";
    let corrupt = "the compressed data is corrupt, or followed by other data";
    let folder = Folder::new();
    let log = clients(20_000);
    for (ending, bytes) in packed(&log) {
        let path = folder.join("x.log").with_extension(ending);
        let check = |bytes: &[u8], sentence: &str| {
            fs::write(&path, bytes).unwrap();
            check_damaged(&path, sentence)
        };
        let requests = check(&bytes[..bytes.len() / 2], cut);
        assert!((2_000..18_000).contains(&requests), "{ending}: {requests}");
        assert_eq!(check(&[&bytes[..], &bytes[..5]].concat(), cut), 20_000, "{ending}");
        assert_eq!(check(&[&bytes[..], b"no member"].concat(), corrupt), 20_000, "{ending}");
        let mut wrong = bytes.clone();
        wrong[bytes.len() / 2] ^= 0xff;
        assert!(check(&wrong, corrupt) <= 20_000, "{ending}");
    }
    // A wrong checksum.
    let mut wrong = gz(&[LINE.as_bytes()]);
    let at = wrong.len() - 8;
    wrong[at] ^= 1;
    fs::write(folder.join("x.gz"), wrong).unwrap();
    assert_eq!(check_damaged(&folder.join("x.gz"), corrupt), 1);
    // A bomb. It holds no line, and one last line without LF.
    let [_, (_, zst), ..] = packed(&vec![0; 4 << 20]);
    fs::write(folder.join("x.zst"), zst.repeat(100)).unwrap();
    assert_eq!(
        check_damaged(
            &folder.join("x.zst"),
            "the log is almost nothing but repetition, like a decompression bomb"
        ),
        1
    );
}

/// Both a path that cannot be read and one that can: exit 1, a sentence on the one, the numbers of the other.
#[track_caller]
fn check_unreadable(path: &Path, sentence: &str) {
    let good = format!("{FILES}/{}", NAMES[0]);
    let ran = run(&[OsStr::new("count"), OsStr::new("--csv"), path.as_os_str(), OsStr::new(&good)]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.starts_with("tallyd: ") && ran.err.contains(sentence), "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().skip(1).collect();
    assert_eq!(lines, ["20210322.log,401,61,403,2,401,400,1,61,57,3,1,58917"]);
}

#[test]
fn a_path_that_cannot_be_read_is_named_and_the_others_count() {
    let folder = Folder::new();
    check_unreadable(&folder.join("missing.log"), "missing.log: No such file");
    fs::write(folder.join("file"), LINE).unwrap();
    check_unreadable(&folder.join("file/below.log"), "file/below.log: Not a directory");
    fs::write(folder.join("secret.log"), LINE).unwrap();
    fs::set_permissions(folder.join("secret.log"), fs::Permissions::from_mode(0o0)).unwrap();
    let uid = nix::unistd::geteuid();
    // Root reads everything.
    if !uid.is_root() {
        check_unreadable(
            &folder.join("secret.log"),
            &format!("secret.log: permission denied (tallyd runs as uid {uid})"),
        );
    }
    // Nothing that counts: exit 1 all the same, and an empty table.
    let ran = run(&[OsStr::new("count"), folder.join("missing.log").as_os_str()]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 2), "{}", ran.out);
    // Verify likewise.
    let ran =
        run(&[OsStr::new("verify"), folder.join("missing.log").as_os_str(), folder.join("file").as_os_str()]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 2), "{}", ran.out);
    assert!(ran.err.contains("missing.log: No such file"), "{}", ran.err);
}

#[test]
fn names_do_not_reach_the_terminal_raw() {
    let folder = Folder::new();
    let name = OsString::from_vec(b"a\n\x1b[2J\xff.log".to_vec());
    let path = folder.path().join(&name);
    fs::write(&path, LINE).unwrap();
    let harmless = |text: &str| !text.chars().any(|character| character.is_control() && character != '\n');
    let table = print(&[OsStr::new("count"), path.as_os_str()]);
    assert!(harmless(&table) && table.lines().count() == 3, "{table:?}");
    assert!(table.contains("\na\\n\\u{1b}[2J\\xff.log "), "{table:?}");
    let json = print(&[OsStr::new("count"), OsStr::new("--json"), path.as_os_str()]);
    assert!(harmless(&json), "{json:?}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a\n\u{1b}[2J\\xff.log"]);
    // CSV keeps it in one cell.
    let csv = print(&[OsStr::new("count"), OsStr::new("--csv"), path.as_os_str()]);
    assert!(csv.contains("\n\"a\n") && csv.contains("\\xff.log\",1,1,"), "{csv:?}");
    let verified = print(&[OsStr::new("verify"), path.as_os_str()]);
    assert!(harmless(&verified) && verified.lines().count() == 2, "{verified:?}");
    fs::remove_file(&path).unwrap();
    for command in ["count", "verify"] {
        let ran = run(&[OsStr::new(command), path.as_os_str()]);
        assert_eq!(ran.code, 1);
        assert!(
            harmless(&ran.err) && ran.err.contains("a\\n\\u{1b}[2J\\xff.log: No such file"),
            "{:?}",
            ran.err
        );
    }
}

#[test]
fn logs_of_one_name_in_two_folders_are_both_there() {
    let folder = Folder::new();
    let paths = ["one", "two"].map(|part| folder.join(part).join("access.log"));
    for (path, count) in paths.iter().zip([1, 2]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, LINE.repeat(count)).unwrap();
    }
    let got = count_json(&[&paths[0], &paths[1]]);
    let totals: BTreeMap<&str, &Value> = got["files"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, fields)| (name.as_str(), &fields["total"]))
        .collect();
    assert_eq!(totals, BTreeMap::from([("access.log", &json!(1)), (paths[1].to_str().unwrap(), &json!(2))]));
    // One client in both: united, not added up.
    assert_eq!((&got["all"]["total"], &got["all"]["ip"]), (&json!(3), &json!(1)));
    assert_eq!(got["days"]["2021-03-22"]["ip"], json!(1));
}

#[test]
fn a_last_line_without_lf_counts() {
    let folder = Folder::new();
    fs::write(folder.join("x.log"), format!("{LINE}203.0.113.8 - -")).unwrap();
    check_counted(&folder.join("x.log"), 2, 2);
    fs::write(folder.join("x.log"), "x").unwrap();
    check_counted(&folder.join("x.log"), 1, 1);
}

/// A file is counted in ranges of 16 MiB. Its last line counts though it starts in one range and ends,
/// without LF, in the next.
#[test]
fn a_last_line_without_lf_across_two_ranges_counts() {
    let folder = Folder::new();
    let lines = (16 << 20) / LINE.len();
    let mut log = LINE.repeat(lines);
    log.push_str(&LINE.replace("113.7", "113.8").trim_end().repeat(3));
    assert!(log.len() > 16 << 20);
    fs::write(folder.join("x.log"), log).unwrap();
    check_counted(&folder.join("x.log"), lines as u64 + 1, 2);
}

#[test]
fn a_pipe_is_streamed() {
    let folder = Folder::new();
    let path = folder.join("pipe.log");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let to = path.clone();
    // Opening it waits for the program to do so. More than a pipe holds, so it is read while it is written.
    let writer = std::thread::spawn(move || fs::write(to, LINE.repeat(100_000)));
    check_counted(&path, 100_000, 1);
    writer.join().unwrap().unwrap();
    // In a folder it is none of the files.
    check_counted(folder.path(), 0, 0);
}

/// A file that says that it has no bytes was not read at all.
#[test]
fn a_file_of_the_kernel_is_counted() {
    let got = count_json(&[Path::new("/proc/self/status")]);
    assert!(got["all"]["requests"].as_u64() > Some(20), "{got}");
}

#[test]
fn verify_says_that_both_engines_agree() {
    let samples_folder = samples_folder();
    let files = samples_folder.path().to_str().unwrap();
    let verdicts =
        |rule: &str| NAMES.map(|name| format!("{files}/{name}: both engines agree (rule {rule})\n")).concat();
    assert_eq!(print(&["verify", files]), verdicts("first-field") + &verdicts("before-dashes"));
    assert_eq!(print(&["verify", "--client-rule", "before-dashes", files]), verdicts("before-dashes"));
    // What is hard to count: damage, marks, torn lines.
    let folder = Folder::new();
    let hard =
        [b"\xef\xbb\xbf \n", LINE.as_bytes(), b"\xff\0,\r\n\n", &[b'x'; 100_000], &LINE.as_bytes()[..50]]
            .concat();
    fs::write(folder.join("hard.log"), &hard).unwrap();
    let whole = gz(&[&hard, &hard]);
    fs::write(folder.join("hard.gz"), &whole[..whole.len() - 30]).unwrap();
    let ran = run(&[OsStr::new("verify"), folder.path().as_os_str()]);
    assert_eq!(ran.out.lines().filter(|line| line.contains("both engines agree")).count(), 4, "{}", ran.out);
    assert!(
        ran.code == 1
            && ran.err.contains("hard.gz: counted up to the damage")
            && ran.err.lines().count() == 1,
        "{}",
        ran.err
    );
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    check_usage(&["count", "--frobnicate", FILES], "--frobnicate");
    check_usage(&["count", "--json", "--csv", FILES], "cannot be used with");
    check_usage(&["count", "--client-rule", "last-field", FILES], "before-dashes");
    check_usage(&["count", "--include", "a[", FILES], "--include: \"a[\" is not a valid pattern");
    check_usage(&["verify", "--exclude", "", FILES], "--exclude: \"\" is not a valid pattern");
    check_usage(&["frobnicate"], "`frobnicate` is neither a command nor a folder");
}

#[test]
fn an_old_name_of_a_flag_is_refused_with_the_new_one() {
    for command in ["count", "verify"] {
        check_usage(&[command, "--rule", "first-field", FILES], "`--rule` is now called `--client-rule`");
        check_usage(&[command, "--rule=first-field", FILES], "`--rule` is now called `--client-rule`");
    }
}

#[test]
fn a_pipe_is_counted_without_a_path() {
    let (other, folder) = (LINE.replace("113.7", "113.8"), Folder::new());
    let log = [LINE, LINE, &other].concat();
    let plain = ("plain", log.as_bytes().to_vec());
    let line = format!("-,3,2,3,0,3,3,0,2,2,0,0,{}", log.len());
    for (ending, bytes) in packed(log.as_bytes()).into_iter().chain([plain]) {
        for words in [&["count", "--csv"][..], &["count", "--csv", "-"]] {
            let ran = run_with(&bytes, words);
            assert_eq!(
                (ran.code, ran.err.as_str(), ran.out.lines().nth(1)),
                (0, "", Some(line.as_str())),
                "{ending} {words:?}"
            );
        }
        // Each rule reads the same bytes, though a pipe can be read once.
        let ran = run_with(&bytes, &["verify"]);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (0, "-: both engines agree (rule first-field)\n-: both engines agree (rule before-dashes)\n"),
            "{ending}"
        );
        // A named pipe: bytes that are more than a pipe holds, so they are read while they are written.
        let path = folder.join(ending);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let many = if ending == "plain" {
            clients(20_000)
        } else {
            packed(&clients(20_000)).into_iter().find(|(other, _)| *other == ending).unwrap().1
        };
        assert!(many.len() > 65_536);
        let to = path.clone();
        let writer = std::thread::spawn(move || fs::write(to, many));
        check_counted(&path, 20_000, 20_000);
        writer.join().unwrap().unwrap();
    }
    // A damaged stream counts up to the damage.
    let bytes = gz(&[log.as_bytes()]);
    let ran = run_with(&bytes[..bytes.len() - 4], &["count", "--csv"]);
    assert_eq!((ran.code, ran.out.lines().nth(1)), (1, Some(line.as_str())));
    assert!(ran.err.contains("standard input: counted up to the damage"), "{}", ran.err);
}

#[test]
fn without_a_path_and_without_a_pipe_the_sentence_names_what_to_give() {
    for command in ["count", "verify"] {
        // The master of a terminal is a terminal too.
        let terminal = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        let output = tallyd().arg(command).stdin(terminal).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{said}");
        assert!(
            said.starts_with(&format!("tallyd: nothing to {command}: name files or folders"))
                && said.contains("zcat"),
            "{said}"
        );
    }
    // An empty pipe is counted, and mentioned.
    let ran = run(&["count"]);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 3), "{}", ran.out);
    assert_eq!(ran.err, "tallyd: standard input was empty; name files or folders, or give a pipe\n");
}

/// The names in the table of `count` with these words on a folder, and what is said on stderr; exit 0.
#[track_caller]
fn names_counted(words: &[&str], folder: &Path) -> (Vec<String>, String) {
    let Ran { code, out, err } = run(&[&["count", "--csv"], words, &[folder.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{err}");
    (out.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect(), err)
}

#[test]
fn files_of_a_folder_are_chosen_by_patterns() {
    let folder = Folder::new();
    for name in ["access.log", "access.log.1", "other.log", "error.log"] {
        fs::write(folder.join(name), LINE).unwrap();
    }
    let names = |words: &[&str]| names_counted(words, folder.path());
    let silent = |names: &[&str]| (names.iter().map(|name| (*name).to_owned()).collect(), String::new());
    assert_eq!(names(&["--include", "access.log*"]), silent(&["access.log", "access.log.1"]));
    assert_eq!(
        names(&["--include", "/access.log", "--include", "oth??.log"]),
        silent(&["access.log", "other.log"])
    );
    assert_eq!(names(&["--include", "access.log:other.log"]), silent(&["access.log", "other.log"]));
    assert_eq!(names(&["--include", "*.log", "--exclude", "other*"]), silent(&["access.log", "error.log"]));
    // A file that --exclude matches is not mentioned: the user asked for that.
    assert_eq!(names(&["--exclude", "*.1", "--exclude", "error.log"]), silent(&["access.log", "other.log"]));
    // Patterns are for folders: a file that is named is counted.
    assert_eq!(
        names_counted(&["--include", "x", "--exclude", "*"], &folder.join("access.log")),
        silent(&["access.log"])
    );
    let ran = run(&["verify", "--include", "access.log", folder.path().to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.lines().count(), ran.err.as_str()), (0, 2, ""), "{}", ran.out);
}

#[test]
fn files_of_a_folder_that_are_no_access_logs_are_skipped_with_a_reason() {
    let folder = Folder::new();
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(folder.join("access.log"), LINE).unwrap();
    fs::write(folder.join("b.error.log.2.gz"), gz(&[b"no request\n"])).unwrap();
    let error_log = format!("{} (an error log)", path("b.error.log.2.gz"));
    let remedy = "; to count error logs, name them or give --include\n";
    assert_eq!(
        names_counted(&[], folder.path()),
        (vec!["access.log".to_owned()], format!("tallyd: skipped 1 file: {error_log}{remedy}"))
    );
    // By its first bytes, whatever its name; a compressed log is no archive.
    fs::write(folder.join("a.log"), b"PK\x03\x04 and more").unwrap();
    fs::write(folder.join("z.gz"), gz(&[b"PK\x03\x04 and more\n"])).unwrap();
    let skipped = format!("tallyd: skipped 2 files: {error_log}, {} (a zip archive){remedy}", path("a.log"));
    let counted = vec!["access.log".to_owned(), "z.gz".to_owned()];
    assert_eq!(names_counted(&[], folder.path()), (counted, skipped.clone()));
    // --include is for names: what is no log is not counted.
    let zip = format!("tallyd: skipped 1 file: {} (a zip archive)\n", path("a.log"));
    assert_eq!(names_counted(&["--include", "a*.log"], folder.path()), (vec!["access.log".to_owned()], zip));
    // Verify likewise.
    let ran = run(&["verify", folder.path().to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.lines().count(), ran.err), (0, 4, skipped), "{}", ran.out);
    // Of many, the first ones are named.
    for number in 0..9 {
        fs::write(folder.join(&format!("error.log.{number}")), LINE).unwrap();
    }
    let (_, said) = names_counted(&[], folder.path());
    assert!(
        said.starts_with("tallyd: skipped 11 files: ")
            && said.contains("error.log.3 (an error log) and 6 more; to count"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_file_that_is_named_is_counted_or_refused() {
    let folder = Folder::new();
    fs::write(folder.join("error.log"), LINE).unwrap();
    check_counted(&folder.join("error.log"), 1, 1);
    fs::write(folder.join("old.zip"), b"PK\x03\x04 and more").unwrap();
    let mut tar = vec![b'a'; 257];
    tar.extend(b"ustar\x0000");
    fs::write(folder.join("old.log"), tar).unwrap();
    for (name, kind) in [("old.zip", "the file is a zip archive"), ("old.log", "the file is a tar archive")] {
        check_unreadable(&folder.join(name), &format!("{name}: {kind}, not a plain, gz, zst, bz2 or xz log"));
        let ran = run(&[OsStr::new("verify"), folder.join(name).as_os_str()]);
        assert!(
            ran.code == 1 && ran.out.is_empty() && ran.err.contains(kind) && ran.err.lines().count() == 1,
            "{}",
            ran.err
        );
    }
    let ran = run_with(b"\x7fELF and more", &["count"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            1,
            "tallyd: cannot count standard input: the file is a program (ELF), not a plain, gz, zst, bz2 or xz log\n"
        )
    );
}

#[test]
fn help_shows_examples() {
    let help = print(&["count", "--help"]);
    assert!(help.contains("zcat /var/log/nginx/access.log.*.gz | tallyd count"), "{help}");
    for words in [&["--help"][..], &["-h"]] {
        let help = print(words);
        for example in [
            "tallyd serve /var/log/nginx",
            "tallyd count /var/log/nginx/access.log",
            "curl http://127.0.0.1:8080/api/v1/report",
        ] {
            assert!(help.contains(&format!("\n  {example} ")), "{help}");
        }
    }
    // The settings are in groups, and not in the summary.
    let (long, short) = (print(&["--help"]), print(&["-h"]));
    for heading in [
        "Watching logs:",
        "Counting:",
        "API and access:",
        "Store:",
        "Memory and limits:",
        "Sandbox and journal:",
    ] {
        assert!(long.contains(&format!("\n{heading}\n")) && !short.contains(heading), "{heading}");
    }
}

/// Nobody reads on: the program ends without a panic.
#[test]
fn a_reader_may_leave() {
    let mut child = tallyd()
        .args(["count", "--json"])
        .args(vec![FILES; 200])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
