//! Where requests go, and what happens when the layout changes.

use std::time::Duration;

use dynode_client::fake::{Fault, Server};
use dynode_client::wire::{ErrorCode, Keys, Message};
use dynode_client::{Client, Error};

use crate::{client_of, key_of, run};

#[test]
fn requests_go_to_the_first_owner() {
    run(async {
        let servers = Server::start_many(5).await;
        let (client, files) = client_of(&servers).await;
        let layout = client.layout();
        let mut expected = [0; 5];
        for i in 0..100 {
            let key = format!("{i}");
            files.put(&key, "v").await.unwrap();
            let owner = layout.owners(layout.partition_of(b"files", key.as_bytes()))[0];
            expected[owner.0 as usize - 1] += 1;
        }
        assert_eq!(servers.iter().map(|server| server.seen("Put")).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn when_owners_are_down_the_next_takes_over_and_at_last_anybody() {
    run(async {
        let servers = Server::start_many(5).await;
        let (client, files) = client_of(&servers).await;
        let layout = client.layout();
        let key = key_of(&client, &servers[2]);
        let owners: Vec<usize> = layout
            .owners(layout.partition_of(b"files", key.as_bytes()))
            .iter()
            .map(|node| node.0 as usize - 1)
            .collect();
        assert_eq!(owners.len(), 3);
        let puts = || servers.iter().map(|server| server.seen("Put")).collect::<Vec<_>>();
        let mut served = Vec::new();
        for down in owners.iter().copied().map(Some).chain([None]) {
            let before = puts();
            files.put(&key, "v").over_current().await.unwrap();
            let changed = puts().iter().zip(&before).position(|(after, before)| after > before);
            served.push(changed.unwrap());
            if let Some(down) = down {
                servers[down].stop().await;
                // Until the client has noticed: a write must not run into the dead connection.
                while files.get(&key).await.is_err() {}
            }
        }
        assert_eq!(served[..3], owners);
        assert!(!owners.contains(&served[3]), "{served:?}");
    });
}

#[test]
fn another_layout_is_fetched_and_gone_by() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        // All goes to the first node now, and the second one refuses what goes by the former layout.
        servers[0].change_layout(|layout| layout.owners.iter_mut().for_each(|owners| *owners = vec![0, 1]));
        servers[1].always("Put", Fault::Fail(ErrorCode::OtherLayout));
        files.put(&key, "2").over_current().await.unwrap();
        assert_eq!(client.layout().epoch(), 2);
        files.put(&key, "3").over_current().await.unwrap();
        assert_eq!((servers[0].seen("Put"), servers[1].seen("Put")), (2, 2));
    });
}

#[test]
fn one_question_serves_all_that_learn_of_another_layout_together() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        servers[0].change_layout(|layout| layout.owners.iter_mut().for_each(|owners| *owners = vec![0, 1]));
        servers[1].always("Put", Fault::Fail(ErrorCode::OtherLayout));
        let before = servers[0].seen("GetLayout") + servers[1].seen("GetLayout");
        let mut writes = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let put = files.put(&key, "2").over_current();
            writes.spawn(async move { put.await.unwrap() });
        }
        while let Some(write) = writes.join_next().await {
            write.unwrap();
        }
        let asked = servers[0].seen("GetLayout") + servers[1].seen("GetLayout") - before;
        assert!(asked <= 2, "{asked}");
    });
}

#[test]
fn a_node_that_has_no_newer_layout_is_not_asked_for_it_by_everybody() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        servers[1].always("Put", Fault::Fail(ErrorCode::OtherLayout));
        let mut writes = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let put = files.put(&key, "2").over_current();
            writes.spawn(async move { put.await.unwrap() });
        }
        while let Some(write) = writes.join_next().await {
            write.unwrap();
        }
        assert!(servers[1].seen("GetLayout") < 250, "{}", servers[1].seen("GetLayout"));
        assert_eq!(client.layout().epoch(), 1);
    });
}

#[test]
fn an_older_layout_is_not_gone_back_to() {
    run(async {
        let servers = Server::start_many(1).await;
        let (client, _) = client_of(&servers).await;
        servers[0].change_layout(|layout| layout.epoch = 9);
        client.refresh_layout().await.unwrap();
        servers[0].change_layout(|layout| layout.epoch = 4);
        client.refresh_layout().await.unwrap();
        assert_eq!(client.layout().epoch(), 9);
    });
}

