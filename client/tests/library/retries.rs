//! What is asked again, and what is not.

use std::future::IntoFuture;
use std::time::Duration;

use dynode_client::fake::{Fault, Server};
use dynode_client::wire::{ErrorCode, Found, Message, ReplicateDone, SiblingIs};
use dynode_client::{Acks, Changed, Client, Error, Meta};

use crate::{PATIENCE, client_of, run, until};

async fn one() -> (Server, Client, dynode_client::Bucket) {
    let server = Server::start().await;
    let (client, files) = client_of(std::slice::from_ref(&server)).await;
    (server, client, files)
}

#[test]
fn a_put_whose_connection_is_lost_is_made_again_and_never_a_sibling_of_itself() {
    run(async {
        let (server, _, files) = one().await;
        server.next("Put", [Fault::DoThenClose, Fault::Close]);
        for key in ["a", "b"] {
            files.put(key, "1").await.unwrap();
            assert_eq!(files.get(key).await.unwrap().single().unwrap().unwrap(), "1");
        }
        assert_eq!(server.seen("Put"), 4);
    });
}

#[test]
fn a_delete_whose_connection_is_lost_may_have_happened() {
    run(async {
        let (server, _, files) = one().await;
        server.next("Delete", [Fault::DoThenClose]);
        assert_eq!(files.delete("a").await.unwrap_err().kind(), "outcome_unknown");
        assert_eq!(server.seen("Delete"), 1);
    });
}

#[test]
fn a_read_whose_connection_is_lost_is_asked_again() {
    run(async {
        let (server, _, files) = one().await;
        files.put("a", "1").await.unwrap();
        server.next("Get", [Fault::Close, Fault::Close]);
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "1");
        assert_eq!(server.seen("Get"), 3);
    });
}

#[test]
fn what_a_node_did_not_take_is_sent_again() {
    run(async {
        let (server, client, files) = one().await;
        use ErrorCode::{OtherLayout, Overloaded, QuorumNotMet, Unavailable};
        server.next("Put", [Overloaded, Unavailable, OtherLayout, QuorumNotMet].map(Fault::Fail));
        files.put("a", "1").await.unwrap();
        assert_eq!(server.seen("Put"), 5);
        let counted = [("other_layout", 1), ("overloaded", 1), ("quorum_not_met", 1), ("unavailable", 1)];
        assert_eq!(client.retries(), counted.into());
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "1", "once");
    });
}

#[test]
fn what_a_node_may_have_taken_is_not_sent_again_unless_it_may_be_done_twice() {
    run(async {
        let (server, _, files) = one().await;
        let nonsense = || Fault::Say(Box::new(Message::from(ReplicateDone { recovering: false })));
        let codes = [ErrorCode::OutcomeUnknown, ErrorCode::Internal];
        let faults = codes.map(Fault::Fail).into_iter().chain([nonsense()]);
        for (at, (fault, kind)) in faults.zip(["outcome_unknown", "internal", "unexpected"]).enumerate() {
            server.next("Delete", [fault]);
            let error = files.delete("a").await.unwrap_err();
            assert_eq!((error.kind(), error.changed()), (kind, Changed::Unknown));
            assert_eq!(server.seen("Delete"), at + 1);
        }
        server.next("Put", codes.map(Fault::Fail));
        let written = files.put("a", "1").await.unwrap();
        assert_eq!(server.seen("Put"), 3);
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "1", "once");
        server.next("Delete", codes.map(Fault::Fail));
        files.delete("a").over(written.context()).await.unwrap();
        assert_eq!(server.seen("Delete"), 6);
    });
}

#[test]
fn a_put_that_may_have_arrived_and_then_cannot_be_made_is_unknown() {
    run(async {
        let (server, _, files) = one().await;
        server.next("Put", [Fault::DoThenClose, Fault::Fail(ErrorCode::TooManySiblings)]);
        let error = files.put("a", "1").await.unwrap_err();
        assert_eq!((error.kind(), error.changed()), ("outcome_unknown", Changed::Unknown));
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "1", "it was done");
    });
}

#[test]
fn every_put_has_an_id_of_its_own_unless_it_is_given_one() {
    run(async {
        let (_server, _, files) = one().await;
        for _ in 0..2 {
            files.put("a", "same").await.unwrap();
            files.put("b", "same").request_id(7).await.unwrap();
        }
        assert_eq!(files.get("a").await.unwrap().siblings().len(), 2, "two puts");
        let read = files.get("b").await.unwrap();
        assert_eq!((read.siblings().len(), read.metas()[0].request), (1, Some(7)), "one put, and its retry");
    });
}

#[test]
fn what_no_repetition_helps_is_said_at_once() {
    run(async {
        let (server, _, files) = one().await;
        use ErrorCode::{BadRequest, ForeignContext, Refused, TooLarge, TooManySiblings};
        for (at, code) in [BadRequest, TooLarge, TooManySiblings, ForeignContext, Refused].into_iter().enumerate() {
            server.next("Put", [Fault::Fail(code)]);
            let error = files.put("a", "1").await.unwrap_err();
            assert_eq!((error.kind(), error.changed()), (code.as_str(), Changed::Nothing));
            assert_eq!(server.seen("Put"), at + 1);
        }
    });
}

