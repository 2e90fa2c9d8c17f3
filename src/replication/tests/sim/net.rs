//! The network of a simulated branch: everything that a network may do to a message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Simulated;
use crate::replication::message::{Ask, Forwarded, Message, decode};
use crate::replication::tests::town::address;
use crate::replication::{Answers, Door, Link, Lost, Transport};
use crate::store::Runtime;

/// Seeds from here on draw which troubles their life has; those below have all the usual ones.
pub(crate) const DRAWN: u64 = 1 << 32;

/// Where all randomness of a life comes from, and a running hash of everything that happens in it.
pub(crate) struct Chance {
    state: Mutex<u64>,
    trace: Mutex<blake3::Hasher>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance { state: Mutex::new(seed), trace: Mutex::default(), counts: Mutex::default() }
    }

    /// Which kinds of trouble below `kinds` a life has: for seeds from [`DRAWN`] on some of them, else all.
    pub(crate) fn kinds(&self, seed: u64, kinds: u64) -> Vec<u64> {
        (0..kinds).filter(|_| seed < DRAWN || self.of_thousand(600)).collect()
    }

    /// A number below `below`.
    pub(crate) fn below(&self, below: u64) -> u64 {
        let mut state = self.state.lock();
        // splitmix64
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// True in so many of a thousand cases.
    pub(crate) fn of_thousand(&self, cases: u64) -> bool {
        self.below(1_000) < cases
    }

    pub(crate) fn pick<T: Copy>(&self, among: &[T]) -> T {
        among[usize::try_from(self.below(among.len() as u64)).unwrap()]
    }

    /// A time from `least` microseconds to less than `most`.
    pub(crate) fn micros(&self, least: u64, most: u64) -> Duration {
        Duration::from_micros(least + self.below(most - least))
    }

    /// Counts something that was done or injected.
    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    /// Adds an event to the trace.
    pub(crate) fn note(&self, event: &[u8]) {
        let now = SimInstant::try_now().unwrap().elapsed_since_start().as_nanos();
        let mut trace = self.trace.lock();
        trace.update(&now.to_le_bytes());
        trace.update(event);
    }

    pub(crate) fn trace(&self) -> String {
        self.trace.lock().finalize().to_hex().to_string()
    }
}

/// What happens to messages, in so many of a thousand.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) slow: u64,
    /// A stream breaks at a message.
    pub(crate) broken: u64,
}

impl Weather {
    pub(crate) const FAIR: Weather = Weather { lost: 0, doubled: 0, slow: 0, broken: 0 };
    pub(crate) const RAIN: Weather = Weather { lost: 10, doubled: 50, slow: 30, broken: 2 };
    pub(crate) const STORM: Weather = Weather { lost: 150, doubled: 200, slow: 200, broken: 20 };
}

/// Which life of a replica is at home, and its door.
type Home = (u64, Arc<dyn Door>);

pub(crate) struct Net {
    pub(crate) chance: Arc<Chance>,
    homes: Mutex<BTreeMap<u64, Home>>,
    cut: Mutex<BTreeSet<(u64, u64)>>,
    weather: Mutex<Weather>,
}

impl Net {
    pub(crate) fn new(chance: Arc<Chance>) -> Net {
        let weather = Mutex::new(Weather::FAIR);
        Net { chance, homes: Mutex::default(), cut: Mutex::default(), weather }
    }

    pub(crate) fn open(&self, replica: u64, life: u64, door: Arc<dyn Door>) {
        self.homes.lock().insert(replica, (life, door));
    }

    pub(crate) fn close(&self, replica: u64) {
        self.homes.lock().remove(&replica);
    }

    /// Cuts the way from one replica to another.
    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.chance.count("way cut");
        self.cut.lock().insert((from, to));
    }

    pub(crate) fn heal(&self) {
        self.cut.lock().clear();
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    fn home(&self, replica: u64) -> Option<Home> {
        self.homes.lock().get(&replica).cloned()
    }

    fn lives(&self, replica: u64, life: u64) -> bool {
        self.homes.lock().get(&replica).is_some_and(|(now, _)| *now == life)
    }

    /// Carries something. False when it is lost on the way.
    async fn carry(&self, from: u64, to: u64) -> bool {
        let weather = *self.weather.lock();
        let slow = self.chance.of_thousand(weather.slow);
        let most = if slow { 600_000 } else { 1_500 };
        Simulated::sleep(self.chance.micros(200, most)).await;
        !self.cut.lock().contains(&(from, to)) && !self.chance.of_thousand(weather.lost)
    }

    /// Carries a part of a stream: nothing is lost in one, it breaks.
    async fn stream(&self, from: u64, to: u64) -> bool {
        let weather = *self.weather.lock();
        let slow = self.chance.of_thousand(weather.slow);
        let most = if slow { 100_000 } else { 800 };
        Simulated::sleep(self.chance.micros(200, most)).await;
        if self.cut.lock().contains(&(from, to)) {
            // The connection stays open, and nothing comes.
            Simulated::sleep(Duration::from_secs(10)).await;
            return false;
        }
        !self.chance.of_thousand(weather.broken)
    }
}

