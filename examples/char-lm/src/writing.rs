//! What a model writes: it says how likely each byte is to come next, one is drawn, and so on.

use burn::tensor::{Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

use crate::hparams::{BYTES, InvalidSetting};
use crate::model::{CharLm, Past};

/// The model's weights make no probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's answer is not a number, as if its training had diverged")]
pub struct NotANumber;

/// How bytes are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawing {
    /// Below 1 what is likely becomes likelier, above 1 less so; 0 takes the likeliest byte every time.
    pub temperature: f64,
    /// Draw among so many of the likeliest bytes only.
    pub top_k: Option<usize>,
    /// The same seed gives the same text.
    pub seed: u64,
}

impl Default for Drawing {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: None, seed: 0 }
    }
}

/// The bytes that a model writes after a prompt, without an end.
pub struct Writing<'a> {
    model: &'a CharLm,
    drawing: Drawing,
    random: StdRng,
    /// What the model looks back at.
    text: Vec<u8>,
    past: Past,
}

impl Drawing {
    /// Checks that something can be drawn.
    ///
    /// # Errors
    ///
    /// For a temperature that is negative or not a number, and for drawing among no bytes.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let wrong = |setting, reason: &str| Err(InvalidSetting::new(setting, reason));
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return wrong("temperature", "it must be 0 or above");
        }
        if self.top_k == Some(0) {
            return wrong("top-k", "it must be above 0");
        }
        Ok(())
    }
}

impl CharLm {
    /// Continues a text. The model sees its last bytes, as many as the context has. An empty text counts as
    /// the end of a line.
    ///
    /// # Errors
    ///
    /// Those of [`Drawing::check`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use burn_ckpt::FromCheckpoint;
    /// use char_lm::{CharLm, Drawing};
    ///
    /// let model = CharLm::from_checkpoint("burn_trainer_logs/r1/best", &Device::default())?;
    /// let text: Vec<u8> = model.write(b"In the ", Drawing::default())?.take(100).collect::<Result<_, _>>()?;
    /// println!("{}", String::from_utf8_lossy(&text));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, prompt: &[u8], drawing: Drawing) -> Result<Writing<'_>, InvalidSetting> {
        drawing.check()?;
        let prompt = if prompt.is_empty() { b"\n" } else { prompt };
        let random = StdRng::seed_from_u64(drawing.seed);
        let text = end_of(prompt, self.context());
        Ok(Writing { model: self, drawing, random, text, past: self.no_past() })
    }
}

impl Writing<'_> {
    fn draw(&mut self) -> Result<u8, NotANumber> {
        let context = self.model.context();
        if self.text.len() > context {
            // Every byte moves to another place, and has to be computed there again. So half of the text is
            // dropped at once, and not one byte each time.
            self.text = end_of(&self.text, context.div_ceil(2));
            self.past = self.model.no_past();
        }
        let bytes: Vec<i64> = self.text.iter().map(|byte| i64::from(*byte)).collect();
        let text = TensorData::new(bytes, [1, self.text.len()]);
        let text = Tensor::<2, Int>::from_data(text, &self.model.device());
        let logits: Vec<f32> = self.model.next(text, &mut self.past).into_data().iter::<f32>().collect();
        let byte = drawn(&logits, self.drawing, &mut self.random)?;
        self.text.push(byte);
        Ok(byte)
    }
}

impl Iterator for Writing<'_> {
    type Item = Result<u8, NotANumber>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.draw())
    }
}

/// The last bytes of a text.
fn end_of(text: &[u8], most: usize) -> Vec<u8> {
    text[text.len().saturating_sub(most)..].to_vec()
}

