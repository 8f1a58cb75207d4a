//! Clients, one server, and what goes wrong between them.

use std::collections::BTreeSet;

use protocol::{At, Client, Commit, Event, Flaw, Mark, Outcome, Plan, Trouble};
use stateright::{Model, Property};

use crate::promises;

/// What is checked: who pushes what, and how much may go wrong.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The requests, and the flaw.
    pub plan: Plan,
    /// The request of each client, by its place in the table; two clients with the same one are two copies of one step.
    pub clients: Vec<u8>,
    /// How many exchanges may fail, in all.
    pub faults: u8,
    /// How often a client may be killed, or run again after it gave up, in all.
    pub kills: u8,
}

/// One run of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The client.
    pub client: u8,
    /// How often it began before.
    pub number: u8,
}

/// A commit on its way to the branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    /// Who sent it.
    pub run: Run,
    /// The commit, for a branch that is at its parent.
    pub commit: Commit,
    /// The server's answer, once there is one.
    pub answer: Option<Result<(), Trouble>>,
    /// Nobody waits for the answer any more.
    pub lost: bool,
}

/// A change of the branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Update {
    /// What it was set to.
    pub commit: Commit,
    /// By whom.
    pub run: Run,
}

/// A state of everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// What the branch was set to, one after the other.
    pub updates: Vec<Update>,
    /// Every client, and how often it began before.
    pub clients: Vec<(Client, u8)>,
    /// What is on its way.
    pub flights: BTreeSet<Flight>,
    faults: u8,
    kills: u8,
}

/// A place where a look at the branch may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The fetch of the tip.
    Fetch,
    /// A deeper fetch, in search of the offer.
    Settle,
    /// A deeper fetch, in search of the base or of an earlier commit.
    Judge,
}

/// What happens next. The number is the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It reads the branch and thinks about it, up to the commit that it would push; or the look fails there, in this way.
    Reads(u8, Option<(Stage, Trouble)>),
    /// Its time is up; where an offer is open it reads the branch once more.
    GivesUp(u8, Option<Stage>),
    /// It pushes: the commit goes to a server that is still at its parent, or the exchange fails before that.
    Sends(u8, Option<Trouble>),
    /// The server deals with what has arrived.
    Arrives(Flight),
    /// The server, or something before it, turns away what it could have taken: a lock that is held, a quota.
    TurnedAway(Flight, Trouble),
    /// The answer comes back.
    Hears(u8),
    /// The exchange breaks off: what was sent may be lost, or arrive still.
    Loses(u8),
    /// It is killed, and begins anew with nothing but its request.
    Dies(u8),
    /// Its time is up in the middle of an exchange, which it leaves alone.
    CutOff(u8),
    /// It gave up, and is run again.
    RunsAgain(u8),
}

impl Setting {
    fn forces(&self) -> bool {
        self.plan.flaw == Some(Flaw::ForcePush)
    }

    fn forbidden(&self, commit: &Commit) -> bool {
        let request = commit.marks().last().and_then(|mark| self.plan.table.get(usize::from(mark.request)));
        request.is_some_and(|request| request.forbidden)
    }

    fn mark(&self, client: usize, number: u8) -> Mark {
        let random = self.plan.flaw == Some(Flaw::RandomId);
        let request = self.clients.get(client).copied().unwrap_or(u8::MAX);
        Mark { request, id: if random { number } else { 0 } }
    }

    /// A look at a branch with this tip, and all that follows from it by itself. `None` where the fault is not met.
    fn read(&self, client: &Client, tip: &Commit, fault: Option<(Stage, Trouble)>) -> Option<Client> {
        let mut left = fault;
        let mut fails = |stage| left.take_if(|(at, _)| *at == stage).map(|(_, trouble)| trouble);
        let fetched = fails(Stage::Fetch).map_or_else(|| Ok(tip.clone()), Err);
        let mut client = client.next(&self.plan, &Event::Fetched(fetched))?;
        while let Some(event) = client.says(&self.plan) {
            let failed = match event {
                Event::Settled(_) => fails(Stage::Settle).map(|trouble| Event::Settled(Err(trouble))),
                Event::Judged(_) => fails(Stage::Judge).map(|trouble| Event::Judged(Err(trouble))),
                Event::Offers(_) => break,
                _ => None,
            };
            client = client.next(&self.plan, &failed.unwrap_or(event))?;
        }
        left.is_none().then_some(client)
    }

