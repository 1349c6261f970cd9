//! What an agent may use up, and what it has used. It says no before a call that would go over, from what is known by then;
//! it never stops one that was made.

use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::failure::{Failure, code};
use crate::message::{Usage, Usd};
use crate::model::{ModelAnswer, ModelRequest, Price};
use crate::retry::millis;
use crate::runtime::Runtime;

/// With less left an answer says nothing, and some providers refuse to begin.
const OUTPUT_MIN_TOKENS: u64 = 16;

/// Every model that is worth asking can answer with so much; some refuse to be asked for more than they can. So where
/// the author names no limit of an answer, none is named until less than this is left.
const OUTPUT_SURE_TOKENS: u64 = 4_096;

/// About what one is worth in English; the provider's own count takes over after the first call.
const BYTES_PER_TOKEN: u64 = 4;

/// The contract's, for one call.
const CALL_DEFAULT_MS: u64 = 300_000;

/// More agents that work for each other are one that has lost its way, and each of them is paid.
const NESTED_MAX: usize = 16;

/// Prices are per million tokens.
const PRICED_TOKENS: u128 = 1_000_000;

/// What an agent may use up in all, with those that take over from it and all that its tools ask models. It ends with
/// `BUDGET_EXCEEDED` before the call of a model that would go over: by what the conversation has grown to, at a token for four
/// bytes, and by what the model has cost so far. What is left limits the answer of a call that has a
/// [`max_tokens`](crate::Agent::max_tokens), and of any once it is less than 4,096 tokens; other answers are as long as the model lets
/// them be, so the last one may go over by that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "hand it to `Agent::budget`"]
pub struct Budget {
    tokens: Option<u64>,
    cost: Option<Usd>,
    time_ms: Option<u64>,
}

impl Budget {
    /// Anything.
    pub fn new() -> Budget {
        Budget::default()
    }

    /// At most so many tokens, given and said together.
    pub fn tokens(self, tokens: u64) -> Budget {
        Budget { tokens: Some(tokens), ..self }
    }

    /// At most so many dollars. A model whose price the host does not know is asked once, and no more.
    pub fn cost_usd(self, dollars: f64) -> Budget {
        self.cost(Usd::from_dollars(dollars))
    }

    /// At most so much money.
    pub fn cost(self, cost: Usd) -> Budget {
        Budget { cost: Some(cost), ..self }
    }

    /// No call is made later than this after the agent was run, and none lasts longer. Time in which a person is waited for does
    /// not count.
    pub fn time(self, time: Duration) -> Budget {
        Budget { time_ms: Some(millis(time)), ..self }
    }
}

/// What an agent uses, and those on whose behalf it works.
#[derive(Debug)]
pub(crate) struct Meter {
    agent: String,
    budget: Budget,
    begun_ms: u64,
    /// How long people had been waited for by then.
    waited_ms: u64,
    around: Option<Rc<Meter>>,
    used: RefCell<Used>,
}

#[derive(Debug, Default)]
struct Used {
    usage: Usage,
    cost: Usd,
    /// A model that was asked and whose price is not known.
    unpriced: Option<String>,
    /// Of answers whose provider does not tell, by their length.
    untold_tokens: u64,
    /// What calls that are not answered yet are given.
    asked_tokens: u64,
    prices: BTreeMap<String, Price>,
}

/// A call that may be made.
#[derive(Debug)]
pub(crate) struct Permit {
    meter: Rc<Meter>,
    asked_tokens: u64,
    /// How long it may take.
    time_ms: Option<u64>,
    /// The failure if the answer is cut off where it is lowered to.
    pub lowered: Option<Failure>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        for meter in self.meter.chain() {
            let mut used = meter.used.borrow_mut();
            used.asked_tokens = used.asked_tokens.saturating_sub(self.asked_tokens);
        }
    }
}

