//! `PUT /api/v1/files/{name}`: a log is uploaded into a watched folder. Only for who shows the token.
//!
//! The bytes go to a draft, which has its name only when all of them are there and on the disk: so an upload is there whole or not at all, whoever is killed. Bytes are
//! read from the network no faster than they are written, and few are held at a time.
//! Deliberately absent: what the bytes mean. The coordinator finds the file as it finds any other.

mod draft;
mod target;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use super::Sources;
use super::changes::{ask, permit, stored};
use super::problem::{BAD_REQUEST, LENGTH_REQUIRED, Problem, UNKNOWN_CODING};
use super::query::{Asked, Kind, Parameter, path_part};
use super::routes::{Api, Shared};
use super::wire::{self, json};
use crate::board::{LogRow, LogState, Watching};
use crate::config::Settings;
use crate::job;
use crate::log::{day_of_name, shown};

use draft::{Draft, Part};
use target::Target;

/// So many uploads at once.
const UPLOADS_MAX: usize = 4;
/// So many pieces of a body wait to be written: of 16 KiB at most each, as they come from a connection.
const PARTS_MAX: usize = 16;
/// In such a time, that much of a body must come, or the rest of it.
const STALL: Duration = Duration::from_secs(20);
const STALL_BYTES: usize = 64 << 10;
/// So much of a body that nobody wants is read, so that who sends it gets to read why, and for so long.
const REFUSED_BYTES_MAX: usize = 64 << 20;
const REFUSED: Duration = Duration::from_secs(5);
/// So long it is waited until the store knows what is to be replaced.
const PROMISE: Duration = Duration::from_secs(30);
/// So long it is waited until the coordinator has found and counted what was uploaded.
const SEEN: Duration = Duration::from_secs(5);
/// If the coordinator has not found it by then, it is asked to look.
const LOOK: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(20);
/// After so long, what is not done is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a body may be packed by. It is stored as it comes: what it is, its content tells.
const CODINGS: [&str; 6] = ["identity", "gzip", "x-gzip", "zstd", "bzip2", "xz"];

const GIVEN_UP: &str = "the upload was given up; nothing was stored";

/// What uploads need, and which there are.
pub(super) struct Uploads {
    settings: Settings,
    permits: Semaphore,
    /// The drafts, by the names they are to have; `None`: one that is not to be removed when the process ends, or that is not there yet.
    under_way: Mutex<BTreeMap<Vec<u8>, Option<PathBuf>>>,
    ending: AtomicBool,
}

impl Uploads {
    pub(super) fn new(settings: &Settings) -> Uploads {
        Uploads { settings: settings.clone(), permits: Semaphore::new(UPLOADS_MAX), under_way: Mutex::default(), ending: AtomicBool::new(false) }
    }

