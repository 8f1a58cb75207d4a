//! Amounts of memory and storage, in the one form that Kubernetes itself would print.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::Refused;

/// A positive amount in whole Mi, Gi or Ti, at most 1024Ti. Printed canonically (`1024Mi` becomes `1Gi`), since the API
/// server would rewrite it so and Argo CD would then see a difference (KubeVirt's webhook re-marshals `/spec`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity {
    mebibytes: u64,
}

impl Quantity {
    /// The rule, for people.
    pub const RULE: &'static str =
        "a whole number and a unit, such as `512Mi`, `8Gi` or `2Ti`, at most 1024Ti";
    const MAX: u64 = 1024 << 20;

    /// The amount in MiB (2²⁰ bytes).
    pub const fn mebibytes(self) -> u64 {
        self.mebibytes
    }
}

impl FromStr for Quantity {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let refuse = Refused(Self::RULE);
        let (digits, factor) = ["Mi", "Gi", "Ti"]
            .iter()
            .zip([1, 1 << 10, 1 << 20])
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, factor)))
            .ok_or(refuse.clone())?;
        if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse);
        }
        let number: u64 = digits.parse().map_err(|_| refuse.clone())?;
        let mebibytes = number.checked_mul(factor).filter(|n| *n <= Self::MAX).ok_or(refuse)?;
        Ok(Self { mebibytes })
    }
}

impl TryFrom<String> for Quantity {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        text.parse()
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.to_string()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mebibytes {
            n if n % (1 << 20) == 0 => write!(f, "{}Ti", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}Gi", n >> 10),
            n => write!(f, "{n}Mi"),
        }
    }
}

/// The bytes of an amount as Kubernetes writes it, such as `8Gi`, `71135396`, `1500M`, `1.5Gi` or `12e6`; part of a byte
/// counts as a whole one, as in `resource.Quantity.Value()`. None for what is no such amount, is negative, or is 2⁶⁴ or
/// more (`apimachinery/pkg/api/resource/quantity.go`).
pub fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{part}").parse().ok()?;
    let decimals = u32::try_from(part.len()).ok()?;
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter().zip((10..).step_by(10));
    let decimal = [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12)];
    let decimal = decimal.into_iter().chain([("P", 15), ("E", 18)]);
    let exponent = || suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok();
    let (times, by): (u128, u128) =
        if let Some((_, bits)) = binary.into_iter().find(|(unit, _)| *unit == suffix) {
            (1 << bits, 1)
        } else {
            let power =
                decimal.into_iter().find(|(unit, _)| *unit == suffix).map(|(_, p)| p).or_else(exponent)?;
            let factor = 10_u128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, factor) } else { (factor, 1) }
        };
    let amount = digits.checked_mul(times)?.div_ceil(by.checked_mul(10_u128.checked_pow(decimals)?)?);
    u64::try_from(amount).ok()
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn amounts_are_printed_canonically() {
        for (text, printed) in
            [("1Mi", "1Mi"), ("1024Mi", "1Gi"), ("1536Mi", "1536Mi"), ("2048Gi", "2Ti"), ("1024Ti", "1024Ti")]
        {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "Gi",
            "0Gi",
            "01Gi",
            "1.5Gi",
            "-1Gi",
            "1G",
            "1",
            "1Ki",
            "1 Gi",
            "1Gi ",
            "1025Ti",
            "99999999999999999999Ti",
            "1e3Mi",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn bytes_are_those_that_kubernetes_counts() {
        for (text, bytes) in [
            ("8Gi", 8 << 30),
            ("71135396", 71_135_396),
            ("1500M", 1_500_000_000),
            ("1.5Gi", 3 << 29),
            (".5Ki", 512),
            ("12e6", 12_000_000),
            ("1E3", 1000),
            ("2E", 2_000_000_000_000_000_000),
            ("1k", 1000),
            ("1001m", 2),
            ("15e-1", 2),
            ("0", 0),
        ] {
            assert_eq!(super::bytes(text), Some(bytes), "{text}");
        }
        for text in
            ["", ".", "Gi", "-1", "1.2.3", "1 Gi", "1gi", "1e", "16Ei", "1e99", "99999999999999999999Ei"]
        {
            assert_eq!(super::bytes(text), None, "{text}");
        }
    }
}
