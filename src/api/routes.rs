//! The routes: which paths there are, and who answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use crate::api::http::response_budget::{self, Room, Turns};
use crate::api::http::{catch_panic, guard};
use crate::api::nouns::{changes, days, docs, events, files, health, openapi, report, status};
use crate::api::problem::Problem;
use crate::api::state::{Api, Shared, Sources};
use crate::api::{metrics, pages, upload};

pub(super) fn router(sources: Arc<Sources>) -> Router {
    let room = Room::new();
    let api = Arc::new(Api { sources, room: room.clone(), report: Mutex::default() });
    // What copies much of the board. None of them waits for anything else.
    let lists = Router::new()
        .route("/api/v1/report", get(report::report))
        .route("/api/v1/files", get(files::files))
        .route("/api/v1/days", get(days::days))
        .route("/api/v1/days/{day}", get(days::day))
        .route("/api/v1/status", get(status::status))
        .layer(from_fn_with_state(Turns::new(), response_budget::in_turn));
    Router::new()
        .merge(lists)
        .merge(upload::routes())
        // Not among the lists: both may wait for the store, and are short.
        .route("/api/v1/files/{id}", get(files::file).delete(changes::delete))
        .route("/api/v1/range", get(days::range))
        .route("/api/v1/top/clients", get(days::top_clients))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/rescan", post(changes::rescan))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(pages::overview))
        .route("/style.css", get(pages::style))
        .merge(health::other_routes())
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(docs::page))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn(catch_panic::caught))
        .layer(from_fn_with_state(room, response_budget::bounded))
        .layer(from_fn_with_state(Arc::clone(&api), guard::guard))
        .layer(from_fn_with_state(Arc::clone(&api), every_answer))
        // The outermost: it sees what all the others answer.
        .layer(from_fn_with_state(Arc::clone(&api), metrics::measured))
        .with_state(api)
}

/// What every answer has.
async fn every_answer(State(api): Shared, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    api.sources.own.add_work();
    let headers = response.headers_mut();
    guard::put_headers(headers);
    // Numbers are for those who may read them: a cache that many share must not keep them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}
