//! The rule for every text that a person may enter, such as the name of an account.
//!
//! A text begins with a visible character and ends with no blank. It is made of letters, marks, digits, punctuation,
//! symbols and single-line blanks of any script, as Unicode classes them. Of the characters that Unicode calls formats only
//! the two joiners are taken, each between two characters that it joins: names in Persian, Hindi and Sinhala need them,
//! and so do emoji of several people. Everything else that a reader cannot see, or that changes how the text around it is
//! shown, is refused: controls, bidirectional marks, tags, private and unassigned characters, fillers. A text is kept as it
//! was entered; it is not normalised, because nothing is looked up by it.

use unicode_properties::{GeneralCategory as Class, UnicodeGeneralCategory as _};

/// What a character may do in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Is seen by itself.
    Visible,
    /// Is seen with the character before it.
    Mark,
    /// Chooses the form of the visible character before it.
    Selector,
    /// Joins its neighbours, or keeps them apart.
    Joiner,
    /// Is a blank within a line.
    Blank,
}

/// Whether a text keeps the rule. Its length is checked elsewhere.
pub(super) fn is_readable(text: &str) -> bool {
    let mut before = None;
    for c in text.chars() {
        let Some(role) = role(c) else { return false };
        let fits = match role {
            Role::Visible => true,
            Role::Blank => before.is_some_and(|before| before != Role::Joiner),
            Role::Mark | Role::Joiner => before.is_some_and(is_seen),
            Role::Selector => before == Some(Role::Visible),
        };
        if !fits {
            return false;
        }
        before = Some(role);
    }
    before.is_some_and(is_seen)
}

/// Whether a character of this role ends in something visible.
fn is_seen(role: Role) -> bool {
    matches!(role, Role::Visible | Role::Mark | Role::Selector)
}

fn role(c: char) -> Option<Role> {
    match c {
        // Letters, marks and a symbol by their class, and seen by nobody: fillers, and the blank of Braille.
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
        | '\u{ffa0}' => {
            return None;
        }
        '\u{200c}' | '\u{200d}' => return Some(Role::Joiner),
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {
            return Some(Role::Selector);
        }
        _ => {}
    }
    match c.general_category() {
        Class::UppercaseLetter
        | Class::LowercaseLetter
        | Class::TitlecaseLetter
        | Class::ModifierLetter
        | Class::OtherLetter
        | Class::DecimalNumber
        | Class::LetterNumber
        | Class::OtherNumber
        | Class::ConnectorPunctuation
        | Class::DashPunctuation
        | Class::OpenPunctuation
        | Class::ClosePunctuation
        | Class::InitialPunctuation
        | Class::FinalPunctuation
        | Class::OtherPunctuation
        | Class::MathSymbol
        | Class::CurrencySymbol
        | Class::ModifierSymbol
        | Class::OtherSymbol => Some(Role::Visible),
        Class::NonspacingMark | Class::SpacingMark | Class::EnclosingMark => Some(Role::Mark),
        Class::SpaceSeparator => Some(Role::Blank),
        Class::LineSeparator
        | Class::ParagraphSeparator
        | Class::Control
        | Class::Format
        | Class::Surrogate
        | Class::PrivateUse
        | Class::Unassigned => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_script_are_taken() {
        for text in [
            "Ada",
            "Zoë 李",
            "=1+1",
            "<b>",
            "O'Neil-Smith, Jr.",
            "علی\u{200c}رضا",
            "ශ්\u{200d}රී",
            "क\u{94d}\u{200d}ष",
            "श्री",
            "👨\u{200d}👩\u{200d}👧",
            "❤\u{fe0f}\u{200d}🔥",
            "👩🏽\u{200d}🚀",
            "1\u{fe0f}\u{20e3}",
            "葛\u{e0100}城",
            "각",
            "e\u{301}",
            "山田\u{3000}太郎",
            "a  b",
        ] {
            assert!(is_readable(text), "{text:?}");
        }
    }

    #[test]
    fn what_no_reader_sees_or_what_deceives_a_screen_is_refused() {
        for text in [
            "",
            " ",
            " a",
            "a ",
            "a\tb",
            "a\nb",
            "\u{1b}[31m",
            "\u{9b}31m",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{200e}b",
            "a\u{61c}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{2060}b",
            "a\u{feff}b",
            "a\u{ad}b",
            "\u{3164}",
            "Ada\u{3164}",
            "\u{115f}\u{1160}",
            "\u{2800}",
            "Ada\u{34f}",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "\u{e0041}",
            "\u{e000}",
            "\u{378}",
            "\u{fff9}a",
            "\u{200d}",
            "a\u{200d}",
            "\u{200c}a",
            "a\u{200d}\u{200d}b",
            "a \u{200d}b",
            "a\u{200c} b",
            "\u{301}a",
            " \u{301}",
            "\u{fe0f}",
            "a\u{fe0f}\u{fe0f}",
            "\u{3000}a",
            "a\u{a0}",
        ] {
            assert!(!is_readable(text), "{text:?}");
        }
    }
}
