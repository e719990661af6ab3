//! The table of steps. To add one: a row here, its function below, its programs in `needs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::needs::{self, Need};
use super::tally::Tally;
use super::{child, tally};
use crate::{Failure, counts, repo, tidy};

/// Does the work of a step in the repository at the path, and counts the tests that it ran.
pub(super) type Run = fn(&Path, &mut Tally) -> Result<(), Failure>;

/// One row of the table.
pub(super) struct Step {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    /// One line for `--list` and the log.
    pub(super) about: &'static str,
    /// Programs besides the Rust toolchain.
    pub(super) needs: &'static [Need],
    /// What it does.
    pub(super) work: Work,
}

/// What a step does.
pub(super) enum Work {
    /// Installs what the other chosen steps need.
    Provide,
    /// Anything else.
    Run(Run),
}

const GIT: Need = Need::any("git", "git");

/// The fault tests make the system calls of a running hub fail, and mount a file system that is small.
const TEST_NEEDS: &[Need] = &[Need::any("strace", "strace"), Need::any("mount", "mount")];

/// All steps, in order: the cheap ones first, so that a slip is told early.
pub(super) const STEPS: &[Step] = &[
    Step { name: "deps", about: "programs that the steps need", needs: &[], work: Work::Provide },
    Step { name: "fmt", about: "formatting", needs: &[], work: Work::Run(fmt) },
    Step { name: "tidy", about: "the house rules", needs: &[GIT], work: Work::Run(tidy) },
    Step { name: "clippy", about: "lints, without a warning", needs: &[], work: Work::Run(clippy) },
    Step { name: "doc", about: "documentation, without a warning", needs: &[], work: Work::Run(doc) },
    Step { name: "test", about: "unit, integration and doc tests", needs: TEST_NEEDS, work: Work::Run(test) },
    Step {
        name: "mutants",
        about: "each way to be wrong that is placed in the log is caught by its simulator",
        needs: &[],
        work: Work::Run(mutants),
    },
    Step {
        name: "counts",
        about: "instructions of the hot paths: none takes more than is written down",
        needs: &[Need::any("valgrind", "valgrind")],
        work: Work::Run(|root, _| counts::run(root, &[])),
    },
    Step {
        name: "browser",
        about: "Chromium and Firefox against the real binary",
        needs: &[
            Need { binary: "node", package: "nodejs", major_min: Some(20) },
            Need::any("npm", "npm"),
            Need::any("chromium", "chromium"),
            Need::any("firefox-esr", "firefox-esr"),
        ],
        work: Work::Run(browser),
    },
    Step {
        name: "web",
        about: "the JavaScript client and the console (dist is what src says), in Node and Chromium; htmx, Turbo, Datastar",
        needs: &[
            Need { binary: "node", package: "nodejs", major_min: Some(20) },
            Need::any("npm", "npm"),
            Need::any("chromium", "chromium"),
        ],
        work: Work::Run(web),
    },
    Step {
        name: "examples",
        about: "the examples, and every command that the book shows, against the real binary",
        needs: &[
            Need { binary: "node", package: "nodejs", major_min: Some(20) },
            Need::any("npm", "npm"),
            Need::any("curl", "curl"),
            Need::any("python3", "python3"),
            Need::any("php", "php-cli"),
            Need::any("go", "golang-go"),
        ],
        work: Work::Run(examples),
    },
];

impl Step {
    /// Runs the step; `chosen` are all steps of this run.
    ///
    /// # Errors
    /// If something it needs is missing, or its work fails, or a test was kept from running.
    pub(super) fn run(&self, root: &Path, chosen: &[&Step], tally: &mut Tally) -> Result<(), Failure> {
        match self.work {
            Work::Provide => {
                let all: Vec<Need> = chosen.iter().flat_map(|step| step.needs).copied().collect();
                needs::provide(&all)
            }
            Work::Run(work) => {
                needs::check(self.needs.iter().copied())?;
                work(root, tally)?;
                match tally.asleep {
                    0 => Ok(()),
                    asleep => Err(format!("{asleep} tests did not run: ignored, skipped or cancelled")),
                }
            }
        }
    }
}

fn fmt(root: &Path, _: &mut Tally) -> Result<(), Failure> {
    child::run(cargo(root).args(["fmt", "--all", "--check"]))
}

fn tidy(root: &Path, _: &mut Tally) -> Result<(), Failure> {
    tidy::run(root)
}

