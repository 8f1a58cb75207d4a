//! Durations as Go writes them.

/// The seconds of `5m0s`, `1h2m`, `1.5s`, `200ms` or `0`; none where it is written otherwise.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() && rest != "0" {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, factor) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        sum += number * factor;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_go_writes_them() {
        for (text, wanted) in [
            ("5m0s", Some(300.0)),
            ("1h2m", Some(3720.0)),
            ("200ms", Some(0.2)),
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
            ("5", None),
            ("m", None),
            ("5 m", None),
        ] {
            assert_eq!(super::seconds(text), wanted, "{text}");
        }
    }
}
