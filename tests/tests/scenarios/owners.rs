//! Strict quorums while partitions get other owners (invariant 4): what each phase waits for, and why.

use dynode::protocol::Phase;
use dynode_client::wire::Quorum;
use dynode_storage::rules::Rule;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::journal::OpId;
use tests::world::plan::Action;
use tests::world::{Outcome, Violation};

/// In the end the key has this value.
fn finds(scene: &mut Scene, at: usize, quorum: Quorum, written: OpId) -> Result<(), Violation> {
    let read = scene.strictly(at, 0, Action::Get, quorum)?;
    ensure(read.found == [written], || format!("at last: {read:?}"))
}

/// A strict read has no answer where those who can be reached do not have what was written.
fn is_refused(scene: &mut Scene, at: usize) -> Result<(), Violation> {
    let read = scene.strictly(at, 0, Action::Get, Quorum::Majority)?;
    ensure(read.outcome != Outcome::Done, || format!("n{at} answers without what was written: {read:?}"))
}

/// Of three owners two give way, and they are the ones that have acknowledged a write; to the third nothing of it has come, and
/// transfers hang. What the new owners could have from the third alone is not enough, and neither is that the third, which stays
/// an owner, lacks nothing that it has acknowledged itself: reads go to the former owners until the transfers are through.
/// Killed where one former owner vouches for all.
#[test]
fn new_owners_answer_reads_when_most_of_them_contain_what_most_of_the_former_ones_had() {
    hold(
        |off| {
            let mut scene = Scene::with_guests(off, 3, 3, 2)?;
            let (stays, leaving, coming) = (2, [0, 1], [3, 4]);
            scene.isolate(stays);
            scene.run(2.0)?; // so that the write does not wait on a connection
            let written = scene.strictly(0, 0, Action::PutBlind, Quorum::Majority)?.done()?;
            scene.world.muted.push("Pull");
            scene.heal();
            scene.run(2.0)?;
            scene.commit(0, vec![scene.replace(leaving[0], coming[0]), scene.replace(leaving[1], coming[1])])?;
            scene.run(5.0)?;
            for at in 0..5 {
                let read = scene.strictly(at, 0, Action::Get, Quorum::Majority)?;
                ensure(read.found == [written], || format!("n{at}: {read:?}"))?;
                ensure(scene.stands(at, 0) == Some((2, Phase::Joint)), || format!("n{at}: {:?}", scene.stands(at, 0)))?;
            }
            scene.world.muted.clear();
            scene.settle()?;
            finds(&mut scene, stays, Quorum::All, written)
        },
        &[Off::Rule(Rule::OneVoucher)],
    );
}

/// Both owners give way to others. One of them has promised to answer no read of former owners any more, so that the new ones
/// may take writes alone; then it loses its disk, and comes back where it reaches only the other, to which no word of all that
/// has come. The two agree on everything, and are a majority of what they take for the owners: but the one that cannot know what
/// it has promised does not count. Killed where it takes itself for one that has promised nothing.
#[test]
fn a_former_owner_that_lost_its_promise_with_its_disk_is_bound_by_it() {
    hold(
        |off| {
            let mut scene = Scene::with_guests(off, 2, 2, 2)?;
            let ([promises, lags], [new, other]) = ([0, 1], [2, 3]);
            scene.strictly(promises, 0, Action::PutBlind, Quorum::All)?.done()?;
            scene.commit(promises, vec![scene.replace(promises, new), scene.replace(lags, other)])?;
            scene.run_until("the one knows of the change", |scene| scene.stands(lags, 0) == Some((2, Phase::Joint)))?;
            scene.isolate(lags);
            let is_stable =
                |scene: &Scene| [new, other].iter().all(|at| scene.stands(*at, 0) == Some((2, Phase::Stable)));
            scene.run_until("the new owners count alone", is_stable)?;
            scene.lose_disk(promises)?;
            let written = scene.strictly(new, 0, Action::PutOver, Quorum::Majority)?.done()?;
            scene.isolate(promises);
            scene.open(promises, lags);
            scene.start(promises)?;
            scene.run(5.0)?;
            for at in [promises, lags] {
                is_refused(&mut scene, at)?;
                ensure(scene.stands(at, 0) == Some((2, Phase::Joint)), || format!("n{at}: {:?}", scene.stands(at, 0)))?;
            }
            scene.heal();
            scene.settle()?;
            finds(&mut scene, lags, Quorum::Majority, written)
        },
        &[Off::Rule(Rule::Forgot)],
    );
}

