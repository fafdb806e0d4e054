use std::future::poll_fn;

use dynode_client::wire::{Causality, Delete, GetLayout, Quorum, Report};

use super::*;

const SHORT: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(60);

fn delete() -> Delete {
    let (bucket, key) = (Bytes::from_static(b"b"), Bytes::from_static(b"k"));
    Delete { bucket, key, causality: Causality::Current, w: Quorum::One, strict: false, timeout_ms: 40 }
}

/// Takes requests until there are `count`, as the loop would.
async fn take(door: &mut Door, count: usize) -> Vec<ReplyTo> {
    let mut events = Vec::new();
    poll_fn(|cx| {
        while door.poll_requests(cx, &mut events, &mut Traced::default()) {}
        if events.len() < count { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let reply_to = |event| match event {
        Event::Request { reply_to, .. } => reply_to,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(reply_to).collect()
}

#[tokio::test]
async fn every_answer_finds_its_asker() {
    let (inside, mut door) = Door::pair();
    let asked = |n: u8| inside.ask(GetLayout {}, Bytes::from(vec![n]), LONG);
    let answering = async {
        let taken = take(&mut door, 2).await;
        assert!(taken.iter().all(|to| to.connection == CONNECTION));
        door.answer(taken[1].request, Report {}.into(), Bytes::from_static(b"second"));
        door.answer(taken[0].request, Report {}.into(), Bytes::from_static(b"first"));
        assert!(door.waiting.is_empty());
    };
    let (first, second, ()) = tokio::join!(asked(1), asked(2), answering);
    assert_eq!((&first.unwrap().1[..], &second.unwrap().1[..]), (&b"first"[..], &b"second"[..]));
}

#[tokio::test]
async fn failures_are_errors() {
    let (inside, mut door) = Door::pair();
    let answering = async {
        let taken = take(&mut door, 1).await;
        door.answer(taken[0].request, failure(ErrorCode::BadRequest, "no").into(), Bytes::new());
    };
    let (asked, ()) = tokio::join!(inside.ask(GetLayout {}, Bytes::new(), LONG), answering);
    assert_eq!(asked.unwrap_err().code, ErrorCode::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_stands_still_takes_nothing_that_is_late() {
    let (inside, mut door) = Door::pair();
    let refused = inside.ask(delete(), Bytes::new(), SHORT).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Overloaded, "it was never taken: nothing was changed");
    let mut events = Vec::new();
    poll_fn(|cx| Poll::Ready(door.poll_requests(cx, &mut events, &mut Traced::default()))).await;
    assert!(events.is_empty(), "its asker has gone");
    // With the asker still in its grace: given back, and that is said.
    let late = async {
        tokio::time::sleep(SHORT * 2).await;
        poll_fn(|cx| Poll::Ready(door.poll_requests(cx, &mut events, &mut Traced::default()))).await;
    };
    let (refused, ()) = tokio::join!(inside.ask(delete(), Bytes::new(), SHORT), late);
    assert_eq!(refused.unwrap_err().code, ErrorCode::Overloaded);
    assert!(events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_taken_and_not_answered_is_unknown_and_leaves_nothing() {
    let (inside, mut door) = Door::pair();
    let (asked, taken) = tokio::join!(inside.ask(delete(), Bytes::new(), SHORT), take(&mut door, 1));
    assert_eq!(asked.unwrap_err().code, ErrorCode::OutcomeUnknown);
    assert_eq!((taken.len(), door.waiting.len()), (1, 1));
    door.forget_the_gone();
    assert!(door.waiting.is_empty());
    assert_eq!(inside.requests.available_permits(), INSIDE_REQUESTS_MAX);
}

#[tokio::test]
async fn the_end_of_a_node_is_told() {
    let (inside, mut door) = Door::pair();
    let ending = async {
        take(&mut door, 1).await;
        door.forget_all();
    };
    let (asked, ()) = tokio::join!(inside.ask(delete(), Bytes::new(), LONG), ending);
    assert_eq!(asked.unwrap_err().code, ErrorCode::OutcomeUnknown);
    drop(door);
    assert_eq!(inside.ask(delete(), Bytes::new(), LONG).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_full_door_makes_askers_wait_and_then_says_that_nothing_was_changed() {
    let (inside, mut door) = Door::pair();
    let value = Bytes::from(vec![0; INSIDE_BYTES_MAX]);
    let first = inside.ask(GetLayout {}, value, LONG);
    let second = async {
        tokio::time::sleep(SHORT).await;
        inside.ask(delete(), Bytes::from_static(b"one byte too many"), SHORT).await
    };
    let third = async {
        tokio::time::sleep(SHORT * 4).await;
        let taken = take(&mut door, 1).await;
        door.answer(taken[0].request, Report {}.into(), Bytes::new());
    };
    let (first, second, ()) = tokio::join!(first, second, third);
    assert!(first.is_ok());
    assert_eq!(second.unwrap_err().code, ErrorCode::Overloaded);
    assert_eq!(inside.bytes.available_permits(), INSIDE_BYTES_MAX);
}
