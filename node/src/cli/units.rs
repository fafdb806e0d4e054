//! Quantities as people read them: bytes, rates, times, counts; and keys, which are any bytes.

use std::fmt::Write;
use std::time::Duration;

/// `0 B`, `999 B`, `1.5 KiB`, `23.4 MiB`: three digits.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut value, mut unit) = (n as f64 / 1024.0, 0);
    // What would be rounded to 1000 or more looks better in the next unit, up to 1023.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// Bytes a second.
pub fn byte_rate(n: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
    format!("{}/s", bytes(rate as u64))
}

/// Things a second: `2,126 files/s`.
pub fn rate(things: &str, n: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
    let figure = if rate >= 99.5 { count(rate.round() as u64) } else { three_digits(rate) };
    format!("{figure} {things}/s")
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

/// A count with its noun: `1 file`, `2 files`, `0 files`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A time that was measured: `843 µs`, `12.3 ms`, `4.56 s`, `2 min 05 s`, `3 h 04 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 999.5e-6 => format!("{} µs", three_digits(s * 1e6)),
        s if s < 999.5e-3 => format!("{} ms", three_digits(s * 1e3)),
        s if s < 99.95 => format!("{} s", three_digits(s)),
        _ => uptime(seconds.round() as u64),
    }
}

/// A time in whole seconds: `42 s`, `2 min 05 s`, `3 h 04 min`, `5 d 06 h`.
pub fn uptime(seconds: u64) -> String {
    match seconds {
        s if s < 60 => format!("{s} s"),
        s if s < 3_600 => format!("{} min {:02} s", s / 60, s % 60),
        s if s < 86_400 => format!("{} h {:02} min", s / 3_600, s % 3_600 / 60),
        s => format!("{} d {:02} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A part as `33.3 %`.
pub fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A key as a line of text. Plain text stays as it is; anything else is written the way a shell reads it, as in
/// `$'a\nb\xff'`.
pub fn key(bytes: &[u8]) -> String {
    let plain = |text: &str| !text.chars().any(char::is_control) && !text.starts_with("$'");
    match std::str::from_utf8(bytes) {
        Ok(text) if plain(text) => text.to_string(),
        _ => quoted(bytes),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let _ = match c {
                '\'' | '\\' => write!(text, "\\{c}"),
                '\n' => write!(text, "\\n"),
                '\t' => write!(text, "\\t"),
                '\r' => write!(text, "\\r"),
                c if c.is_ascii_control() => write!(text, "\\x{:02x}", u32::from(c)),
                c if c.is_control() => write!(text, "\\u{:04x}", u32::from(c)),
                c => write!(text, "{c}"),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('\'');
    text
}

fn three_digits(value: f64) -> String {
    let digits = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    // 1.50 is 1.5 and 2.00 is 2: the digits left out are zeros.
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_a_unit() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10 MiB"),
            (999 << 20, "999 MiB"),
            (1000 << 20, "0.98 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(byte_rate(3 << 20, Duration::from_secs(2)), "1.5 MiB/s");
        assert_eq!(byte_rate(3 << 20, Duration::ZERO), "0 B/s");
    }

    #[test]
    fn times_and_counts() {
        for (time_given, text) in [
            (Duration::from_micros(843), "843 µs"),
            (Duration::from_micros(12_345), "12.3 ms"),
            (Duration::from_millis(4_560), "4.56 s"),
            (Duration::from_secs(125), "2 min 05 s"),
            (Duration::from_secs(11_045), "3 h 04 min"),
        ] {
            assert_eq!(time(time_given), text);
        }
        assert_eq!(uptime(6 * 86_400 + 7_200), "6 d 02 h");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1_234_567, "file"), "1,234,567 files");
        assert_eq!(rate("files", 1_000, Duration::from_millis(500)), "2,000 files/s");
        assert_eq!(rate("puts", 5, Duration::from_secs(2)), "2.5 puts/s");
        assert_eq!(percent(1.0 / 3.0), "33.3 %");
    }

    #[test]
    fn keys_are_one_line_and_can_be_typed_again() {
        assert_eq!(key(b"a/b c.txt"), "a/b c.txt");
        assert_eq!(key("grüße".as_bytes()), "grüße");
        assert_eq!(key(b"a\nb"), r"$'a\nb'");
        assert_eq!(key(b"it's\xff\x01"), r"$'it\'s\xff\x01'");
        assert_eq!(key(b"$'x'"), r"$'$\'x\''");
    }
}
