//! A clock that all processes of the machine read alike, and that nobody sets.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since some moment before this process began: never 0, the same in every process, and never
/// set back.
pub fn monotonic_ms() -> u64 {
    // It cannot fail: the clock is there on every Linux, and the place for the answer is the library's.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec().cast_unsigned() * 1_000 + time.tv_nsec().cast_unsigned() / 1_000_000);
    time.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_of_instants() {
        let (start, before) = (std::time::Instant::now(), monotonic_ms());
        std::thread::sleep(std::time::Duration::from_millis(5));
        let (went, elapsed) = (monotonic_ms() - before, start.elapsed().as_millis() as u64);
        assert!(went >= 4 && went <= elapsed + 1, "{went} {elapsed}");
    }
}
