//! Clients that send what is no protocol, too much, too slowly, half of it, or take no answers. They are told, or cut off;
//! others do not notice, and nothing of what they did not finish is done.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use dynode::resp::Times;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::served::{LONG, alone, command, serve};

const VALUE_MAX: usize = 8 << 20;

#[test]
fn what_is_no_protocol_is_told_and_the_connection_closed() {
    let served = alone();
    for (bytes, why) in [
        (&b"*1\r\n:1\r\n"[..], "expected '$', got ':'"),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388609\r\n", "invalid bulk length"),
        (b"*2147483647\r\n", "invalid multibulk length"),
        (b"*99999999999999999999999999999999999999", "too big mbulk count string"),
        (b"get 'k\r\n", "unbalanced quotes in request"),
        (&b"x".repeat(70_000), "too big inline request"),
    ] {
        let mut conn = served.connect();
        // What came before it is answered first.
        conn.send(&command(&[b"PING"]));
        conn.send(bytes);
        assert_eq!(conn.until_closed(), format!("+PONG\r\n-ERR Protocol error: {why}\r\n"));
    }
    let mut conn = served.connect();
    conn.send(b"GET / HTTP/1.1\r\n");
    assert_eq!(conn.answer(), "-ERR wrong number of arguments for 'get' command");
}

#[test]
fn an_oversized_value_is_told_of_though_it_is_being_sent() {
    let served = alone();
    let mut conn = served.connect();
    conn.send(&command(&[b"SET", b"k", &vec![b'x'; VALUE_MAX]]));
    assert_eq!(conn.answer(), "+OK");
    assert_eq!(conn.ask("STRLEN k"), format!(":{VALUE_MAX}"));
    assert!(conn.ask("APPEND k x").starts_with("-ERR string exceeds maximum allowed size"));
    let _ = conn.stream.write_all(&command(&[b"SET", b"k", &vec![b'y'; VALUE_MAX + 1]]));
    assert_eq!(conn.until_closed(), "-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(served.connect().ask("STRLEN k"), format!(":{VALUE_MAX}"));
}

#[test]
fn any_bytes_do_no_harm() {
    let served = alone();
    let mut random = Pcg64::seed_from_u64(7);
    let words: [&[u8]; 12] =
        [b"SET", b"GET", b"k", b"SCAN", b"0", b"MATCH", b"*[", b"EX", b"-1", b"HELLO", b"\r\n$1\r\n", b"CLIENT"];
    for _ in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let count = random.random_range(1..6);
            let picked: Vec<&[u8]> = (0..count).map(|_| words[random.random_range(0..words.len())]).collect();
            bytes.extend(command(&picked));
        }
        // Some bytes are others, and it ends somewhere.
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(1..=bytes.len()));
        let mut conn = served.connect();
        let _ = conn.stream.write_all(&bytes);
        let _ = conn.stream.shutdown(Shutdown::Write);
        conn.until_closed();
    }
    assert_eq!(served.connect().ask("PING"), "+PONG");
}

#[test]
fn who_has_closed_one_direction_still_gets_all_answers() {
    let served = alone();
    let mut conn = served.connect();
    for n in 0..2000 {
        conn.send(&command(&[b"INCRBY", b"n", b"1"]));
        conn.send(&command(&[b"SET", format!("k{n}").as_bytes(), b"v"]));
    }
    conn.send(b"*2\r\n$4\r\nINCR\r\n$1\r\n"); // and a command that stays half
    conn.stream.shutdown(Shutdown::Write).unwrap();
    let expected: String = (1..=2000).map(|n| format!(":{n}\r\n+OK\r\n")).collect();
    assert_eq!(conn.until_closed(), expected);
    assert_eq!(served.connect().ask("GET n"), "$4 2000");
}

#[test]
fn who_is_slow_is_cut_off_and_who_is_idle_is_not() {
    let short = Duration::from_millis(300);
    let served = serve(Times { command: short, stalled: short });
    let mut idle = served.connect();
    assert_eq!(idle.ask("PING"), "+PONG");
    let mut slow = served.connect();
    let mut trickle = slow.stream.try_clone().unwrap();
    let trickled = std::thread::spawn(move || {
        let began = Instant::now();
        let _ = trickle.write_all(b"*2\r\n$3\r\nGET\r\n$1000\r\n");
        while trickle.write_all(b"k").is_ok() && began.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    });
    assert_eq!(slow.until_closed(), "-ERR the rest of the command did not come in time\r\n");
    drop(slow);
    assert!(trickled.join().unwrap() < LONG);
    assert_eq!(idle.ask("PING"), "+PONG");
}

#[test]
fn who_takes_no_answers_is_not_read_from_and_then_cut_off() {
    let served = serve(Times { stalled: Duration::from_millis(500), ..Times::default() });
    served.connect().send(&command(&[b"SET", b"k", &vec![b'x'; 1 << 20]]));
    while served.connect().ask("STRLEN k") != format!(":{}", 1 << 20) {}
    let mut conn = served.connect();
    let get = command(&[b"GET", b"k"]).repeat(100);
    let began = Instant::now();
    // It takes no more some time, and then closes.
    while conn.stream.write_all(&get).is_ok() {
        assert!(began.elapsed() < LONG, "it is read from for ever");
    }
    assert_eq!(served.connect().ask("PING"), "+PONG");
}
