//! `/docs`: the API for people. First the questions one can ask, then the tokens that this daemon needs, then
//! the OpenAPI document.

use std::fmt::Write;
use std::sync::OnceLock;

use askama::Template;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use serde_json::Value;

use crate::api::answer::{Tag, answer};
use crate::api::http::response_budget::OneCopy;
use crate::api::http::token::Reading;
use crate::api::nouns::openapi::DOCUMENT;
use crate::api::pages;
use crate::api::problem::{CODES, Problem};
use crate::api::query::Asked;
use crate::api::query::media::Media;
use crate::api::state::Shared;

/// What the page says of this daemon.
struct Here {
    /// Where the api answers, as `curl` takes it.
    address: String,
    reading: Reading,
    /// Is an admin token set?
    allow_changes: bool,
}

/// The page.
#[derive(Template)]
#[template(path = "docs.html", config = "src/api/pages/askama.toml")]
struct Docs {
    version: &'static str,
    questions: Vec<Question>,
    reading: String,
    changing: String,
    /// The OpenAPI document as HTML, made by this module.
    reference: String,
}

/// A question, and the request that answers it.
struct Question {
    text: &'static str,
    path: &'static str,
    /// The request as a command for a shell.
    command: String,
    /// Can a browser follow the path?
    link: bool,
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Reads, and the answer ends.
    Read,
    /// Reads until the client ends it.
    Listen,
    /// Changes something; the options of `curl` for it.
    Change(&'static str),
}

const QUESTIONS: [(&str, &str, Deed); 13] = [
    (
        "How many requests and distinct clients are there today?",
        "/api/v1/range?from=today&to=today",
        Deed::Read,
    ),
    ("How many in the last 7 days? Each client counts once.", "/api/v1/range?from=7d", Deed::Read),
    ("How many in a month?", "/api/v1/range?from=2021-03-01&to=2021-03-31", Deed::Read),
    ("How many on each day?", "/api/v1/days?from=28d", Deed::Read),
    ("How many on each day, for a spreadsheet?", "/api/v1/days?format=csv", Deed::Read),
    ("Which clients sent the most requests?", "/api/v1/top/clients?from=7d&limit=10", Deed::Read),
    ("How many requests and distinct clients does each log have?", "/api/v1/report", Deed::Read),
    ("Which logs are there, and which are not counted to their end?", "/api/v1/files", Deed::Read),
    ("Is everything counted, and is anything degraded?", "/api/v1/status", Deed::Read),
    ("When do the numbers change? (Server-sent events.)", "/api/v1/events", Deed::Listen),
    ("Upload a log into the watched folder:", "/api/v1/files/", Deed::Change("-T access.log ")),
    ("Delete the numbers of a log:", "/api/v1/files/ID", Deed::Change("-X DELETE ")),
    ("Scan the folders now:", "/api/v1/rescan", Deed::Change("-X POST ")),
];

/// `GET /docs`
pub async fn page(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    // The tokens and the address stay the same as long as this process lives.
    static PAGE: OnceLock<Bytes> = OnceLock::new();
    asked.only(&[])?;
    let sources = &api.sources;
    let here = || Here {
        address: sources.address.clone(),
        reading: sources.keys.reading(),
        allow_changes: sources.keys.allow_changes(),
    };
    let mut response = answer(&asked, &Tag::of_program(&api), Media::Json, || {
        PAGE.get_or_init(|| render(&here(), &DOCUMENT).into()).clone()
    });
    response.extensions_mut().insert(OneCopy);
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_TYPE) {
        pages::put_headers(headers);
    }
    Ok(response)
}

fn render(here: &Here, document: &Value) -> String {
    let mut reference = String::new();
    // Writing to a string does not fail.
    let _ = put(&mut reference, here, document);
    let docs = Docs {
        version: env!("CARGO_PKG_VERSION"),
        questions: QUESTIONS.iter().map(|question| here.question(*question)).collect(),
        reading: here.reading_in_words(),
        changing: here.changing_in_words(),
        reference,
    };
    docs.render().unwrap_or_default()
}

impl Here {
    fn question(&self, (text, path, deed): (&'static str, &'static str, Deed)) -> Question {
        let options = match deed {
            Deed::Read => "-s ",
            Deed::Listen => "-sN ",
            Deed::Change(_) => "-s ",
        };
        let (more, needs_token) = match deed {
            Deed::Change(more) => (more, true),
            Deed::Read | Deed::Listen => ("", self.reading == Reading::NeedsToken),
        };
        let token = if needs_token { "-H \"Authorization: Bearer $TOKEN\" " } else { "" };
        let link = !matches!(deed, Deed::Change(_));
        Question { text, path, command: format!("curl {options}{more}{token}'{}{path}'", self.address), link }
    }

    fn reading_in_words(&self) -> String {
        match self.reading {
            Reading::OpenOnLoopback => {
                "Reading needs no token: this daemon listens on loopback only, and no read token is set."
                    .to_owned()
            }
            Reading::OpenToAll => {
                "Reading needs no token, also from other machines: insecure_no_auth is set.".to_owned()
            }
            Reading::NeedsToken => format!(
                "Reading needs a token. Programs send the header Authorization: Bearer TOKEN, with the read token{}. A browser asks for a login: enter any user name, \
                 and the token as the password.",
                if self.allow_changes { " or the admin token" } else { "" }
            ),
        }
    }

