//! A connection, as small as it can be: there may be a million of them.

use std::net::TcpStream;
use std::task::Waker;

use tidings_hub::{Seq, Subscription};

use crate::door::{AnswerFuture, Then};
use crate::groups::GroupKey;

/// A connection's number in the slab.
pub type Key = u32;

/// A connection's number, and which of those that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub(crate) key: Key,
    pub(crate) generation: u32,
}

impl Token {
    /// As the system keeps it with a descriptor.
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.key)
    }

    #[expect(clippy::cast_possible_truncation, reason = "two halves of 32 bits")]
    pub(crate) fn from_u64(data: u64) -> Self {
        Self { key: data as u32, generation: (data >> 32) as u32 }
    }
}

/// A connection.
pub(crate) struct Conn {
    pub(crate) socket: TcpStream,
    pub(crate) generation: u32,
    /// When something has to be done if nothing happens before, in ticks.
    pub(crate) due: u32,
    /// The tick it stands under in the wheel.
    pub(crate) wheel: u32,
    /// The peer may have sent something that was not read.
    pub(crate) readable: bool,
    /// The peer sends no more.
    pub(crate) eof: bool,
    /// Nothing has come yet.
    pub(crate) fresh: bool,
    /// It lags: its socket was full, and it waits until it can write.
    pub(crate) lags: bool,
    /// When the oldest event that it lacks came, if it lags: seconds, modulo their range.
    pub(crate) behind_s: u16,
    /// Reads of bytes that nobody asked for, during a stream.
    pub(crate) noise: u8,
    pub(crate) state: State,
}

pub(crate) enum State {
    /// Waits for a request, of which this much has come.
    Reading(Vec<u8>),
    /// An answer is under way.
    Working(Box<Work>),
    /// An answer is being written.
    Writing(Box<Out>),
    /// A subscriber that lacks nothing, or lags within the hot log.
    Live(Cursor),
    /// A subscriber that catches up.
    Fed(Box<Fed>),
}

pub(crate) struct Work {
    pub(crate) answer: AnswerFuture,
    pub(crate) waker: Waker,
    /// What came after the request.
    pub(crate) rest: Vec<u8>,
}

pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) then: Then,
    /// What came after the request.
    pub(crate) rest: Vec<u8>,
}

/// A live subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// Every record up to here has been considered. If a part of a frame went out, it is the frame of the next place.
    pub(crate) through: Seq,
    pub(crate) group: GroupKey,
    /// Its place among the members.
    pub(crate) member: u32,
    /// Bytes of the next frame that went out,
    pub(crate) offset: u32,
    /// and that did not; both are zero between frames.
    pub(crate) rest: u32,
}

pub(crate) struct Fed {
    pub(crate) subscription: Box<Subscription>,
    pub(crate) waker: Waker,
    pub(crate) out: Vec<u8>,
    pub(crate) sent: usize,
    /// Bytes that are lacking to the chunk that was begun before.
    pub(crate) open: usize,
    /// The stream is over when `out` is written.
    pub(crate) ends: bool,
}

/// The states stay small; what is large is behind a pointer.
const _: () = assert!(size_of::<Conn>() <= 64);
