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
}
