//! One method for each call of the bank.

use std::time::Duration;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::model::Failure;
use crate::wire::proto::v1;

use super::Client;
use super::convert::{as_of, commands, consistency, entry_order};
use super::types::{
    AccountShown, AccountState, Accounts, Balance, Batch, BatchDone, Entries, Health, HoldChanged, HoldShown,
    Holds, InterestAdded, Journal, JournalQuery, NewAccount, Operation, Options, Page, StateSet, Statement,
    TransferShown, Transferred, Transfers, Written,
};

/// Makes a write: names it, sends it, and turns the reply into the client's type.
macro_rules! write {
    ($client:ident, $options:ident, $rpc:ident, $message:ident { $($field:ident: $value:expr),+ $(,)? }) => {{
        let request_id = $options.request_id.clone().unwrap_or_else(Client::new_request_id);
        let message = v1::$message {
            $($field: $value,)+
            request_id: request_id.clone(),
            session_token: $client.token_for($options),
            validate_only: $options.validate_only,
        };
        // Whatever becomes of a write that changes nothing, its outcome is not unknown.
        let name = (!$options.validate_only).then_some(request_id.as_str());
        $client
            .call($options, name, message, |mut bank, request| async move { bank.$rpc(request).await })
            .await
            .map(Into::into)
    }};
}

/// Makes a read.
macro_rules! read {
    ($client:ident, $options:ident, $rpc:ident, $message:ident { $($field:ident: $value:expr),+ $(,)? }) => {{
        let message = v1::$message {
            $($field: $value,)+
            session_token: $client.token_for($options),
            consistency: consistency($options.consistency),
        };
        $client
            .call($options, None, message, |mut bank, request| async move { bank.$rpc(request).await })
            .await
            .map(Into::into)
    }};
}

