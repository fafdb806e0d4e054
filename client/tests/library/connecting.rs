//! Seeds, greetings, strangers.

use std::time::Duration;

use dynode_client::fake::{CLUSTER, Fault, Server};
use dynode_client::wire::{ErrorCode, Message, ReplicateDone, Topic, Welcome};
use dynode_client::{Client, Error, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{client_of, key_of, run, until};

/// An address where nobody listens.
async fn dead_addr() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[test]
fn the_first_seed_that_answers_will_do() {
    run(async {
        let server = Server::start().await;
        let client = Client::connect([dead_addr().await, server.addr()]).await.unwrap();
        assert_eq!(client.node(), (NodeId(1), "n0".to_owned()));
        assert_eq!(client.cluster(), CLUSTER);
        assert_eq!(client.layout().members().len(), 1);
    });
}

#[test]
fn no_seed_answers() {
    run(async {
        let (a, b) = (dead_addr().await, dead_addr().await);
        let error = Client::connect([&a, &b]).await.unwrap_err();
        assert_eq!(error.kind(), "unreachable");
        assert!(error.to_string().contains(&a) && error.to_string().contains(&b), "{error}");
        let none: [&str; 0] = [];
        assert_eq!(Client::connect(none).await.unwrap_err().kind(), "bad_request");
    });
}

#[test]
fn another_cluster_is_refused_and_says_why() {
    run(async {
        let server = Server::start().await;
        let error = Client::builder().cluster([9; 16]).connect([server.addr()]).await.unwrap_err();
        let Error::Refused { detail } = &error else { panic!("{error}") };
        assert!(detail.contains(&"09".repeat(16)) && detail.contains(&"07".repeat(16)), "{detail}");
        assert!(Client::builder().cluster(CLUSTER).connect([server.addr()]).await.is_ok());
    });
}

#[test]
fn a_newer_node_is_refused_and_says_why() {
    run(async {
        let server = Server::start().await;
        let welcome = Welcome { version: 9, cluster: CLUSTER, node: 1, name: "n0".into() };
        server.always("Hello", Fault::Say(Box::new(welcome.into())));
        let error = Client::connect([server.addr()]).await.unwrap_err();
        assert!(matches!(&error, Error::Refused { detail } if detail.contains("version 9")), "{error}");
        server.always("Hello", Fault::Say(Box::new(ReplicateDone { recovering: false }.into())));
        assert_eq!(Client::connect([server.addr()]).await.unwrap_err().kind(), "unexpected");
    });
}

#[test]
fn something_else_listens_there() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let web = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 100]).await;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.unwrap();
        });
        let error = Client::connect([addr]).await.unwrap_err();
        assert!(matches!(error, Error::Wire(_)), "{error:?}");
        assert!(error.to_string().contains("hardly a dynode"), "{error}");
        web.await.unwrap();
    });
}

#[test]
fn garbage_in_mid_connection_ends_it_and_a_new_one_is_made() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        files.put("a", "1").await.unwrap();
        server.next("Get", [Fault::Garbage]);
        server.next("Delete", [Fault::Garbage]);
        // A read is asked again; a delete of whatever is there is not.
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "1");
        assert_eq!(files.delete("a").await.unwrap_err().kind(), "outcome_unknown");
        assert_eq!(files.get("a").await.unwrap().single().unwrap().unwrap(), "1");
        assert_eq!(server.seen("Hello"), 3);
    });
}

#[test]
fn a_node_that_was_away_is_used_again() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        assert_eq!(servers[1].seen("Put"), 1);

        servers[1].stop().await;
        assert_eq!(files.get(&key).await.unwrap().single().unwrap().unwrap(), "1");
        files.put(&key, "2").over_current().await.unwrap();
        assert_eq!((servers[0].seen("Put"), servers[1].seen("Put")), (1, 1));

        servers[1].restart().await;
        let files = &files;
        let mut came_back = false;
        while !came_back {
            files.get(&key).await.unwrap();
            came_back = servers[1].seen("Get") > 0;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

#[test]
fn a_node_that_says_nothing_is_left_alone() {
    run(async {
        let servers = Server::start_many(2).await;
        servers[1].always("Hello", Fault::Silence);
        let client = Client::connect(servers.iter().map(Server::addr)).await.unwrap();
        let files = client.bucket("files").unwrap();
        // The greeting is not answered: the other node is asked, at once.
        files.put(key_of(&client, &servers[1]), "1").await.unwrap();
        files.put(key_of(&client, &servers[1]), "2").await.unwrap();
        assert_eq!((servers[0].seen("Put"), servers[1].seen("Put")), (2, 0));
    });
}

#[test]
fn another_node_at_a_members_address_is_not_taken_for_it() {
    run(async {
        let servers = Server::start_many(2).await;
        servers[0].change_layout(|layout| layout.members[1].node = 77);
        let client = Client::connect([servers[0].addr()]).await.unwrap();
        let error = client.inspect(Some(NodeId(77)), Topic::Status).await.unwrap_err();
        assert!(matches!(&error, Error::Refused { detail } if detail.contains("layout")), "{error}");
        // Its share is served by others.
        let files = client.bucket("files").unwrap();
        for i in 0..20 {
            files.put(format!("{i}"), "v").await.unwrap();
        }
        assert_eq!(servers[0].seen("Put"), 20);
    });
}

#[test]
fn nodes_are_asked_about_themselves() {
    run(async {
        let servers = Server::start_many(3).await;
        let (client, _) = client_of(&servers).await;
        assert_eq!(client.inspect(None, Topic::Status).await.unwrap(), "{\"node\":1}");
        assert_eq!(client.inspect(Some(NodeId(3)), Topic::Storage).await.unwrap(), "{\"node\":3}");
        assert_eq!(client.inspect_at(servers[1].addr(), Topic::LocalClocks).await.unwrap(), "{\"node\":2}");
        let alone = dynode_client::inspect(servers[1].addr(), Topic::Status, crate::PATIENCE).await;
        assert_eq!(alone.unwrap(), "{\"node\":2}");
        assert_eq!(client.inspect(Some(NodeId(9)), Topic::Status).await.unwrap_err().kind(), "bad_request");
        servers[2].next("Inspect", [Fault::Say(Box::new(Message::from(ReplicateDone { recovering: false })))]);
        assert_eq!(client.inspect(Some(NodeId(3)), Topic::Status).await.unwrap_err().kind(), "unexpected");
    });
}

#[test]
fn a_node_without_a_layout_can_be_asked_about_itself() {
    run(async {
        let server = Server::start().await;
        server.always("GetLayout", Fault::Fail(ErrorCode::Unavailable));
        assert_eq!(Client::connect([server.addr()]).await.unwrap_err().kind(), "unavailable");
        let report = dynode_client::inspect(server.addr(), Topic::Status, crate::PATIENCE).await;
        assert_eq!(report.unwrap(), "{\"node\":1}");
    });
}

#[test]
fn the_connections_end_with_the_client() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start().await;
        let (addr, to) = (listener.local_addr().unwrap().to_string(), server.addr());
        // A relay that notices the end.
        let relay = tokio::spawn(async move {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
        let client = Client::connect([addr]).await.unwrap();
        let bucket = client.bucket("b").unwrap();
        drop(client);
        bucket.put("a", "1").await.unwrap();
        drop(bucket);
        until(|| relay.is_finished()).await;
    });
}
