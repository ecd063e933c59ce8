//! What a log's name says, and how bytes of a name or a client are shown.

use super::day::{Day, digits};

/// What temporary names end in.
pub const TEMPORARY: [&str; 3] = [".tmp", ".part", "~"];

/// The day in a log's name: the first real date, `yyyymmdd` or `yyyy-mm-dd`, that does not stand inside more
/// digits.
pub fn day_of_name(name: &[u8]) -> Option<Day> {
    let digit_at = |at: usize| name.get(at).is_some_and(u8::is_ascii_digit);
    (0..name.len()).find_map(|at| {
        let date = |length: usize, month: usize, day: usize| {
            let text = name.get(at..at + length)?;
            let day = Day::new(digits(&text[..4])?, digits(&text[month..month + 2])?, digits(&text[day..])?)?;
            (!digit_at(at + length)).then_some(day)
        };
        if at > 0 && digit_at(at - 1) {
            return None;
        }
        if name.get(at + 4) == Some(&b'-') && name.get(at + 7) == Some(&b'-') {
            date(10, 5, 8)
        } else {
            date(8, 4, 6)
        }
    })
}

/// Is a file of this name hidden?
pub fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// Does a file's name say that it is not finished, or a copy that an editor keeps?
pub fn is_temporary(name: &[u8]) -> bool {
    TEMPORARY.iter().any(|end| name.ends_with(end.as_bytes()))
}

/// Bytes as text for programs: what is no UTF-8 becomes `\xNN`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Returns bytes as text for a terminal or a line of a log: control characters become escapes too, so that a
/// name cannot move a cursor, and so do marks that turn the direction of the text around.
pub fn shown_to_people(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in shown(bytes).chars() {
        if character.is_control() || is_direction(character) {
            text.extend(character.escape_default())
        } else {
            text.push(character)
        }
    }
    text
}

/// The explicit directional marks of the Unicode Bidirectional Algorithm (UAX #9, section 2).
fn is_direction(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, want: Option<&str>) {
        assert_eq!(day_of_name(name.as_bytes()).map(|day| day.to_string()).as_deref(), want, "{name}");
    }

    #[test]
    fn the_first_real_date_of_a_name() {
        check("20210322.log", Some("2021-03-22"));
        check("access-2021-03-22.log", Some("2021-03-22"));
        check("access.log-20210322.gz", Some("2021-03-22"));
        check("20211322-20210322", Some("2021-03-22"));
        check("2021-0322", None);
        check("202103-22", None);
        check("120210322.log", None);
        check("202103221.log", None);
        check("2021-03-221", None);
        check("x2021-03-22", Some("2021-03-22"));
        check("00000101 99991231", Some("9999-12-31"));
        check("access.log", None);
        check("", None);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_escapes() {
        assert_eq!(shown(b"a\xffb\xc3\xa4"), "a\\xffbä");
        assert_eq!(shown(b"a\nb"), "a\nb");
        assert_eq!(shown_to_people(b"a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(shown_to_people("a\u{202e}gol.txt".as_bytes()), "a\\u{202e}gol.txt");
    }
}
