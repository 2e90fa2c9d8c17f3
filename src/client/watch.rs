//! The live feed: the journal from a sequence on, over broken connections, without gap or duplicate.

use tonic::{Request, Streaming};

use crate::model::{Failure, Reason};
use crate::wire::proto::v1;

use super::retry::{Pauses, Verdict, judge};
use super::types::{JournalPiece, Options};
use super::{Client, bank};

/// The journal as it grows. Nothing is lost when a call of [`Watch::next`] is cancelled or fails: the
/// next one goes on behind the last piece handed out.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    options: Options,
    account: String,
    /// The first sequence not handed out; 0 while the server has not said where the journal stands.
    from: u64,
    /// The last sequence wanted; 0 for no end.
    through: u64,
    stream: Option<Streaming<v1::WatchJournalResponse>>,
    /// Pauses between streams that break before they give anything.
    pauses: Pauses,
}

impl Client {
    /// Watches the journal from a sequence on; 0 is the next one to come. An account narrows the feed to
    /// commands that concern it; empty text does not.
    #[must_use]
    pub fn watch(&self, from: u64, account: &str, options: &Options) -> Watch {
        Watch::new(self, from, 0, account, options)
    }

    /// Reads the journal from a sequence to another one, both included, as one stream. An account narrows it;
    /// empty text does not.
    #[must_use]
    pub fn read_journal(&self, from: u64, through: u64, account: &str, options: &Options) -> JournalReading {
        JournalReading { watch: Watch::new(self, from.max(1), through, account, options) }
    }
}

/// A part of the journal on its way. As with [`Watch`] nothing is lost when a call of
/// [`JournalReading::next`] is cancelled or fails.
#[derive(Debug)]
pub struct JournalReading {
    watch: Watch,
}

impl JournalReading {
    /// The next piece, which may be empty; none when everything has been handed out. A broken stream is opened
    /// again where it broke.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn next(&mut self) -> Result<Option<JournalPiece>, Failure> {
        if self.watch.from > self.watch.through {
            return Ok(None);
        }
        self.watch.next().await.map(Some)
    }
}

impl Watch {
    fn new(client: &Client, from: u64, through: u64, account: &str, options: &Options) -> Watch {
        Watch {
            client: client.clone(),
            options: options.clone(),
            account: account.to_owned(),
            from,
            through,
            stream: None,
            pauses: Pauses::default(),
        }
    }

    /// The next piece, which may be empty; waits for as long as nothing happens. A broken stream is
    /// opened again where it broke.
    ///
    /// # Errors
    /// What the server says to the watch, or why no stream could be opened within the time of a call.
    /// The watch can be asked again.
    pub async fn next(&mut self) -> Result<JournalPiece, Failure> {
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let stream = self.open().await?;
                    self.stream.insert(stream)
                }
            };
            let broken = match stream.message().await {
                Ok(Some(piece)) => return self.hand_out(piece),
                Ok(None) => None,
                Err(status) => Some(judge(&status)),
            };
            self.stream = None;
            if let Some(Verdict::Final(failure)) = broken {
                return Err(failure);
            }
            tokio::time::sleep(self.pauses.next()).await;
        }
    }

    async fn open(&self) -> Result<Streaming<v1::WatchJournalResponse>, Failure> {
        let message = v1::WatchJournalRequest {
            from_sequence: self.from,
            account: self.account.clone(),
            through_sequence: self.through,
            session_token: self.client.token_for(&self.options),
        };
        // No deadline goes with the request: it would be the stream's.
        let open = |channel, _| {
            let request = Request::new(message.clone());
            async move { Ok(bank(channel).watch_journal(request).await?.into_inner()) }
        };
        self.client.attempts(&self.options, None, open).await
    }

    fn hand_out(&mut self, mut piece: v1::WatchJournalResponse) -> Result<JournalPiece, Failure> {
        self.pauses = Pauses::default();
        self.client.saw(&piece.session_token);
        piece.records.retain(|record| record.sequence >= self.from);
        if let Some(first) = piece.records.first() {
            let gap = self.account.is_empty() && self.from > 0 && first.sequence > self.from;
            if gap {
                self.stream = None;
                return Err(Failure::new(
                    Reason::Internal,
                    format!("the journal went from {} to {} in the feed", self.from, first.sequence),
                ));
            }
        }
        self.from = self.from.max(piece.sequence.saturating_add(1));
        Ok(piece.into())
    }
}
