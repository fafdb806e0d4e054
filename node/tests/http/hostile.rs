//! Clients that send too much, too slowly, half of it, or nothing that makes sense. They are told, or cut off; others do
//! not notice, and nothing of what they did not finish is written.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use dynode::http::Times;

use crate::served::{LONG, Served, alone, serve};

const VALUE_MAX: usize = 8 << 20;

fn impatient() -> Served {
    let short = Duration::from_millis(300);
    serve(Times { head: short, body: short, stalled: short })
}

#[test]
fn the_largest_value_is_taken_and_a_larger_one_refused_before_it_is_stored() {
    let served = alone();
    let value = vec![b'x'; VALUE_MAX];
    assert_eq!(served.ask("PUT /kv/b/k", &value).status, 204);
    assert!(served.ask("GET /kv/b/k", b"").body == value);
    let too_large = vec![b'y'; VALUE_MAX + 1];
    assert_eq!(served.ask("PUT /kv/b/k", &too_large).error(), (413, "too_large".into()));
    // Announced, and not even sent.
    let mut conn = served.connect();
    conn.send(b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n");
    conn.stream.shutdown(Shutdown::Write).unwrap();
    assert!(String::from_utf8(conn.until_closed()).unwrap().contains(" 413 "));
    // Of unknown length.
    let mut conn = served.connect();
    conn.send(b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..9 {
        conn.send(b"100000\r\n");
        conn.send(&value[..1 << 20]);
        conn.send(b"\r\n");
    }
    conn.send(b"0\r\n\r\n");
    assert_eq!(conn.answer(false).error(), (413, "too_large".into()));
    assert_eq!(served.ask("GET /kv/b/k", b"").body.len(), VALUE_MAX);
    // In pieces it is as good as whole.
    let mut conn = served.connect();
    conn.send(
        b"PUT /kv/b/pieces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
    );
    assert_eq!(conn.answer(false).status, 204);
    assert_eq!(served.ask("GET /kv/b/pieces", b"").body, b"abcd");
}

#[test]
fn a_connection_takes_many_requests_even_before_they_are_answered() {
    let served = alone();
    let mut conn = served.connect();
    for n in 0..50 {
        assert_eq!(conn.ask(&format!("PUT /kv/b/{n}"), b"v").status, 204);
    }
    conn.send(&b"GET /kv/b/7 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50));
    for _ in 0..50 {
        assert_eq!(conn.answer(false).body, b"v");
    }
}

#[test]
fn who_has_closed_one_direction_still_gets_the_answer() {
    let served = alone();
    let mut conn = served.connect();
    conn.send(b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv");
    conn.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(conn.answer(false).status, 204);
    assert!(conn.until_closed().is_empty());
}

#[test]
fn half_a_body_writes_nothing() {
    let served = alone();
    for rest in ["", "v"] {
        let mut conn = served.connect();
        conn.send(format!("PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{rest}").as_bytes());
        conn.stream.shutdown(Shutdown::Write).unwrap();
        let said = String::from_utf8(conn.until_closed()).unwrap();
        assert!(said.is_empty() || said.contains(" 400 "), "{said}");
    }
    let mut conn = served.connect();
    conn.send(b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    drop(conn);
    assert_eq!(served.ask("GET /kv/b/k", b"").status, 404);
}

#[test]
fn what_is_no_http_is_refused() {
    let served = alone();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut conn = served.connect();
        conn.send(bytes);
        conn.stream.shutdown(Shutdown::Write).unwrap();
        let said = String::from_utf8_lossy(&conn.until_closed()).to_string();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    // A head without end.
    let mut conn = served.connect();
    let line = format!("X-{}: {}\r\n", "a".repeat(100), "b".repeat(1000));
    let sent = (0..1000).try_for_each(|n| match n {
        0 => conn.stream.write_all(b"GET / HTTP/1.1\r\n"),
        _ => conn.stream.write_all(line.as_bytes()),
    });
    let said = String::from_utf8_lossy(&conn.until_closed()).to_string();
    assert!(said.contains(" 431 ") || (said.is_empty() && sent.is_err()), "{said}");
    assert_eq!(served.ask("GET /health/ready", b"").status, 200);
}

#[test]
fn who_is_slow_is_cut_off_and_nobody_else_notices() {
    let served = impatient();
    // A head byte by byte, a body that does not come, one that does not begin, and nothing at all.
    let mut head = served.connect();
    let mut trickle = head.stream.try_clone().unwrap();
    let trickled = std::thread::spawn(move || {
        let began = Instant::now();
        while trickle.write_all(b"G").is_ok() && began.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(50));
        }
        began.elapsed()
    });
    let mut body = served.connect();
    body.send(b"PUT /kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    let mut idle = served.connect();
    let mut used = served.connect();
    assert_eq!(used.ask("GET /health/live", b"").status, 200);
    assert_eq!(served.ask("PUT /kv/b/other", b"v").status, 204);
    assert_eq!(body.answer(false).error(), (408, "body_too_slow".into()));
    for conn in [&mut head, &mut idle, &mut used, &mut body] {
        conn.until_closed();
    }
    assert!(trickled.join().unwrap() < LONG);
    assert_eq!(served.ask("GET /kv/b/k", b"").status, 404);
    assert_eq!(served.ask("GET /kv/b/other", b"").body, b"v");
}

#[test]
fn who_does_not_read_is_cut_off() {
    let served = impatient();
    assert_eq!(served.ask("PUT /kv/b/k", &vec![b'x'; VALUE_MAX]).status, 204);
    let mut deaf = served.connect();
    // More than the system buffers on the way.
    deaf.send(&b"GET /kv/b/k HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4));
    let began = Instant::now();
    while served.metric("dynode_http_connections") > 1 {
        assert!(began.elapsed() < LONG, "it still holds its connection and its values");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let served = alone();
    let refused = dynode::http::bind(&served.addr.to_string()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
}
