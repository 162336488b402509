//! From Java's syntax to that of the crate `regex`, letter by letter.

use super::PatternError;

type Translated<T> = Result<T, PatternError>;

/// What Java's `.` does not match.
pub(super) const LINE_BREAKS: &str = r"\n\r\x{85}\x{2028}\x{2029}";
/// Stands for the line break that `$` may stand before; no translation has a NUL.
const LAST_LINE_BREAK: &str = "\0";
const DEPTH_MAX: usize = 100;

pub(super) struct Translation {
    text: String,
    pub(super) groups: Vec<usize>,
    pub(super) ends: Vec<usize>,
    pub(super) may_be_empty: bool,
}

impl Translation {
    /// The pattern for texts whose last line ends in `last_line_break`, if in any.
    pub(super) fn text_with(&self, last_line_break: &str) -> String {
        self.text.replace(LAST_LINE_BREAK, last_line_break)
    }
}

pub(super) struct Translator {
    letters: Vec<char>,
    at: usize,
    flags: Flags,
    groups: Vec<usize>,
    names: Vec<String>,
    ends: Vec<usize>,
    depth: usize,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
}

/// A part of the pattern.
struct Piece {
    text: String,
    may_be_empty: bool,
    /// Whether a `$` may be its last.
    has_end: bool,
}

fn invalid<T>(what: impl Into<String>) -> Translated<T> {
    Err(PatternError::Invalid(what.into()))
}

fn unsupported<T>(what: impl Into<String>) -> Translated<T> {
    Err(PatternError::Unsupported(what.into()))
}

impl Translator {
    pub(super) fn new(pattern: &str) -> Self {
        Self {
            letters: pattern.chars().collect(),
            at: 0,
            flags: Flags::default(),
            groups: Vec::new(),
            names: Vec::new(),
            ends: Vec::new(),
            depth: 0,
        }
    }

