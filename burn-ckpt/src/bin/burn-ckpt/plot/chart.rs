//! A chart as lines of text: the curves with their axes, and below a line about each.

use console::{measure_text_width, truncate_str};

use crate::plot::canvas::Canvas;
use crate::plot::curves::{Along, Curve, Point};
use crate::plot::marks::SavedSteps;
use crate::plot::style::Style;
use crate::terminal::figures::{digits_between, number_with};
use crate::terminal::printable::in_one_line;
use crate::terminal::screen::Screen;

/// The size of a chart in a file or a pipe, and on a terminal that does not say its own.
const USUAL_SIZE: (usize, usize) = (80, 24);
/// The least and the most rows of a chart's curves.
const ROWS: (usize, usize) = (2, 30);
/// The least rows where there are several charts.
const SHARED_ROWS: usize = 6;
/// A terminal with fewer columns, or fewer rows, has no numbers at that axis.
const MIN_SIZE: (usize, usize) = (30, 8);
/// Stands at the end of a text that is shortened.
const CUT: &str = "..";

/// A chart of one quantity.
pub struct Chart<'a> {
    pub curves: &'a [&'a Curve],
    pub names_runs: bool,
    pub along: Along,
    pub is_logarithmic: bool,
    pub saved: &'a SavedSteps,
    pub style: Style,
}

/// The values from the lowest to the highest that are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let grown = |range: Option<Self>, value: f64| match range {
            None => Some(Self { low: value, high: value }),
            Some(Self { low, high }) => Some(Self { low: low.min(value), high: high.max(value) }),
        };
        values.filter(|value| value.is_finite()).fold(None, grown)
    }

    /// Where a value is, from 0 to 1. In the middle where all are the same.
    fn part(self, value: f64) -> f64 {
        // Halves, as the difference of the two can be more than any number.
        let all = self.high / 2.0 - self.low / 2.0;
        if all > 0.0 { (value / 2.0 - self.low / 2.0) / all } else { 0.5 }
    }

    fn middle(self) -> f64 {
        self.low / 2.0 + self.high / 2.0
    }
}

