//! Metric math as text, to a tree. Pure.

use super::MathError;

/// How deep an expression may be nested.
const DEPTH_MAX: usize = 32;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Number(f64),
    /// Another query of the request.
    Id(String),
    /// A literal in quotes.
    Text(String),
    Array(Vec<Expr>),
    Negate(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    /// The name is in upper case.
    Call(String, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Text(String),
    Sign(&'static str),
}

/// Longer ones first.
const SIGNS: [&str; 19] =
    ["<=", ">=", "==", "!=", "&&", "||", "<", ">", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",", "="];

/// Operators from those that bind least to those that bind most.
const LEVELS: [&[(&str, Op)]; 5] = [
    &[("||", Op::Or), ("OR", Op::Or)],
    &[("&&", Op::And), ("AND", Op::And)],
    &[
        ("<=", Op::LessOrEqual),
        (">=", Op::GreaterOrEqual),
        ("==", Op::Equal),
        ("!=", Op::NotEqual),
        ("<", Op::Less),
        (">", Op::Greater),
    ],
    &[("+", Op::Add), ("-", Op::Subtract)],
    &[("*", Op::Multiply), ("/", Op::Divide)],
];

pub fn parse(text: &str) -> Result<Expr, MathError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let expr = parser.binary(0)?;
    match parser.tokens.first() {
        None => Ok(expr),
        Some(token) => Err(unexpected(token)),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, MathError> {
    let (mut rest, mut tokens) = (text.trim_start(), Vec::new());
    while let Some(first) = rest.chars().next() {
        let word = |rest: &str, part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
        let len = if first.is_ascii_digit() || first == '.' {
            let len = number_len(rest);
            let number = rest[..len].parse().map_err(|_| MathError::new(format!("'{}' is no number", &rest[..len])))?;
            tokens.push(Token::Number(number));
            len
        } else if first.is_ascii_alphabetic() {
            let len = word(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            tokens.push(Token::Name(rest[..len].to_owned()));
            len
        } else if first == '"' || first == '\'' {
            let len = rest[1..].find(first).ok_or_else(|| MathError::new("a quote is not closed"))?;
            tokens.push(Token::Text(rest[1..=len].to_owned()));
            len + 2
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            return Err(MathError::new(format!("unexpected character '{first}'")));
        };
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

/// The length of the number at the start, with its exponent.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let end = digits(0);
    if bytes.get(end).is_none_or(|b| !b.eq_ignore_ascii_case(&b'e')) {
        return end;
    }
    let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
    let exponent = digits(signed);
    if exponent > signed { exponent } else { end }
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    /// Operators of a level and of all that bind more.
    fn binary(&mut self, level: usize) -> Result<Expr, MathError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        self.depth += usize::from(level == 0);
        if self.depth > DEPTH_MAX {
            return Err(MathError::new(format!("it is nested more than {DEPTH_MAX} deep")));
        }
        let mut left = self.binary(level + 1)?;
        while let Some(op) = self.operator(operators) {
            left = Expr::Binary(op, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        self.depth -= usize::from(level == 0);
        Ok(left)
    }

    fn operator(&mut self, operators: &[(&str, Op)]) -> Option<Op> {
        let text = match self.tokens.first()? {
            Token::Sign(sign) => sign,
            Token::Name(name) => name.as_str(),
            _ => return None,
        };
        let op = operators.iter().find(|(sign, _)| *sign == text)?.1;
        self.tokens = &self.tokens[1..];
        Some(op)
    }

    fn unary(&mut self) -> Result<Expr, MathError> {
        let mut negative = false;
        while self.take("-") {
            negative = !negative;
        }
        let base = self.power()?;
        Ok(if negative { Expr::Negate(Box::new(base)) } else { base })
    }

    fn power(&mut self) -> Result<Expr, MathError> {
        let mut base = self.primary()?;
        while self.take("^") {
            let negative = self.take("-");
            let exponent = self.primary()?;
            let exponent = if negative { Expr::Negate(Box::new(exponent)) } else { exponent };
            base = Expr::Binary(Op::Power, Box::new(base), Box::new(exponent));
        }
        Ok(base)
    }

    fn primary(&mut self) -> Result<Expr, MathError> {
        let (first, rest) = self.tokens.split_first().ok_or_else(|| MathError::new("it ends too early"))?;
        self.tokens = rest;
        match first {
            Token::Number(number) => Ok(Expr::Number(*number)),
            Token::Text(text) => Ok(Expr::Text(text.clone())),
            Token::Name(name) if self.take("(") => Ok(Expr::Call(name.to_ascii_uppercase(), self.list(")")?)),
            Token::Name(name) => Ok(Expr::Id(name.clone())),
            Token::Sign("[") => Ok(Expr::Array(self.list("]")?)),
            Token::Sign("(") => {
                let inner = self.binary(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            token => Err(unexpected(token)),
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, MathError> {
        let mut items = Vec::new();
        if self.take(end) {
            return Ok(items);
        }
        loop {
            items.push(self.binary(0)?);
            if self.take(end) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Sign(first)) if *first == sign);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), MathError> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.tokens.first().map_or_else(|| MathError::new(format!("'{sign}' is missing at the end")), unexpected))
    }
}

fn unexpected(token: &Token) -> MathError {
    let text = match token {
        Token::Number(number) => number.to_string(),
        Token::Name(name) => name.clone(),
        Token::Text(text) => format!("\"{text}\""),
        Token::Sign(sign) => (*sign).to_owned(),
    };
    MathError::new(format!("unexpected '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With parentheses around everything.
    fn show(expr: &Expr) -> String {
        let list = |items: &[Expr]| items.iter().map(show).collect::<Vec<_>>().join(",");
        match expr {
            Expr::Number(number) => number.to_string(),
            Expr::Id(id) => id.clone(),
            Expr::Text(text) => format!("'{text}'"),
            Expr::Array(items) => format!("[{}]", list(items)),
            Expr::Negate(inner) => format!("(-{})", show(inner)),
            Expr::Binary(op, a, b) => format!("({} {op:?} {})", show(a), show(b)),
            Expr::Call(name, items) => format!("{name}({})", list(items)),
        }
    }

    #[test]
    fn operators_bind_as_in_arithmetic() {
        for (text, tree) in [
            ("m1+m2*3", "(m1 Add (m2 Multiply 3))"),
            ("a-b-c", "((a Subtract b) Subtract c)"),
            ("(a-b)/c", "((a Subtract b) Divide c)"),
            ("-a^2", "(-(a Power 2))"),
            ("2*-a", "(2 Multiply (-a))"),
            ("1e3 + .5", "(1000 Add 0.5)"),
            ("2em", "unexpected 'em'"),
            ("a > 1 AND b <= 2 || c", "(((a Greater 1) And (b LessOrEqual 2)) Or c)"),
            ("SUM([m1, m2])", "SUM([m1,m2])"),
            ("fill(METRICS(\"errors\"), 0)", "FILL(METRICS('errors'),0)"),
            ("100*(m1/m2)", "(100 Multiply (m1 Divide m2))"),
        ] {
            assert_eq!(parse(text).map_or_else(|e| e.to_string(), |e| show(&e)), tree, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for (bad, why) in [
            ("", "it ends too early"),
            ("m1 +", "it ends too early"),
            ("m1 m2", "unexpected 'm2'"),
            ("(m1", "')' is missing at the end"),
            ("SUM(m1", "',' is missing at the end"),
            ("[m1; m2]", "unexpected character ';'"),
            ("m1 = 1", "unexpected '='"),
            ("\"open", "a quote is not closed"),
            ("1.2.3", "'1.2.3' is no number"),
            (&"(".repeat(10_000), "it is nested more than 32 deep"),
            ("é", "unexpected character 'é'"),
        ] {
            assert_eq!(parse(bad).map(|_| ()).map_err(|e| e.to_string()), Err(why.to_owned()), "{bad:.20}");
        }
    }
}
