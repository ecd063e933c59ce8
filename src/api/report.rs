//! The report: the original program's dictionary.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::answer::{FORMAT, Format, Tag, answer};
use super::large::OneCopy;
use super::problem::Problem;
use super::query::{Asked, Parameter};
use super::routes::{Api, Shared};
use super::table;
use super::wire::{self, json};
use crate::board::Busy;
use crate::log::shown;
use crate::tally::Totals;

/// What can be asked of it.
pub(super) static OF_REPORT: &[&Parameter] = &[&FORMAT];

/// `GET /api/v1/report`
pub(super) async fn report(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(OF_REPORT)?;
    let format = asked.format(&FORMAT)?;
    #[cfg(debug_assertions)]
    super::fault::before_report();
    let tag = Tag::of_board(&api);
    let (body, copy) = if format == Format::Csv { (as_csv(&api)?, None) } else { as_json(&api)? };
    let mut response = answer(&asked, &tag, format, || body);
    copy.map(|copy| response.extensions_mut().insert(copy));
    Ok(response)
}

/// As JSON. Kept as long as nothing changes: this is what is asked most.
fn as_json(api: &Api) -> Result<(Bytes, Option<OneCopy>), Busy> {
    let generation = api.sources.board.header().generation;
    let kept = || api.report.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = kept();
    // An old one is let go before there is room for another.
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

fn as_csv(api: &Api) -> Result<Bytes, Busy> {
    let row = |(name, reported)| wire::NamedReported { name, reported };
    let rows: Vec<_> = rows(api)?.into_iter().map(row).collect();
    Ok(table::csv(&rows, &row((String::new(), wire::Reported::from(&Totals::default())))).into())
}

/// The logs that are there, by their names.
fn rows(api: &Api) -> Result<BTreeMap<String, wire::Reported>, Busy> {
    let logs = api.sources.board.logs()?;
    let present = logs.iter().filter(|log| log.state.is_present());
    Ok(by_name(present.map(|log| (&log.name[..], wire::Reported::from(&log.totals)))))
}

/// What is said of names, by how they are shown. Two names may be shown alike: one has a byte that is no text, the other one the four letters that stand for it. Then the one that is
/// text is told with two backslashes for each of its own, as often as that takes.
fn by_name<'a, T>(logs: impl Iterator<Item = (&'a [u8], T)>) -> BTreeMap<String, T> {
    // What is no text comes first, and has its name for itself. Of one name, the last counts.
    let logs: BTreeMap<&[u8], T> = logs.collect();
    let (texts, others): (Vec<_>, Vec<_>) = logs.into_iter().partition(|(name, _)| str::from_utf8(name).is_ok());
    let mut shown_by: BTreeMap<String, T> = others.into_iter().map(|(name, said)| (shown(name), said)).collect();
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
        for (text, name) in [("a.log", &b"a.log"[..]), (r"a\xff", b"a\xff"), (r"b\xff", b"b\xff"), (r"c\xff", br"c\xff")] {
            assert_eq!(shown_by[text], name, "{text}");
        }
    }
}
