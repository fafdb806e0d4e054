//! One member's machine, driven message by message.

use dynode_client::wire::{Ack, MemberState, Members, Message, Ping, PingFor, Rumour};
use dynode_ring::NodeId;

use super::Swim;
use crate::limits;
use crate::protocol::{Effect, Effects, Liveness, Micros, ReplyTo, Time};

const OWN: NodeId = NodeId(1);
/// The incarnation that all begin with.
const FIRST: u64 = 1000;

/// A member among so many, all of whom it has heard of; and the time.
struct One {
    swim: Swim,
    now: Time,
}

impl One {
    fn among(members: u64) -> One {
        let mut one = One { swim: Swim::new(OWN, (1..=members).map(NodeId), FIRST, 7, Time(0)), now: Time(0) };
        (2..=members).for_each(|node| drop(one.hears_of(node, node, MemberState::Alive, FIRST)));
        one
    }

    fn out(&mut self, act: impl FnOnce(&mut Swim, Time, &mut Effects)) -> Vec<Effect> {
        let mut out = Effects::new();
        act(&mut self.swim, self.now, &mut out);
        out.drain().collect()
    }

    /// A peer sends news of a member.
    fn hears_of(&mut self, from: u64, node: u64, state: MemberState, incarnation: u64) -> Vec<Effect> {
        let (rumours, incarnation) = match from == node {
            true => (vec![], incarnation),
            false => (vec![Rumour { node, incarnation, state }], FIRST),
        };
        self.asked(from, 0, Members { incarnation, rumours })
    }

    fn asked(&mut self, from: u64, request: u64, message: impl Into<Message>) -> Vec<Effect> {
        let reply_to = ReplyTo { connection: from, request };
        let message = message.into();
        self.out(|swim, now, out| swim.request(now, NodeId(from), reply_to, &message, out))
    }

    fn answered(&mut self, from: u64, request: u64, heard: bool) -> Vec<Effect> {
        let ack = Ack { incarnation: FIRST, heard, rumours: vec![] }.into();
        self.out(|swim, now, out| swim.response(now, NodeId(from), request, &ack, out))
    }

    /// Lets time pass, tick by tick; nobody answers.
    fn waits(&mut self, span: Micros) -> Vec<Effect> {
        let end = self.now + span;
        let mut all = Vec::new();
        while self.swim.next_wake() <= end {
            self.now = self.swim.next_wake().max(self.now);
            all.extend(self.out(Swim::tick));
        }
        self.now = end;
        all
    }

    /// As [`One::waits`]; all pings are answered, except those of these.
    fn lives(&mut self, span: Micros, silent: &[u64]) -> Vec<Effect> {
        let end = self.now + span;
        let mut all = Vec::new();
        while self.now < end {
            let some = self.waits(Micros::millis(10).min(end - self.now));
            for (to, id) in pings(&some).into_iter().filter(|(to, _)| !silent.contains(to)) {
                self.answered(to, id, true);
            }
            for (to, id, target) in asks(&some) {
                self.answered(to, id, !silent.contains(&target));
            }
            all.extend(some);
        }
        all
    }

    fn takes(&self, node: u64) -> Liveness {
        self.swim.liveness(NodeId(node))
    }
}

fn pings(effects: &[Effect]) -> Vec<(u64, u64)> {
    let ping = |effect: &Effect| match effect {
        Effect::Send { to, request, message: Message::Ping(_), .. } => Some((to.0, *request)),
        _ => None,
    };
    effects.iter().filter_map(ping).collect()
}

/// Pings asked of others: of whom, the id, for whom.
fn asks(effects: &[Effect]) -> Vec<(u64, u64, u64)> {
    let ask = |effect: &Effect| match effect {
        Effect::Send { to, request, message: Message::PingFor(m), .. } => Some((to.0, *request, m.target)),
        _ => None,
    };
    effects.iter().filter_map(ask).collect()
}

fn rumours(effect: &Effect) -> &[Rumour] {
    match effect {
        Effect::Send { message, .. } | Effect::Reply { message, .. } => match message {
            Message::Ping(m) => &m.rumours,
            Message::PingFor(m) => &m.rumours,
            Message::Ack(m) => &m.rumours,
            Message::Members(m) => &m.rumours,
            _ => &[],
        },
        Effect::Observe(_) => &[],
    }
}

const SUSPECT: MemberState = MemberState::Suspect { by: 3 };