    /// The settings that uploads follow.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Option<PathBuf>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process ends: nothing is left of what is not whole. But a draft that is to replace a log stays for the next life, which first takes that back: nobody may listen
    /// any more, and the store must not wait for a file whose inode is another one's by then.
    pub(super) fn abandon(&self) {
        self.ending.store(true, Relaxed);
        for path in self.under_way().values().flatten() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes what is left of uploads of an earlier life.
pub(super) fn clear(sources: &Sources) {
    draft::clear(sources);
}

pub(super) fn routes() -> Router<Arc<Api>> {
    // The slash behind the folder may be percent-encoded or not.
    Router::new().route("/api/v1/files/{id}", put(put_file)).route("/api/v1/files/{id}/{*rest}", put(put_in_folder))
}

/// The name in the path.
pub(super) const NAME: Parameter =
    Parameter { name: "id", about: "The file's name, percent-encoded: 1 to 255 bytes of UTF-8, not hidden, and such that it is counted.", kind: Kind::Text };

static REPLACE: Parameter =
    Parameter { name: "replace", about: "Whether it replaces what has the name: else that is a conflict.", kind: Kind::Words(&["true", "false"]) };

/// What can be said of an upload.
pub(super) static OF_UPLOAD: &[&Parameter] = &[&REPLACE];

async fn put_file(State(api): Shared, path: Result<Path<String>, PathRejection>, asked: Result<Asked, Problem>, request: Request) -> Response {
    upload(&api, path_part("name", path), asked, request).await
}

async fn put_in_folder(State(api): Shared, path: Result<Path<(String, String)>, PathRejection>, asked: Result<Asked, Problem>, request: Request) -> Response {
    upload(&api, path_part("name", path.map(|Path((folder, rest))| Path(format!("{folder}/{rest}")))), asked, request).await
}

/// Takes an upload. If it is refused, what still comes of it is read for a while: else who sends it would find the connection broken instead of the answer.
async fn upload(api: &Api, name: Result<String, Problem>, asked: Result<Asked, Problem>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // Who waits to be told to go on has sent nothing.
    let waits = head.headers.contains_key(header::EXPECT);
    let mut incoming = Incoming { body, left: STALL, came: 0, taken: 0 };
    match take(&api.sources, &head.headers, name, asked, &mut incoming).await {
        Ok(response) => response,
        Err(problem) => {
            if !waits || incoming.taken > 0 {
                tokio::spawn(tokio::time::timeout(REFUSED, async move {
                    let before = incoming.taken;
                    while incoming.taken - before < REFUSED_BYTES_MAX && matches!(incoming.next().await, Ok(Some(_))) {}
                }));
            }
            problem.into_response()
        }
    }
}

async fn take(
    sources: &Arc<Sources>,
    headers: &HeaderMap,
    name: Result<String, Problem>,
    asked: Result<Asked, Problem>,
    incoming: &mut Incoming,
) -> Result<Response, Problem> {
    permit(sources, headers)?;
    let asked = asked?;
    asked.only(OF_UPLOAD)?;
    let replace = asked.word(&REPLACE)? == Some("true");
    check_meaning(headers, replace)?;
    let uploads = &sources.uploads;
    let target = Target::new(&name?, &uploads.settings).map_err(|wrong| Problem::bad_parameter(format!("name: {wrong}")).of("name"))?;
    let max = uploads.settings.upload_max;
    let length = incoming.body.size_hint().exact();
    if length.is_some_and(|length| length > max) {
        return Err(Problem::too_large(max));
    }
    let Ok(permit) = uploads.permits.try_acquire() else { return Err(Problem::too_many(UPLOADS_MAX)) };
    let begin = {
        let (sources, target) = (Arc::clone(sources), target.clone());
        move || {
            // To be told at once what would be told at the end.
            if draft::is_taken(&target.path)? && !replace { Err(draft::taken()) } else { Draft::begin(sources, target, length) }
        }
    };
    let draft = blocking(begin).await?;
    let mut draft = receive(incoming, draft, max).await?;
    if length.is_some_and(|length| length != draft.length) {
        return Err(Problem::incomplete());
    }
    // What a name with a date held is replaced by whatever comes there.
    let promises = replace && day_of_name(&target.name).is_none();
    if promises {
        promise(sources, &mut draft, &target.name).await?;
    }
    let (mut draft, replaced) = blocking(move || draft.place(replace).map(|replaced| (draft, replaced))).await?;
    // What is still waited for holds up nobody.
    drop(permit);
    let log = seen(sources, draft.id, &target.name).await;
    if promises && log.is_some() {
        // An earlier upload of the name may have been found between the two. What the store does not take now, the coordinator knows all the same.
        let _ = tokio::time::timeout(SEEN, promise(sources, &mut draft, &target.name)).await;
    }
    Ok(answer(&target, draft.length, log, replaced))
}

/// Refuses what asks for more than that the body is stored: RFC 9110 forbids to pass over it.
fn check_meaning(headers: &HeaderMap, replace: bool) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Problem::new(&BAD_REQUEST, "a part of a log cannot be uploaded (Content-Range): send all of it"));
    }
    if !headers.contains_key(header::CONTENT_LENGTH) && !headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::new(&LENGTH_REQUIRED, "say how long the body is (Content-Length), or send it in chunks; an empty log has Content-Length: 0"));
    }
    // Nothing but what a name without replace=true has anyhow.
    let is_new = |value: &HeaderValue| value == "*" && !replace;
    let conditions = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    if conditions.iter().any(|name| headers.contains_key(name)) || !headers.get_all(header::IF_NONE_MATCH).iter().all(is_new) {
        return Err(Problem::new(
            &BAD_REQUEST,
            "uploads know no conditions (If-Match and the like): leave them out; a name that is taken is replaced only with ?replace=true",
        ));
    }
    let is_known = |value: &HeaderValue| value.to_str().is_ok_and(|coding| CODINGS.iter().any(|known| coding.trim().eq_ignore_ascii_case(known)));
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_known) {
        return Err(Problem::new(&UNKNOWN_CODING, format!("the body may be packed by one of {}, or not at all", CODINGS.join(", "))));
    }
    Ok(())
}

/// Runs what may wait for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::disk(GIVEN_UP)))
}

/// The body of a request.
struct Incoming {
    body: Body,
    /// How long it may be waited until [`STALL_BYTES`] have come, and how many have.
    left: Duration,
    came: usize,
    /// How many have come at all.
    taken: usize,
}