/// The ways out of one life of a replica.
pub(crate) struct From {
    pub(crate) net: Arc<Net>,
    pub(crate) replica: u64,
    pub(crate) life: u64,
}

impl Transport for From {
    fn link(&self, to: &str) -> Box<dyn Link> {
        let to = (1..).find(|replica| address(*replica) == to).unwrap();
        Box::new(Way { net: Arc::clone(&self.net), from: self.replica, life: self.life, to })
    }
}

#[derive(Clone)]
struct Way {
    net: Arc<Net>,
    from: u64,
    life: u64,
    to: u64,
}

fn lost() -> Lost {
    Lost { sent: true, why: "lost".to_owned() }
}

/// Whether a message has a proposal that nothing recognises if it comes twice. A connection sends nothing twice by
/// itself; what is doubled here stands for what peers send again, and they never send that again.
fn is_nameless(message: &[u8]) -> bool {
    let message: Message<'_, Simulated> = decode(message).unwrap();
    let nameless = |forwarded: &Forwarded<'_>| forwarded.proposal.request.is_none();
    matches!(message.ask, Ask::Propose(proposals) | Ask::ProposeTraced(proposals, _) if proposals.iter().any(nameless))
}

impl Way {
    /// What a machine that is off sends goes nowhere.
    async fn on(&self) {
        // Its door is opened a moment after it started.
        while self.net.home(self.from).is_none_or(|(life, _)| life < self.life) {
            Simulated::sleep(Duration::from_millis(5)).await;
        }
        if !self.net.lives(self.from, self.life) {
            std::future::pending::<()>().await;
        }
    }

    async fn answer(&self, message: Vec<u8>) -> Result<Vec<u8>, Lost> {
        if !self.net.carry(self.from, self.to).await {
            return Err(lost());
        }
        let nobody = || Lost { sent: false, why: "nobody is at home".to_owned() };
        let (life, door) = self.net.home(self.to).ok_or_else(nobody)?;
        self.net.chance.note(&message);
        let answer = door.call(message).await;
        let arrives = self.net.lives(self.to, life) && self.net.carry(self.to, self.from).await;
        if arrives { Ok(answer) } else { Err(lost()) }
    }
}

impl Link for Way {
    fn call(&self, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Lost>> {
        let way = self.clone();
        Box::pin(async move {
            way.on().await;
            let (tell, told) = oneshot::channel();
            let doubled = way.net.weather.lock().doubled;
            if way.net.chance.of_thousand(doubled) && !is_nameless(&message) {
                let (way, message) = (way.clone(), message.clone());
                Simulated::spawn(async move {
                    Simulated::sleep(way.net.chance.micros(1, 2_000_000)).await;
                    drop(way.answer(message).await);
                });
            }
            let chance = Arc::clone(&way.net.chance);
            // What is under way arrives though the caller goes away.
            Simulated::spawn(async move {
                let answer = way.answer(message).await;
                if answer.is_err() && chance.of_thousand(500) {
                    Simulated::sleep(Duration::from_secs(10)).await;
                }
                drop(tell.send(answer));
            });
            told.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn stream(&self, messages: BoxStream<'static, Vec<u8>>) -> BoxFuture<'static, Result<Answers, Lost>> {
        let way = self.clone();
        Box::pin(async move {
            way.on().await;
            if !way.net.carry(way.from, way.to).await {
                return Err(lost());
            }
            let nobody = || Lost { sent: false, why: "nobody is at home".to_owned() };
            let (life, door) = way.net.home(way.to).ok_or_else(nobody)?;
            let (out, back) = (way.clone(), way);
            let messages = messages.then(move |message| {
                let way = out.clone();
                async move {
                    way.on().await;
                    let arrives = way.net.stream(way.from, way.to).await;
                    way.net.chance.note(&message);
                    arrives.then_some(message)
                }
            });
            let messages = messages
                .take_while(|message| std::future::ready(message.is_some()))
                .filter_map(std::future::ready);
            let answers = door.stream(messages.boxed()).then(move |answer| {
                let way = back.clone();
                async move {
                    let arrives = way.net.stream(way.to, way.from).await && way.net.lives(way.to, life);
                    if arrives { Ok(answer) } else { Err(lost()) }
                }
            });
            Ok(answers.boxed())
        })
    }
}
