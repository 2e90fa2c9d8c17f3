//! The live feed of a conversation: other clients' operations, above the line being typed.
//!
//! Invariant: own operations are not shown, the others each once, however often the connection breaks.
//! A lost session is left to the next command, which tells the user; until then the feed waits.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rustyline::ExternalPrinter;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cli::problem::Problem;
use crate::cli::run::Writes;
use crate::cli::views;
use crate::client::{Client, JournalRecord, Options, Page, Watch};
use crate::model::{Failure, Reason};

use super::Link;

/// Messages that wait for the terminal; beyond that the feed waits too.
const WAITING: usize = 256;
/// Operations shown one by one in a second; the others are counted.
const LINES_A_SECOND: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Pause before a server that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Prints while a line is being typed. The editor's printer blocks, so it has a thread of its own.
pub(super) struct Voice(mpsc::Sender<String>);

impl Voice {
    /// Prints through the line editor.
    pub(super) fn above_the_line(mut printer: impl ExternalPrinter + Send + 'static) -> Voice {
        Voice::with(move |text| printer.print(text).is_ok())
    }

    /// Prints to a terminal that the line editor cannot manage.
    pub(super) fn plain() -> Voice {
        Voice::with(|text| std::io::stdout().write_all(text.as_bytes()).is_ok())
    }

    fn with(mut print: impl FnMut(String) -> bool + Send + 'static) -> Voice {
        let (sender, mut texts) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            while let Some(text) = texts.blocking_recv() {
                if !print(text) {
                    break;
                }
            }
        });
        Voice(sender)
    }
}

/// The feed of a conversation, on or off.
pub(super) struct Feed {
    voice: Voice,
    link: Link,
    renewed: watch::Sender<()>,
    task: Option<JoinHandle<()>>,
}

impl Feed {
    /// A feed that is off.
    pub(super) fn new(voice: Voice, link: Link) -> Feed {
        Feed { voice, link, renewed: watch::Sender::default(), task: None }
    }

    /// Shows everything from a sequence on.
    pub(super) fn start(&mut self, runtime: &Runtime, client: &Client, from: u64, writes: Writes) {
        self.stop();
        let show = Show {
            client: client.clone(),
            writes,
            voice: self.voice.0.clone(),
            link: self.link.clone(),
            renewed: self.renewed.subscribe(),
        };
        self.task = Some(runtime.spawn(show.run(from)));
    }

    /// Stops it; whether it was on.
    pub(super) fn stop(&mut self) -> bool {
        self.task.take().map(|task| task.abort()).is_some()
    }

    /// Lets it go on in the new session.
    pub(super) fn session_renewed(&self) {
        self.renewed.send_replace(());
    }
}

/// The sequence after everything that has happened.
pub(super) async fn next_sequence(client: &Client) -> Result<u64, Problem> {
    let page = Page { size: 1, token: "" };
    Ok(client.accounts(page, &Options::default()).await?.seen.sequence.saturating_add(1))
}

/// How much a terminal is shown: a busy bank does more than anybody can read.
struct Pace {
    since: Instant,
    shown: usize,
    left_out: u64,
}

impl Pace {
    fn new() -> Pace {
        Pace { since: Instant::now(), shown: 0, left_out: 0 }
    }

    /// The lines to show of these; the rest is counted.
    fn lines<'a>(&mut self, records: impl Iterator<Item = &'a JournalRecord>) -> String {
        let mut text = String::new();
        for record in records {
            if self.since.elapsed() >= SECOND {
                text.push_str(&self.begin());
            }
            if self.shown == LINES_A_SECOND {
                self.left_out += 1;
            } else {
                self.shown += 1;
                text.push_str(&views::sentence(record));
                text.push('\n');
            }
        }
        text
    }

    /// Begins another second; what to say of the one before.
    fn begin(&mut self) -> String {
        let before = std::mem::replace(self, Pace::new());
        match before.left_out {
            0 => String::new(),
            1 => "watch: and 1 more operation\n".to_owned(),
            more => format!("watch: and {more} more operations\n"),
        }
    }

    /// Ends with the second when something was left out.
    async fn end(&self) {
        if self.left_out == 0 {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until((self.since + SECOND).into()).await;
    }
}

struct Show {
    client: Client,
    writes: Writes,
    voice: mpsc::Sender<String>,
    link: Link,
    renewed: watch::Receiver<()>,
}

impl Show {
    /// Runs until the conversation ends or the feed is switched off.
    async fn run(mut self, from: u64) {
        let mut feed = self.client.watch(from, "", &Options::default());
        let (mut complained, mut pace) = (false, Pace::new());
        loop {
            let told = tokio::select! {
                () = pace.end() => pace.begin(),
                renewed = self.renewed.changed() => {
                    if renewed.is_err() {
                        return;
                    }
                    feed = self.begin_now();
                    String::new()
                }
                piece = feed.next() => match piece {
                    Ok(piece) => {
                        self.link.lost(false);
                        let again = if std::mem::take(&mut complained) { "watch: connected again\n" } else { "" };
                        let others = piece.records.iter().filter(|record| !self.writes.is_own(&record.request_id));
                        again.to_owned() + &pace.lines(others)
                    }
                    Err(failure) => self.wait(&failure, &mut feed, &mut complained).await,
                }
            };
            if !told.is_empty() && self.voice.send(told).await.is_err() {
                return;
            }
        }
    }

    fn begin_now(&self) -> Watch {
        self.client.watch(0, "", &Options::default())
    }

    /// Waits for what the failure needs; the text says what the user should know.
    async fn wait(&mut self, failure: &Failure, feed: &mut Watch, complained: &mut bool) -> String {
        if failure.reason == Reason::SessionUnknown {
            // An error means that the conversation ends, and this task with it.
            let _ = self.renewed.changed().await;
            *feed = self.begin_now();
            return String::new();
        }
        if failure.reason == Reason::JournalTrimmed {
            *feed = self.begin_now();
            return "watch: operations were missed, the journal no longer holds them\n".to_owned();
        }
        self.link.failed(failure);
        tokio::time::sleep(PAUSE).await;
        let known = std::mem::replace(complained, true);
        if known {
            String::new()
        } else {
            format!("watch: {} ({}), still trying\n", self.client.server(), failure.reason.as_str())
        }
    }
}
