//! Parquet's runs of small numbers: levels and places in dictionaries.
//!
//! [The format](https://parquet.apache.org/docs/file-format/data-pages/encodings/) calls it the
//! RLE/bit-packing hybrid.

/// Appends `count` numbers of `width` bits to `out`; `None` when these bytes hold fewer.
pub(super) fn decode<N: From<u8> + TryFrom<u64> + Copy>(
    mut bytes: &[u8],
    width: u32,
    count: usize,
    out: &mut Vec<N>,
) -> Option<()> {
    if width > u32::BITS {
        return None;
    }
    let wanted = out.len() + count;
    let wide = width.div_ceil(8) as usize;
    while out.len() < wanted {
        if width == 0 && bytes.is_empty() {
            // A page in which all is the only thing there is may say so with nothing.
            out.resize(wanted, N::from(0));
            break;
        }
        let head = varint(&mut bytes)?;
        let left = wanted - out.len();
        let many = usize::try_from(head >> 1).ok()?;
        if head & 1 == 0 {
            let mut number = [0; 8];
            number[..wide].copy_from_slice(bytes.get(..wide)?);
            bytes = &bytes[wide..];
            let number = N::try_from(u64::from_le_bytes(number)).ok()?;
            out.resize(out.len() + many.min(left), number);
        } else {
            let all = many.checked_mul(width as usize)?;
            // The last group may be cut off where its numbers end.
            let here = bytes.len().min(all);
            let (packed, rest) = bytes.split_at(here);
            let there = if width == 0 { left } else { here * 8 / width as usize };
            let taken = many.checked_mul(8)?.min(left);
            if taken > there {
                return None;
            }
            unpack(packed, width, taken, out)?;
            bytes = rest;
        }
        if many == 0 {
            return None;
        }
    }
    Some(())
}

/// The first `count` of these numbers, which are there.
fn unpack<N: TryFrom<u64>>(
    packed: &[u8],
    width: u32,
    count: usize,
    out: &mut Vec<N>,
) -> Option<()> {
    let mask = (1_u64 << width) - 1;
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut bytes = packed.iter();
    for _ in 0..count {
        while have < width {
            bits |= u64::from(*bytes.next()?) << have;
            have += 8;
        }
        out.push(N::try_from(bits & mask).ok()?);
        bits >>= width;
        have -= width;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
