//! The report: the logs by name, with the numbers of the original program.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use crate::api::answer::{FORMAT, Tag, answer};
use crate::api::http::response_budget::OneCopy;
use crate::api::problem::Problem;
use crate::api::query::media::Media;
use crate::api::query::{Asked, Parameter};
use crate::api::state::{Api, Shared};
use crate::api::table;
use crate::api::wire::{self, json};
use crate::board::BusyError;
use crate::log::shown;
use crate::tally::Totals;

/// The parameters of the report.
pub static OF_REPORT: &[&Parameter] = &[&FORMAT];

/// `GET /api/v1/report`
pub async fn report(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_REPORT)?;
    let format = asked.format(&FORMAT)?;
    #[cfg(debug_assertions)]
    crate::api::fault::before_report();
    let tag = Tag::of_board(&api);
    let (body, copy) = if format == Media::Csv { (as_csv(&api)?, None) } else { as_json(&api)? };
    let mut response = answer(&asked, &tag, format, || body);
    copy.map(|copy| response.extensions_mut().insert(copy));
    Ok(response)
}

/// The report as JSON. The api keeps the report until numbers change, since this is the most frequent
/// request.
fn as_json(api: &Api) -> Result<(Bytes, Option<OneCopy>), BusyError> {
    let generation = api.sources.board.header().generation;
    let kept = || api.report.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = kept();
    // The old report is freed before a new one is made.
    last.take_if(|(of, _)| *of != generation);
    if let Some((_, body)) = &*last {
        return Ok((body.clone(), Some(OneCopy)));
    }
    drop(last);
    let body = Bytes::from(json(&rows(api)?));
    Ok(match api.room.share(&body) {
        Some(body) => {
            *kept() = Some((generation, body.clone()));
            (body, Some(OneCopy))
        }
        None => (body, None),
    })
}

fn as_csv(api: &Api) -> Result<Bytes, BusyError> {
    let row = |(name, reported)| wire::NamedReported { name, reported };
    let rows: Vec<_> = rows(api)?.into_iter().map(row).collect();
    Ok(table::csv(&rows, &row((String::new(), wire::Reported::from(&Totals::default())))).into())
}

/// The logs in the folders by name.
fn rows(api: &Api) -> Result<BTreeMap<String, wire::Reported>, BusyError> {
    let logs = api.sources.board.logs()?;
    let present = logs.iter().filter(|log| log.state.is_present());
    Ok(by_name(present.map(|log| (&log.name[..], wire::Reported::from(&log.totals)))))
}

/// Values of names by how the names are shown. Two names may be shown alike: one has a byte that is no text,
/// the other one the four letters that stand for this byte. Then the backslashes of the name that is text are
/// doubled until the two differ.
fn by_name<'a, T>(logs: impl Iterator<Item = (&'a [u8], T)>) -> BTreeMap<String, T> {
    // Names that are no text come first and keep their form. Of logs with the same name, the last one wins.
    let logs: BTreeMap<&[u8], T> = logs.collect();
    let (texts, others): (Vec<_>, Vec<_>) =
        logs.into_iter().partition(|(name, _)| str::from_utf8(name).is_ok());
    let mut shown_by: BTreeMap<String, T> =
        others.into_iter().map(|(name, said)| (shown(name), said)).collect();
    for (name, said) in texts {
        let mut text = shown(name);
        while shown_by.contains_key(&text) {
            text = text.replace('\\', r"\\");
        }
        shown_by.insert(text, said);
    }
    shown_by
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of two logs was missing in the report.
    #[test]
    fn names_that_are_shown_alike_are_told_apart() {
        let names: [&[u8]; 6] = [b"a.log", b"a\xff", br"a\xff", br"a\\xff", b"b\xff", br"c\xff"];
        let shown_by = by_name(names.iter().map(|name| (*name, *name)));
        assert_eq!(shown_by.len(), names.len(), "{:?}", shown_by.keys());
        assert_eq!(shown_by.values().collect::<std::collections::BTreeSet<_>>().len(), names.len());
        for (text, name) in
            [("a.log", &b"a.log"[..]), (r"a\xff", b"a\xff"), (r"b\xff", b"b\xff"), (r"c\xff", br"c\xff")]
        {
            assert_eq!(shown_by[text], name, "{text}");
        }
    }
}
