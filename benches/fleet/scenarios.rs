//! What befalls a fleet, one after the other.

use std::time::Duration;

use headset::credential::slot::RejectOutcome;
use headset_simulator::Faults;

use crate::tell;
use crate::world::{Row, World, now};

/// How long Redis is away, cut off or slow.
const AWAY: Duration = Duration::from_secs(10);

/// How long the login is down.
const LOGIN_DOWN: Duration = Duration::from_secs(60);

/// How long scripts are counted.
const STEADY: Duration = Duration::from_secs(90);

/// What a fleet published less than 5 s ago is not replaced because of a rejection.
const YOUNG: Duration = Duration::from_secs(6);

pub async fn run(many: usize) {
    let folder = std::env::temp_dir().join(format!("headset-fleet-{}", std::process::id()));
    tell(format_args!(
        "{many} replicas\n\n| Scenario | Registrations: ideal, seen | Replicas without a \
         credential | Until the last had it |\n|---|---|---|---|"
    ));
    let steady = {
        let mut world = World::start(&folder, many, "30d").await;
        starts(&mut world).await;
        asked(&world).await;
        storm(&world).await;
        let steady = steady(&world, many).await;
        empty(&mut world).await;
        old_dump(&mut world).await;
        cut_off(&world).await;
        slow(&world).await;
        steady
    };
    renewal(&mut World::start(&folder, many, "60s").await).await;
    login_down(&mut World::start(&folder, many, "30d").await).await;
    tell(format_args!("\n{steady}"));
}

/// A cold start while the contact center registers nothing.
async fn login_down(world: &mut World) {
    world.faults(Faults {
        registration_status: 503,
        registration_status_next: u32::MAX,
        retry_after_s: 1,
        ..Faults::default()
    });
    let mut row = Row::begin(world, "cold start of all, the login down for 60 s", 1);
    row.lost = None;
    world.fill();
    let begun = now();
    row.until(world, || begun.elapsed() > LOGIN_DOWN).await;
    let attempts = world.simulator.state().registration_attempts;
    assert!(attempts <= 30, "{attempts} attempts in a minute");
    world.faults(Faults::default());
    row.recovers_from_now();
    let took = row.until_all(world).await;
    row.also(&format!(" ({attempts} attempts)"));
    row.tell(world, took);
}

async fn starts(world: &mut World) {
    let mut row = Row::begin(world, "cold start of all", 1);
    row.lost = None;
    world.fill();
    let took = row.until_all(world).await;
    row.tell(world, took);
    let mut row = Row::begin(world, "restart of all", 0);
    row.lost = None;
    for at in 0..world.replicas.len() {
        world.replicas[at] = world.replica();
    }
    let took = row.until_all(world).await;
    row.tell(world, took);
}

/// A person asks for a new one, and it spreads.
async fn asked(world: &World) {
    let mut row = Row::begin(world, "a new one, from its publication to the last", 1);
    world.renew(0).await;
    row.recovers_from_now();
    let took = row.until_newer(world).await;
    row.tell(world, took);
}

/// A credential that lives for a minute is renewed in its second half, by whoever is first.
async fn renewal(world: &mut World) {
    world.fill();
    let mut row = Row::begin(world, "cold start", 1);
    row.lost = None;
    row.until_all(world).await;
    let mut row = Row::begin(world, "renewal, from its publication to the last", 1);
    let published = world.redis.published();
    row.until(world, || world.redis.published() > published)
        .await;
    row.recovers_from_now();
    let took = row.until_newer(world).await;
    row.tell(world, took);
}

/// The upstream rejects the credential, at every replica at once.
async fn storm(world: &World) {
    tokio::time::sleep(YOUNG).await;
    let mut row = Row::begin(world, "a storm of 401: every replica at once", 1);
    // While it is replaced, calls wait.
    row.lost = None;
    let mut calls = tokio::task::JoinSet::new();
    for slot in &world.replicas {
        let slot = slot.clone();
        let used = slot.peek().expect("it is live");
        calls.spawn(async move { slot.reject(&used).await });
    }
    let mut stood = 0;
    while let Some(outcome) = calls.join_next().await {
        let outcome = outcome.expect("no call panics");
        stood += usize::from(matches!(outcome, RejectOutcome::Stands));
    }
    let took = row.until_newer(world).await;
    // Their callers would have been answered 401.
    row.lost = Some(stood);
    row.tell(world, took);
}

async fn steady(world: &World, many: usize) -> String {
    let (scripts, begun) = (world.redis.scripts(), now());
    tokio::time::sleep(STEADY).await;
    let steady = (world.redis.scripts() - scripts) as f64;
    let each = steady / many as f64 / begun.elapsed().as_secs_f64() * 3600.0;
    let record = world.redis.record().expect("it is published");
    let memory = world.redis.ask(&["MEMORY", "USAGE", &record]);
    format!(
        "Redis in steady state: {each:.0} scripts a replica and hour; its memory for the \
         credential: {} bytes",
        memory
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches(':')
    )
}

async fn empty(world: &mut World) {
    let mut row = Row::begin(world, "Redis killed for 10 s (not yet back)", 0);
    world.redis.kill();
    let begun = now();
    row.until(world, || begun.elapsed() > AWAY).await;
    row.tell(world, Duration::ZERO);
    let mut row = Row::begin(world, "Redis is back, and empty", 0);
    world.redis.again();
    let took = row.until(world, || world.redis.published() > 0).await;
    settle(&mut row, world).await;
    row.tell(world, took);
}

async fn old_dump(world: &mut World) {
    world.redis.keep();
    world.renew(1).await;
    let mut row = Row::begin(world, "Redis is back, with the dump of before a renewal", 0);
    settle(&mut row, world).await;
    let newest = world.redis.published();
    world.redis.kill();
    world.redis.bring_back();
    world.redis.again();
    assert!(world.redis.published() < newest, "the dump is an old one");
    row.recovers_from_now();
    let took = row.until(world, || world.redis.published() > newest).await;
    settle(&mut row, world).await;
    row.tell(world, took);
}

/// Nothing passes between all replicas and Redis, and one of them is asked for a new one.
async fn cut_off(world: &World) {
    let mut row = Row::begin(world, "all cut off for 10 s, during a renewal", 1);
    world.wire.flow(false);
    let begun = now();
    world.renew(2).await;
    row.until(world, || begun.elapsed() > AWAY).await;
    world.wire.flow(true);
    row.recovers_from_now();
    let took = row.until_newer(world).await;
    settle(&mut row, world).await;
    row.tell(world, took);
}

async fn slow(world: &World) {
    let mut row = Row::begin(world, "Redis slow by 2 s for 10 s, during a renewal", 1);
    world.wire.slow(Duration::from_secs(2));
    let begun = now();
    world.renew(3).await;
    row.until(world, || begun.elapsed() > AWAY).await;
    world.wire.slow(Duration::ZERO);
    row.recovers_from_now();
    let took = row.until_newer(world).await;
    settle(&mut row, world).await;
    row.tell(world, took);
}

/// Replicas come back within 5 s each: until then, nobody may mint for that.
async fn settle(row: &mut Row, world: &World) {
    let begun = now();
    row.until(world, || begun.elapsed() > AWAY).await;
}
