//! `PUT /api/v1/files/{name}`: uploads a log into a watched folder. The request needs the token.
//!
//! The bytes go to a draft, which gets its name once all bytes are on the disk: an upload is complete or
//! absent, even if a process is killed. Bytes are read from the network no faster than they are written, and
//! few are held at a time. Deliberately absent: the meaning of the bytes. The coordinator finds the log like
//! any other.

mod draft;
mod target;
pub(super) mod uploads;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::api::nouns::changes::{ask, permit, stored};
use crate::api::problem::{BAD_REQUEST, LENGTH_REQUIRED, Problem, UNKNOWN_CODING};
use crate::api::query::{Asked, Kind, Parameter, path_part};
use crate::api::state::Sources;
use crate::api::state::{Api, Shared};
use crate::api::wire::{self, json};
use crate::board::{LogRow, LogState, Watching};
use crate::job;
use crate::log::{day_of_name, shown};

use draft::{Draft, Part};
use target::Target;
use uploads::UPLOADS_MAX;

/// The maximum number of pieces of a body that wait to be written. A piece has at most 16 KiB, as read from a
/// connection.
const PARTS_MAX: usize = 16;
/// The time in which [`STALL_BYTES`] of a body must arrive, or the rest of the body.
const STALL: Duration = Duration::from_secs(20);
const STALL_BYTES: usize = 64 << 10;
/// The maximum bytes, and time, of a refused body that are still read, so that the client can read the
/// answer.
const REFUSED_BYTES_MAX: usize = 64 << 20;
const REFUSED: Duration = Duration::from_secs(5);
/// The maximum time until the store knows which log is to be replaced.
const PROMISE: Duration = Duration::from_secs(30);
/// The maximum time until the coordinator has found and counted the upload.
const SEEN: Duration = Duration::from_secs(5);
/// The time after which the coordinator is asked to scan for an upload that it has not found.
const LOOK: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(20);
/// The time after which a request without effect is repeated.
const AGAIN: Duration = Duration::from_secs(1);

/// The supported compressions of a body. The body is stored as it is; its content identifies the compression.
const CODINGS: [&str; 6] = ["identity", "gzip", "x-gzip", "zstd", "bzip2", "xz"];

const GIVEN_UP: &str = "tallyd gave up the upload and stored nothing; send the log again";

/// Deletes the incomplete uploads of an earlier api process.
pub(super) fn clear(sources: &Sources) {
    draft::clear(sources);
}

pub(super) fn routes() -> Router<Arc<Api>> {
    // The slash behind the folder may be percent-encoded.
    Router::new()
        .route("/api/v1/files/{id}", put(put_file))
        .route("/api/v1/files/{id}/{*rest}", put(put_in_folder))
}

/// The name of the log in the path.
pub(super) const NAME: Parameter = Parameter {
    name: "id",
    about: "The name of the log, percent-encoded: 1 to 255 bytes of UTF-8. The name must not begin with a dot, and tallyd must count logs of this name.",
    kind: Kind::Text,
};

static REPLACE: Parameter = Parameter {
    name: "replace",
    about: "With `true`, the upload replaces a log of the same name; without, such a log is a conflict. Default: `false`.",
    kind: Kind::Words(&["true", "false"]),
};

/// The parameters of an upload.
pub(super) static OF_UPLOAD: &[&Parameter] = &[&REPLACE];

async fn put_file(
    State(api): Shared,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
    request: Request,
) -> Response {
    upload(&api, path_part("name", path), asked, request).await
}

async fn put_in_folder(
    State(api): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
    asked: Result<Asked, Problem>,
    request: Request,
) -> Response {
    upload(
        &api,
        path_part("name", path.map(|Path((folder, rest))| Path(format!("{folder}/{rest}")))),
        asked,
        request,
    )
    .await
}

