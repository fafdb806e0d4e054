//! Pipelines, and many clients at once.

use crate::served::{alone, command};

#[test]
fn answers_of_a_pipeline_are_those_of_its_order() {
    let served = alone();
    let mut conn = served.connect();
    let mut sent = Vec::new();
    let mut expected = Vec::new();
    for round in 0..300 {
        let value = round.to_string();
        for (words, answer) in [
            (
                vec!["GET", "k"],
                if round == 0 { "$-1".to_string() } else { format!("${} {}", value_of(round - 1).len(), round - 1) },
            ),
            (vec!["SET", "k", &value], "+OK".into()),
            (vec!["PING"], "+PONG".into()),
            (vec!["GET", "k"], format!("${} {value}", value.len())),
            (vec!["INCR", "n"], format!(":{}", round + 1)),
            (
                vec!["MGET", "k", "n"],
                format!("*2 ${} {value} ${} {}", value.len(), value_of(round + 1).len(), round + 1),
            ),
            (vec!["DEL", "n2"], format!(":{}", i32::from(round > 0))),
            (vec!["SET", "n2", "x"], "+OK".into()),
        ] {
            sent.extend(command(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()));
            expected.push(answer);
        }
    }
    let mut sender = conn.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &sent).unwrap());
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(&conn.answer(), expected, "answer {at}");
    }
    sending.join().unwrap();
}

fn value_of(number: i32) -> String {
    number.to_string()
}

#[test]
fn a_listing_comes_after_what_was_before_it() {
    let served = alone();
    let mut conn = served.connect();
    for round in 0..20 {
        conn.send(&[command(&[b"SET", b"k", b"v"]), command(&[b"DBSIZE"]), command(&[b"DEL", b"k"])].concat());
        let answers = [conn.answer(), conn.answer(), conn.answer()];
        // What comes after it may be there already, or not.
        assert!(answers[0] == "+OK" && answers[2] == ":1", "{round}: {answers:?}");
    }
    conn.send(&[command(&[b"SET", b"k", b"v"]), command(&[b"DBSIZE"])].concat());
    assert_eq!([conn.answer(), conn.answer()], ["+OK", ":1"]);
}

#[test]
fn increments_and_appends_of_many_connections_are_never_lost() {
    let served = alone();
    const CONNECTIONS: usize = 8;
    const EACH: usize = 200;
    let mut seen: Vec<i64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|client| {
                let mut conn = served.connect();
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    for n in 0..EACH {
                        // Some wait for each answer, some do not.
                        conn.send(&[command(&[b"INCR", b"n"]), command(&[b"APPEND", b"a", b"x"])].concat());
                        if client % 2 == 0 || n + 1 == EACH {
                            let waiting = if client % 2 == 0 { 1 } else { EACH };
                            for _ in 0..waiting {
                                seen.push(conn.answer()[1..].parse::<i64>().unwrap());
                                conn.answer();
                            }
                        }
                    }
                    seen
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    seen.sort_unstable();
    let total = (CONNECTIONS * EACH) as i64;
    assert_eq!(seen, (1..=total).collect::<Vec<_>>(), "every number is given out once");
    let mut conn = served.connect();
    assert_eq!(conn.ask("STRLEN a"), format!(":{total}"));
}

#[test]
fn only_one_of_many_sets_a_key_that_is_not_there() {
    let served = alone();
    let winners: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|n| {
                let mut conn = served.connect();
                scope.spawn(move || usize::from(conn.ask(&format!("SET lock {n} NX")) == "+OK"))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(winners, 1);
}
