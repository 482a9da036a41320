//! Exact decimals of up to 38 digits.
//!
//! Comes in: text as JSON and authors write numbers, and integers. Goes out: sums, differences, products and
//! rounded quotients that are exact or an error; nothing is ever rounded unasked. No floating point, and no
//! reading of columns or events: that is `expr`'s.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::{BigInt, Sign};

/// Most digits of a mantissa.
pub const DIGITS_MAX: u32 = 38;

/// Most digits after the point. Products add scales, so this is twice the digits of a mantissa.
pub const SCALE_MAX: u32 = 76;

/// Smallest mantissa that is too large: `10^38`.
const MANTISSA_END: i128 = 10_i128.pow(DIGITS_MAX);

/// A decimal number: `mantissa × 10^-scale`. The scale is kept as written: `1.50` is not `1.5`.
///
/// Aligned as a pointer is, not as 128 bits are: a [`Value`](super::Value) is a third smaller for it, and rows are
/// mostly values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(Rust, packed(8))]
pub struct Decimal {
    pub mantissa: i128,
    pub scale: u32,
}

/// Why there is no decimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecimalError {
    #[error("{0:?} is not a decimal number; write it like -12.50")]
    NotANumber(String),
    #[error("{0} has more than {DIGITS_MAX} digits")]
    TooLong(String),
    #[error("{0} has more than {SCALE_MAX} digits after the point")]
    TooFine(String),
    #[error("{0} is divided by zero")]
    DivisionByZero(Decimal),
}

/// What becomes of digits that a quotient cannot keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Away from zero.
    Up,
    /// Toward zero.
    Down,
    /// Toward positive infinity.
    Ceiling,
    /// Toward negative infinity.
    Floor,
    /// To the nearest; halves away from zero.
    HalfUp,
    /// To the nearest; halves toward zero.
    HalfDown,
    /// To the nearest; halves to the even neighbour.
    HalfEven,
}

impl Rounding {
    /// Every rounding with the name that expressions use.
    pub const NAMES: [(&'static str, Rounding); 7] = [
        ("HALF_UP", Rounding::HalfUp),
        ("HALF_EVEN", Rounding::HalfEven),
        ("HALF_DOWN", Rounding::HalfDown),
        ("UP", Rounding::Up),
        ("DOWN", Rounding::Down),
        ("CEILING", Rounding::Ceiling),
        ("FLOOR", Rounding::Floor),
    ];

    /// The rounding with that name.
    pub fn named(name: &str) -> Option<Rounding> {
        Rounding::NAMES.iter().find(|(known, _)| *known == name).map(|(_, rounding)| *rounding)
    }
}

impl Decimal {
    /// Zero without a point: what an empty sum is.
    pub const ZERO: Decimal = Decimal { mantissa: 0, scale: 0 };

    /// A decimal from its parts.
    ///
    /// # Errors
    /// More than 38 digits, or more than [`SCALE_MAX`] after the point.
    pub fn new(mantissa: i128, scale: u32) -> Result<Decimal, DecimalError> {
        if mantissa.unsigned_abs() >= MANTISSA_END.unsigned_abs() {
            return Err(DecimalError::TooLong(mantissa.to_string()));
        }
        if scale > SCALE_MAX {
            return Err(DecimalError::TooFine(format!("{mantissa}e-{scale}")));
        }
        Ok(Decimal { mantissa, scale })
    }

    /// Reads `-12.50`, and the exponents that JSON allows: `1e3` is `1000`, `1.5e-2` is `0.015`.
    ///
    /// # Errors
    /// Text that is not a number, or a number out of bounds.
    pub fn parse(text: &str) -> Result<Decimal, DecimalError> {
        let not_a_number = || DecimalError::NotANumber(shorten(text));
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (number, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(not_a_number()),
            None => (number, ""),
        };
        if whole.is_empty() {
            return Err(not_a_number());
        }
        let mut mantissa = 0_i128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return Err(not_a_number());
            }
            // Asked before the step: 39 digits do not always fit 128 bits.
            if mantissa >= MANTISSA_END / 10 {
                return Err(DecimalError::TooLong(shorten(text)));
            }
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
        if negative {
            mantissa = -mantissa;
        }
        let exponent = match exponent {
            Some(exponent) => read_exponent(exponent).ok_or_else(not_a_number)?,
            None => 0,
        };
        let digits_after = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        scaled(mantissa, digits_after.saturating_sub(exponent), text)
    }

