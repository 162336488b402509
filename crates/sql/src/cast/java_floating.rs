//! Floating-point numbers as Java 17 prints them, digit for digit. That is not always the fewest
//! digits that give the number back: 2.0E23 comes out as 1.9999999999999998E23.
//!
//! The algorithm is that of `jdk.internal.math.FloatingDecimal` (Steele and White's), as JDK 17 has
//! it; JDK 19 and later print the fewest digits.

use std::cmp::Ordering;
use std::fmt::Write;

use num_bigint::BigUint;

/// Where the hidden bit of a double's mantissa stands.
const MANTISSA_BITS: i32 = 52;
const SINGLE_MANTISSA_BITS: i32 = 23;
/// Up to here a number without a fraction is handled as a whole one.
const WHOLE_EXPONENT_MAX: i32 = 62;

/// A number as Java's `Double.toString` prints it.
pub(crate) fn java_double(number: f64, out: &mut String) {
    if begin(number, out) {
        let bits = number.to_bits();
        let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
        let exponent = ((bits >> MANTISSA_BITS) & 0x7ff) as i32;
        let (mantissa, exponent, significant) = normalised(mantissa, exponent, MANTISSA_BITS);
        lay_out(&digits(exponent - 1023, mantissa, significant), out);
    }
}

/// A number as Java's `Float.toString` prints it.
pub(crate) fn java_float(number: f32, out: &mut String) {
    if begin(number.into(), out) {
        let bits = u64::from(number.to_bits());
        let mantissa = bits & ((1 << SINGLE_MANTISSA_BITS) - 1);
        let exponent = ((bits >> SINGLE_MANTISSA_BITS) & 0xff) as i32;
        let (mantissa, exponent, significant) = normalised(mantissa, exponent, SINGLE_MANTISSA_BITS);
        let mantissa = mantissa << (MANTISSA_BITS - SINGLE_MANTISSA_BITS);
        lay_out(&digits(exponent - 127, mantissa, significant), out);
    }
}

/// Prints the sign, and whole what has no digits to develop; whether digits are to follow.
fn begin(number: f64, out: &mut String) -> bool {
    if number.is_sign_negative() && !number.is_nan() {
        out.push('-');
    }
    let whole = match number {
        number if number.is_nan() => "NaN",
        number if number.is_infinite() => "Infinity",
        0.0 => "0.0",
        _ => "",
    };
    out.push_str(whole);
    whole.is_empty()
}

/// Digits, and the power of ten of the point before the first of them.
struct Digits {
    digits: Vec<u8>,
    exponent: i32,
}

/// Plain between 10⁻³ and 10⁷, else with an exponent; always with a digit behind the point.
fn lay_out(number: &Digits, out: &mut String) {
    let text: String = number.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let or_zero = |text: &str| if text.is_empty() { "0".to_owned() } else { text.to_owned() };
    match number.exponent {
        1..8 => {
            let whole = number.exponent as usize;
            let padded = format!("{text:0<whole$}");
            let (whole, fraction) = padded.split_at(whole);
            write!(out, "{whole}.{}", or_zero(fraction))
        }
        -2..1 => write!(out, "0.{}{text}", "0".repeat(-number.exponent as usize)),
        exponent => write!(out, "{}.{}E{}", &text[..1], or_zero(&text[1..]), exponent - 1),
    }
    .expect("writing to a text");
}

/// The mantissa with its highest bit in place, the exponent that goes with it, and how many bits
/// of the mantissa are significant.
fn normalised(mantissa: u64, exponent: i32, bits: i32) -> (u64, i32, i32) {
    if exponent != 0 {
        return (mantissa | 1 << bits, exponent, bits + 1);
    }
    let shift = mantissa.leading_zeros() as i32 - (63 - bits);
    (mantissa << shift, 1 - shift, bits + 1 - shift)
}

fn digits(exponent: i32, mantissa: u64, significant: i32) -> Digits {
    let tail_zeros = mantissa.trailing_zeros() as i32;
    let bits = MANTISSA_BITS + 1 - tail_zeros;
    let fraction_bits = (bits - exponent - 1).max(0);
    if (-21..=WHOLE_EXPONENT_MAX).contains(&exponent) && fraction_bits == 0 && bits < 64 {
        return whole_digits(exponent, mantissa, significant);
    }
    fraction_digits(exponent, mantissa, significant, tail_zeros, bits, fraction_bits)
}

