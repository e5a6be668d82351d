//! Metric math: arithmetic over the series of other queries. Pure.
//!
//! Owns the language (`parse`), what it computes (`eval`, `functions`, `shape`) and the language of SEARCH (`search`). A function that CloudWatch has and that is not here is
//! refused by its name.

mod eval;
mod functions;
mod parse;
pub mod search;
mod shape;

use std::collections::BTreeMap;
use std::fmt;

pub use self::eval::{Line, Of, Results, Value, eval};
pub use self::parse::{Expr, parse};

/// Values by time, in seconds.
pub type Points = BTreeMap<i64, f64>;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MathError(String);

impl MathError {
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for MathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Expr {
    /// Calls `each` with every id that the expression names.
    pub fn ids<'a>(&'a self, each: &mut dyn FnMut(&'a str)) {
        match self {
            Expr::Number(_) | Expr::Text(_) => {}
            Expr::Id(id) => each(id),
            Expr::Array(items) | Expr::Call(_, items) => items.iter().for_each(|item| item.ids(each)),
            Expr::Negate(inner) => inner.ids(each),
            Expr::Binary(_, a, b) => {
                a.ids(each);
                b.ids(each);
            }
        }
    }

    /// Calls `each` with every function and its arguments.
    pub fn calls<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [Expr])) {
        match self {
            Expr::Number(_) | Expr::Text(_) | Expr::Id(_) => {}
            Expr::Call(name, items) => {
                each(name, items);
                items.iter().for_each(|item| item.calls(each));
            }
            Expr::Array(items) => items.iter().for_each(|item| item.calls(each)),
            Expr::Negate(inner) => inner.calls(each),
            Expr::Binary(_, a, b) => {
                a.calls(each);
                b.calls(each);
            }
        }
    }

    /// Whether it asks for all metrics of the request.
    pub fn uses_metrics(&self) -> bool {
        let mut uses = false;
        self.calls(&mut |name, _| uses |= name == "METRICS");
        uses
    }
}
