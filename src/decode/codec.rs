//! The libraries, behind one call: compressed bytes in, bytes out, one member at a time.
//!
//! A *member* is what each format repeats: a gz member, a zst frame, a bz2 or xz stream.
//! Deliberately absent: files, limits, and what may stand between members.

use std::io;

use flate2::FlushDecompress;
use liblzma::stream::Action;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::{
    ZSTD_error_frameParameter_windowTooLarge, ZSTD_error_memory_allocation,
};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, is_error_kind};

use super::{Compression, Damage};

/// The largest window of a zst frame, as a power of two: 64 MiB. All levels up to 21 keep to it; `zstd
/// --ultra -22` and `--long` ask for 128 MiB.
const ZST_WINDOW_LOG_MAX: u32 = 26;
/// What decoding xz may take. The dictionary of `xz -9` is 64 MiB, and about 64 KiB stand beside it.
const XZ_MEMORY_MAX: u64 = 66 << 20;
/// The window of a gz member, as a power of two: 32 KiB, whatever it was made with.
const GZ_WINDOW_LOG: u8 = 15;
/// How much of a zst frame tells how long its header is.
const ZST_START_BYTES: usize = 5;
/// The header of a block within a zst frame.
const ZST_BLOCK_HEADER_BYTES: usize = 3;

/// The decoder of one format.
pub(super) enum Codec {
    Gz(flate2::Decompress),
    Zst {
        context: DCtx<'static>,
        /// How many bytes the next step is to be given.
        want: usize,
    },
    Bz2(bzip2::Decompress),
    Xz(liblzma::stream::Stream),
}

/// What a step did.
pub(super) struct Step {
    /// How many bytes it took.
    pub taken: usize,
    /// How many it gave, be they followed by damage or not.
    pub given: usize,
    /// Has the member ended?
    pub ended: Result<bool, Damage>,
}

impl Codec {
    /// A decoder at the start of a member.
    pub fn new(format: Compression) -> io::Result<Codec> {
        Ok(match format {
            Compression::Gz => Codec::Gz(flate2::Decompress::new_gzip(GZ_WINDOW_LOG)),
            Compression::Zst => {
                let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                context
                    .set_parameter(DParameter::WindowLogMax(ZST_WINDOW_LOG_MAX))
                    .expect("26 is a window that zstd knows");
                Codec::Zst { context, want: ZST_START_BYTES }
            }
            Compression::Bz2 => Codec::Bz2(bzip2::Decompress::new(false)),
            Compression::Xz => Codec::Xz(liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, 0)?),
        })
    }

    /// Makes ready for the next member.
    pub fn restart(&mut self) -> Result<(), Damage> {
        *self = match self {
            // A context goes on to the next frame by itself, and keeps its buffers.
            Codec::Zst { want, .. } => {
                *want = ZST_START_BYTES;
                return Ok(());
            }
            Codec::Gz(decoder) => {
                decoder.reset(true);
                return Ok(());
            }
            Codec::Bz2(_) => Codec::new(Compression::Bz2),
            Codec::Xz(_) => Codec::new(Compression::Xz),
        }
        .map_err(|_| Damage::Memory)?;
        Ok(())
    }

    /// Decodes some of the input. With input and room in the output, it takes or gives something; without
    /// input, it gives what it holds.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self {
            Codec::Gz(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let result = decoder.decompress(input, output, FlushDecompress::None);
                let ended =
                    result.map(|status| status == flate2::Status::StreamEnd).map_err(|_| Damage::Corrupt);
                Step::between(before, (decoder.total_in(), decoder.total_out()), ended)
            }
            Codec::Zst { context, want } => {
                // A step that fails gives nothing. So that only the damaged block is lost, and not all before
                // it that was done in the same step, each step is given one block, or one block's header.
                let mut input = InBuffer::around(input.get(..*want).unwrap_or(input));
                let mut output = OutBuffer::around(output);
                let ended =
                    context.decompress_stream(&mut output, &mut input).map_err(zst_damage).map(|hint| {
                        // The hint is for a block and the header behind it.
                        *want =
                            if hint > ZST_BLOCK_HEADER_BYTES { hint - ZST_BLOCK_HEADER_BYTES } else { hint };
                        hint == 0
                    });
                Step { taken: input.pos(), given: output.pos(), ended }
            }
            Codec::Bz2(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let ended = match decoder.decompress(input, output) {
                    Ok(bzip2::Status::StreamEnd) => Ok(true),
                    Ok(bzip2::Status::MemNeeded) => Err(Damage::Memory),
                    Ok(_) => Ok(false),
                    Err(_) => Err(Damage::Corrupt),
                };
                Step::between(before, (decoder.total_in(), decoder.total_out()), ended)
            }
            Codec::Xz(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let ended = match decoder.process(input, output, Action::Run) {
                    Ok(status) => Ok(status == liblzma::stream::Status::StreamEnd),
                    Err(liblzma::stream::Error::MemLimit | liblzma::stream::Error::Mem) => {
                        Err(Damage::Memory)
                    }
                    Err(_) => Err(Damage::Corrupt),
                };
                Step::between(before, (decoder.total_in(), decoder.total_out()), ended)
            }
        }
    }
}

impl Step {
    /// By the totals of bytes taken and given, before and after.
    fn between(before: (u64, u64), after: (u64, u64), ended: Result<bool, Damage>) -> Step {
        Step { taken: (after.0 - before.0) as usize, given: (after.1 - before.1) as usize, ended }
    }
}

fn zst_damage(code: usize) -> Damage {
    let memory = [ZSTD_error_frameParameter_windowTooLarge, ZSTD_error_memory_allocation];
    if memory.into_iter().any(|kind| is_error_kind(code, kind)) { Damage::Memory } else { Damage::Corrupt }
}