#[test]
fn a_member_that_answers_stays_alive() {
    let mut one = One::among(5);
    one.lives(Micros::secs(60), &[]);
    assert!((2..=5).all(|node| one.takes(node) == Liveness::Alive));
    assert_eq!(one.swim.counters().probes_failed, 0);
    assert!(one.swim.counters().probes > 50);
}

#[test]
fn a_silent_member_is_asked_by_three_others_then_suspect_then_down() {
    let mut one = One::among(6);
    let all = one.lives(Micros::secs(3), &[2]);
    let first = asks(&all).iter().filter(|(_, _, target)| *target == 2).take(limits::PROBE_HELPERS).count();
    assert_eq!(first, limits::PROBE_HELPERS);
    assert!(asks(&all).iter().all(|(_, _, target)| *target == 2), "others answer, so nobody is asked about them");
    assert_eq!(one.takes(2), Liveness::Suspect);
    one.lives(Micros::secs(20), &[2]);
    assert_eq!(one.takes(2), Liveness::Down);
    assert!((3..=6).all(|node| one.takes(node) == Liveness::Alive));
}

#[test]
fn an_answer_to_one_of_the_others_is_enough() {
    let mut one = One::among(6);
    for _ in 0..2000 {
        let some = one.waits(Micros::millis(10));
        for (to, id) in pings(&some).into_iter().filter(|(to, _)| *to != 2) {
            one.answered(to, id, true);
        }
        if let Some((to, id, _)) = asks(&some).into_iter().next() {
            one.answered(to, id, true); // one of the three gets through
        }
        assert_eq!(one.takes(2), Liveness::Alive);
    }
    assert!(one.swim.counters().probes > 20);
}

#[test]
fn a_lost_connection_leads_to_a_probe_at_once_and_three_words_to_a_verdict() {
    let mut one = One::among(6);
    let effects = one.out(|swim, now, out| swim.lost(now, NodeId(2), out));
    let (to, ping) = pings(&effects)[0];
    assert_eq!(to, 2);
    let effects = one.out(|swim, now, out| swim.unsent(now, NodeId(2), ping, out));
    let asked = asks(&effects);
    assert_eq!(asked.len(), 3);
    assert_eq!(one.takes(2), Liveness::Alive, "a lost connection alone says little");
    asked.iter().for_each(|(helper, id, _)| drop(one.answered(*helper, *id, false)));
    one.waits(limits::PROBE_TIMEOUT_MAX);
    assert_eq!(one.takes(2), Liveness::Suspect);
}

#[test]
fn a_suspect_contradicts_with_a_higher_incarnation_only() {
    let mut one = One::among(6);
    one.hears_of(3, 2, SUSPECT, FIRST);
    assert_eq!(one.takes(2), Liveness::Suspect);
    one.hears_of(4, 2, MemberState::Alive, FIRST);
    assert_eq!(one.takes(2), Liveness::Suspect, "that was known when it was accused");
    one.hears_of(4, 2, MemberState::Alive, FIRST + 1);
    assert_eq!(one.takes(2), Liveness::Alive);
    one.hears_of(3, 2, SUSPECT, FIRST);
    one.hears_of(3, 2, MemberState::Down, FIRST);
    assert_eq!(one.takes(2), Liveness::Alive, "old words");
}

#[test]
fn a_suspect_that_says_nothing_is_down_and_comes_back() {
    let mut one = One::among(6);
    one.hears_of(3, 2, SUSPECT, FIRST);
    one.lives(Micros::secs(60), &[2]);
    assert_eq!(one.takes(2), Liveness::Down);
    one.hears_of(3, 2, SUSPECT, FIRST);
    assert_eq!(one.takes(2), Liveness::Down);
    one.hears_of(2, 2, MemberState::Alive, FIRST + 5);
    assert_eq!(one.takes(2), Liveness::Alive);
}

/// Across a cut that has healed, others' word that one of us is down would be believed by all of us at once.
#[test]
fn a_member_that_is_alive_here_gets_time_to_contradict_when_others_take_it_for_down() {
    let mut one = One::among(6);
    one.hears_of(3, 2, MemberState::Down, FIRST);
    assert_eq!(one.takes(2), Liveness::Suspect);
    one.lives(limits::SUSPICION_MIN, &[2]);
    assert_eq!(one.takes(2), Liveness::Down, "no longer than that");
}

