//! What the API is, for programs: the OpenAPI document, made from the types that go over the wire, the parameters that are read, the codes of errors, and the table below.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::answer::{Format, Tag, answer};
use super::examples::EXAMPLES;
use super::guard::OPEN_PATHS;
use super::large::OneCopy;
use super::problem::{
    BAD_PARAMETER, CODES, CONFLICT, Code, INTERNAL, NO_TOKEN_SET, NOT_FOUND, NOT_READY, Problem, READ_ONLY_LOGIN, READ_ONLY_TOKEN, UNAUTHORIZED,
};
use super::query::{Asked, Kind, Parameter};
use super::routes::Shared;
use super::{days, files, problem, report, status, upload, wire};
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
    /// The errors of its own; each has those of [`OF_ALL`] too.
    codes: &'static [&'static Code],
}

/// A good answer: its status, what it is, its media types, each with the schema or with none for text.
type Answer = (u16, &'static str, &'static [(&'static str, Option<&'static str>)]);

const JSON: &str = "application/json";
const CSV: (&str, Option<&str>) = ("text/csv", None);
const NDJSON: (&str, Option<&str>) = ("application/x-ndjson", None);
const UNCHANGED: Answer = (304, "Nothing has changed since the answer whose `ETag` the request's `If-None-Match` names.", &[]);

