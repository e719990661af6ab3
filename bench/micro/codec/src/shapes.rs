//! The streams that are read. Built once and never freed, so that every reader can have them for nothing.

/// A stream in the pieces in which it arrives.
pub struct Shape {
    pub name: &'static str,
    pub about: &'static str,
    pub chunks: Vec<&'static [u8]>,
    pub bytes: usize,
    /// Events in it, by construction.
    pub events: usize,
}

impl Shape {
    fn new(
        name: &'static str,
        about: &'static str,
        events: usize,
        chunk_bytes: usize,
        event: impl Fn(usize) -> String,
    ) -> Self {
        let stream: String = (0..events).map(event).collect();
        let stream: &'static [u8] = Vec::leak(stream.into_bytes());
        Self {
            name,
            about,
            chunks: stream.chunks(chunk_bytes).collect(),
            bytes: stream.len(),
            events: stream.windows(2).filter(|two| two == b"\n\n").count(),
        }
    }

    /// For shapes whose blank lines are not all ends of events.
    fn with_events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }
}

const WHOLE: usize = usize::MAX;

/// All shapes, in the order of the table.
pub fn all() -> Vec<Shape> {
    let letters = |from: usize, bytes: usize| -> String {
        (0..bytes)
            .map(|at| char::from(b"abcdefghijklmnopqrstuvwxyz {}\":,.0123456789"[(from * 7 + at * 5) % 43]))
            .collect()
    };
    let full = move |at: usize| format!("id: 1.{at:06x}\nevent: reading\ndata: {}\n\n", letters(at, 84));
    let delta = |at: usize| {
        let token = ["Hello", " world", ",", " how", " are", " you", "?", "\\n"][at % 8];
        format!(
            "data: {{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\
             \"created\":1741569952,\"model\":\"a-model-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{token}\"}},\
             \"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        )
    };
    let chinese: String = "消息来自服务器的事件流，每一行都是一个字段。".chars().cycle().take(341).collect();
    let long = 8 * 1024 * 1024;
    vec![
        Shape::new("tiny", "`data: x`, one chunk of 144 KiB", 16 * 1024, WHOLE, |_| "data: x\n\n".into()),
        Shape::new("120 B", "id, event and data, 120 B, one chunk of 240 KiB", 2048, WHOLE, full),
        Shape::new("120 B cut", "the same in chunks of 1,400 B", 2048, 1400, full),
        Shape::new("1 KiB", "one data line of 1 KiB, one chunk of 256 KiB", 256, WHOLE, move |at| {
            format!("data: {}\n\n", letters(at, 1024))
        }),
        Shape::new("40 KiB", "one data line of 40 KiB, one chunk of 320 KiB", 8, WHOLE, move |at| {
            format!("data: {}\n\n", letters(at, 40 * 1024))
        }),
        Shape::new(
            "comments",
            "`: keep-alive` and a blank line, one chunk of 224 KiB; one event at its end",
            16 * 1024,
            WHOLE,
            |at| {
                if at == 16 * 1024 - 1 { "data: x\n\n".into() } else { ": keep-alive\n\n".into() }
            },
        )
        .with_events(1),
        Shape::new("LLM 16 B", "deltas of a language model, 236 B, in chunks of 16 B", 512, 16, delta),
        Shape::new("LLM 128 B", "the same in chunks of 128 B", 512, 128, delta),
        Shape::new(
            "CJK",
            "one data line of 1 KiB of Chinese text, one chunk of 256 KiB",
            256,
            WHOLE,
            move |_| format!("data: {chinese}\n\n"),
        ),
        Shape::new("8 MB", "one data line of 8 MiB in one chunk", 1, WHOLE, move |_| {
            format!("data: {}\n\n", letters(0, long))
        }),
        Shape::new("8 MB cut", "the same in 1,024 chunks", 1, long / 1023, move |_| {
            format!("data: {}\n\n", letters(0, long))
        }),
    ]
}