/// A number without a fraction: what lies beyond its precision is rounded off.
fn whole_digits(exponent: i32, mantissa: u64, significant: i32) -> Digits {
    let insignificant =
        if exponent > significant { insignificant_digits(exponent - significant - 1) } else { 0 };
    let mut value = match exponent - MANTISSA_BITS {
        shift @ 0.. => mantissa << shift,
        shift => mantissa >> -shift,
    };
    let mut zeros = 0;
    if insignificant > 0 {
        let power = 10_u64.pow(insignificant);
        let rest = value % power;
        value = value / power + u64::from(rest >= power / 2);
        zeros = insignificant as i32;
    }
    let text = value.to_string();
    let kept = text.trim_end_matches('0');
    Digits { digits: kept.bytes().map(|b| b - b'0').collect(), exponent: text.len() as i32 + zeros }
}

/// Decimal digits that a power of two says nothing about.
fn insignificant_digits(power: i32) -> u32 {
    if (2..64).contains(&power) { (f64::from(power) * std::f64::consts::LOG10_2) as u32 } else { 0 }
}

/// Digits of B/S, one after the other, until the rest is less than half the distance (M) to the
/// next number.
fn fraction_digits(
    exponent: i32,
    mantissa: u64,
    significant: i32,
    tail_zeros: i32,
    bits: i32,
    fraction_bits: i32,
) -> Digits {
    let power = estimated_power(mantissa, exponent);
    let b5 = (-power).max(0);
    let mut b2 = b5 + fraction_bits + exponent;
    let s5 = power.max(0);
    let mut s2 = s5 + fraction_bits;
    let mut m2 = b2 - significant;
    b2 -= bits - 1;
    let common = b2.min(s2);
    b2 -= common;
    s2 -= common;
    m2 -= common;
    if bits == 1 {
        m2 -= 1;
    }
    if m2 < 0 {
        b2 -= m2;
        s2 -= m2;
        m2 = 0;
    }
    let mantissa = mantissa >> tail_zeros;
    let width = (bits + b2 + five_bits(b5)).max(s2 + 1 + five_bits(s5 + 1));
    if width < 64 {
        let scaled = |value: u64, fives: i32, twos: i32| ((value * 5_u64.pow(fives as u32)) << twos) as i64;
        small_digits(power, scaled(mantissa, b5, b2), scaled(1, s5, s2), scaled(1, b5, m2), width < 32)
    } else {
        let scaled = |value: u64, fives: i32, twos: i32| {
            (BigUint::from(value) * BigUint::from(5_u8).pow(fives as u32)) << (twos as u64)
        };
        large_digits(power, scaled(mantissa, b5, b2), scaled(1, s5, s2), scaled(1, b5, m2))
    }
}

/// In numbers of 64 bits, or of 32 where `narrow`.
fn small_digits(power: i32, mut b: i64, s: i64, mut m: i64, narrow: bool) -> Digits {
    let cut = |number: i64| if narrow { i64::from(number as i32) } else { number };
    let tens = s * 10;
    let developed = develop(power, || {
        let digit = (b / s) as u8;
        b = b % s * 10;
        m = cut(m.wrapping_mul(10));
        // M may run over, which Java sees where it is no longer above zero.
        let over = m <= 0;
        (digit, over || b < m, over || cut(b.wrapping_add(m)) > tens)
    });
    developed.rounded(cut((b << 1).wrapping_sub(tens)).cmp(&0))
}

fn large_digits(power: i32, mut b: BigUint, s: BigUint, mut m: BigUint) -> Digits {
    let tens = &s * 10_u8;
    let developed = develop(power, || {
        let digit = (&b / &s).iter_u32_digits().next().unwrap_or(0) as u8;
        b = (&b % &s) * 10_u8;
        m *= 10_u8;
        // Among small numbers Java stops at `>`, here at `>=`.
        (digit, b < m, &b + &m >= tens)
    });
    developed.rounded((b << 1_u8).cmp(&tens))
}

/// Digits that are enough, as the rest is `low`, or as high as that the last digit may be one more.
struct Developed {
    digits: Vec<u8>,
    power: i32,
    low: bool,
    high: bool,
}