impl Incoming {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// If it breaks off, or does not go on.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let start = Instant::now();
        let body = &mut self.body;
        let frame = tokio::time::timeout(self.left, poll_fn(|context| Pin::new(&mut *body).poll_frame(context))).await;
        self.left = self.left.saturating_sub(start.elapsed());
        match frame {
            Err(_) => Err(Problem::stalled(STALL)),
            Ok(Some(Err(_))) => Err(Problem::incomplete()),
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => {
                // Trailers are nothing of it.
                let bytes = frame.into_data().unwrap_or_default();
                (self.came, self.taken) = (self.came + bytes.len(), self.taken + bytes.len());
                if self.came >= STALL_BYTES {
                    (self.left, self.came) = (STALL, 0);
                }
                Ok(Some(bytes))
            }
        }
    }
}

/// Writes the body to the draft as it comes.
async fn receive(incoming: &mut Incoming, draft: Draft, max: u64) -> Result<Draft, Problem> {
    let (parts, waiting) = mpsc::channel(PARTS_MAX);
    let writing = spawn_blocking(move || draft.write(waiting));
    let told = feed(incoming, parts, max).await;
    let written = writing.await.unwrap_or_else(|_| Err(Problem::disk(GIVEN_UP)));
    told.and(written)
}

/// Hands on what comes. Who writes gives up if it is not told that this was all.
async fn feed(incoming: &mut Incoming, parts: mpsc::Sender<Part>, max: u64) -> Result<(), Problem> {
    while let Some(bytes) = incoming.next().await? {
        if incoming.taken as u64 > max {
            return Err(Problem::too_large(max));
        }
        if parts.send(Part::Bytes(bytes)).await.is_err() {
            // The writer has given up, and says why.
            return Ok(());
        }
    }
    let _ = parts.send(Part::End).await;
    Ok(())
}

/// Sees to it that what a name without a date holds is replaced once the draft has the name, also if coordinator or daemon die meanwhile: the store must know.
async fn promise(sources: &Sources, draft: &mut Draft, name: &[u8]) -> Result<(), Problem> {
    let (start, mut asked) = (Instant::now(), BTreeMap::<u64, Instant>::new());
    loop {
        let is_held = |row: &LogRow| row.name == name && counts(row) && !is_of(row, draft.id);
        let held: Vec<LogRow> = sources.board.logs()?.into_iter().filter(is_held).collect();
        let mut left = Vec::new();
        for row in held {
            let (file, log) = (draft.id, row.id);
            // Of what is not counted, nothing is stored; unless it is being counted again, by other rules.
            let is_nothing = row.counted_to == 0 && asked.contains_key(&log);
            if !stored(sources, log, move |meta| meta.map_or(is_nothing, |meta| meta.successors.contains(&file))).await {
                left.push(log);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= PROMISE {
            return Err(Problem::not_ready("the store does not take that the log of this name is to be replaced; nothing was. /api/v1/status may tell why"));
        }
        for log in left {
            if asked.get(&log).is_none_or(|asked| asked.elapsed() >= AGAIN) {
                draft.promise(log)?;
                asked.insert(log, Instant::now());
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Is it the log of this file? That of a file that is gone may have had the same inode.
fn is_of(row: &LogRow, file: (u64, u64)) -> bool {
    row.file == file && row.state != LogState::Gone
}

/// Does a log have numbers of its own?
fn counts(row: &LogRow) -> bool {
    !matches!(row.state, LogState::Skipped | LogState::Duplicate)
}

/// The id of the log that a file is, once it is known, and if possible counted.
async fn seen(sources: &Sources, file: (u64, u64), name: &[u8]) -> Option<u64> {
    let (start, mut asked) = (Instant::now(), false);
    loop {
        let rows = sources.board.logs().unwrap_or_default();
        let row = rows.into_iter().find(|row| row.name == name && is_of(row, file));
        let late = start.elapsed() >= SEEN;
        match row {
            Some(row) if row.state != LogState::Counting || late => return Some(row.id),
            None if late => return None,
            // Where nothing tells of changes, the next look may be far.
            None if !asked && (start.elapsed() >= LOOK || sources.board.header().watching != Watching::Notified) => {
                asked = ask(sources, job::Request::Look).is_ok();
            }
            _ => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

fn answer(target: &Target, bytes: u64, log: Option<u64>, replaced: bool) -> Response {
    let url = log.map(|log| format!("/api/v1/files/{}", wire::file_id(log)));
    let status = match log {
        None => StatusCode::ACCEPTED,
        Some(_) if replaced => StatusCode::OK,
        Some(_) => StatusCode::CREATED,
    };
    let body = json(&wire::Uploaded { id: log.map(wire::file_id), name: shown(&target.name), bytes, url: url.clone() });
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(url) = url.and_then(|url| url.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}
