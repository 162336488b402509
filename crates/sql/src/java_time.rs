//! Patterns of dates and times as Java's `DateTimeFormatter` has them, with the limits that Spark
//! sets: English names, the session's zone UTC, what is read must be exact.
//! Source: `java.time.format.DateTimeFormatterBuilder.appendPattern`, Spark's
//! `DateTimeFormatterHelper`.

mod read;

use std::fmt::Write;

use arrow::error::ArrowError;

use crate::cast::civil_from_days;

/// Why a pattern is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// Spark refuses it, too.
    Invalid(String),
    /// Spark takes it; natively it is not answered.
    Unsupported(String),
}

/// A pattern ready to write and to read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimePattern {
    /// As it is written.
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// A letter and how often it stands there.
    Field(char, usize),
    /// `[…]`
    Optional(Vec<Part>),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Sections within sections; it keeps the stack bounded.
const DEPTH_MAX: usize = 20;

const MICROS_PER_DAY: i64 = 86_400_000_000;

impl TimePattern {
    pub(crate) fn new(pattern: &str) -> Result<Self, PatternError> {
        let letters: Vec<char> = pattern.chars().collect();
        let mut at = 0;
        let parts = parts(&letters, &mut at, 0)?;
        if has_field(&parts, 'G') && has_field(&parts, 'y') {
            return Err(PatternError::Unsupported("an era beside a year".into()));
        }
        Ok(Self { text: pattern.to_owned(), parts })
    }

    /// The moment as text.
    pub(crate) fn write(&self, micros: i64) -> String {
        let mut out = String::new();
        write_parts(&self.parts, &Moment::new(micros), &mut out);
        out
    }

    /// Microseconds since 1970 of a text in this form; `None` where it is in another, an error where no timestamp
    /// holds them.
    pub(crate) fn read(&self, text: &str) -> Result<Option<i64>, ArrowError> {
        read::moment(&self.parts, text)
    }

    /// Days since 1970 of a text in this form, whatever offset it gives.
    pub(crate) fn read_day(&self, text: &str) -> Option<i64> {
        read::day(&self.parts, text)
    }

    /// Whether texts can be read with it as Spark does.
    pub(crate) fn check_read(&self) -> Result<(), PatternError> {
        read::check(&self.parts, &self.text)
    }
}

fn has_field(parts: &[Part], letter: char) -> bool {
    parts.iter().any(|part| match part {
        Part::Field(field, _) => *field == letter,
        Part::Optional(parts) => has_field(parts, letter),
        Part::Text(_) => false,
    })
}

fn parts(letters: &[char], at: &mut usize, depth: usize) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let push_text = |parts: &mut Vec<Part>, more: &str| match parts.last_mut() {
        Some(Part::Text(text)) => text.push_str(more),
        _ => parts.push(Part::Text(more.to_owned())),
    };
    while let Some(&c) = letters.get(*at) {
        match c {
            'A'..='Z' | 'a'..='z' => {
                let count = letters[*at..].iter().take_while(|next| **next == c).count();
                *at += count;
                check_field(c, count)?;
                parts.push(Part::Field(c, count));
            }
            '\'' => push_text(&mut parts, &quoted(letters, at)?),
            '[' if depth < DEPTH_MAX => {
                *at += 1;
                let inner = self::parts(letters, at, depth + 1)?;
                // Never closed, it ends with the pattern.
                *at += usize::from(letters.get(*at) == Some(&']'));
                parts.push(Part::Optional(inner));
            }
            ']' if depth > 0 => return Ok(parts),
            '[' => {
                let what = format!("sections nested deeper than {DEPTH_MAX}");
                return Err(PatternError::Unsupported(what));
            }
            ']' => return Err(PatternError::Invalid("`]` without `[`".into())),
            '{' | '}' | '#' => return Err(PatternError::Invalid(format!("`{c}` is reserved"))),
            c => {
                *at += 1;
                push_text(&mut parts, c.encode_utf8(&mut [0; 4]));
            }
        }
    }
    Ok(parts)
}

/// A text in quotes, in which two quotes are one. With nothing between them they are a quote themselves.
fn quoted(letters: &[char], at: &mut usize) -> Result<String, PatternError> {
    let mut text = String::new();
    loop {
        *at += 1;
        match (letters.get(*at), letters.get(*at + 1)) {
            (None, _) => return Err(PatternError::Invalid("a quote that is never closed".into())),
            (Some('\''), Some('\'')) => {
                text.push('\'');
                *at += 1;
            }
            (Some('\''), _) => break,
            (Some(c), _) => text.push(*c),
        }
    }
    *at += 1;
    Ok(if text.is_empty() { "'".into() } else { text })
}

