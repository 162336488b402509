//! CQL's `duration`: months, days and nanoseconds, none of which is a number of the others.
//! Texts and bytes as Cassandra reads and writes them: its `Duration`, and the `[vint]`s of its protocol's
//! specification (version 5, section 3).

use std::fmt;

/// Months, days and nanoseconds; none is positive where another is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration {
    months: i32,
    days: i32,
    nanoseconds: i64,
}

/// What a unit counts, and how many of them it is.
#[derive(Clone, Copy)]
enum Unit {
    Months(u64),
    Days(u64),
    Nanoseconds(u64),
}

const SECOND: u64 = 1_000_000_000;

/// The units of `1y2mo3w4d5h6m7s8ms9us10ns`, in the order in which they must stand.
const UNITS: [(&str, Unit); 10] = [
    ("y", Unit::Months(12)),
    ("mo", Unit::Months(1)),
    ("w", Unit::Days(7)),
    ("d", Unit::Days(1)),
    ("h", Unit::Nanoseconds(3_600 * SECOND)),
    ("m", Unit::Nanoseconds(60 * SECOND)),
    ("s", Unit::Nanoseconds(SECOND)),
    ("ms", Unit::Nanoseconds(1_000_000)),
    ("us", Unit::Nanoseconds(1_000)),
    ("ns", Unit::Nanoseconds(1)),
];

impl Duration {
    /// Reads `1y2mo3d4h5m`, or one of ISO 8601's forms `P1Y2M3DT4H5M`, `P2W` and `P0001-02-03T04:05:06`; a
    /// `-` before it all makes it negative. `None` for what Cassandra does not take either.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut sum = Sum::default();
        match rest.strip_prefix('P') {
            Some(iso) if iso.contains('-') => sum.add_date_and_time(iso)?,
            Some(iso) if iso.ends_with('W') => sum.add_each(iso, &["W"], &UNITS[2..3])?,
            Some(iso) => {
                let (date, time) = iso.split_once('T').unwrap_or((iso, ""));
                sum.add_each(date, &["Y", "M", "D"], &[UNITS[0], UNITS[1], UNITS[3]])?;
                sum.add_each(time, &["H", "M", "S"], &UNITS[4..7])?;
            }
            None if rest.is_empty() => return None,
            None => {
                let rest = rest.to_lowercase().replace('µ', "u");
                sum.add_each(&rest, &UNITS.map(|(name, _)| name), &UNITS)?;
            }
        }
        sum.signed(is_negative)
    }

    /// The bytes that Cassandra stores.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [i64::from(self.months), i64::from(self.days), self.nanoseconds] {
            write_vint(part, &mut bytes);
        }
        bytes
    }

    /// What [`Duration::to_bytes`] wrote.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut next = || read_vint(&mut bytes);
        let (months, days, nanoseconds) = (next()?, next()?, next()?);
        let found = Self { months: months.try_into().ok()?, days: days.try_into().ok()?, nanoseconds };
        bytes.is_empty().then_some(found)
    }
}

