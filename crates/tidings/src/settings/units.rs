//! Durations and sizes as people write them: `30s`, `7d`, `64MiB`. Pure text to number and back.

/// Milliseconds in each unit, largest first.
const DURATIONS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes in each unit, largest first. `KiB` and not `KB`: what memory and files are counted in.
const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `30s`, `1.5h`, `7d`, `250ms`, or `0`. Gives milliseconds.
///
/// # Errors
/// A sentence that says how to write it.
pub(crate) fn parse_duration_ms(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split(text);
    let found = DURATIONS.iter().find(|(name, _)| *name == unit);
    let Some((_, unit_ms)) = found else {
        return Err("a duration is a number and a unit: 500ms, 30s, 5m, 12h or 7d".to_owned());
    };
    scaled(number, *unit_ms).ok_or_else(|| "a duration needs a number before its unit, as in 30s".to_owned())
}

/// Reads `64MiB`, `1.5GiB`, `4096` or `4096B`. Gives bytes.
///
/// # Errors
/// A sentence that says how to write it.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    const HELP: &str = "a size is a number of bytes, or a number with KiB, MiB, GiB or TiB: 64MiB";
    let (number, unit) = split(text);
    // People write 64mib and 64M as well; 64MB would be ambiguous and is refused.
    let found = SIZES.iter().find(|(name, _)| {
        unit.eq_ignore_ascii_case(name) || (unit.len() == 1 && name.len() == 3 && name.starts_with(unit))
    });
    let factor = match found {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(HELP.to_owned()),
    };
    scaled(number, factor).ok_or_else(|| HELP.to_owned())
}

/// Milliseconds as a person reads them, exactly: the largest unit that leaves no rest.
pub(crate) fn show_duration(ms: u64) -> String {
    show(ms, DURATIONS)
}

/// Bytes as a person reads them, exactly.
pub(crate) fn show_bytes(bytes: u64) -> String {
    show(bytes, SIZES)
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    fits.map_or_else(|| number.to_string(), |(name, factor)| format!("{}{name}", number / factor))
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// `1.5` × `factor`, without floating point: the digits behind the dot are a fraction of `factor`.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let parts: u64 = fraction.parse().ok()?;
    let of = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_mul(factor)?.checked_add(parts.checked_mul(factor)? / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, ms, shown) in [
            ("30s", 30_000, "30s"),
            ("7d", 604_800_000, "7d"),
            ("1.5h", 5_400_000, "90m"),
            ("250ms", 250, "250ms"),
            ("0", 0, "0"),
            ("0s", 0, "0"),
            ("90 s", 90_000, "90s"),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
            assert_eq!(show_duration(ms), shown, "{text}");
        }
        for bad in ["", "30", "s", "-1s", "30x", "1.s", ".5s", "1e3s", "99999999999999999999s", "1.2.3s"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("64mib", 64 << 20, "64MiB"),
            ("64M", 64 << 20, "64MiB"),
            ("1.5 GiB", 1_610_612_736, "1536MiB"),
            ("4096", 4_096, "4KiB"),
            ("4097B", 4_097, "4097B"),
            ("0", 0, "0"),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(show_bytes(bytes), shown, "{text}");
        }
        for bad in ["", "64MB", "MiB", "-1", "64 Mi", "1e9", "99999999TiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
    }
}
