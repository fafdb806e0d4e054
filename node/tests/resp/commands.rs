//! What is asked and answered, word for word as Redis has it.

use dynode::resp::BUCKET;
use dynode_client::wire::{Causality, Expiry, Message, Put};

use crate::served::{LONG, alone, command};

fn dialogue(conn: &mut crate::served::Conn, lines: &[(&str, &str)]) {
    for (asked, answer) in lines {
        let said = conn.ask(asked);
        let fits = match answer.split_once('…') {
            Some((first, last)) => said.starts_with(first) && said.ends_with(last),
            None => said == *answer,
        };
        assert!(fits, "{asked}: {said} instead of {answer}");
    }
}

#[test]
fn strings() {
    let served = alone();
    dialogue(
        &mut served.connect(),
        &[
            ("GET k", "$-1"),
            ("SET k v", "+OK"),
            ("get k", "$1 v"),
            ("STRLEN k", ":1"),
            ("APPEND k wx", ":3"),
            ("APPEND fresh a", ":1"),
            ("GETSET k other", "$3 vwx"),
            ("SETNX k no", ":0"),
            ("SETNX new yes", ":1"),
            ("SET k x NX", "$-1"),
            ("SET none x XX", "$-1"),
            ("SET k y XX GET", "$5 other"),
            ("SET k z NX GET", "$1 y"),
            ("MSET a 1 b 2", "+OK"),
            ("MGET a nothing b a", "*4 $1 1 $-1 $1 2 $1 1"),
            ("GETDEL a", "$1 1"),
            ("GETDEL a", "$-1"),
            ("INCR n", ":1"),
            ("INCRBY n 41", ":42"),
            ("DECR n", ":41"),
            ("DECRBY n 42", ":-1"),
            ("GET n", "$2 -1"),
            ("INCR k", "-ERR value is not an integer or out of range"),
            ("INCRBY n x", "-ERR value is not an integer or out of range"),
            ("SET n 9223372036854775807", "+OK"),
            ("INCR n", "-ERR increment or decrement would overflow"),
            ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("SET k", "-ERR wrong number of arguments for 'set' command"),
            ("SET k v EX", "-ERR syntax error"),
            ("SET k v NX XX", "-ERR syntax error"),
            ("SET k v EX 1 PX 1", "-ERR syntax error"),
            ("SET k v KEEPTTL EX 1", "-ERR syntax error"),
            ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("SETEX k -1 v", "-ERR invalid expire time in 'setex' command"),
        ],
    );
    let mut conn = served.connect();
    conn.send(&command(&[b"SET", b"any\r\n\0\xff", b"\xff\0\r\n"]));
    assert_eq!(conn.answer(), "+OK");
    conn.send(&command(&[b"GET", b"any\r\n\0\xff"]));
    assert_eq!(conn.bytes(), b"$4\r\n\xff\0\r\n\r\n");
}

