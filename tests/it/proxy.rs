//! A network that a test can break: a proxy that cuts its connections, loses what the server says, or takes its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes to a server and back. It ends with its runtime.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: watch::Sender<()>,
    mute: Arc<AtomicBool>,
    slowness: Arc<Slowness>,
}

/// How long the proxy keeps what it passes on: each piece for another time, below `most` microseconds.
#[derive(Default)]
struct Slowness {
    most: AtomicU64,
    drawn: AtomicU64,
}

impl Slowness {
    async fn pause(&self) {
        let most = self.most.load(Ordering::Relaxed);
        if most > 0 {
            let drawn = self.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mixed = (drawn ^ (drawn >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
            tokio::time::sleep(Duration::from_micros(mixed % most)).await;
        }
    }
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            cuts: watch::Sender::new(()),
            mute: Arc::default(),
            slowness: Arc::default(),
        };
        let (cuts, mute, slowness) =
            (proxy.cuts.clone(), Arc::clone(&proxy.mute), Arc::clone(&proxy.slowness));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let mut cut = cuts.subscribe();
                let (mute, slowness) = (Arc::clone(&mute), Arc::clone(&slowness));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let never = AtomicBool::new(false);
                    tokio::select! {
                        () = pass(from_client, to_server, &never, &slowness) => {}
                        () = pass(from_server, to_client, &mute, &slowness) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// Breaks every connection. New ones can be made at once.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Keeps every piece for a time below `most`, drawn from the seed.
    pub(crate) fn slow(&self, most: Duration, seed: u64) {
        self.slowness.drawn.store(seed, Ordering::Relaxed);
        self.slowness.most.store(u64::try_from(most.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// Loses everything the server says, or lets it through again on new connections.
    pub(crate) fn mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::SeqCst);
        if !mute {
            self.cut();
        }
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mute: &AtomicBool, slowness: &Slowness) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        slowness.pause().await;
        if !mute.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
