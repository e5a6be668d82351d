//! Figures, medians, and the table they are printed in.

use anyhow::Result;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    None,
    Below(f64),
    AtLeast(f64),
    /// At least this many times the peer's.
    TimesPeer(f64),
}

/// One figure of Standfast, and its peers'.
#[derive(Debug)]
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub ours: f64,
    pub target: Target,
    pub peers: Vec<(&'static str, f64)>,
}

/// Something that is measured once a round.
pub struct Subject<'a> {
    pub name: &'static str,
    pub measure: Box<dyn FnMut() -> Result<f64> + 'a>,
}

/// The median of each subject's figures; they take turns.
pub fn medians(rounds: usize, mut subjects: Vec<Subject>) -> Result<Vec<(&'static str, f64)>> {
    let mut figures = vec![Vec::new(); subjects.len()];
    for _ in 0..rounds {
        for (subject, figures) in subjects.iter_mut().zip(&mut figures) {
            figures.push((subject.measure)()?);
        }
    }
    Ok(subjects.iter().zip(figures).map(|(subject, figures)| (subject.name, median(figures))).collect())
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

/// A row of medians, of which the first is Standfast's.
pub fn row(what: impl Into<String>, unit: &'static str, target: Target, figures: Vec<(&'static str, f64)>) -> Row {
    let mut figures = figures.into_iter();
    let ours = figures.next().map_or(f64::NAN, |(_, figure)| figure);
    Row { what: what.into(), unit, ours, target, peers: figures.collect() }
}

/// Prints the rows as a Markdown table, a line for each peer.
pub fn print(rows: &[Row]) {
    println!("\n| what | unit | Standfast | target | peer | peer's | Standfast / peer |");
    println!("|---|---|---:|---:|---|---:|---:|");
    for row in rows {
        let ours = number(row.ours);
        let head = format!("| {} | {} | {ours} | {}", row.what, row.unit, target(row.target));
        if row.peers.is_empty() {
            println!("{head} | | | |");
        }
        for (i, (peer, figure)) in row.peers.iter().enumerate() {
            let head = if i == 0 { head.clone() } else { "| | | | ".to_owned() };
            println!("{head} | {peer} | {} | {:.2} |", number(*figure), row.ours / figure);
        }
    }
    println!();
}

fn number(figure: f64) -> String {
    if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.1}") }
}

fn target(target: Target) -> String {
    match target {
        Target::None => String::new(),
        Target::Below(limit) => format!("< {limit}"),
        Target::AtLeast(limit) => format!(">= {limit}"),
        Target::TimesPeer(times) => format!(">= {times} x peer"),
    }
}
