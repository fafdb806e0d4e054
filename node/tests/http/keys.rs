//! Values, siblings, contexts, conditions, listings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::served::{Answer, Served, alone};

fn put(served: &Served, target: &str, value: &[u8]) -> Answer {
    let answer = served.ask(&format!("PUT {target}"), value);
    assert_eq!(answer.status, 204, "{answer:?}");
    answer
}

#[test]
fn what_is_written_is_read_whatever_its_bytes() {
    let served = alone();
    let value: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for place in ["a/k", "a%2Fb/%00%ff+%20", "a/x/y/z", "%c3%a4/%2e%2e"] {
        let written = put(&served, &format!("/kv/{place}"), &value);
        assert_eq!((written.header("x-dynode-owners"), written.header("x-dynode-stand-ins")), (Some("1"), Some("0")));
        let read = served.ask(&format!("GET /kv/{place}"), b"");
        assert_eq!((read.status, read.body.len()), (200, value.len()));
        assert!(read.body == value, "{place}");
        assert_eq!(read.header("content-type"), Some("application/octet-stream"));
        assert_eq!(read.header("x-dynode-siblings"), Some("1"));
        let head = served.ask(&format!("HEAD /kv/{place}"), b"");
        assert_eq!((head.status, head.header("content-length")), (200, Some("100000")));
        assert_eq!(head.header("etag"), read.header("etag"));
    }
    // Not the same key in other clothes.
    assert_eq!(served.ask("GET /kv/a/b/%00%ff+%20", b"").status, 404);
    let empty = served.ask("PUT /kv/a/empty\nContent-Length: 0", b"");
    assert_eq!(empty.status, 204);
    let read = served.ask("GET /kv/a/empty", b"");
    assert_eq!((read.status, read.header("content-length")), (200, Some("0")));
}

