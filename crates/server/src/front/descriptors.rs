//! How many connections a process may have: its file descriptors, less those that the store, the listeners and the
//! admin's questions need.

/// Descriptors that connections never take in a reactor's own table.
const RESERVED_OWN: u64 = 128;

/// Raises the process's limit of open descriptors as far as it may itself, and gives the limit in force; `None`
/// where there is none or nothing is known. For a program to call at its start: a library does not change its
/// process unasked.
pub fn raise_descriptor_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // A refusal leaves the limit as it is, which is what is reported then.
        _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    limit()
}

/// The limit of open descriptors in force.
fn limit() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    return None;
}

/// How many connections there may be, of those that are wanted, with the descriptors the process may have now in each of
/// so many tables. A program opens its hub with fewer subscribers than that, so that there is room left to turn others
/// away.
pub fn connections_available(wanted: usize, tables: usize) -> usize {
    let limit = limit();
    let reserved = if tables > 1 { RESERVED_OWN } else { limit.map_or(0, reserved) };
    within(wanted, limit, reserved, tables)
}

/// Descriptors that connections never take in the process's table, where the embedded log has its files too: it keeps an
/// eighth of the limit open, 64 to 384.
fn reserved(limit: u64) -> u64 {
    64 + (limit / 8).clamp(64, 384)
}

/// How many connections there may be in a reactor's own table.
pub(super) fn connections_of_one_table() -> usize {
    within(usize::MAX, limit(), RESERVED_OWN, 1)
}

fn within(wanted: usize, limit: Option<u64>, reserved: u64, tables: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    // With few descriptors half of them must do for connections.
    let free = limit.saturating_sub(reserved).max(limit / 2);
    wanted.min(usize::try_from(free).unwrap_or(usize::MAX).saturating_mul(tables)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_the_house() {
        assert_eq!(within(100_000, None, 128, 1), 100_000);
        assert_eq!(within(100_000, Some(1_024), 128, 1), 896);
        assert_eq!(within(500, Some(1_024), 128, 1), 500);
        assert_eq!(within(500, Some(100), 128, 1), 50);
        assert_eq!(within(500, Some(0), 128, 1), 1);
        assert_eq!(within(100_000, Some(1_024), 128, 3), 2_688);
        assert!(connections_available(usize::MAX, 1) >= 1);
        assert_eq!([256, 512, 1_024, 20_000].map(reserved), [128, 128, 192, 448]);
    }
}
