//! Siblings, contexts, updates.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use dynode_client::fake::{Fault, Server};
use dynode_client::wire::ErrorCode;
use dynode_client::{Bucket, Context, Error, Quorum, Siblings};

use crate::{client_of, run};

async fn bucket() -> (Server, Bucket) {
    let server = Server::start().await;
    let (_, files) = client_of(std::slice::from_ref(&server)).await;
    (server, files)
}

#[test]
fn blind_writes_make_siblings_and_a_context_replaces_them() {
    run(async {
        let (_server, files) = bucket().await;
        let nothing = files.get("k").await.unwrap();
        assert_eq!(nothing.siblings(), Siblings::None);
        assert_eq!(nothing.single().unwrap(), None);

        files.put("k", "a").await.unwrap();
        files.put("k", "b").w(Quorum::All).strict(true).await.unwrap();
        let two = files.get("k").r(Quorum::One).strict(true).await.unwrap();
        assert_eq!(two.siblings(), Siblings::Many(vec!["a".into(), "b".into()]));
        assert_eq!(two.single().unwrap_err(), Error::Siblings { count: 2 });

        files.put("k", "c").await.unwrap();
        files.put("k", "ab").over(two.context()).await.unwrap();
        let read = files.get("k").await.unwrap();
        assert_eq!(read.siblings(), Siblings::Many(vec!["c".into(), "ab".into()]), "what was not seen stays");

        let written = files.put("k", "all").over_current().await.unwrap();
        assert_eq!(files.get("k").await.unwrap().single().unwrap().unwrap(), "all");
        files.put("k", "next").over(written.context()).await.unwrap();
        assert_eq!(files.get("k").await.unwrap().single().unwrap().unwrap(), "next");
        assert_eq!(written.acks().owners, 1);
    });
}

#[test]
fn deletes_remove_what_was_seen() {
    run(async {
        let (_server, files) = bucket().await;
        let first = files.put("k", "a").await.unwrap();
        files.put("k", "b").await.unwrap();
        files.delete("k").over(first.context()).await.unwrap();
        assert_eq!(files.get("k").await.unwrap().single().unwrap().unwrap(), "b");
        files.delete("k").await.unwrap();
        assert!(files.get("k").await.unwrap().siblings().is_empty());
    });
}

#[test]
fn contexts_survive_as_bytes_and_belong_to_their_key() {
    run(async {
        let (_server, files) = bucket().await;
        let written = files.put("k", "a").await.unwrap();
        let kept: Vec<u8> = written.context().as_bytes().to_vec();
        let again = Context::from(kept);
        assert_eq!(&again, written.context());
        files.put("k", "b").over(&again).await.unwrap();
        assert_eq!(files.get("k").await.unwrap().single().unwrap().unwrap(), "b");
        assert_eq!(files.put("other", "b").over(&again).await.unwrap_err(), Error::ForeignContext);
        assert_eq!(files.delete("k").over(&Context::from(vec![1, 2])).await.unwrap_err(), Error::ForeignContext);
    });
}

#[test]
fn names_have_bounds() {
    run(async {
        let (server, files) = bucket().await;
        assert_eq!(files.client().bucket("").unwrap_err().kind(), "bad_request");
        assert_eq!(files.client().bucket([0; 1025]).unwrap_err().kind(), "too_large");
        assert!(files.client().bucket([0; 1024]).is_ok());
        assert_eq!(files.get("").await.unwrap_err().kind(), "bad_request");
        assert_eq!(files.put([0; 1025], "v").await.unwrap_err().kind(), "too_large");
        assert_eq!(files.delete([0; 5000]).await.unwrap_err().kind(), "too_large");
        assert_eq!(server.seen("Put") + server.seen("Get") + server.seen("Delete"), 0);
        files.put([255; 1024], "v").await.unwrap();
        assert_eq!(files.get([255; 1024]).await.unwrap().single().unwrap().unwrap(), "v");
    });
}

/// One set of words: the union of all siblings, and one more.
fn add(word: String) -> impl FnMut(Siblings) -> Option<Bytes> {
    move |seen| {
        let texts: Vec<String> = seen.iter().map(|v| String::from_utf8(v.to_vec()).unwrap()).collect();
        let mut words: BTreeSet<&str> = texts.iter().flat_map(|text| text.split(' ')).collect();
        words.insert(&word);
        Some(words.into_iter().collect::<Vec<_>>().join(" ").into())
    }
}

#[test]
fn updates_at_the_same_time_lose_nothing() {
    run(async {
        let (_server, files) = bucket().await;
        let mut updates = tokio::task::JoinSet::new();
        for i in 0..100 {
            let files = files.clone();
            updates.spawn(async move { files.update("words", add(format!("w{i:02}"))).await.unwrap() });
        }
        while let Some(update) = updates.join_next().await {
            update.unwrap();
        }
        files.update("words", add("end".into())).await.unwrap();
        let words = files.get("words").await.unwrap().single().unwrap().unwrap();
        let expected: Vec<String> =
            ["end".to_owned()].into_iter().chain((0..100).map(|i| format!("w{i:02}"))).collect();
        assert_eq!(words, expected.join(" "));
    });
}

#[test]
fn an_update_reads_again_when_there_are_too_many_siblings() {
    run(async {
        let (server, files) = bucket().await;
        server.next("Put", [Fault::Fail(ErrorCode::TooManySiblings), Fault::Fail(ErrorCode::TooManySiblings)]);
        let mut calls = 0;
        let update = files.update("k", |seen| {
            calls += 1;
            assert!(seen.is_empty());
            Some(Bytes::from_static(b"v"))
        });
        update.await.unwrap();
        assert_eq!((calls, server.seen("Get"), server.seen("Put")), (3, 3, 3));
    });
}

#[test]
fn an_update_is_written_once_however_often_it_is_sent_and_not_merged_again() {
    run(async {
        let (server, files) = bucket().await;
        server.next("Put", [Fault::DoThenClose]);
        let mut merged = 0;
        let update = files.update("k", |_| {
            merged += 1;
            Some(Bytes::from_static(b"v"))
        });
        update.await.unwrap();
        assert_eq!((merged, server.seen("Put")), (1, 2));
        assert_eq!(files.get("k").await.unwrap().single().unwrap().unwrap(), "v");
        server.always("Put", Fault::Fail(ErrorCode::OutcomeUnknown));
        let update = files.update("k", add("a".into())).timeout(Duration::from_millis(100)).await;
        assert_eq!(update.unwrap_err().kind(), "outcome_unknown");
    });
}

#[test]
fn an_update_to_nothing_deletes() {
    run(async {
        let (server, files) = bucket().await;
        files.update("k", |_| None).await.unwrap();
        assert_eq!(server.seen("Delete"), 0, "there was nothing to delete");
        files.put("k", "v").await.unwrap();
        files.update("k", |seen| seen.is_empty().then(Bytes::new)).await.unwrap();
        assert!(files.get("k").await.unwrap().siblings().is_empty());
        assert_eq!(server.seen("Delete"), 1);
    });
}
