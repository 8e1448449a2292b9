//! What came out: a table for the README, and JSON.

use serde::Serialize;

/// One comparison.
#[derive(Serialize)]
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) peer: String,
    /// Each round's figure.
    pub(crate) quipu_rounds: Vec<f64>,
    pub(crate) peer_rounds: Vec<f64>,
    pub(crate) quipu: f64,
    pub(crate) peer_figure: f64,
    /// Quipu's median over the peer's.
    pub(crate) ratio: f64,
    /// What the ratio should at least be.
    pub(crate) target: f64,
    /// What was run, to run it alone.
    pub(crate) command: String,
}

impl Comparison {
    pub(crate) fn reached(&self) -> bool {
        self.ratio >= self.target
    }
}

/// The middle one; 0 of none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Markdown.
pub(crate) fn markdown(comparisons: &[Comparison]) -> String {
    let mut text = String::from(
        "| measured | Quipu | peer | peer's figure | ratio | at least |\n|---|---:|---|---:|---:|---:|\n",
    );
    for c in comparisons {
        let Comparison {
            name,
            unit,
            peer,
            quipu,
            peer_figure,
            ratio,
            target,
            ..
        } = c;
        let mark = if c.reached() { "" } else { " (missed)" };
        text.push_str(&format!(
            "| {name} | {quipu:.0} {unit} | {peer} | {peer_figure:.0} {unit} | {:.0}% | {:.0}%{mark} |\n",
            ratio * 100.0,
            target * 100.0
        ));
    }
    text
}