    /// Whether no digit after the point says anything: `3.00`, but not `3.01`.
    pub fn is_integer(self) -> bool {
        match 10_i128.checked_pow(self.scale) {
            Some(unit) => self.mantissa % unit == 0,
            None => self.mantissa == 0,
        }
    }

    /// The same number without a scale; `None` where it has a fraction.
    pub fn whole(self) -> Option<Decimal> {
        let unit = 10_i128.checked_pow(self.scale).unwrap_or(1);
        self.is_integer().then(|| Decimal { mantissa: self.mantissa / unit, scale: 0 })
    }

    /// The integer that this is; `None` if it is none, or needs more than 64 bits.
    pub fn to_i64(self) -> Option<i64> {
        if !self.is_integer() {
            return None;
        }
        let unit = 10_i128.checked_pow(self.scale).unwrap_or(1);
        i64::try_from(self.mantissa / unit).ok()
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().expect("a decimal's text is a number")
    }

    /// Sum, with the larger scale of the two.
    ///
    /// # Errors
    /// The sum needs more than 38 digits.
    pub fn checked_add(self, other: Decimal) -> Result<Decimal, DecimalError> {
        let scale = self.scale.max(other.scale);
        if let (Some(left), Some(right)) = (self.at_scale(scale), other.at_scale(scale))
            && let Some(sum) = left.checked_add(right)
        {
            return Decimal::new(sum, scale);
        }
        from_big(&(self.big_at_scale(scale) + other.big_at_scale(scale)), scale)
    }

    /// Difference, with the larger scale of the two.
    ///
    /// # Errors
    /// As [`Decimal::checked_add`].
    pub fn checked_sub(self, other: Decimal) -> Result<Decimal, DecimalError> {
        self.checked_add(-other)
    }

    /// Product; its scale is the sum of the two.
    ///
    /// # Errors
    /// The product needs more than 38 digits, or more than [`SCALE_MAX`] after the point.
    pub fn checked_mul(self, other: Decimal) -> Result<Decimal, DecimalError> {
        let scale = self.scale + other.scale;
        match self.mantissa.checked_mul(other.mantissa) {
            Some(product) => Decimal::new(product, scale),
            None => from_big(&(BigInt::from(self.mantissa) * BigInt::from(other.mantissa)), scale),
        }
    }

    /// Quotient with `scale` digits after the point, rounded as said.
    ///
    /// # Errors
    /// Division by zero, or a quotient of more than 38 digits.
    pub fn div(self, by: Decimal, scale: u32, rounding: Rounding) -> Result<Decimal, DecimalError> {
        if by.mantissa == 0 {
            return Err(DecimalError::DivisionByZero(self));
        }
        if scale > SCALE_MAX {
            return Err(DecimalError::TooFine(format!("a quotient of scale {scale}")));
        }
        let numerator = BigInt::from(self.mantissa) * power(by.scale + scale);
        let denominator = BigInt::from(by.mantissa) * power(self.scale);
        from_big(&divide(&numerator, &denominator, rounding), scale)
    }

    /// Compares the numbers: `1.0` and `1.00` are equal here. [`Ord`] tells them apart.
    pub fn cmp_number(self, other: Decimal) -> Ordering {
        let scale = self.scale.max(other.scale);
        let (own, others) = (self.mantissa, other.mantissa);
        match (self.at_scale(scale), other.at_scale(scale)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // What does not fit at the common scale is farther from zero than anything that does.
            (None, _) => own.cmp(&0),
            (Some(_), None) => 0.cmp(&others),
        }
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        if self.mantissa == 0 || scale == self.scale {
            return Some(self.mantissa);
        }
        self.mantissa.checked_mul(10_i128.checked_pow(scale - self.scale)?)
    }

    fn big_at_scale(self, scale: u32) -> BigInt {
        BigInt::from(self.mantissa) * power(scale - self.scale)
    }
}

impl std::ops::Neg for Decimal {
    type Output = Decimal;

    fn neg(self) -> Decimal {
        Decimal { mantissa: -self.mantissa, scale: self.scale }
    }
}

impl Ord for Decimal {
    /// By number, then by scale.
    fn cmp(&self, other: &Decimal) -> Ordering {
        self.cmp_number(*other).then(self.scale.cmp(&other.scale))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Decimal {
        Decimal { mantissa: i128::from(number), scale: 0 }
    }
}

impl std::str::FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Decimal, DecimalError> {
        Decimal::parse(text)
    }
}

impl fmt::Display for Decimal {
    /// The number with all digits of its scale, never with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -size } else { size })
}