    /// The client's own events, until there is nothing left to say.
    fn talk(&self, client: Client) -> Option<Client> {
        let mut client = client;
        while let Some(event) = client.says(&self.plan) {
            client = client.next(&self.plan, &event)?;
        }
        Some(client)
    }

    fn send(&self, world: &mut World, number: u8, failed: Option<Trouble>) -> Option<()> {
        let (client, run) = world.clients.get(usize::from(number))?;
        let At::Writing(tip) = &client.at else { return None };
        let event = client.says(&self.plan)?;
        let Event::Offers(commit) = event.clone() else { return None };
        let sent = client.next(&self.plan, &event)?;
        let moved = (*tip != world.tip() && !self.forces()).then_some(Trouble::Clear);
        let next = if let Some(trouble) = failed.or(moved) {
            self.talk(sent.next(&self.plan, &Event::NotAcknowledged(trouble, false))?)?
        } else {
            let run = Run { client: number, number: *run };
            world.flights.insert(Flight { run, commit, answer: None, lost: false });
            sent
        };
        world.put(number, next)
    }

    fn arrive(&self, world: &mut World, flight: &Flight, turned_away: Option<Trouble>) -> Option<()> {
        let refused = self.forbidden(&flight.commit).then_some(Trouble::Lasting);
        let moved = (flight.commit.parent() != world.tip() && !self.forces()).then_some(Trouble::Clear);
        let clear = refused.or(moved);
        if turned_away.is_some() && clear.is_some() {
            return None;
        }
        let answer = clear.or(turned_away).map_or(Ok(()), Err);
        if answer.is_ok() {
            world.updates.push(Update { commit: flight.commit.clone(), run: flight.run });
        }
        world.flights.remove(flight);
        world.flights.insert(Flight { answer: Some(answer), ..flight.clone() });
        Some(())
    }

    fn hear(&self, world: &mut World, number: u8) -> Option<()> {
        let flight = world.awaited(number)?.clone();
        let event = match flight.answer? {
            Ok(()) => Event::Acknowledged,
            Err(trouble) => Event::NotAcknowledged(trouble, true),
        };
        world.flights.remove(&flight);
        let heard = world.client(number)?.next(&self.plan, &event)?;
        world.put(number, self.talk(heard)?)
    }

    fn lose(&self, world: &mut World, number: u8) -> Option<()> {
        let lost = Event::NotAcknowledged(Trouble::Unclear, true);
        let next = world.client(number)?.next(&self.plan, &lost)?;
        world.forget(number);
        world.put(number, self.talk(next)?)
    }

    fn begin(&self, world: &mut World, number: u8) -> Option<()> {
        world.forget(number);
        let (client, run) = world.clients.get_mut(usize::from(number))?;
        *run += 1;
        *client = Client::new(self.mark(usize::from(number), *run));
        Some(())
    }

    fn act(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Reads(number, fault) => {
                let client = world.client(number).filter(|client| client.at == At::Ready)?;
                let next = self.read(client, &world.tip(), fault)?;
                world.put(number, next)
            }
            Action::GivesUp(number, fault) => {
                let last = world.client(number)?.next(&self.plan, &Event::GivesUp)?;
                let fault = fault.map(|stage| (stage, Trouble::Unclear));
                let next = match (last.at == At::LastLook, fault) {
                    (true, fault) => self.read(&last, &world.tip(), fault)?,
                    (false, None) => self.talk(last)?,
                    (false, Some(_)) => return None,
                };
                world.put(number, next)
            }
            Action::Sends(number, failed) => self.send(world, number, failed),
            Action::Arrives(flight) => self.arrive(world, &flight, None),
            Action::TurnedAway(flight, trouble) => self.arrive(world, &flight, Some(trouble)),
            Action::Hears(number) => self.hear(world, number),
            Action::Loses(number) => self.lose(world, number),
            Action::Dies(number) => {
                let client = world.client(number)?;
                let began = client.at != At::Ready || client.offer.is_some();
                (began && !client.has_ended()).then_some(())?;
                self.begin(world, number)
            }
            Action::CutOff(number) => {
                let next = world.client(number)?.next(&self.plan, &Event::Ended(Outcome::Unknown))?;
                world.forget(number);
                world.put(number, next)
            }
            Action::RunsAgain(number) => {
                let gave_up = At::Ended(Outcome::Transient);
                let unknown = At::Ended(Outcome::Unknown);
                world.client(number).filter(|client| client.at == gave_up || client.at == unknown)?;
                self.begin(world, number)
            }
        }
    }
}

