//! What a sweep over learning rates has found: the losses, and the rate that follows from them.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use super::curve_svg;
use super::result_file::write;
use super::sweep_point::SweepPoint;
use crate::error::Result;

/// The fewest losses that a suggestion is taken from.
const FEWEST: usize = 10;
/// A slope is that of a line through this part of the losses on each side,
const ON_A_SIDE: usize = 8;
/// and at least through this number.
const FEWEST_ON_A_SIDE: usize = 2;
/// The loss falls if the slope of the line through all of it, up to the lowest, is this multiple of its
/// standard error: batches differ.
const CERTAIN: f64 = 3.0;

/// How a sweep has ended. [`LearningRateSweep::suggestion`] uses the losses up to there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SweepEnd {
    /// At the highest rate.
    AtTheHighest,
    /// At this rate the smoothed loss was far above the lowest one.
    Diverged {
        /// The rate.
        learning_rate: f64,
    },
    /// At this rate the loss was infinite or NaN.
    NotFinite {
        /// The rate.
        learning_rate: f64,
    },
}

/// Why a sweep suggests no rate: see [`LearningRateSweep::suggestion`]. `Display` says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuggestion {
    /// There are too few losses.
    #[error(
        "only {losses} losses are finite and below divergence, and {FEWEST} are needed: begin at a lower rate, or take more steps"
    )]
    TooFewLosses {
        /// How many there are.
        losses: usize,
    },
    /// The loss falls nowhere.
    #[error("the loss falls at no rate: look at the curve, and at the data and the loss of the model")]
    NeverFalls,
}

/// The losses of a sweep over learning rates, in the order of the rates. See
/// [`Trainer::find_learning_rate`](crate::Trainer::find_learning_rate).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LearningRateSweep {
    /// The rates that were tried.
    pub rates: Vec<SweepPoint>,
    /// How it ended.
    pub end: SweepEnd,
}

impl LearningRateSweep {
    /// The rate at which the loss falls most from step to step, as in the finders of Lightning and fastai.
    /// Those take the difference of two smoothed losses, which follows single batches at the beginning and
    /// lags behind later. Here it is the slope of a line through the losses of a quarter of the sweep, around
    /// each rate up to the lowest of these lines.
    ///
    /// # Errors
    ///
    /// Why there is none.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn use_it(sweep: burn_trainer::finders::LearningRateSweep) {
    /// match sweep.suggestion() {
    ///     Ok(rate) => println!("{rate:.1e}"),
    ///     Err(reason) => println!("no suggestion, because {reason}"),
    /// }
    /// # }
    /// ```
    pub fn suggestion(&self) -> Result<f64, NoSuggestion> {
        let finite: Vec<&SweepPoint> = self.rates.iter().take_while(|rate| rate.loss.is_finite()).collect();
        if finite.len() < FEWEST {
            return Err(NoSuggestion::TooFewLosses { losses: finite.len() });
        }
        let side = (finite.len() / ON_A_SIDE).max(FEWEST_ON_A_SIDE);
        let line = |range: RangeInclusive<usize>| {
            let losses: Vec<f64> = finite[range].iter().map(|rate| rate.loss).collect();
            Line::through(&losses)
        };
        let around = |center: usize| line(center - side..=center + side);
        // Where the line is lowest, not a single loss: the smoothed loss begins with that of the first batch.
        let centers = side..finite.len() - side;
        let last = { centers }.min_by(|one, other| around(*one).mean.total_cmp(&around(*other).mean));
        let last = last.unwrap_or(side);
        let fall = line(0..=last);
        let steepest = (side..=last)
            .map(|center| (center, around(center).slope))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
            .filter(|(_, slope)| *slope < 0.0 && fall.slope < -CERTAIN * fall.error);
        steepest.map(|(center, _)| finite[center].learning_rate).ok_or(NoSuggestion::NeverFalls)
    }

    /// The losses as CSV: `learning_rate,loss,smoothed_loss`, a line for each rate.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = "learning_rate,loss,smoothed_loss\n".to_owned();
        for SweepPoint { learning_rate, loss, smoothed_loss } in &self.rates {
            text.push_str(&format!("{learning_rate},{loss},{smoothed_loss}\n"));
        }
        text
    }

    /// The curve as a picture: an SVG of 640 x 400.
    #[must_use]
    pub fn to_svg(&self) -> String {
        curve_svg::draw(&self.rates, self.suggestion().ok())
    }

    /// Writes [`to_csv`](Self::to_csv) to a file, which is replaced if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when it cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        write(path.as_ref(), &self.to_csv())
    }

    /// Writes [`to_svg`](Self::to_svg) to a file, which is replaced if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when it cannot be written.
    pub fn write_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        write(path.as_ref(), &self.to_svg())
    }
}