/// `mantissa × 10^-scale`, where the scale may be negative.
fn scaled(mantissa: i128, scale: i64, text: &str) -> Result<Decimal, DecimalError> {
    if scale >= 0 {
        return match u32::try_from(scale) {
            Ok(scale) if scale <= SCALE_MAX => Ok(Decimal { mantissa, scale }),
            _ => Err(DecimalError::TooFine(shorten(text))),
        };
    }
    if mantissa == 0 {
        return Ok(Decimal::ZERO);
    }
    u32::try_from(-scale)
        .ok()
        .and_then(|zeros| 10_i128.checked_pow(zeros))
        .and_then(|factor| mantissa.checked_mul(factor))
        .and_then(|mantissa| Decimal::new(mantissa, 0).ok())
        .ok_or_else(|| DecimalError::TooLong(shorten(text)))
}

fn power(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

fn from_big(mantissa: &BigInt, scale: u32) -> Result<Decimal, DecimalError> {
    match i128::try_from(mantissa) {
        Ok(mantissa) => Decimal::new(mantissa, scale),
        Err(_) => Err(DecimalError::TooLong(shorten(&mantissa.to_string()))),
    }
}

fn divide(numerator: &BigInt, denominator: &BigInt, rounding: Rounding) -> BigInt {
    let quotient = numerator / denominator;
    let rest = numerator % denominator;
    if rest.sign() == Sign::NoSign {
        return quotient;
    }
    let negative = numerator.sign() != denominator.sign();
    let half = (rest.magnitude() * 2_u32).cmp(denominator.magnitude());
    let away = match rounding {
        Rounding::Up => true,
        Rounding::Down => false,
        Rounding::Ceiling => !negative,
        Rounding::Floor => negative,
        Rounding::HalfUp => half != Ordering::Less,
        Rounding::HalfDown => half == Ordering::Greater,
        Rounding::HalfEven => half == Ordering::Greater || (half == Ordering::Equal && quotient.bit(0)),
    };
    match (away, negative) {
        (false, _) => quotient,
        (true, false) => quotient + 1,
        (true, true) => quotient - 1,
    }
}

/// The text as messages show it: a mistake may be megabytes long.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).expect("the test writes a decimal")
    }

    #[test]
    fn a_value_is_no_larger_than_four_words() {
        assert_eq!(size_of::<crate::value::Value>(), 32);
    }

    #[test]
    fn text_is_read_and_written_with_its_scale() {
        for text in ["0", "-12.50", "1.00", "0.015", "-0.1", "99999999999999999999999999999999999999"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        for (text, shown) in [
            ("1e3", "1000"),
            ("1.5E-2", "0.015"),
            ("1.50e1", "15.0"),
            ("2e+0", "2"),
            ("0e99999", "0"),
            ("007", "7"),
        ] {
            assert_eq!(decimal(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_number_or_out_of_bounds_is_refused() {
        for text in
            ["", "-", ".5", "5.", "1e", "1e+", "+1", "1,5", "1.2.3", "NaN", "Infinity", "0x10", " 1", "١"]
        {
            assert_eq!(Decimal::parse(text), Err(DecimalError::NotANumber(text.to_owned())), "{text}");
        }
        let nines = "9".repeat(38);
        assert!(Decimal::parse(&nines).is_ok());
        for first in 1..=9 {
            let text = format!("{first}{nines}");
            assert!(matches!(Decimal::parse(&text), Err(DecimalError::TooLong(_))), "{text}");
        }
        let error = Decimal::parse(&format!("1{}", "0".repeat(38))).unwrap_err();
        assert!(error.to_string().ends_with("has more than 38 digits"), "{error}");
        assert!(matches!(Decimal::parse("1e38"), Err(DecimalError::TooLong(_))));
        assert!(matches!(Decimal::parse("1e99999999999999999999"), Err(DecimalError::TooLong(_))));
        assert_eq!(decimal("1e-76").scale, 76);
        let error = Decimal::parse("1e-77").unwrap_err();
        assert_eq!(error.to_string(), "1e-77 has more than 76 digits after the point");
        assert!(Decimal::parse("1e-99999999999999999999").is_err());
    }

    #[test]
    fn sums_keep_the_larger_scale_and_products_add_scales() {
        assert_eq!(decimal("12.50").checked_mul(Decimal::from(2)).unwrap().to_string(), "25.00");
        assert_eq!(Decimal::ZERO.checked_add(decimal("1.10")).unwrap().to_string(), "1.10");
        assert_eq!(decimal("1").checked_sub(decimal("0.001")).unwrap().to_string(), "0.999");
        assert_eq!(decimal("0.10").checked_mul(decimal("0.10")).unwrap().to_string(), "0.0100");
        let nines = decimal(&"9".repeat(38));
        assert!(matches!(nines.checked_add(Decimal::from(1)), Err(DecimalError::TooLong(_))));
        assert!(matches!(nines.checked_mul(nines), Err(DecimalError::TooLong(_))));
    }

    #[test]
    fn quotients_round_as_said() {
        let cases = [
            ("2.5", ["3", "2", "2", "3", "2", "3", "2"]),
            ("-2.5", ["-3", "-2", "-2", "-3", "-2", "-2", "-3"]),
            ("3.5", ["4", "4", "3", "4", "3", "4", "3"]),
            ("-3.4", ["-3", "-3", "-3", "-4", "-3", "-3", "-4"]),
        ];
        for (number, expected) in cases {
            for ((name, rounding), expected) in Rounding::NAMES.iter().zip(expected) {
                let found = decimal(number).div(Decimal::from(1), 0, *rounding).unwrap();
                assert_eq!(found.to_string(), expected, "{number} {name}");
            }
        }
        assert_eq!(decimal("10.00").div(decimal("3"), 2, Rounding::HalfUp).unwrap().to_string(), "3.33");
        let error = decimal("1").div(decimal("0.0"), 2, Rounding::HalfUp).unwrap_err();
        assert_eq!(error.to_string(), "1 is divided by zero");
    }

    #[test]
    fn order_is_by_number_then_by_scale() {
        assert_eq!(decimal("1.0").cmp_number(decimal("1.00")), Ordering::Equal);
        assert!(decimal("1.0") < decimal("1.00"));
        assert!(decimal("-1e37") < decimal("1e-76"));
        assert!(decimal("1e37") > decimal("1e-76"));
        assert!(decimal("0.0") > decimal("-0.00000001"));
    }

    #[test]
    fn integers_are_told_from_fractions() {
        assert_eq!(decimal("3.00").to_i64(), Some(3));
        assert_eq!(decimal("3.01").to_i64(), None);
        assert_eq!(decimal("9223372036854775808").to_i64(), None);
        assert!(decimal("0e-76").is_integer());
        assert!(!decimal("1e-76").is_integer());
    }

    #[test]
    fn arithmetic_agrees_with_big_integers() {
        let (seeds, base) = seeds();
        for seed in base..base + seeds {
            println!("seed {seed}");
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..200 {
                let (a, b) = (any(&mut random), any(&mut random));
                let scale = a.scale.max(b.scale);
                let sum = a.big_at_scale(scale) + b.big_at_scale(scale);
                agree(a.checked_add(b), &sum, scale);
                agree(a.checked_sub(b), &(a.big_at_scale(scale) - b.big_at_scale(scale)), scale);
                agree(a.checked_mul(b), &(BigInt::from(a.mantissa) * b.mantissa), a.scale + b.scale);
                assert_eq!(a.cmp_number(b), a.big_at_scale(scale).cmp(&b.big_at_scale(scale)), "{a} {b}");
                assert_eq!(Decimal::parse(&a.to_string()), Ok(a));
                let digits: String = (0..random.usize(30..50)).map(|_| random.digit(10)).collect();
                let number: BigInt = digits.parse().expect("digits are a number");
                agree(Decimal::parse(&digits), &number, 0);
                assert_eq!(a.cmp(&b).reverse(), b.cmp(&a));
            }
        }
    }

    fn any(random: &mut fastrand::Rng) -> Decimal {
        let digits = random.u32(0..=38);
        let end = 10_i128.pow(digits);
        Decimal { mantissa: random.i128(-end + 1..end), scale: random.u32(0..=40) }
    }

    fn agree(found: Result<Decimal, DecimalError>, expected: &BigInt, scale: u32) {
        let fits = expected.magnitude().to_string().len() <= 38 && scale <= SCALE_MAX;
        match found {
            Ok(found) => {
                assert!(fits);
                assert_eq!((BigInt::from(found.mantissa), found.scale), (expected.clone(), scale));
            }
            Err(_) => assert!(!fits, "{expected} at scale {scale} fits"),
        }
    }

    fn seeds() -> (u64, u64) {
        let read =
            |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
        (read("KINORA_SEEDS", 20), read("KINORA_SEED_BASE", 1))
    }
}
