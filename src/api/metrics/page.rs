//! Writes metrics: one family after the other, each with its name, unit, help text, and samples.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// No labels.
pub(super) const NONE: [(&str, &str); 0] = [];
/// The unit of bytes, which the name ends with.
pub(super) const BYTES: Option<&Unit> = Some(&Unit::Bytes);
/// The unit of seconds, which the name ends with.
pub(super) const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

/// The page of metrics that the families are written to.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Page<'a> {
        Page(encoder)
    }

    /// Writes a gauge, which may rise and fall. The name is without prefix and unit.
    pub(super) fn gauge<L, V>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: EncodeGaugeValue,
    {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// Writes a counter, which only rises while the process that counts lives. The encoder appends `_total`
    /// to the name.
    pub(super) fn counter<L, V>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: EncodeCounterValue,
    {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }

    /// Writes a histogram of durations: for each set of labels the sum, and the number in each bucket, which
    /// is up to its bound and above the previous one.
    pub(super) fn histogram<L, B>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64, B)>,
    ) -> fmt::Result
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

    /// Writes information in labels. The encoder appends `_info` to the name.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }
}
