//! Every order of events, checked: keepers that race, stop in the middle of a step, wake
//! after their lease, or die; answers of the store that are lost; a store that loses all. The record
//! is the real one (`steps.rs`).
//!
//! A keeper reads, asks for the lease, mints, publishes; between any two of these anything
//! may happen to the others, and time may pass. Every state that can be reached is visited,
//! breadth first, and judged ([`ModelledFleet::judge`]); the first that fails is told with the
//! way to it. And from every state there is a way to one in which all serve the newest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::record::{LeaseAnswer, LeaseRequest, PublishAnswer};
use super::steps::FleetRecord;

const KEEPERS: usize = 3;
const LEASE_MS: u64 = 20_000;
/// How far time goes on at once: beyond a lease.
const TICK_MS: u64 = 25_000;

/// What a keeper is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    /// To look.
    Looking,
    /// It has seen this generation, and asks for the lease.
    Asking(u64),
    /// It has the lease for this generation, as far as it knows, and mints.
    Minting(u64),
    /// It has minted, and publishes.
    Publishing(u64),
    /// It has a credential.
    Serving(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ModelledFleet {
    now: u64,
    record: FleetRecord,
    keepers: Vec<Doing>,
    /// Those that were minted, in order.
    minted: Vec<u64>,
    /// Generations that were published, in order.
    published: Vec<u64>,
    rejected: Option<u64>,
    /// Time has passed while somebody had a lease.
    slept: bool,
    ticks: u8,
    deaths: u8,
    wipes: u8,
    unheard: u8,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Steps(usize),
    /// The same, but the store's answer is lost.
    Unheard(usize),
    Dies(usize),
    TimePasses,
    /// An upstream rejects what everybody carries.
    Rejects,
    /// The store loses all.
    Wiped,
}

/// How much may go wrong in one run.
struct Races {
    ticks: u8,
    deaths: u8,
    rejections: bool,
    wipes: u8,
    unheard: u8,
}

impl Races {
    fn steps(&self, fleet: &mut ModelledFleet, keeper: usize) {
        let token = keeper.to_string();
        let next = match fleet.keepers[keeper].clone() {
            Doing::Looking => {
                let view = fleet.record.look(fleet.now);
                match view.generation > 0 && view.rejected < view.generation {
                    true => Doing::Serving(view.generation),
                    false => Doing::Asking(view.generation),
                }
            }
            Doing::Asking(seen) => {
                let request = LeaseRequest {
                    token,
                    life: Duration::from_millis(LEASE_MS),
                    seen,
                    had: seen.max(fleet.published.iter().copied().max().unwrap_or(0)),
                    print: "secrets".into(),
                    forced: fleet.rejected == Some(seen) && seen > 0,
                };
                match fleet.record.lease(fleet.now, &request) {
                    LeaseAnswer::Granted { generation, .. } => Doing::Minting(generation),
                    _ => Doing::Looking,
                }
            }
            Doing::Minting(generation) => {
                fleet.minted.push(generation);
                Doing::Publishing(generation)
            }
            Doing::Publishing(generation) => {
                let left = Some(Duration::from_secs(3600));
                let answer = fleet
                    .record
                    .publish(fleet.now, &token, generation, b"", left);
                match answer {
                    PublishAnswer::Accepted => {
                        fleet.published.push(generation);
                        Doing::Serving(generation)
                    }
                    // Its first try was done, and it did not hear of that.
                    PublishAnswer::Late if fleet.record.marks().0 == generation => {
                        Doing::Serving(generation)
                    }
                    PublishAnswer::Late => Doing::Looking,
                }
            }
            Doing::Serving(_) => Doing::Looking,
        };
        fleet.keepers[keeper] = next;
    }
}

impl Races {
    fn begin(&self) -> ModelledFleet {
        ModelledFleet {
            now: 1_000_000,
            record: FleetRecord::default(),
            keepers: vec![Doing::Looking; KEEPERS],
            minted: Vec::new(),
            published: Vec::new(),
            rejected: None,
            slept: false,
            ticks: 0,
            deaths: 0,
            wipes: 0,
            unheard: 0,
        }
    }

    /// All that may happen next.
    fn events(&self, fleet: &ModelledFleet) -> Vec<Event> {
        let mut events = Vec::new();
        for (at, keeper) in fleet.keepers.iter().enumerate() {
            if !fleet.serves_the_newest(keeper) {
                events.push(Event::Steps(at));
            }
            let asks_store = matches!(keeper, Doing::Asking(_) | Doing::Publishing(_));
            if fleet.unheard < self.unheard && asks_store {
                events.push(Event::Unheard(at));
            }
            if fleet.deaths < self.deaths && *keeper != Doing::Looking {
                events.push(Event::Dies(at));
            }
        }
        if fleet.ticks < self.ticks {
            events.push(Event::TimePasses);
        }
        let mut keepers = fleet.keepers.iter();
        let all_serve = keepers.all(|keeper| matches!(keeper, Doing::Serving(_)));
        if self.rejections && fleet.rejected.is_none() && all_serve {
            events.push(Event::Rejects);
        }
        if fleet.wipes < self.wipes {
            events.push(Event::Wiped);
        }
        events
    }

    fn after(&self, fleet: &ModelledFleet, event: Event) -> ModelledFleet {
        let mut next = fleet.clone();
        match event {
            Event::Steps(keeper) => self.steps(&mut next, keeper),
            Event::Unheard(keeper) => {
                let was = next.keepers[keeper].clone();
                self.steps(&mut next, keeper);
                next.unheard += 1;
                next.keepers[keeper] = match was {
                    // It tries again.
                    Doing::Publishing(_) => was,
                    _ => Doing::Looking,
                };
            }
            Event::Dies(keeper) => {
                next.keepers[keeper] = Doing::Looking;
                next.deaths += 1;
                next.slept = true;
            }
            Event::TimePasses => {
                next.now += TICK_MS;
                next.ticks += 1;
                next.slept |= next
                    .keepers
                    .iter()
                    .any(|keeper| matches!(keeper, Doing::Minting(_) | Doing::Publishing(_)));
            }
            Event::Rejects => {
                next.rejected = next.published.last().copied();
                if let Some(generation) = next.rejected {
                    next.record.reject(generation);
                }
                // Longer ago than what is young.
                next.now += TICK_MS;
            }
            Event::Wiped => {
                next.record = FleetRecord::default();
                // A restart takes longer than a few numbers are ahead of the clock.
                next.now += 1000;
                next.wipes += 1;
                next.slept = true;
            }
        }
        next
    }

    /// Visits every state. Yields how many there are and which of the notable things were
    /// seen in one of them.
    fn visit(&self) -> (usize, HashSet<&'static str>) {
        let mut states = vec![self.begin()];
        let mut known = HashMap::from([(self.begin(), 0)]);
        // The states from which one is reached, by which event; the first is the shortest way.
        let mut before = vec![Vec::new()];
        let mut notable = HashSet::new();
        let mut at = 0;
        while let Some(fleet) = states.get(at).cloned() {
            if let Err(broken) = fleet.judge() {
                let mut way = vec![format!("{fleet:#?}")];
                let mut one = at;
                while let Some((earlier, event)) = before[one].first() {
                    way.push(format!("{event:?}"));
                    one = *earlier;
                }
                way.reverse();
                panic!("{broken}, after\n{}", way.join("\n"));
            }
            notable.extend(fleet.notable());
            for event in self.events(&fleet) {
                let after = self.after(&fleet, event);
                let next = *known.entry(after).or_insert_with_key(|after| {
                    states.push(after.clone());
                    before.push(Vec::new());
                    states.len() - 1
                });
                before[next].push((at, event));
            }
            at += 1;
        }
        self.recovers(&states, &before);
        (states.len(), notable)
    }

    /// From each state in which time can still pass, there is a way to one where all serve the newest.
    fn recovers(&self, states: &[ModelledFleet], before: &[Vec<(usize, Event)>]) {
        let serve = |at: &usize| states[*at].all_serve_the_newest();
        let mut next: Vec<usize> = (0..states.len()).filter(serve).collect();
        let mut well: HashSet<usize> = next.iter().copied().collect();
        while let Some(at) = next.pop() {
            let new = before[at].iter().map(|(earlier, _)| *earlier);
            next.extend(new.filter(|earlier| well.insert(*earlier)));
        }
        let mut all = states.iter().enumerate();
        let stuck = all.find(|(at, fleet)| fleet.ticks < self.ticks && !well.contains(at));
        assert!(stuck.is_none(), "it never recovers from {stuck:#?}");
    }
}

impl ModelledFleet {
    fn serves_the_newest(&self, keeper: &Doing) -> bool {
        let Doing::Serving(generation) = keeper else {
            return false;
        };
        self.rejected < Some(*generation) && self.published.last() == Some(generation)
    }

    fn all_serve_the_newest(&self) -> bool {
        let mut keepers = self.keepers.iter();
        keepers.all(|keeper| self.serves_the_newest(keeper))
    }

    /// What holds in each state.
    fn judge(&self) -> Result<(), &'static str> {
        let mut unique = self.minted.clone();
        unique.sort_unstable();
        unique.dedup();
        let needs = 1 + usize::from(self.rejected.is_some());
        let went_wrong = usize::from(self.ticks + self.deaths + self.wipes);
        let is_published = |keeper: &Doing| match keeper {
            Doing::Serving(generation) => self.published.contains(generation),
            _ => true,
        };
        if unique.len() != self.minted.len() {
            return Err("a generation was given to two");
        }
        // A store that lost all takes a late one, too: whoever has a newer one keeps that.
        if self.wipes == 0 && !self.published.is_sorted_by(|one, next| one < next) {
            return Err("what is published did not rise");
        }
        if !self.keepers.iter().all(is_published) {
            return Err("somebody serves what nobody published");
        }
        if !self.slept && self.minted.len() > needs {
            return Err("nobody died or slept, and there is more than one registration for a need");
        }
        if self.wipes == 0 && self.minted.len() > needs + went_wrong {
            return Err("a death or a sleep cost more than one registration");
        }
        Ok(())
    }

    /// What is worth being reached at all.
    fn notable(&self) -> Vec<&'static str> {
        let mut notable = Vec::new();
        let newest = self.published.last();
        let was_late = |one: &u64| Some(one) < newest && !self.published.contains(one);
        if self.minted.iter().any(was_late) && self.keepers.contains(&Doing::Looking) {
            notable.push("a late publication was refused");
        }
        if self.all_serve_the_newest() {
            notable.push("all serve the newest");
            if self.rejected.is_some() {
                notable.push("all serve the newest after a rejection");
            }
        }
        notable
    }
}

#[test]
fn in_every_order_of_races_sleeps_and_deaths_the_protocol_holds() {
    let races = Races {
        ticks: 2,
        deaths: 1,
        rejections: true,
        wipes: 0,
        unheard: 0,
    };
    let (states, notable) = races.visit();
    assert!(states > 1000, "{states} states");
    assert_eq!(notable.len(), 3, "{notable:?}");
}

#[test]
fn in_every_order_answers_that_are_lost_cost_no_registration() {
    let races = Races {
        ticks: 1,
        deaths: 0,
        rejections: true,
        wipes: 0,
        unheard: 2,
    };
    let (states, notable) = races.visit();
    assert!(states > 1000, "{states} states");
    assert_eq!(notable.len(), 3, "{notable:?}");
}

#[test]
fn in_every_order_a_store_that_lost_all_gives_higher_numbers_again() {
    let races = Races {
        ticks: 1,
        deaths: 0,
        rejections: false,
        wipes: 1,
        unheard: 0,
    };
    let (_, notable) = races.visit();
    assert!(notable.contains("all serve the newest"));
}
