//! What the checker says: findings by rule, file and row.

use std::fmt;

use crate::scenario::trace::Place;

/// Most findings that are kept; the count goes on.
pub const FINDINGS: usize = 1_000;

/// A line of the rules of logical clocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// The files are written as traces are, and every process is there.
    Form,
    /// A customer's requests have the clocks 1, 2, 3, ...
    CustomerClocks,
    /// The clocks of a branch increase strictly in the order of the list.
    BranchClocks,
    /// The branch receives a request with a clock above the customer's send.
    ReceiveAfterRequest,
    /// The branch sends to the others with clocks above that receive.
    SendAfterReceive,
    /// Each other branch receives with a clock above that send.
    ReceiveAfterSend,
    /// A propagated write is exactly one send to and one receive at each other branch, everything else a send
    /// and a receive.
    RowsOfRequest,
    /// The three files have as many rows as the requests make.
    Totals,
    /// The comment of a receive names who sent it.
    Sender,
    /// The third file is the union of the other two.
    Union,
    /// The third file is grouped by request, and each group is in the order of its clocks.
    Grouping,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 11] = [
        Rule::Form,
        Rule::CustomerClocks,
        Rule::BranchClocks,
        Rule::ReceiveAfterRequest,
        Rule::SendAfterReceive,
        Rule::ReceiveAfterSend,
        Rule::RowsOfRequest,
        Rule::Totals,
        Rule::Sender,
        Rule::Union,
        Rule::Grouping,
    ];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::Form => "form",
            Rule::CustomerClocks => "customer-clocks",
            Rule::BranchClocks => "branch-clocks",
            Rule::ReceiveAfterRequest => "receive-after-request",
            Rule::SendAfterReceive => "send-after-receive",
            Rule::ReceiveAfterSend => "receive-after-send",
            Rule::RowsOfRequest => "rows-of-request",
            Rule::Totals => "totals",
            Rule::Sender => "sender",
            Rule::Union => "union",
            Rule::Grouping => "grouping",
        }
    }
}

/// One offence against one rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// File and JSON path of the row.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.rule.name(), self.message)
    }
}

/// How large the trace is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Different customers.
    pub customers: usize,
    /// Branches.
    pub branches: usize,
    /// Requests.
    pub requests: usize,
    /// Rows of the three files.
    pub rows: [usize; 3],
}

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// The first [`FINDINGS`] offences.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub found: usize,
    /// How large the trace is.
    pub counts: Counts,
}

impl Verdict {
    /// Whether every rule holds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }

    /// The verdict for programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let finding = |finding: &Finding| {
            let Finding { rule, place, message } = finding;
            serde_json::json!({ "rule": rule.name(), "place": place, "message": message })
        };
        let Counts { customers, branches, requests, rows } = self.counts;
        serde_json::json!({
            "sound": self.is_sound(),
            "customers": customers,
            "branches": branches,
            "requests": requests,
            "rows": rows,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "found": self.found,
        })
    }

    pub(super) fn add(&mut self, rule: Rule, place: Place, message: String) {
        self.found += 1;
        if self.findings.len() < FINDINGS {
            self.findings.push(Finding { rule, place: place.to_string(), message });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Counts { customers, branches, requests, rows: [one, two, three] } = self.counts;
        let result = match self.found {
            0 => "sound".to_owned(),
            1 => "not sound, 1 finding".to_owned(),
            found => format!("not sound, {found} findings"),
        };
        writeln!(
            f,
            "trace {result}: {customers} customers, {branches} branches, {requests} requests, {one} + {two} = {three} rows"
        )
    }
}
