use std::io::Write;

use super::*;

const FORMATS: [Compression; 4] = [Compression::Gz, Compression::Zst, Compression::Bz2, Compression::Xz];
const EIO: i32 = 5;

/// One member.
fn pack(format: Compression, bytes: &[u8]) -> Vec<u8> {
    match format {
        Compression::Gz => written(
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()),
            bytes,
            flate2::write::GzEncoder::finish,
        ),
        Compression::Zst => zst(bytes, 20),
        Compression::Bz2 => written(
            bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best()),
            bytes,
            bzip2::write::BzEncoder::finish,
        ),
        Compression::Xz => {
            written(liblzma::write::XzEncoder::new(Vec::new(), 1), bytes, liblzma::write::XzEncoder::finish)
        }
    }
}

fn written<W: Write>(mut encoder: W, bytes: &[u8], finish: impl Fn(W) -> io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(bytes).unwrap();
    finish(encoder).unwrap()
}

fn zst(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.window_log(window_log).unwrap();
    written(encoder, bytes, zstd::Encoder::finish)
}

/// A stream whose dictionary has the size of this code.
fn xz_with_dictionary(bytes: &[u8], code: u8) -> Vec<u8> {
    let mut stream = pack(Compression::Xz, bytes);
    // The header of the first block, behind that of the stream: its length by four, flags, the filter, the
    // length of its properties, those, padding, a checksum.
    let header = &mut stream[12..24];
    assert_eq!((header[0], header[2], header[3]), (2, 0x21, 1));
    header[4] = code;
    let mut crc = flate2::Crc::new();
    crc.update(&header[..8]);
    header[8..].copy_from_slice(&crc.sum().to_le_bytes());
    stream
}

fn log(lines: u32) -> Vec<u8> {
    (0..lines)
        .flat_map(|at| {
            format!("client-{} - - [22/Mar/2021:06:25:24 +0100] x\n", at.wrapping_mul(2_654_435_761))
                .into_bytes()
        })
        .collect()
}

/// All that comes out, and why it ended early.
fn unpack_within(input: impl Read, format: Compression, limits: Limits) -> (Vec<u8>, Option<Damage>) {
    let mut decoder = Decoder::open(input, format, limits).unwrap();
    let mut whole = Vec::new();
    decoder.read_to_end(&mut whole).unwrap();
    assert_eq!(decoder.read(&mut [0; 9]).unwrap(), 0);
    (whole, decoder.damage())
}

fn unpack(bytes: &[u8], format: Compression) -> (Vec<u8>, Option<Damage>) {
    unpack_within(bytes, format, Limits::default())
}

#[track_caller]
fn check(format: Compression, bytes: &[u8], out: &[u8], damage: Option<Damage>) {
    let got = unpack(bytes, format);
    assert_eq!(got.1, damage, "{format:?}");
    assert!(got.0 == out, "{format:?}: {} bytes, not {}", got.0.len(), out.len());
}

/// A file, or a pipe, that gives little at once, is interrupted, and may break.
struct Trickle<'a> {
    bytes: &'a [u8],
    piece: usize,
    breaks: bool,
    calls: u64,
}

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.breaks && self.bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let piece = self.piece.min(out.len());
        self.bytes.read(&mut out[..piece])
    }
}

#[test]
fn members_one_after_another_are_one_stream() {
    let text = log(5_000);
    for format in FORMATS {
        check(format, &pack(format, &text), &text, None);
        check(format, &pack(format, b""), b"", None);
        let members: Vec<u8> = [&text[..7], b"", &text[7..100_000], &text[100_000..]]
            .into_iter()
            .flat_map(|part| pack(format, part))
            .collect();
        check(format, &members, &text, None);
        // Read in small pieces, and given in small pieces.
        let mut decoder = Decoder::open(
            Trickle { bytes: &members, piece: 7, breaks: false, calls: 0 },
            format,
            Limits::default(),
        )
        .unwrap();
        let (mut whole, mut out) = (Vec::new(), [0; 13]);
        loop {
            match decoder.read(&mut out).unwrap() {
                0 => break,
                count => whole.extend_from_slice(&out[..count]),
            }
        }
        assert!(whole == text && decoder.damage().is_none(), "{format:?}");
        assert_eq!(decoder.read_bytes(), members.len() as u64);
    }
}

