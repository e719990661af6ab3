//! A writer that answers word by word, as a language model does. There is no model: the answers are written down.
//!
//! A page asks on `demo/questions` and gives the answer a name; the answer is the topic `demo/answers/NAME`, which is closed
//! at its end. Word *n* is item *n* of an idempotency key: after a restart all answers are written again from their first
//! word, and what is there already is passed over.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_hub::{From, Hub};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::stage::{self, Requests, Seeded, Took};

const WRITTEN: &str = include_str!("answers.json");
const QUESTIONS_TOPIC: &str = "demo/questions";
const QUESTIONS_KEPT: u64 = 100;
/// Answers that are written at the same time; who asks for more waits.
const AT_ONCE: usize = 32;
const AGE_MS: u64 = 60 * 60 * 1_000;
const WORD_MS: u32 = 25;
const WORD_MORE_MS: u32 = 70;
const SENTENCE_MS: u32 = 250;

#[derive(Deserialize)]
struct Written {
    answer: String,
}

#[derive(Deserialize)]
struct Asked {
    id: String,
    question: usize,
}

#[derive(Serialize)]
struct Done {
    words: u64,
}

// Promise: one answer that cannot be written keeps no other from being written.
pub(super) async fn run(hub: Hub) {
    let written: Vec<Written> = serde_json::from_str(WRITTEN).unwrap_or_default();
    let _ = stage::declare(&hub, QUESTIONS_TOPIC, stage::count(QUESTIONS_KEPT)).await;
    let Some(mut requests) = Requests::of(&hub, QUESTIONS_TOPIC, From::Start) else { return };
    let pens = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(asked) = requests.next::<Asked>().await {
        let Some(written) = written.get(asked.question).filter(|_| stage::is_id(&asked.id)) else { continue };
        let Ok(pen) = Arc::clone(&pens).acquire_owned().await else { return };
        let (hub, text) = (hub.clone(), written.answer.clone());
        tokio::spawn(async move {
            write(&hub, &asked.id, &text).await;
            drop(pen);
        });
    }
}

async fn write(hub: &Hub, id: &str, text: &str) {
    let (topic, key) = (format!("demo/answers/{id}"), format!("answer:{id}"));
    let mut config = stage::count(10_000);
    config.content_type = "text/plain".into();
    config.retention.age_ms = Some(AGE_MS);
    // A topic that is closed has its answer.
    if !stage::declare(hub, &topic, config).await.goes_on() {
        return;
    }
    let mut pace = Seeded(0);
    let mut words = 0;
    for word in text.split_inclusive(' ') {
        let wait = pace.next() % WORD_MORE_MS + if word.ends_with(". ") { SENTENCE_MS } else { WORD_MS };
        match stage::publish(hub, stage::once(stage::event(&topic, None, word), &key, words)).await {
            Took::New => sleep(Duration::from_millis(wait.into())).await,
            Took::Held => {}
            Took::Not | Took::Over => return,
        }
        words += 1;
    }
    let done = stage::event(&topic, Some("done"), stage::json(&Done { words }));
    let _ = stage::publish(hub, stage::once(done, &key, words)).await;
    stage::close(hub, &topic).await;
}