#[test]
fn keys() {
    let served = alone();
    dialogue(
        &mut served.connect(),
        &[
            ("DBSIZE", ":0"),
            ("SCAN 0", "*2 $1 0 *0"),
            ("MSET user:1 a user:2 b other c", "+OK"),
            ("DBSIZE", ":3"),
            ("EXISTS user:1 user:1 no", ":2"),
            ("TYPE user:1", "+string"),
            ("TYPE no", "+none"),
            ("SCAN 0 MATCH user:[2-9] COUNT 1000", "*2 $1 0 *1 $6 user:2"),
            ("SCAN 0 COUNT 1000 TYPE list", "*2 $1 0 *0"),
            ("DEL user:1 user:1 no", ":1"),
            ("UNLINK user:2 other", ":2"),
            ("EXISTS user:1 user:2 other", ":0"),
            ("DBSIZE", ":0"),
            ("SCAN x", "-ERR invalid cursor"),
            ("SCAN 99999999", "-ERR invalid cursor…0"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
            ("SCAN 0 MATCH", "-ERR syntax error"),
        ],
    );
}

#[test]
fn a_scan_shows_every_key_that_stays() {
    let served = alone();
    let mut conn = served.connect();
    // More than a list of one of the sixteen partitions, so that cursors stand within some.
    let keys: Vec<String> = (0..6000).map(|n| format!("key:{n}")).collect();
    for some in keys.chunks(500) {
        let words: Vec<&[u8]> =
            [&b"MSET"[..]].into_iter().chain(some.iter().flat_map(|key| [key.as_bytes(), b"v"])).collect();
        conn.send(&command(&words));
        assert_eq!(conn.answer(), "+OK");
    }
    assert_eq!(conn.ask("DBSIZE"), ":6000");
    let (mut cursor, mut found, mut within) = ("0".to_string(), Vec::new(), false);
    loop {
        let said = conn.ask(&format!("SCAN {cursor} COUNT 100"));
        let words: Vec<&str> = said.split(' ').collect();
        cursor = words[2].to_string();
        within |= cursor.len() > 6;
        found.extend(words[4..].iter().filter(|word| word.starts_with("key:")).map(|word| word.to_string()));
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    let mut keys = keys;
    keys.sort();
    assert!(found == keys && within);
}

#[test]
fn expiry() {
    let served = alone();
    dialogue(
        &mut served.connect(),
        &[
            ("TTL k", ":-2"),
            ("SET k v", "+OK"),
            ("TTL k", ":-1"),
            ("EXPIRE k 1000", ":1"),
            ("TTL k", ":1000"),
            ("EXPIRE k 2000 NX", ":0"),
            ("EXPIRE k 2000 LT", ":0"),
            ("EXPIRE k 2000 XX GT", ":1"),
            ("EXPIRE k 1 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
            ("EXPIRE k 1 YY", "-ERR Unsupported option YY"),
            ("APPEND k w", ":2"),
            ("TTL k", ":2000"),
            ("SET k v KEEPTTL", "+OK"),
            ("TTL k", ":2000"),
            ("PERSIST k", ":1"),
            ("PERSIST k", ":0"),
            ("SETEX k 500 v", "+OK"),
            ("TTL k", ":500"),
            ("SET k v", "+OK"),
            ("TTL k", ":-1"),
            ("SET k v EXAT 99999999999", "+OK"),
            ("PTTL k", ":9…"),
            ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE k -1", ":1"),
            ("EXISTS k", ":0"),
            ("EXPIRE k 1", ":0"),
            ("PEXPIREAT k 1", ":0"),
            ("SET k v PXAT 1", "+OK"),
            ("GET k", "$-1"),
            ("SET k v PX 1", "+OK"),
        ],
    );
    let mut conn = served.connect();
    let began = std::time::Instant::now();
    while conn.ask("GET k") != "$-1" {
        assert!(began.elapsed() < LONG);
    }
}

#[test]
fn greetings() {
    let served = alone();
    let mut conn = served.connect();
    dialogue(
        &mut conn,
        &[
            ("PING", "+PONG"),
            ("PING hi", "$2 hi"),
            ("ECHO hi", "$2 hi"),
            ("SELECT 0", "+OK"),
            ("SELECT 1", "-ERR DB index is out of range"),
            ("AUTH secret", "-ERR AUTH <password> called without any password configured…"),
            ("AUTH default any", "+OK"),
            ("AUTH eve any", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("CLIENT GETNAME", "$-1"),
            ("CLIENT SETNAME me", "+OK"),
            ("CLIENT GETNAME", "$2 me"),
            ("CLIENT SETINFO LIB-NAME lib", "+OK"),
            ("CLIENT SETINFO LIB-X lib", "-ERR Unrecognized option 'LIB-X'"),
            ("CLIENT KILL x", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP."),
            ("HELLO 4", "-NOPROTO unsupported protocol version"),
            ("HELLO 2", "*14 $6 server $5 redis…*0"),
            ("HELLO 3 AUTH eve x", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("HELLO 3 AUTH default x SETNAME you", "%7 $6 server $5 redis…*0"),
            ("GET k", "_"),
            ("CLIENT GETNAME", "$3 you"),
            ("CONFIG GET save appendonly", "%2 $4 save $0  $10 appendonly $3 yes"),
            ("CONFIG SET save x", "-ERR unknown subcommand 'SET'. Try CONFIG HELP."),
            ("INFO server", "=…"),
            ("COMMAND COUNT", ":38"),
            ("COMMAND DOCS get nothing", "%1 $3 get %2 $7 summary…"),
            ("COMMAND INFO get nothing", "*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *0 *0 *0 *0 _"),
            ("LPUSH l a b", "-ERR unknown command 'LPUSH', with args beginning with: 'l' 'a' 'b'"),
            ("FLUSHALL", "-ERR unknown command 'FLUSHALL', with args beginning with:"),
        ],
    );
    conn.send(b"  set  inline  'a b'\r\nget inline\n");
    assert_eq!((conn.answer(), conn.answer()), ("+OK".into(), "$3 a b".into()));
    conn.send(b"QUIT\r\nSET k after\r\n");
    assert_eq!(conn.until_closed(), "+OK\r\n");
    assert_eq!(served.connect().ask("GET k"), "$-1");
}

/// What others have put there beside each other.
#[test]
fn of_siblings_the_last_is_shown_and_all_are_replaced() {
    let served = alone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |message: Message, body: &'static str| {
        runtime.block_on(served.node.inside.ask(message, body.into(), LONG)).unwrap().0
    };
    let place = || (BUCKET.into(), "k".into());
    let count = || {
        let (bucket, key) = place();
        let (r, strict, timeout_ms) = (Default::default(), false, 60_000);
        let get = dynode_client::wire::Get { bucket, key, r, strict, timeout_ms, at_least: None };
        match ask(get.into(), "") {
            Message::Found(found) => found.siblings.len(),
            other => panic!("{other:?}"),
        }
    };
    let mut conn = served.connect();
    for (next, answer) in [("INCR k", ":3"), ("SET k 7", "+OK"), ("DEL k", ":1")] {
        for value in ["1", "2"] {
            let (bucket, key) = place();
            let (w, strict, timeout_ms) = (Default::default(), false, 60_000);
            let (content_type, expiry, causality) = ("".into(), Expiry::Never, Causality::Blind);
            let put = Put { bucket, key, causality, w, strict, timeout_ms, content_type, expiry, request: None };
            ask(put.into(), value);
        }
        assert!(count() >= 2);
        assert_eq!(conn.ask("GET k"), "$1 2");
        assert_eq!(conn.ask(next), answer);
        assert!(count() <= 1, "{next}");
        conn.ask("DEL k");
    }
}

#[test]
fn a_key_that_is_none_and_a_node_that_has_stopped_are_errors() {
    let mut served = alone();
    let mut conn = served.connect();
    let long = "k".repeat(1025);
    assert!(conn.ask(&format!("SET {long} v")).starts_with("-ERR the key has 1025 bytes"));
    conn.send(&command(&[b"GET", b""]));
    assert_eq!(conn.answer(), "-ERR the key is empty");
    served.node.stop();
    assert!(conn.ask("GET k").starts_with("-LOADING "), "a node that stops is not one without the key");
    assert!(conn.ask("SET k v").starts_with("-LOADING "));
    assert_eq!(conn.ask("PING"), "+PONG");
    served.stop_server();
    assert_eq!(conn.until_closed(), "");
}
