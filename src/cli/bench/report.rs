//! What a run found, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Number, Value, json};

use crate::model::{Exit, Failure, Money};

use super::check::Findings;
use super::plan::{Plan, Sending};
use super::session::Seen;
use super::tally::{Meter, Tally};

/// Latencies in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// Half of the calls were at most this slow.
    pub p50: u64,
    /// Nine tenths.
    pub p90: u64,
    /// 99 in a hundred.
    pub p99: u64,
    /// 999 in a thousand.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

impl Latency {
    fn of(meter: &Meter) -> Latency {
        let at = |quantile| meter.latency.value_at_quantile(quantile);
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: meter.latency.max() }
    }
}

/// Whether the books balance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Books {
    /// Every account read back has exactly what the acknowledged operations sum to.
    Exact,
    /// They do not; the text says what was found.
    Wrong(String),
    /// They were not read back, because the run was cut short twice or an account could not be read.
    Unread(String),
}

/// Deposits at one server, each followed by a session read at another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionReads {
    /// How many pairs there were.
    pub reads: u64,
    /// Of the deposits: with replicas, one round of replication and the way to the leader are in it.
    pub write: Latency,
    /// Of the reads.
    pub read: Latency,
    /// The first that failed, or that did not show the deposit before it.
    pub first_error: Option<String>,
}

