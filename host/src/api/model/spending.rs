//! What calls of models used and cost, on the wire. Money is whole nanodollars.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spending {
    /// Calls of models that were answered.
    pub calls: u64,
    /// All that was sent, those of the next two included.
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Read from caches of providers.
    pub cached_tokens: u64,
    /// Written to them.
    pub cache_write_tokens: u64,
    /// In billionths of a dollar.
    pub cost_nanousd: u64,
    /// Calls whose price nobody knows: they are not in the cost.
    pub unpriced_calls: u64,
}

impl From<Spending> for trackway_replay::Spending {
    fn from(spending: Spending) -> trackway_replay::Spending {
        let Spending { calls, input_tokens, output_tokens, cached_tokens, cache_write_tokens, .. } = spending;
        let Spending { cost_nanousd, unpriced_calls, .. } = spending;
        let usage = trackway_replay::Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens };
        trackway_replay::Spending { calls, unpriced_calls, usage, cost_nanousd }
    }
}

impl From<trackway_replay::Spending> for Spending {
    fn from(spending: trackway_replay::Spending) -> Spending {
        let trackway_replay::Spending { calls, unpriced_calls, usage, cost_nanousd } = spending;
        let trackway_replay::Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens } = usage;
        Spending { calls, input_tokens, output_tokens, cached_tokens, cache_write_tokens, cost_nanousd, unpriced_calls }
    }
}
