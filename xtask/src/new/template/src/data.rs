//! The points to train on: two spirals, computed here. Put your own data in their place.

use std::f32::consts::{PI, TAU};
use std::ops::Range;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::model::point_tensor;

/// How far a point lies from its spiral's line at most, as a share of the spirals' distance from each other.
const NOISE: f32 = 0.3;

/// A point, and the spiral that it lies on.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// x and y, from -1 to 1.
    pub position: [f32; 2],
    /// 0 or 1.
    pub spiral: i64,
}

/// Points for a training step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Shape `[batch, 2]`.
    pub points: Tensor<2>,
    /// Shape `[batch]`.
    pub spirals: Tensor<1, Int>,
}

/// Puts points into tensors.
#[derive(Debug, Clone, Copy)]
pub struct PointBatcher;

impl Batcher<Point, Batch> for PointBatcher {
    fn batch(&self, items: Vec<Point>, device: &Device) -> Batch {
        let positions: Vec<_> = items.iter().map(|item| item.position).collect();
        let spirals: Vec<_> = items.iter().map(|item| item.spiral).collect();
        let count = items.len();
        Batch {
            points: point_tensor(&positions, device),
            spirals: Tensor::from_data(TensorData::new(spirals, [count]), device),
        }
    }
}

/// The points to train on.
pub fn training() -> InMemDataset<Point> {
    InMemDataset::new(points(0..2000))
}

/// Other points of the same spirals, to validate with.
pub fn validation() -> InMemDataset<Point> {
    InMemDataset::new(points(2000..2500))
}

/// Points of both spirals in turn. The same index always gives the same point.
fn points(indices: Range<u16>) -> Vec<Point> {
    indices.map(point).collect()
}

fn point(index: u16) -> Point {
    // Multiples of these fractions spread evenly, without a random generator.
    let along = (f32::from(index) * 0.618_034).fract();
    let across = (f32::from(index) * 0.754_878).fract() - 0.5;
    let spiral = i64::from(index % 2);
    // A turn around the centre, half a turn apart from the other spiral.
    let angle = along * TAU + if spiral == 0 { 0.0 } else { PI };
    let radius = 0.1 + 0.8 * along + NOISE * across * 0.4;
    Point {
        position: [radius * angle.cos(), radius * angle.sin()],
        spiral,
    }
}
