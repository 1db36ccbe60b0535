//! What one step does to one element: the operations of burn's `Adam` and `AdamW`, in their order, each
//! rounded to `f32` as there.

use burn::optim::{AdamConfig, AdamWConfig, LearningRate};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One of the two optimizers, with its settings.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// `burn-optim/src/optim/adam.rs`. The weight decay is added to the gradient, times its penalty.
    Adam { moments: Decays, penalty: Option<f32> },
    /// `burn-optim/src/optim/adamw.rs`. The weight decay acts on the parameter.
    AdamW { moments: Decays, weight_decay: f32 },
}

/// How fast the moments forget, and what keeps the denominator from being zero.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Decays {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
}

/// The fields of burn's configurations, which are private there and public in what they serialise to.
#[derive(Deserialize)]
struct Fields {
    #[serde(flatten)]
    moments: Decays,
    amsgrad: bool,
}

#[derive(Deserialize)]
struct AdamFields {
    #[serde(flatten)]
    both: Fields,
    weight_decay: Option<Penalty>,
}

#[derive(Deserialize)]
struct Penalty {
    penalty: f32,
}

#[derive(Deserialize)]
struct AdamWFields {
    #[serde(flatten)]
    both: Fields,
    weight_decay: f32,
    cautious_weight_decay: bool,
}

/// `None` if burn's configuration has other fields than those that are known here.
fn fields<T: DeserializeOwned>(config: &impl serde::Serialize) -> Option<T> {
    serde_json::from_value(serde_json::to_value(config).ok()?).ok()
}

impl Rule {
    /// `None` for what is left to burn.
    pub fn of_adam(config: &AdamConfig) -> Option<Self> {
        let AdamFields { both: Fields { moments, amsgrad }, weight_decay } = fields(config)?;
        (!amsgrad).then_some(Self::Adam { moments, penalty: weight_decay.map(|decay| decay.penalty) })
    }

    /// `None` for what is left to burn.
    pub fn of_adam_w(config: &AdamWConfig) -> Option<Self> {
        let AdamWFields { both: Fields { moments, amsgrad }, weight_decay, cautious_weight_decay } =
            fields(config)?;
        (!amsgrad && !cautious_weight_decay).then_some(Self::AdamW { moments, weight_decay })
    }

    /// Updates elements that lie one behind the other: parameters and moments in place.
    ///
    /// `time` is the number of this step, from 1.
    pub fn update(
        &self,
        rate: LearningRate,
        time: usize,
        [parameters, first, second]: [&mut [f32]; 3],
        gradients: &[f32],
    ) {
        let (Self::Adam { moments, .. } | Self::AdamW { moments, .. }) = self;
        let Decays { beta_1, beta_2, epsilon } = *moments;
        let (factor_1, factor_2) = (1.0 - beta_1, 1.0 - beta_2);
        // burn's own conversion, of a number of steps below 2^31.
        let time = time as i32;
        let (correction_1, correction_2) = (1.0 - beta_1.powi(time), 1.0 - beta_2.powi(time));
        let rate_of_element = rate as f32;
        let moments_of = |gradient: f32, first: &mut f32, second: &mut f32| {
            *first = *first * beta_1 + gradient * factor_1;
            *second = *second * beta_2 + gradient * gradient * factor_2;
            (*first, *second)
        };
        let elements = parameters.iter_mut().zip(gradients).zip(first.iter_mut().zip(second.iter_mut()));
        match *self {
            Self::Adam { penalty, .. } => {
                let root = correction_2.sqrt();
                let (factor, epsilon) = (root / correction_1, epsilon * root);
                for ((parameter, gradient), (first, second)) in elements {
                    let gradient = penalty.map_or(*gradient, |penalty| *parameter * penalty + gradient);
                    let (first, second) = moments_of(gradient, first, second);
                    *parameter -= first * factor / (second.sqrt() + epsilon) * rate_of_element;
                }
            }
            Self::AdamW { weight_decay, .. } => {
                // A product with one changes no number.
                let kept = (1.0 - rate * f64::from(weight_decay)) as f32;
                for ((parameter, gradient), (first, second)) in elements {
                    let (first, second) = moments_of(*gradient, first, second);
                    let step = first / correction_1 / ((second / correction_2).sqrt() + epsilon);
                    *parameter = *parameter * kept - step * rate_of_element;
                }
            }
        }
    }
}