#[test]
fn an_unmet_quorum_says_what_was_missing() {
    run(async {
        let (server, _, files) = one().await;
        server.always("Get", Fault::Fail(ErrorCode::QuorumNotMet));
        let error = files.get("a").await.unwrap_err();
        assert!(matches!(error, Error::QuorumNotMet { needed: 2, received: 1, .. }), "{error}");
        assert_eq!(server.seen("Get"), 10, "attempts are bounded");
    });
}

#[test]
fn what_was_answered_tells_more_than_silence_after_it() {
    run(async {
        let (server, _, files) = one().await;
        server.next("Get", [Fault::Fail(ErrorCode::Overloaded)]);
        server.always("Get", Fault::Silence);
        let error = files.get("a").timeout(Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error.kind(), "overloaded");
    });
}

#[test]
fn the_retry_budget_ends_a_storm() {
    run(async {
        let (server, _, files) = one().await;
        server.always("Put", Fault::Fail(ErrorCode::Overloaded));
        let calls = 300;
        let mut writes = tokio::task::JoinSet::new();
        (0..calls).for_each(|i| drop(writes.spawn(files.put(format!("{i}"), "v").into_future())));
        while let Some(write) = writes.join_next().await {
            assert_eq!(write.unwrap().unwrap_err().kind(), "overloaded");
        }
        // What is saved at first, and a tenth; ten attempts each would be 3,000.
        let sent = server.seen("Put");
        assert!((calls..=calls + 100 + calls / 10).contains(&sent), "{sent}");
    });
}

#[test]
fn a_read_without_an_answer_times_out() {
    run(async {
        let (server, _, files) = one().await;
        server.always("Get", Fault::Silence);
        let error = files.get("a").timeout(Duration::from_millis(60)).await.unwrap_err();
        assert_eq!((error.kind(), error.changed()), ("timed_out", Changed::Nothing));
    });
}

#[test]
fn a_write_without_an_answer_may_have_happened() {
    run(async {
        let (server, _, files) = one().await;
        for name in ["Put", "Delete"] {
            server.always(name, Fault::Silence);
        }
        let soon = Duration::from_millis(60);
        let error = files.delete("a").timeout(soon).await.unwrap_err();
        assert_eq!((error.kind(), error.changed()), ("outcome_unknown", Changed::Unknown));
        until(|| server.seen("Delete") > 0).await;
        files.get("a").await.unwrap();
        assert_eq!(server.seen("Delete"), 1, "whatever is there may be something else by now");
        let error = files.put("a", "1").timeout(soon).await.unwrap_err();
        assert_eq!((error.kind(), error.changed()), ("outcome_unknown", Changed::Unknown));
    });
}

#[test]
fn deadlines_of_each_request_hold_on_a_shared_connection() {
    run(async {
        let (server, _, files) = one().await;
        server.always("Get", Fault::Silence);
        // The longest first: later deadlines that are earlier must wake the connection's alarm.
        let long = tokio::spawn(files.get("long").timeout(PATIENCE).into_future());
        until(|| server.seen("Get") == 1).await;
        for ms in [80, 40, 20, 60] {
            let error = files.get("short").timeout(Duration::from_millis(ms)).await.unwrap_err();
            assert_eq!(error.kind(), "timed_out");
        }
        assert!(!long.is_finished());
        long.abort();
    });
}

#[test]
fn a_read_that_hangs_at_one_node_is_answered_by_another() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = crate::key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        servers[1].always("Get", Fault::Silence);
        let read = files.get(&key).timeout(Duration::from_secs(4)).await.unwrap();
        assert_eq!(read.single().unwrap().unwrap(), "1");
        assert_eq!((servers[0].seen("Get"), servers[1].seen("Get")), (1, 1));
    });
}

#[test]
fn an_overloaded_node_is_relieved_by_another() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        servers[1].always("Put", Fault::Fail(ErrorCode::Overloaded));
        files.put(crate::key_of(&client, &servers[1]), "1").await.unwrap();
        assert_eq!((servers[0].seen("Put"), servers[1].seen("Put")), (1, 1));
    });
}

#[test]
fn a_silent_connection_is_replaced() {
    run(async {
        let (server, _, files) = one().await;
        server.always("Get", Fault::Silence);
        assert_eq!(files.get("a").timeout(Duration::from_secs(4)).await.unwrap_err().kind(), "timed_out");
        server.behave();
        files.get("a").await.unwrap();
        assert!(server.seen("Hello") >= 2, "{}", server.seen("Hello"));
    });
}

#[test]
fn an_answer_that_contradicts_itself_is_no_answer() {
    run(async {
        let (server, _, files) = one().await;
        let siblings = [u32::MAX, 5].map(|length| SiblingIs { length, meta: Meta::default() }).into();
        let found = Found { siblings, context: "c".into(), acks: Acks::default() };
        server.always("Get", Fault::Say(Box::new(found.into())));
        assert_eq!(files.get("a").await.unwrap_err().kind(), "unexpected");
    });
}
