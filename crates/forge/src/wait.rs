//! Until somebody merges it.

use std::time::Duration;

use step::{Context, Failure, Kind, human};

use crate::answer::Class;
use crate::pull_request::{PullRequest, State};
use crate::session::{Session, pace, rest};

/// How often it is looked at: at first for who merges at once, later so seldom that many who wait stay below any limit of requests.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(1);

impl Session {
    /// Wait until it is merged: the commit that the target has by it.
    ///
    /// # Errors
    ///
    /// `refused` where it is closed without that, `timeout` at the deadline; what only says no for ever (a credential that was
    /// taken away) ends it as well.
    pub async fn merged(&self, one: &PullRequest, context: &Context) -> Result<String, Failure> {
        let (mut attempt, mut seen, mut trouble) = (0, one.state.clone(), None);
        loop {
            match &seen {
                State::Merged(commit) => return Ok(commit.clone()),
                State::Closed => return Err(one.closed()),
                State::Open(_) => {}
            }
            if context.stopping() || context.left().is_zero() {
                return Err(late(&one.url, &seen, trouble, context));
            }
            let asked = match &trouble {
                Some((Class::Busy(Some(wait)), _)) => *wait,
                _ => pace(attempt, FIRST, LONGEST),
            };
            rest(asked, context).await;
            attempt += 1;
            match self.read(one.number, context.deadline()).await {
                Ok(now) => {
                    if now.state != seen
                        && let State::Open(Some(why)) = &now.state
                    {
                        tracing::info!("pull request `{}` is open: {why}", one.url);
                    }
                    (seen, trouble) = (now.state, None);
                }
                Err(other) if matches!(other.class, Class::Lasting(_)) => {
                    return Err(self.failure("read a pull request at", &other));
                }
                // what the deadline cut short says less than what was seen before
                Err(_) if context.left().is_zero() => {}
                Err(other) => {
                    tracing::info!("cannot read pull request `{}`: {}", one.url, other.words);
                    trouble = Some((other.class, other.words));
                }
            }
        }
    }
}

fn late(url: &str, seen: &State, trouble: Option<(Class, String)>, context: &Context) -> Failure {
    let why = match (trouble, seen) {
        (Some((_, words)), _) => format!(": {words}"),
        (None, State::Open(Some(why))) => format!(": {why}"),
        _ => String::new(),
    };
    let what = format!("pull request `{url}` is not merged after {}{why}", human(context.timeout()));
    Failure::new(Kind::Timeout, what).hint("run it again to wait on: the pull request stays as it is")
}
