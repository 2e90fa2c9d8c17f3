//! A JSON reader that knows where everything stands, and that forgives what word processors do to JSON:
//! typographic quotes and commas before a closing bracket, each with a note.
//!
//! Invariant: it never nests deeper than [`DEPTH`], so no input exhausts the stack, and reads each byte once.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Deepest nesting of arrays and objects. A scenario needs four.
const DEPTH: usize = 32;

/// A value and the byte at which it begins.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) at: usize,
    pub(super) value: Value<'a>,
}

/// A value. Numbers keep their digits: an amount is never a float.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool,
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Value<'_> {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool => "a truth value",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// Something to say about a place in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Remark {
    /// The JSON path of the value.
    pub(super) path: String,
    /// The byte where it stands.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) message: String,
}

/// A step from a value into it.
#[derive(Clone, Debug)]
enum PathStep<'a> {
    Index(usize),
    Key(Cow<'a, str>),
}

/// Appends a key to a JSON path. A key that is not a plain word is quoted.
pub(super) fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    // Writing to a string cannot fail.
    let _ = if plain { write!(path, ".{key}") } else { write!(path, "[{key:?}]") };
}

/// Line and column, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Reads a text that is one JSON value, and what was forgiven in it.
///
/// # Errors
/// The first place that is not JSON.
pub(super) fn read(text: &str) -> Result<(Node<'_>, Vec<Remark>), Remark> {
    let mut reader = Reader { text, at: 0, path: Vec::new(), notes: Vec::new() };
    let node = reader.value()?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.wrong("the file has something after its JSON value; remove it"));
    }
    Ok((node, reader.notes))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    path: Vec<PathStep<'a>>,
    notes: Vec<Remark>,
}

type Read<T> = Result<T, Remark>;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.next() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn remark(&self, at: usize, message: impl Into<String>) -> Remark {
        let mut path = "$".to_owned();
        for step in &self.path {
            match step {
                PathStep::Index(index) => {
                    // Writing to a string cannot fail.
                    let _ = write!(path, "[{index}]");
                }
                PathStep::Key(key) => push_key(&mut path, key),
            }
        }
        Remark { path, at, message: message.into() }
    }

    fn wrong(&self, message: impl Into<String>) -> Remark {
        self.remark(self.at, message)
    }

    fn note(&mut self, at: usize, message: &str) {
        let remark = self.remark(at, message);
        self.notes.push(remark);
    }

    fn unexpected(&self, wanted: &str) -> Remark {
        match self.next() {
            Some(found) => self.wrong(format!("{wanted} is expected here and {found:?} stands here")),
            None => self.wrong(format!("{wanted} is expected here and the file ends")),
        }
    }

    fn value(&mut self) -> Read<Node<'a>> {
        self.blanks();
        let at = self.at;
        let value = match self.next() {
            Some('[') => self.list()?,
            Some('{') => self.object()?,
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            Some(quote) if closing(quote).is_some() => Value::Text(self.quoted()?),
            Some(_) | None => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn word(&mut self) -> Read<Value<'a>> {
        for (word, value) in [("null", Value::Null), ("true", Value::Bool), ("false", Value::Bool)] {
            let rest = self.rest();
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            if rest.get(..end) == Some(word) {
                self.at += end;
                return Ok(value);
            }
        }
        Err(self.unexpected("a JSON value"))
    }

    fn deeper(&mut self) -> Read<()> {
        if self.path.len() == DEPTH {
            return Err(self.wrong(format!("nested deeper than {DEPTH} levels")));
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// After an item: whether another follows. A comma before the closing bracket is forgiven.
    fn more(&mut self, close: char) -> Read<bool> {
        self.blanks();
        let comma = self.at;
        if self.take(close) {
            return Ok(false);
        }
        if !self.take(',') {
            return Err(self.unexpected(&format!("a comma or {close:?}")));
        }
        self.blanks();
        if self.take(close) {
            self.note(comma, "a comma before the closing bracket is not JSON");
            return Ok(false);
        }
        Ok(true)
    }

    fn list(&mut self) -> Read<Value<'a>> {
        self.deeper()?;
        let mut items = Vec::new();
        let mut more = !self.take(']');
        while more {
            self.path.push(PathStep::Index(items.len()));
            items.push(self.value()?);
            self.path.pop();
            more = self.more(']')?;
        }
        Ok(Value::List(items))
    }

    fn object(&mut self) -> Read<Value<'a>> {
        self.deeper()?;
        let mut members = Vec::new();
        let mut more = !self.take('}');
        while more {
            self.blanks();
            if self.next().is_none_or(|quote| closing(quote).is_none()) {
                return Err(self.unexpected("a key in quotes"));
            }
            let key = self.quoted()?;
            self.blanks();
            if !self.take(':') {
                return Err(self.unexpected("a colon"));
            }
            self.path.push(PathStep::Key(key.clone()));
            let value = self.value()?;
            self.path.pop();
            members.push((key, value));
            more = self.more('}')?;
        }
        Ok(Value::Object(members))
    }

    fn number(&mut self) -> Read<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
        let token = rest.get(..end).unwrap_or_default();
        if !is_number(token) {
            return Err(self.wrong(format!("{token:?} is not a JSON number")));
        }
        self.at += end;
        Ok(token)
    }

    fn quoted(&mut self) -> Read<Cow<'a, str>> {
        let begin = self.at;
        let quote = self.next().unwrap_or('"');
        let closing = closing(quote).unwrap_or(&['"']);
        self.at += quote.len_utf8();
        let mut text = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let plain = rest.find(|c: char| c == '\\' || c < ' ' || closing.contains(&c));
            let (kept, _) = rest.split_at(plain.unwrap_or(rest.len()));
            self.at += kept.len();
            if text.is_empty() {
                text = Cow::Borrowed(kept);
            } else {
                text.to_mut().push_str(kept);
            }
            match self.next() {
                Some('\\') => text.to_mut().push(self.escaped()?),
                Some(found) if found >= ' ' => {
                    self.at += found.len_utf8();
                    if quote != '"' || found != '"' {
                        self.note(begin, "typographic quotes are not JSON");
                    }
                    return Ok(text);
                }
                Some(_) | None => {
                    return Err(self.remark(begin, "the quote that opens here is not closed on its line"));
                }
            }
        }
    }

    fn escaped(&mut self) -> Read<char> {
        let begin = self.at;
        self.at += 1;
        let escape = self.next();
        self.at += escape.map_or(0, char::len_utf8);
        let found = match escape {
            Some(c @ ('"' | '\\' | '/')) => Some(c),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => self.unicode(),
            Some(_) | None => None,
        };
        found.ok_or_else(|| self.remark(begin, "a backslash that is no JSON escape"))
    }

    /// A code point in four hexadecimal digits, or in two such halves.
    fn unicode(&mut self) -> Option<char> {
        let first = self.unit()?;
        if (0xD800..0xDC00).contains(&first) {
            self.at += self.rest().strip_prefix("\\u").map(|_| 2)?;
            let second = self.unit()?;
            return char::decode_utf16([first, second]).next()?.ok();
        }
        char::from_u32(u32::from(first))
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }
}

