//! Whether a pattern selects a topic, by the plain definition: `*` is any run without `/`, `**` any run at all.

/// Whether any of the patterns selects the topic.
pub(super) fn any(patterns: &[Box<str>], topic: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, topic))
}

/// Whether the pattern selects the topic. One row of the table per part of the pattern: `row[i]` says whether
/// the parts so far match the first `i` bytes.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    let topic = topic.as_bytes();
    let mut row = vec![false; topic.len() + 1];
    row[0] = true;
    let mut rest = pattern.as_bytes();
    loop {
        let (next, left) = match rest {
            [] => return row[topic.len()],
            [b'*', b'*', left @ ..] => (star(&row, topic, |_| true), left),
            [b'*', left @ ..] => (star(&row, topic, |byte| byte != b'/'), left),
            [literal, left @ ..] => {
                let mut next = vec![false; row.len()];
                for (at, byte) in topic.iter().enumerate() {
                    next[at + 1] = row[at] && byte == literal;
                }
                (next, left)
            }
        };
        (row, rest) = (next, left);
    }
}

fn star(row: &[bool], topic: &[u8], takes: impl Fn(u8) -> bool) -> Vec<bool> {
    let mut next = row.to_vec();
    for (at, byte) in topic.iter().enumerate() {
        next[at + 1] |= next[at] && takes(*byte);
    }
    next
}
