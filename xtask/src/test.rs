//! `cargo xtask test`: every step in order, each with its time, and one line at the end that counts.
//!
//! This file chooses and runs; what the steps are stands in the table of `steps`.
//! **Invariant:** the last line is `N passed, 0 failed` if and only if every chosen step succeeded, and N counts
//! tests that truly ran.

pub(crate) mod child;
mod needs;
pub(crate) mod steps;
mod tally;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;
use steps::{STEPS, Step};
use tally::Tally;

/// What was asked for on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Print the table and run nothing.
    List,
    /// Run these steps, in the table's order.
    Steps(Vec<&'static str>),
}

impl Choice {
    /// Reads what follows `test`.
    ///
    /// # Errors
    /// If an argument or a step's name is unknown.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let names = match arguments {
            [] => return Ok(Self::Steps(STEPS.iter().map(|step| step.name).collect())),
            ["--list"] => return Ok(Self::List),
            ["--only", names] => *names,
            [one] if one.starts_with("--only=") => &one["--only=".len()..],
            other => return Err(format!("unknown arguments {other:?}: --list, or --only STEP,STEP")),
        };
        let wanted: Vec<&str> = names.split(',').map(str::trim).collect();
        if let Some(unknown) = wanted.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
            let all: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            return Err(format!("unknown step `{unknown}`: there are {}", all.join(", ")));
        }
        Ok(Self::Steps(STEPS.iter().map(|step| step.name).filter(|name| wanted.contains(name)).collect()))
    }
}

/// Runs what was chosen and prints the summary.
///
/// # Errors
/// Names the first step that failed; nothing runs after it.
pub(crate) fn run(root: &Path, choice: &Choice) -> Result<(), Failure> {
    match choice {
        Choice::List => {
            for step in STEPS {
                let needs: Vec<&str> = step.needs.iter().map(|need| need.binary).collect();
                let needs =
                    if needs.is_empty() { String::new() } else { format!(" (needs {})", needs.join(", ")) };
                println!("{:<8} {}{needs}", step.name, step.about);
            }
            Ok(())
        }
        Choice::Steps(names) => {
            let chosen: Vec<&Step> = STEPS.iter().filter(|step| names.contains(&step.name)).collect();
            run_steps(root, &chosen)
        }
    }
}

fn run_steps(root: &Path, chosen: &[&Step]) -> Result<(), Failure> {
    let mut total = Tally::default();
    let mut lines = Vec::new();
    let mut failure = None;
    for (index, step) in chosen.iter().enumerate() {
        println!("\n==> {}/{} {}: {}", index + 1, chosen.len(), step.name, step.about);
        let start = Instant::now();
        let mut tally = Tally::default();
        let end = step.run(root, chosen, &mut tally);
        let line = summary_line(step.name, &tally, end.is_ok(), start.elapsed());
        println!("<== {line}");
        lines.push(line);
        total.add(&tally);
        if let Err(why) = end {
            failure = Some(format!("step `{}` failed: {why}", step.name));
            break;
        }
    }
    println!("\nsummary");
    for line in &lines {
        println!("  {line}");
    }
    match failure {
        None => {
            println!("{} passed, 0 failed", total.passed);
            Ok(())
        }
        Some(failure) => {
            println!("{} passed, {} failed", total.passed, total.failed.max(1));
            Err(failure)
        }
    }
}

fn summary_line(name: &str, tally: &Tally, ok: bool, took: Duration) -> String {
    let state = if ok { "ok" } else { "FAILED" };
    let counted = if tally.ran() == 0 {
        String::new()
    } else {
        format!("  {} passed, {} failed", tally.passed, tally.failed)
    };
    format!("{name:<8} {state:<6} {:>7.1} s{counted}", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_every_step_is_chosen_in_order() {
        let Ok(Choice::Steps(names)) = Choice::parse(&[]) else { panic!("no steps") };
        assert_eq!(
            names,
            [
                "deps", "fmt", "tidy", "clippy", "doc", "test", "mutants", "counts", "browser", "web",
                "examples"
            ]
        );
        assert_eq!(Choice::parse(&["--list"]), Ok(Choice::List));
    }

    #[test]
    fn chosen_steps_keep_the_order_of_the_table() {
        let expect = Ok(Choice::Steps(vec!["fmt", "browser"]));
        assert_eq!(Choice::parse(&["--only", "browser,fmt"]), expect);
        assert_eq!(Choice::parse(&["--only=browser, fmt"]), expect);
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_is_known() {
        let refusal = Choice::parse(&["--only", "fmt,frobnicate"]).unwrap_err();
        assert!(refusal.contains("`frobnicate`") && refusal.contains("clippy"), "{refusal}");
        assert!(Choice::parse(&["--only"]).is_err());
        assert!(Choice::parse(&["--only", ""]).is_err());
        assert!(Choice::parse(&["--fast"]).is_err());
    }

    #[test]
    fn a_failing_step_ends_the_run_and_is_named() {
        fn good(_: &Path, tally: &mut Tally) -> Result<(), Failure> {
            tally.passed += 2;
            Ok(())
        }
        fn bad(_: &Path, _: &mut Tally) -> Result<(), Failure> {
            Err("it broke".to_owned())
        }
        fn never(_: &Path, _: &mut Tally) -> Result<(), Failure> {
            panic!("ran after a failure")
        }
        let [good, bad, never] = [("good", good as steps::Run), ("bad", bad), ("never", never)]
            .map(|(name, run)| Step { name, about: "", needs: &[], work: steps::Work::Run(run) });
        let root = Path::new(".");
        assert_eq!(run_steps(root, &[&good]), Ok(()));
        assert_eq!(run_steps(root, &[&good, &bad, &never]), Err("step `bad` failed: it broke".to_owned()));
    }
}
