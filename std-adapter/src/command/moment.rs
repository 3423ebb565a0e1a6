//! A moment of a download: after so much data, or so much time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanDuration};

/// When something is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// When so many bytes have come.
    Bytes(u64),
    /// So long after the connection was made.
    Elapsed(Duration),
}

impl Moment {
    /// At once.
    pub(crate) const NOW: Self = Self::Elapsed(Duration::ZERO);
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected bytes or a time, for example 1000000, 500KiB, 1MiB, 2MB, 400ms or 3s";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| EXPECTED)?;
        let unit = unit.to_ascii_lowercase();
        let bytes = |size: u64| number.checked_mul(size).map(Self::Bytes).ok_or("too many bytes");
        match unit.as_str() {
            "ms" => Ok(Self::Elapsed(Duration::from_millis(number))),
            "s" => Ok(Self::Elapsed(Duration::from_secs(number))),
            "" | "b" => bytes(1),
            "kb" => bytes(1_000),
            "mb" => bytes(1_000_000),
            "gb" => bytes(1_000_000_000),
            "kib" => bytes(1 << 10),
            "mib" => bytes(1 << 20),
            "gib" => bytes(1 << 30),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => BinaryBytes(*bytes).fmt(f),
            Self::Elapsed(time) if time.as_secs() >= 10 => HumanDuration(*time).fmt(f),
            Self::Elapsed(time) => write!(f, "{} ms", time.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_are_read_and_told() {
        for (text, moment, told) in [
            ("0", Moment::Bytes(0), "0 B"),
            ("1000", Moment::Bytes(1000), "1000 B"),
            ("1MiB", Moment::Bytes(1 << 20), "1.00 MiB"),
            ("3kib", Moment::Bytes(3072), "3.00 KiB"),
            ("2MB", Moment::Bytes(2_000_000), "1.91 MiB"),
            ("400ms", Moment::Elapsed(Duration::from_millis(400)), "400 ms"),
            ("3s", Moment::Elapsed(Duration::from_secs(3)), "3000 ms"),
            ("60s", Moment::Elapsed(Duration::from_secs(60)), "60 seconds"),
        ] {
            assert_eq!(text.parse(), Ok(moment));
            assert_eq!(moment.to_string(), told);
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "ms", "-1", "1.5MiB", "1 MiB", "1min", "99999999999GiB", "99999999999999999999"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
