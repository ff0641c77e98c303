//! What the environment says about collection. Read once, before the first cycle; every value is checked, and a bad one named.

#![forbid(unsafe_code)]

use std::ffi::OsString;

use crate::base::parse::parse_bytes;

/// How cycles are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The best that works here.
    Auto,
    /// This one or none.
    Uffd,
    /// This one.
    Stw,
    /// None: memory is never freed.
    Off,
}

/// See the file's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) choice: Choice,
    pub(super) percent: Option<u32>,
    pub(super) limit: Option<usize>,
    /// A line for each cycle.
    pub(super) trace: bool,
    /// What is verified: see `verify`.
    pub(super) checks: Checks,
}

/// The checks that are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    /// What is freed is overwritten.
    pub(super) poison: bool,
    /// Pages that have changed are told of.
    pub(super) dirty: bool,
    /// Blocks that are never read hold no reference.
    pub(super) noscan: bool,
}

impl Config {
    const DEFAULT: Self = Self {
        choice: Choice::Auto,
        percent: Some(100),
        limit: None,
        trace: false,
        checks: Checks { poison: false, dirty: false, noscan: false },
    };

    /// From the environment of the process.
    pub(super) fn read() -> Result<Self, String> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let text = |name: &str| match get(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(value)) => Err(format!("{name}={value:?} is not valid UTF-8")),
        };
        let mut config = Self::DEFAULT;
        if let Some(value) = text("GREENROUTINE_GC_PERCENT")? {
            config.percent = match value.trim() {
                "off" => None,
                number => Some(number.parse().map_err(|_| {
                    format!("GREENROUTINE_GC_PERCENT={value:?} is not a percentage: a whole number, such as 100, or `off`")
                })?),
            };
        }
        if let Some(value) = text("GREENROUTINE_MEMORY_LIMIT")? {
            config.limit = match value.trim() {
                "off" => None,
                bytes => Some(parse_bytes(bytes).ok_or_else(|| {
                    format!(
                        "GREENROUTINE_MEMORY_LIMIT={value:?} is not a size; use bytes or a suffix, such as 512MiB or 4GiB, or `off`"
                    )
                })?),
            };
        }
        for part in text("GREENROUTINE_GC")?
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            config.set(part)?;
        }
        Ok(config)
    }

    fn set(&mut self, part: &str) -> Result<(), String> {
        match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("backend", "auto")) => self.choice = Choice::Auto,
            Some(("backend", "uffd")) => self.choice = Choice::Uffd,
            Some(("backend", "stw")) => self.choice = Choice::Stw,
            Some(("backend", "off")) => self.choice = Choice::Off,
            Some(("trace", "1")) => self.trace = true,
            Some(("trace", "0")) => self.trace = false,
            Some(("check", "poison")) => self.checks.poison = true,
            Some(("check", "dirty")) => self.checks.dirty = true,
            Some(("check", "noscan")) => self.checks.noscan = true,
            Some(("check", "none")) => self.checks = Checks::default(),
            _ => {
                return Err(format!(
                    "GREENROUTINE_GC has {part:?}, which is none of backend=auto|uffd|stw|off, trace=0|1, check=none|poison|dirty|noscan"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Config, String> {
        Config::from_variables(|n| (n == name).then(|| value.into()))
    }

    #[test]
    fn variables_are_read() {
        assert_eq!(Config::from_variables(|_| None), Ok(Config::DEFAULT));
        assert_eq!(with("GREENROUTINE_GC_PERCENT", "50").expect("valid").percent, Some(50));
        assert_eq!(with("GREENROUTINE_GC_PERCENT", "off").expect("valid").percent, None);
        assert_eq!(with("GREENROUTINE_MEMORY_LIMIT", "2MiB").expect("valid").limit, Some(2 << 20));
        let config = with("GREENROUTINE_GC", "backend=stw, trace=1,check=poison").expect("valid");
        let poison = Checks { poison: true, ..Checks::default() };
        assert_eq!((config.choice, config.trace, config.checks), (Choice::Stw, true, poison));
        let checks = |text| with("GREENROUTINE_GC", text).expect("valid").checks;
        assert_eq!(
            checks("check=dirty,check=noscan"),
            Checks { dirty: true, noscan: true, ..Checks::default() }
        );
        assert_eq!(checks("check=dirty,check=none"), Checks::default());
    }

    #[test]
    fn bad_variables_are_named_with_their_value() {
        for (name, value, part) in [
            ("GREENROUTINE_GC_PERCENT", "-5", "\"-5\""),
            ("GREENROUTINE_GC_PERCENT", "many", "`off`"),
            ("GREENROUTINE_MEMORY_LIMIT", "big", "512MiB"),
            ("GREENROUTINE_GC", "backend=best", "\"backend=best\""),
            ("GREENROUTINE_GC", "fast", "backend=auto"),
        ] {
            let error = with(name, value).expect_err(value);
            assert!(error.contains(name) && error.contains(part), "{error}");
        }
    }
}
