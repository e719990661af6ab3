//! The codec for `tokio_util::codec::{FramedRead, FramedWrite}`: sockets, pipes, anything that is read and written.
//! Feature `tokio-util`. Knows no HTTP.

use core::fmt;
use std::io;
use std::vec::Vec;

use bytes::{Buf as _, BytesMut};

use crate::{DecodeError, Decoder, Event, Item, encode};

/// Reads items and writes events.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # futures_executor::block_on(async {
/// use futures_util::{SinkExt as _, StreamExt as _};
/// use tidings_codec::{Event, FramedCodec, Item};
/// use tokio_util::codec::{FramedRead, FramedWrite};
///
/// let mut wire = Vec::new();
/// let mut writer = FramedWrite::new(&mut wire, FramedCodec::default());
/// writer.send(Event::new("hello")).await?;
///
/// let mut reader = FramedRead::new(wire.as_slice(), FramedCodec::default());
/// let Some(Item::Event(message)) = reader.next().await.transpose()? else { panic!("one event") };
/// assert_eq!(message.data, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })
/// # }
/// ```
#[derive(Debug, Default)]
pub struct FramedCodec {
    decoder: Decoder,
    out: Vec<u8>,
}

impl FramedCodec {
    /// Reads with a decoder of the caller's: its limits, its last event id, comments.
    #[must_use]
    pub fn with_decoder(decoder: Decoder) -> Self {
        Self { decoder, out: Vec::new() }
    }

    /// The decoder, for the last event id and for the next connection.
    #[must_use]
    pub fn into_decoder(mut self) -> Decoder {
        self.decoder.finish();
        self.decoder
    }
}

impl tokio_util::codec::Decoder for FramedCodec {
    type Item = Item;
    type Error = FramedError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Item>, FramedError> {
        let mut rest: &[u8] = source;
        let item = self.decoder.next(&mut rest).map(|item| item.map(|item| item.to_owned()));
        let read_bytes = source.len() - rest.len();
        source.advance(read_bytes);
        item.map_err(FramedError::Decode)
    }

    /// The end discards what is pending (HTML, 9.2.6).
    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Item>, FramedError> {
        let item = self.decode(source)?;
        if item.is_none() {
            self.decoder.finish();
        }
        Ok(item)
    }
}

impl tokio_util::codec::Encoder<&Event> for FramedCodec {
    type Error = io::Error;

    fn encode(&mut self, event: &Event, out: &mut BytesMut) -> io::Result<()> {
        encode(event, &mut self.out);
        out.extend_from_slice(&self.out);
        self.out.clear();
        // One large event shall not be paid for by all others.
        self.out.shrink_to(64 * 1024);
        Ok(())
    }
}

impl tokio_util::codec::Encoder<Event> for FramedCodec {
    type Error = io::Error;

    fn encode(&mut self, event: Event, out: &mut BytesMut) -> io::Result<()> {
        self.encode(&event, out)
    }
}

/// Why a framed stream of events ended before its time.
#[derive(Debug)]
#[non_exhaustive]
pub enum FramedError {
    /// The bytes could not be had.
    Io(io::Error),
    /// What came cannot be read: see [`DecodeError`].
    Decode(DecodeError),
}

impl fmt::Display for FramedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "the event stream broke off",
            Self::Decode(_) => "the event stream cannot be read",
        })
    }
}

impl core::error::Error for FramedError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Decode(error) => Some(error),
        }
    }
}

impl From<io::Error> for FramedError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
