//! Server-sent events: who listens is told when numbers change.
//!
//! One task looks at the board for all who listen, and only while somebody does. What it finds is put into words once; each listener sends the same bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::Sources;
use super::problem::Problem;
use super::query::Asked;
use super::routes::Shared;
use super::wire::{self, json};
use crate::board::{Busy, LogBrief};

/// Two events are at least so far apart: at most 4 a second.
const APART: Duration = Duration::from_millis(250);
/// How often the board is looked at while somebody listens and nothing changes.
const POLL: Duration = Duration::from_millis(50);
/// After so long without an event, a comment shows both ends that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// So many connections at least, and an eighth of all, are left for those who do not listen.
const LEFT_MIN: usize = 8;
/// How soon a browser connects again.
const BEGINNING: &[u8] = b"retry: 2000\n\n";
const COMMENT: &[u8] = b": nothing has changed\n\n";

/// The last event, for all who listen.
pub(super) struct Events {
    last: watch::Sender<Told>,
    wanted: Notify,
    /// The places of those who listen.
    places: Arc<Semaphore>,
}

#[derive(Clone)]
enum Told {
    Nothing,
    Change(Change),
    /// The process is about to end.
    End,
}

/// An event.
#[derive(Clone)]
struct Change {
    generation: u64,
    bytes: Bytes,
}

impl Events {
    /// For those who may listen: as many as there may be connections, but for some. One who listens is never closed for another who asks, so that else nobody could ask.
    pub(super) fn new(connections_max: usize) -> Events {
        let places = connections_max.saturating_sub(LEFT_MIN.max(connections_max / 8)).max(1);
        Events { last: watch::Sender::new(Told::Nothing), wanted: Notify::new(), places: Arc::new(Semaphore::new(places)) }
    }

    /// Looks at the board, for ever.
    pub(super) async fn watch(&self, sources: &Sources) {
        let mut seen = 0;
        loop {
            if self.last.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            let is_new = sources.board.header().generation != seen;
            match is_new.then(|| change(sources)) {
                Some(Ok(change)) => {
                    seen = change.generation;
                    self.last.send_if_modified(|last| {
                        let goes_on = !matches!(last, Told::End);
                        if goes_on {
                            *last = Told::Change(change);
                        }
                        goes_on
                    });
                    sleep(APART).await;
                }
                Some(Err(Busy)) | None => sleep(POLL).await,
            }
        }
    }

    /// Ends what listeners get. They would keep the process from ending.
    pub(super) fn end(&self) {
        self.last.send_replace(Told::End);
    }
}

/// What the board shows now, as an event.
fn change(sources: &Sources) -> Result<Change, Busy> {
    let header = sources.board.header();
    // Of each log, no more is looked at than whether it is there: this is done four times a second.
    let add = |files: usize, log: Result<LogBrief, Busy>| log.map(|log| files + usize::from(log.state.is_present()));
    let data = wire::Change {
        generation: header.generation,
        pending_bytes: header.scanned.then_some(header.pending),
        requests: sources.board.days()?.iter().map(|day| day.totals.requests()).sum(),
        files: sources.board.briefs().try_fold(0, add)?,
    };
    let text = String::from_utf8_lossy(&json(&data)).into_owned();
    let id = id(sources, header.generation);
    Ok(Change { generation: header.generation, bytes: format!("event: change\nid: {id}\ndata: {text}\n\n").into() })
}

/// Tells what a listener has seen: generations begin anew with each start.
fn id(sources: &Sources, generation: u64) -> String {
    format!("{:x}-{generation:x}", sources.started)
}

/// `GET /api/v1/events`
pub(super) async fn events(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(&[])?;
    let sources = &api.sources;
    let place = Arc::clone(&sources.events.places).try_acquire_owned().map_err(|_| Problem::too_many_listeners())?;
    // Before the board is looked at: what changes after that look is told as an event.
    let listener = sources.events.last.subscribe();
    sources.events.wanted.notify_one();
    let now = change(sources)?;
    let has = asked.headers.get("last-event-id").is_some_and(|has| has.as_bytes() == id(sources, now.generation).as_bytes());
    let first = if has { Bytes::from_static(BEGINNING) } else { [BEGINNING, &now.bytes].concat().into() };
    let listener = Listener { told: listener, first: Some(first), generation: now.generation, _place: place };
    let stream = futures_util::stream::unfold(listener, async |mut listener| {
        let bytes = listener.next().await?;
        Some((Ok::<_, Infallible>(bytes), listener))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // nginx would collect events before it passes them on.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

struct Listener {
    told: watch::Receiver<Told>,
    first: Option<Bytes>,
    /// What the listener knows.
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

/// The task that looks at the board.
pub(super) fn spawn(sources: &Arc<Sources>) {
    let sources = Arc::clone(sources);
    tokio::spawn(async move { sources.events.watch(&sources).await });
}