impl Chart<'_> {
    /// The lines of this chart, which is one of so many.
    pub fn lines(&self, screen: Screen, charts: usize) -> Vec<String> {
        let (width, height) = (screen.width.unwrap_or(USUAL_SIZE.0), screen.height.unwrap_or(USUAL_SIZE.1));
        let mut lines = match self.ranges() {
            Some((x, y)) => self.drawn(x, y, width, height, charts),
            None => Vec::new(),
        };
        // A file or a pipe takes lines of any length.
        let width = screen.width.unwrap_or(usize::MAX);
        lines.extend(self.curves.iter().enumerate().map(|(place, curve)| self.about(place, curve, width)));
        lines
    }

    /// Whether a value of it can be drawn.
    pub fn has_points(&self) -> bool {
        self.ranges().is_some()
    }

    /// The value that is drawn of one that was logged. It is not finite where nothing is drawn.
    fn scaled(&self, value: f64) -> f64 {
        if self.is_logarithmic { value.ln() } else { value }
    }

    fn ranges(&self) -> Option<(Range, Range)> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let drawn = points().filter(|point| self.scaled(point.value).is_finite());
        let x = Range::of(drawn.map(|point| point.at(self.along)))?;
        Some((x, Range::of(points().map(|point| self.scaled(point.value)))?))
    }

    fn drawn(&self, x: Range, y: Range, width: usize, height: usize, charts: usize) -> Vec<String> {
        let has_numbers = (width >= MIN_SIZE.0, height >= MIN_SIZE.1);
        // The axis, its numbers, the lines about the curves, and the prompt that follows.
        let others = 1 + usize::from(has_numbers.1) + self.curves.len() + 1;
        let least = if charts > 1 { SHARED_ROWS } else { ROWS.0 };
        let rows = (height / charts).saturating_sub(others).clamp(least, ROWS.1);
        let value = |scaled: f64| if self.is_logarithmic { scaled.exp() } else { scaled };
        let digits = digits_between(value(y.low), value(y.high));
        let shown = |scaled: f64| number_with(value(scaled), digits);
        let mut numbers = vec![String::new(); rows];
        if has_numbers.0 {
            (numbers[0], numbers[rows - 1]) = (shown(y.high), shown(y.low));
            if rows > ROWS.0 + 2 && rows % 2 == 1 {
                numbers[rows / 2] = shown(y.middle());
            }
        }
        let margin = numbers.iter().map(String::len).max().unwrap_or(0);
        let columns = width.saturating_sub(margin + 2).max(1);
        let canvas = self.canvas(x, y, columns, rows);
        let side = if self.style.is_unicode { "│" } else { "|" };
        let row = |(number, line): (&String, String)| format!("{number:>margin$} {side}{line}");
        let mut lines: Vec<String> = numbers.iter().zip(canvas.lines()).map(row).collect();
        lines.push(format!("{:margin$} {}", "", self.axis(x, columns)));
        if has_numbers.1 {
            lines.push(truncate_str(&self.below(x, margin + 2, columns), width, CUT).into_owned());
        }
        lines
    }

    fn canvas(&self, x: Range, y: Range, columns: usize, rows: usize) -> Canvas {
        let mut canvas = Canvas::new(columns, rows, self.style);
        // The first curve last: it is the one that was named first.
        for (place, curve) in self.curves.iter().enumerate().rev() {
            let mut before = None;
            for point in &curve.points {
                let value = self.scaled(point.value);
                let here = value.is_finite().then(|| (x.part(point.at(self.along)), y.part(value)));
                if let Some(here) = here {
                    canvas.line(before.unwrap_or(here), here, place);
                }
                before = here;
            }
        }
        canvas
    }

    /// The lower axis, with the checkpoints.
    fn axis(&self, x: Range, columns: usize) -> String {
        let [corner, line, saved, best] = self.axis_letters();
        let mut letters = vec![line; columns];
        for (steps, letter) in [(&self.saved.all, saved), (&self.saved.best, best)] {
            let parts =
                steps.iter().map(|step| x.part(*step as f64)).filter(|part| (0.0..=1.0).contains(part));
            parts.for_each(|part| letters[(part * (columns - 1) as f64).round() as usize] = letter);
        }
        std::iter::once(corner).chain(letters).collect()
    }

    fn axis_letters(&self) -> [char; 4] {
        if self.style.is_unicode { ['└', '─', '┬', '▲'] } else { ['+', '-', '\'', '^'] }
    }

    /// The numbers below the axis, and what they are of.
    fn below(&self, x: Range, indent: usize, columns: usize) -> String {
        let [_, _, saved, best] = self.axis_letters();
        let mut texts = vec![match self.along {
            Along::Step => "step".to_owned(),
            Along::Epoch => "epoch".to_owned(),
        }];
        if !self.saved.all.is_empty() {
            texts.push(format!("{saved} checkpoint"));
        }
        if !self.saved.best.is_empty() {
            texts.push(format!("{best} best"));
        }
        let (first, last) = (x.low.to_string(), x.high.to_string());
        let room = columns.saturating_sub(first.len() + last.len());
        // Where there is no room for all, the marks are explained last, and the numbers stay.
        let middle = |texts: &[String]| texts.join("  ");
        let fits = |texts: &[String]| measure_text_width(&middle(texts)) + 2 <= room;
        while !texts.is_empty() && !fits(&texts) {
            texts.pop();
        }
        let middle = middle(&texts);
        match measure_text_width(&first) + 1 + measure_text_width(&last) <= columns {
            true => format!("{:indent$}{first}{middle:^room$}{last}", ""),
            false => format!("{:indent$}{last:>columns$}", ""),
        }
    }

    /// What a curve is, and its numbers.
    fn about(&self, place: usize, curve: &Curve, width: usize) -> String {
        let sample = self.style.sample(place);
        let room = width.saturating_sub(measure_text_width(&sample) + 1);
        if room <= CUT.len() {
            return self.style.colored(&sample, place);
        }
        let text = format!("{}  {}", in_one_line(&curve.label(self.names_runs)), self.figures(curve));
        let text = truncate_str(text.trim_end(), room, CUT).into_owned();
        format!("{} {text}", self.style.colored(&sample, place))
    }

    fn figures(&self, curve: &Curve) -> String {
        let finite = || curve.points.iter().filter(|point| point.value.is_finite());
        let by_value = |a: &&Point, b: &&Point| a.value.total_cmp(&b.value);
        let range = Range::of(curve.points.iter().map(|point| point.value));
        let digits = range.map_or(0, |Range { low, high }| digits_between(low, high));
        let number = |value: f64| number_with(value, digits);
        let at = |point: &Point| format!("{} at {}", number(point.value), point.at(self.along));
        let mut figures: Vec<String> = Vec::new();
        figures.extend(curve.points.last().map(|point| format!("last {}", number(point.value))));
        let not_finite = curve.points.len() - finite().count();
        if not_finite > 0 {
            figures.push(format!("{not_finite} not finite"));
        }
        let without = finite().filter(|point| !self.scaled(point.value).is_finite()).count();
        if without > 0 {
            figures.push(format!("{without} without a logarithm"));
        }
        figures.extend(finite().min_by(by_value).map(|point| format!("lowest {}", at(point))));
        figures.extend(finite().max_by(by_value).map(|point| format!("highest {}", at(point))));
        figures.join(", ")
    }
}
