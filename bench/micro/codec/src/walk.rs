//! A bare walk over lines: what finding the line ends costs, with nothing done about them. A limit, no reader.

use wide::u8x16;

/// Lines and the bytes in them, by 64 bytes at a time.
pub fn lines(stream: &[u8]) -> (usize, usize) {
    let (mut lines, mut text_bytes, mut line_start) = (0, 0, 0);
    let (windows, tail) = stream.as_chunks::<64>();
    let mut from = 0;
    for window in windows {
        let (quarters, _) = window.as_chunks::<16>();
        let mut ends = 0_u64;
        for (at, quarter) in quarters.iter().enumerate() {
            let bytes = u8x16::new(*quarter);
            let either = bytes.simd_eq(u8x16::splat(b'\n')) | bytes.simd_eq(u8x16::splat(b'\r'));
            ends |= u64::from(either.to_bitmask()) << (16 * at);
        }
        while ends != 0 {
            let end = from + ends.trailing_zeros() as usize;
            lines += 1;
            text_bytes += end - line_start;
            line_start = end + 1;
            ends &= ends - 1;
        }
        from += 64;
    }
    for (at, byte) in tail.iter().enumerate() {
        if matches!(byte, b'\n' | b'\r') {
            lines += 1;
            text_bytes += from + at - line_start;
            line_start = from + at + 1;
        }
    }
    (lines, text_bytes)
}