/// Every call may fail with any reason of the catalogue. `UNREACHABLE` says that no server could be
/// reached, `OUTCOME_UNKNOWN` that a write may have been executed; its metadata has the `request_id`.
impl Client {
    /// Opens an account.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn open_account(&self, new: NewAccount<'_>, options: &Options) -> Result<Written, Failure> {
        write!(
            self,
            options,
            open_account,
            OpenAccountRequest {
                account: new.account.to_owned(),
                name: new.name.to_owned(),
                deposit: new.deposit.to_owned(),
                overdraft_limit: new.overdraft_limit.to_owned(),
            }
        )
    }

    /// Adds money to an account.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn deposit(&self, account: &str, amount: &str, options: &Options) -> Result<Written, Failure> {
        write!(
            self,
            options,
            deposit_account,
            DepositAccountRequest { account: account.to_owned(), amount: amount.to_owned() }
        )
    }

    /// Takes money from an account.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn withdraw(&self, account: &str, amount: &str, options: &Options) -> Result<Written, Failure> {
        write!(
            self,
            options,
            withdraw_account,
            WithdrawAccountRequest { account: account.to_owned(), amount: amount.to_owned() }
        )
    }

    /// Adds a percentage of the balance to an account.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn add_interest(
        &self,
        account: &str,
        rate: &str,
        options: &Options,
    ) -> Result<InterestAdded, Failure> {
        write!(
            self,
            options,
            add_interest,
            AddInterestRequest { account: account.to_owned(), rate: rate.to_owned() }
        )
    }

    /// Freezes, closes or opens an account again, from any state that allows it.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn set_account_state(
        &self,
        account: &str,
        state: AccountState,
        options: &Options,
    ) -> Result<StateSet, Failure> {
        self.change_account_state(account, None, state, options).await
    }

    /// Changes the state of an account from a named state to another one: `FROZEN` to `OPEN` lifts a freeze, `CLOSED` to
    /// `OPEN` opens a closed account again.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn change_account_state(
        &self,
        account: &str,
        from: Option<AccountState>,
        state: AccountState,
        options: &Options,
    ) -> Result<StateSet, Failure> {
        write!(
            self,
            options,
            set_account_state,
            SetAccountStateRequest {
                account: account.to_owned(),
                state: v1::AccountState::from(state).into(),
                from: from.map_or(v1::AccountState::Unspecified, v1::AccountState::from).into(),
            }
        )
    }

    /// Reserves money of an account, for as long as `expires_in` says or for ever.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn place_hold(
        &self,
        account: &str,
        amount: &str,
        expires_in: Option<Duration>,
        options: &Options,
    ) -> Result<HoldChanged, Failure> {
        // A time too long for the message is one too long for the bank, which says so.
        const LONGEST: prost_types::Duration = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
        let expires_in = expires_in.map(|time| time.try_into().unwrap_or(LONGEST));
        write!(
            self,
            options,
            place_hold,
            PlaceHoldRequest {
                account: account.to_owned(),
                amount: amount.to_owned(),
                expires_in: expires_in,
            }
        )
    }

    /// Takes money that a hold reserves: all of it when the amount is empty.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn capture_hold(
        &self,
        hold: &str,
        amount: &str,
        options: &Options,
    ) -> Result<HoldChanged, Failure> {
        write!(
            self,
            options,
            capture_hold,
            CaptureHoldRequest { hold: hold.to_owned(), amount: amount.to_owned() }
        )
    }

    /// Lets the money of a hold go.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn release_hold(&self, hold: &str, options: &Options) -> Result<HoldChanged, Failure> {
        write!(self, options, release_hold, ReleaseHoldRequest { hold: hold.to_owned() })
    }

    /// Reads a hold.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn hold(&self, hold: &str, options: &Options) -> Result<HoldShown, Failure> {
        read!(self, options, get_hold, GetHoldRequest { hold: hold.to_owned() })
    }

    /// Lists the active holds of an account, oldest first, a page at a time.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn holds(&self, account: &str, page: Page<'_>, options: &Options) -> Result<Holds, Failure> {
        read!(
            self,
            options,
            list_holds,
            ListHoldsRequest {
                account: account.to_owned(),
                page_size: page.size,
                page_token: page.token.to_owned(),
            }
        )
    }

    /// Moves money between two accounts. Waits for the outcome up to the time of the call; a transfer between
    /// branches may be pending then, which is no failure.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn transfer(
        &self,
        source: &str,
        destination: &str,
        amount: &str,
        options: &Options,
    ) -> Result<Transferred, Failure> {
        write!(
            self,
            options,
            transfer,
            TransferRequest {
                source: source.to_owned(),
                destination: destination.to_owned(),
                amount: amount.to_owned(),
            }
        )
    }

    /// Asks how a transfer stands and what has happened to it.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn transfer_shown(&self, transfer: &str, options: &Options) -> Result<TransferShown, Failure> {
        read!(self, options, get_transfer, GetTransferRequest { transfer: transfer.to_owned() })
    }

    /// Lists transfers, newest first, a page at a time; or those in doubt, oldest first.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn transfers(
        &self,
        in_doubt: bool,
        page: Page<'_>,
        options: &Options,
    ) -> Result<Transfers, Failure> {
        read!(
            self,
            options,
            list_transfers,
            ListTransfersRequest {
                page_size: page.size,
                page_token: page.token.to_owned(),
                in_doubt: in_doubt,
            }
        )
    }

    /// Executes up to 8,192 commands, with one result each.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn execute_batch(&self, batch: Batch, options: &Options) -> Result<BatchDone, Failure> {
        write!(
            self,
            options,
            execute_batch,
            ExecuteBatchRequest { atomic: batch.atomic, commands: commands(batch) }
        )
    }

    /// Reads balance, held and available of an account.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn balance(&self, account: &str, options: &Options) -> Result<Balance, Failure> {
        read!(self, options, get_balance, GetBalanceRequest { account: account.to_owned() })
    }

    /// Reads everything about an account.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn account(&self, account: &str, options: &Options) -> Result<AccountShown, Failure> {
        read!(self, options, get_account, GetAccountRequest { account: account.to_owned() })
    }

    /// Lists accounts by number, a page at a time.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn accounts(&self, page: Page<'_>, options: &Options) -> Result<Accounts, Failure> {
        read!(
            self,
            options,
            list_accounts,
            ListAccountsRequest { page_size: page.size, page_token: page.token.to_owned() }
        )
    }

    /// Reads the statement of an account, a page at a time.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn entries(&self, statement: Statement<'_>, options: &Options) -> Result<Entries, Failure> {
        let (as_of_sequence, as_of_time) = as_of(statement.as_of);
        read!(
            self,
            options,
            list_entries,
            ListEntriesRequest {
                account: statement.account.to_owned(),
                order: entry_order(statement.order),
                page_size: statement.page.size,
                page_token: statement.page.token.to_owned(),
                as_of_sequence: as_of_sequence,
                as_of_time: as_of_time,
            }
        )
    }

    /// Reads the journal, a page at a time.
    ///
    /// # Errors
    /// See [`Client`]; `JOURNAL_TRIMMED` for what is no longer held.
    pub async fn journal(&self, query: JournalQuery<'_>, options: &Options) -> Result<Journal, Failure> {
        read!(
            self,
            options,
            list_journal,
            ListJournalRequest {
                from_sequence: query.from,
                account: query.account.to_owned(),
                order: entry_order(query.order),
                page_size: query.page.size,
                page_token: query.page.token.to_owned(),
            }
        )
    }

    /// Asks what happened to a request id.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn operation(&self, request_id: &str, options: &Options) -> Result<Operation, Failure> {
        read!(self, options, get_operation, GetOperationRequest { request_id: request_id.to_owned() })
    }

    /// Asks how the server is. A server that cannot be reached is a failure.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn health(&self, options: &Options) -> Result<Health, Failure> {
        self.attempts(options, None, |channel, limit| async move {
            let request = self.request(HealthCheckRequest::default(), limit);
            let reply = HealthClient::new(channel).check(request).await?.into_inner();
            Ok(match reply.status() {
                ServingStatus::Serving => Health::Serving,
                ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                    Health::NotServing
                }
            })
        })
        .await
    }
}
