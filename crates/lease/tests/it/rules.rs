//! What an heir does at single looks.

use lease::{Deed, Heir, Holding, Member, News, NodeId, Order, Sign, Survey};
use std::{sync::Arc, time::Duration};
use stdx::Moment;
use wire::{Epoch, PartitionId};

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);

fn at(ms: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(ms)
}

fn heir() -> Heir {
    Heir::new(ME, "a-1".into(), vec!["a-1".into(), "a-2".into()], 7, Moment::ZERO)
}

fn member(id: NodeId, sign: Sign) -> Member {
    Member { id, name: format!("a-{}", id.0).into(), sign, is_leaving: false }
}

fn survey(signs: &[(NodeId, Sign)], owners: &[(Option<NodeId>, u64)]) -> Survey {
    let holding = |(at, (owner, epoch)): (usize, &(Option<NodeId>, u64))| Holding {
        partition: PartitionId(u16::try_from(at).unwrap()),
        owner: *owner,
        epoch: Epoch(*epoch),
        pinned: None,
    };
    Survey {
        members: signs.iter().map(|(id, sign)| member(*id, *sign)).collect(),
        holdings: owners.iter().enumerate().map(holding).collect(),
    }
}

fn takes(orders: &[Order]) -> Vec<u16> {
    let take = |it: &Order| matches!(it.deed, Deed::Take { .. }).then_some(it.partition.0);
    orders.iter().filter_map(take).collect()
}

/// Takes and loads whatever the heir wants of this.
fn settle(heir: &mut Heir, now: Moment, survey: &mut Survey) {
    for Order { partition, deed } in heir.look(now, survey) {
        let Deed::Take { seen } = deed else { panic!("{deed:?}") };
        let epoch = Epoch(seen.0 + 1);
        heir.hear(now, partition, News::Took { seen, epoch: Some(epoch) });
        heir.hear(now, partition, News::Loaded { epoch });
        let holding = survey.holdings.iter_mut().find(|it| it.partition == partition).unwrap();
        (holding.owner, holding.epoch) = (Some(ME), epoch);
    }
}

#[test]
fn at_its_start_a_node_takes_what_is_at_home_and_waits_for_the_others() {
    let mut heir = heir();
    let alone = survey(&[(ME, Sign::Lively)], &[(None, 0), (None, 0), (Some(NodeId(9)), 4)]);
    assert_eq!(takes(&heir.look(at(0), &alone)), [0, 2]);
    assert_eq!(takes(&heir.look(at(999), &alone)), [0_u16; 0]);
    assert_eq!(takes(&heir.look(at(1_000), &alone)), [1]);
}

#[test]
fn what_a_node_that_was_met_leaves_behind_is_taken_at_once() {
    let mut heir = heir();
    let mut both =
        survey(&[(ME, Sign::Lively), (OTHER, Sign::Lively)], &[(None, 0), (Some(OTHER), 1)]);
    settle(&mut heir, at(0), &mut both);
    assert_eq!(heir.look(at(10), &both), []);
    both.members[1].sign = Sign::Late;
    assert_eq!(heir.look(at(20), &both), [], "late is not dead");
    both.members[1].sign = Sign::Dead;
    assert_eq!(takes(&heir.look(at(20), &both)), [1]);
}

#[test]
fn what_comes_home_is_given_after_a_while_and_one_at_a_time() {
    let mut heir = heir();
    let mut alone = survey(&[(ME, Sign::Lively)], &[(None, 0); 4]);
    settle(&mut heir, at(0), &mut alone);
    settle(&mut heir, at(1_000), &mut alone);
    let mut both = alone.clone();
    both.members.push(member(OTHER, Sign::Lively));
    assert_eq!(heir.look(at(20_000), &both), []);
    assert_eq!(heir.look(at(24_999), &both), [], "it may be falling over and over");
    let [Order { partition: P1, deed: Deed::Close { epoch } }] = heir.look(at(25_000), &both)[..]
    else {
        panic!();
    };
    assert_eq!(heir.look(at(25_010), &both), [], "one after the other");
    let give = heir.hear(at(25_020), P1, News::Closed { epoch });
    assert_eq!(give, Some(Deed::Give { epoch, to: OTHER }));
    heir.hear(at(25_030), P1, News::Gave { epoch });
    (both.holdings[1].owner, both.holdings[1].epoch) = (Some(OTHER), Epoch(2));
    assert_eq!(heir.look(at(25_040), &both), [], "it was not taken yet");
    both.holdings[1].epoch = Epoch(3);
    assert_eq!(heir.look(at(25_050), &both).len(), 1);
}

