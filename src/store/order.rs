//! The order of IPv4 addresses as texts, in numbers.
//!
//! Rows are sorted by the bytes of their keys, so `9.9.9.9` stands behind `10.0.0.0`, and `1.2` behind
//! `1.10`. A text ends, or goes on with a dot, and both stand before every digit: so the order of two texts
//! is that of their octets, one after the other, each as a text. With each octet replaced by its place in
//! that order, an address becomes a number, its *rank*, and ranks are sorted as texts are.

/// The digits of an octet as a number that is sorted like the text.
const fn digits(octet: u8) -> u32 {
    let (hundreds, tens, ones) = (octet / 100 + b'0', octet / 10 % 10 + b'0', octet % 10 + b'0');
    let text = match octet {
        100.. => [hundreds, tens, ones],
        10.. => [tens, ones, 0],
        _ => [ones, 0, 0],
    };
    (text[0] as u32) << 16 | (text[1] as u32) << 8 | text[2] as u32
}

/// The place of each octet among all of them.
const PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let (mut place, mut other) = (0, 0);
        while other < 256 {
            place += (digits(other as u8) < digits(octet as u8)) as u16;
            other += 1;
        }
        places[octet] = place as u8;
        octet += 1;
    }
    places
};

/// The octet in each place.
const OCTETS: [u8; 256] = {
    let mut octets = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        octets[PLACES[octet] as usize] = octet as u8;
        octet += 1;
    }
    octets
};

/// The rank of an address.
pub(super) fn rank(address: u32) -> u32 {
    u32::from_be_bytes(address.to_be_bytes().map(|octet| PLACES[usize::from(octet)]))
}

/// The address of a rank.
pub(super) fn address(rank: u32) -> u32 {
    u32::from_be_bytes(rank.to_be_bytes().map(|place| OCTETS[usize::from(place)]))
}

/// Appends the text of an address.
pub(super) fn push_text(address: u32, text: &mut Vec<u8>) {
    for (at, octet) in address.to_be_bytes().into_iter().enumerate() {
        if at > 0 {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(octet / 100 + b'0');
        }
        if octet >= 10 {
            text.push(octet / 10 % 10 + b'0');
        }
        text.push(octet % 10 + b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_sorted_as_texts_are() {
        let octets = [0, 1, 2, 9, 10, 11, 19, 20, 25, 99, 100, 101, 109, 110, 119, 199, 200, 249, 250, 255];
        let mut addresses: Vec<u32> = Vec::new();
        for first in octets {
            for second in octets {
                addresses.extend(octets.map(|third| u32::from_be_bytes([first, second, third, third])));
            }
        }
        let text = |address: u32| {
            let mut text = Vec::new();
            push_text(address, &mut text);
            assert_eq!(text, std::net::Ipv4Addr::from(address).to_string().into_bytes());
            text
        };
        addresses.sort_by_key(|address| text(*address));
        assert!(addresses.is_sorted_by_key(|address| rank(*address)));
        assert!(addresses.iter().all(|there| address(rank(*there)) == *there));
    }
}