impl Permit {
    /// The shorter of the two.
    pub fn timeout_ms(&self, told: Option<u64>) -> Option<u64> {
        match (told, self.time_ms) {
            (told, None) => told,
            // What the host takes by itself is not told, so that most requests look alike.
            (None, Some(left_ms)) => Some(left_ms).filter(|left_ms| *left_ms < CALL_DEFAULT_MS),
            (Some(told), Some(left_ms)) => Some(told.min(left_ms)),
        }
    }

    /// Takes down what the call used.
    pub fn took(&self, model: &str, answer: &ModelAnswer) {
        let untold_tokens = match answer.usage.total_tokens() {
            0 => self.asked_tokens.saturating_add(tokens_of(answer.message().size_bytes())),
            _ => 0,
        };
        for meter in self.meter.chain() {
            let mut used = meter.used.borrow_mut();
            used.usage += answer.usage;
            used.untold_tokens = used.untold_tokens.saturating_add(untold_tokens);
            let Some(cost) = answer.cost else {
                used.unpriced = Some(model.to_owned());
                continue;
            };
            used.cost = used.cost + cost;
            if let Some(price) = answer.price.or_else(|| average(cost, answer.usage)) {
                used.prices.insert(model.to_owned(), price);
            }
        }
    }
}

impl Meter {
    /// Fails where too many work for each other already.
    pub fn begin(agent: &str, budget: Budget, around: Option<Rc<Meter>>) -> Result<Rc<Meter>, Failure> {
        if around.as_ref().is_some_and(|around| around.chain().count() >= NESTED_MAX) {
            let message = format!("agent `{agent}` is not run: {NESTED_MAX} agents work for each other already");
            return Err(Failure { at: None, ..Failure::permanent(code::TOO_MANY, message) });
        }
        let runtime = Runtime::current();
        let (begun_ms, waited_ms) = (runtime.port().now(), runtime.waited_for_people_ms());
        Ok(Rc::new(Meter { agent: agent.to_owned(), budget, begun_ms, waited_ms, around, used: RefCell::default() }))
    }

    fn chain(&self) -> impl Iterator<Item = &Meter> {
        std::iter::successors(Some(self), |meter| meter.around.as_deref())
    }

    /// What was used so far; no cost where a price is not known.
    pub fn used(&self) -> (Usage, Option<Usd>) {
        let used = self.used.borrow();
        (used.usage, used.unpriced.is_none().then_some(used.cost))
    }

    /// Lowers what the answer may have to what is left for it, or says that nothing is.
    pub fn permit(self: &Rc<Meter>, request: &mut ModelRequest, input_tokens: u64) -> Result<Permit, Failure> {
        let (mut time_ms, mut lowered): (Option<u64>, _) = (None, None);
        for meter in self.chain() {
            if let Some(left_ms) = meter.time_left()? {
                time_ms = Some(time_ms.map_or(left_ms, |known: u64| known.min(left_ms)));
            }
            for (left, failure) in [meter.tokens_left(input_tokens)?, meter.tokens_for_the_rest(request, input_tokens)?]
                .into_iter()
                .flatten()
            {
                if left < request.max_tokens.unwrap_or(OUTPUT_SURE_TOKENS) {
                    request.max_tokens = Some(left);
                    lowered = Some(failure);
                }
            }
        }
        for meter in self.chain() {
            let mut used = meter.used.borrow_mut();
            used.asked_tokens = used.asked_tokens.saturating_add(input_tokens);
        }
        Ok(Permit { meter: self.clone(), asked_tokens: input_tokens, time_ms, lowered })
    }

    /// The same for a call that nothing is known of but itself.
    pub fn permit_alone(self: &Rc<Meter>, request: &mut ModelRequest) -> Result<Permit, Failure> {
        let input_tokens = tokens_of(request.size_bytes());
        self.permit(request, input_tokens)
    }

    /// The failure, once the time of any of them is over.
    pub fn out_of_time(&self) -> Result<(), Failure> {
        self.chain().try_for_each(|meter| meter.time_left().map(drop))
    }