#[test]
fn it_contradicts_what_is_said_of_itself() {
    let mut one = One::among(6);
    one.hears_of(3, 1, SUSPECT, FIRST);
    assert_eq!(one.swim.incarnation(), FIRST + 1);
    one.hears_of(3, 1, SUSPECT, FIRST);
    assert_eq!(one.swim.incarnation(), FIRST + 1, "already contradicted");
    one.hears_of(3, 1, MemberState::Down, FIRST + 7);
    assert_eq!(one.swim.incarnation(), FIRST + 8);
    assert_eq!(one.swim.counters().contradicted, 2);
    let told = one.waits(Micros::secs(1));
    let word = Rumour { node: 1, incarnation: FIRST + 8, state: MemberState::Alive };
    assert!(told.iter().any(|effect| rumours(effect).contains(&word)));
}

/// A guest that takes this node for suspect would go on doing so; what it says of others, or of a run that cannot be, is nothing.
#[test]
fn it_contradicts_what_a_stranger_says_of_itself() {
    let mut one = One::among(4);
    let says = |node, incarnation| Ping { incarnation: 5, rumours: vec![Rumour { node, incarnation, state: SUSPECT }] };
    let incarnation_said = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Reply { message: Message::Ack(m), .. } => Some(m.incarnation),
            _ => None,
        })
    };
    assert_eq!(incarnation_said(&one.asked(99, 1, says(1, FIRST))), Some(FIRST + 1));
    assert_eq!(one.swim.counters().contradicted, 1);
    assert_eq!(incarnation_said(&one.asked(99, 2, says(1, FIRST))), Some(FIRST + 1), "already contradicted");
    let absurd = FIRST + limits::INCARNATION_LEAP + 2;
    assert_eq!(incarnation_said(&one.asked(99, 3, says(1, absurd))), Some(FIRST + 1), "nobody is so far ahead");
    assert_eq!(incarnation_said(&one.asked(99, 4, says(2, FIRST))), Some(FIRST + 1));
    assert_eq!(one.takes(2), Liveness::Alive);
}

#[test]
fn a_suspect_hears_first_of_all_what_is_said_of_it() {
    let mut one = One::among(40);
    for node in 10..40 {
        one.hears_of(3, node, MemberState::Alive, FIRST + 1); // news enough to fill messages
    }
    one.hears_of(3, 2, SUSPECT, FIRST);
    let reply = one.asked(2, 9, Ping { incarnation: FIRST, rumours: vec![] });
    let Some(answer @ Effect::Reply { .. }) = reply.first() else { panic!("no answer") };
    assert_eq!(rumours(answer)[0], Rumour { node: 2, incarnation: FIRST, state: SUSPECT });
}

#[test]
fn a_node_that_was_paused_forgives() {
    let mut one = One::among(3);
    one.hears_of(3, 2, SUSPECT, FIRST);
    one.lives(Micros::secs(1), &[2]);
    // Half a minute passes without a tick; the first event is a message, the second the tick.
    one.now = one.now + Micros::secs(30);
    one.asked(3, 5, Ping { incarnation: FIRST, rumours: vec![] });
    one.out(Swim::tick);
    assert_eq!(one.swim.counters().paused, 1);
    assert!((2..=3).all(|node| one.takes(node) != Liveness::Down), "nobody is down because this node slept");
    one.lives(Micros::millis(500), &[2]);
    assert_eq!(one.takes(2), Liveness::Suspect, "the rest of the time is given back");
    one.lives(Micros::secs(3), &[2]);
    assert_eq!(one.takes(2), Liveness::Down);
}

#[test]
fn a_node_that_hears_nobody_waits_longer() {
    let mut one = One::among(6);
    one.waits(Micros::secs(20));
    assert_eq!(one.swim.slowness(), limits::SLOWNESS_MAX);
    one.lives(Micros::secs(200), &[]);
    assert!(one.swim.slowness() < 2);
}

#[test]
fn it_probes_for_others_and_says_so_when_it_hears_nothing() {
    let mut one = One::among(6);
    let ask = |target| PingFor { incarnation: FIRST, target, rumours: vec![] };
    let heard = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Reply { to, message: Message::Ack(m), .. } => Some((to.request, m.heard)),
            _ => None,
        })
    };
    let effects = one.asked(3, 77, ask(2));
    let (_, id) = pings(&effects)[0];
    assert_eq!(heard(&effects), None);
    assert_eq!(heard(&one.answered(2, id, true)), Some((77, true)));
    one.asked(3, 78, ask(2));
    assert_eq!(heard(&one.waits(limits::PROBE_TIMEOUT_MAX)), Some((78, false)));
    let (_, id) = pings(&one.asked(3, 79, ask(2)))[0];
    assert_eq!(heard(&one.out(|swim, now, out| swim.unsent(now, NodeId(2), id, out))), Some((79, false)));
    assert_eq!(heard(&one.asked(3, 80, ask(1))), Some((80, true)), "itself");
    assert_eq!(heard(&one.asked(3, 81, ask(99))), Some((81, false)), "a stranger");
}

