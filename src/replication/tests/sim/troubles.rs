//! Everything bad that happens to a simulated branch while its clients work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Simulated;
use super::net::{Chance, DRAWN, Weather};
use super::world::{End, World, eventually};
use crate::model::ReplicaId;
use crate::replication::Change;
use crate::replication::tests::town::address;
use crate::store::Runtime;
use crate::store::faulty_disk::Faults;

/// The kinds of the usual mix, several of them more than once.
const USUAL: u64 = 18;
/// A disk is damaged while its replica is away.
const ROT: u64 = 18;
/// How long one that comes back on a damaged or older disk is left alone, so that the others answer it.
const ANSWERED: Duration = Duration::from_secs(3);
/// A replica comes back on an older copy of its disk.
const ROLL_BACK: u64 = 19;

/// The troubles of a life, by number; empty for the usual mix.
pub(super) fn mix(seed: u64, chance: &Chance) -> Vec<u64> {
    if seed < DRAWN {
        return Vec::new();
    }
    let mut mix = chance.kinds(seed, USUAL);
    // One of three may be damaged: two are a majority.
    mix.extend(chance.pick(&[None, Some(ROT), Some(ROLL_BACK)]));
    // What is cut is mended, also in a life that drew nothing else.
    mix.push(8);
    mix
}

/// Lets bad things happen for a while.
pub(super) async fn run(world: Arc<World>, seconds: u64) {
    let until = Simulated::now() + Duration::from_secs(seconds);
    while Simulated::now() < until && world.first_wrong().is_none() {
        Simulated::sleep(world.chance.micros(50_000, 900_000)).await;
        restart_some(&world).await;
        one(&world).await;
    }
}

async fn restart_some(world: &Arc<World>) {
    for replica in world.ended() {
        world.refuse_ended(replica);
        world.end(replica, End::Torn);
    }
    for replica in world.replicas.clone() {
        let waits = world.running(replica).is_none() && !world.has_refused(replica);
        if waits && world.chance.of_thousand(600) {
            world.start(replica).await;
        }
    }
}

fn leader(world: &World) -> Option<u64> {
    let all = world.all_running();
    let leads = all.iter().find(|running| running.branch.replica.outlook.look(|raft| raft.state.is_leader()));
    leads.map(|running| running.lane.replica().0)
}

async fn one(world: &Arc<World>) {
    let chance = &world.chance;
    let victim = match (chance.below(3), leader(world)) {
        (0, Some(leader)) => leader,
        (_, _) => chance.pick(&world.replicas),
    };
    let kind = if world.mix.is_empty() { chance.below(USUAL) } else { chance.pick(&world.mix) };
    match kind {
        0 | 1 => world.end(victim, chance.pick(&[End::Killed, End::Torn, End::Lost])),
        2 => {
            world.end(victim, chance.pick(&[End::Killed, End::Torn, End::Lost]));
            world.start(victim).await;
        }
        3 => {
            let how = chance.pick(&[End::Torn, End::Lost]);
            world.replicas.iter().for_each(|replica| world.end(*replica, how));
        }
        4 => part(world),
        5 => world.replicas.iter().for_each(|other| world.net.cut(victim, *other)),
        6 => world.replicas.iter().for_each(|other| world.net.cut(*other, victim)),
        7 => world.net.cut(victim, chance.pick(&world.replicas)),
        8..11 => world.net.heal(),
        11 => world.net.set(chance.pick(&[Weather::FAIR, Weather::RAIN, Weather::STORM])),
        12 => world.set_clock(victim, i64::try_from(chance.below(1_400)).unwrap() - 700),
        13 => {
            let Some(running) = world.running(victim) else { return };
            let deadline = Simulated::now() + Duration::from_secs(3);
            let to = Some(ReplicaId(chance.pick(&world.replicas)));
            Simulated::spawn(async move {
                drop(running.branch.change(Change::Transfer { to }, None, deadline).await)
            });
        }
        14 | 15 => {
            let Some(running) = world.running(victim) else { return };
            // It may have stopped.
            let _ = running.branch.replica.raft.trigger().snapshot().await;
        }
        16 => bad_disk(world, victim),
        ROT => rot(world, victim).await,
        ROLL_BACK => roll_back(world, victim).await,
        _ => {
            let world = Arc::clone(world);
            Simulated::spawn(async move { world.stop(victim).await });
        }
    }
}

fn all_vote(world: &World) -> bool {
    let voting = |members: BTreeMap<u64, bool>| {
        members.len() == world.replicas.len() && members.values().all(|votes| *votes)
    };
    world.members().is_some_and(voting)
}

/// Lets all replicas run and hear each other for a while, so that each knows what the others have flushed: a directory
/// that has lost something is noticed by what the others remember, and that is promised when they can be asked.
async fn hear_each_other(world: &Arc<World>) {
    world.net.heal();
    world.net.set(Weather::FAIR);
    world.start_all().await;
    Simulated::sleep(Duration::from_secs(5)).await;
}