/// What no package of the workspace turns on by itself: the codec's adapters, the client over reqwest. Every step that
/// compiles for tests has the same selection and the same features, or cargo would compile most of it once more.
const FEATURES: &str =
    "tidings-codec/http-body,tidings-codec/stream,tidings-codec/tokio-util,tidings-client/reqwest";

/// A command of cargo's for the whole workspace.
fn workspace(root: &Path, command: &str) -> Command {
    let mut cargo = cargo(root);
    cargo.args([command, "--workspace", "--features", FEATURES]);
    cargo
}

fn clippy(root: &Path, _: &mut Tally) -> Result<(), Failure> {
    child::run(workspace(root, "clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    // As others get them: the features of a package alone, which the workspace would lend it.
    let alone: [&[&str]; 5] = [
        &["clippy", "-p", "tidings-codec", "--all-targets", "--", "-D", "warnings"],
        &["clippy", "-p", "tidings-codec", "--no-default-features", "--", "-D", "warnings"],
        &["clippy", "-p", "tidings-client", "--no-default-features", "--", "-D", "warnings"],
        &["clippy", "-p", "tidings-client", "--features", "reqwest", "--", "-D", "warnings"],
        &["clippy", "-p", "tidings", "--", "-D", "warnings"],
    ];
    alone.iter().try_for_each(|arguments| child::run(cargo(root).args(*arguments)))
}

fn doc(root: &Path, _: &mut Tally) -> Result<(), Failure> {
    child::run(workspace(root, "doc").arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
}

fn test(root: &Path, tally: &mut Tally) -> Result<(), Failure> {
    // All failures of a run are worth knowing, not only those of the first binary.
    child::watch(workspace(root, "test").arg("--no-fail-fast"), |line| tally.cargo_line(line))?;
    // What most take of the codec has none of the adapters.
    child::watch(cargo(root).args(["test", "-p", "tidings-codec"]), |line| tally.cargo_line(line))?;
    some_ran(tally)
}

fn mutants(root: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let mut command = workspace(root, "test");
    command.args(["--features", "tidings-log/mutants", "--test", "mutants", "--no-fail-fast"]);
    child::watch(&mut command, |line| tally.cargo_line(line))?;
    some_ran(tally)
}

fn browser(root: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let binary = build_tidings(root)?;
    let directory = root.join("tests/browser");
    npm_ci(&directory)?;
    // As in `web`: what fails may leave streams open.
    node_tests(&directory, &binary, &["--test-force-exit"], tally)
}

fn web(root: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let binary = build_tidings(root)?;
    let directory = root.join("web/client");
    npm_ci(&directory)?;
    child::run(Command::new("node").args(["build.mjs", "--check"]).current_dir(&directory))?;
    // A case that fails may leave streams open, and with them the process.
    node_tests(&directory, &binary, &["--test-force-exit"], tally)?;
    let directory = root.join("web/embeds");
    npm_ci(&directory)?;
    node_tests(&directory, &binary, &["--test-force-exit"], tally)?;
    let directory = root.join("web/console");
    npm_ci(&directory)?;
    child::run(Command::new("node").args(["build.mjs", "--check"]).current_dir(&directory))?;
    node_tests(&directory, &binary, &["--test-force-exit"], tally)
}

fn examples(root: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let binary = build_tidings(root)?;
    node_tests(root, &binary, &["docs/examples.test.mjs", "examples/publish/publish.test.mjs"], tally)?;
    let directory = root.join("examples/relay-source");
    npm_ci(&directory)?;
    node_tests(&directory, &binary, &[], tally)
}

fn npm_ci(directory: &Path) -> Result<(), Failure> {
    let arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    child::run(Command::new("npm").args(arguments).current_dir(directory))
}

/// Runs these test files, or all below the directory.
fn node_tests(directory: &Path, binary: &Path, files: &[&str], tally: &mut Tally) -> Result<(), Failure> {
    let mut command = Command::new("node");
    // One file at a time: two browsers at once on a small machine only prove that it is small.
    command.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]).args(files);
    command.current_dir(directory).env("TIDINGS_BIN", binary);
    let before = tally.ran();
    child::watch(&mut command, |line| tally.node_line(line))?;
    if tally.ran() == before { Err("not one test ran".to_owned()) } else { Ok(()) }
}

/// Builds the binary as its tests do: it is there already when they have run. `cargo build` would leave out features that
/// only tests turn on, and compile everything from there on once more.
fn build_tidings(root: &Path) -> Result<PathBuf, Failure> {
    let mut command = workspace(root, "test");
    command.args(["--test", "kill", "--no-run"]);
    executable_of(command, "tidings")
}

/// Builds a program of the workspace, in the tests' profile.
pub(crate) fn build_for_tests(root: &Path, program: &str) -> Result<PathBuf, Failure> {
    let mut command = workspace(root, "build");
    command.args(["--bin", program]);
    executable_of(command, program)
}

/// Builds a program and asks cargo where it put it.
pub(crate) fn executable_of(mut command: Command, program: &str) -> Result<PathBuf, Failure> {
    let mut path = None;
    command.arg("--message-format=json-render-diagnostics");
    child::listen(&mut command, |line| path = executable(line, program).or_else(|| path.take()))?;
    path.map(PathBuf::from).ok_or_else(|| format!("cargo built no program `{program}`"))
}

/// The path in one of cargo's JSON messages, if it tells of this program, and not of its tests.
fn executable(message: &str, program: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_it = message["target"]["name"] == program
        && message["target"]["kind"][0] == "bin"
        && message["profile"]["test"] == false;
    is_it.then(|| message["executable"].as_str().map(str::to_owned)).flatten()
}

/// A command of cargo's in the repository.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(repo::cargo());
    command.current_dir(root);
    command
}

