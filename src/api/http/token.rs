//! The tokens: the admin token allows changes and reading, the read token allows reading only.
//!
//! Programs send a token as `Authorization: Bearer TOKEN`. Browsers log in by Basic, with any user name and
//! the token as password. Browsers repeat a Basic login on their own, also for a form of another site, so
//! Basic never allows a change.
//!
//! The api reads the tokens after the fork, so no worker has them in its memory. The api keeps and compares
//! SHA-256 sums: a comparison takes the same time wherever two tokens differ and however long the right one
//! is.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use axum::http::{HeaderMap, header};
use ring::digest::{Digest, SHA256, digest};

use crate::api::problem::Problem;
use crate::heritage::Heritage;

/// The shortest token, in bytes: shorter ones can be guessed.
const BYTES_MIN: usize = 16;
/// The api reads no more bytes of a token file.
const BYTES_MAX: u64 = 4_096;
/// Tokens with fewer distinct bytes can be guessed. Of a million random tokens of 16 hexadecimal digits,
/// fewer than one has so few.
const DISTINCT_MIN: usize = 5;
/// Parts of tokens in documents and examples, in small letters, without `-` and `_`.
const EXAMPLES: [&str; 10] = [
    "0123456789",
    "1234567890",
    "abcdefgh",
    "qwerty",
    "changeme",
    "replaceme",
    "password",
    "secret",
    "example",
    "yourtoken",
];

/// The tokens, and the requests that need one.
pub struct Keys {
    admin: Option<Token>,
    read: Option<Token>,
    reading: Reading,
}

/// Which requests may read in the present configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// All requests: the api listens on loopback only, and no read token is set.
    OpenOnLoopback,
    /// All requests, also those of other machines (`insecure_no_auth`).
    OpenToAll,
    /// Requests with a token.
    NeedsToken,
}

impl Keys {
    /// The tokens of the environment and the files.
    ///
    /// # Errors
    /// With a sentence for the person who set them.
    pub fn read(heritage: &Heritage) -> Result<Keys, String> {
        let settings = &heritage.settings;
        let admin = Token::read(
            heritage.token.as_ref(),
            settings.token_file.as_deref(),
            "TALLYD_TOKEN",
            "token_file",
        )?;
        let read = Token::read(
            heritage.read_token.as_ref(),
            settings.read_token_file.as_deref(),
            "TALLYD_READ_TOKEN",
            "read_token_file",
        )?;
        if let (Some(admin), Some(read)) = (&admin, &read)
            && admin.is(read)
        {
            return Err("the read token and the admin token are the same: set two different ones, or only one of them".to_owned());
        }
        let reading =
            Reading::of(read.is_some(), settings.insecure_no_auth, settings.listen.ip().is_loopback())?;
        Ok(Keys { admin, read, reading })
    }

    /// Which requests may read.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// Is an admin token set? Without one, no request may change anything.
    pub fn allow_changes(&self) -> bool {
        self.admin.is_some()
    }

    /// The sentence of the status about reading without a token.
    pub fn trouble(&self) -> Option<&'static str> {
        (self.reading == Reading::OpenToAll)
            .then_some("other machines can reach the API, and reading needs no token (insecure_no_auth)")
    }

    /// Lets a request with these headers read, or says why not.
    pub fn may_read(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.reading != Reading::NeedsToken {
            return Ok(());
        }
        match Shown::of(headers) {
            Shown::Bearer(token) | Shown::Basic(token) if self.know(&token) => Ok(()),
            _ => Err(Problem::unauthorized()),
        }
    }

    /// Lets a request with these headers change something, or says why not.
    pub fn may_change(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(admin) = &self.admin else { return Err(Problem::no_token_set()) };
        match Shown::of(headers) {
            Shown::Bearer(token) if admin.is(&token) => Ok(()),
            Shown::Bearer(token) if self.know(&token) => Err(Problem::read_only_token()),
            Shown::Basic(token) if self.know(&token) => Err(Problem::read_only_login()),
            _ => Err(Problem::unauthorized()),
        }
    }

    /// Is this the admin token or the read token?
    fn know(&self, token: &Token) -> bool {
        self.admin.iter().chain(&self.read).any(|known| known.is(token))
    }
}

