//! Generated scenarios, the files that say them, and an oracle that knows nothing of the program: one balance,
//! one event after another.

use std::fmt::Write as _;

use bank::scenario::{Dialect, Plan, input};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

/// What a file is about.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) dialect: Dialect,
    /// In hundredths.
    pub(crate) balance: i64,
    pub(crate) branches: Vec<u64>,
    pub(crate) customers: Vec<Customer>,
    pub(crate) quirks: Quirks,
}

#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) id: u64,
    pub(crate) home: Option<u64>,
    pub(crate) acts: Vec<Act>,
}

#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) id: Option<u64>,
    pub(crate) word: String,
    /// In hundredths.
    pub(crate) money: i64,
    pub(crate) target: Option<u64>,
}

/// How strangely the file is written.
#[derive(Clone, Debug)]
pub(crate) struct Quirks {
    pub(crate) branches_first: bool,
    pub(crate) shouting: bool,
    pub(crate) blanks_in_keys: bool,
    pub(crate) trailing_commas: bool,
    pub(crate) typographic: bool,
    pub(crate) mark: bool,
}

/// What the events of a story come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Sent nowhere.
    Fail,
    /// In hundredths, the balance after it.
    Refused(i64),
    Success(i64),
    /// In hundredths.
    Balance(i64),
}

impl Story {
    fn target(&self, customer: &Customer, act: &Act) -> u64 {
        act.target.or(customer.home).unwrap_or(customer.id)
    }

    /// The end of every event when the customers come one after another, and the last balance.
    pub(crate) fn ends(&self) -> (Vec<Vec<End>>, i64) {
        let mut balance = self.balance;
        let mut ends = Vec::new();
        for customer in &self.customers {
            let mut list = Vec::new();
            for act in &customer.acts {
                let known = self.branches.contains(&self.target(customer, act));
                list.push(match act.word.to_lowercase().as_str() {
                    "query" if known => End::Balance(balance),
                    "deposit" if known => {
                        balance += act.money;
                        End::Success(balance)
                    }
                    "withdraw" if known && act.money <= balance => {
                        balance -= act.money;
                        End::Success(balance)
                    }
                    "withdraw" if known => End::Refused(balance),
                    _ => End::Fail,
                });
            }
            ends.push(list);
        }
        (ends, balance)
    }

    /// `output.json` of P1, P3 and P3old.
    pub(crate) fn output(&self) -> Value {
        let mut objects = Vec::new();
        for (customer, ends) in self.customers.iter().zip(self.ends().0) {
            let mut received = Vec::new();
            for (act, end) in customer.acts.iter().zip(ends) {
                let lower = act.word.to_lowercase();
                let known = ["query", "deposit", "withdraw"].contains(&lower.as_str());
                let mut object = json!({ "interface": if known { &lower } else { &act.word } });
                match end {
                    End::Fail => object["result"] = json!("fail"),
                    End::Refused(balance) | End::Success(balance) => {
                        let done = matches!(end, End::Success(_));
                        object["result"] = json!(if done { "success" } else { "fail" });
                        object["balance_after"] = number(balance);
                    }
                    End::Balance(balance) => object["balance"] = number(balance),
                }
                if self.dialect == Dialect::P3 {
                    object["branch"] = json!(self.target(customer, act));
                    objects.push(json!({ "id": customer.id, "recv": [object.clone()] }));
                }
                if self.dialect == Dialect::P3Old && lower == "query" {
                    object["id"] = json!(customer.id);
                    object.as_object_mut().unwrap().remove("interface");
                    objects.push(object.clone());
                }
                received.push(object);
            }
            if self.dialect == Dialect::P1 {
                objects.push(json!({ "id": customer.id, "recv": received }));
            }
        }
        Value::from(objects)
    }

    /// The file as the program reads it.
    pub(crate) fn plan(&self) -> Plan {
        let (text, options) = (self.text(), input::Options { dialect: Some(self.dialect), strict: false });
        input::read(text.as_bytes(), options).unwrap_or_else(|why| panic!("{text}\n{why}")).0
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let branches = self.branches.iter().map(|id| {
            let kind = self.word(if self.dialect == Dialect::P3Old { "bank" } else { "branch" });
            self.object(&[
                ("id", id.to_string()),
                ("type", kind),
                ("balance", number(self.balance).to_string()),
            ])
        });
        let customers = self.customers.iter().map(|customer| {
            let acts: Vec<_> = customer.acts.iter().map(|act| self.act(act)).collect();
            let list = if self.dialect == Dialect::P2 { "customer-requests" } else { "events" };
            let mut members = vec![("id", customer.id.to_string()), ("type", self.word("customer"))];
            members.extend(customer.home.map(|home| ("branch_id", home.to_string())));
            members.push((list, self.list(&acts)));
            self.object(&members)
        });
        let entries: Vec<String> = if self.quirks.branches_first {
            branches.chain(customers).collect()
        } else {
            customers.chain(branches).collect()
        };
        let mark = if self.quirks.mark { "\u{feff}" } else { "" };
        format!("{mark}{}\n", self.list(&entries))
    }

