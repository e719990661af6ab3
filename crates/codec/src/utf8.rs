//! Bytes to text as the standard asks: invalid sequences become U+FFFD and are never an error.
//! **Invariant:** exactly what `String::from_utf8_lossy` gives on the whole, wherever the bytes were cut.
//!
//! There is no streaming decoder here, because none is needed: the decoder collects bytes and asks for text
//! once a value is complete. Values begin after an ASCII byte and end before one (or before CR or LF, which
//! no sequence continues with), so decoding value by value equals decoding the stream and then splitting it.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The text of `bytes`. Valid bytes are kept in place; only invalid ones cost a copy.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(invalid) => String::from_utf8_lossy(invalid.as_bytes()).into_owned(),
    }
}

/// The text of `bytes`, borrowed where they are valid.
pub(crate) fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
