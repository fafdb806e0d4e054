//! What cannot be understood is refused by name; what can is what the description says.

use crate::served::alone;

#[test]
fn every_mistake_is_named() {
    let served = alone();
    let mut conn = served.connect();
    let long = "k".repeat(1025);
    for (head, status, says) in [
        ("GET /kv/b/", 400, "key is empty"),
        ("GET /kv//k", 400, "bucket is empty"),
        ("GET /kv/b/%zz", 400, "not percent-encoded"),
        ("GET /kv/%f/k", 400, "not percent-encoded"),
        (&format!("GET /kv/b/{long}"), 413, "1024 are allowed"),
        (&format!("GET /kv/{long}/k"), 413, "1024 are allowed"),
        ("GET /kv/b/k?r=0", 400, "`r`"),
        ("GET /kv/b/k?r=most", 400, "`r`"),
        ("GET /kv/b/k?r=2", 400, "2"),
        ("GET /kv/b/k?r=1&r=1", 400, "twice"),
        ("GET /kv/b/k?w=1", 400, "no parameter `w`"),
        ("PUT /kv/b/k?r=1", 400, "no parameter `r`"),
        ("GET /kv/b/k?strict=yes", 400, "`strict`"),
        ("GET /kv/b/k?timeout=5", 400, "`timeout`"),
        ("GET /kv/b/k?timeout=0s", 400, "`timeout`"),
        ("GET /kv/b/k?timeout=1h", 400, "`timeout`"),
        ("GET /kv/b/k?%zz=1", 400, "not percent-encoded"),
        ("GET /kv/b/k?r=%ff", 400, "not text"),
        ("PUT /kv/b/k\nX-Dynode-Context: !", 400, "base64url"),
        ("PUT /kv/b/k\nX-Dynode-Context: AAAA", 400, "context"),
        ("PUT /kv/b/k\nX-Dynode-Context: AAAA\nX-Dynode-Context: AAAA", 400, "twice"),
        ("PUT /kv/b/k\nX-Dynode-Context: AAAA\nIf-Match: *", 400, "either"),
        ("PUT /kv/b/k?ttl=soon", 400, "`ttl`"),
        ("GET /kv/b/k?ttl=1s", 400, "no parameter `ttl`"),
        ("GET /kv/b/k\nX-Dynode-At-Least: !", 400, "base64url"),
        (&format!("PUT /kv/b/k\nX-Request-Id: {long}"), 400, "x-request-id"),
        (&format!("PUT /kv/b/k\nContent-Type: {long}"), 400, "content type"),
        ("PUT /kv/b/k\nIf-Match: x", 400, "double quotes"),
        ("GET /kv/b/k\nIf-None-Match: \"a\", b", 400, "double quotes"),
        ("DELETE /kv/b/k\nX-Dynode-Context: =", 400, "empty"),
        ("DELETE /kv/b/k?w=9", 400, "9"),
        ("GET /kv/b?limit=0", 400, "`limit`"),
        ("GET /kv/b?limit=10001", 400, "`limit`"),
        ("GET /kv/b?limit=-1", 400, "`limit`"),
        ("GET /kv/b?cursor=x", 400, "`cursor`"),
        (&format!("GET /kv/b?prefix={long}"), 400, "`prefix`"),
        ("GET /kv/b?after=x", 400, "no parameter `after`"),
        (&format!("GET /buckets/{long}"), 413, "1024 are allowed"),
        ("GET /buckets/%zz", 400, "not percent-encoded"),
        ("GET /buckets/b?kind=lww", 400, "no parameter `kind`"),
        ("PUT /buckets/b", 400, "no JSON"),
        ("DELETE /buckets/b", 405, "DELETE"),
        ("GET /buckets", 404, "nothing at `/buckets`"),
        ("GET /cluster/ring?key=x", 400, "`key`"),
        ("GET /cluster/status?x", 400, "no parameter `x`"),
        ("GET /local/clocks?x=", 400, "no parameter `x`"),
        ("GET /local/b/", 400, "key is empty"),
        ("GET /metrics?x", 400, "no parameter `x`"),
        ("GET /kv", 404, "nothing at `/kv`"),
        ("GET /cluster", 404, "nothing at `/cluster`"),
        ("POST /kv/b/k", 405, "POST"),
        ("PATCH /kv/b/k", 405, "PATCH"),
        ("PUT /kv/b", 405, "PUT"),
        ("DELETE /metrics", 405, "DELETE"),
    ] {
        let answer = conn.ask(head, b"");
        let (found, _) = answer.error();
        assert_eq!(found, status, "{head}: {}", answer.text());
        assert!(answer.text().contains(says), "{head}: {}", answer.text());
        if status == 405 {
            assert!(answer.header("allow").is_some(), "{head}");
        }
    }
    assert_eq!(conn.ask("GET /kv/b/k", b"").status, 404, "nothing was written");
}

