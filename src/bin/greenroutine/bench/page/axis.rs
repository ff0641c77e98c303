//! [`Axis`]: values to places between 0 and 1, and the round numbers that stand beside them.

/// How values are spread.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    /// By powers of ten.
    Log,
    /// A part of all, below 1, by how many nines it begins with: 0.9, 0.99, 0.999.
    Nines,
}

/// What the numbers beside it mean.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Nanoseconds,
    Bytes,
    Plain,
    Percent,
}

/// See the file's documentation.
#[derive(Clone)]
pub(super) struct Axis {
    scale: Scale,
    unit: Unit,
    low: f64,
    high: f64,
}

impl Axis {
    /// From 0 to the largest, rounded up.
    pub(super) fn linear(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let most = values.fold(0.0, f64::max);
        let step = unit.step(most / 4.0);
        let high = ((most / step).ceil() * step).max(step);
        Self { scale: Scale::Linear, unit, low: 0.0, high }
    }

    /// From the power of ten below the smallest to the one above the largest, as exponents. What is not above 0 counts as a thousandth.
    pub(super) fn log(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let (low, high) = values
            .map(exponent)
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (0.0, 1.0) } else { ((low + 1e-9).floor(), (high - 1e-9).ceil()) };
        Self { scale: Scale::Log, unit, low, high: high.max(low + 1.0) }
    }

    /// Parts of so many: as many nines as there can be.
    pub(super) fn nines(count: u64) -> Self {
        let high = (count.max(10) as f64).log10();
        Self { scale: Scale::Nines, unit: Unit::Percent, low: 0.0, high }
    }

    /// Where a value is, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => exponent(value),
            Scale::Nines => -(1.0 - value).max(10.0_f64.powf(-self.high)).log10(),
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round numbers, and where they are.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = self.unit.step(self.high / 4.0);
                let count = (self.high / step).round() as usize;
                let values = (0..=count).map(|n| n as f64 * step);
                values.map(|value| (self.place(value), self.unit.text(value))).collect()
            }
            Scale::Log => {
                let exponents = self.low as i32..=self.high as i32;
                // Not so many that they touch.
                let every = (exponents.clone().count() / 7 + 1) as i32;
                exponents
                    .filter(|exponent| (exponent - self.low as i32) % every == 0)
                    .map(|exponent| 10.0_f64.powi(exponent))
                    .map(|value| (self.place(value), self.unit.text(value)))
                    .collect()
            }
            Scale::Nines => {
                let nines = (1..=6).map(|nines| 1.0 - 0.1_f64.powi(nines));
                let parts = [0.0, 0.5]
                    .into_iter()
                    .chain(nines)
                    .take_while(|part| -(1.0 - part).log10() <= self.high + 1e-9);
                parts.map(|part| (self.place(part), self.unit.text(part))).collect()
            }
        }
    }
}

fn exponent(value: f64) -> f64 {
    value.max(1e-3).log10()
}

/// The least of 1, 2 or 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|by| by * power).find(|step| *step >= least * 0.999).unwrap_or(1.0)
}

impl Unit {
    /// A round distance between two numbers. What is counted has no halves.
    fn step(self, least: f64) -> f64 {
        round_step(if matches!(self, Self::Plain) { least.max(1.0) } else { least })
    }

    /// Three digits that matter, and the unit, as large as it may be.
    pub(super) fn text(self, value: f64) -> String {
        const TIMES: &[(f64, &str)] = &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (0.0, " ns")];
        const SIZES: &[(f64, &str)] = &[(1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (0.0, " B")];
        const COUNTS: &[(f64, &str)] = &[(1e6, "M"), (1e3, "k"), (0.0, "")];
        let units = match self {
            Self::Nanoseconds => TIMES,
            Self::Bytes => SIZES,
            Self::Plain => COUNTS,
            Self::Percent => return format!("{}%", digits(value * 100.0, 6)),
        };
        // Of 999.6 three digits would be 1000.
        let &(by, unit) = units.iter().find(|(by, _)| value >= by * 0.9995).unwrap_or(&(0.0, ""));
        format!("{}{unit}", digits(if by > 0.0 { value / by } else { value }, 3))
    }
}

/// So many digits that matter, and no zeros at the end behind the point.
fn digits(value: f64, count: i32) -> String {
    let before = if value >= 1.0 { value.log10().floor() as i32 + 1 } else { 1 };
    let text = format!("{value:.*}", (count - before).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(Unit::Nanoseconds.text(12.34), "12.3 ns");
        assert_eq!(Unit::Nanoseconds.text(999.7), "1 µs");
        assert_eq!(Unit::Nanoseconds.text(1.5e9), "1.5 s");
        assert_eq!(Unit::Bytes.text(8_678.0), "8.68 kB");
        assert_eq!(Unit::Plain.text(100_000.0), "100k");
        assert_eq!((Unit::Percent.text(0.0), Unit::Percent.text(0.9999)), ("0%".into(), "99.99%".into()));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |axis: &Axis| axis.ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let linear = Axis::linear([1.0, 7.3].into_iter(), Unit::Plain);
        assert_eq!(texts(&linear), ["0", "2", "4", "6", "8"]);
        let log = Axis::log([30.0, 5e3].into_iter(), Unit::Nanoseconds);
        assert_eq!(texts(&log), ["10 ns", "100 ns", "1 µs", "10 µs"]);
        let nines = Axis::nines(1000);
        assert_eq!(texts(&nines), ["0%", "50%", "90%", "99%", "99.9%"]);
        assert_eq!((nines.place(0.0), nines.place(1.0)), (0.0, 1.0));
        for axis in [
            linear,
            log,
            nines,
            Axis::log([].into_iter(), Unit::Bytes),
            Axis::linear([].into_iter(), Unit::Plain),
        ] {
            assert!(axis.ticks().iter().all(|(place, _)| (0.0..=1.0).contains(place)));
        }
    }
}
