//! A listener per type of event, for those who think in `addEventListener`: a thin layer over the stream.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream as _;

use crate::{EventSource, Message, SourceError, SourceEvent};

type OnMessage<'a> = Box<dyn FnMut(Message) + Send + 'a>;
type OnOther<'a> = Box<dyn FnMut(SourceEvent) + Send + 'a>;

/// Listeners by type of event. One per type: a later one takes the place of an earlier one.
///
/// ```no_run
/// use tidings_client::{EventSource, Listeners, SourceEvent};
///
/// # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
/// let mut source = EventSource::builder("http://127.0.0.1:4000/topics/news").build()?;
/// let mut listeners = Listeners::new()
///     .on("price", |message| println!("it costs {}", message.data))
///     .on_message(|message| println!("{}", message.data))
///     .on_other(|event| {
///         if let SourceEvent::Reconnecting { cause, .. } = event {
///             eprintln!("{cause}");
///         }
///     });
/// listeners.run(&mut source).await?; // until the source ends
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use = "listeners hear nothing until they are run"]
pub struct Listeners<'a> {
    by_type: HashMap<Box<str>, OnMessage<'a>>,
    other: Option<OnOther<'a>>,
}

impl<'a> Listeners<'a> {
    /// None yet: what nobody listens to is dropped, as in a browser.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens to events of this type.
    pub fn on(mut self, event: &str, listener: impl FnMut(Message) + Send + 'a) -> Self {
        self.by_type.insert(event.into(), Box::new(listener));
        self
    }

    /// Listens to events without a type, which is the type `message`.
    pub fn on_message(self, listener: impl FnMut(Message) + Send + 'a) -> Self {
        self.on("message", listener)
    }

    /// Listens to everything else: what happens to the connection, and events of types that have no listener.
    pub fn on_other(mut self, listener: impl FnMut(SourceEvent) + Send + 'a) -> Self {
        self.other = Some(Box::new(listener));
        self
    }

    /// Tells one event to whom it concerns.
    pub fn tell(&mut self, event: SourceEvent) {
        let event = match event {
            SourceEvent::Message(message) => match self.by_type.get_mut(message.event.as_str()) {
                Some(listener) => return listener(message),
                None => SourceEvent::Message(message),
            },
            event => event,
        };
        if let Some(listener) = &mut self.other {
            listener(event);
        }
    }

    /// Reads the source to its end, event by event in order. Can be dropped at any await and run again: nothing is
    /// lost.
    ///
    /// # Errors
    /// [`SourceError`]: the source ended for good.
    pub async fn run(&mut self, source: &mut EventSource) -> Result<(), SourceError> {
        while let Some(event) = poll_fn(|cx| Pin::new(&mut *source).poll_next(cx)).await {
            self.tell(event?);
        }
        Ok(())
    }
}

impl fmt::Debug for Listeners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("types", &self.by_type.keys()).finish_non_exhaustive()
    }
}
