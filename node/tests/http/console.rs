//! The console: its files, its policy, looking up a key, and its streams, bounded and ended.

use crate::served::{LONG, alone};

const WATCH: &[u8] = b"GET /console/events HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn the_console_is_served_with_its_policy_and_goes_on_until_the_server_stops() {
    let mut served = alone();
    let page = served.ask("GET /", b"");
    let policy = page.header("content-security-policy").unwrap().to_string();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let kind = |path: &str| served.ask(&format!("GET {path}"), b"").every("content-type").join(" and ");
    assert_eq!(kind("/"), "text/html; charset=utf-8");
    for file in ["console.css", "main.js", "dom.js", "figures.js", "ring.js", "chart.js", "lookup.js"] {
        let expected =
            if file.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        assert_eq!(kind(&format!("/console/{file}")), expected, "{file}");
    }
    assert_eq!(served.ask("GET /console/key/b/", b"").status, 400);
    served.ask("PUT /kv/b/k%2F1", b"value");
    let found = served.ask("GET /console/key/b/k%2F1", b"").json();
    assert_eq!((&found["key"], &found["copies"][0]["node"]), (&"k/1".into(), &"n1".into()));
    assert_eq!(found["copies"][0]["report"]["values"][0]["bytes"], 5);
    assert_eq!(found["read"]["siblings"][0]["base64"], "dmFsdWU=");

    // Sixteen watch, one more may not; who leaves makes room; and no stream keeps the server from stopping.
    let mut watching: Vec<_> = (0..16).map(|_| served.connect()).collect();
    for conn in &mut watching {
        conn.send(WATCH);
        assert_eq!(conn.answer(false).status, 200);
        conn.until("event: ring");
        conn.until("event: state");
    }
    assert_eq!(served.ask("GET /console/events", b"").status, 429);
    watching.pop();
    let deadline = std::time::Instant::now() + LONG;
    let mut again = loop {
        let mut conn = served.connect();
        conn.send(WATCH);
        if conn.answer(false).status == 200 {
            break conn;
        }
        assert!(std::time::Instant::now() < deadline, "the one that left made no room");
    };
    again.until("event: state");
    served.stop_server();
    again.until_closed();
}