impl fmt::Display for LearningRateSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suggestion() {
            Ok(rate) => write!(f, "suggested learning rate: {rate:.2e}")?,
            Err(reason) => write!(f, "no learning rate is suggested: {reason}")?,
        }
        write!(f, " ({} rates, ", self.rates.len())?;
        match self.end {
            SweepEnd::AtTheHighest => f.write_str("up to the highest)"),
            SweepEnd::Diverged { learning_rate } => write!(f, "the loss diverges at {learning_rate:.2e})"),
            SweepEnd::NotFinite { learning_rate } => {
                write!(f, "the loss is not finite at {learning_rate:.2e})")
            }
        }
    }
}

/// The line through some losses by least squares.
struct Line {
    mean: f64,
    slope: f64,
    /// The standard error of the slope.
    error: f64,
}

impl Line {
    fn through(losses: &[f64]) -> Self {
        let count = losses.len() as f64;
        let (center, mean) = ((count - 1.0) / 2.0, losses.iter().sum::<f64>() / count);
        let places = || losses.iter().enumerate().map(|(place, loss)| (place as f64 - center, loss - mean));
        let squares: f64 = places().map(|(place, _)| place * place).sum();
        let slope = places().map(|(place, loss)| place * loss).sum::<f64>() / squares;
        let rest: f64 = places().map(|(place, loss)| (loss - slope * place).powi(2)).sum();
        Self { mean, slope, error: (rest / (count - 2.0) / squares).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(losses: impl IntoIterator<Item = f64>) -> LearningRateSweep {
        let rates = losses.into_iter().enumerate().map(|(step, loss)| SweepPoint {
            learning_rate: 1e-6 * 1.2_f64.powi(step as i32),
            loss,
            smoothed_loss: loss,
        });
        LearningRateSweep { rates: rates.collect(), end: SweepEnd::AtTheHighest }
    }

    #[test]
    fn the_rate_of_the_steepest_descent_is_suggested() {
        // It falls around step 40, and rises after 60. Batches differ.
        let loss = |step: u32| {
            let step = f64::from(step);
            2.0 - 1.0 / (1.0 + (-(step - 40.0) / 3.0).exp()) + ((step - 60.0).max(0.0) / 10.0).powi(2)
        };
        let smooth = sweep((0..80).map(loss));
        assert_eq!(smooth.suggestion(), Ok(smooth.rates[40].learning_rate));
        let noise = |step: u32| 0.2 * (f64::from(step * step % 17) / 17.0 - 0.5);
        let sweep = sweep((0..80).map(|step| loss(step) + noise(step)));
        let found = sweep.suggestion().unwrap();
        assert!(found >= sweep.rates[35].learning_rate && found <= sweep.rates[45].learning_rate, "{sweep}");
        assert!(sweep.to_string().starts_with("suggested learning rate: "), "{sweep}");
    }

    #[test]
    fn without_enough_losses_or_a_fall_there_is_a_reason() {
        assert_eq!(sweep([]).suggestion(), Err(NoSuggestion::TooFewLosses { losses: 0 }));
        assert_eq!(
            sweep([3.0, 2.0, 1.0, 0.5, 0.2]).suggestion(),
            Err(NoSuggestion::TooFewLosses { losses: 5 })
        );
        assert_eq!(sweep((0..30).map(f64::from)).suggestion(), Err(NoSuggestion::NeverFalls));
        assert_eq!(sweep([1.0; 30]).suggestion(), Err(NoSuggestion::NeverFalls));
        let noise = (0..100).map(|step| 1.0 + f64::from(step * step % 17) / 17.0);
        assert_eq!(sweep(noise).suggestion(), Err(NoSuggestion::NeverFalls));
        let cut = sweep([2.0, 1.9, f64::NAN].into_iter().chain([1.0; 20]));
        assert_eq!(cut.suggestion(), Err(NoSuggestion::TooFewLosses { losses: 2 }));
        assert!(cut.to_string().contains("begin at a lower rate"), "{cut}");
    }

    #[test]
    fn csv_has_a_line_for_each_rate() {
        let csv = sweep([0.5, f64::NAN]).to_csv();
        assert_eq!(csv, "learning_rate,loss,smoothed_loss\n0.000001,0.5,0.5\n0.0000012,NaN,NaN\n");
    }
}
