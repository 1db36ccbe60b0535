//! From an image file to what the model looks at: read, made grey, and brought to the model's size. What a
//! grey value means to the model is the model's own affair, in its crate.

use std::path::Path;

use digits::{Data, Image};
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageError, ImageReader};

/// The program's result: an error is a sentence for its user.
pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Reads an image. One of the model's size is taken as it is; another one is scaled to fit, and paper added
/// to make it square.
pub fn read(path: &Path, data: Data, invert: bool) -> Result<Image> {
    let picture = ImageReader::open(path)?.with_guessed_format()?.decode().map_err(|error| match error {
        ImageError::Unsupported(_) => {
            format!("it is not an image that this program can read (PNG, JPEG, PNM): {error}")
        }
        other => other.to_string(),
    })?;
    // What is transparent shows the paper.
    let paper = if invert { u8::MAX } else { 0 };
    let mut grey = grey(&picture, paper);
    if invert {
        imageops::invert(&mut grey);
    }
    Ok(Image::from_grey(data, &fitted(grey, u32::try_from(data.side())?)?)?)
}

fn grey(picture: &DynamicImage, paper: u8) -> GrayImage {
    if !picture.color().has_alpha() {
        return picture.to_luma8();
    }
    let mut grey = GrayImage::new(picture.width(), picture.height());
    for (to, from) in grey.pixels_mut().zip(picture.to_luma_alpha8().pixels()) {
        let [luma, alpha] = from.0.map(u32::from);
        let mixed = (luma * alpha + u32::from(paper) * (255 - alpha) + 127) / 255;
        to.0 = [u8::try_from(mixed).unwrap_or(u8::MAX)];
    }
    grey
}

/// The image in a square of so many pixels on a side, in its middle, on paper (0).
fn fitted(grey: GrayImage, side: u32) -> Result<Vec<u8>> {
    let (width, height) = grey.dimensions();
    if width == 0 || height == 0 {
        return Err("it has no pixels".into());
    }
    if (width, height) == (side, side) {
        return Ok(grey.into_raw());
    }
    // The longer side fills the square; the other one keeps its share of it.
    let share = |length: u32| {
        let scaled = u64::from(length) * u64::from(side) / u64::from(width.max(height));
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    let scaled = imageops::resize(&grey, share(width), share(height), FilterType::Triangle);
    let mut square = GrayImage::new(side, side);
    let (left, top) = ((side - scaled.width()) / 2, (side - scaled.height()) / 2);
    imageops::replace(&mut square, &scaled, left.into(), top.into());
    Ok(square.into_raw())
}

#[cfg(test)]
mod tests {
    use image::{Luma, LumaA};

    use super::*;

    fn gradient(width: u32, height: u32) -> GrayImage {
        GrayImage::from_fn(width, height, |x, y| Luma([(x * 7 + y * 13) as u8]))
    }

    #[test]
    fn an_image_of_the_models_size_is_not_touched() {
        let image = gradient(8, 8);
        assert_eq!(fitted(image.clone(), 8).unwrap(), image.into_raw());
    }

    #[test]
    fn a_larger_image_is_averaged_and_a_smaller_one_fills_the_square() {
        let squares =
            GrayImage::from_fn(64, 64, |x, y| Luma([if (x / 32 + y / 32) % 2 == 0 { 200 } else { 0 }]));
        let small = fitted(squares, 8).unwrap();
        assert_eq!((small[0], small[7], small[8 * 7], small[63]), (200, 0, 0, 200));
        assert_eq!(fitted(GrayImage::from_pixel(1, 1, Luma([9])), 28).unwrap(), vec![9; 28 * 28]);
    }

    #[test]
    fn an_image_that_is_not_square_keeps_its_shape_in_the_middle() {
        let tall = fitted(GrayImage::from_pixel(20, 40, Luma([255])), 8).unwrap();
        for row in tall.chunks(8) {
            assert_eq!(row, [0, 0, 255, 255, 255, 255, 0, 0]);
        }
        // A line so thin that none of its pixels would be left.
        let line = fitted(GrayImage::from_pixel(1000, 1, Luma([255])), 8).unwrap();
        assert_eq!(line.iter().filter(|grey| **grey == 255).count(), 8);
    }

    #[test]
    fn what_is_transparent_is_paper() {
        let clear = DynamicImage::ImageLumaA8(image::GrayAlphaImage::from_fn(2, 1, |x, _| {
            LumaA(if x == 0 { [0, 0] } else { [90, 255] })
        }));
        assert_eq!(grey(&clear, 255).into_raw(), [255, 90]);
        assert_eq!(grey(&clear, 0).into_raw(), [0, 90]);
    }
}
