//! The defaults of the memory settings: shares of the cgroup's memory limit.
//!
//! Pure. The shares are measured ones; docs/ARCHITECTURE.md has the measurements.

/// The defaults of the memory settings, in their own units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Defaults {
    pub(super) memory_budget_mib: u64,
    pub(super) cache_mib: u64,
    pub(super) worker_memory_mib: u64,
    pub(super) range_mib: u64,
    /// Memory for one answer about days, in bytes.
    pub(super) question: u64,
}

impl Defaults {
    /// The defaults without a memory limit.
    const FREE: Defaults = Defaults {
        memory_budget_mib: 256,
        cache_mib: 256,
        worker_memory_mib: 1024,
        range_mib: 32,
        question: u64::MAX,
    };

    /// The defaults for a limit of all processes together, in bytes, of which `workers` are workers: never
    /// more than without a limit.
    pub(super) fn within(limit: Option<u64>, workers: usize) -> Defaults {
        let Some(limit) = limit else { return Defaults::FREE };
        let (mib, workers, free) = (limit >> 20, workers as u64, Defaults::FREE);
        Defaults {
            memory_budget_mib: (mib / 4).clamp(16, free.memory_budget_mib),
            cache_mib: (mib / 8).min(free.cache_mib),
            // A worker with less could not decode the output of `xz -9`.
            worker_memory_mib: (mib / 2 / workers).clamp(128, free.worker_memory_mib),
            range_mib: (mib / 32 / workers).clamp(1, free.range_mib),
            question: (limit / 8).max(1 << 20),
        }
    }
}

/// Returns a warning if the settings that are given, each with its name and MiB, are together more than the
/// limit.
pub(super) fn excess(limit: Option<u64>, given: &[(&str, Option<u64>)]) -> Option<String> {
    let limit = limit? >> 20;
    let given: Vec<(&str, u64)> = given.iter().filter_map(|(name, mib)| Some((*name, (*mib)?))).collect();
    let sum: u64 = given.iter().map(|(_, mib)| mib).sum();
    let named: Vec<String> = given.iter().map(|(name, mib)| format!("{name} = {mib}")).collect();
    (sum > limit).then(|| {
        let are = if let [_] = *named { "is" } else { "are together" };
        format!(
            "{} {are} more than the {limit} MiB of memory that the cgroup grants: lower the value, or leave the setting out for a share of the limit",
            named.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_or_with_a_large_one_the_defaults_are_what_they_are() {
        assert_eq!(Defaults::within(None, 2), Defaults::FREE);
        assert_eq!(Defaults::within(Some(64 << 30), 4), Defaults { question: 8 << 30, ..Defaults::FREE });
    }

    #[test]
    fn a_limit_is_shared_out() {
        let shares = |mib: u64, workers| {
            let Defaults { memory_budget_mib, cache_mib, worker_memory_mib, range_mib, question } =
                Defaults::within(Some(mib << 20), workers);
            [memory_budget_mib, cache_mib, worker_memory_mib, range_mib, question >> 20]
        };
        assert_eq!(shares(1024, 2), [256, 128, 256, 16, 128]);
        assert_eq!(shares(256, 2), [64, 32, 128, 4, 32]);
        assert_eq!(shares(256, 1), [64, 32, 128, 8, 32]);
        assert_eq!(shares(64, 2), [16, 8, 128, 1, 8]);
        assert_eq!(shares(64, 256), [16, 8, 128, 1, 8]);
        assert_eq!(shares(1, 1), [16, 0, 128, 1, 1]);
    }

    #[test]
    fn what_is_given_beyond_the_limit_is_named() {
        let excess = |limit: Option<u64>, budget, cache, worker| {
            super::excess(
                limit.map(|mib| mib << 20),
                &[("memory_budget_mib", budget), ("cache_mib", cache), ("worker_memory_mib", worker)],
            )
        };
        assert_eq!(excess(None, Some(1_000_000), None, None), None);
        assert_eq!(excess(Some(256), None, None, None), None);
        assert_eq!(excess(Some(256), Some(100), Some(28), Some(128)), None);
        let said = excess(Some(256), Some(100), Some(29), Some(128)).unwrap();
        assert!(said.starts_with("memory_budget_mib = 100, cache_mib = 29, worker_memory_mib = 128 are together more than the 256 MiB"), "{said}");
        let said = excess(Some(256), None, Some(257), None).unwrap();
        assert!(said.starts_with("cache_mib = 257 is more than the 256 MiB"), "{said}");
    }
}
