//! `GET /console/key/{bucket}/{key}`: where a key lives, what each node's copy has of it, and what a read at a quorum sees.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dynode_client::wire::{Get, Message};
use dynode_client::{Client, Layout, NodeId, Quorum, Topic};
use dynode_ring::Token;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::app::App;
use super::super::limits::{LOOK_TIME, LOOKUP_COPIES_MAX, LOOKUP_TIME, PREVIEW_BYTES};
use super::super::params::{Query, context_text, ms, place};
use super::super::refusal::Refusal;
use super::super::seen::Seen;

pub(super) async fn key(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Refusal> {
    let (bucket, key) = place(uri.path().strip_prefix("/console/key/").unwrap_or_default())?;
    Query::of(uri.query())?.done()?;
    let busy = |_| Refusal::overloaded("too many keys are being looked up");
    let _room = app.lookups.try_acquire().map_err(busy)?;
    let client = app.client().await?;
    let layout = client.layout();
    let token = Token::of(&bucket, &key);
    let partition = token.partition(layout.partitions());
    let owners = layout.owners(partition);
    let others = layout.preference_list(partition, |node| !owners.contains(&node));
    let listed: Vec<NodeId> = owners.iter().copied().chain(others.stand_ins().iter().copied()).collect();
    let (copies, read) =
        tokio::join!(copies(client, &layout, &listed, owners.len(), &bucket, &key), read(&app, &bucket, &key));
    Ok(Json(json!({
        "bucket": text(&bucket),
        "key": text(&key),
        "token": token.to_string(),
        "partition": partition.0,
        "partitions": layout.partitions(),
        "epoch": layout.epoch(),
        "owners": owners.len(),
        "copies": copies,
        "read": read,
    })))
}

/// What each node of the preference list has of the key, in its order; the owners come first.
async fn copies(
    client: &Client,
    layout: &Layout,
    listed: &[NodeId],
    owners: usize,
    bucket: &Bytes,
    key: &Bytes,
) -> Vec<Value> {
    let mut asked = JoinSet::new();
    for (at, node) in listed.iter().copied().take(LOOKUP_COPIES_MAX).enumerate() {
        let (client, topic) = (client.clone(), Topic::LocalKey { bucket: bucket.clone(), key: key.clone() });
        let name = layout.member(node).map_or_else(|| node.to_string(), |member| member.name.clone());
        let is_owner = at < owners;
        asked.spawn(async move {
            let mut copy = json!({ "node": name, "owner": is_owner });
            match timeout(LOOK_TIME, client.inspect(Some(node), topic)).await {
                Ok(Ok(report)) => copy["report"] = serde_json::from_slice(&report).unwrap_or_default(),
                Ok(Err(why)) => copy["error"] = json!(why.to_string()),
                Err(_) => copy["error"] = json!(format!("no answer in {} ms", LOOK_TIME.as_millis())),
            }
            (at, copy)
        });
    }
    let mut copies = asked.join_all().await;
    copies.sort_by_key(|(at, _)| *at);
    copies.into_iter().map(|(_, copy)| copy).collect()
}

/// What a client would get, or why it would not.
async fn read(app: &App, bucket: &Bytes, key: &Bytes) -> Value {
    let (bucket, key) = (bucket.clone(), key.clone());
    let get = Get { bucket, key, r: Quorum::Majority, strict: false, timeout_ms: ms(LOOKUP_TIME), at_least: None };
    let seen = match app.ask(get, Bytes::new(), LOOKUP_TIME).await {
        Ok((Message::Found(found), body)) => Seen::of(found, body),
        Ok(_) => None,
        Err(refusal) => return json!({ "error": refusal.detail() }),
    };
    let Some(seen) = seen else { return json!({ "error": "the node answered with what is no value: a bug" }) };
    let sibling = |bytes: &Bytes, kind: &str| {
        let preview = bytes.slice(..bytes.len().min(PREVIEW_BYTES));
        json!({ "bytes": bytes.len(), "content_type": kind, "base64": STANDARD.encode(&preview) })
    };
    json!({
        "context": context_text(&seen.context),
        "owners": seen.acks.owners,
        "stand_ins": seen.acks.stand_ins,
        "siblings": seen.values.iter().map(|value| sibling(&value.bytes, &value.content_type)).collect::<Vec<Value>>(),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
