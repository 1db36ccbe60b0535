//! Images as the model looks at them, and how grey values become one. The training data and the programs that
//! use a model go through here, so that the same picture is the same numbers for both.

use burn::tensor::{Device, Tensor, TensorData};

use crate::hparams::Data;

/// The value of a pixel full of ink in the images of 8x8, which have so many levels and paper.
const INK: u8 = 16;

/// One image, row by row, from 0 (paper) to 1 (ink).
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pixels: Vec<f32>,
}

/// Pixels that do not make an image of the size that the model looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model looks at images of {side}x{side} pixels, and {found} pixels are given")]
pub struct PixelCount {
    /// Pixels on one side of the model's images.
    pub side: usize,
    /// How many there are.
    pub found: usize,
}

impl Data {
    /// Pixels on one side of an image.
    #[must_use]
    pub fn side(self) -> usize {
        match self {
            Self::Digits => 8,
            Self::Mnist => 28,
        }
    }

    /// A grey value from 0 (paper) to 255 (ink) as the training data has it.
    fn ink(self, grey: u8) -> f32 {
        match self {
            // The nearest of the levels, so that a training image that was stored in 8 bits comes back as it
            // was.
            Self::Digits => ink_of_level((u16::from(grey) * u16::from(INK) + 127) / 255),
            Self::Mnist => f32::from(grey) / 255.0,
        }
    }
}

impl Image {
    /// An image of the size that the model looks at, [`Data::side`] pixels on each side, from grey values,
    /// row by row. Bright is ink, as in the training data.
    ///
    /// # Errors
    ///
    /// [`PixelCount`] when there are more or fewer.
    pub fn from_grey(data: Data, grey: &[u8]) -> Result<Self, PixelCount> {
        Self::new(data, grey.iter().map(|grey| data.ink(*grey)).collect())
    }

    /// An image from the numbers in `data/digits.csv.gz`, which go from 0 to 16.
    #[cfg(feature = "train")]
    pub(crate) fn from_levels(pixels: &[u8]) -> Result<Self, PixelCount> {
        Self::new(Data::Digits, pixels.iter().map(|level| ink_of_level(u16::from(*level))).collect())
    }

    /// An image of the numbers that the model is given, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`PixelCount`] when there are more or fewer than the model looks at.
    pub fn new(data: Data, pixels: Vec<f32>) -> Result<Self, PixelCount> {
        let side = data.side();
        if pixels.len() == side * side {
            Ok(Self { pixels })
        } else {
            Err(PixelCount { side, found: pixels.len() })
        }
    }

    /// The numbers that the model is given, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// Grey values that [`Image::from_grey`] makes the same image of, to store it in a picture.
    #[must_use]
    pub fn to_grey(&self) -> Vec<u8> {
        // A whole number from 0 to 255, as the pixels go from 0 to 1.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        self.pixels.iter().map(|pixel| (pixel * 255.0).round() as u8).collect()
    }
}

fn ink_of_level(level: u16) -> f32 {
    f32::from(level) / f32::from(INK)
}

/// Images of one size as a tensor `[count, 1, side, side]`.
#[must_use]
pub fn image_tensor(images: &[Image], device: &Device) -> Tensor<4> {
    let count = images.len();
    let side = images.first().map_or(0, |image| image.pixels.len().isqrt());
    let pixels: Vec<f32> = images.iter().flat_map(|image| image.pixels.iter().copied()).collect();
    Tensor::from_data(TensorData::new(pixels, [count, 1, side, side]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_image_stored_in_8_bits_comes_back_to_the_bit() {
        for level in 0..=INK {
            let trained_on = f32::from(level) / 16.0;
            let stored = (f64::from(level) * 255.0 / 16.0).round() as u8;
            assert_eq!(Data::Digits.ink(stored).to_bits(), trained_on.to_bits(), "{level}");
        }
        for grey in 0..=u8::MAX {
            assert_eq!(Data::Mnist.ink(grey).to_bits(), (f32::from(grey) / 255.0).to_bits());
        }
    }

    #[test]
    fn a_grey_value_is_the_nearest_level() {
        for grey in 0..=u8::MAX {
            let nearest = (f64::from(grey) * 16.0 / 255.0).round() / 16.0;
            assert_eq!(f64::from(Data::Digits.ink(grey)), nearest, "{grey}");
        }
    }

    #[test]
    fn an_image_becomes_grey_values_and_comes_back() {
        for data in [Data::Digits, Data::Mnist] {
            let grey: Vec<u8> = (0..data.side() * data.side()).map(|i| (i * 5 % 256) as u8).collect();
            let image = Image::from_grey(data, &grey).unwrap();
            assert_eq!(Image::from_grey(data, &image.to_grey()).unwrap(), image);
        }
    }

    #[test]
    fn another_number_of_pixels_is_an_error_that_says_the_size() {
        let error = Image::from_grey(Data::Digits, &[0; 65]).unwrap_err().to_string();
        assert!(error.contains("8x8") && error.contains("65"), "{error}");
    }
}