impl fmt::Display for Duration {
    /// As Cassandra prints it; nothing at all is `0s`, so that it can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (months, days, nanoseconds) =
            (self.months.unsigned_abs(), self.days.unsigned_abs(), self.nanoseconds.unsigned_abs());
        if months == 0 && days == 0 && nanoseconds == 0 {
            return f.write_str("0s");
        }
        if self.months < 0 || self.days < 0 || self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        let (mut months, mut nanoseconds) = (u64::from(months), nanoseconds);
        for (name, unit) in UNITS {
            let count = match unit {
                Unit::Months(size) => taken(&mut months, size),
                // Weeks are read and not printed.
                Unit::Days(7) => 0,
                Unit::Days(_) => days.into(),
                Unit::Nanoseconds(size) => taken(&mut nanoseconds, size),
            };
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

/// How often `size` is in `rest`, which keeps what is left.
fn taken(rest: &mut u64, size: u64) -> u64 {
    let count = *rest / size;
    *rest %= size;
    count
}

/// A duration without its sign, while it is read.
#[derive(Default)]
struct Sum {
    months: u64,
    days: u64,
    nanoseconds: u64,
}

impl Sum {
    fn add(&mut self, count: u64, unit: Unit) -> Option<()> {
        let (part, size) = match unit {
            Unit::Months(size) => (&mut self.months, size),
            Unit::Days(size) => (&mut self.days, size),
            Unit::Nanoseconds(size) => (&mut self.nanoseconds, size),
        };
        *part = count.checked_mul(size)?.checked_add(*part)?;
        Some(())
    }

    /// Adds numbers with their units, each of which is one of `names`, once and in their order.
    fn add_each(&mut self, text: &str, names: &[&str], units: &[(&str, Unit)]) -> Option<()> {
        let mut left = names.iter().zip(units);
        let mut rest = text;
        while !rest.is_empty() {
            let (count, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let (name, after) =
                after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let (_, (_, unit)) = left.find(|(known, _)| **known == name)?;
            self.add(count.parse().ok()?, *unit)?;
            rest = after;
        }
        Some(())
    }

    /// Adds `YYYY-MM-DDThh:mm:ss`.
    fn add_date_and_time(&mut self, text: &str) -> Option<()> {
        let widths = [(4, "-"), (2, "-"), (2, "T"), (2, ":"), (2, ":"), (2, "")];
        let units = [UNITS[0], UNITS[1], UNITS[3], UNITS[4], UNITS[5], UNITS[6]];
        let mut rest = text;
        for ((width, after), (_, unit)) in widths.into_iter().zip(units) {
            let (digits, behind) = rest.split_at_checked(width)?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            self.add(digits.parse().ok()?, unit)?;
            rest = behind.strip_prefix(after)?;
        }
        rest.is_empty().then_some(())
    }

    fn signed(self, is_negative: bool) -> Option<Duration> {
        let sign = if is_negative { -1 } else { 1 };
        Some(Duration {
            months: i32::try_from(self.months).ok()? * sign,
            days: i32::try_from(self.days).ok()? * sign,
            nanoseconds: i64::try_from(self.nanoseconds).ok()? * i64::from(sign),
        })
    }
}

/// Writes a number with its sign in the lowest bit, and as many ones at the beginning as bytes follow the first.
fn write_vint(number: i64, into: &mut Vec<u8>) {
    let zigzag = ((number << 1) ^ (number >> 63)) as u64;
    let bits = 64 - zigzag.leading_zeros() as usize;
    // Each byte more takes one bit of the first; nine bytes leave it none.
    let more = ((bits.max(1) - 1) / 7).min(8);
    let bytes = zigzag.to_be_bytes();
    let ones = !(0xff_u16 >> more) as u8;
    match more {
        8 => into.push(ones),
        _ => into.push(ones | bytes[7 - more]),
    }
    into.extend_from_slice(&bytes[8 - more..]);
}

/// Takes a number that [`write_vint`] wrote.
fn read_vint(bytes: &mut &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    let more = first.leading_ones() as usize;
    let (following, rest) = rest.split_at_checked(more)?;
    *bytes = rest;
    let begin = u64::from(*first) & (0xff_u64 >> more);
    let zigzag = following.iter().fold(begin, |number, byte| (number << 8) | u64::from(*byte));
    Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_printed_as_cassandra_prints_it() {
        for (text, printed) in [
            ("1y2mo3w4d5h6m7s8ms9us10ns", "1y2mo25d5h6m7s8ms9us10ns"),
            ("-1H30M", "-1h30m"),
            ("5µs", "5us"),
            ("90m", "1h30m"),
            ("14mo", "1y2mo"),
            ("0d", "0s"),
            ("P1Y2M3DT4H5M6S", "1y2mo3d4h5m6s"),
            ("-PT90M", "-1h30m"),
            ("P2W", "14d"),
            ("P0001-02-03T04:05:06", "1y2mo3d4h5m6s"),
            ("2147483647mo", "178956970y7mo"),
            ("9223372036854775807ns", "2562047h47m16s854ms775us807ns"),
        ] {
            let read = Duration::parse(text).unwrap_or_else(|| panic!("{text} is a duration"));
            assert_eq!(read.to_string(), printed, "{text}");
            assert_eq!(Duration::parse(printed), Some(read), "{text}");
            assert_eq!(Duration::from_bytes(&read.to_bytes()), Some(read), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "-",
            "5",
            "h",
            "1d1y",
            "1d1d",
            "1.5h",
            " 1d",
            "1d ",
            "1 d",
            "+1d",
            "--1d",
            "1x",
            "P1.5Y",
            "P1W2D",
            "P1D1Y",
            "p1d",
            "P1-2-3T4:5:6",
            "P0001-02-03",
            "2147483648mo",
            "9223372036854775808ns",
            "99999999999999999999y",
        ] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_those_of_cassandra() {
        for (number, bytes) in [
            (0, &[0][..]),
            (1, &[2]),
            (-1, &[1]),
            (63, &[126]),
            (64, &[0x80, 0x80]),
            (-64, &[127]),
            (8191, &[0xbf, 0xfe]),
            (8192, &[0xc0, 0x40, 0x00]),
            (i64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
            (i64::MIN, &[0xff; 9]),
        ] {
            let mut written = Vec::new();
            write_vint(number, &mut written);
            assert_eq!(written, bytes, "{number}");
            assert_eq!(read_vint(&mut written.as_slice()), Some(number));
        }
        assert_eq!(Duration::parse("1mo2d3ns").expect("one").to_bytes(), [2, 4, 6]);
        assert_eq!(Duration::from_bytes(&[2, 4]), None);
        assert_eq!(Duration::from_bytes(&[2, 4, 6, 0]), None);
        assert_eq!(Duration::from_bytes(&[0xff, 1]), None);
    }
}
