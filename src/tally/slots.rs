//! What the tables of IPv4 clients and of texts have in common: slots of one or two words (the first is 0:
//! empty), found by the upper bits of a hash and from there on one by one, at most three quarters of them
//! used. So a table is ordered by hash, but for those who found their slots taken.

/// Of many small logs, most days have a client or two.
const SLOTS_MIN: usize = 4;

/// Is there no room in so many slots for so many clients?
#[inline]
pub(super) fn is_too_small(slots: usize, clients: usize) -> bool {
    clients * 4 >= slots * 3
}

/// How many slots to have for so many clients: a power of two.
pub(super) fn slots_for(clients: usize) -> usize {
    (clients * 4 / 3 + 1).next_power_of_two().max(SLOTS_MIN)
}

/// The used slots of a table from where those are that begin with the `bits` bits `start` to where there can
/// be no more. Some of them are other ones', who found their slots taken.
pub(super) fn stretch<const WORDS: usize>(
    slots: &[[u64; WORDS]],
    start: u32,
    bits: u32,
) -> impl Iterator<Item = [u64; WORDS]> {
    let slot_bits = slots.len().checked_ilog2().unwrap_or(0);
    let place = |start: u32| (u64::from(start) << slot_bits >> bits) as usize;
    let (from, to) = (place(start), place(start + 1));
    let mask = slots.len().wrapping_sub(1);
    let stretch = (from..from + slots.len())
        .map(move |at| (at, slots[at & mask]))
        .take_while(move |(at, slot)| *at < to || slot[0] != 0);
    stretch.map(|(_, slot)| slot).filter(|slot| slot[0] != 0)
}