/// Two owners of three members give way; one was cut off before it heard of the change, which the others decide and bring to its
/// end: of the former owners the other alone had to go by it. Then that one loses its disk, and with it that it has; it comes back on
/// the first layout, where it reaches only the one that was cut off. Both take themselves for the owners. Killed where the
/// one takes itself for a node that has never gone by a later layout.
#[test]
fn a_node_that_forgot_the_layout_it_went_by_does_not_serve_under_the_one_before() {
    hold(
        |off| {
            let mut scene = Scene::with_guests(off, 3, 2, 2)?;
            let [forgets, lags] = scene.owners(0)[..] else { unreachable!("two owners") };
            let [new, other] = [3, 4];
            scene.strictly(forgets, 0, Action::PutBlind, Quorum::All)?.done()?;
            scene.isolate(lags);
            scene.run(2.0)?;
            scene.commit(forgets, vec![scene.replace(forgets, new), scene.replace(lags, other)])?;
            let is_stable =
                |scene: &Scene| [new, other].iter().all(|at| scene.stands(*at, 0) == Some((2, Phase::Stable)));
            scene.run_until("the new owners count alone", is_stable)?;
            scene.lose_disk(forgets)?;
            let written = scene.strictly(new, 0, Action::PutOver, Quorum::Majority)?.done()?;
            scene.isolate(forgets);
            scene.open(forgets, lags);
            scene.start(forgets)?;
            scene.run(8.0)?;
            for at in [lags, forgets] {
                ensure(scene.stands(at, 0).is_some_and(|(epoch, _)| epoch == 1), || format!("n{at} knows better"))?;
                is_refused(&mut scene, at)?;
            }
            scene.heal();
            scene.settle()?;
            finds(&mut scene, lags, Quorum::Majority, written)
        },
        &[Off::Rule(Rule::Forgot)],
    );
}

/// Two of three owners give way, and are cut off, one of them before it hears that it counts no more; the others write without
/// them. Then they are to be owners again, and come to reach nobody but each other. They are a majority of the new owners, and
/// have their copies still; but what was written meanwhile they have not. Killed where to have held a copy is taken for having
/// been an owner.
#[test]
fn former_owners_that_become_owners_again_have_missed_what_was_written_without_them() {
    hold(
        |off| {
            let mut scene = Scene::with_guests(off, 3, 3, 2)?;
            let (stays, [one, other], [new, third]) = (0, [1, 2], [3, 4]);
            scene.strictly(stays, 0, Action::PutBlind, Quorum::All)?.done()?;
            scene.cut(one, new); // so that its copy does not leave
            scene.world.muted.push("Phases");
            scene.commit(stays, vec![scene.replace(one, new), scene.replace(other, third)])?;
            scene.run(4.0)?; // so that the new owners have what there is
            let stand = |scene: &Scene, nodes: &[usize], at| nodes.iter().all(|n| scene.stands(*n, 0) == Some(at));
            ensure(stand(&scene, &[one, other], (2, Phase::Joint)), || "nobody has told them more".into())?;
            scene.isolate(other);
            scene.world.muted.clear();
            scene.run_until("one has promised", |scene| stand(scene, &[stays], (2, Phase::Stable)))?;
            scene.isolate(one);
            scene.run_until("others count", |scene| stand(scene, &[stays, new, third], (2, Phase::Stable)))?;
            let written = scene.strictly(stays, 0, Action::PutOver, Quorum::Majority)?.done()?;
            scene.world.muted.push("Pull");
            scene.commit(stays, vec![scene.replace(new, one), scene.replace(third, other)])?;
            scene.run_until("it is decided", |scene| stand(scene, &[stays, new, third], (3, Phase::Joint)))?;
            // What was said to them meanwhile is lost.
            [stays, new, third].iter().for_each(|at| [one, other].iter().for_each(|away| scene.reset(*at, *away)));
            scene.heal();
            scene.run_until("both know of that", |scene| stand(scene, &[one, other], (3, Phase::Joint)))?;
            scene.isolate(one);
            scene.isolate(other);
            scene.open(one, other);
            scene.run(8.0)?;
            is_refused(&mut scene, one)?;
            is_refused(&mut scene, other)?;
            scene.world.muted.clear();
            scene.heal();
            scene.settle()?;
            finds(&mut scene, one, Quorum::Majority, written)
        },
        &[Off::Rule(Rule::Returns)],
    );
}

/// One of three owners gives way. It and a second one have acknowledged a write that the third has missed, and transfers hang. The
/// second and the third stay owners; but the new owners are not asked before two of them have the write, so that it outlives
/// the disk of one: then the second loses its disk. Killed where whoever was an owner all the time is taken for one that
/// contains everything, and where one new owner that does is enough.
#[test]
fn a_write_is_on_two_new_owners_before_former_ones_count_no_more() {
    hold(
        |off| {
            let mut scene = Scene::with_guests(off, 3, 3, 1)?;
            let (leaves, loses, lacks, new) = (0, 1, 2, 3);
            scene.isolate(lacks);
            scene.run(2.0)?;
            let written = scene.strictly(leaves, 0, Action::PutBlind, Quorum::Majority)?.done()?;
            scene.world.muted.push("Pull");
            scene.heal();
            scene.run(2.0)?;
            scene.commit(leaves, vec![scene.replace(leaves, new)])?;
            scene.run(5.0)?;
            scene.isolate(leaves);
            scene.lose_disk(loses)?;
            scene.world.muted.clear();
            scene.start(loses)?;
            scene.run(8.0)?;
            for at in [loses, lacks, new] {
                is_refused(&mut scene, at)?;
            }
            scene.heal();
            scene.settle()?;
            finds(&mut scene, lacks, Quorum::Majority, written)
        },
        &[Off::Rule(Rule::Stays), Off::Rule(Rule::ReadNew)],
    );
}
