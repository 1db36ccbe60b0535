//! The curve of a sweep as an SVG: the losses, the smoothed ones, and the suggestion.
//!
//! A drawing library would bring some ten crates for one polyline on two axes.

use std::fmt::Write;

use super::sweep_point::SweepPoint;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Room around the curve: for numbers and names of the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 55.0;
/// Lines across, between the lowest and the highest loss.
const LINES: usize = 4;
/// Single losses below the smoothed ones make the picture higher by this multiple of the range of those at
/// most.
const MOST_BELOW: f64 = 2.0;

/// The ranges of the axes: logarithms of the rates, and losses.
struct Axes {
    rates: (f64, f64),
    losses: (f64, f64),
}

impl Axes {
    /// `None` without two finite points. The smoothed losses set the height, and lower single ones, which
    /// they lag behind. A single loss can be far above.
    fn of(rates: &[SweepPoint]) -> Option<Self> {
        let finite = || rates.iter().filter(|rate| rate.smoothed_loss.is_finite());
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (low, high) = range(&mut finite().map(|rate| rate.smoothed_loss));
        let single = finite().map(|rate| rate.loss).filter(|loss| loss.is_finite()).fold(low, f64::min);
        let low = single.max(low - MOST_BELOW * (high - low));
        let room = if high > low { (high - low) / 20.0 } else { 0.5 };
        let rates = range(&mut finite().map(|rate| rate.learning_rate.log10()));
        (rates.1 > rates.0).then_some(Self { rates, losses: (low - room, high + room) })
    }

    fn x(&self, rate: f64) -> f64 {
        let (low, high) = self.rates;
        LEFT + (rate.log10() - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    }

    /// Of a loss outside of the range it is outside of the frame, which cuts it off, and not far.
    fn y(&self, loss: f64) -> f64 {
        let (low, high) = self.losses;
        let share = ((loss - low) / (high - low)).clamp(-1.0, 2.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn curve(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let points = points.filter(|(_, loss)| loss.is_finite());
        points.map(|(rate, loss)| format!("{:.1},{:.1} ", self.x(rate), self.y(loss))).collect()
    }
}

/// Draws the losses over the rates.
pub(super) fn draw(rates: &[SweepPoint], suggestion: Option<f64>) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>Loss over learning rate</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    match Axes::of(rates) {
        Some(axes) => draw_curve(&mut svg, &axes, rates, suggestion),
        None => {
            text(&mut svg, (WIDTH / 2.0, HEIGHT / 2.0), "middle", "there are fewer than two finite losses")
        }
    }
    svg + "</svg>\n"
}

fn draw_curve(svg: &mut String, axes: &Axes, rates: &[SweepPoint], suggestion: Option<f64>) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for number in 0..=LINES {
        let loss = axes.losses.0 + (axes.losses.1 - axes.losses.0) * number as f64 / LINES as f64;
        let y = axes.y(loss);
        line(svg, (LEFT, y), (right, y), "#dddddd");
        text(svg, (LEFT - 8.0, y + 4.0), "end", &format!("{loss:.3}"));
    }
    let (low, high) = axes.rates;
    for power in low.ceil() as i32..=high.floor() as i32 {
        let x = axes.x(10_f64.powi(power));
        line(svg, (x, TOP), (x, bottom), "#dddddd");
        text(svg, (x, bottom + 18.0), "middle", &format!("1e{power}"));
    }
    let raw = axes.curve(rates.iter().map(|rate| (rate.learning_rate, rate.loss)));
    let smoothed = axes.curve(rates.iter().map(|rate| (rate.learning_rate, rate.smoothed_loss)));
    // Writing to a text cannot fail.
    let _ = writeln!(
        svg,
        "<clipPath id=\"frame\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/></clipPath>",
        right - LEFT,
        bottom - TOP
    );
    for (points, colour, width) in [(raw, "#b8c4d6", 1), (smoothed, "#1f4e9c", 2)] {
        let _ = writeln!(
            svg,
            "<polyline clip-path=\"url(#frame)\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{}\"/>",
            points.trim_end()
        );
    }
    let title = match suggestion {
        Some(rate) => {
            line(svg, (axes.x(rate), TOP), (axes.x(rate), bottom), "#c0392b");
            format!("suggested learning rate: {rate:.2e}")
        }
        None => "no learning rate is suggested".to_owned(),
    };
    text(svg, (WIDTH / 2.0, TOP - 16.0), "middle", &title);
    text(svg, (WIDTH / 2.0, HEIGHT - 14.0), "middle", "learning rate; dark: smoothed loss, light: loss");
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#333333\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(losses: &[f64]) -> Vec<SweepPoint> {
        let rate = |(step, loss): (usize, &f64)| SweepPoint {
            learning_rate: 1e-5 * 10_f64.powf(step as f64 / 4.0),
            loss: *loss,
            smoothed_loss: *loss,
        };
        losses.iter().enumerate().map(rate).collect()
    }

    #[test]
    fn a_curve_is_cut_at_its_frame_and_shows_the_suggestion() {
        let mut swept = rates(&[2.0, 1.9, 1.5, 1.0, 0.8, 1.2, f64::NAN, 1.3]);
        swept[1].loss = 1e30;
        let svg = draw(&swept, Some(1e-4));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("suggested learning rate: 1.00e-4") && svg.contains(">1e-4</text>"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
        let points: Vec<&str> =
            svg.split("points=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
        for point in points.iter().flat_map(|points| points.split(' ')) {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (-HEIGHT..=HEIGHT * 2.0).contains(&y), "{point}");
        }
        assert_eq!(svg.matches("<polyline clip-path=\"url(#frame)\"").count(), 2, "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn single_losses_below_the_smoothed_ones_are_in_the_picture_if_they_are_not_far() {
        let mut swept = rates(&[2.0, 1.9, 1.8, 1.6, 1.5]);
        (swept[3].loss, swept[4].loss) = (0.9, 0.7);
        assert!((Axes::of(&swept).unwrap().losses.0..1.0).contains(&0.7));
        swept[4].loss = -1e30;
        let (low, high) = Axes::of(&swept).unwrap().losses;
        assert!(low > 0.3 && low < 0.7 && high > 2.0, "{low} {high}");
    }

    #[test]
    fn losses_that_cannot_be_drawn_are_said() {
        for losses in [&[][..], &[1.0], &[f64::NAN, f64::INFINITY]] {
            let svg = draw(&rates(losses), None);
            assert!(svg.contains("fewer than two finite losses") && !svg.contains("polyline"), "{svg}");
        }
        assert!(draw(&rates(&[1.0, 1.0]), None).contains("no learning rate is suggested"));
    }
}
