//! More than a node can do: scenarios 8 and 23.

use dynode_client::wire::{ErrorCode, Quorum};
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::journal::OpId;
use tests::world::plan::{Action, Plan, SECOND};
use tests::world::{Outcome, Violation};

/// How many of these operations came to that.
fn count(scene: &Scene, ops: &[OpId], outcome: Outcome) -> usize {
    ops.iter().filter(|op| scene.answer(**op).outcome == outcome).count()
}

/// 200 writes that need an owner which is suspended, at a node that may have 100 under way: 100 are held, the others are
/// told at once. When the owner wakes the held ones are done; when it does not, all are answered once its silence is
/// noticed, and what does not need it goes on. Killed without the bound.
#[test]
fn scenario_08_a_suspended_owner_fills_no_queue_beyond_its_bound() {
    const BOUND: usize = 100;
    const OVERLOADED: Outcome = Outcome::Failed(ErrorCode::Overloaded);
    // What a node has under way beside clients' operations: rounds of digests, pulls.
    const BESIDE: usize = 20;
    fn flood(scene: &mut Scene, at: usize, keys: &[usize]) -> Result<Vec<OpId>, Violation> {
        let key = |i: usize| keys[i % keys.len()];
        let ops: Vec<OpId> =
            (0..2 * BOUND).map(|i| scene.ask(i % 8, at, key(i), Action::PutCurrent, Quorum::All, true)).collect();
        for _ in 0..100 {
            scene.run(0.002)?;
            let under_way = scene.under_way(at);
            ensure(under_way <= BOUND + BESIDE, || format!("{under_way} operations are under way"))?;
        }
        let (held, dropped) = (count(scene, &ops, Outcome::Pending), count(scene, &ops, OVERLOADED));
        ensure((held, dropped) == (BOUND, BOUND), || format!("{held} are held, {dropped} were told `overloaded`"))?;
        Ok(ops)
    }
    hold(
        |off| {
            let plan = Plan { keys: 100, clients: 8, partitions: 8, operations_max: BOUND, ..Plan::calm(5) };
            let mut scene = Scene::of(off, plan)?;
            let [at, second, away] = scene.owners(0)[..] else { unreachable!("three owners") };
            let keys: Vec<usize> = (0..100).filter(|key| scene.partition(*key) == scene.partition(0)).collect();
            let elsewhere = (0..100).find(|key| !scene.owners(*key).contains(&away)).expect("a key of others");

            // It wakes before anybody has missed it.
            scene.pause(away, 600.0);
            let ops = flood(&mut scene, at, &keys)?;
            scene.does(0, second, 0, Action::Get)?.done()?;
            scene.does(0, at, elsewhere, Action::PutCurrent)?.fails(ErrorCode::Overloaded, (0, 0))?;
            scene.wake(away);
            scene.run(0.2)?;
            let done = count(&scene, &ops, Outcome::Done);
            ensure(done == BOUND, || format!("{done} of {BOUND} are done after the owner woke"))?;
            scene.does(0, at, elsewhere, Action::PutCurrent)?.done()?;

            // It does not wake.
            scene.pause(away, 600.0);
            let ops = flood(&mut scene, at, &keys)?;
            scene.run(2.0)?;
            let unknown = count(&scene, &ops, Outcome::Unknown);
            ensure(unknown == BOUND, || format!("{unknown} of {BOUND} are answered after two seconds"))?;
            scene.does(0, at, elsewhere, Action::PutCurrent)?.done()?;
            let ops: Vec<OpId> = (0..2 * BOUND)
                .map(|i| scene.ask(i % 8, at, keys[i % keys.len()], Action::PutCurrent, Quorum::Majority, true))
                .collect();
            scene.run(0.5)?;
            let (done, dropped) = (count(&scene, &ops, Outcome::Done), count(&scene, &ops, OVERLOADED));
            ensure(done >= BOUND && done + dropped == ops.len(), || {
                format!("{done} are done, {dropped} were dropped")
            })?;
            scene.strictly(at, 0, Action::PutCurrent, Quorum::All)?.fails(ErrorCode::QuorumNotMet, (3, 2))?;
            scene.wake(away);
            scene.settle()?;
            scene.strictly(at, 0, Action::PutCurrent, Quorum::All)?.done().map(drop)
        },
        &[Off::Admission],
    );
}