/// The quotes that close what this one opens; `None` when it is no quote.
fn closing(quote: char) -> Option<&'static [char]> {
    match quote {
        '"' => Some(&['"']),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => Some(&['\u{201c}', '\u{201d}', '\u{201f}', '"']),
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => Some(&['\u{2018}', '\u{2019}', '\u{201b}']),
        _ => None,
    }
}

fn is_number(token: &str) -> bool {
    let token = token.strip_prefix('-').unwrap_or(token);
    let (number, exponent) = match token.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (token, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(node: &Node<'_>) -> serde_json::Value {
        match &node.value {
            Value::Null | Value::Bool => serde_json::Value::Null,
            Value::Number(digits) => serde_json::from_str(digits).unwrap(),
            Value::Text(text) => serde_json::Value::from(text.as_ref()),
            Value::List(items) => items.iter().map(plain).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.to_string(), plain(value))).collect()
            }
        }
    }

    #[test]
    fn what_json_is_and_is_not() {
        let table = [
            ("[]", None),
            (" [ {\"a\" : -1.5e+3 , \"b\":[null,true,false]} ] ", None),
            ("", Some((1, 1))),
            ("[1 2]", Some((1, 4))),
            ("[1,,2]", Some((1, 4))),
            ("[,]", Some((1, 2))),
            ("{a:1}", Some((1, 2))),
            ("{\"a\" 1}", Some((1, 6))),
            ("['a']", Some((1, 2))),
            ("[01]", Some((1, 2))),
            ("[1.]", Some((1, 2))),
            ("[+1]", Some((1, 2))),
            ("[NaN]", Some((1, 2))),
            ("[nullx]", Some((1, 2))),
            ("[\"a", Some((1, 2))),
            ("[\"a\n\"]", Some((1, 2))),
            ("[\"\\x\"]", Some((1, 3))),
            ("[\"\\ud800\"]", Some((1, 3))),
            ("[\n 1\n] and so on", Some((3, 3))),
            ("[\n\"é\", x]", Some((2, 6))),
        ];
        for (text, place) in table {
            let found = read(text).err().map(|remark| line_and_column(text, remark.at));
            assert_eq!(found, place, "{text:?}");
        }
    }

    #[test]
    fn word_processors_are_forgiven_with_the_path() {
        let text = "[{“id”: 1, ‘it’s: “a” ,},]".replace("’s", "’");
        let (node, notes) = read(&text).unwrap();
        assert_eq!(plain(&node), serde_json::json!([{"id": 1, "it": "a"}]));
        let paths: Vec<_> = notes.iter().map(|note| note.path.as_str()).collect();
        assert_eq!(paths, ["$[0]", "$[0]", "$[0].it", "$[0]", "$"]);
    }

    #[test]
    fn deep_nesting_is_refused_at_once() {
        for opening in ["[", "{\"a\":"] {
            let text = opening.repeat(10_000_000 / opening.len());
            let remark = read(&text).unwrap_err();
            assert_eq!(remark.message, "nested deeper than 32 levels");
            assert_eq!(remark.at, DEPTH * opening.len());
        }
        assert!(read(&("[".repeat(DEPTH) + &"]".repeat(DEPTH))).is_ok());
    }

    #[test]
    fn keys_that_are_no_words_are_quoted_in_paths() {
        let remark = read("[{\" a b \":[1,x]}]").unwrap_err();
        assert_eq!(remark.path, "$[0][\" a b \"][1]");
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_what_another_writer_writes(value in values(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let (node, notes) = read(&text).unwrap();
            prop_assert_eq!(plain(&node), value);
            prop_assert_eq!(notes, vec![]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\":,“”‘’a-df0-9.\\\\u \n-]{0,60}") {
            let strict = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            match read(&text) {
                Ok((_, notes)) => prop_assert!(strict || !notes.is_empty(), "{}", text),
                Err(remark) => {
                    line_and_column(&text, remark.at);
                    prop_assert!(!strict, "{} at {}", text, remark.at);
                }
            }
        }
    }
}
