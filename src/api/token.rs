//! The token that who changes something has to show.
//!
//! It is read here, after the fork, so that no worker has it in its memory. A comparison takes the same time wherever two tokens differ, so that the time tells no more than the length.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A shorter one can be guessed.
const BYTES_MIN: usize = 16;
/// More of a file is not looked at.
const BYTES_MAX: u64 = 4_096;

/// The token. It has no form in which it could be said.
pub(super) struct Token(Vec<u8>);

impl Token {
    /// The token of the environment, or else of a file's first line; none if neither is given.
    ///
    /// # Errors
    /// With a sentence for whoever set it.
    pub(super) fn read(variable: Option<&File>, file: Option<&Path>) -> Result<Option<Token>, String> {
        if let Some(variable) = variable {
            return read_variable(variable).map_err(|error| format!("TALLYD_TOKEN: {error}")).and_then(|bytes| Token::new(&bytes, "TALLYD_TOKEN").map(Some));
        }
        let Some(path) = file else { return Ok(None) };
        let origin = format!("token_file {}", path.display());
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
        Ok(Token(token.to_vec()))
    }

    /// Is it the one that this header of a request shows?
    pub(super) fn is_shown(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked(7) else { return false };
        let shown = shown.trim_ascii();
        // All bytes are looked at, whatever the first ones are.
        let differ = shown.iter().zip(&self.0).fold(0, |differ, (one, two)| black_box(differ | (one ^ two)));
        scheme.eq_ignore_ascii_case(b"bearer ") && shown.len() == self.0.len() && differ == 0
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
    fn a_token_that_cannot_be_is_refused_with_the_remedy() {
        for (token, word) in [(&b""[..], "no token"), (b"0123456789abcde", "15 bytes"), (b"0123456789abcdef g", "visible"), (b"0123456789abcde\xff", "visible")]
        {
            let Err(error) = Token::new(token, "token_file x") else { panic!("{}", token.escape_ascii()) };
            assert!(error.starts_with("token_file x: ") && error.contains(word) && error.contains("openssl rand"), "{error}");
        }
    }
}