/// `step` gives a digit, and whether the rest behind it is low or high.
fn develop(mut power: i32, mut step: impl FnMut() -> (u8, bool, bool)) -> Developed {
    let mut digits = Vec::new();
    let (first, mut low, mut high) = step();
    if first == 0 && !high {
        power -= 1;
    } else {
        digits.push(first);
    }
    // With an exponent there is always a second digit.
    if !(-3..8).contains(&power) {
        (low, high) = (false, false);
    }
    while !low && !high {
        let (digit, is_low, is_high) = step();
        digits.push(digit);
        (low, high) = (is_low, is_high);
    }
    Developed { digits, power, low, high }
}

impl Developed {
    /// Told how the rest compares to half a digit.
    fn rounded(self, rest: Ordering) -> Digits {
        let Self { mut digits, power, low, high } = self;
        let up = match (high, low) {
            (true, true) if rest.is_eq() => digits.last().is_some_and(|digit| digit % 2 == 1),
            (true, true) => rest.is_gt(),
            (high, _) => high,
        };
        let mut exponent = power + 1;
        if up {
            round_up(&mut digits, &mut exponent);
        }
        while digits.len() > 1 && digits.last() == Some(&0) {
            digits.pop();
        }
        Digits { digits, exponent }
    }
}

fn round_up(digits: &mut [u8], exponent: &mut i32) {
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    // All were nines.
    digits[0] = 1;
    *exponent += 1;
}

/// The power of ten just below the number, or one too many.
#[allow(clippy::approx_constant, reason = "the estimate is Java's to the last digit")]
fn estimated_power(mantissa: u64, exponent: i32) -> i32 {
    let between_1_and_2 = f64::from_bits((1023 << MANTISSA_BITS) | (mantissa & ((1 << MANTISSA_BITS) - 1)));
    let estimate =
        (between_1_and_2 - 1.5) * 0.289529654 + 0.176091259 + f64::from(exponent) * 0.301029995663981;
    estimate.floor() as i32
}

/// Bits of a power of five, as Java's table and its estimate beyond the table have them.
fn five_bits(power: i32) -> i32 {
    const TABLE: [i32; 28] = [
        0, 3, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28, 31, 33, 35, 38, 40, 42, 45, 47, 49, 52, 54, 56, 59,
        61, 63,
    ];
    TABLE.get(power as usize).copied().unwrap_or(power * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_java_17_does() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (0.1, "0.1"),
            (0.3 - 0.1, "0.19999999999999998"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123_456.789, "123456.789"),
            (123_456_789.125, "1.23456789125E8"),
            (1.234_567_890_123_456_7e19, "1.2345678901234567E19"),
            (123_456_789_012_345_678.5, "1.2345678901234568E17"),
            // These are not the fewest digits.
            (1e23, "9.999999999999999E22"),
            (2e23, "1.9999999999999998E23"),
            (8.41e21, "8.409999999999999E21"),
            (4.9e-324, "4.9E-324"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = String::new();
            java_double(number, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn floats_are_printed_as_java_17_does() {
        for (number, expected) in [
            (2_147_483_647.0, "2.14748365E9"),
            (123_456_789.0, "1.23456792E8"),
            (1_234_567_890.5, "1.23456794E9"),
            (0.1, "0.1"),
            (1e21, "1.0E21"),
            (3.4028235e38, "3.4028235E38"),
            (1.4e-45, "1.4E-45"),
            (16_777_217.0, "1.6777216E7"),
            (1.1754944e-38, "1.17549435E-38"),
            // Where M runs over, the last digit is not the nearest.
            (5.6830185e25, "5.6830184E25"),
            (9.5827596e24, "9.5827595E24"),
            (-6.8607246e25, "-6.8607245E25"),
            (7.7371252e25, "7.7371252E25"),
            (1e25, "1.0E25"),
        ] {
            let mut out = String::new();
            java_float(number, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn what_is_printed_is_the_number() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = f64::from_bits(bits);
            if number.is_finite() {
                let mut out = String::new();
                java_double(number, &mut out);
                assert_eq!(out.parse::<f64>().expect("a number"), number, "{number:e}");
            }
        }
    }
}
