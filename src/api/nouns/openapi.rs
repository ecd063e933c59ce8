//! The OpenAPI document: made from the wire types, the parameters, the error codes, and the table of routes
//! below.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::answer::{Tag, answer};
use crate::api::http::guard::OPEN_PATHS;
use crate::api::http::response_budget::OneCopy;
use crate::api::nouns::days;
use crate::api::nouns::examples::EXAMPLES;
use crate::api::nouns::{files, report, status};
use crate::api::problem::{
    BAD_PARAMETER, CODES, CONFLICT, Code, INTERNAL, NO_TOKEN_SET, NOT_FOUND, NOT_READY, Problem,
    READ_ONLY_LOGIN, READ_ONLY_TOKEN, UNAUTHORIZED,
};
use crate::api::query::media::Media;
use crate::api::query::{Asked, Kind, Parameter};
use crate::api::state::Shared;
use crate::api::{problem, upload, wire};
use crate::board::{Activity, LogState};
use crate::heritage::Role;

/// A method of a path.
struct Route {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    about: &'static str,
    parameters: &'static [&'static Parameter],
    answers: &'static [Answer],
    /// The errors of this route beside those of [`OF_ALL`].
    codes: &'static [&'static Code],
}

/// A successful answer: status, description, and media types, each with its schema, or none for text.
type Answer = (u16, &'static str, &'static [(&'static str, Option<&'static str>)]);

const JSON: &str = "application/json";
const CSV: (&str, Option<&str>) = ("text/csv", None);
const NDJSON: (&str, Option<&str>) = ("application/x-ndjson", None);
const UNCHANGED: Answer = (304, "The answer is the same as the one whose `ETag` is in `If-None-Match`.", &[]);

/// The errors that any request may get.
static OF_ALL: &[&Code] = &[
    &BAD_PARAMETER,
    &problem::BAD_REQUEST,
    &problem::HOST_NOT_ALLOWED,
    &problem::REQUEST_TIMEOUT,
    &problem::BODY_TOO_LARGE,
    &problem::URI_TOO_LONG,
    &problem::HEAD_TOO_LARGE,
    &INTERNAL,
    &problem::TOO_BUSY,
];

static ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/api/v1/report",
        summary: "The logs that are in the folders now, with the requests and clients of each",
        about: "The numbers are those counted so far. `complete` in `/api/v1/files` is true once a log is counted to its end; `/readyz` answers 200 once all logs that were there at the start are.",
        parameters: report::OF_REPORT,
        answers: &[
            (200, "An object with an entry for each log, by name.", &[(JSON, Some("Report")), CSV]),
            UNCHANGED,
        ],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/files",
        summary: "All logs, also those that are no longer in the folders",
        about: "The list comes in pages: `next` and the header `Link` lead to the next page. A log whose position changes between two pages may be listed twice or not at all.",
        parameters: files::OF_LIST,
        answers: &[
            (
                200,
                "A page of logs. CSV and JSON lines contain the logs only.",
                &[(JSON, Some("Files")), CSV, NDJSON],
            ),
            UNCHANGED,
        ],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/files/{id}",
        summary: "One log, with its numbers by day and the ranges that could not be counted",
        about: "",
        parameters: &[],
        answers: &[(200, "The log.", &[(JSON, Some("FileWithDays"))]), UNCHANGED],
        codes: &[&NOT_FOUND, &NOT_READY],
    },
    Route {
        method: "delete",
        path: "/api/v1/files/{id}",
        summary: "Delete the numbers of a log permanently",
        about: "tallyd does not change the log itself, and never counts this log again. Repeating the request has no further effect.",
        parameters: &[],
        answers: &[
            (204, "The numbers are deleted, and the deletion is stored.", &[]),
            (202, "The request is accepted; the deletion takes more than 5 s.", &[]),
        ],
        codes: &[
            &UNAUTHORIZED,
            &NO_TOKEN_SET,
            &READ_ONLY_TOKEN,
            &READ_ONLY_LOGIN,
            &NOT_FOUND,
            &CONFLICT,
            &NOT_READY,
        ],
    },
    Route {
        method: "put",
        path: "/api/v1/files/{id}",
        summary: "Upload a log into a watched folder",
        about: "The body is the log, compressed or not. The log appears under its name once all of the body has arrived, or not at all. If several folders are watched, the name begins \
                with the folder: `web1/20210322.log`.",
        parameters: upload::OF_UPLOAD,
        answers: &[
            (201, "The log is stored, and tallyd has found it.", &[(JSON, Some("Uploaded"))]),
            (
                200,
                "The log is stored, and has replaced the log of the same name.",
                &[(JSON, Some("Uploaded"))],
            ),
            (
                202,
                "The log is stored, and tallyd has not found it yet: `id` may be null.",
                &[(JSON, Some("Uploaded"))],
            ),
        ],
        codes: &[
            &UNAUTHORIZED,
            &NO_TOKEN_SET,
            &READ_ONLY_TOKEN,
            &READ_ONLY_LOGIN,
            &problem::INCOMPLETE,
            &problem::NOT_WRITABLE,
            &problem::STALLED,
            &CONFLICT,
            &problem::TOO_LARGE,
            &problem::TOO_MANY_UPLOADS,
            &problem::DISK_ERROR,
            &NOT_READY,
            &problem::DISK_FULL,
        ],
    },
    Route {
        method: "get",
        path: "/api/v1/days",
        summary: "The numbers of each day over all logs",
        about: "The list contains the days that have requests. With `from` or `to`, it leaves out `undated`.",
        parameters: days::OF_LIST,
        answers: &[
            (
                200,
                "The days. CSV and JSON lines contain the days only.",
                &[(JSON, Some("Days")), CSV, NDJSON],
            ),
            UNCHANGED,
        ],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/days/{day}",
        summary: "The numbers of one day over all logs",
        about: "A day without requests between the first and the last counted day has zeros. Other days without requests are not found.",
        parameters: &[],
        answers: &[(200, "The day.", &[(JSON, Some("Day"))]), UNCHANGED],
        codes: &[&NOT_FOUND, &NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/range",
        summary: "The numbers of several days over all logs; each client counts once",
        about: "`unique_ips` is the exact number of distinct clients over all these days and logs. Without `from` and `to`, the range is all dated days; `undated` requests are in no \
                range. tallyd answers from the store, which follows the logs within about 1 s; an answer waits up to 1.5 s for the store.",
        parameters: days::OF_RANGE,
        answers: &[
            (
                200,
                "The numbers of the range; zeros if these days have no requests.",
                &[(JSON, Some("Range")), CSV],
            ),
            UNCHANGED,
        ],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/top/clients",
        summary: "The clients with the most requests",
        about: "The numbers are those of the days from `from` to `to`, or of all dated days. tallyd answers from the store, as for a range.",
        parameters: days::OF_TOP,
        answers: &[
            (
                200,
                "The clients. CSV and JSON lines contain the clients only.",
                &[(JSON, Some("TopClients")), CSV, NDJSON],
            ),
            UNCHANGED,
        ],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/events",
        summary: "A stream of events: one whenever numbers change",
        about: "Server-sent events, until the connection ends. The first event has the current numbers, unless the header `Last-Event-ID` names exactly these. Then an event `change` \
                follows each change, at most 4 per second. The `data` of an event is a `Change` as JSON. After 15 s without an event, tallyd sends a comment.",
        parameters: &[],
        answers: &[(200, "The stream of events.", &[("text/event-stream", None)])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "post",
        path: "/api/v1/rescan",
        summary: "Scan the folders now, and count the quarantined ranges again",
        about: "",
        parameters: &[],
        answers: &[(202, "The request is accepted.", &[])],
        codes: &[&UNAUTHORIZED, &NO_TOKEN_SET, &READ_ONLY_TOKEN, &READ_ONLY_LOGIN, &NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/status",
        summary: "The state of the daemon: its processes, its work and its problems",
        about: "",
        parameters: &[],
        answers: &[(200, "The status.", &[(JSON, Some("Status"))])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/metrics",
        summary: "The metrics for Prometheus",
        about: "In the text format of Prometheus, or in OpenMetrics if `Accept` prefers that.",
        parameters: &[],
        answers: &[(200, "The metrics.", &[("text/plain", None), ("application/openmetrics-text", None)])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/healthz",
        summary: "Liveness: tallyd answers requests",
        about: "`/health`, `/livez` and `/-/healthy` answer the same. These paths need no token.",
        parameters: &[],
        answers: &[(200, "`alive`", &[("text/plain", None)])],
        codes: &[],
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "Readiness: tallyd has counted the logs that it found when it started",
        about: "503 before that, and while tallyd can read none of the logs: `detail` has the reason and the remedy. `/ready` and `/-/ready` answer the same. These paths need no \
                token.",
        parameters: &[],
        answers: &[(200, "`ready`", &[("text/plain", None)])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/",
        summary: "The numbers as a page, for browsers",
        about: "Requests and distinct clients of today, yesterday, the last 7 and the last 28 days, as `/api/v1/range` counts them, and the latest days.",
        parameters: &[],
        answers: &[(200, "The page.", &[("text/html", None)])],
        codes: &[&NOT_FOUND, &NOT_READY],
    },
    Route {
        method: "get",
        path: "/style.css",
        summary: "The stylesheet of the pages",
        about: "",
        parameters: &[],
        answers: &[(200, "The stylesheet.", &[("text/css", None)]), UNCHANGED],
        codes: &[],
    },
    Route {
        method: "get",
        path: "/openapi.json",
        summary: "This document",
        about: "",
        parameters: &[],
        answers: &[(200, "An OpenAPI 3.1 document.", &[(JSON, Some("Document"))]), UNCHANGED],
        codes: &[],
    },
    Route {
        method: "get",
        path: "/docs",
        summary: "This document as a page for people",
        about: "",
        parameters: &[],
        answers: &[
            (200, "An HTML page that loads nothing from other addresses.", &[("text/html", None)]),
            UNCHANGED,
        ],
        codes: &[],
    },
];

/// The parts of paths.
static PATH_PARTS: &[Parameter] = &[
    Parameter { name: "id", about: "The `id` of a log.", kind: Kind::FileId },
    Parameter {
        name: "day",
        about: "A date like 2021-03-22, `today` or `yesterday` (in UTC), or `undated`.",
        kind: Kind::Day,
    },
];

/// The allowed words of a field.
fn words(schema: &str, field: &str) -> Option<Vec<&'static str>> {
    match (schema, field) {
        ("File" | "FileWithDays", "state") => Some(LogState::NAMES.to_vec()),
        ("Status", "watching") => Some(status::WATCHING.to_vec()),
        ("Process", "role") => Some([&[status::SUPERVISOR], &Role::NAMES[..]].concat()),
        ("Process", "state") => Some(Activity::NAMES.to_vec()),
        _ => None,
    }
}

const ABOUT: &str = "tallyd counts the requests and the distinct clients of access logs, exactly.\n\nAnswers are JSON unless the request asks for another format. Errors are problem+json \
(RFC 9457): `code` is stable, `detail` has the remedy, and `type` links to the description in `/docs`. Answers with numbers have an `ETag`; a request with this tag in `If-None-Match` gets \
304 while the numbers are the same. `HEAD` works wherever `GET` does. tallyd compresses answers above 1 KiB with zstd or gzip if `Accept-Encoding` allows it.\n\nRequests that change \
anything need the admin token. Reading needs a token if a read token is set, or if tallyd listens beyond loopback without `insecure_no_auth`.\n\nIn CSV, the columns are the fields of the JSON by the same names, \
a list has a column for each element (`requests_by_hour_00`), and a `'` precedes text that a spreadsheet would run as a formula.";

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

/// `GET /openapi.json`
pub async fn document(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| wire::json(&*DOCUMENT).into());
    asked.only(&[])?;
    let mut response = answer(&asked, &Tag::of_program(&api), Media::Json, || TEXT.clone());
    response.extensions_mut().insert(OneCopy);
    Ok(response)
}

fn make() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        paths.entry(route.path).or_default().insert(route.method.to_owned(), operation(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "tallyd", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT, "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" } },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "The admin token (`TALLYD_TOKEN` or `token_file`); for reading, the read token too." },
                "login": { "type": "http", "scheme": "basic", "description": "The login of a browser, for reading only: any user name, and a token as the password." },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let Route { method, path, summary, about, parameters, answers, codes } = route;
    let named = [upload::NAME];
    let parts: &[Parameter] = if *method == "put" { &named } else { PATH_PARTS };
    let in_path =
        parts.iter().filter(|part| path.contains(&format!("{{{}}}", part.name))).map(|part| (part, "path"));
    let in_query = parameters.iter().map(|parameter| (*parameter, "query"));
    let parameters: Vec<Value> = in_path
        .chain(in_query)
        .map(|(parameter, place)| {
            json!({ "name": parameter.name, "in": place, "required": place == "path", "description": parameter.about, "schema": schema_of(parameter) })
        })
        .collect();
    let mut responses: BTreeMap<String, Value> =
        answers.iter().map(|answer| (answer.0.to_string(), response(path, answer))).collect();
    let mut by_status: BTreeMap<StatusCode, Vec<&Code>> = BTreeMap::new();
    // Reading needs a token only if a token for reading is set, or other machines can reach the API.
    let changes = codes.iter().any(|code| code.word == UNAUTHORIZED.word);
    let reads = (!changes && !OPEN_PATHS.contains(path)).then_some(&UNAUTHORIZED);
    for code in OF_ALL.iter().copied().chain(codes.iter().copied()).chain(reads) {
        by_status.entry(code.status).or_default().push(code);
    }
    for (status, codes) in by_status {
        let about: Vec<String> =
            codes.iter().map(|code| format!("`{}`: {}", code.word, code.about)).collect();
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        responses.insert(
            status.as_u16().to_string(),
            json!({ "description": about.join("\n\n"), "content": content }),
        );
    }
    let mut words: Vec<&str> =
        path.split(['/', '{', '}', '.']).filter(|word| !matches!(*word, "" | "api" | "v1")).collect();
    if words.is_empty() {
        words.push("home");
    }
    let mut operation = json!({ "operationId": format!("{method}_{}", words.join("_")), "summary": summary, "parameters": parameters, "responses": responses });
    if !about.is_empty() {
        operation["description"] = (*about).into();
    }
    if changes {
        operation["security"] = json!([{ "token": [] }]);
    } else if reads.is_some() {
        operation["security"] = json!([{}, { "token": [] }, { "login": [] }]);
    }
    operation
}

fn response(path: &str, (status, about, media): &Answer) -> Value {
    let mut content = Map::new();
    for (media, schema) in *media {
        let schema = schema.map_or(json!({ "type": "string" }), reference);
        let examples: Map<String, Value> = EXAMPLES
            .iter()
            .filter(|example| *status == 200 && example.path == path && example.media == *media)
            .enumerate()
            .map(|(at, example)| {
                (
                    format!("example_{at}"),
                    json!({ "summary": format!("GET {}", example.asked), "value": example.value() }),
                )
            })
            .collect();
        let mut entry = json!({ "schema": schema });
        if !examples.is_empty() {
            entry["examples"] = examples.into();
        }
        content.insert((*media).to_owned(), entry);
    }
    let mut response = json!({ "description": about });
    if !content.is_empty() {
        response["content"] = content.into();
    }
    response
}

/// The allowed values of a parameter, as a schema.
fn schema_of(parameter: &Parameter) -> Value {
    // From 1 to 36500, as `period` reads them.
    const LAST_DAYS: &str = "[1-9][0-9]{0,3}|[12][0-9]{4}|3[0-5][0-9]{3}|36[0-4][0-9]{2}|36500";
    const MONTH: &str = "[0-9]{4}-(0[1-9]|1[0-2])";
    const DATE: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    match parameter.kind {
        Kind::FileId => json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Day => json!({ "type": "string", "pattern": format!("^({DATE}|today|yesterday|undated)$") }),
        Kind::Bound => {
            json!({ "type": "string", "pattern": format!("^({DATE}|{MONTH}|today|yesterday|month|({LAST_DAYS})d)$") })
        }
        Kind::Words(words) => json!({ "type": "string", "enum": words }),
        Kind::Count(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The wire types by name.
fn schemas() -> Map<String, Value> {
    let mut found: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<wire::Reported>(&mut found);
    add::<wire::Files>(&mut found);
    add::<wire::FileWithDays>(&mut found);
    add::<wire::Days>(&mut found);
    add::<wire::Range>(&mut found);
    add::<wire::TopClients>(&mut found);
    add::<wire::Change>(&mut found);
    add::<wire::Status>(&mut found);
    add::<wire::Uploaded>(&mut found);
    add::<wire::Problem>(&mut found);
    let found: BTreeMap<String, Value> = found
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).expect("a schema has text keys")))
        .collect();
    let mut schemas: Map<String, Value> =
        found.keys().map(|name| (name.clone(), flat(name, &found))).collect();
    // No answer consists of `Numbers` alone: the schemas that contain it have its fields.
    schemas.remove("Numbers");
    schemas.insert("Report".to_owned(), json!({ "type": "object", "description": "The logs by name.", "additionalProperties": reference("Reported") }));
    schemas.insert("Document".to_owned(), json!({ "type": "object", "description": "An OpenAPI document.", "required": ["openapi", "info", "paths"] }));
    schemas["Problem"]["properties"]["code"]["enum"] = CODES.iter().map(|code| code.word).collect();
    for (name, schema) in &mut schemas {
        for (field, property) in
            schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
        {
            if let Some(words) = words(name, field) {
                property["enum"] = json!(words);
            }
        }
    }
    schemas
}

fn add<T: ToSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    found.push((T::name().into_owned(), <T as PartialSchema>::schema()));
    T::schemas(found);
}