impl Reading {
    /// A read token always counts, also on loopback: a proxy on this machine asks from loopback for
    /// everybody.
    ///
    /// # Errors
    /// With a sentence, if the settings contradict each other.
    fn of(has_read_token: bool, insecure_no_auth: bool, is_loopback: bool) -> Result<Reading, String> {
        match (has_read_token, insecure_no_auth, is_loopback) {
            (true, true, _) => {
                Err("insecure_no_auth: everybody may read, but a read token is set too (TALLYD_READ_TOKEN or read_token_file); remove one of them".to_owned())
            }
            (true, false, _) | (false, false, false) => Ok(Reading::NeedsToken),
            (false, _, true) => Ok(Reading::OpenOnLoopback),
            (false, true, false) => Ok(Reading::OpenToAll),
        }
    }
}

/// The credentials of a request.
enum Shown {
    /// None, several, or none that the api understands.
    Nothing,
    /// A token that a program sent.
    Bearer(Token),
    /// The password of a browser's login.
    Basic(Token),
}

impl Shown {
    fn of(headers: &HeaderMap) -> Shown {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let one = fields.next().filter(|_| fields.next().is_none()).map(|field| field.as_bytes());
        let parts = one.and_then(|field| field.split_at_checked(memchr::memchr(b' ', field)?));
        match parts {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer") => {
                Shown::Bearer(Token::of(token.trim_ascii()))
            }
            Some((scheme, login)) if scheme.eq_ignore_ascii_case(b"basic") => {
                password(login.trim_ascii()).map_or(Shown::Nothing, |token| Shown::Basic(Token::of(&token)))
            }
            _ => Shown::Nothing,
        }
    }
}

/// The password of a Basic login (RFC 7617): the bytes behind the first colon.
fn password(login: &[u8]) -> Option<Vec<u8>> {
    let mut login = decode_base64(login)?;
    let colon = memchr::memchr(b':', &login)?;
    Some(login.split_off(colon + 1))
}

/// Bytes in base64 (RFC 4648, 4), with or without padding; `None` if there is any other character.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() * 3 / 4), 0_u32, 0);
    for character in text {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(six), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// The sum of a token. A sum has no form in which it could be printed.
struct Token(Digest);

impl Token {
    /// The token of the environment, or else of a file's first line; none if neither is given.
    ///
    /// # Errors
    /// With a sentence for the person who set it.
    fn read(
        variable: Option<&File>,
        file: Option<&Path>,
        variable_name: &str,
        setting: &str,
    ) -> Result<Option<Token>, String> {
        if let Some(variable) = variable {
            let bytes = read_variable(variable).map_err(|error| format!("{variable_name}: {error}"))?;
            return Token::new(&bytes, variable_name).map(Some);
        }
        let Some(path) = file else { return Ok(None) };
        let origin = format!("{setting} {}", path.display());
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text));
        read.map_err(|error| {
            format!(
                "cannot read the {origin}: {error}; let uid {} read it, or name another file",
                crate::sys::process::uid()
            )
        })?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Token::new(line.trim_ascii(), &origin).map(Some)
    }

    fn new(token: &[u8], origin: &str) -> Result<Token, String> {
        let remedy = format!(
            "set a token of at least {BYTES_MIN} bytes, for example the output of `openssl rand -hex 32`"
        );
        if token.is_empty() {
            return Err(format!("{origin}: the token is empty; {remedy}"));
        }
        if token.len() < BYTES_MIN {
            return Err(format!("{origin}: a token of {} bytes can be guessed; {remedy}", token.len()));
        }
        // A token must fit into a header.
        if token.iter().any(|byte| !(0x21..=0x7e).contains(byte)) {
            return Err(format!(
                "{origin}: a token may only have visible ASCII characters, without spaces; {remedy}"
            ));
        }
        if is_weak(token) {
            return Err(format!(
                "{origin}: this token is an example or a repeated pattern, and can be guessed; {remedy}"
            ));
        }
        Ok(Token::of(token))
    }

    fn of(token: &[u8]) -> Token {
        Token(digest(&SHA256, token))
    }

    fn is(&self, other: &Token) -> bool {
        // The comparison reads all bytes, whatever the first ones are.
        self.0
            .as_ref()
            .iter()
            .zip(other.0.as_ref())
            .fold(0, |differ, (one, two)| black_box(differ | (one ^ two)))
            == 0
    }
}

