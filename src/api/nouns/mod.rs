//! The nouns of the API: a file each, with its handlers.

pub mod changes;
pub mod days;
pub mod docs;
pub mod events;
pub mod examples;
pub mod files;
pub mod health;
pub mod openapi;
pub mod report;
pub mod status;
