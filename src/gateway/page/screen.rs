//! Screens: what there is to look at, where it is, and the frame around it.
//!
//! A screen is drawn in regions. The page is its frame with the regions in their places, and the live stream of
//! the page sends the same regions again when they look different. So there is one way to draw a thing.

use std::sync::Arc;

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::lookout::{may_pass, quick};
use super::{account, accounts, assets, cluster, operations, overview, scenarios, transfers};
use crate::client::{Consistency, Options};
use crate::gateway::House;
use crate::model::{AccountNumber, BranchName, Failure};

/// The parts of a page that live.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Regions {
    parts: Vec<(&'static str, String)>,
    /// Whether what the page is about does not exist.
    missing: bool,
}

impl Regions {
    /// The only region of a page about something that does not exist.
    pub(super) fn missing(id: &'static str, body: Markup) -> Regions {
        Regions { missing: true, ..Regions::default() }.with(id, body)
    }

    /// Adds a region.
    pub(super) fn with(mut self, id: &'static str, body: Markup) -> Regions {
        self.parts.push((id, body.into_string()));
        self
    }

    /// The status of the page.
    pub(super) fn status(&self) -> StatusCode {
        if self.missing { StatusCode::NOT_FOUND } else { StatusCode::OK }
    }

    /// What a region looks like.
    pub(super) fn get(&self, id: &str) -> Option<&str> {
        self.parts.iter().find(|(known, _)| *known == id).map(|(_, body)| body.as_str())
    }

    /// All regions.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.parts.iter().map(|(id, body)| (*id, body.as_str()))
    }

    /// A region in its place of the page.
    pub(super) fn place(&self, id: &'static str) -> Markup {
        let body = self.get(id).unwrap_or_default();
        html! { div.region id=(id) data-region { (PreEscaped(body)) } }
    }
}

/// What a viewer said about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// What the viewer has seen; reads show at least that.
    pub(super) session: String,
}

impl Asked {
    /// How to read for this viewer.
    fn options(&self) -> Options {
        if self.session.is_empty() {
            return quick();
        }
        let session_token = Some(self.session.clone());
        Options { consistency: Some(Consistency::Session), session_token, ..quick() }
    }

    /// Reads for this viewer. A session of a ledger that is no more, as after the restart of a branch in memory,
    /// must not keep a page from being shown.
    pub(super) async fn read<T, A>(&self, ask: impl Fn(Options) -> A) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Failure>>,
    {
        match ask(self.options()).await {
            Err(failure) if !self.session.is_empty() && !may_pass(failure.reason) => ask(quick()).await,
            answer => answer,
        }
    }
}

/// A thing to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Screen {
    /// The bank at a glance.
    Overview,
    /// The accounts of a branch.
    Accounts {
        /// Whose accounts; of all branches when none is named.
        branch: Option<BranchName>,
        /// Which page of them.
        page: String,
    },
    /// One account.
    Account {
        /// Its branch.
        branch: BranchName,
        /// Its number there.
        number: AccountNumber,
        /// Which page of the statement.
        page: String,
    },
    /// The transfers of all branches.
    Transfers {
        /// Whose; of all branches when none is named.
        branch: Option<BranchName>,
        /// Which page of them.
        page: String,
    },
    /// One transfer.
    Transfer {
        /// The branch that pays.
        branch: BranchName,
        /// Its number there.
        number: u64,
    },
    /// The operations of all branches.
    Operations(operations::Filter),
    /// The replicas.
    Cluster,
    /// Scenario files.
    Scenarios,
}

/// The paths of all screens, as the router writes them.
pub(super) const PATHS: [&str; 8] = [
    "/",
    "/accounts",
    "/accounts/{branch}/{number}",
    "/transfers",
    "/transfers/{branch}/{number}",
    "/operations",
    "/cluster",
    "/scenarios",
];

