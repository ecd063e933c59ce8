//! What a request asks for: query parameters, parts of the path, and the format of the answer.
//!
//! Each parameter is declared once, as a [`Parameter`]: the same values are parsed, refused and documented.

pub mod media;
pub mod page;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use crate::api::problem::Problem;
use crate::api::query::media::Media;
use crate::api::ranges::Days;
use crate::log::Day;
use crate::period::Period;
use crate::show::UNDATED;

/// A parameter of a query.
#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    /// The description for people.
    pub about: &'static str,
    pub kind: Kind,
}

/// The allowed values of a parameter.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A day, or [`UNDATED`].
    Day,
    /// A date, or a word for several days, of which the first or the last counts.
    Bound,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A number from 1 to this.
    Count(usize),
    /// The `id` of a log.
    FileId,
}

pub static FROM: Parameter = Parameter {
    name: "from",
    about: "The first day, inclusive: a date such as `2021-03-22`, or a period, of which the first day counts: a month such as `2021-03`, `today`, `yesterday`, `month` (this \
            calendar month), or a number of days such as `7d` (the last 7 days, including today). Periods are relative to the current day in UTC.",
    kind: Kind::Bound,
};

pub static TO: Parameter = Parameter {
    name: "to",
    about: "The last day, inclusive: a date, or a period as in `from`, of which the last day counts: `to=7d` means today, `to=2021-03` is 2021-03-31, and `to=month` the last \
            day of this month.",
    kind: Kind::Bound,
};

/// The query of a request and its headers.
#[derive(Debug)]
pub struct Asked {
    /// The query as the client sent it.
    query: String,
    pairs: Vec<(String, String)>,
    pub headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Problem> {
        let pairs =
            Query::try_from_uri(&parts.uri).map_err(|error| Problem::bad_parameter(error.body_text()))?;
        Ok(Asked {
            query: parts.uri.query().unwrap_or_default().to_owned(),
            pairs: pairs.0,
            headers: parts.headers.clone(),
        })
    }
}