#[test]
fn an_absent_key_has_a_context_to_write_over() {
    let served = alone();
    let absent = served.ask("GET /kv/b/k", b"");
    assert_eq!(absent.error(), (404, "not_found".into()));
    let over = format!("PUT /kv/b/k\nX-Dynode-Context: {}", absent.context());
    assert_eq!(served.ask(&over, b"v").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").body, b"v");
}

#[test]
fn siblings_are_kept_told_and_replaced_by_who_has_seen_them() {
    let served = alone();
    let first = put(&served, "/kv/b/k", b"one");
    put(&served, "/kv/b/k", b"two\r\n--");

    let read = served.ask("GET /kv/b/k\nAccept: application/json", b"");
    assert_eq!((read.status, read.header("x-dynode-siblings")), (300, Some("2")));
    let json = read.json();
    assert_eq!(json["context"], read.context());
    let values: Vec<Vec<u8>> = json["siblings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| STANDARD.decode(s["base64"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(values, [b"one".to_vec(), b"two\r\n--".to_vec()]);

    let read = served.ask("GET /kv/b/k", b"");
    assert_eq!(read.status, 300);
    assert_eq!(parts(&read), [b"one".to_vec(), b"two\r\n--".to_vec()]);

    // Whoever has only seen the first value replaces only that.
    let over = format!("PUT /kv/b/k\nX-Dynode-Context: {}", first.context());
    assert_eq!(served.ask(&over, b"three").status, 204);
    assert_eq!(parts(&served.ask("GET /kv/b/k", b"")), [b"two\r\n--".to_vec(), b"three".to_vec()]);

    let seen = served.ask("GET /kv/b/k", b"");
    let over = format!("PUT /kv/b/k\nX-Dynode-Context: {}", seen.context());
    assert_eq!(served.ask(&over, b"merged").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").body, b"merged");
}

/// The parts of a `multipart/mixed` body, by the letter of RFC 2046.
fn parts(answer: &Answer) -> Vec<Vec<u8>> {
    let kind = answer.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").unwrap();
    let mut body = b"\r\n".to_vec();
    body.extend_from_slice(&answer.body);
    let delimiter = format!("\r\n--{boundary}");
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|found| found == what);
    let mut rest = &body[find(&body, delimiter.as_bytes()).unwrap() + delimiter.len()..];
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n").unwrap();
        let end = find(rest, delimiter.as_bytes()).unwrap();
        let head = find(rest, b"\r\n\r\n").unwrap();
        parts.push(rest[head + 4..end].to_vec());
        rest = &rest[end + delimiter.len()..];
    }
    assert_eq!(rest, b"--\r\n");
    parts
}

#[test]
fn a_delete_takes_what_was_seen_and_without_a_context_all() {
    let served = alone();
    let first = put(&served, "/kv/b/k", b"one");
    put(&served, "/kv/b/k", b"two");
    let seen = format!("DELETE /kv/b/k\nX-Dynode-Context: {}", first.context());
    assert_eq!(served.ask(&seen, b"").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").body, b"two");
    assert_eq!(served.ask("DELETE /kv/b/k", b"").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").status, 404);
    assert_eq!(served.ask("DELETE /kv/b/k", b"").status, 204, "again");
}

#[test]
fn conditions_hold_or_nothing_is_done() {
    let served = alone();
    assert_eq!(served.ask("PUT /kv/b/k\nIf-Match: *", b"v").error(), (412, "precondition_failed".into()));
    assert_eq!(served.ask("DELETE /kv/b/k\nIf-Match: *", b"").status, 412);
    assert_eq!(served.ask("PUT /kv/b/k\nIf-None-Match: *", b"first").status, 204);
    assert_eq!(served.ask("PUT /kv/b/k\nIf-None-Match: *", b"second").status, 412);
    let read = served.ask("GET /kv/b/k", b"");
    assert_eq!(read.body, b"first");
    let tag = read.header("etag").unwrap();
    assert_eq!(served.ask(&format!("GET /kv/b/k\nIf-None-Match: {tag}"), b"").status, 304);
    assert_eq!(served.ask(&format!("HEAD /kv/b/k\nIf-None-Match: \"x\", {tag}"), b"").status, 304);
    assert_eq!(served.ask("GET /kv/b/k\nIf-Match: \"x\"", b"").status, 412);
    // It replaces what it has matched: no siblings.
    assert_eq!(served.ask(&format!("PUT /kv/b/k\nIf-Match: {tag}"), b"next").status, 204);
    assert_eq!(served.ask(&format!("PUT /kv/b/k\nIf-Match: {tag}"), b"lost").status, 412);
    let read = served.ask("GET /kv/b/k", b"");
    assert_eq!((read.status, &read.body[..]), (200, &b"next"[..]));
    assert_eq!(served.ask(&format!("DELETE /kv/b/k\nIf-Match: {tag}"), b"").status, 412);
    let tag = read.header("etag").unwrap();
    assert_eq!(served.ask(&format!("DELETE /kv/b/k\nIf-Match: {tag}"), b"").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").status, 404);
}

#[test]
fn a_context_of_another_key_is_refused() {
    let served = alone();
    let written = put(&served, "/kv/b/k", b"v");
    let other = format!("PUT /kv/b/other\nX-Dynode-Context: {}", written.context());
    assert_eq!(served.ask(&other, b"v").error(), (400, "foreign_context".into()));
    assert_eq!(served.ask("GET /kv/b/other", b"").status, 404);
}

#[test]
fn keys_are_listed_in_order_page_by_page() {
    let served = alone();
    let mut conn = served.connect();
    let mut written: Vec<String> = (0..300).map(|n| format!("k{:05}", n * 7919 % 100_000)).collect();
    for key in &written {
        assert_eq!(conn.ask(&format!("PUT /kv/b/{key}?w=one"), b"v").status, 204);
    }
    conn.ask("PUT /kv/b/other", b"v");
    conn.ask("PUT /kv/b/%ff", b"v");
    conn.ask("PUT /kv/b2/k00000x", b"v");
    conn.ask("PUT /kv/b/k-deleted", b"v");
    conn.ask("DELETE /kv/b/k-deleted", b"");
    written.sort();
    for limit in [1, 7, 299, 300, 1000] {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = conn.ask(&format!("GET /kv/b?prefix=k&limit={limit}{cursor}"), b"").json();
            assert_eq!((&page["bucket"], &page["complete"]), (&"b".into(), &true.into()));
            let keys: Vec<String> = serde_json::from_value(page["keys"].clone()).unwrap();
            assert!(keys.len() <= limit);
            listed.extend(keys);
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(listed, written, "limit {limit}");
    }
    let all = conn.ask("GET /kv/b", b"").json();
    let keys = all["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 302);
    assert_eq!(keys[301], serde_json::json!({ "base64": "/w==" }));
    assert_eq!(conn.ask("GET /kv/nothing", b"").json()["keys"], serde_json::json!([]));
}

#[test]
fn what_a_value_is_and_when_it_ends_are_kept() {
    let served = alone();
    assert_eq!(served.ask("PUT /kv/b/k\nContent-Type: text/plain; charset=utf-8", b"v").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").header("content-type"), Some("text/plain; charset=utf-8"));
    put(&served, "/kv/b/k", b"other");
    let json = served.ask("GET /kv/b/k\nAccept: application/json", b"").json();
    let kinds: Vec<&str> =
        json["siblings"].as_array().unwrap().iter().map(|s| s["content_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text/plain; charset=utf-8", "application/octet-stream"]);
    put(&served, "/kv/b/short?ttl=1ms", b"v");
    put(&served, "/kv/b/long?ttl=24h", b"v");
    let began = std::time::Instant::now();
    while served.ask("GET /kv/b/short", b"").status != 404 {
        assert!(began.elapsed() < crate::served::LONG, "it does not expire");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(served.ask("GET /kv/b/long", b"").body, b"v");
}

#[test]
fn a_request_made_again_is_no_sibling_of_itself() {
    let served = alone();
    for _ in 0..3 {
        assert_eq!(served.ask("PUT /kv/b/k\nX-Request-Id: 7c4e", b"v").status, 204);
    }
    assert_eq!(served.ask("GET /kv/b/k", b"").body, b"v");
    assert_eq!(served.ask("PUT /kv/b/k\nX-Request-Id: another", b"v").status, 204);
    assert_eq!(served.ask("GET /kv/b/k", b"").status, 300);
    // Its condition held when it was first made.
    for _ in 0..2 {
        assert_eq!(served.ask("PUT /kv/b/new\nIf-None-Match: *\nX-Request-Id: 8", b"v").status, 204);
    }
    assert_eq!(served.ask("PUT /kv/b/new\nIf-None-Match: *\nX-Request-Id: 9", b"v").status, 412);
    assert_eq!(served.ask("GET /kv/b/new", b"").body, b"v");
}

#[test]
fn a_session_names_what_it_has_seen() {
    let served = alone();
    let written = put(&served, "/kv/b/k", b"v");
    let read = |at_least: &str| served.ask(&format!("GET /kv/b/k?r=one\nX-Dynode-At-Least: {at_least}"), b"");
    assert_eq!(read(written.context()).body, b"v");
    let other = put(&served, "/kv/b/other", b"v");
    assert_eq!(read(other.context()).error(), (400, "foreign_context".into()));
}