#[test]
fn zeros_behind_are_padding_and_all_else_is_damage() {
    let text = log(10);
    for format in FORMATS {
        let member = pack(format, &text);
        for zeros in [1, 4, 1_000_000] {
            check(format, &[&member[..], &vec![0; zeros]].concat(), &text, None);
        }
        check(format, &[&member[..], &[0; 8], &member].concat(), &text.repeat(2), None);
        check(format, &[&member[..], b"something else"].concat(), &text, Some(Damage::Corrupt));
        check(format, &[&member[..], &[0; 8], b"something else"].concat(), &text, Some(Damage::Corrupt));
        check(format, &[&member[..], &member[..3]].concat(), &text, Some(Damage::Cut));
        check(format, &[&member[..], b"\n"].concat(), &text, Some(Damage::Corrupt));
        check(format, b"no member", b"", Some(Damage::Corrupt));
        check(format, b"", b"", Some(Damage::Cut));
    }
    // Frames to be skipped, one of them longer than a buffer.
    let skip = |length: u32| {
        [&[0x5a, 0x2a, 0x4d, 0x18], &length.to_le_bytes()[..], &vec![1; length as usize]].concat()
    };
    let member = pack(Compression::Zst, &text);
    check(
        Compression::Zst,
        &[&skip(3)[..], &member, &skip(0), &skip(700_000), &member].concat(),
        &text.repeat(2),
        None,
    );
    check(Compression::Zst, &[&member[..], &skip(9)[..16]].concat(), &text, Some(Damage::Cut));
}

#[test]
fn what_is_compressed_twice_is_decompressed_once() {
    let inner = pack(Compression::Gz, &log(10));
    FORMATS.into_iter().for_each(|format| check(format, &pack(format, &inner), &inner, None));
}

#[test]
fn a_file_cut_anywhere_gives_the_beginning() {
    let text = log(60);
    for format in FORMATS {
        let member = pack(format, &text);
        for length in 0..member.len() {
            let (out, damage) = unpack(&member[..length], format);
            assert!(
                text.starts_with(&out) && damage == Some(Damage::Cut),
                "{format:?} at {length}: {damage:?}"
            );
        }
        let two = member.repeat(2);
        for length in member.len() + 1..two.len() {
            let (out, damage) = unpack(&two[..length], format);
            assert!(
                out.starts_with(&text) && text.repeat(2).starts_with(&out) && damage == Some(Damage::Cut),
                "{format:?} at {length}: {damage:?}"
            );
        }
    }
}

#[test]
fn a_byte_that_is_wrong_is_found_out() {
    let text = log(60);
    let limits = Limits { bytes: 100_000, ratio: 1000 };
    for format in FORMATS {
        let mut members = pack(format, &text).repeat(2);
        for at in 0..members.len() {
            for wrong in [0x01, 0x10, 0x80, 0xff] {
                members[at] ^= wrong;
                let (out, damage) = unpack_within(&members[..], format, limits);
                assert!(out.len() <= 100_000);
                // In some places nobody minds: the time in a gz header, say.
                assert!(damage.is_some() || out == text.repeat(2), "{format:?} at {at}");
                members[at] ^= wrong;
            }
        }
    }
}

#[test]
fn a_wrong_checksum_is_damage_and_the_bytes_count() {
    let text = log(100);
    let mut member = pack(Compression::Gz, &text);
    let at = member.len() - 8;
    member[at] ^= 1;
    check(Compression::Gz, &member, &text, Some(Damage::Corrupt));
    let mut member = pack(Compression::Zst, &text);
    *member.last_mut().unwrap() ^= 1;
    check(Compression::Zst, &member, &text, Some(Damage::Corrupt));
}

/// zstd gives nothing of a step that fails, however much was decoded in it.
#[test]
fn blocks_before_the_damage_count() {
    let text = log(40_000);
    for at in [3, 4] {
        let mut member = pack(Compression::Zst, &text);
        let length = member.len();
        member[length * at / 5] ^= 0xff;
        let (out, damage) = unpack(&member, Compression::Zst);
        assert!(text.starts_with(&out) && damage == Some(Damage::Corrupt), "{} bytes, {damage:?}", out.len());
        assert!(out.len() + (256 << 10) > text.len() * at / 5, "{} of {}", out.len(), text.len());
    }
}

