//! Jobs that take their time and say how far they are.
//!
//! A page begins one with an event on `demo/jobs`; it tells of itself on `demo/progress/NAME`, where only the newest event is
//! kept, since each says all. Steps are numbered, so after a restart a job goes on where it stood.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_hub::{From, Hub};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::stage::{self, Requests, Took};

const JOBS_TOPIC: &str = "demo/jobs";
const JOBS_KEPT: u64 = 100;
const AT_ONCE: usize = 32;
const AGE_MS: u64 = 60 * 60 * 1_000;
const STEPS: u64 = 48;
const STEP: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct Asked {
    id: String,
}

#[derive(Serialize)]
struct Progress {
    done: u64,
    of: u64,
    doing: String,
}

pub(super) async fn run(hub: Hub) {
    let _ = stage::declare(&hub, JOBS_TOPIC, stage::count(JOBS_KEPT)).await;
    let Some(mut requests) = Requests::of(&hub, JOBS_TOPIC, From::Start) else { return };
    let hands = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(asked) = requests.next::<Asked>().await {
        if !stage::is_id(&asked.id) {
            continue;
        }
        let Ok(hand) = Arc::clone(&hands).acquire_owned().await else { return };
        let hub = hub.clone();
        tokio::spawn(async move {
            work(&hub, &asked.id).await;
            drop(hand);
        });
    }
}

async fn work(hub: &Hub, id: &str) {
    let (topic, key) = (format!("demo/progress/{id}"), format!("job:{id}"));
    let mut config = stage::count(1);
    config.retention.age_ms = Some(AGE_MS);
    if !stage::declare(hub, &topic, config).await.goes_on() {
        return;
    }
    for done in 0..=STEPS {
        let doing = match done {
            STEPS => "all photographs are developed".to_owned(),
            _ => format!("developing photograph {} of {STEPS}", done + 1),
        };
        let name = if done == STEPS { "done" } else { "progress" };
        let data = stage::json(&Progress { done, of: STEPS, doing });
        match stage::publish(hub, stage::once(stage::event(&topic, Some(name), data), &key, done)).await {
            Took::New if done < STEPS => sleep(STEP).await,
            Took::New | Took::Held => {}
            Took::Not | Took::Over => return,
        }
    }
    stage::close(hub, &topic).await;
}