/// Copies the disk of a replica, and the next time lets that replica come back on the copy; once in a life.
async fn roll_back(world: &Arc<World>, victim: u64) {
    if !all_vote(world) || world.chance.counts().contains_key("rollback") {
        return;
    }
    if !world.has_copy() {
        return world.back_up(victim);
    }
    hear_each_other(world).await;
    if let Some(replica) = world.roll_back() {
        world.start(replica).await;
        Simulated::sleep(ANSWERED).await;
    }
}

/// Damages the disk of one replica in a life: two of three would be a majority.
async fn rot(world: &Arc<World>, victim: u64) {
    if all_vote(world) && !world.chance.counts().contains_key("bit rot") {
        hear_each_other(world).await;
        world.end(victim, End::Killed);
        world.rot(victim);
        world.start(victim).await;
        Simulated::sleep(ANSWERED).await;
    }
}

/// Two groups that do not hear each other.
fn part(world: &World) {
    world.chance.count("partition");
    let (these, those): (Vec<u64>, Vec<u64>) =
        world.replicas.iter().partition(|_| world.chance.of_thousand(500));
    for this in &these {
        for that in &those {
            world.net.cut(*this, *that);
            world.net.cut(*that, *this);
        }
    }
}

fn bad_disk(world: &World, victim: u64) {
    if world.running(victim).is_none() {
        return;
    }
    world.chance.count("failed disk call");
    let nth = Some(1 + world.chance.below(8));
    let faults = match world.chance.below(2) {
        0 => Faults { fail_flush: nth, ..Faults::default() },
        _ => Faults { fail_call: nth, ..Faults::default() },
    };
    world.set_faults(victim, faults);
}

/// Takes replicas out and lets them come back with nothing, under the same number, as often as there is time.
pub(super) async fn replace_members(world: Arc<World>) {
    while !world.is_ending() {
        Simulated::sleep(world.chance.micros(2_000_000, 6_000_000)).await;
        let replica = match world.rotten() {
            Some(damaged) => damaged,
            // Another one that is away at the same time could be the majority.
            None if world.mix.contains(&ROT) || world.mix.contains(&ROLL_BACK) => continue,
            None => world.chance.pick(&world.replicas),
        };
        let all = world.members().is_some_and(|members| members.len() == world.replicas.len());
        if !world.is_ending() && all {
            change(&world, replica, removal(replica)).await;
            bring_back(&world).await;
        }
    }
    // A removal whose outcome nobody knew may have come late.
    Simulated::sleep(Duration::from_secs(12)).await;
    bring_back(&world).await;
}

/// Lets everybody vote who does not. Goes on until that is so.
async fn bring_back(world: &Arc<World>) {
    for replica in world.replicas.clone() {
        let mut wiped = false;
        while world.first_wrong().is_none() {
            match world.members().map(|members| members.get(&replica).copied()) {
                Some(Some(true)) if world.has_refused(replica) => {
                    change(world, replica, removal(replica)).await
                }
                Some(Some(true)) => break,
                Some(Some(false)) => {
                    change(world, replica, Change::Promote { replica: ReplicaId(replica) }).await;
                }
                Some(None) => {
                    if !wiped {
                        world.end(replica, End::Killed);
                        world.wipe(replica);
                        world.start(replica).await;
                        wiped = true;
                    }
                    change(world, replica, addition(replica)).await;
                }
                None => {}
            }
            Simulated::sleep(Duration::from_millis(300)).await;
        }
    }
}

fn removal(replica: u64) -> Change {
    Change::Remove { replica: ReplicaId(replica), lose_history: false }
}

fn addition(replica: u64) -> Change {
    Change::Add { replica: ReplicaId(replica), address: address(replica) }
}

/// Asks somebody else for a change.
async fn change(world: &Arc<World>, replica: u64, change: Change) {
    let others: Vec<u64> = world.replicas.iter().copied().filter(|other| *other != replica).collect();
    if let Some(running) = world.running(world.chance.pick(&others)) {
        let deadline = Simulated::now() + Duration::from_secs(8);
        // What came of it, the members will say.
        let _ = running.branch.change(change, None, deadline).await;
    }
}

/// The end of all troubles: everybody is there again and everything works.
pub(super) async fn end(world: &Arc<World>) {
    world.net.heal();
    world.net.set(Weather::FAIR);
    world.mend_disks();
    for replica in world.ended() {
        world.refuse_ended(replica);
        world.end(replica, End::Torn);
    }
    // One that is being stopped is started when it has stopped.
    let _ = eventually(12, || false).await;
    for replica in world.ended() {
        world.refuse_ended(replica);
        world.end(replica, End::Torn);
    }
    world.start_all().await;
}
