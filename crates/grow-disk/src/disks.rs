//! `claim=size,…`.

use std::fmt;
use std::str::FromStr;

use vm::name::Subdomain;
use vm::quantity::Quantity;

/// Claims with their new sizes; each claim once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disks(pub Vec<(Subdomain, Quantity)>);

impl FromStr for Disks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut disks: Vec<(Subdomain, Quantity)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (claim, size) =
                part.split_once('=').ok_or_else(|| format!("expected `claim=size`, not `{part}`"))?;
            let claim: Subdomain = claim.parse().map_err(|why| format!("claim `{claim}`: expected {why}"))?;
            let size = size.parse().map_err(|why| format!("size `{size}`: expected {why}"))?;
            if disks.iter().any(|(known, _)| *known == claim) {
                return Err(format!("claim `{claim}` is named twice"));
            }
            disks.push((claim, size));
        }
        Ok(Self(disks))
    }
}

impl fmt::Display for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disks: Vec<String> = self.0.iter().map(|(claim, size)| format!("{claim}={size}")).collect();
        f.write_str(&disks.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::Disks;

    #[test]
    fn claims_with_sizes() {
        let disks: Disks = "a-b=20Gi, c.d=1024Mi,".parse().unwrap();
        assert_eq!(disks.to_string(), "a-b=20Gi,c.d=1Gi");
        assert_eq!("".parse(), Ok(Disks::default()));
        for (text, why) in [
            ("a", "expected `claim=size`, not `a`"),
            ("a=1Gi,a=2Gi", "claim `a` is named twice"),
            (
                "A=1Gi",
                "claim `A`: expected at most 253 of a-z, 0-9, - and ., with a letter or digit first and last in each part",
            ),
            (
                "a=1G",
                "size `1G`: expected a whole number and a unit, such as `512Mi`, `8Gi` or `2Ti`, at most 1024Ti",
            ),
        ] {
            assert_eq!(text.parse::<Disks>(), Err(why.to_owned()), "{text}");
        }
    }
}
