//! What has to be true in every state, and what has to happen in some.

use protocol::{At, Client, Commit, Mark, Outcome};
use stateright::Property;

use crate::setting::{Run, Setting, World};

pub(crate) fn all() -> Vec<Property<Setting>> {
    vec![
        Property::always("what is acknowledged is on the branch, once", acknowledged),
        Property::always("no request is on the branch twice", once),
        Property::always("a conflict is told only of what is not on the branch", conflict),
        Property::always("what is told as superseded was on the branch", superseded),
        Property::always("who failed left nothing on the branch", failed),
        Property::always("nothing unseen is overwritten", seen),
        Property::always("the branch only grows, one commit at a time", grows),
        // the checker is right about this one as long as no state leads back to itself, which a test shows
        Property::eventually("everybody has an answer", |_, world| runs(world).all(|(c, _)| c.has_ended())),
        Property::sometimes("everybody is told that it is on the branch", |_, world| {
            runs(world).all(|(client, _)| matches!(ended(client), Some(Outcome::Ok { .. })))
        }),
        Property::sometimes("what an earlier run pushed is found", |_, world| {
            let found = |client| matches!(ended(client), Some(Outcome::Ok { changed: false, .. }));
            let earlier = |run| pushed(world, Run { number: 0, ..run });
            runs(world).any(|(client, run)| run.number > 0 && found(client) && earlier(run))
        }),
        Property::sometimes("what was pushed without an answer is found", |_, world| {
            runs(world).any(|(client, _)| client.offer.is_some() && made(client))
        }),
        Property::sometimes("somebody is told of a conflict", |_, world| {
            runs(world).any(|(client, _)| ended(client) == Some(&Outcome::Conflict))
        }),
        Property::sometimes("somebody is told that a later request took his place", |_, world| {
            runs(world).any(|(client, _)| matches!(ended(client), Some(Outcome::Superseded(_))))
        }),
    ]
}

fn runs(world: &World) -> impl Iterator<Item = (&Client, Run)> {
    let run = |(client, number): (usize, u8)| Run { client: u8::try_from(client).unwrap_or(u8::MAX), number };
    world.clients.iter().enumerate().map(move |(n, (client, number))| (client, run((n, *number))))
}

fn pushed(world: &World, run: Run) -> bool {
    world.updates.iter().any(|update| update.run == run)
}

const fn ended(client: &Client) -> Option<&Outcome> {
    if let At::Ended(outcome) = &client.at { Some(outcome) } else { None }
}

const fn made(client: &Client) -> bool {
    matches!(ended(client), Some(Outcome::Ok { changed: true, .. }))
}

fn acknowledged(_: &Setting, world: &World) -> bool {
    let tip = world.tip();
    runs(world).all(|(client, _)| match ended(client) {
        Some(Outcome::Ok { commit, .. }) => {
            let ours = commit.marks().last().is_some_and(|mark| mark.request == client.request());
            ours && tip.holds(commit) && tip.count(client.request()) == 1
        }
        _ => true,
    })
}

fn once(setting: &Setting, world: &World) -> bool {
    let tip = world.tip();
    setting.clients.iter().all(|request| tip.count(*request) <= 1)
}

fn conflict(_: &Setting, world: &World) -> bool {
    let tip = world.tip();
    runs(world).all(|(c, _)| ended(c) != Some(&Outcome::Conflict) || tip.count(c.request()) == 0)
}

fn superseded(_: &Setting, world: &World) -> bool {
    let tip = world.tip();
    runs(world).all(|(client, _)| match ended(client) {
        Some(Outcome::Superseded(commit)) => tip.holds(commit) && *commit != tip,
        _ => true,
    })
}

/// Nor will it come to be there: this holds in every later state as well.
fn failed(_: &Setting, world: &World) -> bool {
    let clear = [Outcome::Conflict, Outcome::Refused, Outcome::Transient];
    let failed = |client| ended(client).is_some_and(|outcome| clear.contains(outcome));
    runs(world).all(|(client, run)| !failed(client) || !pushed(world, run))
}

/// Each commit found in its file what its request was planned on.
fn seen(setting: &Setting, world: &World) -> bool {
    let table = &setting.plan.table;
    let mut tip = world.tip();
    while let Some(Mark { request, .. }) = tip.marks().last().copied() {
        tip = tip.parent();
        let Some(request) = table.get(usize::from(request)) else { continue };
        if tip.writer(request.file, table).map(|mark| mark.request) != request.base {
            return false;
        }
    }
    true
}

fn grows(_: &Setting, world: &World) -> bool {
    let before = std::iter::once(Commit::default()).chain(world.updates.iter().map(|u| u.commit.clone()));
    before.zip(&world.updates).all(|(before, update)| update.commit.parent() == before)
}