/// Requests of an open loop, to owners of their keys; the first key is hot. So many a second, for so many seconds.
fn offer(scene: &mut Scene, rate: f64, seconds: f64) -> Result<Vec<OpId>, Violation> {
    let offered = (0..(rate * seconds) as usize).map(|i| {
        let op = offer_one(scene, i);
        scene.run(1.0 / rate).map(|()| op)
    });
    offered.collect()
}

fn offer_one(scene: &mut Scene, i: usize) -> OpId {
    let key = if i % 10 < 4 { 0 } else { 1 + i * 7 % (KEYS - 1) };
    let action = if (i / 10).is_multiple_of(2) { Action::Get } else { Action::PutCurrent };
    let owners = scene.owners(key);
    scene.ask(i % CLIENTS, owners[i % owners.len()], key, action, Quorum::Majority, false)
}

const KEYS: usize = 200;
const CLIENTS: usize = 200;

/// The ninety-ninth of a hundred, in microseconds, of how long these took that were done.
fn p99(scene: &Scene, ops: &[OpId]) -> u64 {
    let done = ops.iter().map(|op| scene.answer(*op)).filter(|a| a.outcome == Outcome::Done);
    let mut took: Vec<u64> = done.map(|a| a.took).collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or(u64::MAX)
}

/// So many operations a second came to a good end in this time, each within the second that a user waits.
fn goodput(scene: &Scene, from: u64, until: u64) -> f64 {
    let good =
        scene.world.journal.ops.iter().filter(|op| {
            op.outcome == Outcome::Done && (from..until).contains(&op.ended) && op.ended - op.began < SECOND
        });
    good.count() as f64 / ((until - from) as f64 / SECOND as f64)
}

/// Three times the load that it can bear, of clients that do not wait for answers, four of ten for one key: what is not done
/// is refused, in words, and the rest is four fifths at least of what the same cluster does at its best. Within
/// ten seconds of the end everything is as before. Killed without the bound of operations under way.
#[test]
fn scenario_23_three_times_the_load_and_a_hot_key_are_shed_in_words_and_forgotten_in_seconds() {
    hold(
        |off| {
            let plan = Plan {
                keys: KEYS,
                clients: CLIENTS,
                partitions: 8,
                operations_max: 30,
                turn_max: 8,
                // A small machine: 500 reads or writes of copies a second. A message costs a seventh of one, so that to
                // refuse a request costs about a twentieth of what it costs to fulfil it.
                cost: (300, 0),
                work: 2_000,
                wire: false,
                ..Plan::calm(5)
            };
            let mut scene = Scene::of(off, plan)?;
            // The most that it does, whatever is offered.
            let mut peak: f64 = 0.0;
            for rate in (400..=1_600).step_by(200) {
                let began = scene.world.now;
                offer(&mut scene, f64::from(rate), 2.0)?;
                peak = peak.max(goodput(&scene, began + SECOND / 2, scene.world.now));
                scene.run(2.0)?;
            }
            let calm = offer(&mut scene, peak / 2.0, 3.0)?;
            scene.run(1.0)?;
            let p99_before = p99(&scene, &calm);

            let began = scene.world.now;
            let flood = offer(&mut scene, 3.0 * peak, 8.0)?;
            let ended = scene.world.now;
            let under_load = goodput(&scene, began + SECOND, ended);
            scene.world.run_until(ended + 10 * SECOND)?;
            let after = offer(&mut scene, peak / 2.0, 3.0)?;
            scene.run(6.0)?;
            let p99_after = p99(&scene, &after);

            let refused: Vec<usize> = [ErrorCode::Overloaded, ErrorCode::Unavailable, ErrorCode::QuorumNotMet]
                .map(|code| count(&scene, &flood, Outcome::Failed(code)))
                .to_vec();
            let (done, unknown) = (count(&scene, &flood, Outcome::Done), count(&scene, &flood, Outcome::Unknown));
            println!(
                "peak {peak:.0} a second; of {} at three times that: {under_load:.0} a second good, done {done}, refused {refused:?}, \
                 unknown {unknown}; p99 {p99_before} us before, {} us meanwhile, {p99_after} us after",
                flood.len(),
                p99(&scene, &flood),
            );
            ensure(under_load >= 0.8 * peak, || format!("{under_load:.0} of {peak:.0} a second under the load"))?;
            ensure(unknown * 100 <= flood.len(), || format!("{unknown} were left without a word"))?;
            let all_done = count(&scene, &after, Outcome::Done) == after.len();
            ensure(all_done && p99_after <= 2 * p99_before, || format!("p99 {p99_before} us, then {p99_after} us"))?;
            scene.settle()
        },
        &[Off::Admission],
    );
}
