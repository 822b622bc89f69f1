//! One line of the table, and the table.

use std::fmt::Display;

pub(crate) struct Figure {
    pub(crate) row: String,
    pub(crate) measured: String,
    pub(crate) bar: String,
    pub(crate) yardstick: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// Slower or larger than wanted, on this machine at this moment.
    Missed,
    /// Wrong, on every machine.
    Failed,
}

impl Verdict {
    pub(crate) fn bar(met: bool) -> Self {
        if met { Verdict::Met } else { Verdict::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::Failed => "FAILED",
        }
    }
}

impl Figure {
    pub(crate) fn failed(row: &str, bar: &str, why: impl Display) -> Self {
        let (row, bar, yardstick) = (row.to_owned(), bar.to_owned(), String::new());
        // One line of the table, whatever the error looks like.
        let measured = why.to_string().replace(['\n', '\t'], " ");
        Self { row, measured, bar, yardstick, verdict: Verdict::Failed }
    }

    /// From a row's process to the one that prints the table.
    pub(crate) fn to_line(&self) -> String {
        self.cells().join("\t")
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let mut cells = line.split('\t').map(str::to_owned);
        let (row, measured, bar, yardstick) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
        let word = cells.next()?;
        let verdict =
            [Verdict::Met, Verdict::Missed, Verdict::Failed].into_iter().find(|verdict| verdict.word() == word)?;
        Some(Self { row, measured, bar, yardstick, verdict })
    }

    fn cells(&self) -> [&str; 5] {
        [&self.row, &self.measured, &self.bar, &self.yardstick, self.verdict.word()]
    }
}

pub(crate) fn table(figures: &[Figure]) -> String {
    let head = ["row", "measured", "bar", "yardstick", "verdict"];
    let long = |figure: &&Figure| figure.measured.chars().count() > LONGEST;
    let cells = figures.iter().map(|figure| {
        let mut cells = figure.cells();
        if long(&figure) {
            cells[1] = "see below";
        }
        cells
    });
    let lines: Vec<[&str; 5]> = std::iter::once(head).chain(cells).collect();
    let widths: [usize; 5] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if at == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text += &format!("| {} |\n", rules.join(" | "));
        }
    }
    for figure in figures.iter().filter(long) {
        text += &format!("\n{}: {}\n", figure.row, figure.measured);
    }
    text
}

/// What is longer, errors that is, stands below the table.
const LONGEST: usize = 120;