/// What a run found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Operations answered.
    pub operations: u64,
    /// How long they were measured.
    pub elapsed: Duration,
    /// Operations a second.
    pub rate: u64,
    /// No-op calls a second in the same run.
    pub noop_rate: u64,
    /// `rate` in thousandths of `noop_rate`.
    pub ratio_thousandths: u64,
    /// Of the calls; a batch is one.
    pub latency: Latency,
    /// Of the no-op calls.
    pub noop_latency: Latency,
    /// Calls and commands that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<Failure>,
    /// Withdrawals and transfers refused because the account had too little, as a mix brings about.
    pub refused: u64,
    /// Lost answers whose outcome could not be found out.
    pub unknown: u64,
    /// Accounts read back.
    pub checked: u64,
    /// Whether the money is right.
    pub books: Books,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// What a customer waited who wrote at one server and read at another, when that was measured.
    pub session_reads: Option<SessionReads>,
    options: Vec<(&'static str, Value)>,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        tally: &Tally,
        unknown: u64,
        found: Result<Findings, String>,
        interrupted: bool,
    ) -> Report {
        let (rate, noop_rate) = (tally.work.rate(), tally.noop.rate());
        let thousandths = u128::from(rate) * 1_000 / u128::from(noop_rate.max(1));
        let touched = tally.book.touched();
        Report {
            operations: tally.work.operations,
            elapsed: tally.work.elapsed,
            rate,
            noop_rate,
            ratio_thousandths: u64::try_from(thousandths).unwrap_or(u64::MAX),
            latency: Latency::of(&tally.work),
            noop_latency: Latency::of(&tally.noop),
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            refused: tally.refused,
            unknown,
            checked: found.as_ref().map_or(0, |findings| findings.checked),
            books: books(found, touched),
            interrupted,
            session_reads: None,
            options: options(plan),
        }
    }

    /// Adds what session reads beside the load have shown.
    pub(super) fn with_session_reads(mut self, seen: Option<Seen>) -> Report {
        self.session_reads = seen.map(|seen| SessionReads {
            reads: seen.reads.operations,
            write: Latency::of(&seen.writes),
            read: Latency::of(&seen.reads),
            first_error: seen.first_error,
        });
        self
    }

    /// The exit code of the program: 8 when the money is not proven right.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let stale = self.session_reads.as_ref().is_some_and(|reads| reads.first_error.is_some());
        match (&self.books, self.interrupted) {
            (Books::Exact, false) if stale => Exit::CheckFailed,
            (Books::Wrong(_) | Books::Unread(_), false) | (Books::Wrong(_), true) => Exit::CheckFailed,
            (Books::Unread(_) | Books::Exact, true) => Exit::Interrupted,
            (Books::Exact, false) => Exit::Done,
        }
    }

    /// One object for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let money_exact = match &self.books {
            Books::Exact => Value::Bool(true),
            Books::Wrong(_) => Value::Bool(false),
            Books::Unread(_) => Value::Null,
        };
        let mut report = json!({
            "operations": self.operations,
            "seconds": thousandths(u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX)),
            "rate": self.rate,
            "noopRate": self.noop_rate,
            "ratio": thousandths(self.ratio_thousandths),
            "p50Us": self.latency.p50,
            "p90Us": self.latency.p90,
            "p99Us": self.latency.p99,
            "p999Us": self.latency.p999,
            "maxUs": self.latency.max,
            "noopP50Us": self.noop_latency.p50,
            "noopP99Us": self.noop_latency.p99,
            "errors": self.errors,
            "refused": self.refused,
            "unknown": self.unknown,
            "accountsChecked": self.checked,
            "moneyExact": money_exact,
            "interrupted": self.interrupted,
        });
        if let Some(failure) = &self.first_error {
            report["firstError"] = json!({ "reason": failure.reason.as_str(), "message": failure.message });
        }
        if let Some(SessionReads { reads, write, read, first_error }) = &self.session_reads {
            report["sessionReads"] = json!({
                "reads": reads,
                "writeP50Us": write.p50,
                "writeP99Us": write.p99,
                "readP50Us": read.p50,
                "readP99Us": read.p99,
                "firstError": first_error,
            });
        }
        report["options"] =
            self.options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        report
    }

    /// Lines for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<12}{value}");
        };
        let options: Vec<String> =
            self.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        line("options", options.join(" ").replace('"', ""));
        line("operations", format!("{} in {} s", grouped(self.operations), seconds(self.elapsed)));
        line("rate", format!("{}/s", grouped(self.rate)));
        line("no-op", format!("{}/s", grouped(self.noop_rate)));
        line("ratio", decimal(self.ratio_thousandths));
        line("latency", microseconds(&self.latency));
        line("no-op", microseconds(&self.noop_latency));
        line("refused", format!("{} for lack of funds", grouped(self.refused)));
        let first = self.first_error.as_ref().map(|failure| format!(", first: {failure}"));
        line("errors", format!("{}{}", grouped(self.errors), first.unwrap_or_default()));
        if self.unknown > 0 {
            line("unknown", format!("{} outcomes stay unknown", grouped(self.unknown)));
        }
        line(
            "money",
            match &self.books {
                Books::Exact => format!("exact to the cent on {} accounts read back", grouped(self.checked)),
                Books::Wrong(found) => format!("WRONG: {found}"),
                Books::Unread(cause) => format!("not proven: {cause}"),
            },
        );
        if let Some(SessionReads { reads, write, read, first_error }) = &self.session_reads {
            line("session", format!("{} deposits, each read back at the other server", grouped(*reads)));
            line("deposit", microseconds(write));
            line("read", microseconds(read));
            if let Some(problem) = first_error {
                line("", format!("WRONG: {problem}"));
            }
        }
        if self.interrupted {
            line("", "cut short".to_owned());
        }
        text
    }
}

fn books(found: Result<Findings, String>, touched: u64) -> Books {
    match found {
        Err(cause) => Books::Unread(cause),
        Ok(findings) if findings.exact(touched) => Books::Exact,
        Ok(Findings { checked, wrong: 0, .. }) => {
            Books::Wrong(format!("{} of {touched} accounts were not found", touched.saturating_sub(checked)))
        }
        Ok(Findings { checked, wrong, first, difference }) => {
            let first = first.map(|(account, error)| {
                let error = Money::from_minor(error)
                    .map_or_else(|| "unreadable".to_owned(), |money| money.to_string());
                format!(", first account {account} off by {error}")
            });
            Books::Wrong(format!(
                "{wrong} of {checked} accounts differ, {difference} minor units together{}",
                first.unwrap_or_default()
            ))
        }
    }
}

