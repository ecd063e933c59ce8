//! How metrics are written down: one family after the other, each with its name, its unit, what it is, and its samples.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// No labels.
pub(super) const NONE: [(&str, &str); 0] = [];
/// What is measured in bytes: the name ends with it.
pub(super) const BYTES: Option<&Unit> = Some(&Unit::Bytes);
/// What is measured in seconds.
pub(super) const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

/// Takes families.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Page<'a> {
        Page(encoder)
    }

    /// What may become more or less. The name is without prefix and unit.
    pub(super) fn gauge<L, V>(&mut self, name: &str, unit: Option<&Unit>, help: &str, samples: impl IntoIterator<Item = (L, V)>) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: EncodeGaugeValue,
    {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// What only grows, as long as who counts lives. `_total` is put behind the name.
    pub(super) fn counter<L, V>(&mut self, name: &str, unit: Option<&Unit>, help: &str, samples: impl IntoIterator<Item = (L, V)>) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: EncodeCounterValue,
    {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None))
    }

    /// How long things took: for each set of labels the sum, and how many took up to each bound and longer than the one before.
    pub(super) fn histogram<L, B>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, f64, B)>) -> fmt::Result
    where
        L: EncodeLabelSet,
        B: AsRef<[(f64, u64)]>,
    {
        let mut family = self.0.encode_descriptor(name, help, SECONDS, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, sum, buckets)| {
            let count = buckets.as_ref().iter().map(|(_, count)| count).sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, buckets.as_ref(), None)
        })
    }

    /// What is said in words. `_info` is put behind the name.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }
}
