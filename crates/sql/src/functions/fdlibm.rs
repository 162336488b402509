//! Elementary functions to the last bit as Java's `StrictMath` computes them: its definition is
//! the algorithms of FDLIBM 5.3, which are followed here operation by operation. What the crate
//! `libm` computes with the same operations is taken from there.

#![allow(clippy::excessive_precision, clippy::approx_constant, reason = "the digits are FDLIBM's own")]

const LN2_HIGH: f64 = 6.931_471_803_691_238_2e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Of `log` and `log1p`.
const LG: [f64; 7] = [
    6.666_666_666_666_735_1e-1,
    3.999_999_999_940_941_9e-1,
    2.857_142_874_366_239_1e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805_0e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];

fn high(x: f64) -> i32 {
    (x.to_bits() >> 32) as i32
}

fn with_high(x: f64, high: i32) -> f64 {
    f64::from_bits((u64::from(high as u32) << 32) | (x.to_bits() & 0xffff_ffff))
}

pub(super) fn exp(x: f64) -> f64 {
    libm::exp(x)
}

pub(super) fn expm1(x: f64) -> f64 {
    libm::expm1(x)
}

pub(super) fn pow(x: f64, y: f64) -> f64 {
    // Java has no number for 1 to the power of NaN or infinity.
    if y.is_nan() || (x.abs() == 1.0 && y.is_infinite()) { f64::NAN } else { libm::pow(x, y) }
}

