//! Standard input as lines: text or a complaint, each with its number. Pure; memory is one line within its limit.

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end (LF or CRLF).
    Text {
        /// Counted from 1.
        number: u64,
        /// What stands in it.
        text: String,
    },
    /// A line that cannot be an event.
    Bad {
        /// Counted from 1.
        number: u64,
        /// Why not.
        why: BadLine,
    },
}

/// Why a line cannot be an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    /// It is longer than the limit. Its rest is skipped.
    TooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// Its bytes are not UTF-8.
    NotText,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { limit_bytes } => {
                write!(f, "it is longer than --line-bytes-max ({limit_bytes} bytes)")
            }
            Self::NotText => f.write_str("it is not UTF-8"),
        }
    }
}

/// Splits chunks into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    limit_bytes: usize,
    line: Vec<u8>,
    /// The present line is over the limit: its bytes are dropped until it ends.
    skipping: bool,
    /// Of the line before the present one.
    number: u64,
}

impl Lines {
    /// A splitter for lines of at most so many bytes.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, line: Vec::new(), skipping: false, number: 0 }
    }

    /// Reads from the front of `input` until a line ends, or until `input` is used up.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<Line> {
        let Some((text, rest)) =
            input.iter().position(|byte| *byte == b'\n').and_then(|at| input.split_at_checked(at))
        else {
            self.feed(std::mem::take(input));
            return None;
        };
        self.feed(text);
        *input = rest.get(1..).unwrap_or_default();
        Some(self.end_line())
    }

    /// The input has ended: what stands behind the last line end is a line, if there is anything.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        let something = self.skipping || !self.line.is_empty();
        something.then(|| self.end_line())
    }

    fn feed(&mut self, piece: &[u8]) {
        // One more byte is held than allowed: it may be the CR of the line's end.
        if self.skipping || piece.len() > (self.limit_bytes + 1).saturating_sub(self.line.len()) {
            self.skipping = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self) -> Line {
        self.number += 1;
        let number = self.number;
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let too_long = std::mem::take(&mut self.skipping) || line.len() > self.limit_bytes;
        if too_long {
            return Line::Bad { number, why: BadLine::TooLong { limit_bytes: self.limit_bytes } };
        }
        match String::from_utf8(line) {
            Ok(text) => Line::Text { number, text },
            Err(_) => Line::Bad { number, why: BadLine::NotText },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `bytes`, the same wherever they are cut.
    fn check(limit_bytes: usize, bytes: &[u8], expected: &[Result<&str, BadLine>]) {
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let mut lines = Lines::new(limit_bytes);
            let mut seen = Vec::new();
            for mut chunk in [head, tail] {
                while let Some(line) = lines.next(&mut chunk) {
                    seen.push(line);
                }
                assert!(chunk.is_empty());
                assert!(lines.line.len() <= limit_bytes + 1);
            }
            seen.extend(lines.finish());
            let wanted: Vec<Line> = (1..)
                .zip(expected)
                .map(|(number, line)| match line {
                    Ok(text) => Line::Text { number, text: (*text).to_owned() },
                    Err(why) => Line::Bad { number, why: *why },
                })
                .collect();
            assert_eq!(seen, wanted, "{bytes:?} cut at {cut}");
        }
    }

    #[test]
    fn lines_end_with_lf_or_crlf_or_the_input() {
        check(10, b"", &[]);
        check(10, b"a", &[Ok("a")]);
        check(10, b"a\n", &[Ok("a")]);
        check(10, b"a\r\nb\n\n c ", &[Ok("a"), Ok("b"), Ok(""), Ok(" c ")]);
        check(10, b"a\rb\n", &[Ok("a\rb")]);
        check(10, "ü\né\n".as_bytes(), &[Ok("ü"), Ok("é")]);
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_one_is_read() {
        let too_long = Err(BadLine::TooLong { limit_bytes: 3 });
        check(3, b"abc\nabcd\nabc\r\nabcd\r\nx", &[Ok("abc"), too_long, Ok("abc"), too_long, Ok("x")]);
        check(3, b"abcdefghijkl", &[too_long]);
        check(9, b"ok\n\xff\xfe\nok\n", &[Ok("ok"), Err(BadLine::NotText), Ok("ok")]);
    }
}
