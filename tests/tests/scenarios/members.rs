//! Who is there, through a bad network: scenario 20.

use dynode::protocol::Liveness;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::plan::{Plan, SECOND, Spell};

const NODES: usize = 5;

/// How long the network is bad, in seconds.
const BAD_FOR: u64 = 120;

/// Two members of which the first does not think that the second is there, or would not ask it.
fn disagreement(scene: &Scene) -> Option<(usize, usize)> {
    let pairs = (0..NODES).flat_map(|at| (0..NODES).map(move |other| (at, other)));
    pairs.into_iter().find(|(at, other)| scene.takes(*at, *other) != Some((Liveness::Alive, true)))
}

/// Two minutes of 30 % loss, of ways that are cut in one direction and of processes that halt for a second: nobody is taken
/// for down who is there, no peer's breaker opens more often than once in ten seconds, and within ten seconds of the heal
/// all agree. Killed where members do not hear what is said of them, and so cannot contradict.
#[test]
fn scenario_20_members_agree_soon_after_one_way_cuts_loss_and_pauses_and_do_not_flap() {
    hold(
        |off| {
            let plan = Plan { keys: 1, latency: (200, 2_000), notice: (SECOND, 100), ..Plan::calm(NODES) };
            let mut scene = Scene::of(off, plan)?;
            ensure(disagreement(&scene).is_none(), || "they do not agree to begin with".into())?;
            scene.begin_spell(Spell::Loss, 0, 0, BAD_FOR);
            for round in 0..BAD_FOR as usize / 10 {
                // Another way is cut every ten seconds, and another process halts in between.
                scene.heal();
                scene.cut_one_way(round % NODES, (round + 1 + round / NODES) % NODES);
                scene.run(5.0)?;
                scene.pause((round * 3 + 1) % NODES, 1.0);
                scene.run(5.0)?;
            }
            let (down, opened) = (scene.taken_for_down(), scene.total(|c| c.breakers_opened));
            scene.heal();
            let healed = scene.world.now;
            while let Some((at, other)) = disagreement(&scene) {
                let late = || format!("ten seconds after the heal n{at} has n{other} for {:?}", scene.takes(at, other));
                ensure(scene.world.now - healed < 10 * SECOND, late)?;
                scene.run(0.1)?;
            }
            let agreed = (scene.world.now - healed) / 1_000;
            println!("{down} taken for down, {opened} breakers opened, agreed {agreed} ms after the heal");
            ensure(down == 0, || format!("{down} times one was taken for down who was there"))?;
            let pairs = (NODES * (NODES - 1)) as u64;
            ensure(opened <= pairs * BAD_FOR / 10, || format!("breakers opened {opened} times"))?;
            scene.run(10.0)?;
            ensure(disagreement(&scene).is_none(), || "they did not stay of one mind".into())?;
            scene.settle()
        },
        &[Off::Refutation],
    );
}
