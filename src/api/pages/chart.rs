//! A bar chart of days, as the numbers that an SVG needs, and a sentence that says the same.

use super::html::noun;
use crate::show::thousands;

/// The width of a bar with its gap, in units of the SVG.
const SLOT: u64 = 10;
const BAR: u64 = 8;
/// The height of the highest bar.
const HEIGHT: u64 = 100;
/// With fewer days, the bars leave the rest of the chart empty.
const SLOTS_MIN: u64 = 7;

/// A chart.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// The chart in words.
    pub(super) sentence: String,
    /// The width of the SVG.
    pub(super) width: u64,
    pub(super) bars: Vec<Bar>,
    /// The first day.
    pub(super) first: String,
    /// The last day; empty if the bars do not reach the right edge.
    pub(super) last: String,
}

/// A rectangle of the SVG.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

impl Chart {
    /// The chart of these days, each with its number of `things` (singular, plural); `None` if there is no
    /// day.
    pub(super) fn of(title: &'static str, things: [&str; 2], days: &[(String, u64)]) -> Option<Chart> {
        let ((first, _), (last, _)) = (days.first()?, days.last()?);
        let (most_on, most) = days.iter().rev().max_by_key(|(_, number)| *number)?;
        let (least_on, least) = days.iter().min_by_key(|(_, number)| *number)?;
        let sentence = match days.len() {
            1 => format!("{first}: {} {}.", thousands(*most), noun(*most, things[0], things[1])),
            count => format!(
                "{count} days with requests, {first} to {last}: most {} on {most_on} ({}), fewest on {least_on} ({}).",
                things[1],
                thousands(*most),
                thousands(*least)
            ),
        };
        let bars = days.iter().zip(0_u64..).map(|((_, number), at)| Bar::of(at, *number, *most)).collect();
        let count = days.len() as u64;
        let last = if count < SLOTS_MIN { String::new() } else { last.clone() };
        Some(Chart { title, sentence, width: count.max(SLOTS_MIN) * SLOT, bars, first: first.clone(), last })
    }
}

impl Bar {
    /// The bar at this place. A number above zero has a bar that can be seen.
    fn of(at: u64, number: u64, most: u64) -> Bar {
        let height =
            (u128::from(number) * u128::from(HEIGHT)).checked_div(u128::from(most)).unwrap_or(0) as u64;
        let height = height.max(u64::from(number > 0));
        Bar { x: at * SLOT + (SLOT - BAR) / 2, y: HEIGHT - height, width: BAR, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(numbers: &[u64]) -> Vec<(String, u64)> {
        numbers.iter().zip(1..).map(|(number, day)| (format!("2021-03-{day:02}"), *number)).collect()
    }

    #[test]
    fn bars_are_as_high_as_their_numbers() {
        let chart = Chart::of("Requests", ["request", "requests"], &days(&[0, 1, 500, 1_000])).unwrap();
        assert_eq!(
            chart.bars.iter().map(|bar| (bar.x, bar.y, bar.height)).collect::<Vec<_>>(),
            [(1, 100, 0), (11, 99, 1), (21, 50, 50), (31, 0, 100)]
        );
        assert_eq!((chart.width, chart.first.as_str(), chart.last.as_str()), (70, "2021-03-01", ""));
        assert_eq!(
            chart.sentence,
            "4 days with requests, 2021-03-01 to 2021-03-04: most requests on 2021-03-04 (1,000), fewest on 2021-03-01 (0)."
        );
        let chart = Chart::of("Requests", ["request", "requests"], &days(&[u64::MAX; 8])).unwrap();
        assert!(chart.bars.iter().all(|bar| bar.height == 100), "{:?}", chart.bars);
        assert_eq!((chart.width, chart.last.as_str()), (80, "2021-03-08"));
    }

    #[test]
    fn a_chart_of_little_is_a_chart() {
        assert!(Chart::of("Requests", ["request", "requests"], &[]).is_none());
        assert_eq!(
            Chart::of("Requests", ["request", "requests"], &days(&[7])).unwrap().sentence,
            "2021-03-01: 7 requests."
        );
        assert_eq!(
            Chart::of("Requests", ["request", "requests"], &days(&[1])).unwrap().sentence,
            "2021-03-01: 1 request."
        );
        assert_eq!(Chart::of("Requests", ["request", "requests"], &days(&[0, 0])).unwrap().bars[1].height, 0);
    }
}
