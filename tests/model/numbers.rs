//! The numbers of a content, counted here once more.

use std::collections::{BTreeMap, HashSet};

/// The numbers of a content.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Numbers {
    pub days: BTreeMap<String, (u64, u64, HashSet<Vec<u8>>)>,
    pub hours: [u64; 24],
}

impl Numbers {
    pub fn of(bytes: &[u8]) -> Numbers {
        let mut numbers = Numbers::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let client = line.split(|byte| *byte == b' ').next().expect("a line has a first field").to_vec();
            let at = line.iter().position(|byte| *byte == b'[').expect("each line has a time stamp");
            let day = String::from_utf8(line[at + 1..][..2].to_vec()).expect("it is of digits");
            let entry = numbers.days.entry(format!("2021-03-{day}")).or_default();
            entry.0 += 1;
            entry.1 += line.len() as u64;
            entry.2.insert(client);
            let hour = std::str::from_utf8(&line[at + 13..][..2]).expect("it is of digits");
            numbers.hours[hour.parse::<usize>().expect("it is of digits")] += 1;
        }
        numbers
    }

    pub fn add(&mut self, other: &Numbers) {
        for (day, (requests, bytes, clients)) in &other.days {
            let entry = self.days.entry(day.clone()).or_default();
            entry.0 += requests;
            entry.1 += bytes;
            entry.2.extend(clients.iter().cloned());
        }
    }

    pub fn total(&self) -> u64 {
        self.days.values().map(|day| day.0).sum()
    }

    pub fn ip(&self) -> u64 {
        self.days.values().flat_map(|day| &day.2).collect::<HashSet<_>>().len() as u64
    }
}
