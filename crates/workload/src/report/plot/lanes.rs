//! A lane for each kind of fault.

use crate::report::timeline::Timeline;

/// Colours that differ for everybody's eyes (Okabe and Ito's, without the blue of the data).
const COLORS: &[&str] = &[
    "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#6a3d9a", "#7f5539", "#4a7c59", "#e07a5f",
    "#5c677d",
];

/// The kinds of faults of a run, in the order of their first coming.
pub(super) struct Kinds {
    names: Vec<String>,
}

impl Kinds {
    pub(super) fn of(timeline: &Timeline) -> Self {
        let mut names: Vec<String> = Vec::new();
        for span in &timeline.faults {
            if !names.contains(&span.kind) {
                names.push(span.kind.clone());
            }
        }
        Self { names }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Each kind with its colour.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let colors = COLORS.iter().cycle();
        self.names.iter().map(String::as_str).zip(colors.copied())
    }

    /// A kind's lane, from the top, and its colour.
    pub(super) fn place(&self, kind: &str) -> (usize, &'static str) {
        let lane = self.names.iter().position(|name| name == kind).unwrap_or(0);
        (lane, COLORS[lane % COLORS.len()])
    }
}
