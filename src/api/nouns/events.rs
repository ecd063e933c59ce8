//! Server-sent events: each listener gets an event when numbers change.
//!
//! One task reads the board for all listeners, and only while there are any. Each event is written once; all
//! listeners send the same bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use crate::api::listeners::{Change, Told};
use crate::api::problem::Problem;
use crate::api::query::Asked;
use crate::api::state::Shared;
use crate::api::state::Sources;
use crate::api::wire::{self, json};
use crate::board::{BusyError, LogBrief};

/// The minimum time between two events: at most 4 per second.
const APART: Duration = Duration::from_millis(250);
/// How often the task reads the board while somebody listens and nothing changes.
const POLL: Duration = Duration::from_millis(50);
/// The time without an event after which a comment shows both ends that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The first bytes of a stream: the time in milliseconds after which a browser connects again.
const BEGINNING: &[u8] = b"retry: 2000\n\n";
const COMMENT: &[u8] = b": nothing has changed\n\n";

/// The current state of the board as an event.
fn change(sources: &Sources) -> Result<Change, BusyError> {
    let header = sources.board.header();
    // Only the states of the logs are read: this runs four times per second.
    let add = |files: usize, log: Result<LogBrief, BusyError>| {
        log.map(|log| files + usize::from(log.state.is_present()))
    };
    let data = wire::Change {
        generation: header.generation,
        pending_bytes: header.scanned.then_some(header.pending),
        requests: sources.board.days()?.iter().map(|day| day.totals.counts.requests()).sum(),
        files: sources.board.briefs().try_fold(0, add)?,
    };
    let text = String::from_utf8_lossy(&json(&data)).into_owned();
    let id = id(sources, header.generation);
    Ok(Change {
        generation: header.generation,
        bytes: format!("event: change\nid: {id}\ndata: {text}\n\n").into(),
    })
}

/// The id of an event. It contains the start of the daemon, since generations restart with the daemon.
fn id(sources: &Sources, generation: u64) -> String {
    format!("{:x}-{generation:x}", sources.started)
}

/// `GET /api/v1/events`
pub async fn events(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(&[])?;
    let sources = &api.sources;
    let place =
        Arc::clone(&sources.events.places).try_acquire_owned().map_err(|_| Problem::too_many_listeners())?;
    // Before the board is read: later changes become events.
    let listener = sources.events.last.subscribe();
    sources.events.wanted.notify_one();
    let now = change(sources)?;
    let has = asked
        .headers
        .get("last-event-id")
        .is_some_and(|has| has.as_bytes() == id(sources, now.generation).as_bytes());
    let first = if has { Bytes::from_static(BEGINNING) } else { [BEGINNING, &now.bytes].concat().into() };
    let listener = Listener { told: listener, first: Some(first), generation: now.generation, _place: place };
    let stream = futures_util::stream::unfold(listener, async |mut listener| {
        let bytes = listener.next().await?;
        Some((Ok::<_, Infallible>(bytes), listener))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Without this header, nginx collects events before it forwards them.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

struct Listener {
    told: watch::Receiver<Told>,
    first: Option<Bytes>,
    /// The generation of the last event that this listener got.
    generation: u64,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The next bytes to send; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !matches!(*self.told.borrow(), Told::End) {
            match timeout(HEARTBEAT, self.told.changed()).await {
                Err(_) => return Some(Bytes::from_static(COMMENT)),
                Ok(Err(_)) => return None,
                Ok(Ok(())) => {}
            }
            match self.told.borrow_and_update().clone() {
                Told::Change(change) if change.generation > self.generation => {
                    self.generation = change.generation;
                    return Some(change.bytes);
                }
                Told::Change(_) | Told::Nothing | Told::End => {}
            }
        }
        None
    }
}

/// Reads the board for ever.
async fn watch(sources: &Sources) {
    let (events, mut seen) = (&sources.events, 0);
    loop {
        if events.last.receiver_count() == 0 {
            events.wanted.notified().await;
        }
        let is_new = sources.board.header().generation != seen;
        match is_new.then(|| change(sources)) {
            Some(Ok(change)) => {
                seen = change.generation;
                events.last.send_if_modified(|last| {
                    let goes_on = !matches!(last, Told::End);
                    if goes_on {
                        *last = Told::Change(change);
                    }
                    goes_on
                });
                sleep(APART).await;
            }
            Some(Err(BusyError)) | None => sleep(POLL).await,
        }
    }
}

/// Starts the task that reads the board.
pub fn spawn(sources: &Arc<Sources>) {
    let sources = Arc::clone(sources);
    tokio::spawn(async move { watch(&sources).await });
}