    fn time_left(&self) -> Result<Option<u64>, Failure> {
        let Some(limit_ms) = self.budget.time_ms else { return Ok(None) };
        let runtime = Runtime::current();
        let waited_ms = runtime.waited_for_people_ms().saturating_sub(self.waited_ms);
        let used_ms = runtime.port().now().saturating_sub(self.begun_ms).saturating_sub(waited_ms);
        match limit_ms.saturating_sub(used_ms) {
            0 => {
                Err(self.exceeded("time_ms", limit_ms, used_ms, format_args!("{used_ms} ms of {limit_ms} ms are over")))
            }
            left_ms => Ok(Some(left_ms)),
        }
    }

    fn tokens_left(&self, input_tokens: u64) -> Result<Option<(u64, Failure)>, Failure> {
        let Some(limit) = self.budget.tokens else { return Ok(None) };
        let (used, asked) = {
            let used = self.used.borrow();
            (used.usage.total_tokens().saturating_add(used.untold_tokens), used.asked_tokens)
        };
        let failure = self.exceeded(
            "tokens",
            limit,
            used,
            format_args!("{used} of {limit} tokens are used, and the next call is given about {input_tokens}"),
        );
        match limit.saturating_sub(used).saturating_sub(asked).saturating_sub(input_tokens) {
            ..OUTPUT_MIN_TOKENS => Err(failure),
            left => Ok(Some((left, failure))),
        }
    }

    /// How many tokens of an answer the money is good for.
    fn tokens_for_the_rest(
        &self,
        request: &ModelRequest,
        input_tokens: u64,
    ) -> Result<Option<(u64, Failure)>, Failure> {
        let Some(limit) = self.budget.cost else { return Ok(None) };
        let used = self.used.borrow();
        let exceeded =
            |what: std::fmt::Arguments<'_>| self.exceeded("cost_nanousd", limit.as_nanos(), used.cost.as_nanos(), what);
        if let Some(model) = &used.unpriced {
            let message = format_args!("the price of `{model}` is not known, so {limit} cannot be kept to");
            return Err(exceeded(message));
        }
        let left = limit.as_nanos().saturating_sub(used.cost.as_nanos());
        if left == 0 {
            return Err(exceeded(format_args!("{} of {limit} are spent", used.cost)));
        }
        let Some(price) = used.prices.get(&request.model) else { return Ok(None) };
        // Calls that are on their way cost at least what they are given.
        let input =
            u128::from(price.input) * u128::from(input_tokens.saturating_add(used.asked_tokens)) / PRICED_TOKENS;
        let needed = Usd::from_nanos(u64::try_from(input).unwrap_or(u64::MAX));
        let spent = used.cost;
        let failure = exceeded(format_args!(
            "{spent} of {limit} are spent, and the next call costs {needed} before it says a word"
        ));
        let rest = u128::from(left).saturating_sub(input);
        let tokens = match price.output {
            0 if rest > 0 => return Ok(None),
            0 => 0,
            output => rest * PRICED_TOKENS / u128::from(output),
        };
        match u64::try_from(tokens).unwrap_or(u64::MAX) {
            ..OUTPUT_MIN_TOKENS => Err(failure),
            left => Ok(Some((left, failure))),
        }
    }

    fn exceeded(&self, budget: &str, limit: u64, used: u64, what: std::fmt::Arguments<'_>) -> Failure {
        let message = format!("the budget of agent `{}` does not allow another call: {what}", self.agent);
        let details = json!({ "agent": self.agent, "budget": budget, "limit": limit, "used": used });
        Failure { at: None, ..Failure::permanent(code::BUDGET_EXCEEDED, message) }.with_details(details)
    }
}

/// How many tokens so many bytes are, about.
pub(super) fn tokens_of(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// Of one call, given and said alike: what is known where the host tells no price.
fn average(cost: Usd, usage: Usage) -> Option<Price> {
    let tokens = u128::from(usage.total_tokens());
    let each = (u128::from(cost.as_nanos()) * PRICED_TOKENS).checked_div(tokens)?;
    let each = u64::try_from(each).unwrap_or(u64::MAX);
    Some(Price { input: each, output: each })
}

#[cfg(test)]
mod tests;
