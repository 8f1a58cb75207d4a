//! The last day of a machine, counted from the request's own `requestedAt` and from no clock: the same request has the same
//! answer whenever it is asked again.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use crate::policy::Policy;
use crate::problem::{Code, Problem};

use super::Facts;

const EXPIRES: &str = "/spec/lifecycle/expiresAt";
const REQUESTED: &str = "/metadata/requestedAt";

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let Some(text) = facts.text(EXPIRES) else { return };
    let Ok(last) = text.parse::<Date>() else {
        found.push(Problem::new(EXPIRES, Code::Timestamp, "there is no such day"));
        return;
    };
    if facts.get("/metadata").is_some() && !facts.has(REQUESTED) {
        let problem = Problem::new(REQUESTED, Code::Required, "missing: what `expiresAt` is counted from");
        found.push(problem.hint("when the request is made, such as `\"2026-09-01T10:00:00Z\"`"));
    }
    if let Some(asked) = asked(facts).filter(|asked| last <= *asked) {
        let message = format!("`{last}` is not after the day of the request, `{asked}`");
        found.push(Problem::new(EXPIRES, Code::Timestamp, message).hint("give a later day"));
    }
}

/// The longest lifetime that the policy allows.
pub(super) fn site(facts: &Facts<'_>, policy: &Policy) -> Option<Problem> {
    let most = policy.limits.lifetime_days?;
    let (asked, last) = (asked(facts)?, facts.parsed::<Date>(EXPIRES)?);
    let days = asked.until((Unit::Day, last)).ok()?.get_days();
    (days > i32::from(most)).then(|| {
        let latest =
            asked.checked_add(jiff::Span::new().days(most)).map(|day| format!("at the latest `{day}`"));
        let message = format!("{days} days after the request, the policy allows {most}");
        Problem::new(EXPIRES, Code::PolicyLifetime, message).hint(latest.unwrap_or_default())
    })
}

/// The day of the request, in UTC.
fn asked(facts: &Facts<'_>) -> Option<Date> {
    facts.parsed::<Timestamp>(REQUESTED).map(|time| time.to_zoned(TimeZone::UTC).date())
}
