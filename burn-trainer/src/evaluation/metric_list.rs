//! The metrics of an evaluation: a tuple of burn's metrics, as `.metrics((..,))` takes it, behind one
//! interface.

use burn::tensor::TensorReadError;
use burn::train::metric::{
    Adaptor, Metric, MetricDefinition, MetricEntry, MetricId, MetricMetadata, Numeric,
};
use burn::train::renderer::MetricState;

/// Numeric metrics that can be computed from a model's output `O`: a tuple of up to 6, `(MeanLoss::new(),)`.
///
/// The [module's page](crate::evaluation) has an example.
pub trait EvaluationMetrics<O> {
    /// The metrics as a list.
    fn into_list(self) -> MetricList<O>;
}

/// The metrics of an evaluation, made from a tuple of them: the [module's page](crate::evaluation) has an
/// example.
pub struct MetricList<O>(pub(super) Vec<Box<dyn EvaluatedMetric<O>>>);

/// One metric.
pub(super) trait EvaluatedMetric<O>: Send {
    fn definition(&self) -> MetricDefinition;

    /// Adds a batch. Returns what a renderer shows.
    fn update(&mut self, output: &O, metadata: &MetricMetadata) -> Result<MetricState, TensorReadError>;

    /// The value over all batches, and what a renderer shows.
    fn finish(&mut self) -> Result<(MetricState, f64), TensorReadError>;
}

struct Computed<M> {
    id: MetricId,
    metric: M,
}

impl<M: Metric> Computed<M> {
    fn new(mut metric: M) -> Self {
        // It can have been used before.
        metric.clear();
        Self { id: MetricId::new(metric.name()), metric }
    }
}

impl<O, M> EvaluatedMetric<O> for Computed<M>
where
    O: Adaptor<M::Input>,
    M: Metric + Numeric,
{
    fn definition(&self) -> MetricDefinition {
        MetricDefinition::new(self.id.clone(), &self.metric)
    }

    fn update(&mut self, output: &O, metadata: &MetricMetadata) -> Result<MetricState, TensorReadError> {
        let entry = self.metric.update(&output.adapt(), metadata)?;
        Ok(MetricState::Numeric(MetricEntry::new(self.id.clone(), entry), self.metric.value()))
    }

    fn finish(&mut self) -> Result<(MetricState, f64), TensorReadError> {
        let entry = self.metric.compute()?;
        let end = self.metric.final_value();
        let value = end.current();
        Ok((MetricState::Numeric(MetricEntry::new(self.id.clone(), entry), Some(end)), value))
    }
}

macro_rules! tuple {
    ($($M:ident),*) => {
        impl<O, $($M),*> EvaluationMetrics<O> for ($($M,)*)
        where
            $(O: Adaptor<$M::Input>, $M: Metric + Numeric + 'static,)*
        {
            #[allow(non_snake_case)]
            fn into_list(self) -> MetricList<O> {
                let ($($M,)*) = self;
                MetricList(vec![$(Box::new(Computed::new($M)),)*])
            }
        }
    };
}

tuple!(M1);
tuple!(M1, M2);
tuple!(M1, M2, M3);
tuple!(M1, M2, M3, M4);
tuple!(M1, M2, M3, M4, M5);
tuple!(M1, M2, M3, M4, M5, M6);
