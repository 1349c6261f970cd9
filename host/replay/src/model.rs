//! What calls of models used and cost, as it stands in journals and is added up. Money is whole nanodollars, so
//! that sums are exact. It never knows a price.

use serde::{Deserialize, Deserializer, Serialize};

use crate::ModelUsed;

/// Tokens of one call, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of all that was sent, those of the next two included.
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Read from the provider's cache.
    pub cached_tokens: u64,
    /// Written to it.
    pub cache_write_tokens: u64,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It had said all, or came to a text that it should stop at.
    Stop,
    /// It had said as much as it may.
    Length,
    ToolCalls,
    /// It, or whoever watches over it, would not.
    Refused,
    Other,
}

/// What a run's calls of models cost together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Those that were answered.
    pub calls: u64,
    /// Those of them whose price is not known: they are not in the cost.
    pub unpriced_calls: u64,
    pub usage: Usage,
    pub cost_nanousd: u64,
}

impl Usage {
    fn add(&mut self, other: Usage) {
        for (sum, more) in [
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cached_tokens, other.cached_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Spending {
    pub fn add(&mut self, used: &ModelUsed) {
        self.calls = self.calls.saturating_add(1);
        self.usage.add(used.usage);
        match used.cost_nanousd {
            Some(cost) => self.cost_nanousd = self.cost_nanousd.saturating_add(cost),
            None => self.unpriced_calls = self.unpriced_calls.saturating_add(1),
        }
    }

    pub fn is_nothing(&self) -> bool {
        *self == Spending::default()
    }

    /// Of a row that may have been written before there was any: then nothing is left to read.
    pub(crate) fn or_nothing<'de, D: Deserializer<'de>>(row: D) -> Result<Spending, D::Error> {
        Ok(Spending::deserialize(row).unwrap_or_default())
    }
}

impl Finish {
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::Refused => "refused",
            Finish::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests;