    fn act(&self, act: &Act) -> String {
        let target = if self.dialect == Dialect::P3Old { "dest" } else { "branch" };
        let key = if self.dialect == Dialect::P2 { "customer-request-id" } else { "id" };
        let mut members: Vec<_> = act.id.iter().map(|id| (key, id.to_string())).collect();
        members.push(("interface", self.word(&act.word)));
        members.push(("money", number(act.money).to_string()));
        members.extend(act.target.map(|branch| (target, branch.to_string())));
        self.object(&members)
    }

    fn word(&self, word: &str) -> String {
        let known = ["query", "deposit", "withdraw", "branch", "bank", "customer"].contains(&word);
        self.quoted(&if self.quirks.shouting && known { word.to_uppercase() } else { word.to_owned() })
    }

    fn quoted(&self, text: &str) -> String {
        if self.quirks.typographic { format!("\u{201c}{text}\u{201d}") } else { format!("\"{text}\"") }
    }

    fn list(&self, items: &[String]) -> String {
        let comma = if self.quirks.trailing_commas && !items.is_empty() { "," } else { "" };
        format!("[{}{comma}]", items.join(",\n"))
    }

    fn object(&self, members: &[(&str, String)]) -> String {
        let mut text = "{".to_owned();
        for (at, (key, value)) in members.iter().enumerate() {
            let key = if self.quirks.blanks_in_keys { format!(" {key} ") } else { (*key).to_owned() };
            let comma = if at > 0 { ", " } else { "" };
            write!(text, "{comma}{}: {value}", self.quoted(&key)).unwrap();
        }
        text + if self.quirks.trailing_commas { ",}" } else { "}" }
    }
}

/// Hundredths as the files have them: 4.5 and 410.
pub(crate) fn number(minor: i64) -> Value {
    let text = match (minor / 100, minor % 100) {
        (whole, 0) => format!("{whole}"),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}", part / 10),
        (whole, part) => format!("{whole}.{part:02}"),
    };
    serde_json::from_str(&text).unwrap()
}

/// Stories of a dialect, small enough to be played many times.
pub(crate) fn stories(dialect: Dialect) -> impl Strategy<Value = Story> {
    let ids = vec![0u64, 1, 2, 3, 7, 12, 300, 345, 987, 70_000];
    let branches = subsequence(ids.clone(), 1..=6).prop_shuffle();
    let quirks = any::<[bool; 6]>().prop_map(|[a, b, c, d, e, f]| Quirks {
        branches_first: a,
        shouting: b,
        blanks_in_keys: c,
        trailing_commas: d,
        typographic: e,
        mark: f,
    });
    let balance = prop_oneof![Just(0), 0..50_000i64, (0..500i64).prop_map(|whole| whole * 100)];
    (branches, balance, quirks).prop_flat_map(move |(branches, balance, quirks)| {
        let customer = (select(ids.clone()), home(&branches), vec(act(dialect, &branches), 0..6));
        let customer = customer.prop_map(|(id, home, acts)| Customer { id, home, acts });
        let others = (Just(branches), Just(quirks));
        (vec(customer, 0..5), others).prop_map(move |(customers, (branches, quirks))| Story {
            dialect,
            balance,
            branches,
            customers,
            quirks,
        })
    })
}

fn home(branches: &[u64]) -> impl Strategy<Value = Option<u64>> + use<> {
    prop_oneof![1 => Just(None), 3 => select(branches.to_vec()).prop_map(Some)]
}

fn act(dialect: Dialect, branches: &[u64]) -> impl Strategy<Value = Act> + use<> {
    let words = ["query", "deposit", "withdraw", "deposit", "withdraw", "steal"].map(str::to_owned).to_vec();
    let targets = match dialect {
        Dialect::P3 | Dialect::P3Old => {
            let known = select(branches.to_vec()).prop_map(Some);
            prop_oneof![8 => known, 1 => Just(Some(4_242)), 1 => Just(None)].boxed()
        }
        Dialect::P1 | Dialect::P2 | Dialect::P2Old => Just(None).boxed(),
    };
    let money = prop_oneof![Just(0), 0..60_000i64, (0..600i64).prop_map(|whole| whole * 100)];
    let id = prop_oneof![1 => Just(None), 6 => (0..9u64).prop_map(Some)];
    (id, select(words), money, targets).prop_map(|(id, word, money, target)| Act { id, word, money, target })
}
