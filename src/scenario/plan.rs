//! The plan: a scenario file once it is understood. The reader makes it, the runner and the reports use it.
//!
//! Invariant: a [`Target::index`] is a position in [`Plan::branches`]; a plan has at least one branch, no
//! branch twice, and no amount below zero.

use crate::model::Money;

/// Most rows of a trace that the outputs of a dialect do not need: about 100 MB of files. Traces of the dialects with
/// clocks have no such bound.
pub const UNASKED_ROWS: usize = 1_000_000;

/// Which family of assignments a file belongs to, and so which outputs it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Events without targets: `output.json`, one object per customer entry.
    P1,
    /// Logical clocks: three files of trace rows.
    P2,
    /// The older form of logical clocks: one file with lists per process and per event.
    P2Old,
    /// Client-centric consistency: `output.json`, one object per event.
    P3,
    /// The older form of client-centric consistency: one balance per query.
    P3Old,
}

impl Dialect {
    /// Every dialect, in the order of the documentation.
    pub const ALL: [Dialect; 5] = [Dialect::P1, Dialect::P2, Dialect::P2Old, Dialect::P3, Dialect::P3Old];

    /// The tag that users give and see.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Dialect::P1 => "p1",
            Dialect::P2 => "p2",
            Dialect::P2Old => "p2old",
            Dialect::P3 => "p3",
            Dialect::P3Old => "p3old",
        }
    }

    /// The dialect with this tag.
    #[must_use]
    pub fn tagged(tag: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.tag() == tag)
    }

    /// Whether the outputs show logical clocks, so that the replicas must record a trace.
    #[must_use]
    pub fn is_traced(self) -> bool {
        match self {
            Dialect::P2 | Dialect::P2Old => true,
            Dialect::P1 | Dialect::P3 | Dialect::P3Old => false,
        }
    }

    /// Whether customers run side by side without being asked to. Entries of one customer never do.
    #[must_use]
    pub fn is_concurrent(self) -> bool {
        self.is_traced()
    }
}

/// Everything that a file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The dialect, found or wished for.
    pub dialect: Dialect,
    /// What the shared account holds at the start; all branches of the file agree on it.
    pub balance: Money,
    /// The branches' ids in the order of the file. Any numbers: never derive a port or a position from one.
    pub branches: Vec<u64>,
    /// The customers' entries in the order of the file.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// The event of a request.
    #[must_use]
    pub fn event(&self, request: RequestIndex) -> Option<&Event> {
        self.entries.get(request.entry as usize)?.events.get(request.event as usize)
    }

    /// How many events the file has.
    #[must_use]
    pub fn events(&self) -> usize {
        self.entries.iter().map(|entry| entry.events.len()).sum()
    }

    /// Whether the replicas record a trace of the run: always when the dialect shows clocks, otherwise unless it could
    /// have more than [`UNASKED_ROWS`] rows.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.dialect.is_traced() || self.most_rows() <= UNASKED_ROWS
    }

    /// Rows of the trace if every write succeeds.
    fn most_rows(&self) -> usize {
        let of_write = self.branches.len().saturating_mul(2);
        let rows = |event: &Event| match event.interface {
            Interface::Deposit(_) | Interface::Withdraw(_) => of_write,
            Interface::Query | Interface::Unknown(_) => 2,
        };
        self.requests().fold(0, |sum: usize, (_, _, event)| sum.saturating_add(rows(event)))
    }

    /// Every event with its place, in the order of the file.
    pub fn requests(&self) -> impl Iterator<Item = (RequestIndex, &Entry, &Event)> {
        (0..).zip(&self.entries).flat_map(|(at, entry)| {
            let places = (0..).map(move |event| RequestIndex { entry: at, event });
            places.zip(&entry.events).map(move |(place, event)| (place, entry, event))
        })
    }
}

/// The place of an event in its plan. Unlike the id in the file it is unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestIndex {
    /// Position in [`Plan::entries`].
    pub entry: u32,
    /// Position in [`Entry::events`].
    pub event: u32,
}

/// One customer object of the file. The same customer may have several, which run one after another and
/// share its session and clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The customer's id.
    pub customer: u64,
    /// What it does, in this order.
    pub events: Vec<Event>,
}

/// One thing that a customer does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The id in the file, for the outputs only: it may be missing or repeated.
    pub id: Option<u64>,
    /// What to do.
    pub interface: Interface,
    /// Where to do it.
    pub target: Target,
}

impl Event {
    /// What to send where.
    ///
    /// # Errors
    /// Why nothing can be sent; the event then fails and the run goes on.
    pub fn step(&self) -> Result<Step, Misfit> {
        let branch = self.target.index.ok_or(Misfit::UnknownBranch(self.target.branch))?;
        match &self.interface {
            Interface::Query => Ok(Step::Query { branch }),
            Interface::Deposit(amount) => Ok(Step::Deposit { branch, amount: *amount }),
            Interface::Withdraw(amount) => Ok(Step::Withdraw { branch, amount: *amount }),
            Interface::Unknown(name) => Err(Misfit::UnknownInterface(name.clone())),
        }
    }
}

/// What an event asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Interface {
    /// Read the balance.
    Query,
    /// Add this much, which may be nothing.
    Deposit(Money),
    /// Take this much, which may be nothing.
    Withdraw(Money),
    /// A word that is none of these, as the file has it.
    Unknown(Box<str>),
}

impl Interface {
    /// The word in the outputs.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Interface::Query => "query",
            Interface::Deposit(_) => "deposit",
            Interface::Withdraw(_) => "withdraw",
            Interface::Unknown(name) => name,
        }
    }

    /// Whether it reads the balance.
    #[must_use]
    pub fn is_query(&self) -> bool {
        *self == Interface::Query
    }
}

/// The branch of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The id of the branch that the event names, else of the customer's home.
    pub branch: u64,
    /// Its position in [`Plan::branches`]; `None` when the file has no such branch.
    pub index: Option<usize>,
}

/// What the runner does for an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Read the balance.
    Query {
        /// Position in [`Plan::branches`].
        branch: usize,
    },
    /// Add money. Nothing at all is a success that is not propagated.
    Deposit {
        /// Position in [`Plan::branches`].
        branch: usize,
        /// How much.
        amount: Money,
    },
    /// Take money. Nothing at all is a success that is not propagated.
    Withdraw {
        /// Position in [`Plan::branches`].
        branch: usize,
        /// How much.
        amount: Money,
    },
}

/// Why an event cannot be sent anywhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    /// Not a word of the assignments.
    #[error("the interface {0:?} is not query, deposit or withdraw")]
    UnknownInterface(Box<str>),
    /// The file has no such branch.
    #[error("the file has no branch {0}")]
    UnknownBranch(u64),
}
