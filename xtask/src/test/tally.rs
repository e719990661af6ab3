//! Counting: what `cargo test` and `node --test` say at the end of each of their runs, added up.
//!
//! **Invariant:** only lines of a runner's own summary count; what a test prints cannot pass for one by accident
//! unless it copies the whole line.

/// How many tests ran, and how many were kept from running.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Ignored, skipped, cancelled or marked as open.
    pub(crate) asleep: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.asleep += other.asleep;
    }

    /// How many tests came to an end.
    #[must_use]
    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// Takes in one line of `cargo test`: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn cargo_line(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(number), Some(kind)) = (words.next().and_then(|word| word.parse().ok()), words.next())
            else {
                continue;
            };
            self.count(kind, number);
        }
    }

    /// Takes in one line of `node --test`: `ℹ pass 3`, or `# pass 3` where it writes TAP.
    pub(crate) fn node_line(&mut self, line: &str) {
        let Some(count) = ["ℹ ", "# "].into_iter().find_map(|mark| line.strip_prefix(mark)) else { return };
        let mut words = count.split_whitespace();
        if let (Some(kind), Some(Ok(number)), None) =
            (words.next(), words.next().map(str::parse), words.next())
        {
            self.count(kind, number);
        }
    }

    fn count(&mut self, kind: &str, number: u64) {
        match kind {
            "passed" | "pass" => self.passed += number,
            "failed" | "fail" => self.failed += number,
            "ignored" | "skipped" | "cancelled" | "todo" => self.asleep += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&mut Tally, &str), text: &str, passed: u64, failed: u64, asleep: u64) {
        let mut tally = Tally::default();
        text.lines().for_each(|line| read(&mut tally, line));
        assert_eq!(tally, Tally { passed, failed, asleep }, "{text}");
    }

    #[test]
    fn cargo_results_of_all_binaries_add_up() {
        let text = "\
running 3 tests
test a ... ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 1.20s
";
        check(Tally::cargo_line, text, 8, 2, 1);
    }

    #[test]
    fn other_lines_of_cargo_count_nothing() {
        check(
            Tally::cargo_line,
            "3 passed; 1 failed\ntest result: ok\n  test result: ok. 4 passed;",
            0,
            0,
            0,
        );
    }

    #[test]
    fn node_results_count_in_both_of_its_formats() {
        let text = "✔ it works (1.2ms)\nℹ tests 7\nℹ pass 3\nℹ fail 1\nℹ cancelled 1\nℹ skipped 1\nℹ todo 1";
        check(Tally::node_line, text, 3, 1, 3);
        check(
            Tally::node_line,
            "ok 1 - it works\n# tests 3\n# pass 3\n# fail 0\n# duration_ms 12.5",
            3,
            0,
            0,
        );
        check(Tally::node_line, "pass 3\nℹ pass the salt 3\n# Subtest: pass 3", 0, 0, 0);
    }
}
