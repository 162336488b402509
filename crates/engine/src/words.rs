//! Numbers as people read them: in the sentence of a pipeline, and on the page.

/// 12,345.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate in full from ten on, below with one digit behind the point: 12,346, 1.2.
pub fn rounded(rate: f64) -> String {
    match rate {
        rate if rate >= 10.0 => grouped(rate.round() as u64),
        rate => format!("{rate:.1}").trim_end_matches(".0").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rates_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 1.0, 1.25, 12.4, 12_345.6].map(rounded), ["0", "1", "1.2", "12", "12,346"]);
    }
}