/// Refuses letters that Java does not have so often, and those that Spark does not take.
fn check_field(letter: char, count: usize) -> Result<(), PatternError> {
    let counts = match letter {
        'y' => 1..=6,
        'M' | 'L' | 'E' | 'Q' | 'q' | 'G' => 1..=4,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' => 1..=2,
        'D' => 1..=3,
        'S' => 1..=9,
        'a' => 1..=1,
        'X' | 'x' | 'Z' => 1..=5,
        'O' => 1..=4,
        'V' => 2..=2,
        'z' => 1..=4,
        'Y' | 'w' | 'W' | 'u' | 'e' | 'c' | 'A' | 'B' | 'n' | 'N' | 'p' => {
            return Err(PatternError::Invalid(format!("Spark takes no `{letter}` in a pattern")));
        }
        'F' | 'v' | 'g' => return Err(PatternError::Unsupported(format!("the letter `{letter}`"))),
        _ => return Err(PatternError::Invalid(format!("`{letter}` stands for nothing in a pattern"))),
    };
    let is_offset = letter == 'O' && !matches!(count, 1 | 4);
    if !counts.contains(&count) || is_offset {
        let times = letter.to_string().repeat(count);
        return Err(PatternError::Invalid(format!("`{times}` stands for nothing in a pattern")));
    }
    Ok(())
}

/// A moment taken apart.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    /// Monday is 0.
    weekday: i64,
    day_of_year: i64,
    seconds: i64,
    micros: i64,
}

impl Moment {
    fn new(micros: i64) -> Self {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let new_year = crate::cast::days_from_civil(year, 1, 1).unwrap_or(days);
        Self {
            year,
            month,
            day,
            weekday: (days + 3).rem_euclid(7),
            day_of_year: days - new_year + 1,
            seconds: of_day / 1_000_000,
            micros: of_day % 1_000_000,
        }
    }
}

fn write_parts(parts: &[Part], moment: &Moment, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Optional(parts) => write_parts(parts, moment, out),
            Part::Field(letter, count) => write_field(*letter, *count, moment, out),
        }
    }
}

fn write_field(letter: char, count: usize, moment: &Moment, out: &mut String) {
    let hour = moment.seconds / 3600;
    let number = match letter {
        'y' if count == 2 => moment.year.abs() % 100,
        'y' => {
            let sign = match moment.year {
                ..0 => "-",
                year if count > 3 && year.to_string().len() > count => "+",
                _ => "",
            };
            write!(out, "{sign}{:0count$}", moment.year.abs()).expect("writing to a text");
            return;
        }
        'M' | 'L' if count < 3 => moment.month,
        'd' => moment.day,
        'D' => moment.day_of_year,
        'Q' | 'q' if count < 3 => (moment.month + 2) / 3,
        'H' => hour,
        'k' => (hour + 23) % 24 + 1,
        'h' => (hour + 11) % 12 + 1,
        'K' => hour % 12,
        'm' => moment.seconds / 60 % 60,
        's' => moment.seconds % 60,
        'S' => {
            let digits = format!("{:06}000", moment.micros);
            out.push_str(&digits[..count]);
            return;
        }
        _ => {
            out.push_str(&written_name(letter, count, moment));
            return;
        }
    };
    write!(out, "{number:0count$}").expect("writing to a text");
}