#[test]
fn trouble_of_the_file_is_an_error_and_no_damage() {
    let text = log(60);
    for format in FORMATS {
        let member = pack(format, &text);
        for length in [0, 1, 5, member.len() / 2, member.len() - 1, member.len()] {
            let broken = Trickle { bytes: &member[..length], piece: 100, breaks: true, calls: 0 };
            let mut decoder = Decoder::open(broken, format, Limits::default()).unwrap();
            let mut whole = Vec::new();
            let error = decoder.read_to_end(&mut whole).unwrap_err();
            assert_eq!((error.raw_os_error(), decoder.damage()), (Some(EIO), None), "{format:?} at {length}");
            assert!(text.starts_with(&whole));
        }
    }
}

#[test]
fn a_log_becomes_no_larger_than_the_limit() {
    let text = log(5_000);
    for format in FORMATS {
        let member = pack(format, &text);
        let within =
            |bytes: usize| unpack_within(&member[..], format, Limits { bytes: bytes as u64, ratio: 1000 });
        assert!(within(text.len()) == (text.clone(), None), "{format:?}");
        for bytes in [0, 1, 70_000, text.len() - 1] {
            assert!(within(bytes) == (text[..bytes].to_vec(), Some(Damage::TooLarge)), "{format:?}");
        }
    }
}

#[test]
fn a_bomb_ends_soon() {
    let zeros = vec![0; 4 << 20];
    for format in FORMATS {
        let member = pack(format, &zeros);
        assert!(member.len() * 1000 < zeros.len(), "{format:?}");
        // As long as it is small it is no bomb.
        check(format, &member.repeat(16), &zeros.repeat(16), None);
        let (out, damage) = unpack(&member.repeat(100), format);
        assert_eq!(damage, Some(Damage::Ratio), "{format:?}");
        assert!((64 << 20..=72 << 20).contains(&out.len()), "{format:?}: {}", out.len());
    }
}

#[test]
fn more_memory_than_there_is_for_it_is_damage() {
    let text = log(100);
    check(Compression::Zst, &zst(&text, 26), &text, None);
    check(Compression::Zst, &zst(&text, 27), b"", Some(Damage::Memory));
    // 64 MiB, as `xz -9` has it; 96 MiB; 4 GiB.
    check(Compression::Xz, &xz_with_dictionary(&text, 28), &text, None);
    check(Compression::Xz, &xz_with_dictionary(&text, 29), b"", Some(Damage::Memory));
    check(Compression::Xz, &xz_with_dictionary(&text, 40), b"", Some(Damage::Memory));
    // What came before counts.
    check(Compression::Zst, &[zst(&text, 20), zst(&text, 27)].concat(), &text, Some(Damage::Memory));
}

#[test]
fn members_without_end_are_no_standstill() {
    for format in FORMATS {
        let empty = pack(format, b"");
        let members =
            [empty.repeat(3 * TAKE_BYTES_MAX as usize / empty.len()), pack(format, b"x\n")].concat();
        let mut decoder = Decoder::open(&members[..], format, Limits::default()).unwrap();
        let (mut out, mut signs) = ([0; 9], 0);
        while decoder.read(&mut out).is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            signs += 1;
        }
        assert!(out.starts_with(b"x\n") && (2..=3).contains(&signs), "{format:?}: {signs}");
        assert_eq!((decoder.read(&mut out).unwrap(), decoder.damage()), (0, None));
    }
}

#[test]
fn the_format_is_told_by_the_first_bytes() {
    let path = std::env::temp_dir().join(format!("tallyd-decode-{}", std::process::id()));
    let told = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        format(&File::open(&path).unwrap()).unwrap()
    };
    assert_eq!(FORMATS.map(Compression::name), ["gz", "zst", "bz2", "xz"]);
    for known in FORMATS {
        assert_eq!(told(&pack(known, b"x")), Some(known));
        assert_eq!(told(&pack(known, b"")), Some(known));
        assert_eq!(told(&pack(known, b"x")[..1]), None);
    }
    assert_eq!(told(b"\x52\x2a\x4d\x18\x04\0\0\0"), Some(Compression::Zst));
    for plain in [&b""[..], b"BZh", b"BZh9 - - [", b"(x", b"203.0.113.7 - - ["] {
        assert_eq!(told(plain), None);
    }
    std::fs::remove_file(&path).unwrap();
}
