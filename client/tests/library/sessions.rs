//! What a session asks for, and remembers.

use dynode_client::fake::{Fault, Server};
use dynode_client::wire::ErrorCode;
use dynode_client::{Error, Quorum};

use crate::{client_of, run};

#[test]
fn a_session_replaces_what_it_has_seen_and_asks_for_no_less() {
    run(async {
        let servers = Server::start_many(1).await;
        let (_client, files) = client_of(&servers).await;
        let mut session = files.session();
        assert!(session.context("a").is_none());
        session.put("a", "1").await.unwrap();
        session.put_with("a", "2", |put| put.w(Quorum::One)).await.unwrap();
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "2", "no siblings within a session");
        files.put("a", "from elsewhere").await.unwrap();
        let read = session.get_with("a", |get| get.r(Quorum::One)).await.unwrap();
        assert_eq!(read.siblings().len(), 2);
        assert_eq!(session.context("a"), Some(read.context()));

        let mut other = files.session();
        other.resume("a", read.context().clone()).unwrap();
        other.put("a", "merged").await.unwrap();
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "merged");
        session.delete("a").await.unwrap();
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "merged", "it had not seen that");
    });
}

#[test]
fn copies_that_have_not_seen_it_are_asked_again_until_time_is_up() {
    run(async {
        let servers = Server::start_many(1).await;
        let (_client, files) = client_of(&servers).await;
        let mut session = files.session();
        session.put("a", "1").await.unwrap();
        servers[0].next("Get", [Fault::Fail(ErrorCode::NotSeenYet)]);
        assert_eq!(session.get("a").await.unwrap().single().unwrap().unwrap(), "1");
        servers[0].always("Get", Fault::Fail(ErrorCode::NotSeenYet));
        assert!(matches!(session.get("a").await, Err(Error::NotSeenYet { .. })));
    });
}

#[test]
fn a_session_that_is_full_says_so_and_forgets_nothing() {
    run(async {
        let servers = Server::start_many(1).await;
        let (_client, files) = client_of(&servers).await;
        let mut session = files.session();
        let context = session.put("a", "1").await.unwrap().context().clone();
        for i in 1..16_384 {
            session.resume(format!("{i}"), context.clone()).unwrap();
        }
        assert_eq!(session.put("one more", "1").await.unwrap_err().kind(), "bad_request");
        assert_eq!(session.get("one more").await.unwrap_err().kind(), "bad_request");
        session.put("a", "2").await.unwrap();
        session.forget();
        session.put("one more", "1").await.unwrap();
    });
}