#[test]
fn what_will_come_home_is_expected() {
    let mut heir = heir();
    let both = survey(
        &[(ME, Sign::Lively), (OTHER, Sign::Lively)],
        &[(Some(OTHER), 1), (Some(OTHER), 1), (Some(OTHER), 1)],
    );
    assert_eq!(heir.look(at(0), &both), []);
    assert_eq!(heir.expected(), [P0, PartitionId(2)]);
    heir.set_leaving(true);
    heir.look(at(10), &both);
    assert_eq!(heir.expected(), []);
}

#[test]
fn a_quiet_node_is_given_nothing() {
    let mut heir = heir();
    let mut alone = survey(&[(ME, Sign::Lively)], &[(None, 0); 2]);
    settle(&mut heir, at(0), &mut alone);
    settle(&mut heir, at(1_000), &mut alone);
    let mut both = alone.clone();
    both.members.push(member(OTHER, Sign::Lively));
    both.holdings[1].pinned = Some("a-2".into());
    both.members[1].sign = Sign::Quiet;
    assert_eq!(heir.look(at(60_000), &both), []);
    both.members[1].sign = Sign::Lively;
    both.members[1].is_leaving = true;
    assert_eq!(heir.look(at(60_010), &both), []);
    both.members[1].is_leaving = false;
    assert_eq!(heir.look(at(60_020), &both), [], "its successor reads ahead");
    assert_eq!(heir.look(at(60_520), &both).len(), 1, "an order is obeyed soon");
}

#[test]
fn a_node_that_leaves_gives_everything_and_takes_nothing() {
    let mut heir = heir();
    let mut both = survey(&[(ME, Sign::Lively), (OTHER, Sign::Lively)], &[(None, 0), (None, 0)]);
    settle(&mut heir, at(0), &mut both);
    heir.set_leaving(true);
    both.holdings[1] = Holding { owner: Some(ME), epoch: Epoch(1), ..both.holdings[1].clone() };
    assert_eq!(heir.look(at(10), &both), [], "its successor reads ahead");
    let orders = heir.look(at(510), &both);
    assert!(
        matches!(orders[..], [Order { partition: P0, deed: Deed::Close { .. } }]),
        "{orders:?}"
    );
    assert!(!heir.is_free_to_go());
    let epoch = Epoch(1);
    heir.hear(at(520), P0, News::Closed { epoch });
    heir.hear(at(530), P0, News::Gave { epoch });
    assert!(heir.is_free_to_go());
}

#[test]
fn a_node_that_leaves_alone_just_goes() {
    let mut heir = heir();
    let mut both = survey(&[(ME, Sign::Lively), (OTHER, Sign::Lively)], &[(None, 0)]);
    settle(&mut heir, at(0), &mut both);
    heir.set_leaving(true);
    both.members[1].is_leaving = true;
    assert_eq!(heir.look(at(10), &both), []);
    assert!(heir.is_free_to_go());
}

#[test]
fn a_tenure_that_somebody_ended_is_closed_though_nothing_is_written() {
    let mut heir = heir();
    let mut both = survey(&[(ME, Sign::Lively), (OTHER, Sign::Lively)], &[(None, 0)]);
    settle(&mut heir, at(0), &mut both);
    both.holdings[0] = Holding { owner: Some(OTHER), epoch: Epoch(2), ..both.holdings[0].clone() };
    let closed = Order { partition: P0, deed: Deed::Close { epoch: Epoch(1) } };
    assert_eq!(heir.look(at(10), &both), [closed]);
    assert_eq!(heir.look(at(20), &both), []);
    let _name: Arc<str> = Arc::clone(&both.members[0].name);
}