/// A schema with the fields of all types that it contains, as on the wire.
fn flat(name: &str, all: &BTreeMap<String, Value>) -> Value {
    let Some(schema) = all.get(name) else { return Value::Null };
    let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { return schema.clone() };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let part = match part.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
            Some(inner) => flat(inner, all),
            None => part.clone(),
        };
        properties.extend(part.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
        required.extend(part.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
    }
    json!({ "type": "object", "description": schema["description"], "required": required, "properties": properties })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each `.route("…", get(…).delete(…))` of the routes is described, and nothing else is.
    #[test]
    fn the_document_has_all_routes() {
        let methods = ["get", "put", "post", "delete", "patch"];
        let text = [include_str!("../routes.rs"), include_str!("../upload.rs")].concat();
        let table = text.split(".route(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        // A name with a folder in front is the same to who asks.
        let table = table.filter(|(path, _)| !path.contains("{*"));
        let mut routed = BTreeSet::new();
        for (path, rest) in table {
            let handlers = rest.lines().next().unwrap();
            routed.extend(
                methods
                    .iter()
                    .filter(|method| handlers.contains(&format!("{method}(")))
                    .map(|method| format!("{method} {path}")),
            );
        }
        let described: BTreeSet<String> =
            ROUTES.iter().map(|Route { method, path, .. }| format!("{method} {path}")).collect();
        assert_eq!(routed, described);
        assert_eq!(described.len(), ROUTES.len());
    }

    #[test]
    fn every_field_and_parameter_is_described() {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
            assert!(text(&schema["description"]), "{name}");
            assert!(schema.get("allOf").is_none(), "{name}");
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                assert!(text(&property["description"]), "{name}.{field}: {property}");
            }
        }
        for (path, operations) in DOCUMENT["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                assert!(
                    operation["parameters"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .all(|parameter| text(&parameter["description"])),
                    "{method} {path}"
                );
                assert!(
                    operation["responses"]
                        .as_object()
                        .unwrap()
                        .values()
                        .all(|response| text(&response["description"])),
                    "{method} {path}"
                );
            }
        }
    }

    /// Every reference leads to something.
    #[test]
    fn references_lead_somewhere() {
        let text = DOCUMENT.to_string();
        for (_, rest) in
            text.match_indices("#/components/schemas/").map(|(at, prefix)| text.split_at(at + prefix.len()))
        {
            let name = rest.split('"').next().unwrap();
            assert!(DOCUMENT["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn codes_are_told_apart() {
        let words: BTreeSet<&str> = CODES.iter().map(|code| code.word).collect();
        assert_eq!(words.len(), CODES.len());
    }
}
