//! Many seeds, on several threads, with a word now and then of how far it is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::world::{Tally, run};

/// More violations than this are not told: a broken log breaks everywhere.
const VIOLATIONS_MAX: usize = 20;
/// Seeds that a thread takes at a time.
const CHUNK: u64 = 64;

/// Which seeds are to be run.
pub(crate) struct Campaign {
    from: u64,
    seeds: u64,
    threads: u64,
    is_loud: bool,
}

impl Campaign {
    /// `TIDINGS_SEED` alone, or `TIDINGS_SEEDS` from `TIDINGS_FROM` on, on `TIDINGS_THREADS`.
    pub(crate) fn from_environment(seeds: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let threads = number("TIDINGS_THREADS").unwrap_or(1).max(1);
        let is_loud = number("TIDINGS_SEEDS").is_some();
        match number("TIDINGS_SEED") {
            Some(seed) => Self { from: seed, seeds: 1, threads: 1, is_loud },
            None => {
                let from = number("TIDINGS_FROM").unwrap_or(0);
                Self { from, seeds: number("TIDINGS_SEEDS").unwrap_or(seeds), threads, is_loud }
            }
        }
    }

    /// So many from there on.
    pub(crate) fn of(from: u64, seeds: u64) -> Self {
        Self { from, seeds, threads: 1, is_loud: false }
    }

    pub(crate) fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Runs them all. What happened, and what should not have.
    pub(crate) fn run(&self) -> (Tally, Vec<String>) {
        let began = Instant::now();
        let (next, done, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let sum = Mutex::new((Tally::default(), Vec::new()));
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| while self.chunk(&next, &done, &sum) {})).collect();
            if self.is_loud {
                let (sum, done, is_over) = (&sum, &done, &is_over);
                scope.spawn(move || self.tell(began, done, sum, is_over));
            }
            for worker in workers {
                drop(worker.join());
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let (tally, violations) = sum.into_inner().unwrap();
        if self.is_loud {
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "simulator: {} seeds from {}: {tally}; {} violations; {seconds:.0} s on {} threads",
                self.seeds,
                self.from,
                violations.len(),
                self.threads
            );
        }
        (tally, violations)
    }

    /// Some seeds; whether there may be more.
    fn chunk(&self, next: &AtomicU64, done: &AtomicU64, sum: &Mutex<(Tally, Vec<String>)>) -> bool {
        let first = next.fetch_add(CHUNK, Ordering::Relaxed);
        let mut tally = Tally::default();
        let mut violations = Vec::new();
        for seed in first..(first + CHUNK).min(self.seeds) {
            let seed = self.from + seed;
            let result = catch_unwind(AssertUnwindSafe(|| run(seed, None)));
            let found = match result {
                Ok(Ok(of_seed)) => {
                    tally.add(&of_seed);
                    None
                }
                Ok(Err(message)) => Some(message),
                Err(_) => Some("a panic".to_owned()),
            };
            if let Some(message) = found {
                let message = format!("seed {seed} (repeat it with TIDINGS_SEED={seed}): {message}");
                println!("VIOLATION: {message}");
                violations.push(message);
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        let mut sum = sum.lock().unwrap();
        sum.0.add(&tally);
        sum.1.extend(violations);
        first + CHUNK < self.seeds && sum.1.len() < VIOLATIONS_MAX
    }

    fn tell(
        &self,
        began: Instant,
        done: &AtomicU64,
        sum: &Mutex<(Tally, Vec<String>)>,
        is_over: &AtomicBool,
    ) {
        let mut told = Duration::ZERO;
        while !is_over.load(Ordering::Relaxed) {
            // Nothing is waited for but the next time to speak.
            std::thread::park_timeout(Duration::from_millis(100));
            let passed = began.elapsed();
            if passed - told >= Duration::from_secs(20) {
                told = passed;
                let done = done.load(Ordering::Relaxed);
                let violations = sum.lock().unwrap().1.len();
                let rate = done as f64 / passed.as_secs_f64();
                let left = (self.seeds - done) as f64 / rate.max(1.0);
                println!(
                    "{done} of {} seeds, {violations} violations, {rate:.0} seeds/s, {left:.0} s left",
                    self.seeds
                );
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, acked, starts, losses, kills, faults, numbered, repeated } = self;
        write!(
            f,
            "{steps} steps, {acked} acked operations ({numbered} numbered, {repeated} numbers repeated or refused), {starts} starts, {losses} losses of power, {kills} kills, {faults} calls failed"
        )
    }
}
