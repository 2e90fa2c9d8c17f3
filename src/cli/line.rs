//! Lines: splitting one into words the way a shell does.
//!
//! Architecture invariant: pure. Scripts, `-c`, the REPL and its completion all split with this one.

/// Longest line of a script, of `-c` and of the REPL, in bytes.
pub(crate) const LINE_BYTES: usize = 64 * 1024;

/// A quote that is never closed, or a backslash with nothing after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SplitError {
    /// A quote that is never closed.
    #[error("the quote {0} is never closed")]
    Quote(char),
    /// A backslash at the end.
    #[error("a backslash at the end of the line quotes nothing")]
    Backslash,
}

/// Splits a line into words. Blanks separate; quotes and backslashes keep what they enclose; `#` at the
/// start of a word makes the rest a comment. A blank line and a comment are no words.
///
/// # Errors
/// [`SplitError`] when a quote is open at the end.
pub(crate) fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let words = scan(line);
    match words.open {
        Some(error) => Err(error),
        None => Ok(words.done.into_iter().chain(words.last.map(|(_, word)| word)).collect()),
    }
}

/// A line up to the cursor, for completion: the words before the one being typed, and that one.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Typed {
    /// Finished words.
    pub(crate) before: Vec<String>,
    /// Where the word being typed begins, in bytes.
    pub(crate) start: usize,
    /// The word being typed, without its quotes; empty after a blank.
    pub(crate) word: String,
}

/// The line up to the cursor, as completion sees it; `None` inside a comment.
pub(crate) fn typed(line: &str) -> Option<Typed> {
    let words = scan(line);
    if words.comment {
        return None;
    }
    let (start, word) = words.last.unwrap_or((line.len(), String::new()));
    Some(Typed { before: words.done, start, word })
}

#[derive(Default)]
struct Words {
    /// Words followed by a blank.
    done: Vec<String>,
    /// The word that reaches the end of the line, and where it begins.
    last: Option<(usize, String)>,
    /// What is still open at the end.
    open: Option<SplitError>,
    /// Whether the line ends in a comment.
    comment: bool,
}

fn scan(line: &str) -> Words {
    let mut words = Words::default();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' | '\r' => words.done.extend(words.last.take().map(|(_, word)| word)),
            '#' if words.last.is_none() => {
                words.comment = true;
                return words;
            }
            '\'' | '"' => {
                let word = &mut words.last.get_or_insert((at, String::new())).1;
                if !quoted(c, &mut chars, word) {
                    words.open = Some(SplitError::Quote(c));
                }
            }
            '\\' => {
                let word = &mut words.last.get_or_insert((at, String::new())).1;
                match chars.next() {
                    Some((_, escaped)) => word.push(escaped),
                    None => words.open = Some(SplitError::Backslash),
                }
            }
            c => words.last.get_or_insert((at, String::new())).1.push(c),
        }
    }
    words
}

/// Takes up to the closing quote. In double quotes a backslash quotes a double quote and itself.
fn quoted(quote: char, chars: &mut std::str::CharIndices<'_>, word: &mut String) -> bool {
    while let Some((_, c)) = chars.next() {
        if c == quote {
            return true;
        }
        let rest = chars.as_str();
        if quote == '"' && c == '\\' && (rest.starts_with('"') || rest.starts_with('\\')) {
            word.extend(chars.next().map(|(_, escaped)| escaped));
        } else {
            word.push(c);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("  \t ", &[]),
            ("# only a comment", &[]),
            ("deposit 1 5", &["deposit", "1", "5"]),
            ("  deposit\t1  5\r", &["deposit", "1", "5"]),
            ("deposit 1 5 # wages", &["deposit", "1", "5"]),
            ("open --name 'Ada L'", &["open", "--name", "Ada L"]),
            (r#"open --name "a \"b\" \\ \n""#, &["open", "--name", r#"a "b" \ \n"#]),
            (r"open --name a\ b\#", &["open", "--name", "a b#"]),
            ("deposit 1 ''", &["deposit", "1", ""]),
            ("a'b'\"c\"d", &["abcd"]),
            ("issue#5", &["issue#5"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{line:?}");
        }
    }

    #[test]
    fn what_is_left_open_is_named() {
        assert_eq!(split("open --name 'Ada"), Err(SplitError::Quote('\'')));
        assert_eq!(split("open --name \"Ada"), Err(SplitError::Quote('"')));
        assert_eq!(split("open \\"), Err(SplitError::Backslash));
    }

    #[test]
    fn completion_sees_the_word_being_typed() {
        let typed_as = |before: &[&str], start, word: &str| {
            Some(Typed {
                before: before.iter().map(|w| (*w).to_owned()).collect(),
                start,
                word: word.to_owned(),
            })
        };
        assert_eq!(typed("dep"), typed_as(&[], 0, "dep"));
        assert_eq!(typed("deposit "), typed_as(&["deposit"], 8, ""));
        assert_eq!(typed("deposit 'a b' 1"), typed_as(&["deposit", "a b"], 14, "1"));
        assert_eq!(typed("open --name 'Ad"), typed_as(&["open", "--name"], 12, "Ad"));
        assert_eq!(typed("deposit # 1"), None);
    }

    proptest! {
        #[test]
        fn no_line_panics_and_quoting_gives_any_word_back(line in "\\PC{0,60}", word in "[^']{0,20}") {
            let _ = (split(&line), typed(&line));
            prop_assert_eq!(split(&format!("x '{word}' y")).unwrap(), ["x", &word, "y"]);
        }
    }
}
