//! Tables for people: aligned columns, a bold head, colours that whoever prints them may strip.

use std::fmt::Write;

use owo_colors::{OwoColorize, Style};
use unicode_width::UnicodeWidthStr;

/// To which side a column's cells go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Figures.
    Right,
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// With this style.
    pub fn styled(text: impl Into<String>, style: Style) -> Cell {
        Cell { text: text.into(), style }
    }

    /// Green: as it should be.
    pub fn good(text: impl Into<String>) -> Cell {
        Cell::styled(text, Style::new().green())
    }

    /// Yellow: worth a look.
    pub fn notable(text: impl Into<String>) -> Cell {
        Cell::styled(text, Style::new().yellow())
    }

    /// Red: not as it should be.
    pub fn bad(text: impl Into<String>) -> Cell {
        Cell::styled(text, Style::new().red())
    }

    /// Faint: there for completeness.
    pub fn faint(text: impl Into<String>) -> Cell {
        Cell::styled(text, Style::new().dimmed())
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, style: Style::new() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::from(text.to_string())
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// With these heads.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Side)>) -> Table {
        let columns = columns.into_iter().map(|(head, side)| (head.to_string(), side)).collect();
        Table { columns, rows: Vec::new(), indent: 0 }
    }

    /// Names to the left, what belongs to them beside; no heads.
    pub fn pairs() -> Table {
        Table::new([("", Side::Left), ("", Side::Left)])
    }

    /// Each line begins with so many spaces.
    #[must_use]
    pub fn indented(mut self, spaces: usize) -> Table {
        self.indent = spaces;
        self
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Table {
        self.rows.push(cells.into_iter().collect());
        self
    }

    /// One more row of a name and what belongs to it.
    pub fn pair(&mut self, name: &str, value: impl Into<Cell>) -> &mut Table {
        self.row([Cell::faint(name), value.into()])
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with its end.
    pub fn render(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|(head, _)| head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        if self.columns.iter().any(|(head, _)| !head.is_empty()) {
            let bold = Style::new().bold();
            let heads: Vec<Cell> = self.columns.iter().map(|(head, _)| Cell::styled(head.as_str(), bold)).collect();
            self.line(&heads, &widths, &mut text);
        }
        for row in &self.rows {
            self.line(row, &widths, &mut text);
        }
        text
    }

    fn line(&self, cells: &[Cell], widths: &[usize], text: &mut String) {
        // Spaces are kept back until something follows them: no line ends with any.
        let mut spaces = self.indent;
        for (at, ((cell, width), (_, side))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            let fill = width - cell.width();
            spaces += if at == 0 { 0 } else { 2 } + if *side == Side::Right { fill } else { 0 };
            if !cell.text.is_empty() {
                let _ = write!(text, "{:spaces$}{}", "", cell.text.style(cell.style));
                spaces = 0;
            } else {
                spaces += cell.width();
            }
            spaces += if *side == Side::Left { fill } else { 0 };
        }
        text.push('\n');
    }
}

/// A bar of `width` characters for a part from 0 to 1, to an eighth of a character.
pub fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(table: &Table) -> String {
        anstream::adapter::strip_str(&table.render()).to_string()
    }

    #[test]
    fn columns_are_aligned_whatever_their_colours_and_widths() {
        let mut table = Table::new([("name", Side::Left), ("files", Side::Right), ("note", Side::Left)]);
        table.row(["a".into(), Cell::good("1"), "x".into()]);
        table.row(["größer".into(), Cell::bad("12,345"), "".into()]);
        table.row(["日本".into(), "".into(), "y".into()]);
        let expected = "\
name     files  note
a            1  x
größer  12,345
日本            y
";
        assert_eq!(plain(&table), expected);
    }

    #[test]
    fn a_table_of_pairs_has_no_head() {
        let mut table = Table::pairs().indented(2);
        table.pair("data", "./here").pair("ring", "256 partitions");
        assert_eq!(plain(&table), "  data  ./here\n  ring  256 partitions\n");
        assert!(!table.is_empty());
    }

    #[test]
    fn bars_are_as_long_as_their_part() {
        assert_eq!(bar(0.0, 10), "");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(2.0, 4), "████");
        assert_eq!(bar(0.5, 3), "█▌");
    }
}