impl Action {
    /// What it takes of the faults and of the kills.
    const fn costs(&self) -> (u8, u8) {
        match self {
            Self::Reads(_, Some(_))
            | Self::GivesUp(_, Some(_))
            | Self::Sends(_, Some(_))
            | Self::TurnedAway(..)
            | Self::Loses(_) => (1, 0),
            Self::Dies(_) | Self::RunsAgain(_) => (0, 1),
            _ => (0, 0),
        }
    }
}

impl World {
    /// Where the branch is.
    pub fn tip(&self) -> Commit {
        self.updates.last().map(|update| update.commit.clone()).unwrap_or_default()
    }

    fn client(&self, number: u8) -> Option<&Client> {
        self.clients.get(usize::from(number)).map(|(client, _)| client)
    }

    fn put(&mut self, number: u8, next: Client) -> Option<()> {
        self.clients.get_mut(usize::from(number)).map(|(client, _)| *client = next)
    }

    /// What the client waits for.
    fn awaited(&self, number: u8) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.run.client == number && !flight.lost)
    }

    /// Nobody waits any more for what the client sent.
    fn forget(&mut self, number: u8) {
        if let Some(flight) = self.awaited(number).cloned() {
            self.flights.remove(&flight);
            self.flights.insert(Flight { lost: true, ..flight });
        }
    }
}

impl Model for Setting {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let clients = (0..self.clients.len()).map(|n| (Client::new(self.mark(n, 0)), 0)).collect();
        let (faults, kills) = (self.faults, self.kills);
        vec![World { updates: Vec::new(), clients, flights: BTreeSet::new(), faults, kills }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let troubles = [Trouble::Unclear, Trouble::Lasting];
        let stages = [Stage::Fetch, Stage::Settle, Stage::Judge];
        for number in 0..u8::try_from(world.clients.len()).unwrap_or(u8::MAX) {
            actions.extend([Action::Reads(number, None), Action::Sends(number, None), Action::Hears(number)]);
            actions.extend([Action::GivesUp(number, None), Action::CutOff(number), Action::Loses(number)]);
            actions.extend([Action::Dies(number), Action::RunsAgain(number)]);
            for stage in stages {
                actions.push(Action::GivesUp(number, Some(stage)));
                actions.extend(troubles.map(|trouble| Action::Reads(number, Some((stage, trouble)))));
            }
            actions.extend(troubles.map(|trouble| Action::Sends(number, Some(trouble))));
        }
        for flight in world.flights.iter().filter(|flight| flight.answer.is_none()) {
            actions.push(Action::Arrives(flight.clone()));
            actions.push(Action::TurnedAway(flight.clone(), Trouble::Clear));
            // on a whim: a proxy whose opinion of us changed lets another offer of the same commit through
            actions.push(Action::TurnedAway(flight.clone(), Trouble::Lasting));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let (faults, kills) = action.costs();
        let mut next = world.clone();
        next.faults = world.faults.checked_sub(faults)?;
        next.kills = world.kills.checked_sub(kills)?;
        self.act(&mut next, action)?;
        // what nobody waits for and the server can do nothing with is as good as gone
        let tip = next.tip();
        let counts = |f: &Flight| {
            let taken = f.answer.is_none()
                && !self.forbidden(&f.commit)
                && (f.commit.parent() == tip || self.forces());
            !f.lost || taken
        };
        next.flights.retain(counts);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}
