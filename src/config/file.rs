//! The configuration file: TOML, one line a setting.

use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::renamed::refuse_renamed;
use super::{BadSetting, Given};

/// Reads a configuration file.
///
/// # Errors
/// For a file that cannot be read or parsed, with the line and a remedy.
pub(super) fn read_file(path: &Path) -> Result<Given, BadSetting> {
    let text = fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        BadSetting(format!("cannot read the configuration {path}: {error}; name a file that is there, or none for the defaults"))
    })?;
    // The message of the parser lists the settings that are known.
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        let unknown = error.message().strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let sentence = unknown.and_then(refuse_renamed);
        let sentence = sentence.unwrap_or_else(|| {
            format!("{}; config/tallyd.toml in tallyd's sources lists every setting", error.message())
        });
        BadSetting(format!("{}:{line}: {sentence}", path.display()))
    })
}

/// Reads a list, or a single text as a list of one: `logs = "/var/log/nginx"`.
pub(super) fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct OneOrMany<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    input.deserialize_any(OneOrMany(PhantomData)).map(Some)
}