impl Screen {
    /// The screen at an address; nothing when there is none.
    pub(super) fn at(path: &str, query: &str) -> Option<Screen> {
        let field = |name: &str| {
            let mut fields = form_urlencoded::parse(query.as_bytes());
            fields.find(|(known, _)| known == name).map(|(_, text)| text.into_owned()).unwrap_or_default()
        };
        let branch = || field("branch").parse().ok();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts.as_slice() {
            [""] => Some(Screen::Overview),
            ["accounts"] => Some(Screen::Accounts { branch: branch(), page: field("page") }),
            ["accounts", branch, number] => Some(Screen::Account {
                branch: branch.parse().ok()?,
                number: number.parse().ok()?,
                page: field("page"),
            }),
            ["transfers"] => Some(Screen::Transfers { branch: branch(), page: field("page") }),
            ["transfers", branch, number] => {
                Some(Screen::Transfer { branch: branch.parse().ok()?, number: number.parse().ok()? })
            }
            ["operations"] => Some(Screen::Operations(operations::Filter::of(field))),
            ["cluster"] => Some(Screen::Cluster),
            ["scenarios"] => Some(Screen::Scenarios),
            _ => None,
        }
    }

    /// The living parts of the screen as they are now.
    pub(super) async fn regions(&self, house: &Arc<House>, asked: &Asked) -> Regions {
        match self {
            Screen::Overview => overview::regions(house),
            Screen::Accounts { branch, page } => accounts::regions(house, branch.as_ref(), page, asked).await,
            Screen::Account { branch, number, page } => {
                account::regions(house, branch, *number, page, asked).await
            }
            Screen::Transfers { branch, page } => {
                transfers::regions(house, branch.as_ref(), page, asked).await
            }
            Screen::Transfer { branch, number } => {
                transfers::one::regions(house, branch, *number, asked).await
            }
            Screen::Operations(filter) => operations::regions(house, filter, asked).await,
            Screen::Cluster => cluster::regions(house),
            Screen::Scenarios => Regions::default(),
        }
    }

    /// The screen with its regions in their places.
    pub(super) fn body(&self, house: &House, regions: &Regions) -> Markup {
        match self {
            Screen::Overview => overview::body(regions),
            Screen::Accounts { branch, .. } => accounts::body(house, branch.as_ref(), regions),
            Screen::Account { branch, number, .. } => account::body(house, branch, *number, regions),
            Screen::Transfers { branch, .. } => transfers::body(house, branch.as_ref(), regions),
            Screen::Transfer { branch, number } => transfers::one::body(branch, *number, regions),
            Screen::Operations(filter) => operations::body(house, filter, regions),
            Screen::Cluster => cluster::body(regions),
            Screen::Scenarios => scenarios::body(house),
        }
    }

    /// The title of the page.
    pub(super) fn title(&self) -> String {
        match self {
            Screen::Overview => "Overview".to_owned(),
            Screen::Accounts { .. } => "Accounts".to_owned(),
            Screen::Account { branch, number, .. } => format!("Account {branch}/{number}"),
            Screen::Transfers { .. } => "Transfers".to_owned(),
            Screen::Transfer { branch, number } => format!("Transfer {branch}:{number}"),
            Screen::Operations(_) => "Operations".to_owned(),
            Screen::Cluster => "Cluster".to_owned(),
            Screen::Scenarios => "Scenarios".to_owned(),
        }
    }

    /// The entry of the menu that it belongs to.
    fn place(&self) -> &'static str {
        match self {
            Screen::Overview => "/",
            Screen::Accounts { .. } | Screen::Account { .. } => "/accounts",
            Screen::Transfers { .. } | Screen::Transfer { .. } => "/transfers",
            Screen::Operations(_) => "/operations",
            Screen::Cluster => "/cluster",
            Screen::Scenarios => "/scenarios",
        }
    }
}

/// The menu: address, name, icon.
const MENU: [(&str, &str, &str); 6] = [
    ("/", "Overview", "overview"),
    ("/accounts", "Accounts", "accounts"),
    ("/transfers", "Transfers", "transfers"),
    ("/operations", "Operations", "operations"),
    ("/cluster", "Cluster", "cluster"),
    ("/scenarios", "Scenarios", "scenarios"),
];

/// A whole page.
pub(super) fn page(house: &House, screen: &Screen, regions: &Regions) -> Markup {
    framed(&screen.title(), screen.place(), house, true, &screen.body(house, regions))
}