    fn changing_in_words(&self) -> String {
        let changes = "Changes (upload, delete, rescan)";
        if self.allow_changes {
            format!(
                "{changes} need the admin token in the header Authorization: Bearer TOKEN. A browser's login never allows a change."
            )
        } else {
            format!(
                "{changes} are refused: no admin token is set. Set TALLYD_TOKEN or token_file, and restart tallyd."
            )
        }
    }
}

fn put(html: &mut String, here: &Here, document: &Value) -> std::fmt::Result {
    let info = &document["info"];
    write!(
        html,
        "<h2 id=\"rules\">What all answers have in common</h2>{}",
        paragraphs(&info["description"])
    )?;
    write!(
        html,
        "<p>For programs: <a href=\"/openapi.json\">openapi.json</a>.</p><h2 id=\"paths\">Paths</h2><div class=\"wide\"><table>"
    )?;
    let operations = || {
        members(&document["paths"]).flat_map(|(path, methods)| {
            members(methods).map(move |(method, operation)| (path, method, operation))
        })
    };
    for (path, method, operation) in operations() {
        let (id, summary) = (&operation["operationId"], marked(&operation["summary"]));
        write!(
            html,
            "<tr><td class=\"method\">{method}</td><td><a href=\"#{}\"><code>{}</code></a></td><td>{summary}</td></tr>",
            plain(id),
            escaped(path)
        )?;
    }
    write!(html, "</table></div>")?;
    for (path, method, operation) in operations() {
        let id = plain(&operation["operationId"]);
        write!(
            html,
            "<section class=\"path\" id=\"{id}\"><h3><span class=\"method\">{method}</span> <code>{}</code></h3>",
            escaped(path)
        )?;
        write!(
            html,
            "<p>{}.</p>{}",
            marked(&operation["summary"]).trim_end_matches('?'),
            paragraphs(&operation["description"])
        )?;
        write!(html, "<p>{}</p>", token_of(here, operation))?;
        put_parameters(html, &operation["parameters"])?;
        put_responses(html, &operation["responses"])?;
        write!(html, "</section>")?;
    }
    write!(html, "<h2 id=\"fields\">Fields</h2>")?;
    for (name, schema) in members(&document["components"]["schemas"]) {
        write!(
            html,
            "<section class=\"path\" id=\"schema-{name}\"><h3>{name}</h3>{}",
            paragraphs(&schema["description"])
        )?;
        if schema.get("properties").is_some() {
            write!(html, "<table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>")?;
            for (field, property) in members(&schema["properties"]) {
                write!(
                    html,
                    "<tr><td><code>{field}</code></td><td>{}</td><td>{}</td></tr>",
                    kind(property),
                    marked(&property["description"])
                )?;
            }
            write!(html, "</table>")?;
        }
        write!(html, "</section>")?;
    }
    write!(
        html,
        "<h2 id=\"codes\">Errors</h2><div class=\"wide\"><table><tr><th>Code</th><th>Status</th><th>When, and what to do</th></tr>"
    )?;
    for code in CODES {
        let (word, status) = (code.word, code.status.as_u16());
        write!(
            html,
            "<tr id=\"{word}\"><td><code>{word}</code></td><td>{status}</td><td>{}</td></tr>",
            mark(code.about)
        )?;
    }
    write!(html, "</table></div>")
}

/// Which token an operation needs in the present configuration.
fn token_of(here: &Here, operation: &Value) -> &'static str {
    let ways = operation["security"].as_array().map_or(&[][..], Vec::as_slice);
    // One way without any scheme: reading, which needs a token or not.
    let may_be_open = ways.iter().any(|way| way.as_object().is_some_and(serde_json::Map::is_empty));
    match (ways.is_empty(), may_be_open, here.reading == Reading::NeedsToken, here.allow_changes) {
        (true, ..) => "Needs no token.",
        (_, true, true, _) => "Needs a token: <a href=\"#tokens\">how to send it</a>.",
        (_, true, false, _) => "Needs no token on this daemon.",
        (_, false, _, true) => "Needs the admin token: <a href=\"#tokens\">how to send it</a>.",
        (_, false, _, false) => {
            "Needs an admin token, and this daemon has none: <a href=\"#tokens\">how to set it</a>."
        }
    }
}

fn put_parameters(html: &mut String, parameters: &Value) -> std::fmt::Result {
    let parameters = parameters.as_array().map_or(&[][..], Vec::as_slice);
    if parameters.is_empty() {
        return Ok(());
    }
    write!(html, "<table><tr><th>Parameter</th><th>Values</th><th>Effect</th></tr>")?;
    for parameter in parameters {
        let schema = &parameter["schema"];
        let may_be = match (schema["enum"].as_array(), schema["maximum"].as_u64()) {
            (Some(words), _) => {
                words.iter().map(|word| format!("<code>{}</code>", plain(word))).collect::<Vec<_>>().join(" ")
            }
            (None, Some(most)) => format!("1 to {most}"),
            (None, None) => "text".to_owned(),
        };
        write!(
            html,
            "<tr><td><code>{}</code></td><td>{may_be}</td><td>{}</td></tr>",
            plain(&parameter["name"]),
            marked(&parameter["description"])
        )?;
    }
    write!(html, "</table>")
}