/// Stores an upload. The rest of a refused upload is read for a while: without this, the client would see a
/// broken connection instead of the answer.
async fn upload(
    api: &Api,
    name: Result<String, Problem>,
    asked: Result<Asked, Problem>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // A client that waits for `100 Continue` has sent nothing.
    let waits = head.headers.contains_key(header::EXPECT);
    let mut incoming = Incoming { body, left: STALL, came: 0, taken: 0 };
    match take(&api.sources, &head.headers, name, asked, &mut incoming).await {
        Ok(response) => response,
        Err(problem) => {
            if !waits || incoming.taken > 0 {
                tokio::spawn(tokio::time::timeout(REFUSED, async move {
                    let before = incoming.taken;
                    while incoming.taken - before < REFUSED_BYTES_MAX
                        && matches!(incoming.next().await, Ok(Some(_)))
                    {}
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
    let target = Target::new(&name?, uploads.settings())
        .map_err(|wrong| Problem::bad_parameter(format!("name: {wrong}")).of("name"))?;
    let max = uploads.settings().upload_max;
    let length = incoming.body.size_hint().exact();
    if length.is_some_and(|length| length > max) {
        return Err(Problem::too_large(max));
    }
    let Ok(permit) = uploads.permits.try_acquire() else { return Err(Problem::too_many(UPLOADS_MAX)) };
    let begin = {
        let (sources, target) = (Arc::clone(sources), target.clone());
        move || {
            // Refuses at once what would be refused at the end.
            if draft::is_taken(&target.path)? && !replace {
                Err(draft::taken())
            } else {
                Draft::begin(sources, target, length)
            }
        }
    };
    let draft = blocking(begin).await?;
    let mut draft = receive(incoming, draft, max).await?;
    if length.is_some_and(|length| length != draft.length) {
        return Err(Problem::incomplete());
    }
    // Under a name with a date, any new content replaces the old one.
    let promises = replace && day_of_name(&target.name).is_none();
    if promises {
        promise(sources, &mut draft, &target.name).await?;
    }
    let (mut draft, replaced) =
        blocking(move || draft.place(replace).map(|replaced| (draft, replaced))).await?;
    // The waiting below must not keep other uploads out.
    drop(permit);
    let log = seen(sources, draft.id, &target.name).await;
    if promises && log.is_some() {
        // An earlier upload of the name may have been found in between. The coordinator knows the replacement
        // even if the store does not take it now.
        let _ = tokio::time::timeout(SEEN, promise(sources, &mut draft, &target.name)).await;
    }
    Ok(answer(&target, draft.length, log, replaced))
}

/// Refuses headers that ask for more than storing the body: RFC 9110 forbids ignoring them.
fn check_meaning(headers: &HeaderMap, replace: bool) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Problem::new(
            &BAD_REQUEST,
            "an upload must be a whole log; leave out Content-Range and send all of the log",
        ));
    }
    if !headers.contains_key(header::CONTENT_LENGTH) && !headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::new(
            &LENGTH_REQUIRED,
            "send Content-Length, or send the body in chunks; for an empty log, send Content-Length: 0",
        ));
    }
    // `If-None-Match: *` means the same as an upload without replace=true.
    let is_new = |value: &HeaderValue| value == "*" && !replace;
    let conditions = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    if conditions.iter().any(|name| headers.contains_key(name))
        || !headers.get_all(header::IF_NONE_MATCH).iter().all(is_new)
    {
        return Err(Problem::new(
            &BAD_REQUEST,
            "uploads do not support conditions such as If-Match: leave them out; an upload replaces a log of the same name only with ?replace=true",
        ));
    }
    let is_known = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|coding| CODINGS.iter().any(|known| coding.trim().eq_ignore_ascii_case(known)))
    };
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_known) {
        return Err(Problem::new(
            &UNKNOWN_CODING,
            format!("the body must be uncompressed, or compressed by one of {}", CODINGS.join(", ")),
        ));
    }
    Ok(())
}

/// Runs work that may wait for a disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::disk(GIVEN_UP)))
}

/// The body of a request.
struct Incoming {
    body: Body,
    /// The time that is left for [`STALL_BYTES`] to arrive.
    left: Duration,
    /// The bytes that arrived in this time.
    came: usize,
    /// All bytes that arrived.
    taken: usize,
}

