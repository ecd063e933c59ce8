//! The settings that are numbers: what each may be.

use super::bad_setting::BadSetting;

/// A setting that is a number, and its bounds.
#[derive(Debug)]
pub struct Bounds {
    /// The name of the setting.
    pub name: &'static str,
    /// The smallest value.
    pub least: u64,
    /// The largest value.
    pub most: u64,
    /// The unit; empty for a mere number.
    pub unit: &'static str,
}

/// Every setting that is a number. The help of its flag repeats the bounds, which a test checks.
pub const BOUNDS: [Bounds; 13] = [
    bounds("scan_every_ms", 10, 3_600_000, "milliseconds"),
    bounds("final_after_s", 1, 31_536_000, "seconds"),
    bounds("workers", 1, 256, "processes"),
    bounds("range_mib", 1, 64, "MiB"),
    bounds("expanded_gib_max", 1, 1_048_576, "GiB"),
    bounds("expanded_ratio_max", 1, 1_048_576, ""),
    bounds("connections_max", 16, 65_536, "connections"),
    bounds("upload_max_mib", 1, 1_048_576, "MiB"),
    bounds("retention_days", 0, 1_000_000, "days"),
    bounds("memory_budget_mib", 16, 1_048_576, "MiB"),
    bounds("worker_memory_mib", 128, 1_048_576, "MiB"),
    bounds("cache_mib", 0, 1_048_576, "MiB"),
    bounds("board_logs", 1, 1_048_576, "logs"),
];

const fn bounds(name: &'static str, least: u64, most: u64, unit: &'static str) -> Bounds {
    Bounds { name, least, most, unit }
}

/// Returns the value of the setting `name` if it is within the setting's bounds; `origin` starts the error.
pub(super) fn within(name: &str, value: u64, origin: &str) -> Result<u64, BadSetting> {
    let Bounds { least, most, .. } =
        BOUNDS.iter().find(|bounds| bounds.name == name).expect("each setting that is a number has bounds");
    if (least..=most).contains(&&value) {
        Ok(value)
    } else {
        Err(BadSetting(format!("{origin}{value} is not within {least} to {most}")))
    }
}