fn put_responses(html: &mut String, responses: &Value) -> std::fmt::Result {
    write!(html, "<table><tr><th>Status</th><th>Answer</th></tr>")?;
    for (status, response) in members(responses) {
        let contents = members(&response["content"])
            .map(|(media, content)| format!("<code>{media}</code> {}", kind(&content["schema"])));
        let contents: Vec<String> = contents.collect();
        write!(
            html,
            "<tr><td>{status}</td><td>{}{}</td></tr>",
            paragraphs(&response["description"]),
            contents.join(", ")
        )?;
    }
    write!(html, "</table>")?;
    for (_, example) in members(responses)
        .flat_map(|(_, response)| members(&response["content"]))
        .flat_map(|(_, content)| members(&content["examples"]))
    {
        let value = &example["value"];
        let text = value
            .as_str()
            .map_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default(), str::to_owned);
        write!(html, "<p><code>{}</code></p><pre>{}</pre>", plain(&example["summary"]), escaped(&text))?;
    }
    Ok(())
}

/// The type of a field, as a word or a link.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    match &schema["type"] {
        Value::String(word) if word == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(word) => escaped(word),
        Value::Array(words) => words.iter().map(plain).collect::<Vec<_>>().join(" or "),
        _ => String::new(),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn plain(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn marked(value: &Value) -> String {
    mark(value.as_str().unwrap_or_default())
}

fn paragraphs(value: &Value) -> String {
    value
        .as_str()
        .into_iter()
        .flat_map(|text| text.split("\n\n"))
        .map(|text| format!("<p>{}</p>", mark(text)))
        .collect()
}

/// Text in which `words` between backticks are code.
fn mark(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(reading: Reading, allow_changes: bool) -> Here {
        Here { address: "127.0.0.1:8080".to_owned(), reading, allow_changes }
    }

    #[test]
    fn the_page_is_whole_and_asks_nobody() {
        let html = render(&here(Reading::NeedsToken, true), &DOCUMENT);
        for tag in ["table", "section", "code", "pre", "tr", "td", "a", "p", "dl", "dt", "dd", "div"] {
            assert_eq!(
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count(),
                html.matches(&format!("</{tag}>")).count(),
                "{tag}"
            );
        }
        for word in ["<script", "src=", "style=", "<style", "http://", "https://", "url("] {
            assert!(!html.contains(word), "{word}");
        }
        for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!("id=\"{link}\"")), "{link}");
        }
        assert!(html.contains("bad-parameter") && html.contains("/api/v1/top/clients"));
    }

    /// `type` of a problem is a link to its code.
    #[test]
    fn each_code_has_its_anchor() {
        let html = render(&here(Reading::OpenOnLoopback, false), &DOCUMENT);
        for code in CODES {
            assert_eq!(html.matches(&format!("id=\"{}\"", code.word)).count(), 1, "{}", code.word);
            assert!(code.word.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{}", code.word);
        }
        let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len());
    }

    /// The page said both that reading needs no token, and that each path needs one.
    #[test]
    fn the_page_says_which_tokens_this_daemon_needs() {
        let page = |reading, allow_changes| render(&here(reading, allow_changes), &DOCUMENT);
        let open = page(Reading::OpenOnLoopback, false);
        assert!(
            open.contains("Reading needs no token: this daemon listens on loopback only")
                && open.contains("are refused: no admin token is set")
        );
        assert!(
            open.contains("Needs no token on this daemon.")
                && !open.contains("Needs a token:")
                && !open.contains("Needs the admin token")
        );
        assert!(
            open.contains("curl -s &#39;127.0.0.1:8080/api/v1/range?from=today&#38;to=today&#39;"),
            "{open}"
        );
        let guarded = page(Reading::NeedsToken, true);
        assert!(
            guarded.contains("Reading needs a token.")
                && guarded.contains("with the read token or the admin token")
        );
        assert!(
            guarded.contains("Needs a token:")
                && guarded.contains("Needs the admin token")
                && !guarded.contains("Needs no token on this daemon.")
        );
        assert!(
            guarded.contains(
                "curl -s -H &#34;Authorization: Bearer $TOKEN&#34; &#39;127.0.0.1:8080/api/v1/range"
            )
        );
        assert!(page(Reading::OpenToAll, true).contains("also from other machines: insecure_no_auth is set"));
        // Questions come before errors.
        assert!(open.find("id=\"questions\"").unwrap() < open.find("id=\"codes\"").unwrap());
    }

    #[test]
    fn text_is_escaped_and_marked() {
        assert_eq!(mark("a `<b>` & c"), "a <code>&lt;b&gt;</code> &amp; c");
    }
}
