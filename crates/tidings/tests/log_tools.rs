//! `tidings log …` on the directory of the real hub, running and stopped.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod process;

use std::path::Path;
use std::process::{Command, Output};

use process::HubProcess;

fn log(args: &[&str], dirs: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings")).arg("log").args(args).args(dirs).output().unwrap()
}

#[track_caller]
fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

async fn events(hub: &HubProcess, topic: &str) -> serde_json::Value {
    let mut page = hub.get(&format!("/topics/{topic}?format=json")).await.unwrap().json();
    for event in page["events"].as_array_mut().unwrap() {
        let event = event.as_object_mut().unwrap();
        event.retain(|name, _| !matches!(name.as_str(), "time" | "position"));
        if event["id"].as_str().is_some_and(|id| !id.contains('~')) {
            event.remove("id");
        } else {
            let own = event["id"].as_str().unwrap().split_once('~').unwrap().1.to_owned();
            event.insert("id".into(), own.into());
        }
    }
    page["events"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_published_again() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    let open = ["--anonymous-publish", "**", "--anonymous-subscribe", "**", "--anonymous-manage", "**"];
    let hub = HubProcess::start(&one, &open);
    let declare = async |hub: &HubProcess| {
        let body = br#"{"content_type":"application/octet-stream"}"#;
        let answer = process::request(hub.addr, "PUT", "/topics/bin", "", body).await.unwrap();
        assert!(answer.status < 300, "{answer:?}");
    };
    declare(&hub).await;
    let lines = r#"{"topic":["a","b"],"data":"two topics\nand lines","event":"e","id":"own","retry":30}
{"topic":"a","data":{"n":1.50}}
{"topic":"a","data":"secret","private":true}
{"topic":"bin","base64":"AP/+AA=="}
"#;
    let answer = hub.post("/events", "", lines.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let exported = ok(&log(&["export"], &[&one]));
    assert_eq!(exported.lines().count(), 4, "{exported}");
    assert!(
        exported.contains(r#""base64":"AP/+AA==""#) && exported.contains(r#""private":true"#),
        "{exported}"
    );
    let again = HubProcess::start(&other, &open);
    declare(&again).await;
    let answer = again.post("/events", "", exported.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    for topic in ["a", "b", "bin"] {
        assert_eq!(events(&again, topic).await, events(&hub, topic).await, "{topic}");
    }
    assert_eq!(ok(&log(&["export"], &[&other])), exported);
    assert_eq!(ok(&log(&["export", "--topic", "b"], &[&one])).lines().count(), 1);
    // Neither data nor both.
    for line in
        [r#"{"topic":"a"}"#, r#"{"topic":"a","data":"1","base64":"AA=="}"#, r#"{"topic":"a","base64":"?"}"#]
    {
        assert_eq!(hub.post("/events", "", line.as_bytes()).await.unwrap().status, 400, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_hub_is_backed_up_damaged_repaired_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut hub = HubProcess::start(&at("data"), &["--segment-bytes", "64KiB"]);
    let mut ids = Vec::new();
    for n in 0..60 {
        let answer =
            hub.post("/topics/a", "", format!("{n} {}", "x".repeat(5_000)).as_bytes()).await.unwrap();
        ids.push(answer.json()["last_id"].as_str().unwrap().to_owned());
    }
    let said = ok(&log(&["verify"], &[&at("data")]));
    assert!(said.contains("60 events") && said.contains("whole"), "{said}");
    let said = ok(&log(&["inspect", "--topic", "a"], &[&at("data")]));
    assert!(said.contains("topic a: 60 events"), "{said}");
    ok(&log(&["backup"], &[&at("data"), &at("backup")]));
    let busy = log(&["repair"], &[&at("data")]);
    assert_eq!(code(&busy), Some(1));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("in use by another hub"), "{busy:?}");
    // An event in the middle of the first segment is hit.
    hub.stop();
    let segment = at("data").join("00000000000000000001.log");
    let mut content = std::fs::read(&segment).unwrap();
    content[30_000] ^= 4;
    std::fs::write(&segment, content).unwrap();
    let damaged = log(&["verify"], &[&at("data")]);
    assert_eq!(code(&damaged), Some(1), "{damaged:?}");
    assert_eq!(code(&log(&["verify"], &[&at("nowhere")])), Some(2));
    let plan = ok(&log(&["repair", "--dry-run"], &[&at("data")]));
    assert!(plan.contains("nothing was changed"), "{plan}");
    assert_eq!(code(&log(&["verify"], &[&at("data")])), Some(1));
    ok(&log(&["repair"], &[&at("data")]));
    ok(&log(&["verify"], &[&at("data")]));
    hub.restart();
    let body = hub.get("/topics/a?from=start&format=json&limit=1000").await.unwrap().json();
    let first: Vec<_> = body["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(body["gap"], serde_json::Value::Null, "the page ends where the gap begins");
    let next = body["next"].as_str().unwrap();
    let rest = hub.get(&format!("/topics/a?format=json&limit=1000&from=id:{next}")).await.unwrap().json();
    assert_eq!(rest["gap"]["reason"], "lost", "{rest}");
    let rest: Vec<_> = rest["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(first.len() + rest.len(), 59, "one event is lost");
    assert!(
        first.iter().chain(&rest).all(|id| ids.contains(&id.as_str().unwrap().to_owned())),
        "under their ids"
    );
    // The backup has it still; what was handed out after it is void.
    let answer = hub.post("/topics/a", "", b"after the backup").await.unwrap();
    let late = answer.json()["last_id"].as_str().unwrap().to_owned();
    hub.stop();
    ok(&log(&["restore"], &[&at("backup"), &at("restored")]));
    let restored = HubProcess::start(&at("restored"), &["--segment-bytes", "64KiB"]);
    let page = restored.get("/topics/a?format=json&limit=1000").await.unwrap().json();
    assert_eq!(page["events"].as_array().unwrap().len(), 60);
    let page = restored.get(&format!("/topics/a?format=json&from=id:{late}")).await.unwrap().json();
    assert_eq!(page["gap"]["reason"], "epoch", "{page}");
}
