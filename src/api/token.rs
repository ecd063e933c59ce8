//! The tokens: one for who changes something, one that is enough for reading.
//!
//! They are read here, after the fork, so that no worker has them in its memory. What is kept and compared are their SHA-256 sums: a comparison takes the same time wherever two
//! tokens differ and however long the right one is.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use axum::http::{HeaderMap, header};
use ring::digest::{Digest, SHA256, digest};

use super::problem::Problem;
use crate::heritage::Heritage;

/// A shorter one can be guessed.
const BYTES_MIN: usize = 16;
/// More of a file is not looked at.
const BYTES_MAX: u64 = 4_096;

/// Who may do what.
pub(super) struct Keys {
    admin: Option<Token>,
    read: Option<Token>,
    /// Does reading need no token?
    reads_are_open: bool,
    /// Though others than this machine can reach the API?
    exposed: bool,
}

impl Keys {
    /// The tokens that were given, and where they are asked for.
    ///
    /// # Errors
    /// With a sentence for whoever set them.
    pub(super) fn read(heritage: &Heritage) -> Result<Keys, String> {
        let settings = &heritage.settings;
        let admin = Token::read(heritage.token.as_ref(), settings.token_file.as_deref(), "TALLYD_TOKEN", "token_file")?;
        let read = Token::read(heritage.read_token.as_ref(), settings.read_token_file.as_deref(), "TALLYD_READ_TOKEN", "read_token_file")?;
        if let (Some(admin), Some(read)) = (&admin, &read)
            && admin.is(read)
        {
            return Err("the token for reading is the one for changing: give two different ones, or only one of them".to_owned());
        }
        let exposed = !settings.listen.ip().is_loopback();
        Ok(Keys { admin, read, reads_are_open: !exposed || settings.insecure_no_auth, exposed })
    }

    /// What is to be said of them in the status.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        (self.exposed && self.reads_are_open).then_some("auth: other machines can reach the API, and reading needs no token (insecure_no_auth)")
    }

    /// May who sends these headers read?
    pub(super) fn may_read(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.reads_are_open || shows(headers, self.admin.as_ref()) || shows(headers, self.read.as_ref()) { Ok(()) } else { Err(Problem::unauthorized()) }
    }

    /// May who sends these headers change something?
    pub(super) fn may_change(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if shows(headers, self.admin.as_ref()) {
            return Ok(());
        }
        Err(match (&self.admin, shows(headers, self.read.as_ref())) {
            (None, _) => Problem::no_token_set(),
            (Some(_), true) => Problem::read_only_token(),
            (Some(_), false) => Problem::unauthorized(),
        })
    }
}

/// Is this token shown, and no other one beside it?
fn shows(headers: &HeaderMap, token: Option<&Token>) -> bool {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let one = shown.next().filter(|_| shown.next().is_none());
    one.zip(token).is_some_and(|(shown, token)| token.is_shown(shown.as_bytes()))
}

/// The sum of a token. It has no form in which it could be said.
struct Token(Digest);