/// A page that says that there is nothing.
pub(super) fn nothing(house: &House, what: &str) -> Markup {
    let body = html! {
        h1 { "Nothing here" }
        div.card { p { (what) } p { a href="/" { "Go to the overview" } } }
    };
    framed("Nothing here", "", house, false, &body)
}

fn framed(title: &str, place: &str, house: &House, live: bool, body: &Markup) -> Markup {
    // The page's script names what it sends by this time, in milliseconds, whatever the browser's clock says.
    let now = (house.clock)().micros() / 1_000;
    html! {
        (DOCTYPE)
        html lang="en" data-now=(now) data-live[live] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Bank " (house.bank.home()) }
                link rel="icon" href=(assets::address("mark.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::address("bank.css"));
                script src=(assets::address("theme.js")) {}
                script type="module" src=(assets::address("bank.js")) {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (banner(house, place))
                main #main tabindex="-1" {
                    div.notice.bad #cut-off role="alert" hidden {
                        strong { "This server does not answer." }
                        p { "What you see is " span data-age { "a while" } " old. It becomes current again by itself." }
                    }
                    (body)
                }
                div #toasts aria-live="polite" role="status" {}
            }
        }
    }
}

fn banner(house: &House, place: &str) -> Markup {
    html! {
        header.side {
            a.brand href="/" {
                svg.mark viewBox="0 0 32 32" aria-hidden="true" focusable="false" { use href="/assets/mark.svg#mark" {} }
                span { "Bank" span.at { (house.bank.home()) } }
            }
            nav aria-label="Main" { ul {
                @for (address, name, icon) in MENU.into_iter().filter(|(address, ..)| *address != "/scenarios" || house.player.is_some()) {
                    li { a href=(address) aria-current=[(address == place).then_some("page")] {
                        (super::parts::icon(icon)) span { (name) }
                    } }
                }
            } }
            div.side-end {
                a.quiet href="/docs" { "Interface for programs" }
                p.link-state #link { span.dot aria-hidden="true" {} span data-word { "Not live" } }
                button.ghost #theme type="button" { (super::parts::icon("theme")) span data-word { "Theme" } }
            }
        }
    }
}

/// The head of a page: its title, what it is about, and what can be done.
pub(super) fn head(title: &str, lead: Markup, actions: Markup) -> Markup {
    html! {
        div.head { div { h1 { (title) } p.lead { (lead) } } div.actions { (actions) } }
    }
}

/// Links that choose a branch.
pub(super) fn branch_tabs(house: &House, place: &str, chosen: Option<&BranchName>) -> Markup {
    let names: Vec<&BranchName> = house.bank.branches().map(|(name, _)| name).collect();
    html! {
        @if names.len() > 1 {
            nav.tabs aria-label="Branch" {
                a href=(place) aria-current=[chosen.is_none().then_some("true")] { "All branches" }
                @for name in names {
                    a href={ (place) "?branch=" (name) } aria-current=[(chosen == Some(name)).then_some("true")] { (name) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_a_screen_or_nothing() {
        assert_eq!(Screen::at("/", ""), Some(Screen::Overview));
        assert_eq!(Screen::at("/cluster", "x=1"), Some(Screen::Cluster));
        let account = Screen::at("/accounts/main/17", "page=abc").unwrap();
        assert_eq!((account.title().as_str(), account.place()), ("Account main/17", "/accounts"));
        let transfer = Screen::at("/transfers/delhi/5", "").unwrap();
        assert_eq!((transfer.title().as_str(), transfer.place()), ("Transfer delhi:5", "/transfers"));
        for path in
            ["/accounts/main/0", "/accounts/MAIN!/1", "/accounts/main/x", "/transfers/main/-1", "/other", ""]
        {
            assert_eq!(Screen::at(path, ""), None, "{path}");
        }
    }

    #[test]
    fn a_region_is_found_by_its_name() {
        let regions = Regions::default().with("one", html! { b { "<" } });
        assert_eq!(regions.get("one"), Some("<b>&lt;</b>"));
        assert_eq!(regions.get("two"), None);
        assert_eq!(
            regions.place("one").into_string(),
            "<div class=\"region\" id=\"one\" data-region><b>&lt;</b></div>"
        );
    }
}