#[test]
fn news_is_told_a_bounded_number_of_times() {
    let mut one = One::among(10);
    one.lives(Micros::secs(20), &[]); // until nothing is left to tell
    one.hears_of(3, 2, MemberState::Alive, FIRST + 1);
    let all = one.lives(Micros::secs(20), &[]);
    let told = |effect: &&Effect| {
        let is_exchange = matches!(effect, Effect::Send { request: 1.., message: Message::Members(_), .. });
        !is_exchange && rumours(effect).iter().any(|r| r.node == 2)
    };
    let sends = 2 * limits::RUMOUR_SENDS; // two digits
    assert_eq!(all.iter().filter(told).count(), sends as usize);
}

#[test]
fn messages_stay_small_in_a_large_cluster_with_much_news() {
    let mut one = One::among(1000);
    for node in 2..=1000 {
        one.hears_of(3, node, MemberState::Suspect { by: 4 }, FIRST);
    }
    let effects = one.waits(Micros::secs(2));
    let small = |effect: &&Effect| !matches!(effect, Effect::Send { request: 1.., message: Message::Members(_), .. });
    let longest = effects.iter().filter(small).map(|effect| rumours(effect).len()).max();
    assert_eq!(longest, Some(limits::RUMOURS_MAX));
}

#[test]
fn strangers_and_absurd_incarnations_are_not_believed() {
    let mut one = One::among(4);
    for incarnation in [FIRST + limits::INCARNATION_LEAP + 1, limits::INCARNATION_MAX + 1, u64::MAX] {
        for state in [MemberState::Alive, SUSPECT, MemberState::Down] {
            one.hears_of(3, 2, state, incarnation);
            one.hears_of(3, 1, state, incarnation);
            one.hears_of(3, 99, state, FIRST);
        }
    }
    one.asked(2, 1, Ping { incarnation: u64::MAX, rumours: vec![] });
    one.asked(
        99,
        1,
        Ping { incarnation: FIRST, rumours: vec![Rumour { node: 2, incarnation: FIRST, state: SUSPECT }] },
    );
    assert_eq!(one.swim.counters().disbelieved, 28);
    assert_eq!((one.takes(2), one.takes(99)), (Liveness::Alive, Liveness::Down));
    assert_eq!(one.swim.view(NodeId(2)).unwrap().incarnation, FIRST);
    assert_eq!(one.swim.incarnation(), FIRST);
}

#[test]
fn invented_accusers_do_not_shorten_a_suspicion() {
    let mut one = One::among(100);
    for by in 1000..1100 {
        one.hears_of(3, 2, MemberState::Suspect { by }, FIRST);
    }
    one.lives(Micros::secs(9), &[2]); // the least time is 8 s
    assert_eq!(one.takes(2), Liveness::Suspect);
}

#[test]
fn whatever_is_asked_what_is_held_stays_bounded() {
    let mut one = One::among(50);
    for request in 0..10_000 {
        one.asked(3, request, PingFor { incarnation: FIRST, target: 2 + request % 49, rumours: vec![] });
        one.hears_of(4, 2 + request % 49, SUSPECT, FIRST);
        one.answered(5, request, false);
        one.answered(5, 1 << 63 | request, true);
    }
    let most = limits::PINGS_AWAITED_MAX + limits::PROBES_MAX + limits::RELAYS_MAX + 2 * 50;
    assert!(one.swim.load() <= most, "{} of {most}", one.swim.load());
}

#[test]
fn members_come_and_go() {
    let mut one = One::among(5);
    one.hears_of(3, 2, SUSPECT, FIRST);
    one.swim.set_members(one.now, [1, 3, 4, 6].map(NodeId));
    assert_eq!(one.takes(2), Liveness::Down, "a stranger now");
    assert_eq!(one.takes(6), Liveness::Alive);
    let all = one.lives(Micros::secs(20), &[]);
    assert!(pings(&all).iter().all(|(to, _)| [3, 4, 6].contains(to)));
    assert!(pings(&all).iter().any(|(to, _)| *to == 6));
}

#[test]
fn alone_it_sleeps() {
    let swim = Swim::new(OWN, [OWN], FIRST, 1, Time(0));
    assert_eq!(swim.next_wake(), Time(u64::MAX));
}