/// `e_log.c`.
pub(super) fn log(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let (mut x, mut k) = (x, 0_i32);
    if high(x) < 0x0010_0000 {
        k -= 54;
        x *= 18_014_398_509_481_984.0;
    }
    let hx = high(x);
    k += (hx >> 20) - 1023;
    let hx = hx & 0x000f_ffff;
    let i = (hx + 0x95f64) & 0x10_0000;
    x = with_high(x, hx | (i ^ 0x3ff0_0000));
    k += i >> 20;
    let f = x - 1.0;
    let dk = f64::from(k);
    if (0x000f_ffff & (2 + hx)) < 3 {
        if f == 0.0 {
            return if k == 0 { 0.0 } else { dk * LN2_HIGH + dk * LN2_LOW };
        }
        let r = f * f * (0.5 - 0.333_333_333_333_333_33 * f);
        return if k == 0 { f - r } else { dk * LN2_HIGH - ((r - dk * LN2_LOW) - f) };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let i = hx - 0x6147a;
    let w = z * z;
    let j = 0x6b851 - hx;
    let t1 = w * (LG[1] + w * (LG[3] + w * LG[5]));
    let t2 = z * (LG[0] + w * (LG[2] + w * (LG[4] + w * LG[6])));
    let r = t2 + t1;
    if (i | j) > 0 {
        let hfsq = 0.5 * f * f;
        return if k == 0 {
            f - (hfsq - s * (hfsq + r))
        } else {
            dk * LN2_HIGH - ((hfsq - (s * (hfsq + r) + dk * LN2_LOW)) - f)
        };
    }
    if k == 0 { f - s * (f - r) } else { dk * LN2_HIGH - ((s * (f - r) - dk * LN2_LOW) - f) }
}

/// `s_log1p.c`.
pub(super) fn log1p(x: f64) -> f64 {
    if x.is_nan() || x < -1.0 {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let size = high(x) & 0x7fff_ffff;
    if size < 0x3e20_0000 {
        return if size < 0x3c90_0000 { x } else { x - x * x * 0.5 };
    }
    let is_near_0 = if x > 0.0 { size < 0x3fda_827a } else { size <= 0x3fd2_bec3 };
    let Parted { f, k, c, is_power } =
        if is_near_0 { Parted { f: x, k: 0.0, c: 0.0, is_power: false } } else { one_more(x) };
    let hfsq = 0.5 * f * f;
    if is_power {
        if f == 0.0 {
            return if k == 0.0 { 0.0 } else { k * LN2_HIGH + (c + k * LN2_LOW) };
        }
        let r = hfsq * (1.0 - 0.666_666_666_666_666_66 * f);
        return if k == 0.0 { f - r } else { k * LN2_HIGH - ((r - (k * LN2_LOW + c)) - f) };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let r = LG.iter().rev().fold(0.0, |r, lg| z * (lg + r));
    if k == 0.0 {
        f - (hfsq - s * (hfsq + r))
    } else {
        k * LN2_HIGH - ((hfsq - (s * (hfsq + r) + (k * LN2_LOW + c))) - f)
    }
}

/// `2^k × (1 + f)`, which `c` corrects; `is_power` where `f` is almost nothing.
struct Parted {
    f: f64,
    k: f64,
    c: f64,
    is_power: bool,
}

/// `1 + x`, of an `x` that is not near 0.
fn one_more(x: f64) -> Parted {
    let is_exact = high(x) >= 0x4340_0000;
    let u = if is_exact { x } else { 1.0 + x };
    let mut k = (high(u) >> 20) - 1023;
    let lost = if k > 0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let c = if is_exact { 0.0 } else { lost / u };
    let hu = high(u) & 0x000f_ffff;
    let (u, hu) = if hu < 0x6a09e {
        (with_high(u, hu | 0x3ff0_0000), hu)
    } else {
        k += 1;
        (with_high(u, hu | 0x3fe0_0000), (0x0010_0000 - hu) >> 2)
    };
    Parted { f: u - 1.0, k: f64::from(k), c, is_power: hu == 0 }
}

/// `e_log10.c`.
pub(super) fn log10(x: f64) -> f64 {
    const IVLN10: f64 = 4.342_944_819_032_518_2e-1;
    const LOG10_2_HIGH: f64 = 3.010_299_956_636_117_7e-1;
    const LOG10_2_LOW: f64 = 3.694_239_077_158_930_8e-13;
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let (mut x, mut k) = (x, 0_i32);
    if high(x) < 0x0010_0000 {
        k -= 54;
        x *= 18_014_398_509_481_984.0;
    }
    let hx = high(x);
    k += (hx >> 20) - 1023;
    let i = i32::from(k < 0);
    let hx = (hx & 0x000f_ffff) | ((0x3ff - i) << 20);
    let y = f64::from(k + i);
    let z = y * LOG10_2_LOW + IVLN10 * log(with_high(x, hx));
    z + y * LOG10_2_HIGH
}

/// `s_cbrt.c`.
pub(super) fn cbrt(x: f64) -> f64 {
    const B1: i32 = 715_094_163;
    const B2: i32 = 696_219_795;
    const C: f64 = 5.428_571_428_571_428_2e-1;
    const D: f64 = -7.053_061_224_489_796_1e-1;
    const E: f64 = 1.414_285_714_285_714_4;
    const F: f64 = 1.607_142_857_142_857_2;
    const G: f64 = 3.571_428_571_428_571_5e-1;
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let negative = x < 0.0;
    let x = x.abs();
    let mut t = if high(x) < 0x0010_0000 {
        let t = x * 18_014_398_509_481_984.0;
        with_high(t, high(t) / 3 + B2)
    } else {
        with_high(0.0, high(x) / 3 + B1)
    };
    let r = t * t / x;
    let s = C + r * t;
    t *= G + F / (s + E + D / s);
    t = with_high(0.0, high(t) + 1);
    let s = t * t;
    let r = x / s;
    let w = t + t;
    let r = (r - t) / (w + r);
    t += t * r;
    if negative { -t } else { t }
}

/// The high word from which on `exp` overflows where half of it does not.
const EXP_MAX_HIGH: i32 = 0x4086_2e42;
/// The largest number whose `sinh` and `cosh` are finite.
const SINH_MAX: f64 = f64::from_bits(0x4086_33ce_8fb9_f87d);

/// `e_sinh.c`.
pub(super) fn sinh(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let half = if x < 0.0 { -0.5 } else { 0.5 };
    let a = x.abs();
    if a < 22.0 {
        if a < 2.0_f64.powi(-28) {
            return x;
        }
        let t = expm1(a);
        return if a < 1.0 { half * (2.0 * t - t * t / (t + 1.0)) } else { half * (t + t / (t + 1.0)) };
    }
    if high(a) < EXP_MAX_HIGH {
        return half * exp(a);
    }
    if a > SINH_MAX {
        return f64::INFINITY.copysign(x);
    }
    let w = exp(0.5 * a);
    (half * w) * w
}

/// `e_cosh.c`.
pub(super) fn cosh(x: f64) -> f64 {
    let a = x.abs();
    if !x.is_finite() {
        return a;
    }
    if high(a) < 0x3fd6_2e43 {
        let t = expm1(a);
        let w = 1.0 + t;
        return if a < 2.0_f64.powi(-55) { w } else { 1.0 + (t * t) / (w + w) };
    }
    if a < 22.0 {
        let t = exp(a);
        return 0.5 * t + 0.5 / t;
    }
    if high(a) < EXP_MAX_HIGH {
        return 0.5 * exp(a);
    }
    if a > SINH_MAX {
        return f64::INFINITY;
    }
    let w = exp(0.5 * a);
    (0.5 * w) * w
}

/// `s_tanh.c`.
pub(super) fn tanh(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    let z = if a >= 22.0 {
        1.0
    } else if a < 2.0_f64.powi(-55) {
        return x * (1.0 + x);
    } else if a >= 1.0 {
        1.0 - 2.0 / (expm1(2.0 * a) + 2.0)
    } else {
        let t = expm1(-2.0 * a);
        -t / (t + 2.0)
    };
    if x < 0.0 || x.is_sign_negative() { -z } else { z }
}

/// `e_hypot.c`.
pub(super) fn hypot(x: f64, y: f64) -> f64 {
    if x.is_infinite() || y.is_infinite() {
        return f64::INFINITY;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    let (mut a, mut b) = if x.abs() >= y.abs() { (x.abs(), y.abs()) } else { (y.abs(), x.abs()) };
    if high(a) - high(b) > 0x03c0_0000 {
        return a + b;
    }
    let mut k = 0;
    if high(a) > 0x5f30_0000 {
        (a, b, k) = (a * 2.0_f64.powi(-600), b * 2.0_f64.powi(-600), k + 600);
    }
    let (mut high_a, mut high_b) = (high(a), high(b));
    if high_b < 0x20b0_0000 {
        if b == 0.0 {
            return a;
        }
        let up = if high_b <= 0x000f_ffff { 1022 } else { 600 };
        (a, b, k) = (a * 2.0_f64.powi(up), b * 2.0_f64.powi(up), k - up);
        // The high words of what was subnormal stay as they were.
        if up == 600 {
            (high_a, high_b) = (high(a), high(b));
        }
    }
    let w = a - b;
    let sum = if w > b {
        let t1 = with_high(0.0, high_a);
        let t2 = a - t1;
        (t1 * t1 - (b * (-b) - t2 * (a + t1))).sqrt()
    } else {
        let a = a + a;
        let y1 = with_high(0.0, high_b);
        let y2 = b - y1;
        let t1 = with_high(0.0, high_a + 0x0010_0000);
        let t2 = a - t1;
        (t1 * y1 - (w * (-w) - (t1 * y2 + t2 * b))).sqrt()
    };
    sum * 2.0_f64.powi(k)
}

/// `e_atan2.c`.
pub(super) fn atan2(y: f64, x: f64) -> f64 {
    const PI: f64 = std::f64::consts::PI;
    const PI_LOW: f64 = 1.224_646_799_147_353_2e-16;
    let exponents = ((high(y) & 0x7fff_ffff) - (high(x) & 0x7fff_ffff)) >> 20;
    // The one place where `libm` goes another way: far from the axis to the left.
    if exponents > 60 && x < 0.0 && x.is_finite() && y.is_finite() {
        let z = (PI / 2.0 + 0.5 * PI_LOW) - PI_LOW;
        return if y < 0.0 { z - PI } else { PI - z };
    }
    libm::atan2(y, x)
}

const TWO_TO_28: f64 = 268_435_456.0;

/// As Spark 4 writes it.
pub(super) fn acosh(x: f64) -> f64 {
    match x {
        x if x < 1.0 => f64::NAN,
        x if x >= TWO_TO_28 => log(x) + log(2.0),
        1.0 => 0.0,
        x if x > 2.0 => log(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt())),
        x => {
            let t = x - 1.0;
            log1p(t + (2.0 * t + t * t).sqrt())
        }
    }
}

/// As Spark 4 writes it.
pub(super) fn asinh(x: f64) -> f64 {
    let positive = match x.abs() {
        u if u.is_infinite() || u.is_nan() || u < 1.0 / TWO_TO_28 => u,
        u if u > TWO_TO_28 => log(u) + log(2.0),
        u if u > 2.0 => log(2.0 * u + 1.0 / ((u * u + 1.0).sqrt() + u)),
        u => {
            let t = u * u;
            log1p(u + t / (1.0 + (1.0 + t).sqrt()))
        }
    };
    positive.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_javas_to_the_last_bit() {
        for (name, ours, java) in [
            ("log1p", log1p(201.56), 5.311_036_138_955_812),
            ("log1p", log1p(0.673_382_585_919_658_5), 0.514_847_078_418_890_9),
            ("log1p", log1p(-0.129_971_718_394_480_18), -0.139_229_560_269_316_5),
            ("log1p", log1p(10_750_902.926_301_397), 16.190_500_395_170_474),
            ("log1p", log1p(1e-320), 1e-320),
            ("log1p", log1p(1.0), 0.693_147_180_559_945_3),
            ("asinh", asinh(0.673_382_585_919_658_5), 0.630_724_437_293_806),
            ("cosh", cosh(0.346_573_590_748_357_1), 1.060_660_171_945_420_3),
            ("cosh", cosh(709.7825), 8.986_552_293_117_808e307),
            ("cosh", cosh(710.475_860_073_944), f64::INFINITY),
            ("sinh", sinh(-709.782_339_515_806_6), -8.985_110_209_240_263e307),
            ("sinh", sinh(-710.475_860_073_944), f64::NEG_INFINITY),
            ("hypot", hypot(1e-310, 2e-310), 2.236_067_977_499_8e-310),
            ("hypot", hypot(3.745_742_016_768_517e-309, 5.002_453_739_824e-312), 3.745_745_357_165_71e-309),
        ] {
            assert_eq!(ours, java, "{name}");
        }
    }

    #[test]
    fn they_are_near_the_systems_own() {
        let near = |a: f64, b: f64| (a.to_bits() as i64).abs_diff(b.to_bits() as i64) <= 2;
        for step in 1..4000 {
            let x = f64::from(step) * 0.017 - 30.0;
            for (name, ours, theirs) in [
                ("cbrt", cbrt(x), x.cbrt()),
                ("cosh", cosh(x), x.cosh()),
                ("sinh", sinh(x), x.sinh()),
                ("tanh", tanh(x), x.tanh()),
                ("exp", exp(x), x.exp()),
                ("hypot", hypot(x, 3.0), x.hypot(3.0)),
            ] {
                assert!(near(ours, theirs), "{name}({x}): {ours} {theirs}");
            }
            let x = f64::from(step) * 0.37;
            assert!(near(log(x), x.ln()), "log({x})");
            assert!(near(log10(x), x.log10()), "log10({x})");
        }
        // Java promises it for every power of ten.
        assert_eq!(log10(1000.0), 3.0);
        assert_eq!(hypot(3.0, 4.0), 5.0);
    }
}
