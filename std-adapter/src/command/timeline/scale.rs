//! Axes: where their marks stand, and what is written there.

/// The marks of an axis from zero, as people would choose them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scale {
    /// What one unit of the axis is, in that of the data.
    unit: f64,
    name: &'static str,
    /// Units from mark to mark.
    step: f64,
}

/// Marks of an axis at most.
const MARKS: f64 = 8.0;

impl Scale {
    /// For times up to `end`, in seconds.
    pub(super) fn seconds(end: f64) -> Self {
        let (unit, name) = match end {
            ..1.0 => (1e-3, "ms"),
            ..600.0 => (1.0, "s"),
            _ => (60.0, "min"),
        };
        Self::new(end, unit, name)
    }

    /// For up to `end` bytes.
    pub(super) fn bytes(end: f64) -> Self {
        let units =
            [(1.0, "B"), (1024.0, "KiB"), (1024.0 * 1024.0, "MiB"), (1024.0 * 1024.0 * 1024.0, "GiB")];
        let (unit, name) = units.into_iter().rfind(|(unit, _)| end >= 2.0 * unit).unwrap_or(units[0]);
        Self::new(end, unit, name)
    }

    /// With steps of 1, 2 or 5 and zeros.
    fn new(end: f64, unit: f64, name: &'static str) -> Self {
        let least = (end / unit / MARKS).max(1e-3);
        let power = 10_f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= least);
        Self { unit, name, step: step.unwrap_or(10.0 * power) }
    }

    /// The marks up to `end`: where, and what to write there.
    pub(super) fn marks(self, end: f64) -> impl Iterator<Item = (f64, String)> {
        let count = (end / self.unit / self.step + 1e-9).floor().max(0.0) as u32;
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        (0..=count).map(move |mark| {
            let units = f64::from(mark) * self.step;
            (units * self.unit, format!("{units:.digits$} {}", self.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scale: Scale, end: f64) -> Vec<String> {
        scale.marks(end).map(|(_, words)| words).collect()
    }

    #[test]
    fn marks_are_round_and_have_units() {
        assert_eq!(
            words(Scale::seconds(0.35), 0.35).join(" "),
            "0 ms 50 ms 100 ms 150 ms 200 ms 250 ms 300 ms 350 ms"
        );
        assert_eq!(
            words(Scale::seconds(1.2), 1.2),
            ["0.0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1.0 s", "1.2 s"]
        );
        assert_eq!(words(Scale::seconds(1500.0), 1500.0).last().unwrap(), "25 min");
        let mib = f64::from(1 << 20);
        assert_eq!(
            words(Scale::bytes(33.0 * mib), 33.0 * mib).join(" "),
            "0 MiB 5 MiB 10 MiB 15 MiB 20 MiB 25 MiB 30 MiB"
        );
        assert_eq!(words(Scale::bytes(0.0), 0.0), ["0.000 B"]);
    }

    #[test]
    fn marks_are_few_and_within_the_axis() {
        for power in -3..9 {
            for digit in 1..100 {
                let end = f64::from(digit) * 10_f64.powi(power);
                // There is no part of a byte.
                for scale in
                    [Scale::seconds(end), Scale::bytes(end)].into_iter().take(if power < 1 { 1 } else { 2 })
                {
                    let marks: Vec<_> = scale.marks(end).collect();
                    assert!(marks.len() <= 1 + MARKS as usize, "{end} {marks:?}");
                    assert!(marks.iter().all(|(at, _)| *at <= end * 1.001), "{end} {marks:?}");
                    assert!(marks.len() >= 3, "{end} {marks:?}");
                }
            }
        }
    }
}
