//! Lines that the end of a chunk has cut, taken over piece by piece.
//! **Invariants:** every piece is copied once, to where it belongs; what is not kept is not copied.

use core::mem;

use super::block::FIELD_KEPT_BYTES;
use super::line::{self, Field, Line};
use super::scan::{Scan, Span};
use super::{BOM, DecodeError, Decoder, Found, Place, Start};

impl Decoder {
    /// Goes on with what the chunk before has left open: the beginning of the stream, a CR, a line.
    pub(super) fn resume(&mut self, scan: &mut Scan<'_>) -> Result<Option<Found>, DecodeError> {
        if matches!(self.start, Start::Bom(_)) {
            self.skip_bom(scan)?;
        }
        if scan.is_empty() {
            return Ok(None);
        }
        if mem::take(&mut self.swallow_lf) && scan.rest().starts_with(b"\n") {
            scan.move_to(scan.at() + 1);
        }
        if self.line.is_empty() {
            return Ok(None);
        }
        let start = scan.at();
        let Some(end) = scan.first_line_end() else {
            let piece = scan.rest();
            scan.move_to_end();
            self.feed(piece)?;
            return Ok(None);
        };
        self.swallow_lf = !scan.pass(end);
        self.feed(scan.get(Span { start, end }))?;
        self.end_line()
    }

    pub(super) fn skip_bom(&mut self, scan: &mut Scan<'_>) -> Result<(), DecodeError> {
        while let Start::Bom(read) = self.start {
            let Some(byte) = scan.rest().first() else { break };
            match BOM.get(read) {
                Some(expected) if expected == byte => {
                    self.start = Start::Bom(read + 1);
                    scan.move_to(scan.at() + 1);
                }
                Some(_) => {
                    // No BOM after all: what looked like one is the beginning of the first line.
                    self.start = Start::Over;
                    self.feed(BOM.get(..read).unwrap_or_default())?;
                }
                None => self.start = Start::Over,
            }
        }
        Ok(())
    }

    /// The beginning of a line that the chunk's end cuts.
    pub(super) fn begin_line(&mut self, scan: &mut Scan<'_>) -> Result<(), DecodeError> {
        let mut piece = scan.rest();
        if let Some(start) = line::data_start(scan.word(scan.at())) {
            // The space may be still to come.
            self.line = Line::Value { field: Field::Data, at_start: piece.len() <= 5 };
            self.begin_value(Field::Data)?;
            piece = piece.get(start..).unwrap_or_default();
        }
        scan.move_to_end();
        self.feed(piece)
    }

    /// Takes a piece of the line that the chunk's end has cut; it holds no line end.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), DecodeError> {
        if let Some(field) = self.line.read_name(&mut piece) {
            self.begin_value(field)?;
        }
        let Some(field) = self.line.read_value_start(&mut piece) else { return Ok(()) };
        match field {
            Field::Unknown => return Ok(()),
            Field::Comment if !self.comments => return Ok(()),
            _ => self.check_room(piece.len())?,
        }
        if field == Field::Data {
            self.hold_piece(piece);
        } else {
            self.count_copied(piece.len());
            self.value.extend_from_slice(piece);
        }
        Ok(())
    }

    /// A piece of a data line that was begun; there is room.
    #[inline]
    pub(super) fn hold_piece(&mut self, piece: &[u8]) {
        self.count_copied(piece.len());
        self.block.data.push(piece);
        self.block.data_bytes += piece.len();
    }

    /// The name of the current line is known.
    pub(super) fn begin_value(&mut self, field: Field) -> Result<(), DecodeError> {
        if field == Field::Data {
            if self.block.has_data {
                self.check_room(1)?;
                self.block.data_bytes += 1;
            }
            self.block.begin_data();
        }
        Ok(())
    }

    /// The line that was taken over in pieces is complete.
    pub(super) fn end_line(&mut self) -> Result<Option<Found>, DecodeError> {
        let field = match mem::take(&mut self.line) {
            // A line without a colon is a field with an empty value.
            Line::Name(name) => {
                let field = name.field();
                self.begin_value(field)?;
                field
            }
            Line::Value { field, .. } => field,
        };
        let found = match field {
            Field::Data | Field::Unknown => return Ok(None),
            Field::Comment => self.comments.then(|| {
                self.comment.set(&self.value);
                Found::Comment(Place::Held)
            }),
            Field::Event => {
                self.block.set_event(&self.value);
                self.block.event_bytes = self.value.len();
                None
            }
            Field::Id => {
                // With a NUL the field is ignored: an id before it in the same block stays.
                if !self.value.contains(&0) {
                    self.block.id.set(&self.value);
                    self.block.id_bytes = self.value.len();
                }
                None
            }
            Field::Retry => {
                let value = mem::take(&mut self.value);
                let found = self.retry(&value);
                self.value = value;
                found
            }
        };
        self.value.clear();
        self.value.shrink_to(FIELD_KEPT_BYTES);
        Ok(found)
    }

    /// A `retry` field counts as soon as it is read.
    pub(super) fn retry(&mut self, value: &[u8]) -> Option<Found> {
        if value.is_empty() {
            self.block.retry_ms = None;
            return Some(Found::RetryReset);
        }
        let retry_ms = line::digits(value)?;
        self.block.retry_ms = Some(retry_ms);
        Some(Found::Retry(retry_ms))
    }
}
