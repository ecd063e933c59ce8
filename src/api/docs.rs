//! What the API is, for people: the OpenAPI document as a page. It needs nothing from elsewhere, and no JavaScript.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Value;

use super::answer::{Format, Tag, answer};
use super::large::OneCopy;
use super::openapi::DOCUMENT;
use super::problem::{CODES, Problem};
use super::query::Asked;
use super::routes::Shared;

const STYLE: &str = "body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff}\
    h1,h2,h3{line-height:1.2}h2{margin-top:3rem}section{border-top:1px solid #ccc;margin-top:2rem}\
    code,pre{font:.9em/1.4 ui-monospace,monospace;background:#f3f3f3}code{padding:.1em .3em}pre{padding:.8rem;overflow:auto;max-height:24rem}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-top:1px solid #ddd}\
    a{color:#0645ad}.method{text-transform:uppercase;font-weight:bold}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code,pre{background:#262626}a{color:#8ab4f8}section,th,td{border-color:#444}}";

/// `GET /docs`
pub(super) async fn page(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| render(&DOCUMENT).into());
    asked.only(&[])?;
    let mut response = answer(&asked, &Tag::of_program(&api), Format::Json, || PAGE.clone());
    response.extensions_mut().insert(OneCopy);
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"));
    Ok(response)
}

fn render(document: &Value) -> String {
    let mut html = String::new();
    // Writing to a text does not fail.
    let _ = put(&mut html, document);
    html
}

fn put(html: &mut String, document: &Value) -> std::fmt::Result {
    let info = &document["info"];
    write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>tallyd API</title>"
    )?;
    write!(html, "<style>{STYLE}</style></head><body><h1>tallyd {}: the API</h1>", marked(&info["version"]))?;
    write!(html, "{}<p>For programs: <a href=\"/openapi.json\">openapi.json</a>.</p><h2>Paths</h2><table>", paragraphs(&info["description"]))?;
    let operations = || members(&document["paths"]).flat_map(|(path, methods)| members(methods).map(move |(method, operation)| (path, method, operation)));
    for (path, method, operation) in operations() {
        let (id, summary) = (&operation["operationId"], marked(&operation["summary"]));
        write!(html, "<tr><td class=\"method\">{method}</td><td><a href=\"#{}\"><code>{}</code></a></td><td>{summary}</td></tr>", plain(id), escaped(path))?;
    }
    write!(html, "</table>")?;
    for (path, method, operation) in operations() {
        let id = plain(&operation["operationId"]);
        write!(html, "<section id=\"{id}\"><h3><span class=\"method\">{method}</span> <code>{}</code></h3>", escaped(path))?;
        write!(html, "<p>{}.</p>{}", marked(&operation["summary"]).trim_end_matches('?'), paragraphs(&operation["description"]))?;
        if operation.get("security").is_some() {
            write!(html, "<p>Needs the token: <code>Authorization: Bearer TOKEN</code>.</p>")?;
        }
        put_parameters(html, &operation["parameters"])?;
        put_responses(html, &operation["responses"])?;
        write!(html, "</section>")?;
    }
    write!(html, "<h2>Fields</h2>")?;
    for (name, schema) in members(&document["components"]["schemas"]) {
        write!(html, "<section id=\"schema-{name}\"><h3>{name}</h3>{}", paragraphs(&schema["description"]))?;
        if schema.get("properties").is_some() {
            write!(html, "<table><tr><th>field</th><th>type</th><th>what it is</th></tr>")?;
            for (field, property) in members(&schema["properties"]) {
                write!(html, "<tr><td><code>{field}</code></td><td>{}</td><td>{}</td></tr>", kind(property), marked(&property["description"]))?;
            }
            write!(html, "</table>")?;
        }
        write!(html, "</section>")?;
    }
    write!(html, "<h2 id=\"codes\">Errors</h2><table><tr><th>code</th><th>status</th><th>when, and what to do</th></tr>")?;
    for code in CODES {
        write!(html, "<tr id=\"{0}\"><td><code>{0}</code></td><td>{1}</td><td>{2}</td></tr>", code.word, code.status.as_u16(), mark(code.about))?;
    }
    write!(html, "</table></body></html>")
}

fn put_parameters(html: &mut String, parameters: &Value) -> std::fmt::Result {
    let parameters = parameters.as_array().map_or(&[][..], Vec::as_slice);
    if parameters.is_empty() {
        return Ok(());
    }
    write!(html, "<table><tr><th>parameter</th><th>may be</th><th>what it does</th></tr>")?;
    for parameter in parameters {
        let schema = &parameter["schema"];
        let may_be = match (schema["enum"].as_array(), schema["maximum"].as_u64()) {
            (Some(words), _) => words.iter().map(|word| format!("<code>{}</code>", plain(word))).collect::<Vec<_>>().join(" "),
            (None, Some(most)) => format!("1 to {most}"),
            (None, None) => "text".to_owned(),
        };
        write!(html, "<tr><td><code>{}</code></td><td>{may_be}</td><td>{}</td></tr>", plain(&parameter["name"]), marked(&parameter["description"]))?;
    }
    write!(html, "</table>")
}

fn put_responses(html: &mut String, responses: &Value) -> std::fmt::Result {
    write!(html, "<table><tr><th>answer</th><th>what it is</th></tr>")?;
    for (status, response) in members(responses) {
        let contents = members(&response["content"]).map(|(media, content)| format!("<code>{media}</code> {}", kind(&content["schema"])));
        let contents: Vec<String> = contents.collect();
        write!(html, "<tr><td>{status}</td><td>{}{}</td></tr>", paragraphs(&response["description"]), contents.join(", "))?;
    }
    write!(html, "</table>")?;
    for (_, example) in members(responses).flat_map(|(_, response)| members(&response["content"])).flat_map(|(_, content)| members(&content["examples"])) {
        let value = &example["value"];
        let text = value.as_str().map_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default(), str::to_owned);
        write!(html, "<p><code>{}</code></p><pre>{}</pre>", plain(&example["summary"]), escaped(&text))?;
    }
    Ok(())
}

/// What a field is, in a word or a link.
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
    value.as_str().into_iter().flat_map(|text| text.split("\n\n")).map(|text| format!("<p>{}</p>", mark(text))).collect()
}

/// Text in which `words` between backticks are code.
fn mark(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) }).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_nobody() {
        let html = render(&DOCUMENT);
        for tag in ["table", "section", "code", "pre", "tr", "td", "a", "p"] {
            assert_eq!(
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count(),
                html.matches(&format!("</{tag}>")).count(),
                "{tag}"
            );
        }
        for word in ["<script", "src=", "http://", "https://", "url("] {
            assert!(!html.contains(word), "{word}");
        }
        for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!("id=\"{link}\"")), "{link}");
        }
        assert!(html.contains("bad-parameter") && html.contains("/api/v1/top/clients"));
    }

    #[test]
    fn text_is_escaped_and_marked() {
        assert_eq!(mark("a `<b>` & c"), "a <code>&lt;b&gt;</code> &amp; c");
    }
}
