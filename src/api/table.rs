//! Rows as CSV and as JSON lines.
//!
//! The columns are the fields of the JSON of a row, in the same order. A list of numbers has a column for
//! each element, such as `requests_by_hour_00`. CSV follows RFC 4180, without a byte order mark. A `'`
//! precedes text that a spreadsheet would run as a formula; numbers stay numbers.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::api::wire::json;

/// Rows as CSV. The header line is that of `model`, a row of the same type.
pub(super) fn csv<T: Serialize>(rows: &[T], model: &T) -> Vec<u8> {
    let mut text = String::new();
    put_line(&mut text, columns(model).into_iter().map(|(name, _)| Value::String(name)));
    for row in rows {
        put_line(&mut text, columns(row).into_iter().map(|(_, value)| value));
    }
    text.into_bytes()
}

/// Rows as JSON lines.
pub(super) fn json_lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    rows.iter().map(json).fold(Vec::new(), |mut lines, row| {
        lines.extend(row);
        lines.push(b'\n');
        lines
    })
}

/// The names and values of an object in their written order, which a map of `serde_json` would lose.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Object)
    }
}

fn columns(row: &impl Serialize) -> Vec<(String, Value)> {
    let Members(members) = serde_json::from_slice(&json(row)).expect("a row is an object");
    let mut columns = Vec::new();
    for (name, value) in members {
        match value {
            Value::Array(values) => columns
                .extend(values.into_iter().enumerate().map(|(at, value)| (format!("{name}_{at:02}"), value))),
            value => columns.push((name, value)),
        }
    }
    columns
}

fn put_line(text: &mut String, cells: impl Iterator<Item = Value>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(',');
        }
        match cell {
            Value::Null => {}
            Value::String(cell) => put_text(text, &cell),
            // Writing to a text does not fail.
            value => drop(write!(text, "{value}")),
        }
    }
    text.push_str("\r\n");
}

fn put_text(text: &mut String, cell: &str) {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{b}', '＝', '＋', '－', '＠'])
    {
        "'"
    } else {
        ""
    };
    if cell.contains([',', '"', '\r', '\n']) {
        let _ = write!(text, "\"{guard}{}\"", cell.replace('"', "\"\""));
    } else {
        let _ = write!(text, "{guard}{cell}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        count: i64,
        why: Option<&'static str>,
        whole: bool,
        by_hour: [u64; 2],
        a: u64,
    }

    const ROW: Row = Row { name: "x", count: 0, why: None, whole: true, by_hour: [3, 4], a: 5 };

    #[track_caller]
    fn check(name: &'static str, cell: &str) {
        let csv = csv(&[Row { name, ..ROW }], &ROW);
        assert_eq!(
            str::from_utf8(&csv).unwrap(),
            format!("name,count,why,whole,by_hour_00,by_hour_01,a\r\n{cell},0,,true,3,4,5\r\n")
        );
    }

    #[test]
    fn cells_are_quoted_and_harmless() {
        check("20210322.log", "20210322.log");
        check("a,b", "\"a,b\"");
        check("a\"b", "\"a\"\"b\"");
        check("a\r\nb", "\"a\r\nb\"");
        check("=1+1", "'=1+1");
        check("+1", "'+1");
        check("-", "'-");
        check("@x", "'@x");
        check("\tx", "'\tx");
        check("\rx", "\"'\rx\"");
        check("=a,\"b\"", "\"'=a,\"\"b\"\"\"");
        check("1=1", "1=1");
        check("", "");
    }

    #[test]
    fn a_number_below_zero_is_a_number() {
        let csv = csv(&[Row { count: -5, ..ROW }], &ROW);
        assert!(str::from_utf8(&csv).unwrap().ends_with("\r\nx,-5,,true,3,4,5\r\n"));
    }

    #[test]
    fn no_rows_have_a_header_line_all_the_same() {
        assert_eq!(csv(&[], &ROW), b"name,count,why,whole,by_hour_00,by_hour_01,a\r\n");
        assert_eq!(json_lines::<Row>(&[]), b"");
        assert_eq!(json_lines(&[ROW, ROW]).iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}
