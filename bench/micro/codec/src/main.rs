//! Times every reader on every shape, repetitions interleaved so that a busy neighbour hits all alike; a table
//! to standard output, everything to the file that is named.

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use bench_codec::{readers, shapes, walk};
use readers::Reader;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use shapes::Shape;

const ROUNDS: usize = 7;
/// One repetition of one reader: long enough for the clock, short enough to interleave.
const REPETITION: Duration = Duration::from_millis(20);
/// Who takes longer for a single pass is timed once.
const PASS_MAX: Duration = Duration::from_millis(400);

fn main() {
    let out = env::args().nth(1);
    let only = env::args().nth(2);
    let allocations = allocations();
    let readers = readers::all();
    let mut shapes_json = Vec::new();
    println!("| shape | {} | line walk |", readers.iter().map(|r| r.name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(readers.len() + 1));
    for shape in shapes::all() {
        if only.as_ref().is_some_and(|only| !shape.name.starts_with(only.as_str())) {
            continue;
        }
        let right: Vec<bool> = readers.iter().map(|reader| agrees(reader, &shape)).collect();
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); readers.len() + 1];
        for round in 0..ROUNDS {
            for (reader, times) in readers.iter().zip(&mut times) {
                if times.len() == round
                    && let Some(speed) = speed(&shape, || run(reader, &shape), round)
                {
                    times.push(speed);
                }
            }
            let walked = speed(
                &shape,
                || {
                    black_box(walk_over(&shape));
                },
                round,
            );
            times[readers.len()].extend(walked);
        }
        let cells: Vec<Value> = readers
            .iter()
            .zip(&times)
            .zip(&right)
            .map(|((reader, times), right)| {
                cell(reader.name, times, Some(*right), &allocations[shape.name][reader.name])
            })
            .chain([cell("line walk", &times[readers.len()], None, &Value::Null)])
            .collect();
        println!("| {} | {} |", shape.name, cells.iter().map(shown).collect::<Vec<_>>().join(" | "));
        shapes_json.push(json!({
            "shape": shape.name, "about": shape.about, "bytes": shape.bytes, "chunks": shape.chunks.len(),
            "events": shape.events, "readers": cells,
        }));
    }
    let whole = json!({
        "unit": "MiB/s", "rounds": ROUNDS, "repetition_ms": REPETITION.as_millis(), "shapes": shapes_json,
    });
    if let Some(out) = out {
        fs::write(&out, serde_json::to_string_pretty(&whole).expect("JSON") + "\n")
            .expect("a file to write to");
    }
}

/// Counted by the program beside this one.
fn allocations() -> Value {
    let program = env::current_exe().expect("a path").with_file_name("bench-codec-allocations");
    let answer = Command::new(program)
        .output()
        .expect("build all of the package first: cargo build --release -p bench-codec");
    serde_json::from_slice(&answer.stdout).expect("JSON")
}

/// Whether the reader sees what ours sees, and as many events as were written.
fn agrees(reader: &Reader, shape: &Shape) -> bool {
    let collect = |reader: &Reader| {
        let mut seen = Vec::new();
        let count =
            (reader.read)(&shape.chunks, &mut |(event, data)| seen.push((event.to_owned(), data.to_owned())));
        assert_eq!(count, seen.len());
        seen
    };
    let seen = collect(reader);
    seen.len() == shape.events && seen == collect(&readers::all()[0])
}

fn run(reader: &Reader, shape: &Shape) {
    let mut bytes = 0;
    black_box((reader.read)(black_box(&shape.chunks), &mut |(event, data)| {
        bytes += event.len() + data.len()
    }));
    black_box(bytes);
}

fn walk_over(shape: &Shape) -> usize {
    shape.chunks.iter().map(|chunk| walk::lines(black_box(chunk)).1).sum()
}

/// Time that this thread had the processor: what others take of it is not counted.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// MiB/s over one repetition; `None` after the first round for who is too slow to be timed again.
fn speed(shape: &Shape, mut pass: impl FnMut(), round: usize) -> Option<f64> {
    let start = cpu_time();
    let mut passes = 0_u32;
    loop {
        pass();
        passes += 1;
        let took = cpu_time() - start;
        if took >= REPETITION {
            if passes == 1 && took > PASS_MAX && round > 0 {
                return None;
            }
            let mib = shape.bytes as f64 * f64::from(passes) / (1024.0 * 1024.0);
            return Some(mib / took.as_secs_f64());
        }
    }
}

fn cell(name: &str, times: &[f64], right: Option<bool>, allocations: &Value) -> Value {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    json!({
        "reader": name, "median": median, "min": sorted[0], "max": sorted[sorted.len() - 1], "all": times,
        "right": right, "allocations_per_event": allocations,
    })
}

fn shown(cell: &Value) -> String {
    let number = |key: &str| cell[key].as_f64().unwrap_or_default();
    let spread = 100.0 * (number("max") - number("min")) / number("median");
    let speed = if number("median") < 100.0 {
        format!("{:.1}", number("median"))
    } else {
        format!("{:.0}", number("median"))
    };
    let allocations = match cell["allocations_per_event"].as_f64() {
        Some(count) if count > 0.0 && count < 0.05 => ", 0.0+".to_owned(),
        Some(count) => format!(", {}", (count * 10.0).round() / 10.0),
        None => String::new(),
    };
    let wrong = if cell["right"] == json!(false) { " wrong" } else { "" };
    format!("{speed} ±{:.0} %{allocations}{wrong}", spread / 2.0)
}
