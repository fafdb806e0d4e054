//! Quantities as people write and read them: durations, rates, shares, latencies, counts, moments.

use std::time::Duration;

/// `500ms`, `30s`, `2m`, `1h`, also with a fraction; a number alone is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let say = || format!("`{text}` is not a duration: write 500ms, 30s, 2m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| say())?;
    let unit = match &text[digits..] {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(say()),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| say())
}

/// `5000`, `5000/s`, `5k/s`, `1.5M`: a second.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let parsed = parse_scaled(number).filter(|rate| *rate > 0.0);
    parsed.ok_or_else(|| format!("`{text}` is not a rate: write 5000/s or 5k/s, more than 0"))
}

/// `100000`, `100_000`, `100k`, `2M`: a whole number.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let parsed = plain.parse().ok().or_else(|| {
        let scaled = parse_scaled(&plain)?;
        (scaled.fract() == 0.0 && (0.0..9e15).contains(&scaled)).then_some(scaled as u64)
    });
    parsed.ok_or_else(|| format!("`{text}` is not a number: write 100000, 100_000, 100k or 2M"))
}

/// `10%` or `0.1`: a share.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |n| (n, 100.0));
    let parsed = number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    parsed.map(|n| n / unit).ok_or_else(|| format!("`{text}` is not a share: write 10% or 0.1"))
}

fn parse_scaled(text: &str) -> Option<f64> {
    let (number, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1e3),
        b'M' => (&text[..text.len() - 1], 1e6),
        b'G' => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    number.parse::<f64>().ok().map(|n| n * scale).filter(|n| n.is_finite())
}

/// Nanoseconds, to three digits, in the unit that suits: `843 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`. Units are aligned
/// when padded on the left: each is two characters wide.
pub fn latency(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s "),
    };
    let digits = match value {
        v if unit == "ns" || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment in milliseconds since 1970, as `2025-01-31T12:34:56Z`.
pub fn moment(unix_ms: u64) -> String {
    let (days, seconds) = (unix_ms / 86_400_000, unix_ms / 1_000 % 86_400);
    // The calendar repeats every 400 years of 146,097 days; years begin in March here, so that leap days come last.
    let days = days + 719_468; // from 1 March of the year 0 to 1 January 1970
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [("500ms", 0.5), ("30s", 30.0), ("2", 2.0), ("1.5m", 90.0), ("1h", 3_600.0), ("0s", 0.0)];
        for (text, seconds) in good {
            assert_eq!(parse_duration(text).map(|d| d.as_secs_f64()), Ok(seconds), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1.2.3s", "1e400h", "99999999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_counts_and_shares() {
        assert_eq!(parse_rate("5000/s"), Ok(5_000.0));
        assert_eq!(parse_rate("5k/s"), Ok(5_000.0));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        assert!(["0", "-3/s", "fast", "inf", "NaN", "", "/s"].iter().all(|t| parse_rate(t).is_err()));
        assert_eq!(parse_count("100_000"), Ok(100_000));
        assert_eq!(parse_count("1.5k"), Ok(1_500));
        assert_eq!(parse_count("18446744073709551615"), Ok(u64::MAX));
        assert!(["", "-1", "1.5", "k", "1e30G"].iter().all(|t| parse_count(t).is_err()));
        assert_eq!(parse_share("10%"), Ok(0.1));
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert!(["", "%", "-1%", "NaN"].iter().all(|t| parse_share(t).is_err()));
    }

    #[test]
    fn latencies_have_three_digits() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (843.0, "843 ns"),
            (1_000.0, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (999_499.0, "999 µs"),
            (999_600.0, "1.00 ms"),
            (99_960_000.0, "100 ms"),
            (1_200_000_000.0, "1.20 s "),
        ] {
            assert_eq!(latency(ns), text);
        }
    }

    #[test]
    fn counts_and_moments() {
        assert_eq!((count(7), count(1_000), count(1_234_567)), ("7".into(), "1,000".into(), "1,234,567".into()));
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(moment(1_709_251_199_000), "2024-02-29T23:59:59Z");
        assert_eq!(moment(1_735_689_600_000), "2025-01-01T00:00:00Z");
    }
}