impl Token {
    /// The token of the environment, or else of a file's first line; none if neither is given.
    ///
    /// # Errors
    /// With a sentence for whoever set it.
    fn read(variable: Option<&File>, file: Option<&Path>, variable_name: &str, setting: &str) -> Result<Option<Token>, String> {
        if let Some(variable) = variable {
            let bytes = read_variable(variable).map_err(|error| format!("{variable_name}: {error}"))?;
            return Token::new(&bytes, variable_name).map(Some);
        }
        let Some(path) = file else { return Ok(None) };
        let origin = format!("{setting} {}", path.display());
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text));
        read.map_err(|error| format!("cannot read the {origin}: {error}; let uid {} read it, or name another one", crate::sys::process::uid()))?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Token::new(line.trim_ascii(), &origin).map(Some)
    }

    fn new(token: &[u8], origin: &str) -> Result<Token, String> {
        let remedy = format!("give one of at least {BYTES_MIN} bytes, like that of: openssl rand -hex 32");
        if token.is_empty() {
            return Err(format!("{origin}: there is no token in it; {remedy}"));
        }
        if token.len() < BYTES_MIN {
            return Err(format!("{origin}: a token of {} bytes can be guessed; {remedy}", token.len()));
        }
        // It must fit into a header.
        if token.iter().any(|byte| !(0x21..=0x7e).contains(byte)) {
            return Err(format!("{origin}: a token is of visible ASCII characters, without spaces; {remedy}"));
        }
        Ok(Token(digest(&SHA256, token)))
    }

    fn is(&self, other: &Token) -> bool {
        // All bytes are looked at, whatever the first ones are.
        self.0.as_ref().iter().zip(other.0.as_ref()).fold(0, |differ, (one, two)| black_box(differ | (one ^ two))) == 0
    }

    /// Is it the one that this header of a request shows?
    fn is_shown(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked(7) else { return false };
        self.is(&Token(digest(&SHA256, shown.trim_ascii()))) && scheme.eq_ignore_ascii_case(b"bearer ")
    }
}

fn read_variable(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = Token::new(b"0123456789abcdef", "x").unwrap();
        for shown in [&b"Bearer 0123456789abcdef"[..], b"bearer 0123456789abcdef", b"Bearer  0123456789abcdef "] {
            assert!(token.is_shown(shown), "{}", shown.escape_ascii());
        }
        for shown in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"0123456789abcdef",
            b"Basic 0123456789abcdef",
            b"Bearer 0123456789abcdeg",
            b"Bearer 0123456789abcdef0",
            b"Bearer 0123456789abcde",
        ] {
            assert!(!token.is_shown(shown), "{}", shown.escape_ascii());
        }
    }

    #[test]
    fn who_may_do_what() {
        let token = |text: &[u8]| Token::new(text, "x").ok();
        let (admin, read) = (b"admin-admin-admin", b"read-read-read-read");
        let headers = |shown: &[&str]| shown.iter().map(|shown| (header::AUTHORIZATION, shown.parse().unwrap())).collect::<HeaderMap>();
        let code = |answer: Result<(), Problem>| answer.map_or_else(|problem| problem.status().as_u16(), |()| 200);
        let both = |keys: &Keys, shown: &[&str]| (code(keys.may_read(&headers(shown))), code(keys.may_change(&headers(shown))));
        let (admin_shown, read_shown) = ("Bearer admin-admin-admin", "Bearer read-read-read-read");
        let keys = Keys { admin: token(admin), read: token(read), reads_are_open: false, exposed: true };
        assert_eq!(both(&keys, &[]), (401, 401));
        assert_eq!(both(&keys, &["Bearer wrong"]), (401, 401));
        assert_eq!(both(&keys, &[admin_shown]), (200, 200));
        assert_eq!(both(&keys, &[read_shown]), (200, 403));
        assert_eq!(both(&keys, &[read_shown, admin_shown]), (401, 401));
        let keys = Keys { admin: token(admin), read: None, reads_are_open: true, exposed: false };
        assert_eq!((both(&keys, &[]), both(&keys, &[read_shown]), both(&keys, &[admin_shown])), ((200, 401), (200, 401), (200, 200)));
        let keys = Keys { admin: None, read: token(read), reads_are_open: false, exposed: true };
        assert_eq!((both(&keys, &[]), both(&keys, &[read_shown])), ((401, 403), (200, 403)));
    }

    #[test]
    fn a_token_that_cannot_be_is_refused_with_the_remedy() {
        for (token, word) in [(&b""[..], "no token"), (b"0123456789abcde", "15 bytes"), (b"0123456789abcdef g", "visible"), (b"0123456789abcde\xff", "visible")]
        {
            let Err(error) = Token::new(token, "token_file x") else { panic!("{}", token.escape_ascii()) };
            assert!(error.starts_with("token_file x: ") && error.contains(word) && error.contains("openssl rand"), "{error}");
        }
    }
}
