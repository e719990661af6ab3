//! From where an item stands to its text, and the id to where it is kept. Reads nothing.
//! **Invariant:** what is not valid UTF-8 is taken over as what it means, and lent from there.

use super::scan::{Scan, Span};
use super::{Decoder, EventRef, Found, ItemRef, Mode, Place};

impl Decoder {
    /// Makes text of what was found, and commits the id.
    #[inline]
    pub(super) fn present<'d, 'i: 'd>(&'d mut self, scan: &mut Scan<'i>, found: Found) -> ItemRef<'d> {
        match found {
            Found::Event { data, event, id, retry_ms } => {
                let has_id = self.commit(scan, id);
                let event = match event {
                    Place::Absent => Some("message"),
                    Place::Chunk(span) => self.name(scan, span),
                    Place::Held => None,
                };
                let data = match data {
                    Place::Chunk(span) => self.text(scan, span),
                    Place::Held | Place::Absent => None,
                };
                let Self { block, last_event_id, .. } = self;
                let event = match event.unwrap_or_else(|| block.event.as_str()) {
                    "" => "message",
                    name => name,
                };
                ItemRef::Event(EventRef {
                    event,
                    data: match data {
                        Some(data) => data,
                        None => block.data.finish(),
                    },
                    has_id,
                    retry_ms,
                    last_event_id,
                })
            }
            Found::Id(id) => {
                self.commit(scan, id);
                ItemRef::Id(&self.last_event_id)
            }
            Found::Retry(retry_ms) => ItemRef::Retry(retry_ms),
            Found::RetryReset => ItemRef::RetryReset,
            Found::Comment(place) => {
                let lent = if let Place::Chunk(span) = place {
                    let text = scan.text(span);
                    if text.is_none() {
                        self.comment.set(scan.get(span));
                    }
                    text
                } else {
                    None
                };
                ItemRef::Comment(lent.unwrap_or_else(|| self.comment.as_str()))
            }
        }
    }

    /// The data as the chunk has it; otherwise it is taken over as what it means.
    #[inline]
    pub(super) fn text<'i>(&mut self, scan: &mut Scan<'i>, span: Span) -> Option<&'i str> {
        let text = scan.text(span);
        if text.is_none() {
            self.hold_data(scan.get(span));
            self.lend();
        }
        text
    }

    #[inline]
    pub(super) fn name<'i>(&mut self, scan: &mut Scan<'i>, span: Span) -> Option<&'i str> {
        let text = scan.text(span).filter(|text| !text.as_bytes().contains(&0));
        if text.is_none() {
            self.block.set_event(scan.get(span));
            self.lend();
        }
        text
    }

    /// The block holds what is being told, and is to be cleared before anything else is read.
    #[cold]
    pub(super) fn lend(&mut self) {
        self.block.is_over = true;
        self.mode = Mode::Other;
    }

    /// Whether there was an id, which is the last one now.
    #[inline]
    pub(super) fn commit(&mut self, scan: &mut Scan<'_>, id: Place) -> bool {
        match id {
            Place::Absent => return false,
            Place::Chunk(span) => match scan.text(span) {
                Some(text) => self.last_event_id.assign(text),
                None => {
                    self.block.id.set(scan.get(span));
                    self.last_event_id.assign(self.block.id.as_str());
                    self.lend();
                }
            },
            Place::Held => self.last_event_id.assign(self.block.id.as_str()),
        }
        true
    }
}
