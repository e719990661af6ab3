//! What the reactor must be told about HTTP: the front door's side of it.

use std::fmt;
use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;

use tidings_hub::live::Carried;

/// An answer on its way. It is polled on the reactor's thread and must not block it.
pub type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What some bytes are, which begin where a request begins.
pub enum Look {
    /// A part of a request that may be for the reactor.
    More,
    /// Nothing for the reactor.
    Other,
    /// A whole request.
    Request {
        /// How many of the bytes it has.
        bytes: usize,
        /// What will answer it.
        answer: AnswerFuture,
    },
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::More => f.write_str("More"),
            Self::Other => f.write_str("Other"),
            Self::Request { bytes, .. } => write!(f, "Request({bytes})"),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its bytes; of a stream, those up to the body, which is chunked.
    pub bytes: Vec<u8>,
    /// What comes after them.
    pub then: Then,
}

/// What comes after an answer.
#[derive(Debug)]
pub enum Then {
    /// The next request.
    Next,
    /// The end of the connection.
    Close,
    /// A stream of events.
    Stream(Carried),
}

/// What knows HTTP. All of it is called on the reactor's thread and must not block it.
pub trait Door: Send {
    /// What a connection has sent.
    fn look(&mut self, bytes: &[u8]) -> Look;

    /// Takes a connection that is nothing for the reactor, with what was read of it.
    fn hand_off(&mut self, socket: TcpStream, read: Vec<u8>);

    /// Whether there is room for one more connection; if so, the room is taken.
    fn take_room(&mut self) -> bool;

    /// The room that was taken last is not needed.
    fn give_room_back(&mut self);

    /// A connection is there, in the room that was taken last.
    fn opened(&mut self);

    /// A connection is gone (not: handed off), and its room free.
    fn left(&mut self);

    /// The system refuses to accept.
    fn accept_failed(&mut self, error: &std::io::Error);
}
