//! `GET /metrics`: the metrics for Prometheus.
//!
//! Each scrape takes a snapshot of the board, the roster, /proc and the traffic. The number of series depends
//! on the days that are shown, the workers and the routes; never on paths, clients or logs. Deliberately
//! absent: numbers that need the store, and state between scrapes, except for the traffic.

mod board;
mod page;
mod processes;
pub(super) mod traffic;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::api::problem::Problem;
use crate::api::query::{list, preference};
use crate::api::state::Shared;
use crate::api::state::Sources;
use page::Page;
use traffic::OTHER;

/// The prefix of all names.
const PREFIX: &str = "tallyd";
/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers a scrape.
pub(super) async fn metrics(State(api): Shared, headers: HeaderMap) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Snapshot::take(&api.sources)?));
    let mut body = String::with_capacity(64 << 10);
    let (written, kind) = if wants_open_metrics(&headers) {
        (text::encode(&mut body, &registry), OPEN_METRICS_TYPE)
    } else {
        (prometheus_text::encode(&mut body, &registry), prometheus_text::CONTENT_TYPE)
    };
    written.map_err(|fmt::Error| Problem::not_ready("tallyd could not write the metrics; try again"))?;
    Ok(([(header::CONTENT_TYPE, kind), (header::VARY, "accept")], body).into_response())
}

/// The numbers of one moment.
struct Snapshot {
    board: board::Numbers,
    processes: Vec<processes::Process>,
    traffic: traffic::Numbers,
}

impl Snapshot {
    fn take(sources: &Arc<Sources>) -> Result<Snapshot, Problem> {
        Ok(Snapshot {
            board: board::Numbers::take(&sources.board, &sources.keys)?,
            processes: processes::all(&sources.roster, &sources.pages),
            traffic: sources.traffic.numbers(sources.own.work()),
        })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        page.info("build", "The version of tallyd.", &[("version", env!("CARGO_PKG_VERSION"))])?;
        self.board.write(&mut page)?;
        processes::write(&self.processes, &mut page)?;
        self.traffic.write(&mut page)
    }
}

/// True if the client prefers OpenMetrics to the plain text. Without a preference the answer is the plain
/// text, which all collectors read.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accept = list(headers, header::ACCEPT);
    preference(&accept, OPEN_METRICS) > preference(&accept, "text/plain")
}

/// Measures the time from the head of a request to the head of the answer.
pub(super) async fn measured(State(api): Shared, request: Request, next: Next) -> Response {
    let (start, method) = (Instant::now(), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    api.sources.traffic.add(route, &method, response.status(), start.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(accept: &[&str], open: bool) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(wants_open_metrics(&headers), open, "{accept:?}");
    }

    #[test]
    fn the_format_is_the_one_that_is_wanted() {
        check(&[], false);
        check(&["*/*"], false);
        check(&["text/html, */*;q=0.1"], false);
        check(&["application/openmetrics-text"], true);
        check(&["APPLICATION/OpenMetrics-Text;Q=0.5"], true);
        check(&["application/openmetrics-text;q=0.5, application/*, text/*;q=0.6"], false);
        check(
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            true,
        );
        check(
            &["text/plain;version=0.0.4;q=0.5", "application/openmetrics-text; version=1.0.0; q=0.6"],
            true,
        );
        check(&["text/plain, application/openmetrics-text;q=0.9"], false);
        check(&["application/openmetrics-text;q=0"], false);
        check(&["application/openmetrics-text;q=much"], false);
    }
}
