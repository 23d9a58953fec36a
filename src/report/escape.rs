//! Names, values and messages that came out of a database, made safe for a terminal and for one line of text.
//!
//! A table may be called `x<newline>MATCH: all tables`, and a value may hold an escape sequence that repaints the screen:
//! nothing that a database says may forge a line of ours.

use std::fmt::Write;

use serde_json::Value;

use crate::sql::QualifiedName;

/// Whether a terminal would do something with it other than show it.
///
/// Beside the control characters (C0, DEL, C1), these are the ones that reorder, hide or break text: Unicode Bidi_Control
/// (UAX #9), the line and paragraph separators, zero-width characters and the byte order mark.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn push(text: &mut String, character: char) {
    match character {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        _ if is_active(character) => {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
        }
        _ => text.push(character),
    }
}

/// A text in which every character is shown: what a terminal would act on is written as `\n`, `\u{1b}`, ...
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|character| push(&mut out, character));
    out
}

/// A message on one line: runs of white space become one space, and a final period is left to whoever ends the sentence.
pub(crate) fn sentence(message: &str) -> String {
    let words: Vec<_> = message.split_whitespace().collect();
    let line = shown(&words.join(" "));
    line.strip_suffix('.').map(str::to_owned).unwrap_or(line)
}

/// The name of a table or sequence.
pub(crate) fn name(schema: &str, name: &str) -> String {
    shown(&QualifiedName::new(schema, name).to_string())
}

/// A value: bare where nothing about it can be misread, else in quotes with `\` before quotes and backslashes.
///
/// NULL and the empty text stay apart: `NULL` and `''`; the text NULL is `'NULL'`.
pub(crate) fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => return "NULL".to_owned(),
        Value::String(text) => text.as_str(),
        other => return shown(&other.to_string()),
    };
    let bare = !text.is_empty()
        && text != "NULL"
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | ':' | '/' | '@' | '%'));
    if bare {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            out.push('\\');
        }
        push(&mut out, character);
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(shown("a\x1b[2Jb\r\n\u{202e}c\u{9b}1m"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\u{9b}1m");
        assert_eq!(name("public", "x\nMATCH: all"), "public.\"x\\nMATCH: all\"");
        assert_eq!(sentence("first line\n  second\u{7} line."), "first line second\\u{7} line");
        assert_eq!(shown("Ünïcode 😀 stays"), "Ünïcode 😀 stays");
    }

    #[test]
    fn values_cannot_be_mistaken_for_each_other() {
        let texts = ["", "NULL", "a b", "a\nb", "a\\nb", "it's", "70001", "-1.5", "a'", "a\\'"];
        let mut seen: Vec<_> = texts.iter().map(|text| value(&Value::from(*text))).collect();
        seen.push(value(&Value::Null));
        assert_eq!(
            seen,
            [
                "''",
                "'NULL'",
                "'a b'",
                "'a\\nb'",
                "'a\\\\nb'",
                "'it\\'s'",
                "70001",
                "-1.5",
                "'a\\''",
                "'a\\\\\\''",
                "NULL"
            ]
        );
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), texts.len() + 1);
    }
}
