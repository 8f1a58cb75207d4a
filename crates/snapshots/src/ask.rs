//! One request until it is answered.

use std::time::Duration;

use cluster::{Error, Hold};
use step::{Context, Failure, Kind};
use tokio::time::{Instant, sleep, timeout_at};

/// The pause after an answer that was not one; the gate of `cluster` makes it longer while the server is down.
const AGAIN: Duration = Duration::from_secs(1);
/// A kind that is not served this long after we began to ask is not installed.
const UNSERVED: Duration = Duration::from_secs(30);
/// What does not mend while RBAC is being rolled out is refused for good.
const REFUSED: Duration = Duration::from_mins(1);
/// What is done after a signal, or after the deadline, to leave things in order.
const LAST: Duration = Duration::from_secs(8);

pub(crate) async fn ask<T>(
    context: &Context,
    hold: Option<&Hold>,
    what: &str,
    request: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Failure> {
    let began = Instant::now();
    let what = format!("cannot {what}");
    let deadline = Instant::from_std(context.deadline()).max(began + LAST);
    let mut last: Option<Error> = None;
    loop {
        let answer = match timeout_at(deadline, request()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            // what was answered before says more than that the deadline came first this time
            Err(_) => return Err(last.map_or_else(|| silent(&what), |error| told(&error, &what))),
        };
        if let Some(hold) = hold {
            hold.check()?;
        }
        let patience = match answer.kind() {
            Kind::Transient if answer.not_served() => UNSERVED,
            Kind::Transient => Duration::MAX,
            Kind::Permission => REFUSED,
            _ => Duration::ZERO,
        };
        if began.elapsed() >= patience || Instant::now() + AGAIN >= deadline {
            return Err(told(&answer, &what));
        }
        tracing::debug!("{what}: {answer}");
        last = Some(answer);
        sleep(AGAIN).await;
    }
}

fn silent(what: &str) -> Failure {
    Failure::new(Kind::Transient, format!("{what}: no answer in time"))
}

fn told(answer: &Error, what: &str) -> Failure {
    let failure = answer.failure(what);
    match answer.kind() {
        Kind::Transient if answer.not_served() => failure.hint(
            "install what serves this kind, or name the machine's own cluster by `--machine-kubeconfig`",
        ),
        Kind::Permission => failure.hint("give the ServiceAccount or kubeconfig user this right"),
        _ => failure,
    }
}
