//! The answered HTTP requests by method, route and status, and their duration.
//!
//! A route is a template of the table of routes, never the path of a request. The counters restart at 0 with
//! the api process, as Prometheus expects of counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};

use super::page::{NONE, Page};

/// The label of paths that match no route, and of unknown methods.
pub(super) const OTHER: &str = "other";
/// The upper bounds of the histogram, in seconds: from an answer out of memory to a union over years.
const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The requests and connections so far.
#[derive(Debug, Default)]
pub(in crate::api) struct Traffic {
    routes: Mutex<BTreeMap<String, Route>>,
    open: Arc<AtomicU64>,
    accepted: AtomicU64,
}

/// The requests of one route.
#[derive(Clone, Debug, Default)]
struct Route {
    answers: BTreeMap<(&'static str, u16), u64>,
    /// The number of requests in each bucket: up to its bound, and above the previous one. The last bucket
    /// has no bound.
    took: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

/// An open connection, until this value is dropped.
#[derive(Debug)]
pub(in crate::api) struct Connection(Arc<AtomicU64>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Traffic {
    /// Counts a connection that was accepted.
    pub(in crate::api) fn connection(&self) -> Connection {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Connection(Arc::clone(&self.open))
    }

    /// Counts an answered request.
    pub(super) fn add(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), Route::default());
        }
        let Some(route) = routes.get_mut(route) else { return };
        *route.answers.entry((method_name(method), status.as_u16())).or_default() += 1;
        route.took[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        route.seconds += seconds;
    }

    /// The current numbers. `answers`: the number of answers since the daemon started.
    pub(super) fn numbers(&self, answers: u64) -> Numbers {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Numbers { routes, answers, open: self.open.load(Relaxed), accepted: self.accepted.load(Relaxed) }
    }
}

/// The label of a method. Methods outside of the list share one label, because clients can invent any number
/// of methods.
fn method_name(method: &Method) -> &'static str {
    let known = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    known.into_iter().find(|(known, _)| known == method).map_or(OTHER, |(_, name)| name)
}

/// The requests and connections at one time.
pub(super) struct Numbers {
    routes: BTreeMap<String, Route>,
    answers: u64,
    open: u64,
    accepted: u64,
}

impl Numbers {
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let answers = self.routes.iter().flat_map(|(route, numbers)| {
            numbers.answers.iter().map(move |((method, status), count)| (route, method, status, count))
        });
        page.counter(
            "http_requests",
            None,
            "HTTP requests answered since the api process started, by method, route and status. Paths that match no route are \"other\".",
            answers
                .map(|(route, method, status, count)| ([("method", (*method).to_owned()), ("route", route.clone()), ("status", status.to_string())], *count)),
        )?;
        page.histogram(
            "http_request_duration",
            "Time from the head of an HTTP request to the head of its answer in seconds, since the api process started.",
            self.routes.iter().map(|(route, numbers)| ([("route", route.as_str())], numbers.seconds, buckets(&numbers.took))),
        )?;
        page.counter(
            "http_answers",
            None,
            "HTTP requests answered since the daemon started, including those before a restart of the api.",
            [(NONE, self.answers)],
        )?;
        page.counter(
            "http_connections",
            None,
            "Connections accepted since the api process started.",
            [(NONE, self.accepted)],
        )?;
        page.gauge("http_open_connections", None, "Open connections.", [(NONE, self.open)])
    }
}

fn buckets(took: &[u64; BOUNDS.len() + 1]) -> [(f64, u64); BOUNDS.len() + 1] {
    std::array::from_fn(|at| (BOUNDS.get(at).copied().unwrap_or(f64::INFINITY), took[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_as_long_as_a_bound_is_within_it() {
        let traffic = Traffic::default();
        for ms in [0, 1, 2, 10_000, 10_001, 99_000] {
            traffic.add("/x", &Method::GET, StatusCode::OK, Duration::from_millis(ms));
        }
        let Numbers { routes, .. } = traffic.numbers(0);
        let buckets = buckets(&routes["/x"].took);
        assert_eq!(buckets.map(|(_, count)| count), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((buckets[1].0, buckets[14].0), (0.001, f64::INFINITY));
        assert!((routes["/x"].seconds - 119.004).abs() < 1e-9);
    }

    #[test]
    fn methods_are_those_of_a_list() {
        assert_eq!(method_name(&Method::DELETE), "DELETE");
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), OTHER);
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let traffic = Traffic::default();
        let one = traffic.connection();
        let two = traffic.connection();
        assert_eq!(traffic.numbers(0).open, 2);
        drop(one);
        let numbers = traffic.numbers(0);
        assert_eq!((numbers.open, numbers.accepted), (1, 2));
        drop(two);
        assert_eq!(traffic.numbers(0).open, 0);
    }
}