/// One of the bytes, by their logits.
fn drawn(logits: &[f32], drawing: Drawing, random: &mut StdRng) -> Result<u8, NotANumber> {
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(NotANumber);
    }
    let mut candidates: Vec<(u8, f64)> =
        (0..=u8::MAX).zip(logits.iter().map(|logit| f64::from(*logit))).collect();
    // From the likeliest. The sort is stable: of equal ones the first byte comes first.
    candidates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    candidates.truncate(drawing.top_k.unwrap_or(BYTES));
    let (likeliest, highest) = *candidates.first().ok_or(NotANumber)?;
    if drawing.temperature == 0.0 {
        return Ok(likeliest);
    }
    let weights = candidates.iter().map(|(_, logit)| ((logit - highest) / drawing.temperature).exp());
    // The first weight is 1, so that there is something to draw.
    let index = WeightedIndex::new(weights).map_err(|_| NotANumber)?.sample(random);
    Ok(candidates[index].0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::hparams::CharLmConfig;

    fn model() -> CharLm {
        let config = CharLmConfig::new().with_width(Some(32)).with_layers(Some(1)).with_heads(Some(2));
        config.with_context(Some(8)).init(&Device::default())
    }

    fn written(model: &CharLm, prompt: &[u8], drawing: Drawing) -> Vec<u8> {
        model.write(prompt, drawing).unwrap().take(40).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn the_same_seed_writes_the_same_and_another_one_something_else() {
        let model = model();
        let drawing = |seed| Drawing { temperature: 1.0, top_k: None, seed };
        assert_eq!(written(&model, b"a", drawing(1)), written(&model, b"a", drawing(1)));
        assert_ne!(written(&model, b"a", drawing(1)), written(&model, b"a", drawing(2)));
    }

    #[test]
    fn a_long_prompt_counts_by_its_end_and_an_empty_one_is_a_line_end() {
        let model = model();
        let drawing = Drawing::default();
        let long = written(&model, &[b"forgotten: ", &[0xff, 0, 1, 2, 3, 4, 5, 6][..]].concat(), drawing);
        assert_eq!(long, written(&model, &[0xff, 0, 1, 2, 3, 4, 5, 6], drawing));
        assert_eq!(written(&model, b"", drawing), written(&model, b"\n", drawing));
    }

    #[test]
    fn the_likeliest_is_taken_at_temperature_0_and_where_it_is_the_only_candidate() {
        let logits: Vec<f32> = (0..BYTES).map(|byte| if byte == 65 { 3.0 } else { 2.9 }).collect();
        let draw = |temperature, top_k| {
            let drawing = Drawing { temperature, top_k, seed: 0 };
            (0..50).map(|seed| drawn(&logits, drawing, &mut StdRng::seed_from_u64(seed)).unwrap()).collect()
        };
        let all: Vec<Vec<u8>> =
            vec![draw(0.0, None), draw(0.0, Some(9)), draw(5.0, Some(1)), draw(1e-9, None)];
        assert!(all.iter().all(|bytes| bytes.iter().all(|byte| *byte == 65)), "{all:?}");
        let two: Vec<u8> = draw(1.0, Some(2));
        assert!(two.iter().all(|byte| [65, 0].contains(byte)) && two.contains(&0) && two.contains(&65));
    }

    #[test]
    fn bytes_come_as_often_as_the_model_says() {
        // e^2 to e to 1: 66.5 %, 24.5 %, 9.0 %.
        let mut logits = vec![-1e4; BYTES];
        (logits[7], logits[8], logits[9]) = (2.0, 1.0, 0.0);
        let mut random = StdRng::seed_from_u64(0);
        let drawing = Drawing { temperature: 1.0, ..Drawing::default() };
        let mut counts = [0_i32; BYTES];
        for _ in 0..10_000 {
            counts[usize::from(drawn(&logits, drawing, &mut random).unwrap())] += 1;
        }
        for (byte, share) in [(7, 6652), (8, 2447), (9, 900)] {
            assert!((counts[byte] - share).abs() < 200, "{byte}: {}", counts[byte]);
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let model = model();
        for temperature in [-1.0, f64::NAN, f64::INFINITY] {
            let error =
                model.write(b"", Drawing { temperature, ..Drawing::default() }).map(|_| ()).unwrap_err();
            assert!(error.to_string().starts_with("temperature"), "{error}");
        }
        assert!(model.write(b"", Drawing { top_k: Some(0), ..Drawing::default() }).is_err());
        let mut random = StdRng::seed_from_u64(0);
        for logit in [f32::NAN, f32::INFINITY] {
            let logits = vec![logit; BYTES];
            assert_eq!(drawn(&logits, Drawing::default(), &mut random), Err(NotANumber));
        }
    }
}
