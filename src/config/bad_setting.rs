//! Why a setting is refused.

/// A setting that is not valid, in a sentence with a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub(super) String);