    pub(super) fn translate(mut self) -> Translated<Translation> {
        let whole = self.alternatives()?;
        if self.at < self.letters.len() {
            return invalid("a bracket is closed that was never opened");
        }
        Ok(Translation {
            text: whole.text,
            groups: self.groups,
            ends: self.ends,
            may_be_empty: whole.may_be_empty,
        })
    }

    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn alternatives(&mut self) -> Translated<Piece> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return unsupported(format!("brackets nested deeper than {DEPTH_MAX}"));
        }
        let mut all = self.sequence()?;
        while self.take('|') {
            let next = self.sequence()?;
            all.text = format!("{}|{}", all.text, next.text);
            all.may_be_empty |= next.may_be_empty;
            all.has_end |= next.has_end;
        }
        self.depth -= 1;
        Ok(all)
    }

    fn sequence(&mut self) -> Translated<Piece> {
        let mut whole = Piece { text: String::new(), may_be_empty: true, has_end: false };
        while let Some(c) = self.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            let piece = self.quantified()?;
            if whole.has_end && !piece.text.is_empty() {
                return unsupported("`$` before more of the pattern");
            }
            whole.text.push_str(&piece.text);
            whole.may_be_empty &= piece.may_be_empty;
            whole.has_end |= piece.has_end;
        }
        Ok(whole)
    }

    fn quantified(&mut self) -> Translated<Piece> {
        let mut piece = self.atom()?;
        let Some((quantifier, at_most_once, may_be_none)) = self.quantifier()? else { return Ok(piece) };
        if piece.text.is_empty() {
            return invalid("a quantifier behind nothing");
        }
        if piece.has_end {
            return unsupported("`$` that is repeated");
        }
        if piece.may_be_empty && !at_most_once {
            return unsupported("repeating what may be empty");
        }
        piece.text.push_str(&quantifier);
        match self.peek() {
            Some('+') => return unsupported("a possessive quantifier"),
            Some('?') => {
                self.at += 1;
                piece.text.push('?');
            }
            _ => {}
        }
        if matches!(self.peek(), Some('*' | '+' | '?')) {
            return invalid("a quantifier behind a quantifier");
        }
        if self.peek() == Some('{') {
            return unsupported("a quantifier behind a quantifier");
        }
        piece.may_be_empty |= may_be_none;
        Ok(piece)
    }

    /// The quantifier that comes next, whether it repeats at most once, and whether none will do.
    fn quantifier(&mut self) -> Translated<Option<(String, bool, bool)>> {
        let simple = match self.peek() {
            Some('?') => ("?", true, true),
            Some('*') => ("*", false, true),
            Some('+') => ("+", false, false),
            Some('{') => return self.counted().map(Some),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some((simple.0.to_owned(), simple.1, simple.2)))
    }

    fn counted(&mut self) -> Translated<(String, bool, bool)> {
        self.at += 1;
        let min = self.count()?;
        let Some(min) = min else { return invalid("{ without a number") };
        let mut text = format!("{{{min}");
        let mut max = Some(min);
        if self.take(',') {
            max = self.count()?;
            text.push(',');
            text.push_str(&max.map(|max| max.to_string()).unwrap_or_default());
        }
        if !self.take('}') {
            return invalid("{ that is never closed");
        }
        if max.is_some_and(|max| max < min) {
            return invalid("a quantifier with a maximum below its minimum");
        }
        text.push('}');
        Ok((text, max.is_some_and(|max| max <= 1), min == 0))
    }

    fn count(&mut self) -> Translated<Option<u32>> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.letters[start..self.at].iter().collect();
        match digits.parse() {
            _ if digits.is_empty() => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(_) => invalid("a number of repetitions that is too large"),
        }
    }

    fn atom(&mut self) -> Translated<Piece> {
        let one = |text: String| Ok(Piece { text, may_be_empty: false, has_end: false });
        let between = |text: &str| Ok(Piece { text: text.to_owned(), may_be_empty: true, has_end: false });
        let Some(c) = self.next() else { return invalid("the pattern ends too early") };
        match c {
            '(' => self.group(),
            '[' => one(self.class()?),
            '.' if self.flags.dot_all => one("(?s:.)".into()),
            '.' => one(format!("[^{LINE_BREAKS}]")),
            '^' => between(r"\A"),
            '$' => {
                let number = self.new_group();
                self.ends.push(number);
                let text = format!(r"({LAST_LINE_BREAK}?)\z");
                Ok(Piece { text, may_be_empty: true, has_end: true })
            }
            '*' | '+' | '?' => invalid(format!("`{c}` behind nothing")),
            '{' => invalid("`{` behind nothing"),
            '\\' => match self.peek() {
                Some('A') => {
                    self.at += 1;
                    between(r"\A")
                }
                Some('z') => {
                    self.at += 1;
                    between(r"\z")
                }
                Some('Q') => {
                    self.at += 1;
                    self.quoted()
                }
                _ => one(match self.escape()? {
                    Escape::Letter(c) => self.letter(c),
                    Escape::Class(class) => format!("[{class}]"),
                }),
            },
            c => one(self.letter(c)),
        }
    }

    fn new_group(&self) -> usize {
        self.groups.len() + self.ends.len() + 1
    }

    /// A letter as itself, or in both cases.
    fn letter(&self, c: char) -> String {
        let code = |c: char| format!(r"\x{{{:x}}}", u32::from(c));
        if self.flags.ignore_case && c.is_ascii_alphabetic() {
            return format!("[{}{}]", code(c.to_ascii_lowercase()), code(c.to_ascii_uppercase()));
        }
        code(c)
    }

    /// `\Q…\E`; the last letter alone is what a quantifier would repeat.
    fn quoted(&mut self) -> Translated<Piece> {
        let mut text = String::new();
        let mut letters = 0;
        while let Some(c) = self.next() {
            if c == '\\' && self.take('E') {
                break;
            }
            text.push_str(&self.letter(c));
            letters += 1;
        }
        if letters != 1 && matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
            return unsupported(r"a quantifier behind \Q…\E");
        }
        Ok(Piece { text, may_be_empty: letters == 0, has_end: false })
    }

    fn group(&mut self) -> Translated<Piece> {
        let before = self.flags;
        let mut capturing = true;
        if self.take('?') {
            match self.next() {
                Some(':') => capturing = false,
                Some('=' | '!') => return unsupported("looking ahead"),
                Some('>') => return unsupported("an atomic group"),
                Some('<') if matches!(self.peek(), Some('=' | '!')) => return unsupported("looking behind"),
                Some('<') => self.group_name()?,
                Some(c) => {
                    self.at -= 1;
                    let _ = c;
                    self.flags()?;
                    if self.take(')') {
                        // From here to the end of the group around it.
                        return Ok(Piece { text: String::new(), may_be_empty: true, has_end: false });
                    }
                    if !self.take(':') {
                        return invalid("a group that begins with (?");
                    }
                    capturing = false;
                }
                None => return invalid("a group that is never closed"),
            }
        }
        if capturing {
            let number = self.new_group();
            self.groups.push(number);
        }
        let mut piece = self.alternatives()?;
        if !self.take(')') {
            return invalid("a group that is never closed");
        }
        self.flags = before;
        piece.text = if capturing { format!("({})", piece.text) } else { format!("(?:{})", piece.text) };
        Ok(piece)
    }

    fn group_name(&mut self) -> Translated<()> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let name: String = self.letters[start..self.at].iter().collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !self.take('>') {
            return invalid("a group's name is of letters and digits");
        }
        if self.names.contains(&name) {
            return invalid(format!("two groups are named {name}"));
        }
        self.names.push(name);
        Ok(())
    }

    fn flags(&mut self) -> Translated<()> {
        let mut on = true;
        loop {
            match self.peek() {
                Some('-') if on => on = false,
                Some('i') => self.flags.ignore_case = on,
                Some('s') => self.flags.dot_all = on,
                Some(flag @ ('m' | 'x' | 'u' | 'd' | 'U')) => return unsupported(format!("the flag {flag}")),
                Some(')' | ':') => return Ok(()),
                _ => return invalid("a group that begins with (?"),
            }
            self.at += 1;
        }
    }

    /// `[…]`, behind the bracket.
    fn class(&mut self) -> Translated<String> {
        let negated = self.take('^');
        let mut items = String::new();
        let mut first = true;
        loop {
            let Some(c) = self.next() else { return invalid("a class that is never closed") };
            match c {
                ']' if first => return unsupported("a class that begins with ]"),
                ']' => break,
                '[' => return unsupported("a class in a class"),
                '&' if self.peek() == Some('&') => return unsupported("&& in a class"),
                _ => {}
            }
            first = false;
            let low = match c {
                '\\' if self.peek() == Some('Q') => return unsupported(r"\Q in a class"),
                '\\' => match self.escape()? {
                    Escape::Letter(c) => c,
                    Escape::Class(class) => {
                        items.push_str(&format!("[{class}]"));
                        continue;
                    }
                },
                c => c,
            };
            let is_range =
                self.peek() == Some('-') && !matches!(self.letters.get(self.at + 1), None | Some(']' | '['));
            if !is_range {
                self.range(low, low, &mut items);
                continue;
            }
            self.at += 1;
            let high = match self.next() {
                Some('\\') => match self.escape()? {
                    Escape::Letter(c) => c,
                    Escape::Class(_) => return invalid("a range that ends in a class"),
                },
                Some(c) => c,
                None => return invalid("a class that is never closed"),
            };
            if high < low {
                return invalid("a range whose end is before its start");
            }
            self.range(low, high, &mut items);
        }
        Ok(format!("[{}{items}]", if negated { "^" } else { "" }))
    }

    fn range(&self, low: char, high: char, items: &mut String) {
        let mut push = |low: char, high: char| {
            items.push_str(&format!(r"\x{{{:x}}}-\x{{{:x}}}", u32::from(low), u32::from(high)));
        };
        push(low, high);
        if self.flags.ignore_case {
            for (from, to) in [('a', 'z'), ('A', 'Z')] {
                let (low, high) = (low.max(from), high.min(to));
                if low <= high {
                    let other = |c: char| char::from((c as u8) ^ 0x20);
                    push(other(low), other(high));
                }
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Translated<Escape> {
        const DIGITS: &str = "0-9";
        const WORD: &str = "0-9A-Za-z_";
        const SPACE: &str = r" \t\n\x0b\x0c\r";
        let Some(c) = self.next() else { return invalid("a backslash at the end") };
        Ok(match c {
            'd' => Escape::Class(DIGITS.into()),
            'D' => Escape::Class(format!("^{DIGITS}")),
            'w' => Escape::Class(WORD.into()),
            'W' => Escape::Class(format!("^{WORD}")),
            's' => Escape::Class(SPACE.into()),
            'S' => Escape::Class(format!("^{SPACE}")),
            'p' | 'P' => return self.property(c == 'P'),
            't' => Escape::Letter('\t'),
            'n' => Escape::Letter('\n'),
            'r' => Escape::Letter('\r'),
            'f' => Escape::Letter('\u{c}'),
            'a' => Escape::Letter('\u{7}'),
            'e' => Escape::Letter('\u{1b}'),
            'x' if self.peek() == Some('{') => return unsupported(r"\x{…}"),
            'x' => Escape::Letter(self.code(2)?),
            'u' => Escape::Letter(self.code(4)?),
            'b' | 'B' => return unsupported(format!(r"\{c}, which differs between versions of Java,")),
            '1'..='9' | 'k' => return unsupported("a back reference"),
            '0' | 'c' | 'G' | 'h' | 'H' | 'v' | 'V' | 'R' | 'X' | 'Z' | 'N' | 'E' | 'A' | 'z' | 'Q' => {
                return unsupported(format!(r"\{c}"));
            }
            c if c.is_ascii_alphabetic() => return invalid(format!(r"\{c}")),
            c => Escape::Letter(c),
        })
    }

    fn code(&mut self, digits: usize) -> Translated<char> {
        let text: String = self.letters.iter().skip(self.at).take(digits).collect();
        let is_code = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(&text, 16).ok().filter(|_| is_code);
        let Some(code) = code else { return invalid("a code without its hexadecimal digits") };
        self.at += digits;
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => unsupported("half of a surrogate pair"),
        }
    }

    /// `\p{Name}`: the classes that are of ASCII alone.
    fn property(&mut self, negated: bool) -> Translated<Escape> {
        if !self.take('{') {
            return unsupported(r"\p of one letter");
        }
        let start = self.at;
        while self.peek().is_some_and(|c| c != '}') {
            self.at += 1;
        }
        let name: String = self.letters[start..self.at].iter().collect();
        if !self.take('}') {
            return invalid(r"\p{ that is never closed");
        }
        let class = match name.as_str() {
            "Lower" => "a-z",
            "Upper" => "A-Z",
            "ASCII" => r"\x00-\x7f",
            "Alpha" => "a-zA-Z",
            "Digit" => "0-9",
            "Alnum" => "a-zA-Z0-9",
            "Punct" => r"!-/:-@\[-`{-~",
            "Graph" => "!-~",
            "Print" => r"\x20-~",
            "Blank" => r" \t",
            "Cntrl" => r"\x00-\x1f\x7f",
            "XDigit" => "0-9a-fA-F",
            "Space" => r" \t\n\x0b\x0c\r",
            _ => return unsupported(format!(r"\p{{{name}}}, which differs between versions of Unicode,")),
        };
        if self.flags.ignore_case && matches!(name.as_str(), "Lower" | "Upper") {
            return unsupported(format!(r"\p{{{name}}} with (?i)"));
        }
        Ok(Escape::Class(if negated { format!("^{class}") } else { class.to_owned() }))
    }
}

enum Escape {
    Letter(char),
    /// What stands in the brackets of a class.
    Class(String),
}