impl Asked {
    /// Refuses parameters that are not in this list, and parameters that are given twice.
    pub fn only(&self, known: &[&Parameter]) -> Result<(), Problem> {
        for (at, (name, _)) in self.pairs.iter().enumerate() {
            if !known.iter().any(|parameter| parameter.name == name) {
                let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
                let remedy = if names.is_empty() {
                    "this path has no parameters".to_owned()
                } else {
                    format!("the parameters of this path are {}", names.join(", "))
                };
                return Err(Problem::bad_parameter(format!(
                    "{name}: this parameter does not exist; {remedy}"
                ))
                .of(name));
            }
            if self.pairs.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad_parameter(format!(
                    "{name}: this parameter is given twice; give it once"
                ))
                .of(name));
            }
        }
        Ok(())
    }

    pub fn text(&self, parameter: &Parameter) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == parameter.name).map(|(_, value)| value.as_str())
    }

    /// The same query with this parameter set to a value of letters and digits.
    pub fn with(&self, parameter: &Parameter, value: &str) -> String {
        // Each pair as the client sent it beside its decoded form: a name may be percent-encoded too.
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty()).zip(&self.pairs);
        let others = pairs.filter(|(_, (name, _))| name != parameter.name).map(|(pair, _)| pair);
        let own = format!("{}={value}", parameter.name);
        others.chain([own.as_str()]).collect::<Vec<_>>().join("&")
    }

    /// The number, if it is within the bounds of the parameter.
    pub fn count(&self, parameter: &Parameter) -> Result<Option<usize>, Problem> {
        let Parameter { name, kind, .. } = parameter;
        let most = if let Kind::Count(most) = kind { *most } else { usize::MAX };
        let wrong = |text| {
            Problem::bad_parameter(format!(
                "{name}: {text:?} is not allowed; give a whole number from 1 to {most}"
            ))
            .of(name)
        };
        // `+5` would be a number to Rust.
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        self.text(parameter)
            .map(|text| number(text).filter(|count| (1..=most).contains(count)).ok_or_else(|| wrong(text)))
            .transpose()
    }

    /// The word, if the parameter allows it.
    pub fn word(&self, parameter: &Parameter) -> Result<Option<&'static str>, Problem> {
        let Parameter { name, kind, .. } = parameter;
        let words = if let Kind::Words(words) = *kind { words } else { &[] };
        let wrong = |text| {
            Problem::bad_parameter(format!(
                "{name}: {text:?} is not allowed; use one of {}",
                words.join(", ")
            ))
            .of(name)
        };
        self.text(parameter)
            .map(|text| words.iter().find(|word| **word == text).copied().ok_or_else(|| wrong(text)))
            .transpose()
    }

    /// The day, or none for [`UNDATED`].
    pub fn day(&self, parameter: &Parameter, today: Day) -> Result<Option<Option<Day>>, Problem> {
        self.text(parameter).map(|text| parse_day(parameter.name, text, today)).transpose()
    }

    /// The days from [`FROM`] to [`TO`].
    pub fn days(&self, today: Day) -> Result<Days, Problem> {
        let period = |parameter: &Parameter| {
            let name = parameter.name;
            let wrong = |text| {
                Problem::bad_parameter(format!(
                    "{name}: {text:?} is not a day; give a date such as 2021-03-22, a month such as 2021-03, or today, yesterday, 7d, month"
                ))
                .of(name)
            };
            self.text(parameter).map(|text| Period::parse(text, today).ok_or_else(|| wrong(text))).transpose()
        };
        let (from, to) = (period(&FROM)?.map(|period| period.first), period(&TO)?.map(|period| period.last));
        match (from, to) {
            (Some(from), Some(to)) if from > to => {
                Err(Problem::bad_parameter(format!("from: {from} is after to: {to}; swap the two days"))
                    .of("from"))
            }
            _ => Ok(Days { from, to }),
        }
    }

    /// The format of the answer: the value of `parameter`, or else the format that the header Accept prefers,
    /// or else JSON.
    pub fn format(&self, parameter: &Parameter) -> Result<Media, Problem> {
        let words = if let Kind::Words(words) = parameter.kind { words } else { &[] };
        let of_word =
            |word| Media::ALL.into_iter().find(|format| format.word() == word).unwrap_or(Media::Json);
        if let Some(word) = self.word(parameter)? {
            return Ok(of_word(word));
        }
        let accept = list(&self.headers, header::ACCEPT);
        // The first format wins a tie, which is JSON.
        let wanted = words
            .iter()
            .map(|word| of_word(word))
            .rev()
            .max_by_key(|format| preference(&accept, format.media_type()));
        Ok(wanted.filter(|format| preference(&accept, format.media_type()) > 0).unwrap_or(Media::Json))
    }
}

/// The elements of a header that is a list, joined if there are several such header lines.
pub fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

/// The weight of a media type in thousandths (RFC 9110, 12.5.1): that of the most specific range which
/// contains the type. Without the header, all types have the full weight.
pub fn preference(accept: &str, media: &str) -> u32 {
    if accept.trim().is_empty() {
        return 1000;
    }
    let kind = media.split('/').next().unwrap_or_default();
    let matches = |range: &str| match range {
        "*/*" => Some(1),
        _ if range.eq_ignore_ascii_case(media) => Some(3),
        _ => range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind)).then_some(2),
    };
    let ranges = accept.split(',').filter_map(|part| {
        let mut parts = part.split(';').map(str::trim);
        let specific = matches(parts.next()?)?;
        Some((specific, quality(parts)))
    });
    ranges.max().map_or(0, |(_, quality)| quality)
}

/// The weight in the parameters of an element of a header, in thousandths: 1000 without a weight, 0 if the
/// weight is not valid.
pub fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u32 {
    let weight = parameters
        .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
    let number = |weight: &str| weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight));
    weight.map_or(1000, |weight| number(weight).map_or(0, |weight: f64| (weight * 1000.0) as u32))
}

