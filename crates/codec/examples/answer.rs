//! Prints the text of a language model's answer as it comes: standard input is the body of a streamed chat
//! completion, of which an error or the end may come at any time.
//!
//! ```sh
//! cargo run -q -p tidings-codec --example answer < crates/codec/tests/models/openai-chat.sse
//! ```

use std::io::{self, Read as _, Write as _};

use tidings_codec::{DecodeLimits, Decoder, ItemRef};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A delta is small: what is not is refused long before it fills the memory.
    let mut decoder = Decoder::with_limits(DecodeLimits { event_bytes_max: 1024 * 1024 });
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Err("the answer broke off".into());
        }
        let mut items = decoder.read(&buffer[..read]);
        while let Some(item) = items.next()? {
            let ItemRef::Event(event) = item else { continue };
            if event.data == "[DONE]" {
                writeln!(out)?;
                return Ok(());
            }
            let chunk: serde_json::Value = serde_json::from_str(event.data)?;
            if let Some(message) = chunk["error"]["message"].as_str() {
                return Err(message.into());
            }
            if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
                write!(out, "{text}")?;
                out.flush()?;
            }
        }
    }
}