#[test]
fn a_layout_that_cannot_be_is_refused() {
    run(async {
        let server = Server::start().await;
        server.change_layout(|layout| layout.owners[3] = vec![5]);
        assert_eq!(Client::connect([server.addr()]).await.unwrap_err().kind(), "unexpected");
    });
}

async fn list(keys: dynode_client::Keys) -> Result<Vec<String>, Error> {
    let mut keys = keys;
    let mut all = Vec::new();
    while let Some(key) = keys.next().await? {
        all.push(String::from_utf8(key.to_vec()).unwrap());
    }
    Ok(all)
}

#[test]
fn keys_come_in_order_each_once() {
    run(async {
        let servers = Server::start_many(3).await;
        let (client, files) = client_of(&servers).await;
        let mut names: Vec<String> = (0..300).map(|i| format!("{}/{i}", ["a", "b", "ab"][i % 3])).collect();
        for name in &names {
            files.put(name, "v").await.unwrap();
        }
        client.bucket("other").unwrap().put("elsewhere", "v").await.unwrap();
        files.delete("a/0").await.unwrap();
        names.retain(|name| name != "a/0");
        names.sort();
        for page in [1, 7, 2048] {
            assert_eq!(list(files.keys().page(page)).await.unwrap(), names, "pages of {page}");
        }
        let with_a: Vec<&String> = names.iter().filter(|name| name.starts_with("a/")).collect();
        assert_eq!(list(files.keys().prefix("a/").page(10)).await.unwrap().iter().collect::<Vec<_>>(), with_a);
        assert!(list(files.keys().prefix("nothing")).await.unwrap().is_empty());
        let after = list(files.keys().after(with_a[0]).prefix("a/").page(1)).await.unwrap();
        assert_eq!(after.iter().collect::<Vec<_>>(), with_a[1..], "the key itself is not listed again");
        let mut done = files.keys().prefix("nothing");
        assert_eq!(done.next().await.unwrap(), None);
        assert_eq!(done.next().await.unwrap(), None);
    });
}

#[test]
fn keys_go_on_at_another_owner() {
    run(async {
        let servers = Server::start_many(3).await;
        let (_, files) = client_of(&servers).await;
        let mut names: Vec<String> = (0..100).map(|i| format!("{i}")).collect();
        for name in &names {
            files.put(name, "v").await.unwrap();
        }
        names.sort();
        servers[0].next("ListKeys", (0..9).map(|_| Fault::Close));
        servers[1].next("ListKeys", (0..9).map(|_| Fault::Fail(ErrorCode::Unavailable)));
        assert_eq!(list(files.keys().page(3)).await.unwrap(), names);
    });
}

#[test]
fn keys_are_never_silently_incomplete() {
    run(async {
        let servers = Server::start_many(4).await;
        let (_, patient) = client_of(&servers).await;
        for i in 0..100 {
            patient.put(format!("{i}"), "v").await.unwrap();
        }
        let client = Client::builder().timeout(Duration::from_secs(1)).connect([servers[3].addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        // One partition of the eight has its owners among these three only.
        for server in &servers[..3] {
            server.stop().await;
        }
        let error = list(files.keys()).await.unwrap_err();
        assert!(["unreachable", "timed_out"].contains(&error.kind()), "{error}");
        // A listing that was under way goes on where it was when they are back.
        for server in &servers[..3] {
            server.restart().await;
        }
        let mut listing = files.keys().page(2);
        let mut listed = Vec::new();
        while listed.is_empty() {
            listed.extend(listing.next().await.ok().flatten());
        }
        for server in &servers[..3] {
            server.stop().await;
        }
        let mut failed = 0;
        while failed < 2 {
            match listing.next().await {
                Ok(key) => listed.push(key.expect("the listing is not complete")),
                Err(_) => failed += 1,
            }
        }
        for server in &servers[..3] {
            server.restart().await;
        }
        loop {
            match listing.next().await {
                Ok(Some(key)) => listed.push(key),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        let mut expected: Vec<String> = (0..100).map(|i| format!("{i}")).collect();
        expected.sort();
        assert_eq!(listed, expected);
    });
}

#[test]
fn a_page_that_goes_nowhere_is_refused() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        let page = |keys: &[&'static str], more| {
            let keys = keys.iter().map(|key| (*key).into()).collect();
            Fault::Say(Box::new(Message::from(Keys { keys, more, recovering: false })))
        };
        for fault in [page(&["b", "a"], false), page(&["a", "a"], false), page(&[], true), page(&["x"], false)] {
            server.always("ListKeys", fault);
            assert_eq!(list(files.keys().prefix("a")).await.unwrap_err().kind(), "unexpected");
        }
    });
}
