//! Forms: what can be done from a page. The script of the page sends them to the JSON routes, each under a name
//! that is made once, so that a form sent twice is one operation; a refusal comes back to the field it is about.

use maud::{Markup, html};

/// One field of a form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its name in the JSON that is sent.
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) hint: &'a str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// What stands in it at first.
    pub(super) value: &'a str,
}

/// What a field takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An amount.
    Amount,
    /// A percentage.
    Rate,
    /// An account.
    Account,
    /// A whole number.
    Count,
    /// Any text.
    Text,
}

/// An amount that must be given.
pub(super) const AMOUNT: Field<'static> = Field {
    name: "amount",
    label: "Amount",
    hint: "At most two decimals, like 12.34",
    kind: Kind::Amount,
    required: true,
    value: "",
};

/// A form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'a> {
    /// Its name on the page, unique there.
    pub(super) id: &'a str,
    /// Where it is sent.
    pub(super) address: &'a str,
    /// With which method.
    pub(super) method: &'a str,
    pub(super) fields: &'a [Field<'a>],
    /// What is sent besides the fields: name and value.
    pub(super) fixed: &'a [(&'a str, &'a str)],
    /// The word on its button.
    pub(super) button: &'a str,
    /// What is said when it is done; `{amount}`, `{balance}` and the like are taken from the answer.
    pub(super) done: &'a str,
}

impl Form<'_> {
    /// The form as it stands on the page.
    pub(super) fn draw(&self) -> Markup {
        html! {
            form.form id=(self.id) data-address=(self.address) data-method=(self.method) data-done=(self.done)
                novalidate autocomplete="off" {
                @for (name, value) in self.fixed { input type="hidden" name=(name) value=(value); }
                @for field in self.fields { (self.draw_field(field)) }
                p.form-error role="alert" data-form-error hidden {}
                button.primary type="submit" { (self.button) }
            }
        }
    }

    fn draw_field(&self, field: &Field<'_>) -> Markup {
        let id = format!("{}-{}", self.id, field.name);
        let mode = match field.kind {
            Kind::Amount | Kind::Rate => Some("decimal"),
            Kind::Count => Some("numeric"),
            Kind::Account | Kind::Text => None,
        };
        let digits = matches!(field.kind, Kind::Amount | Kind::Rate | Kind::Count);
        html! {
            div.field {
                label for=(id) { (field.label) @if !field.required { span.quiet { " (optional)" } } }
                input.digits[digits] type="text" id=(id) name=(field.name) value=(field.value) inputmode=[mode] data-count[field.kind == Kind::Count]
                    aria-required=[field.required.then_some("true")]
                    aria-describedby={ (id) "-hint " (id) "-error" } spellcheck="false" autocapitalize="none";
                p.hint id={ (id) "-hint" } { (field.hint) }
                p.field-error id={ (id) "-error" } data-error-of=(field.name) hidden {}
            }
        }
    }
}

/// Forms of which one is seen at a time, with a row of tabs.
pub(super) fn tabbed(label: &str, panels: &[(&str, &str, Markup)]) -> Markup {
    html! {
        div data-tabs {
            div.tab-row role="tablist" aria-label=(label) {
                @for (place, (id, name, _)) in panels.iter().enumerate() {
                    button type="button" role="tab" id={ "tab-" (id) } aria-controls={ "panel-" (id) }
                        aria-selected=(place == 0) tabindex=(if place == 0 { "0" } else { "-1" }) { (name) }
                }
            }
            @for (place, (id, _, panel)) in panels.iter().enumerate() {
                div role="tabpanel" id={ "panel-" (id) } aria-labelledby={ "tab-" (id) } hidden[place != 0] { (panel) }
            }
            noscript { p.quiet { "To send these forms the page needs JavaScript. Reading works without." } }
        }
    }
}