/// What any request may be answered.
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
        summary: "The logs in the folders now, each with its requests and clients",
        about: "By name, as far as they are counted: `complete` of `/api/v1/files` tells of each, `/readyz` of all.",
        parameters: report::OF_REPORT,
        answers: &[(200, "The report: an object with an entry for each log.", &[(JSON, Some("Report")), CSV]), UNCHANGED],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/files",
        summary: "All logs, also those that are gone",
        about: "In pages. The header `Link` names the next page, as `next` does. A log that changes its place while pages are asked for may come twice or not at all.",
        parameters: files::OF_LIST,
        answers: &[(200, "A page. As CSV and as JSON lines, it is the files alone.", &[(JSON, Some("Files")), CSV, NDJSON]), UNCHANGED],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/files/{id}",
        summary: "A log, with its numbers by day and what of it could not be counted",
        about: "",
        parameters: &[],
        answers: &[(200, "The log.", &[(JSON, Some("FileWithDays"))]), UNCHANGED],
        codes: &[&NOT_FOUND, &NOT_READY],
    },
    Route {
        method: "delete",
        path: "/api/v1/files/{id}",
        summary: "Takes back what was counted of a log, for good",
        about: "The file itself is left as it is. Done twice, it is done once.",
        parameters: &[],
        answers: &[(204, "It is taken back, and that is stored.", &[]), (202, "It is asked for, and takes more than 5 s.", &[])],
        codes: &[&UNAUTHORIZED, &NO_TOKEN_SET, &READ_ONLY_TOKEN, &READ_ONLY_LOGIN, &NOT_FOUND, &CONFLICT, &NOT_READY],
    },
    Route {
        method: "put",
        path: "/api/v1/files/{id}",
        summary: "Uploads a log into the watched folder",
        about: "The body is the log as it is, compressed or not. It is there under its name when it is whole, or not at all. With several folders, the folder's name comes in front: \
                `web1/20210322.log`.",
        parameters: upload::OF_UPLOAD,
        answers: &[
            (201, "It is stored, and found.", &[(JSON, Some("Uploaded"))]),
            (200, "It has replaced what had the name.", &[(JSON, Some("Uploaded"))]),
            (202, "It is stored, and not found yet: `id` may be null.", &[(JSON, Some("Uploaded"))]),
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
        summary: "Each day over all logs",
        about: "With `from` or `to`, what is undated is left out.",
        parameters: days::OF_LIST,
        answers: &[(200, "The days. As CSV and as JSON lines, it is the days alone.", &[(JSON, Some("Days")), CSV, NDJSON]), UNCHANGED],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/days/{day}",
        summary: "A day over all logs",
        about: "",
        parameters: &[],
        answers: &[(200, "The day.", &[(JSON, Some("Day"))]), UNCHANGED],
        codes: &[&NOT_FOUND, &NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/range",
        summary: "Several days over all logs, their clients united",
        about: "`unique_ips` is the exact union over all these days and logs. Without `from` and `to`, all days that have a date; what is undated is in no range. Answered from the \
                store, which follows the logs within about a second; an answer waits up to 1.5 s for it.",
        parameters: days::OF_RANGE,
        answers: &[(200, "The numbers; zeros if there is nothing of these days.", &[(JSON, Some("Range")), CSV]), UNCHANGED],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/top/clients",
        summary: "The clients with the most requests",
        about: "Over the days from `from` to `to`, or all that have a date. Answered from the store, as a range is.",
        parameters: days::OF_TOP,
        answers: &[(200, "The clients. As CSV and as JSON lines, it is the clients alone.", &[(JSON, Some("TopClients")), CSV, NDJSON]), UNCHANGED],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/events",
        summary: "Tells when numbers change",
        about: "Server-sent events, for as long as the connection lasts: first one for what is now, unless the header `Last-Event-ID` names just that, then an event `change` for each \
                change, at most 4 a second. Its `data` is a `Change`, as JSON. Every 15 s without one, a comment.",
        parameters: &[],
        answers: &[(200, "Events.", &[("text/event-stream", None)])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "post",
        path: "/api/v1/rescan",
        summary: "Looks at the folders now, and tries again what is in quarantine",
        about: "",
        parameters: &[],
        answers: &[(202, "It is asked for.", &[])],
        codes: &[&UNAUTHORIZED, &NO_TOKEN_SET, &READ_ONLY_TOKEN, &READ_ONLY_LOGIN, &NOT_READY],
    },
    Route {
        method: "get",
        path: "/api/v1/status",
        summary: "What the daemon does",
        about: "",
        parameters: &[],
        answers: &[(200, "The status.", &[(JSON, Some("Status"))])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/metrics",
        summary: "What Prometheus scrapes",
        about: "As text, or as OpenMetrics if `Accept` asks for that.",
        parameters: &[],
        answers: &[(200, "Metrics.", &[("text/plain", None), ("application/openmetrics-text", None)])],
        codes: &[&NOT_READY],
    },
    Route {
        method: "get",
        path: "/healthz",
        summary: "Does it answer at all?",
        about: "",
        parameters: &[],
        answers: &[(200, "`alive`", &[("text/plain", None)])],
        codes: &[],
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "Is everything counted that was found at the start?",
        about: "",
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
        answers: &[(200, "OpenAPI 3.1.", &[(JSON, Some("Document"))]), UNCHANGED],
        codes: &[],
    },
    Route {
        method: "get",
        path: "/docs",
        summary: "This document, for people",
        about: "",
        parameters: &[],
        answers: &[(200, "A page that needs nothing from elsewhere.", &[("text/html", None)]), UNCHANGED],
        codes: &[],
    },
];

/// The parts of paths.
static PATH_PARTS: &[Parameter] = &[
    Parameter { name: "id", about: "The `id` of a file.", kind: Kind::FileId },
    Parameter { name: "day", about: "A date like 2021-03-22, `today` or `yesterday` (in UTC), or `undated`.", kind: Kind::Day },
];

/// The words that a field may be.
fn words(schema: &str, field: &str) -> Option<Vec<&'static str>> {
    match (schema, field) {
        ("File" | "FileWithDays", "state") => Some(LogState::NAMES.to_vec()),
        ("Status", "watching") => Some(status::WATCHING.to_vec()),
        ("Process", "role") => Some([&[status::SUPERVISOR], &Role::NAMES[..]].concat()),
        ("Process", "state") => Some(Activity::NAMES.to_vec()),
        _ => None,
    }
}

const ABOUT: &str = "tallyd counts the requests and the distinct clients of access logs, exactly.\n\nAll answers are JSON unless another form is asked for. Errors are problem+json \
(RFC 9457) with a stable `code`. Data answers carry an `ETag`: `If-None-Match` with it is answered by 304 as long as nothing has changed. `HEAD` works wherever `GET` does. Answers above \
1 KiB are packed by zstd or gzip if `Accept-Encoding` allows it. Changes need the admin token. Reading needs a token if a read token is set, or if tallyd \
listens beyond loopback without `insecure_no_auth`.\n\nIn CSV, the columns are the fields of the JSON by their names, a \
list is a column for each element (`requests_by_hour_00`), and text that a spreadsheet would take for a formula has a `'` in front.";

/// The document.
pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

/// `GET /openapi.json`
pub(super) async fn document(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| wire::json(&*DOCUMENT).into());
    asked.only(&[])?;
    let mut response = answer(&asked, &Tag::of_program(&api), Format::Json, || TEXT.clone());
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
    let in_path = parts.iter().filter(|part| path.contains(&format!("{{{}}}", part.name))).map(|part| (part, "path"));
    let in_query = parameters.iter().map(|parameter| (*parameter, "query"));
    let parameters: Vec<Value> = in_path
        .chain(in_query)
        .map(|(parameter, place)| {
            json!({ "name": parameter.name, "in": place, "required": place == "path", "description": parameter.about, "schema": schema_of(parameter) })
        })
        .collect();
    let mut responses: BTreeMap<String, Value> = answers.iter().map(|answer| (answer.0.to_string(), response(path, answer))).collect();
    let mut by_status: BTreeMap<StatusCode, Vec<&Code>> = BTreeMap::new();
    // Whether reading needs a token depends on the address that is listened on.
    let changes = codes.iter().any(|code| code.word == UNAUTHORIZED.word);
    let reads = (!changes && !OPEN_PATHS.contains(path)).then_some(&UNAUTHORIZED);
    for code in OF_ALL.iter().copied().chain(codes.iter().copied()).chain(reads) {
        by_status.entry(code.status).or_default().push(code);
    }
    for (status, codes) in by_status {
        let about: Vec<String> = codes.iter().map(|code| format!("`{}`: {}", code.word, code.about)).collect();
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        responses.insert(status.as_u16().to_string(), json!({ "description": about.join("\n\n"), "content": content }));
    }
    let mut words: Vec<&str> = path.split(['/', '{', '}', '.']).filter(|word| !matches!(*word, "" | "api" | "v1")).collect();
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
            .map(|(at, example)| (format!("example_{at}"), json!({ "summary": format!("GET {}", example.asked), "value": example.value() })))
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

/// What a parameter may be, as a schema.
fn schema_of(parameter: &Parameter) -> Value {
    // From 1 to 36500, as `period` reads them.
    const LAST_DAYS: &str = "[1-9][0-9]{0,3}|[12][0-9]{4}|3[0-5][0-9]{3}|36[0-4][0-9]{2}|36500";
    const DATE: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    match parameter.kind {
        Kind::FileId => json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Day => json!({ "type": "string", "pattern": format!("^({DATE}|today|yesterday|undated)$") }),
        Kind::Bound => json!({ "type": "string", "pattern": format!("^({DATE}|today|yesterday|month|({LAST_DAYS})d)$") }),
        Kind::Words(words) => json!({ "type": "string", "enum": words }),
        Kind::Count(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The types that go over the wire, by name.
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
    let found: BTreeMap<String, Value> =
        found.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).expect("a schema has text keys"))).collect();
    let mut schemas: Map<String, Value> = found.keys().map(|name| (name.clone(), flat(name, &found))).collect();
    // Only what others are made of stands in nobody's answer.
    schemas.remove("Numbers");
    schemas.insert("Report".to_owned(), json!({ "type": "object", "description": "The logs by name.", "additionalProperties": reference("Reported") }));
    schemas.insert("Document".to_owned(), json!({ "type": "object", "description": "An OpenAPI document.", "required": ["openapi", "info", "paths"] }));
    schemas["Problem"]["properties"]["code"]["enum"] = CODES.iter().map(|code| code.word).collect();
    for (name, schema) in &mut schemas {
        for (field, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
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

/// A schema whose fields are all its own: those of the types within it become its fields, as they do on the wire.
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
        let text = [include_str!("routes.rs"), include_str!("upload.rs")].concat();
        let table = text.split(".route(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        // A name with a folder in front is the same to who asks.
        let table = table.filter(|(path, _)| !path.contains("{*"));
        let mut routed = BTreeSet::new();
        for (path, rest) in table {
            let handlers = rest.lines().next().unwrap();
            routed.extend(methods.iter().filter(|method| handlers.contains(&format!("{method}("))).map(|method| format!("{method} {path}")));
        }
        let described: BTreeSet<String> = ROUTES.iter().map(|Route { method, path, .. }| format!("{method} {path}")).collect();
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
                assert!(operation["parameters"].as_array().unwrap().iter().all(|parameter| text(&parameter["description"])), "{method} {path}");
                assert!(operation["responses"].as_object().unwrap().values().all(|response| text(&response["description"])), "{method} {path}");
            }
        }
    }

    /// Every reference leads to something.
    #[test]
    fn references_lead_somewhere() {
        let text = DOCUMENT.to_string();
        for (_, rest) in text.match_indices("#/components/schemas/").map(|(at, prefix)| text.split_at(at + prefix.len())) {
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
