//! The door between replicas takes any bytes and trusts none.

use futures::StreamExt as _;
use proptest::prelude::*;

use super::super::message::{Answer, Appended, Ask, Header, Message, Refusal, decode, encode};
use super::open;
use super::town::{Group, config, write};
use crate::model::{LedgerId, ReplicaId};
use crate::store::{Incarnation, Tokio};

/// What replica 2 says to replica 1, with everything that a valid header has.
fn header(group: &Group<Tokio>) -> Header {
    let identity = &group.replicas[&1].replica.peers;
    Header {
        branch: "main".into(),
        ledger: identity.ledger(),
        from: ReplicaId(2),
        to: ReplicaId(1),
        life: Some(identity.me.member.incarnation),
    }
}

fn question(header: Header, ask: Ask<'static, Tokio>) -> Vec<u8> {
    encode(&Message::<Tokio> { header, ask })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn lone() -> Group<Tokio> {
    let mut group = Group::empty();
    let lone = config(&group.town, 1, &[]);
    group.start(lone).await;
    group
}

#[tokio::test]
async fn what_is_meant_for_somebody_else_is_refused() {
    let group = lone().await;
    let door = group.replicas[&1].door();
    let ours = group.lane(1).ledger().unwrap();
    let header = header(&group);
    let cases = [
        (Header { branch: "delhi".into(), ..header.clone() }, Refusal::OtherBranch { branch: "main".into() }),
        (Header { to: ReplicaId(3), ..header.clone() }, Refusal::OtherReplica { replica: ReplicaId(1) }),
        (
            Header { life: Some(Incarnation([7; 16])), ..header.clone() },
            Refusal::OtherLife { replica: ReplicaId(1) },
        ),
        (
            Header { life: None, ..header.clone() },
            Refusal::Impossible { why: "it does not say which life of the log it is for".to_owned() },
        ),
        (Header { ledger: None, ..header.clone() }, Refusal::OtherLedger { ledger: ours }),
        (Header { ledger: Some(LedgerId([7; 16])), ..header.clone() }, Refusal::OtherLedger { ledger: ours }),
    ];
    for (header, refusal) in cases {
        let answer = door.call(question(header.clone(), Ask::Status)).await;
        let Answer::<Tokio>::Refused(refused) = decode(&answer).unwrap() else { panic!("{header:?}") };
        assert_eq!(refused, refusal);
        let first = question(header, Ask::AppendStream);
        let answers: Vec<_> = door.stream(futures::stream::iter([first]).boxed()).collect().await;
        let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
        let Appended::<Tokio>::Refused(refused) = decode(answer).unwrap() else { panic!() };
        assert_eq!(refused, refusal);
    }
}

#[tokio::test]
async fn another_version_is_told_which_one_this_is() {
    let group = lone().await;
    let door = group.replicas[&1].door();
    let mut newer = question(header(&group), Ask::Hello);
    newer[0] = 2;
    let answer = door.call(newer).await;
    let Answer::<Tokio>::Refused(refused) = decode(&answer).unwrap() else { panic!() };
    assert_eq!(refused, Refusal::Unreadable { version: 1 });
}

#[test]
fn bytes_that_mean_nothing_change_nothing() {
    let runtime = runtime();
    let group = runtime.block_on(async {
        let group = Group::<Tokio>::of(&[1, 2, 3]).await;
        let last = write(&group.lane(1), open(1)).await.last;
        group.digests_at(last).await;
        group
    });
    let door = group.replicas[&1].door();
    let before = group.replicas[&1].replica.current.get().ledger.position();
    let header = header(&group);
    let whole = question(header.clone(), Ask::Propose(Vec::new()));
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|mut bytes| {
            bytes.insert(0, 1);
            bytes
        }),
        (0..whole.len(), any::<u8>()).prop_map(move |(place, byte)| {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            bytes
        }),
    ];
    proptest!(|(bytes in bytes, more in prop::collection::vec(any::<u8>(), 0..100))| {
        runtime.block_on(async {
            let answer = door.call(bytes.clone()).await;
            prop_assert!(decode::<Answer<Tokio>>(&answer).is_ok());
            let begin = question(header.clone(), Ask::AppendStream);
            for messages in [vec![bytes.clone()], vec![begin, bytes.clone(), more.clone()]] {
                let answers: Vec<_> = door.stream(futures::stream::iter(messages).boxed()).collect().await;
                prop_assert!(answers.iter().all(|answer| decode::<Appended<Tokio>>(answer).is_ok()));
            }
            Ok(())
        })?;
    });
    assert_eq!(group.replicas[&1].replica.current.get().ledger.position(), before);
}
