//! What a history can be guilty of.

use std::fmt;

/// One breach. Texts are as the history was told them; `reader` is a reader's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The test gave a `ReaderId` or `PublishId` of another history.
    Stranger,
    /// The test sent one value as two publishes: nothing can be told apart then.
    ValueSentTwice {
        /// The value.
        value: Box<str>,
    },
    /// A text that should be an id is none.
    NotAnId {
        /// Who gave it: a reader, a value, or a call.
        by: Box<str>,
        /// The text.
        text: Box<str>,
    },
    /// One publish was acknowledged at two places.
    AckedTwice {
        /// What was published.
        value: Box<str>,
        /// The first answer.
        first: Box<str>,
        /// The other.
        then: Box<str>,
    },
    /// A value was read that nobody sent.
    NeverSent {
        /// Who read it.
        reader: Box<str>,
        /// Under which id.
        id: Box<str>,
        /// The value.
        value: Box<str>,
    },
    /// What was refused for certain was read all the same.
    RefusedSeen {
        /// Who read it.
        reader: Box<str>,
        /// The value.
        value: Box<str>,
    },
    /// One position means two values.
    TwoValues {
        /// The position.
        id: Box<str>,
        /// One value.
        one: Box<str>,
        /// The other.
        other: Box<str>,
    },
    /// An id carries another publisher's id than the event was published with.
    WrongPublisherId {
        /// The value.
        value: Box<str>,
        /// What was read, or acknowledged.
        id: Box<str>,
    },
    /// One value stands at two positions, and was acknowledged at none.
    TwoIds {
        /// The value.
        value: Box<str>,
        /// One id.
        one: Box<str>,
        /// The other.
        other: Box<str>,
    },
    /// The id that was read is not the one that was acknowledged.
    IdNotAcked {
        /// The value.
        value: Box<str>,
        /// What the publisher was told.
        acked: Box<str>,
        /// What a reader was told.
        seen: Box<str>,
    },
    /// The label names a topic that the event was not published to.
    WrongTopic {
        /// Who read it.
        reader: Box<str>,
        /// Under which id.
        id: Box<str>,
        /// The label.
        topic: Box<str>,
    },
    /// A reader got what it had not asked for.
    Unwanted {
        /// Who.
        reader: Box<str>,
        /// Under which id.
        id: Box<str>,
    },
    /// A reader got a private event that it has no grant for.
    Leaked {
        /// Who.
        reader: Box<str>,
        /// Under which id.
        id: Box<str>,
    },
    /// A reader was owed an event, went past it (or was caught up), and was told no gap.
    Hole {
        /// Who.
        reader: Box<str>,
        /// What it should have been told.
        missed: Box<str>,
        /// Its value.
        value: Box<str>,
        /// Whether it is missing right behind the place where the reader came back.
        at_resume: bool,
    },
    /// A reader came back with an id that says nothing here any more, and was not told a gap first.
    NotToldGap {
        /// Who.
        reader: Box<str>,
        /// What it came back with.
        asked: Box<str>,
    },
    /// A reader read the same event again.
    Duplicate {
        /// Who.
        reader: Box<str>,
        /// Under which id.
        id: Box<str>,
    },
    /// A reader's position went back.
    Inversion {
        /// Who.
        reader: Box<str>,
        /// Where it went.
        id: Box<str>,
        /// Where it had been.
        after: Box<str>,
    },
    /// A reader came back with another place than the one it was at: the client lost or invented a cursor.
    ResumedElsewhere {
        /// Who.
        reader: Box<str>,
        /// Where it asked to go on.
        asked: Box<str>,
        /// Where it was.
        cursor: Box<str>,
    },
}

impl Violation {
    /// A check ends after this many: a broken run breaks everywhere.
    pub const COUNT_MAX: usize = 1_000;
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("the test used an id of another history"),
            Self::ValueSentTwice { value } => {
                write!(f, "the test sent {value:?} twice; values must be unique")
            }
            Self::NotAnId { by, text } => write!(f, "{by} gave {text:?}, which is no id"),
            Self::AckedTwice { value, first, then } => {
                write!(f, "{value:?} was acked at {first} and then at {then}")
            }
            Self::NeverSent { reader, id, value } => {
                write!(f, "{reader} read {value:?} at {id}, which nobody sent")
            }
            Self::RefusedSeen { reader, value } => write!(f, "{reader} read {value:?}, which was refused"),
            Self::TwoValues { id, one, other } => write!(f, "{id} means {one:?} and {other:?}"),
            Self::WrongPublisherId { value, id } => {
                write!(f, "{value:?} is called {id}, which is not the publisher's id for it")
            }
            Self::TwoIds { value, one, other } => write!(f, "{value:?} is at {one} and at {other}"),
            Self::IdNotAcked { value, acked, seen } => {
                write!(f, "{value:?} was acked at {acked} and read at {seen}")
            }
            Self::WrongTopic { reader, id, topic } => {
                write!(f, "{reader} read {id} labelled {topic:?}, where it was not published")
            }
            Self::Unwanted { reader, id } => write!(f, "{reader} got {id} and had not asked for it"),
            Self::Leaked { reader, id } => write!(f, "{reader} got the private event {id} without a grant"),
            Self::Hole { reader, missed, value, at_resume } => {
                let place = if *at_resume { ", right after it came back" } else { "" };
                write!(f, "{reader} was never told {missed} ({value:?}), nor a gap{place}")
            }
            Self::NotToldGap { reader, asked } => {
                write!(f, "{reader} came back at {asked:?}, which is void, and was told no gap")
            }
            Self::Duplicate { reader, id } => write!(f, "{reader} read {id} again"),
            Self::Inversion { reader, id, after } => {
                write!(f, "{reader} was at {after} and was sent to {id}")
            }
            Self::ResumedElsewhere { reader, asked, cursor } => {
                write!(f, "{reader} was at {cursor} and came back with {asked}")
            }
        }
    }
}
