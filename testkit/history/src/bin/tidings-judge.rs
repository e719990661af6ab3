//! Judges a trace of `tidings bench --trace DIR`: prints what was looked at and each violation; ends with 1 if there is
//! one, and with 2 if there is nothing to judge.

#![expect(clippy::print_stdout, reason = "a program's result")]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: tidings-judge DIR");
        return ExitCode::from(2);
    };
    let trace = match tidings_history::trace::read(Path::new(&dir)) {
        Ok(trace) if trace.streams > 0 && trace.published.1 > 0 => trace,
        Ok(_) => {
            eprintln!("nothing was published or received");
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let violations = trace.history.check();
    let gaps = trace.history.gaps();
    for violation in &violations {
        eprintln!("{violation}");
    }
    for wrong in &trace.wrong {
        eprintln!("{wrong}");
    }
    println!("judged_published {} events", trace.published.0);
    println!("judged_streams {} streams", trace.streams);
    println!("judged {} events", trace.history.events());
    println!("violations {} of_promises", violations.len() + trace.wrong.len());
    // Nothing is removed while a load runs.
    println!("gaps {gaps} told");
    if violations.is_empty() && trace.wrong.is_empty() && gaps == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