fn some_ran(tally: &tally::Tally) -> Result<(), Failure> {
    if tally.ran() == 0 { Err("not one test ran".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(run: Run, needs: &'static [Need]) -> Step {
        Step { name: "step", about: "", needs, work: Work::Run(run) }
    }

    #[test]
    fn a_step_without_its_program_fails_before_it_runs() {
        const ABSENT: &[Need] = &[Need::any("no-such-program-here", "nothing")];
        let step = step(|_, _| panic!("ran without its program"), ABSENT);
        let fault = step.run(Path::new("."), &[], &mut Tally::default()).unwrap_err();
        assert!(fault.contains("no-such-program-here is missing"), "{fault}");
    }

    #[test]
    fn a_test_that_sleeps_fails_the_step() {
        let asleep: Run = |_, tally| {
            tally.cargo_line("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured");
            Ok(())
        };
        let fault = step(asleep, &[]).run(Path::new("."), &[], &mut Tally::default()).unwrap_err();
        assert!(fault.contains("1 tests did not run"), "{fault}");
    }

    #[test]
    fn a_run_without_a_test_is_no_success() {
        assert!(some_ran(&Tally::default()).is_err());
        assert!(some_ran(&Tally { passed: 1, ..Tally::default() }).is_ok());
    }

    #[test]
    fn the_binary_is_where_cargo_says() {
        let artifact = |name: &str, kind: &str, test: bool| {
            let (target, profile) =
                (format!(r#"{{"name":"{name}","kind":["{kind}"]}}"#), format!(r#"{{"test":{test}}}"#));
            format!(r#"{{"target":{target},"profile":{profile},"executable":"a/debug/{name}"}}"#)
        };
        let found = |message: &str| executable(message, "tidings");
        assert_eq!(found(&artifact("tidings", "bin", false)), Some("a/debug/tidings".to_owned()));
        for other in [
            artifact("tidings", "bin", true),
            artifact("tidings", "test", false),
            artifact("kill", "bin", false),
        ] {
            assert_eq!(found(&other), None, "{other}");
        }
        assert_eq!(found(r#"{"reason":"compiler-artifact","executable":null}"#), None);
        assert_eq!(found("warning: not JSON"), None);
    }

    #[test]
    fn every_feature_of_codec_and_client_is_on_somewhere() {
        for package in ["codec", "client"] {
            let manifest = format!("{}/../crates/{package}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
            let manifest = std::fs::read_to_string(manifest).unwrap();
            let features = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
            let named = features.lines().filter_map(|line| line.split_once(" = "));
            let named: Vec<_> = named.filter(|(name, _)| !name.starts_with('#')).collect();
            let by_default = named.iter().find(|(name, _)| *name == "default").unwrap().1;
            assert!(named.len() > 2, "{features}");
            for (name, _) in named.iter().filter(|(name, _)| *name != "default") {
                let is_asked_for = FEATURES.split(',').any(|on| on == format!("tidings-{package}/{name}"));
                assert!(is_asked_for || by_default.contains(&format!("\"{name}\"")), "{package}/{name}");
            }
        }
    }
}
