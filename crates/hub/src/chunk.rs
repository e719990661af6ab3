//! A frame as a chunk of HTTP/1.1: `size CRLF frame CRLF` (RFC 9112, 7.1). The hot log keeps frames like this, so
//! that a plain connection is written to from there and other bodies take the inside.
//!
//! **Invariant:** the size is written in the fewest digits, so the parts of a chunk follow from its length alone.

/// The end of a chunked body.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Appends a chunk. An empty one would end the body: nothing is appended then.
pub fn write(inner: &[u8], out: &mut Vec<u8>) {
    if inner.is_empty() {
        return;
    }
    out.reserve(wire_bytes(inner.len()));
    write_head(inner.len(), out);
    out.extend_from_slice(inner);
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands before the inside of a chunk.
pub fn write_head(inner: usize, out: &mut Vec<u8>) {
    let digits = (0..digits(inner)).rev().map(|digit| b"0123456789abcdef"[inner >> (4 * digit) & 0xf]);
    out.extend(digits);
    out.extend_from_slice(b"\r\n");
}

/// The bytes of a chunk with so many inside.
pub const fn wire_bytes(inner: usize) -> usize {
    digits(inner) + 2 + inner + 2
}

/// The bytes before the inside of a chunk that is `wire` bytes long altogether.
pub const fn head_bytes(wire: usize) -> usize {
    let mut digits_ = 1;
    // With one digit more the inside is one byte shorter: the first number that agrees with itself is the one.
    while digits_ < 16 && digits(wire.saturating_sub(digits_ + 4)) > digits_ {
        digits_ += 1;
    }
    digits_ + 2
}

/// What is inside a chunk made by [`write()`].
pub fn inner(wire: &[u8]) -> &[u8] {
    let head = head_bytes(wire.len());
    wire.get(head..wire.len().saturating_sub(2)).unwrap_or_default()
}

const fn digits(number: usize) -> usize {
    let bits = (usize::BITS - number.leading_zeros()) as usize;
    if bits == 0 { 1 } else { bits.div_ceil(4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_apart_by_its_length_alone() {
        for bytes in (1..=600).chain(4_090..4_100).chain(65_530..65_540).chain(1_048_570..1_048_580) {
            let frame = vec![b'x'; bytes];
            let mut wire = Vec::new();
            write(&frame, &mut wire);
            assert_eq!(wire.len(), wire_bytes(bytes), "{bytes}");
            assert!(wire.starts_with(format!("{bytes:x}\r\nx").as_bytes()) && wire.ends_with(b"x\r\n"));
            assert_eq!(inner(&wire), frame, "{bytes}");
        }
        let mut nothing = Vec::new();
        write(b"", &mut nothing);
        assert!(nothing.is_empty() && inner(&nothing).is_empty());
    }
}
