//! Buckets' properties, and that they count for what is written and read here.

use crate::served::alone;
use serde_json::json;

#[test]
fn a_bucket_has_the_defaults_until_it_is_changed_and_then_what_was_said() {
    let served = alone();
    let first = json!({
        "bucket": "a/ä", "kind": "siblings", "n": 1, "r": "quorum", "w": "quorum", "ttl_ms": null, "since_ms": null,
    });
    assert_eq!(served.ask("GET /buckets/a%2F%c3%a4", b"").json(), first);

    let changed = served.ask("PUT /buckets/a%2F%c3%a4", br#"{"kind":"lww","n":1,"r":"one","w":"1","ttl_ms":90000}"#);
    let is = changed.json();
    assert_eq!((changed.status, &is["kind"], &is["r"], &is["w"]), (200, &json!("lww"), &json!("one"), &json!("1")));
    assert!(is["since_ms"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{is}");
    assert_eq!(served.ask("GET /buckets/a%2F%c3%a4", b"").json(), is);
    // What is left out stays; `null` is said, and nothing at all is no change.
    assert_eq!(served.ask("PUT /buckets/a%2F%c3%a4", b"{}").json(), is);
    let forever = served.ask("PUT /buckets/a%2F%c3%a4", br#"{"ttl_ms":null}"#).json();
    assert_eq!((&forever["kind"], &forever["ttl_ms"]), (&json!("lww"), &json!(null)));

    assert_eq!(served.ask("GET /buckets/a", b"").json()["kind"], "siblings", "another bucket");
    assert_eq!(served.ask("GET /buckets/%ff", b"").json()["bucket"], json!({ "base64": "/w==" }));
}

#[test]
fn a_bucket_counts_for_what_is_written_to_it() {
    let served = alone();
    served.ask("PUT /buckets/last", br#"{"kind":"lww"}"#);
    for bucket in ["last", "all"] {
        served.ask(&format!("PUT /kv/{bucket}/k"), b"one");
        served.ask(&format!("PUT /kv/{bucket}/k"), b"two");
    }
    let last = served.ask("GET /kv/last/k", b"");
    assert_eq!((last.status, &last.body[..]), (200, &b"two"[..]));
    assert_eq!(served.ask("GET /kv/all/k", b"").status, 300);
}

#[test]
fn a_change_that_cannot_be_made_changes_nothing_and_is_named() {
    let served = alone();
    for (body, says) in [
        (&b"{"[..], "no JSON"),
        (b"[]", "no JSON"),
        (b"\xff", "no JSON"),
        (br#"{"kind":"last"}"#, "`last`"),
        (br#"{"kinds":"lww"}"#, "`kinds`"),
        (br#"{"kind":"lww","kind":"lww"}"#, "duplicate"),
        (br#"{"n":2,"kind":"lww"}"#, "as many copies as the layout"),
        (br#"{"n":256}"#, "256"),
        (br#"{"r":"most","kind":"lww"}"#, "`r`"),
        (br#"{"w":"0"}"#, "`w`"),
        (br#"{"w":1}"#, "integer"),
        (br#"{"w":"2"}"#, "2 of 1"),
        (br#"{"r":"bucket"}"#, "default"),
        (br#"{"ttl_ms":0,"kind":"lww"}"#, "expire at once"),
        (br#"{"ttl_ms":-1}"#, "-1"),
        (br#"{"ttl_ms":3162240000001,"kind":"lww"}"#, "hundred years"),
    ] {
        let answer = served.ask("PUT /buckets/b", body);
        assert_eq!(answer.error(), (400, "bad_request".into()), "{}", String::from_utf8_lossy(body));
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    assert_eq!(served.ask("PUT /buckets/b", &[b' '; 4000]).error().0, 413);
    let is = served.ask("GET /buckets/b", b"").json();
    assert_eq!((&is["kind"], &is["since_ms"]), (&json!("siblings"), &json!(null)));
}