impl Incoming {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// If the connection ends before the body does, or the body stalls.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let start = Instant::now();
        let body = &mut self.body;
        let frame =
            tokio::time::timeout(self.left, poll_fn(|context| Pin::new(&mut *body).poll_frame(context)))
                .await;
        self.left = self.left.saturating_sub(start.elapsed());
        match frame {
            Err(_) => Err(Problem::stalled(STALL)),
            Ok(Some(Err(_))) => Err(Problem::incomplete()),
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => {
                // Trailers are no part of the body.
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

/// Writes the body to the draft as it arrives.
async fn receive(incoming: &mut Incoming, draft: Draft, max: u64) -> Result<Draft, Problem> {
    let (parts, waiting) = mpsc::channel(PARTS_MAX);
    let writing = spawn_blocking(move || draft.write(waiting));
    let told = feed(incoming, parts, max).await;
    let written = writing.await.unwrap_or_else(|_| Err(Problem::disk(GIVEN_UP)));
    told.and(written)
}

/// Passes the body to the writer, which gives up unless it gets the end.
async fn feed(incoming: &mut Incoming, parts: mpsc::Sender<Part>, max: u64) -> Result<(), Problem> {
    while let Some(bytes) = incoming.next().await? {
        if incoming.taken as u64 > max {
            return Err(Problem::too_large(max));
        }
        if parts.send(Part::Bytes(bytes)).await.is_err() {
            // The writer has given up, and returns the reason.
            return Ok(());
        }
    }
    let _ = parts.send(Part::End).await;
    Ok(())
}

/// Records in the store that the draft replaces the log of this name, which has no date. So the replacement
/// happens once the draft has the name, even if the coordinator or the daemon dies in between.
async fn promise(sources: &Sources, draft: &mut Draft, name: &[u8]) -> Result<(), Problem> {
    let (start, mut asked) = (Instant::now(), BTreeMap::<u64, Instant>::new());
    loop {
        let is_held = |row: &LogRow| row.name == name && counts(row) && !is_of(row, draft.id);
        let held: Vec<LogRow> = sources.board.logs()?.into_iter().filter(is_held).collect();
        let mut left = Vec::new();
        for row in held {
            let (file, log) = (draft.id, row.id);
            // The store has no log of which nothing is counted, unless the log is being counted again by
            // other rules.
            let is_nothing = row.counted_to == 0 && asked.contains_key(&log);
            if !stored(sources, log, move |meta| {
                meta.map_or(is_nothing, |meta| meta.successors.contains(&file))
            })
            .await
            {
                left.push(log);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= PROMISE {
            return Err(Problem::not_ready(
                "the store could not record that the log of this name is to be replaced, so tallyd replaced nothing; try again, and see degraded of /api/v1/status",
            ));
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

/// True if this is the log of the file. The log of a file that is gone may have had the same inode.
fn is_of(row: &LogRow, file: (u64, u64)) -> bool {
    row.file == file && row.state != LogState::Gone
}

/// True if a log has numbers of its own.
fn counts(row: &LogRow) -> bool {
    !matches!(row.state, LogState::Skipped | LogState::Duplicate)
}

/// The id of the log in this file, once tallyd has found the log, and if possible counted it.
async fn seen(sources: &Sources, file: (u64, u64), name: &[u8]) -> Option<u64> {
    let (start, mut asked) = (Instant::now(), false);
    loop {
        let rows = sources.board.logs().unwrap_or_default();
        let row = rows.into_iter().find(|row| row.name == name && is_of(row, file));
        let late = start.elapsed() >= SEEN;
        match row {
            Some(row) if row.state != LogState::Counting || late => return Some(row.id),
            None if late => return None,
            // Without notifications of changes, the next scan may be far away.
            None if !asked
                && (start.elapsed() >= LOOK || sources.board.header().watching != Watching::Notified) =>
            {
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
    let body = json(&wire::Uploaded {
        id: log.map(wire::file_id),
        name: shown(&target.name),
        bytes,
        url: url.clone(),
    });
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(url) = url.and_then(|url| url.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}