/// What is written in letters.
fn written_name(letter: char, count: usize, moment: &Moment) -> String {
    let short = |name: &str| if count < 4 { name[..3].to_owned() } else { name.to_owned() };
    match letter {
        'M' | 'L' => short(MONTHS[(moment.month - 1) as usize]),
        'E' => short(DAYS[moment.weekday as usize]),
        'Q' | 'q' => {
            let quarter = (moment.month + 2) / 3;
            let names = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];
            if count == 3 { format!("Q{quarter}") } else { names[(quarter - 1) as usize].to_owned() }
        }
        'a' => if moment.seconds < 43_200 { "AM" } else { "PM" }.to_owned(),
        'G' => {
            let (short, long) = if moment.year > 0 { ("AD", "Anno Domini") } else { ("BC", "Before Christ") };
            if count < 4 { short } else { long }.to_owned()
        }
        'V' => "UTC".to_owned(),
        'z' => if count < 4 { "UTC" } else { "Coordinated Universal Time" }.to_owned(),
        'O' => "GMT".to_owned(),
        'X' => "Z".to_owned(),
        'x' => ["+00", "+0000", "+00:00", "+0000", "+00:00"][count - 1].to_owned(),
        'Z' => ["+0000", "+0000", "+0000", "GMT", "Z"][count - 1].to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: i64 = 1_583_020_799_987_654;

    #[test]
    fn moments_are_written_as_java_does() {
        for (pattern, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2020-02-29T23:59:59.987Z"),
            ("y yy yyyyy", "2020 20 02020"),
            ("M MMM MMMM", "2 Feb February"),
            ("EEE EEEE d D", "Sat Saturday 29 60"),
            ("h a K k H", "11 PM 11 23 23"),
            ("Q QQ QQQ QQQQ", "1 01 Q1 1st quarter"),
            ("SSSSSSSSS", "987654000"),
            ("'it''s' yyyy''", "it's 2020'"),
            ("yyyy''''MM '''y'", "2020'02 'y"),
            ("[yyyy]MM[dd", "20200229"),
            ("VV z zzzz O X x xxx Z ZZZZZ", "UTC UTC Coordinated Universal Time GMT Z +00 +00:00 +0000 Z"),
        ] {
            let pattern = TimePattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e:?}"));
            assert_eq!(pattern.write(MOMENT), expected);
        }
    }

    #[test]
    fn what_spark_refuses_is_refused() {
        for pattern in ["YYYY", "u", "ddd", "'open", "b", "aa", "{", "MMMMM", "e"] {
            assert!(matches!(TimePattern::new(pattern), Err(PatternError::Invalid(_))), "{pattern}");
        }
    }

    #[test]
    fn sections_end_where_the_stack_would() {
        let deep = |depth: usize| TimePattern::new(&format!("yyyy{}", "[-".repeat(depth)));
        assert!(deep(DEPTH_MAX).is_ok());
        assert!(matches!(deep(DEPTH_MAX + 1), Err(PatternError::Unsupported(_))));
        assert!(matches!(TimePattern::new("yyyy]"), Err(PatternError::Invalid(_))));
    }

    #[test]
    fn texts_are_read_exactly() {
        let midnight = |days: i64| Some(days * MICROS_PER_DAY);
        for (pattern, text, expected) in [
            ("yyyy-MM-dd", "1970-01-02", midnight(1)),
            ("yyyy-MM-dd", "1970-1-2", None),
            ("yyyy-M-d", "1970-1-02", midnight(1)),
            ("yyyy-MM-dd", "1970-01-02 ", None),
            ("yyyy-MM-dd", "2021-02-29", None),
            ("yyyyMMdd", "19700102", midnight(1)),
            ("dd/MM/yyyy", "02/01/1970", midnight(1)),
            ("d MMM y", "2 jan 1970", midnight(1)),
            ("d MMMM yyyy", "2 JANUARY 1970", midnight(1)),
            ("MMM yyyy", "auG 1970", midnight(212)),
            ("MMM yyyy", "\u{17f}ep 1970", midnight(243)),
            ("'é k'yyyy", "É \u{212a}1970", midnight(0)),
            ("'é'yyyy", "e1970", None),
            ("yyyy", "1970", midnight(0)),
            ("yyyy-MM-dd HH:mm:ss.SSS", "1970-01-01 00:00:01.5", Some(1_500_000)),
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "1970-01-01T02:00:00+02:00", Some(0)),
            ("yyyy-MM-dd[ HH:mm[:ss]]", "1970-01-02", midnight(1)),
            ("yyyy-MM-dd[ HH:mm[:ss]]", "1970-01-01 00:01", Some(60_000_000)),
            ("yyyy-MM-dd[ HH:mm[:ss]", "1970-01-01 00:00:01", Some(1_000_000)),
            ("yyyy-MM-dd[ HH:mm[:ss]]", "1970-01-01 :01", None),
            ("[yyyy/MM/dd][yyyy-MM-dd]", "1970-01-02", midnight(1)),
            ("[yyyy-]MM-dd", "01-02", midnight(1)),
            ("yyyy-[MM][dd]", "1970-13", None),
            ("yyyy-MM-dd [HH][mm]", "1970-01-01 24", None),
            ("yyyy-MM-dd hh:mm[ a]", "1970-01-01 12:01", Some(60_000_000)),
            ("yyyy-MM-dd hh:mm[ a]", "1970-01-01 12:01 PM", Some(43_260_000_000)),
            ("yyyy-MM-dd[ hh:mm][ a]", "1970-01-01 PM", Some(43_200_000_000)),
            ("yyyy-MM-dd'T'HH:mmX", "1970-01-01T02:00+02", Some(0)),
            ("yyyy-MM-dd'T'HH:mmX", "1970-01-01T02:30+0230", Some(0)),
            ("yyyy-MM-dd'T'HH:mmXX", "1970-01-01T02:30+0230", Some(0)),
            ("yyyy-MM-dd'T'HH:mmXX", "1970-01-01T02:00+02", None),
            ("yyyy-MM-dd'T'HH:mmXXXX", "1970-01-01T02:30+0230", Some(0)),
            ("yyyy-MM-dd'T'HH:mm:ssXXXX", "1970-01-01T02:30:15+023015", Some(0)),
            ("yyyy-MM-dd'T'HH:mmXXXX", "1970-01-01T02:30+02:30", None),
            ("yyyy-MM-dd'T'HH:mmXXXXX", "1970-01-01T02:30Z", Some(9_000_000_000)),
            ("yyyy-MM-dd'T'HH:mmXXXXX", "1970-01-01T02:30+02:30", Some(0)),
            ("yyyy-MM-dd'T'HH:mmXXXXX", "1969-12-31T21:30-02:30", Some(0)),
            ("yyyy-MM-dd'T'HH:mm:ssXXXXX", "1970-01-01T02:30:15+02:30:15", Some(0)),
            ("yyyy-MM-dd'T'HH:mmXXXXX", "1970-01-01T02:30+02", None),
            ("yyyy-MM-dd'T'HH:mmXXXXX", "1970-01-01T02:30+02:30:60", None),
            ("yyyy-MM-dd'T'HH:mmXXXXX", "1970-01-01T02:30+18:00:01", None),
            ("yyyy-MM-dd hh:mm a", "1970-01-01 12:01 AM", Some(60_000_000)),
            ("yy-MM-dd", "70-01-01", None),
            ("HH:mm", "01:00", Some(3_600_000_000)),
            ("yyyyMMddHHmmssS", "197001020000017", Some(86_401_700_000)),
            ("yyyyMMddHHmmssSS", "1970010200000178", None),
            ("dMMyy", "10200", midnight(10_988)),
            ("dMMyyyy", "1021970", None),
            ("yyyy[M]-dd", "1970-02", None),
            ("yyyy-MM-dd[XXX][X]", "1970-01-02+02:00Z", None),
            ("yyyy-MM-dd HHX", "1970-01-02 00+23", None),
            ("y-MM-dd", "+1970-01-01", None),
            ("y-MM-dd", "1000000000-01-01", None),
        ] {
            let read = TimePattern::new(pattern).expect("a pattern");
            let expected = if pattern == "yy-MM-dd" { midnight(36_525) } else { expected };
            assert_eq!(read.read(text).expect("a timestamp"), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_no_timestamp_holds_is_an_error() {
        for (pattern, text) in [
            ("y-MM-dd", "1000000-01-01"),
            ("yyyy-MM-dd", "+300000-01-01"),
            ("yyyy-MM-dd", "-300000-01-01"),
            ("y-MM-dd HH:mm:ss", "294247-01-10 04:00:55"),
            ("y-MM-dd HH:mm:ssX", "294247-01-10 04:00:54-01"),
        ] {
            assert!(TimePattern::new(pattern).expect("a pattern").read(text).is_err(), "{pattern} {text}");
        }
        let pattern = TimePattern::new("y-MM-dd HH:mm:ss.SSSSSS").expect("a pattern");
        let read = |text: &str| pattern.read(text).expect("a timestamp");
        assert_eq!(read("294247-01-10 04:00:54.775807"), Some(i64::MAX));
        assert_eq!(read("-290308-12-21 19:59:06.000000"), Some(i64::MIN + 775_808));
        assert_eq!(
            TimePattern::new("y-MM-dd").expect("a pattern").read_day("300000-01-01"),
            Some(108_853_222)
        );
    }

    #[test]
    fn patterns_that_spark_reads_otherwise_are_refused() {
        let check = |pattern: &str| TimePattern::new(pattern).expect("a pattern").check_read();
        for pattern in ["EEE yyyy-MM-dd", "yyyy Q", "yyyy q"] {
            assert!(matches!(check(pattern), Err(PatternError::Invalid(_))), "{pattern}");
        }
        for pattern in
            ["yyyy VV", "yyyy HH kk", "yyyy HH hh a", "yyyy''''ss.SS", "yyyy 'S'''", "yyyy.S''", "yyyy\nS"]
        {
            assert!(matches!(check(pattern), Err(PatternError::Unsupported(_))), "{pattern}");
        }
        for pattern in ["yyyy 'E' ''MM", "yyyy''''MM", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", "yyyy 'o''clock' S"] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_day_is_that_of_its_own_zone() {
        let pattern = TimePattern::new("yyyy-MM-dd'T'HH:mm[XXX]").expect("a pattern");
        for (text, expected) in [
            ("1970-01-02T00:30+02:00", Some(1)),
            ("1970-01-02T23:30-02:00", Some(1)),
            ("1970-01-02T00:30", Some(1)),
            ("1970-01-02T24:30Z", None),
            ("1970-01-02T00:30+19:00", None),
        ] {
            assert_eq!(pattern.read_day(text), expected, "{text}");
        }
    }
}
