//! Durations as Kubernetes and Tekton write them: `90s`, `10m`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A positive length of time of at most 24 hours, written in hours, minutes and seconds: `90s`, `10m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Duration);

impl Timeout {
    /// The longest that any flag takes: a flow that needs more than a day is stuck.
    const MAX: u64 = 24 * 3600;

    /// A timeout of whole seconds; at least one.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "expected hours, minutes and seconds such as `90s`, `10m` or `1h30m`".to_owned();
        let mut seconds: u64 = 0;
        let mut digits = String::new();
        let mut units = ['h', 'm', 's'].into_iter();
        for c in text.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            // `find` uses the iterator up to the unit: each unit once, in falling order
            let unit = units.find(|u| *u == c).ok_or_else(refuse)?;
            let number: u64 = digits.parse().map_err(|_| refuse())?;
            let factor = match unit {
                'h' => 3600,
                'm' => 60,
                _ => 1,
            };
            seconds = number.checked_mul(factor).and_then(|n| seconds.checked_add(n)).ok_or_else(refuse)?;
            digits.clear();
        }
        if !digits.is_empty() || text.is_empty() {
            return Err(refuse());
        }
        if seconds == 0 || seconds > Self::MAX {
            return Err("expected more than `0s` and at most `24h`".to_owned());
        }
        Ok(Self::seconds(seconds))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&human(self.0))
    }
}

/// A length of time for people, to the second: `1h30m`, `4m10s`, `0s`.
pub fn human(duration: Duration) -> String {
    let all = duration.as_secs();
    let (h, m, s) = (all / 3600, all % 3600 / 60, all % 60);
    let part = |n: u64, unit: &str| if n == 0 { String::new() } else { format!("{n}{unit}") };
    let text = part(h, "h") + &part(m, "m") + &part(s, "s");
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::Timeout;

    #[test]
    fn reads_what_it_writes() {
        for text in ["1s", "90s", "10m", "1h", "1h30m", "1h30m5s", "24h"] {
            let timeout: Timeout = text.parse().unwrap();
            assert_eq!(timeout.to_string().parse::<Timeout>(), Ok(timeout), "{text}");
        }
        assert_eq!("90s".parse::<Timeout>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn refuses_everything_else() {
        let form = "expected hours, minutes and seconds such as `90s`, `10m` or `1h30m`";
        let range = "expected more than `0s` and at most `24h`";
        for (text, why) in [
            ("", form),
            ("5", form),
            ("m", form),
            ("1d", form),
            ("-5m", form),
            ("5m1h", form),
            ("1m1m", form),
            ("1.5h", form),
            ("99999999999999999999h", form),
            ("0s", range),
            ("25h", range),
            (" 5m", form),
        ] {
            assert_eq!(text.parse::<Timeout>(), Err(why.to_owned()), "{text:?}");
        }
    }
}
