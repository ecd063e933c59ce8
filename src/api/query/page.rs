//! Pages of a sorted list.
//!
//! A cursor holds the sort position of the last row of a page, not its number: the next page starts behind
//! this position, even if the row is gone. A row whose own position changes between two pages may be listed
//! twice or not at all.

use std::cmp::Ordering;

use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::api::problem::Problem;
use crate::api::query::{Asked, Kind, Parameter};

/// The maximum number of rows on a page.
pub const PAGE_MAX: usize = 10_000;

pub static CURSOR: Parameter = Parameter {
    name: "cursor",
    about: "The start of the page: the `next` of the previous answer. A cursor is valid only with the `sort` of that answer.",
    kind: Kind::Text,
};

/// The position of a row in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The sort key, in ascending order.
    pub key: u64,
    /// Rows with equal keys are sorted by name.
    pub name: Vec<u8>,
    pub id: u64,
}

/// The order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    /// The value of the parameter `sort`.
    pub word: &'a str,
    /// True if names are in descending order.
    pub names_descend: bool,
}

impl Order<'_> {
    fn compare(self, one: &Place, two: &Place) -> Ordering {
        let names = one.name.cmp(&two.name);
        let names = if self.names_descend { names.reverse() } else { names };
        one.key.cmp(&two.key).then(names).then(one.id.cmp(&two.id))
    }

    /// A page of at most `limit` rows, and the cursor of the next page if there are more rows.
    pub fn page<T>(
        self,
        rows: Vec<T>,
        place: impl Fn(&T) -> Place,
        limit: usize,
        asked: &Asked,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let after = asked.text(&CURSOR).map(|cursor| self.parse(cursor)).transpose()?;
        let mut rows: Vec<(Place, T)> = rows.into_iter().map(|row| (place(&row), row)).collect();
        rows.retain(|(place, _)| after.as_ref().is_none_or(|after| self.compare(place, after).is_gt()));
        rows.sort_unstable_by(|(one, _), (two, _)| self.compare(one, two));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|(place, _)| self.cursor(place));
        Ok((rows.into_iter().map(|(_, row)| row).collect(), next))
    }

    /// A position as letters and digits, which are opaque to clients.
    fn cursor(self, Place { key, name, id }: &Place) -> String {
        let plain = [format!("{}/{key:x}/{id:016x}/", self.word).as_bytes(), name].concat();
        plain.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(self, cursor: &str) -> Result<Place, Problem> {
        let wrong = |why| {
            Problem::bad_parameter(format!(
                "cursor: {why}; use the `next` of an earlier answer, or start again without a cursor"
            ))
            .of("cursor")
        };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pairs = cursor.as_bytes().chunks(2).map(|pair| {
            if let [one, two] = *pair { Some((digit(one)? << 4 | digit(two)?) as u8) } else { None }
        });
        let plain: Vec<u8> = pairs.collect::<Option<_>>().ok_or_else(|| wrong("the cursor is not valid"))?;
        let mut parts = plain.splitn(4, |byte| *byte == b'/');
        let mut part = || parts.next().ok_or_else(|| wrong("the cursor is not valid"));
        if part()? != self.word.as_bytes() {
            return Err(wrong("the cursor is of an answer with another sort"));
        }
        let number = |part: &[u8]| {
            str::from_utf8(part)
                .ok()
                .and_then(|part| u64::from_str_radix(part, 16).ok())
                .ok_or_else(|| wrong("the cursor is not valid"))
        };
        Ok(Place { key: number(part()?)?, id: number(part()?)?, name: part()?.to_vec() })
    }
}

/// Adds the header Link to the next page (RFC 8288): CSV and JSON lines have no other place for it.
pub fn linked(next: Option<&str>, mut response: Response, asked: &Asked) -> Response {
    if let Some(next) = next {
        let link = format!("<?{}>; rel=\"next\"", asked.with(&CURSOR, next));
        response.headers_mut().extend(HeaderValue::from_str(&link).ok().map(|link| (header::LINK, link)));
    }
    response
}

/// The sort key of a number, in descending order if `descends`. Rows without a number are last in both
/// orders.
pub fn key(number: Option<u64>, descends: bool) -> u64 {
    let number = number.map(|number| number.min(u64::MAX - 1));
    number.map_or(u64::MAX, |number| if descends { u64::MAX - 1 - number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let order = Order { word: "-requests", names_descend: false };
        for name in [&b"a.log"[..], b"", b"web1/\xff/x", b"//"] {
            let place = Place { key: key(Some(5), true), name: name.to_vec(), id: u64::MAX };
            assert_eq!(order.parse(&order.cursor(&place)).unwrap(), place);
            assert!(Order { word: "name", ..order }.parse(&order.cursor(&place)).is_err());
        }
        for cursor in [
            "",
            "x",
            "0",
            "00",
            "zz",
            "é",
            "2d72657175657374732f",
            "2d72657175657374732f2f2f",
            "2d72657175657374732f782f782f",
        ] {
            assert!(order.parse(cursor).is_err(), "{cursor}");
        }
    }

    #[test]
    fn keys_sort_and_what_has_none_is_last() {
        for descends in [false, true] {
            let mut numbers = [Some(3), None, Some(0), Some(u64::MAX), Some(7)];
            numbers.sort_by_key(|number| key(*number, descends));
            let sorted = if descends {
                [Some(u64::MAX), Some(7), Some(3), Some(0), None]
            } else {
                [Some(0), Some(3), Some(7), Some(u64::MAX), None]
            };
            assert_eq!(numbers, sorted);
        }
    }
}
