//! What tallyd says on stderr: one event a line, each with the role and pid of the process, for people or as
//! JSON.
//!
//! Values are shown so that no control character of a file name reaches a terminal.
//!
//! What is said of many things in a row is said of the first thousand, and then once a second, with how many
//! were left out (`unsaid`). Saying something never stops anybody: what stderr does not take soon (a pipe
//! that nobody reads, a full disk, a closed terminal) is lost.

mod pace;

use std::fmt::{self, Write};
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::log::shown_to_people;
use crate::sys::socket::{can_write, own_stderr};

/// How a line of the journal is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum JournalFormat {
    /// One line of text a message: `2026-11-24T08:00:00.000000Z  INFO worker 0[123]: message key=value`
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// The severity of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors that need a person
    Error,
    /// Warnings, which may need a person
    Warn,
    /// Events, like the start and the stop
    #[default]
    Info,
    /// Every job too
    Debug,
}

static ROLE: Mutex<String> = Mutex::new(String::new());

/// Opens the journal of this process and of those it forks.
pub fn open(format: JournalFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    own_stderr();
    // Its own complaint about an error would be a panic.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Stderr)
        .log_internal_errors(false)
        .event_format(Line(format));
    // A second call, in a test, keeps the first journal.
    let _ = tracing::subscriber::set_global_default(subscriber.finish());
}

/// Names the process: `worker 0`.
pub fn set_role(role: &str) {
    *ROLE.lock().expect("nothing panics while it is held") = role.to_owned();
}

/// Notes that a signal was ignored.
pub fn note_ignored(signal: &str) {
    tracing::info!(
        signal,
        "ignored a signal; send SIGHUP to the supervisor to reload the settings, SIGTERM to stop"
    );
}

/// Says something to who started the program: a sentence, a table.
pub fn say(text: &str) {
    let _ = io::Write::write_all(&mut Stderr, text.as_bytes());
}

/// Standard error as far as it takes something soon. Never an error: there is nobody left to tell.
struct Stderr;

/// How long one piece may wait for a reader who is only slow.
const PATIENCE: Duration = Duration::from_millis(20);
/// The longest piece: what a terminal takes too once it can be written to, and a pipe in one.
const PIECE_BYTES: usize = 1000;
/// Did the latest piece wait in vain? Then nothing is waited for until one goes through again.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Writes a piece to stderr; says whether all of it went before `patience` was over without any of it going.
fn put(piece: &[u8], patience: Duration) -> bool {
    let mut stderr = io::stderr();
    let (mut rest, mut since) = (piece, Instant::now());
    while !rest.is_empty() {
        let left = patience.saturating_sub(since.elapsed());
        match if can_write(stderr.as_fd(), left) { io::Write::write(&mut stderr, rest) } else { Ok(0) } {
            Ok(0) => return false,
            Ok(count) => (rest, since) = (&rest[count..], Instant::now()),
            // A terminal says that it can be written to a little before it takes something.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !left.is_zero() => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(_) => return false,
        }
    }
    true
}

impl io::Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for piece in text.chunks(PIECE_BYTES) {
            let went = put(piece, if STUCK.load(Relaxed) { Duration::ZERO } else { PATIENCE });
            STUCK.store(!went, Relaxed);
            if !went {
                break;
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Line(JournalFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Who asks for each job gets each job.
        let paced = *event.metadata().level() <= Level::INFO;
        let Some(unsaid) = (if paced { pace::may_say(event.metadata().callsite()) } else { Some(0) }) else {
            return Ok(());
        };
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let role = ROLE.lock().expect("nothing panics while it is held").clone();
        let (level, pid) = (event.metadata().level(), std::process::id());
        let mut fields = Fields::default();
        event.record(&mut fields);
        if unsaid > 0 {
            fields.others.push(("unsaid", unsaid.into()));
        }
        match self.0 {
            JournalFormat::Text => {
                write!(
                    writer,
                    "{time} {level:>5} {role}[{pid}]: {}",
                    shown_to_people(fields.message.as_bytes())
                )?;
                for (name, value) in &fields.others {
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), |text| shown_to_people(text.as_bytes()));
                    write!(writer, " {name}={text}")?;
                }
                writeln!(writer)
            }
            JournalFormat::Json => {
                let level = level.as_str().to_lowercase();
                let mut line = serde_json::json!({"time": time, "level": level, "role": role, "pid": pid, "message": fields.message});
                if let Some(line) = line.as_object_mut() {
                    line.extend(fields.others.into_iter().map(|(name, value)| (name.to_owned(), value)));
                }
                writeln!(writer, "{line}")
            }
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, serde_json::Value)>,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}").into()));
        }
    }
}
