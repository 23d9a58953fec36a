//! Counts, sizes, times and rates as people read them.

use std::time::Duration;

use rust_decimal::Decimal;

/// A count with a comma after every three digits.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 table`, `2 tables`.
pub(crate) fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), if number == 1 { singular } else { plural })
}

/// The length of a collection as a count.
pub(crate) fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// Bytes in decimal units with one digit after the point: `1.6 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    for (unit, size) in UNITS {
        if bytes >= size {
            let size = Decimal::from(bytes) / Decimal::from(size);
            return format!("{:.1} {unit}", size.round_dp(1));
        }
    }
    counted(bytes, "byte", "bytes")
}

/// A time as people say it: `830 ms`, `12.3 s`, `4 min 5 s`, `2 h 3 min`.
pub(crate) fn duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..=59 => format!("{:.1} s", Decimal::from(milliseconds / 100) / Decimal::TEN),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", count(seconds / 3_600), seconds % 3_600 / 60),
    }
}

/// Whole units a second; `None` while no time has passed.
pub(crate) fn per_second(units: u64, time: Duration) -> Option<u64> {
    let milliseconds = Decimal::from(time.as_millis().min(u128::from(u64::MAX)));
    let rate = Decimal::from(units).checked_mul(Decimal::ONE_THOUSAND)?.checked_div(milliseconds)?;
    u64::try_from(rate.trunc()).ok()
}

/// A part of a whole in percent, cut (never rounded up: 99.99 % is not 100 %) and at most 100; `None` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> Option<u64> {
    let share = Decimal::from(part.min(whole)).checked_mul(Decimal::ONE_HUNDRED)?.checked_div(Decimal::from(whole))?;
    u64::try_from(share.trunc()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "table", "tables"), "1 table");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1_550_000_000), "1.6 GB");
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
        assert_eq!(duration(Duration::from_millis(830)), "830 ms");
        assert_eq!(duration(Duration::from_millis(12_345)), "12.3 s");
        assert_eq!(duration(Duration::from_secs(245)), "4 min 5 s");
        assert_eq!(duration(Duration::from_secs(7_380)), "2 h 3 min");
    }

    #[test]
    fn rates_and_shares_do_not_overflow_or_flatter() {
        assert_eq!(per_second(10, Duration::ZERO), None);
        assert_eq!(per_second(1_000, Duration::from_millis(500)), Some(2_000));
        assert_eq!(per_second(u64::MAX, Duration::from_millis(1)), None);
        assert_eq!(percent(1, 0), None);
        assert_eq!(percent(9_999, 10_000), Some(99));
        assert_eq!(percent(3, 2), Some(100));
        assert_eq!(percent(u64::MAX, u64::MAX), Some(100));
    }
}