/// Is this a token of an example, or one of few characters, or a short pattern that is repeated?
fn is_weak(token: &[u8]) -> bool {
    let mut distinct = token.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let is_repeated =
        (1..=token.len() / 2).any(|length| token.iter().zip(&token[length..]).all(|(one, two)| one == two));
    // `change-me` is `changeme`.
    let small: Vec<u8> =
        token.iter().filter(|byte| !matches!(byte, b'-' | b'_')).map(u8::to_ascii_lowercase).collect();
    let is_example =
        EXAMPLES.iter().any(|example| memchr::memmem::find(&small, example.as_bytes()).is_some());
    distinct.len() < DISTINCT_MIN || is_repeated || is_example
}

fn read_variable(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "Ahm4oo7aiqu9Eiph";
    const READ: &str = "ooPh3eizuu1Ohqu5";

    fn token(text: &str) -> Option<Token> {
        Token::new(text.as_bytes(), "x").ok()
    }

    fn headers(fields: &[&[u8]]) -> HeaderMap {
        fields.iter().map(|field| (header::AUTHORIZATION, (*field).try_into().unwrap())).collect()
    }

    #[test]
    fn only_the_token_is_the_token() {
        let token = token(ADMIN).unwrap();
        let is_shown =
            |field: &[u8]| matches!(Shown::of(&headers(&[field])), Shown::Bearer(shown) if token.is(&shown));
        for shown in
            [&b"Bearer Ahm4oo7aiqu9Eiph"[..], b"bearer Ahm4oo7aiqu9Eiph", b"Bearer  Ahm4oo7aiqu9Eiph "]
        {
            assert!(is_shown(shown), "{}", shown.escape_ascii());
        }
        for shown in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Ahm4oo7aiqu9Eiph",
            b"Basic Ahm4oo7aiqu9Eiph",
            b"Bearer Ahm4oo7aiqu9Eipg",
            b"Bearer Ahm4oo7aiqu9Eiph0",
            b"Bearer Ahm4oo7aiqu9Eip",
        ] {
            assert!(!is_shown(shown), "{}", shown.escape_ascii());
        }
    }

    #[test]
    fn the_password_of_a_login_is_behind_the_first_colon() {
        for (login, want) in [
            ("Og==", Some(&b""[..])),
            ("dTo=", Some(b"")),
            ("dTpw", Some(b"p")),
            ("dTpw", Some(b"p")),
            ("OnA6cQ==", Some(b"p:q")),
            ("OnA6cQ", Some(b"p:q")),
            ("dTr/+w==", Some(b"\xff\xfb")),
            ("dXA=", None),
            ("", None),
            ("dTp*", None),
            ("dTp-", None),
        ] {
            assert_eq!(password(login.as_bytes()).as_deref(), want, "{login}");
        }
    }

    #[test]
    fn who_may_do_what() {
        let code =
            |answer: Result<(), Problem>| answer.map_or_else(|problem| problem.status().as_u16(), |()| 200);
        let both = |keys: &Keys, shown: &[&str]| {
            let shown: Vec<&[u8]> = shown.iter().map(|field| field.as_bytes()).collect();
            (code(keys.may_read(&headers(&shown))), code(keys.may_change(&headers(&shown))))
        };
        let (admin, read) = ("Bearer Ahm4oo7aiqu9Eiph", "Bearer ooPh3eizuu1Ohqu5");
        // The user of both is `any`.
        let (admin_login, read_login) =
            ("Basic YW55OkFobTRvbzdhaXF1OUVpcGg=", "Basic YW55Om9vUGgzZWl6dXUxT2hxdTU=");
        let keys = Keys { admin: token(ADMIN), read: token(READ), reading: Reading::NeedsToken };
        assert_eq!(both(&keys, &[]), (401, 401));
        assert_eq!(both(&keys, &["Bearer wrong"]), (401, 401));
        assert_eq!(both(&keys, &[admin]), (200, 200));
        assert_eq!(both(&keys, &[read]), (200, 403));
        assert_eq!(both(&keys, &[read, admin]), (401, 401));
        assert_eq!((both(&keys, &[admin_login]), both(&keys, &[read_login])), ((200, 403), (200, 403)));
        assert_eq!(
            (both(&keys, &["Basic YW55Ondyb25n"]), both(&keys, &["Basic ?"])),
            ((401, 401), (401, 401))
        );
        let keys = Keys { admin: token(ADMIN), read: None, reading: Reading::OpenOnLoopback };
        assert_eq!(
            (both(&keys, &[]), both(&keys, &[read]), both(&keys, &[admin])),
            ((200, 401), (200, 401), (200, 200))
        );
        assert_eq!(both(&keys, &[admin_login]), (200, 403));
        let keys = Keys { admin: None, read: token(READ), reading: Reading::NeedsToken };
        assert_eq!((both(&keys, &[]), both(&keys, &[read])), ((401, 403), (200, 403)));
    }

    #[test]
    fn a_read_token_counts_on_loopback_too() {
        for (has_read_token, insecure_no_auth, is_loopback, want) in [
            (false, false, true, Ok(Reading::OpenOnLoopback)),
            (false, true, true, Ok(Reading::OpenOnLoopback)),
            (false, false, false, Ok(Reading::NeedsToken)),
            (false, true, false, Ok(Reading::OpenToAll)),
            (true, false, true, Ok(Reading::NeedsToken)),
            (true, false, false, Ok(Reading::NeedsToken)),
            (true, true, true, Err(())),
            (true, true, false, Err(())),
        ] {
            assert_eq!(
                Reading::of(has_read_token, insecure_no_auth, is_loopback).map_err(drop),
                want,
                "{has_read_token} {insecure_no_auth} {is_loopback}"
            );
        }
    }

    #[test]
    fn a_token_that_cannot_be_is_refused_with_the_remedy() {
        for (token, word) in [
            (&b""[..], "is empty"),
            (b"Ahm4oo7aiqu9Eip", "15 bytes"),
            (b"Ahm4oo7aiqu9Ei g", "visible"),
            (b"Ahm4oo7aiqu9Eip\xff", "visible"),
        ] {
            let Err(error) = Token::new(token, "token_file x") else { panic!("{}", token.escape_ascii()) };
            assert!(
                error.starts_with("token_file x: ") && error.contains(word) && error.contains("openssl rand"),
                "{error}"
            );
        }
    }

    #[test]
    fn tokens_of_examples_and_patterns_are_refused() {
        for token in [
            "0123456789abcdef0123456789abcdef",
            "xxxxxxxxxxxxxxxx",
            "abababababababab",
            "abcabdabcabdabcabdabc",
            "Ahm4oo7aAhm4oo7a",
            "Ahm4oo7a-Ahm4oo7a-",
            "changeme-changeme",
            "ChangeMe2026-11-30",
            "my-Password-is-this",
            "token-of-an-example",
            "replace-me-by-openssl-rand-hex-32",
        ] {
            let error = Token::new(token.as_bytes(), "TALLYD_TOKEN")
                .err()
                .unwrap_or_else(|| panic!("{token} is taken"));
            assert!(
                error.contains("can be guessed")
                    && error.contains("openssl rand -hex 32")
                    && !error.contains(token),
                "{error}"
            );
        }
        // As `openssl rand -hex 32`, `openssl rand -base64 18`, `pwgen 16` make them.
        for token in [
            "6b0c4ef5ef4bf2a9c86f5f1d7f3c57a2e8d19bb04b7c11f3d2a0ce65e7a9f014",
            "mV8t3oYcF1+gk2ZQbZP0rTj7",
            "Ahm4oo7aiqu9Eiph",
        ] {
            assert!(Token::new(token.as_bytes(), "x").is_ok(), "{token}");
        }
    }

    /// The tokens that the documents and the files of `deploy` show.
    #[test]
    fn the_tokens_that_we_show_are_refused() {
        let secret = include_str!("../../../deploy/kubernetes/secret.yaml");
        let shown = secret
            .lines()
            .find_map(|line| line.trim().strip_prefix("read-token: "))
            .expect("the secret has a token");
        assert!(Token::new(shown.as_bytes(), "x").is_err(), "{shown}");
    }
}
