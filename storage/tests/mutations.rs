//! Each rule of the protocol, broken: the laws must notice. A check that stays green proves nothing.
#![cfg(feature = "mutations")]

mod common;

use common::run::{fails, run};
use common::scripts::SCRIPTS;
use dynode_storage::rules::{Rule, break_rule};

/// Seeds tried for each rule; most are found within a few.
const SEEDS_MAX: u64 = 3000;

fn notices(rule: Rule) {
    break_rule(Some(rule));
    let script = SCRIPTS.iter().find(|s| fails(s.1)).map(|s| s.0);
    let seed = (0..SEEDS_MAX).find(|seed| fails(|| run(*seed)));
    break_rule(None);
    eprintln!("{rule:?}: noticed by script {script:?}, seed {seed:?}");
    assert!(script.is_some() || seed.is_some(), "nothing notices that {rule:?} is broken");
}

macro_rules! each {
    ($($name:ident: $rule:ident,)*) => {
        $(#[test] fn $name() { notices(Rule::$rule); })*

        #[test]
        fn every_rule_has_its_test() {
            let tested = [$(stringify!($name)),*];
            // The rules from here on are for the node to keep: its own checks break them.
            let of_copies = Rule::ALL.into_iter().take_while(|r| r.0 != Rule::Greedy).map(|r| r.1);
            assert_eq!(tested.to_vec(), of_copies.collect::<Vec<_>>());
        }
    };
}

each! {
    round: Round,
    fill: Fill,
    strip: Strip,
    delta: Delta,
    claim: Claim,
    absence: Absence,
    dots: Dots,
    reuse: Reuse,
    volatile: Volatile,
    epoch: Epoch,
    drop: Drop,
    close: Close,
    hand_over: HandOver,
    refuse: Refuse,
}