#[test]
fn what_is_described_is_served_and_has_the_answers_it_says() {
    let served = alone();
    let document = served.ask("GET /openapi.json", b"").json();
    assert_eq!(document, serde_json::to_value(dynode::http::description()).unwrap());
    let mut described = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let target = path.replace("{bucket}", "b").replace("{key}", "k");
        for (method, operation) in methods.as_object().unwrap() {
            let answer = served.ask(&format!("{} {target}", method.to_uppercase()), b"");
            let status = answer.status.to_string();
            assert!(operation["responses"].get(&status).is_some(), "{method} {path}: {status}");
            assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{method} {path}");
            described += 1;
        }
    }
    assert_eq!(described, 18);
}

#[test]
fn reports_are_those_of_the_command_line() {
    let served = alone();
    let status = served.ask("GET /cluster/status", b"").json();
    assert_eq!((&status["asked"], &status["nodes"][0]["state"]), (&"n1".into(), &"up".into()));
    let ring = served.ask("GET /cluster/ring?key=b/k/1", b"").json();
    assert_eq!((&ring["key"]["key"], &ring["key"]["owners"]), (&"k/1".into(), &serde_json::json!(["n1"])));
    assert_eq!(ring["owners"].as_array().unwrap().len(), 16);
    assert_eq!(served.ask("GET /cluster/members", b"").json()["members"][0]["state"], "alive");
    assert_eq!(served.ask("GET /cluster/transfers", b"").json()["transfers"], serde_json::json!([]));
    served.ask("PUT /kv/b/k", b"value");
    let local = served.ask("GET /local/b/k", b"").json();
    assert_eq!((&local["node"], &local["values"][0]["bytes"]), (&"n1".into(), &5.into()));
    assert!(!served.ask("GET /local/clocks", b"").json()["copies"].as_array().unwrap().is_empty());
    assert!(served.ask("GET /", b"").text().contains("<title>dynode</title>"));
}

#[test]
fn operations_are_counted_with_their_outcomes() {
    let served = alone();
    served.ask("PUT /kv/b/k?w=one", b"v");
    served.ask("GET /kv/b/k?r=one", b"");
    served.ask("GET /kv/b/k?r=2", b"");
    let count = |kind: &str, outcome: &str| {
        served.metric(&format!("dynode_operation_duration_seconds_count{{kind=\"{kind}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((count("put", "done"), count("get", "done"), count("get", "refused")), (1, 1, 1));
    assert!(served.metric("dynode_turn_duration_seconds_count") > 0);
}

#[test]
fn a_node_that_stops_is_not_ready_and_says_so() {
    let mut served = alone();
    assert_eq!(served.ask("GET /health/ready", b"").status, 200);
    served.stop_node();
    let answer = served.ask("GET /health/ready", b"");
    assert_eq!((answer.status, &answer.json()["state"]), (503, &"silent".into()));
    assert_eq!(served.ask("GET /kv/b/k", b"").error(), (503, "unavailable".into()));
    assert_eq!(served.ask("GET /health/live", b"").status, 200);
    let mut idle = served.connect();
    assert_eq!(idle.ask("GET /health/live", b"").status, 200);
    served.stop_server();
    assert!(idle.until_closed().is_empty());
    assert!(std::net::TcpStream::connect(served.addr).is_err());
}