fn options(plan: &Plan) -> Vec<(&'static str, Value)> {
    let (batch, submit) = match plan.sending {
        Sending::Unary => (Value::Null, false),
        Sending::Batches(commands) => (commands.into(), false),
        Sending::Stream(commands) => (commands.into(), true),
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into();
    vec![
        ("clients", plan.connections.into()),
        ("inflight", plan.inflight.into()),
        ("threads", plan.threads.into()),
        ("durationMs", millis(plan.duration)),
        ("warmupMs", millis(plan.warmup)),
        ("rate", plan.rate.into()),
        ("batch", batch),
        ("submit", submit.into()),
        ("mix", plan.mix.to_string().into()),
        ("accounts", plan.accounts.into()),
        ("hot", plan.hot.into()),
        ("seed", plan.seed.into()),
        ("requestIds", plan.request_ids.into()),
    ]
}

/// A number with three decimals; JSON has no other than this.
fn thousandths(value: u64) -> Value {
    decimal(value).parse::<Number>().map_or(Value::Null, Value::Number)
}

fn decimal(thousandths: u64) -> String {
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

fn seconds(time: Duration) -> String {
    decimal(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn microseconds(latency: &Latency) -> String {
    let Latency { p50, p90, p99, p999, max } = latency;
    format!("p50 {p50} us, p90 {p90} us, p99 {p99} us, p99.9 {p999} us, max {max} us")
}

/// A number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(books: Books, interrupted: bool) -> Report {
        let latency = Latency { p50: 1, p90: 2, p99: 3, p999: 4, max: 5 };
        Report {
            operations: 1_234_567,
            elapsed: Duration::from_millis(8_004),
            rate: 154_243,
            noop_rate: 200_000,
            ratio_thousandths: 771,
            latency,
            noop_latency: latency,
            errors: 0,
            first_error: None,
            refused: 0,
            unknown: 0,
            checked: 10,
            books,
            interrupted,
            session_reads: None,
            options: vec![("seed", 7.into())],
        }
    }

    #[test]
    fn a_missing_cent_fails_the_run() {
        let wrong = Books::Wrong("1 of 10 accounts differ".to_owned());
        let unread = Books::Unread("UNREACHABLE".to_owned());
        for (books, interrupted, exit, money_exact) in [
            (Books::Exact, false, Exit::Done, json!(true)),
            (Books::Exact, true, Exit::Interrupted, json!(true)),
            (wrong.clone(), false, Exit::CheckFailed, json!(false)),
            (wrong, true, Exit::CheckFailed, json!(false)),
            (unread.clone(), false, Exit::CheckFailed, json!(null)),
            (unread, true, Exit::Interrupted, json!(null)),
        ] {
            let report = report(books, interrupted);
            assert_eq!(report.exit(), exit);
            assert_eq!(report.to_json()["moneyExact"], money_exact);
        }
    }

    #[test]
    fn programs_get_numbers_and_people_get_digits_in_groups() {
        let report = report(Books::Exact, false);
        let json = report.to_json().to_string();
        for part in ["\"ratio\":0.771", "\"seconds\":8.004", "\"p999Us\":4", "\"options\":{\"seed\":7}"] {
            assert!(json.contains(part), "{part} in {json}");
        }
        assert!(report.to_text().contains("1,234,567 in 8.004 s"), "{}", report.to_text());
        assert_eq!([0, 999, 1_000, 1_000_000].map(grouped), ["0", "999", "1,000", "1,000,000"]);
    }

    #[test]
    fn an_account_that_was_not_found_is_missing_money() {
        let found = Findings { checked: 9, ..Findings::default() };
        assert_eq!(books(Ok(found), 10), Books::Wrong("1 of 10 accounts were not found".to_owned()));
    }
}