/// Parses a date or a word for a day; none for [`UNDATED`].
pub fn parse_day(name: &str, text: &str, today: Day) -> Result<Option<Day>, Problem> {
    if text == UNDATED {
        return Ok(None);
    }
    let one = Period::parse(text, today).filter(|period| period.first == period.last);
    one.map(|period| Some(period.first)).ok_or_else(|| {
        Problem::bad_parameter(format!(
            "{name}: {text:?} is not a day; give a date such as 2021-03-22, or today, yesterday"
        ))
        .of(name)
    })
}

/// The variable part of the path.
pub fn path_part(name: &str, path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(part)| part).map_err(|_| {
        Problem::bad_parameter(format!("{name}: the percent-decoded value must be UTF-8")).of(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static FORMAT: Parameter =
        Parameter { name: "format", about: "", kind: Kind::Words(&["json", "csv", "ndjson"]) };
    static LIMIT: Parameter = Parameter { name: "limit", about: "", kind: Kind::Count(10) };

    fn asked(query: &str, accept: &str) -> Asked {
        let (mut parts, ()) = axum::http::Request::builder()
            .uri(format!("/x?{query}"))
            .header("accept", accept)
            .body(())
            .unwrap()
            .into_parts();
        let pairs = Query::try_from_uri(&parts.uri).unwrap().0;
        Asked { query: query.to_owned(), pairs, headers: std::mem::take(&mut parts.headers) }
    }

    #[test]
    fn the_format_is_that_of_the_query_or_the_one_that_is_preferred() {
        for (query, accept, format) in [
            ("", "", Media::Json),
            ("", "*/*", Media::Json),
            ("", "text/csv", Media::Csv),
            ("", "TEXT/CSV; charset=utf-8", Media::Csv),
            ("", "text/*", Media::Csv),
            ("", "application/*", Media::Json),
            ("", "application/x-ndjson", Media::Ndjson),
            ("", "text/html, */*;q=0.8", Media::Json),
            ("", "text/csv;q=0.5, application/json", Media::Json),
            ("", "application/json;q=0.5, text/csv", Media::Csv),
            ("", "application/json;q=0, */*", Media::Csv),
            ("", "image/png", Media::Json),
            ("", "text/csv;q=0", Media::Json),
            ("", "text/csv;q=much", Media::Json),
            ("format=ndjson", "text/csv", Media::Ndjson),
        ] {
            assert_eq!(asked(query, accept).format(&FORMAT).unwrap(), format, "{query} {accept}");
        }
        assert!(asked("format=xml", "").format(&FORMAT).is_err());
    }

    #[test]
    fn what_is_unknown_or_given_twice_is_refused() {
        assert!(asked("limit=1&format=csv", "").only(&[&LIMIT, &FORMAT]).is_ok());
        assert!(asked("limit=1&limit=1", "").only(&[&LIMIT]).is_err());
        assert!(asked("limits=1", "").only(&[&LIMIT]).is_err());
        assert!(asked("x", "").only(&[]).is_err());
        assert!(asked("", "").only(&[]).is_ok());
    }

    /// A percent-encoded name was left where it was, so that the link to the next page had the parameter
    /// twice.
    #[test]
    fn a_parameter_is_set_once_however_it_was_written() {
        static CURSOR: Parameter = Parameter { name: "cursor", about: "", kind: Kind::Text };
        for (query, want) in [
            ("", "cursor=5"),
            ("cursor=4", "cursor=5"),
            ("%63ursor=4&limit=1", "limit=1&cursor=5"),
            ("&name=a%26cursor%3D&&cursor&sort=-day", "name=a%26cursor%3D&sort=-day&cursor=5"),
        ] {
            assert_eq!(asked(query, "").with(&CURSOR, "5"), want, "{query}");
        }
    }

    #[test]
    fn a_number_is_one_within_its_bounds() {
        assert_eq!(asked("limit=10", "").count(&LIMIT).unwrap(), Some(10));
        assert_eq!(asked("", "").count(&LIMIT).unwrap(), None);
        for text in ["0", "11", "-1", "%2B5", "x", "", "1.5", "99999999999999999999999"] {
            assert!(asked(&format!("limit={text}"), "").count(&LIMIT).is_err(), "{text}");
        }
    }
}
