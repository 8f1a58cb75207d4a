//! Time zones, and hours of a week.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Refused;

checked! {
    /// An IANA time zone, such as `Europe/Berlin` or `Etc/GMT+5`: its form, not that it exists.
    TimeZone,
    |text| {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.split('/').count() <= 3
            && text.split('/').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-'))
            })
    },
    "an IANA time zone, such as `Europe/Berlin` or `UTC`"
}

checked! {
    /// When a machine may be worked on, each week anew: days, when it begins and ends, and the time zone of these hours. It ends
    /// on the day after where the end is the earlier one. Its form, not that there is such a zone.
    MaintenanceWindow,
    |text| text.len() <= 128 && window(text).is_some(),
    "days, hours and a time zone, such as `Sun 02:00-04:00 Europe/Berlin`"
}

/// When a maintenance window begins and ends, as `HH:MM`, and its time zone.
pub(crate) fn window(text: &str) -> Option<(&str, &str, &str)> {
    let (days, rest) = text.split_once(' ')?;
    let (hours, zone) = rest.split_once(' ')?;
    let (begin, end) = hours.split_once('-')?;
    let days = days.split(',').all(|days| {
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        [first, last].iter().all(|day| DAYS.contains(day))
    });
    (days && [begin, end].iter().all(|time| is_time(time)) && zone.parse::<TimeZone>().is_ok())
        .then_some((begin, end, zone))
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// `00:00` to `23:59`.
fn is_time(text: &str) -> bool {
    let two = |digits: &str, below: u8| {
        digits.len() == 2
            && digits.bytes().all(|b| b.is_ascii_digit())
            && digits.parse().is_ok_and(|n: u8| n < below)
    };
    text.split_once(':').is_some_and(|(hours, minutes)| two(hours, 24) && two(minutes, 60))
}
