//! The keys of the attributes, read and checked where they are written.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprArray, Ident, Lit, LitStr, Result, Token, Type, UnOp};

/// The first try included, the contract allows 20.
const RETRIES_MAX: u32 = 19;
const DURATION_MAX_MS: u64 = 86_400_000;
const NAME_MAX_BYTES: usize = 128;
/// Providers of models take no longer ones.
const TOOL_NAME_MAX_BYTES: usize = 64;
/// Of an MCP server: models take 64 bytes for it and the name of a tool.
const MCP_NAME_MAX_BYTES: usize = 32;
/// Models take their time, and many calls are made one after the other.
const AGENT_TIMEOUT_MS: u64 = 3_600_000;

#[derive(Default)]
pub struct Arguments {
    pub name: Option<LitStr>,
    pub retries: Option<u32>,
    pub backoff_ms: Option<u64>,
    pub factor: Option<f64>,
    pub backoff_max_ms: Option<u64>,
    pub jitter: Option<f64>,
    pub growth: Option<String>,
    pub except: Vec<LitStr>,
    pub deadline_ms: Option<u64>,
    pub resume: Option<bool>,
    pub exhausted: Option<String>,
    pub run_timeout_ms: Option<u64>,
    pub cancel_grace_ms: Option<u64>,
    pub ambiguous: Option<String>,
    pub timeout_ms: Option<u64>,
    pub heartbeat_timeout_ms: Option<u64>,
    pub schedule_to_start_ms: Option<u64>,
    pub schedule_to_close_ms: Option<u64>,
    pub hosts: Vec<LitStr>,
    pub models: Vec<LitStr>,
    pub secrets: Vec<LitStr>,
    pub mcp: Vec<LitStr>,
    /// Of a tool.
    pub needs_approval: bool,
    /// What a workflow says that it takes.
    pub signals: Vec<Signal>,
    pub updates: Vec<Signal>,
}

pub struct Signal {
    pub name: LitStr,
    pub payload: Type,
    /// Of an update that says with what it is answered.
    pub answer: Option<Type>,
}

enum Given {
    Value(Expr),
    Signals(Vec<Signal>),
    /// A word that says all by itself.
    Flag,
}

struct Pair {
    key: Ident,
    given: Given,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> Result<Pair> {
        let key: Ident = input.parse()?;
        if key == "signals" || key == "updates" {
            let example = if key == "signals" { "paid: Payment, nudge: ()" } else { "add: u32 -> u32, finish: ()" };
            if !input.peek(syn::token::Paren) {
                let hint = format!("{key} and what they bring stand in brackets, as in `{key}({example})`");
                return Err(Error::new(key.span(), hint));
            }
            let list;
            syn::parenthesized!(list in input);
            let signals = Punctuated::<Signal, Token![,]>::parse_terminated(&list)?;
            if key == "signals"
                && let Some(answer) = signals.iter().find_map(|signal| signal.answer.as_ref())
            {
                return Err(Error::new_spanned(answer, "a signal has no answer: what has one is an update"));
            }
            return Ok(Pair { key, given: Given::Signals(signals.into_iter().collect()) });
        }
        if key == "needs_approval" && !input.peek(Token![=]) {
            return Ok(Pair { key, given: Given::Flag });
        }
        if !input.peek(Token![=]) {
            return Err(Error::new(key.span(), format!("`{key}` needs a value: `{key} = ...`")));
        }
        input.parse::<Token![=]>()?;
        Ok(Pair { key, given: Given::Value(input.parse()?) })
    }
}

impl Parse for Signal {
    fn parse(input: ParseStream<'_>) -> Result<Signal> {
        let name = if input.peek(LitStr) {
            input.parse::<LitStr>()?
        } else {
            let name: Ident = input.parse()?;
            LitStr::new(&name.to_string(), name.span())
        };
        checked_name(&name).map_err(|hint| Error::new(name.span(), hint))?;
        input.parse::<Token![:]>()?;
        let payload = input.parse()?;
        let answers = input.parse::<Option<Token![->]>>()?;
        Ok(Signal { name, payload, answer: answers.map(|_| input.parse()).transpose()? })
    }
}

impl Arguments {
    pub fn of_workflow(tokens: TokenStream) -> Result<Arguments> {
        read(tokens, "workflow", &["name", "run_timeout", "cancel_grace", "signals", "updates"])
    }

    /// A function whose attempts go on with what the failed one had done, and that takes the time that models take.
    pub fn of_agent(tokens: TokenStream) -> Result<Arguments> {
        let arguments = Arguments::of(tokens, "agent")?;
        let (resume, timeout_ms) = (arguments.resume.or(Some(true)), arguments.timeout_ms.or(Some(AGENT_TIMEOUT_MS)));
        Ok(Arguments { resume, timeout_ms, ..arguments })
    }

    pub fn of_tool(tokens: TokenStream) -> Result<Arguments> {
        let arguments = read(tokens, "tool", &["name", "needs_approval"])?;
        if let Some(name) = arguments.name.as_ref().filter(|name| !is_tool_name(&name.value())) {
            return Err(Error::new(name.span(), TOOL_NAME_HINT));
        }
        Ok(arguments)
    }

    pub fn of_function(tokens: TokenStream) -> Result<Arguments> {
        Arguments::of(tokens, "function")
    }

    fn of(tokens: TokenStream, attribute: &str) -> Result<Arguments> {
        let keys = [
            "retries",
            "backoff",
            "growth",
            "factor",
            "backoff_max",
            "jitter",
            "except",
            "deadline",
            "resume",
            "exhausted",
            "ambiguous",
            "timeout",
            "heartbeat_timeout",
            "schedule_to_start",
            "schedule_to_close",
            "hosts",
            "models",
            "secrets",
            "mcp",
            "name",
        ];
        read(tokens, attribute, &keys)
    }

    /// The constant `RUN_TIMEOUT_MS`.
    pub fn to_run_timeout(&self) -> TokenStream {
        option(self.run_timeout_ms)
    }

    /// The constant `CANCEL_GRACE_MS`.
    pub fn to_cancel_grace(&self) -> TokenStream {
        option(self.cancel_grace_ms)
    }

    /// The constant `POLICY`.
    pub fn to_policy(&self) -> TokenStream {
        let attempts = option(self.retries.map(|retries| retries + 1));
        let (backoff_ms, backoff_max_ms) = (option(self.backoff_ms), option(self.backoff_max_ms));
        let (factor, jitter, timeout_ms) = (option(self.factor), option(self.jitter), option(self.timeout_ms));
        let (hosts, models, secrets, mcp) = (&self.hosts, &self.models, &self.secrets, &self.mcp);
        let except = &self.except;
        let (growth, exhausted) = (option(self.growth.as_ref()), option(self.exhausted.as_ref()));
        let heartbeat_timeout_ms = option(self.heartbeat_timeout_ms);
        let (start_ms, close_ms) = (option(self.schedule_to_start_ms), option(self.schedule_to_close_ms));
        let ambiguous = option(self.ambiguous.as_ref());
        let (deadline_ms, resume) = (option(self.deadline_ms), option(self.resume));
        quote! {
            ::trackway_sdk::__private::Policy {
                retry: ::trackway_sdk::__private::Tries {
                    attempts: #attempts,
                    backoff: #growth,
                    backoff_ms: #backoff_ms,
                    factor: #factor,
                    backoff_max_ms: #backoff_max_ms,
                    jitter: #jitter,
                    except: &[#(#except),*],
                    deadline_ms: #deadline_ms,
                    resume: #resume,
                    exhausted: #exhausted,
                },
                ambiguous: #ambiguous,
                timeout_ms: #timeout_ms,
                heartbeat_timeout_ms: #heartbeat_timeout_ms,
                schedule_to_start_ms: #start_ms,
                schedule_to_close_ms: #close_ms,
                hosts: &[#(#hosts),*],
                models: &[#(#models),*],
                secrets: &[#(#secrets),*],
                mcp: &[#(#mcp),*],
            }
        }
    }
}

fn option<T: quote::ToTokens>(value: Option<T>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn read(tokens: TokenStream, attribute: &str, keys: &[&str]) -> Result<Arguments> {
    let pairs = syn::parse::Parser::parse2(Punctuated::<Pair, Token![,]>::parse_terminated, tokens)?;
    let mut arguments = Arguments::default();
    let mut seen: Vec<String> = Vec::new();
    for Pair { key, given } in pairs {
        let name = key.to_string();
        if seen.contains(&name) {
            return Err(Error::new(key.span(), format!("`{name}` is given twice")));
        }
        if !keys.contains(&name.as_str()) {
            let known = keys.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
            return Err(Error::new(key.span(), format!("#[{attribute}] has no key `{name}`; it knows {known}")));
        }
        let value = match given {
            Given::Value(value) => value,
            Given::Flag => {
                arguments.needs_approval = true;
                seen.push(name);
                continue;
            }
            Given::Signals(signals) => {
                *(if name == "signals" { &mut arguments.signals } else { &mut arguments.updates }) = signals;
                seen.push(name);
                continue;
            }
        };
        match name.as_str() {
            "name" => arguments.name = Some(export_name(&value)?),
            "retries" => arguments.retries = Some(retries(&value)?),
            "backoff" => arguments.backoff_ms = Some(duration_ms(&value)?),
            "backoff_max" => arguments.backoff_max_ms = Some(duration_ms(&value)?),
            "heartbeat_timeout" => arguments.heartbeat_timeout_ms = Some(timeout_ms(&value)?),
            "schedule_to_start" => arguments.schedule_to_start_ms = Some(timeout_ms(&value)?),
            "schedule_to_close" => arguments.schedule_to_close_ms = Some(timeout_ms(&value)?),
            "timeout" => arguments.timeout_ms = Some(timeout_ms(&value)?),
            "factor" => arguments.factor = Some(number(&value, "factor", 1.0, 10.0)?),
            "jitter" => arguments.jitter = Some(number(&value, "jitter", 0.0, 1.0)?),
            "cancel_grace" => arguments.cancel_grace_ms = Some(timeout_ms(&value)?),
            "run_timeout" => arguments.run_timeout_ms = Some(timeout_ms(&value)?),
            "growth" => arguments.growth = Some(word(&value, "growth", &["exponential", "linear", "fixed"])?),
            "except" => arguments.except = codes(&value)?,
            "deadline" => arguments.deadline_ms = Some(timeout_ms(&value)?),
            "resume" => arguments.resume = Some(truth(&value, "resume")?),
            "exhausted" => arguments.exhausted = Some(word(&value, "exhausted", &["fail", "park"])?),
            "ambiguous" => {
                arguments.ambiguous = Some(word(&value, "ambiguous", &["repeat", "fail", "compensate", "ask"])?);
            }
            "needs_approval" => arguments.needs_approval = truth(&value, "needs_approval")?,
            "models" => arguments.models = models(&value)?,
            "secrets" => arguments.secrets = secrets(&value)?,
            "mcp" => arguments.mcp = mcp(&value)?,
            _ => arguments.hosts = hosts(&value)?,
        }
        seen.push(name);
    }
    Ok(arguments)
}

fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(literal) => Some(&literal.lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

fn text(value: &Expr, hint: &str) -> Result<LitStr> {
    match literal(value) {
        Some(Lit::Str(text)) => Ok(text.clone()),
        _ => Err(Error::new_spanned(value, hint)),
    }
}

fn export_name(value: &Expr) -> Result<LitStr> {
    let name = text(value, NAME_HINT)?;
    checked_name(&name).map_err(|hint| Error::new_spanned(value, hint))?;
    Ok(name)
}

const NAME_HINT: &str = "a name is 1 to 128 of `A-Z a-z 0-9 _ - .`, as in `name = \"fetch-article\"`";

fn checked_name(name: &LitStr) -> std::result::Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let fits = (1..=NAME_MAX_BYTES).contains(&name.value().len()) && name.value().bytes().all(allowed);
    if fits { Ok(()) } else { Err(NAME_HINT) }
}

const TOOL_NAME_HINT: &str = "the name of a tool is 1 to 64 of `A-Z a-z 0-9 _ -`, as in `name = \"fetch-article\"`";

fn is_tool_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=TOOL_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

fn retries(value: &Expr) -> Result<u32> {
    let retries = match literal(value) {
        Some(Lit::Int(number)) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    retries.filter(|retries| *retries <= RETRIES_MAX).ok_or_else(|| {
        Error::new_spanned(value, format!("`retries` is a number from 0 to {RETRIES_MAX}, as in `retries = 5`"))
    })
}

fn number(value: &Expr, key: &str, least: f64, most: f64) -> Result<f64> {
    let negative = matches!(value, Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)));
    let number = match literal(value) {
        Some(Lit::Float(number)) => number.base10_parse::<f64>().ok(),
        Some(Lit::Int(number)) => number.base10_parse::<f64>().ok(),
        _ => None,
    };
    number.filter(|number| !negative && (least..=most).contains(number)).ok_or_else(|| {
        Error::new_spanned(value, format!("`{key}` is a number from {least} to {most}, as in `{key} = {least}`"))
    })
}

fn timeout_ms(value: &Expr) -> Result<u64> {
    match duration_ms(value)? {
        0 => Err(Error::new_spanned(value, "a timeout of nothing would end every attempt before it starts")),
        timeout_ms => Ok(timeout_ms),
    }
}

/// A whole number and its unit.
fn duration_ms(value: &Expr) -> Result<u64> {
    let hint = "write a whole number and its unit: \"200ms\", \"30s\", \"5m\" or \"2h\"";
    let given = text(value, &format!("a duration is text: {hint}"))?.value();
    let digits = given.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = given.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let total = number.parse::<u64>().ok().zip(unit_ms).map(|(number, unit_ms)| number.checked_mul(unit_ms));
    match total {
        Some(Some(total)) if total <= DURATION_MAX_MS => Ok(total),
        Some(_) => Err(Error::new_spanned(value, format!("`{given}` is too long: at most \"24h\""))),
        None => Err(Error::new_spanned(value, format!("`{given}` is not a duration: {hint}"))),
    }
}

fn word(value: &Expr, key: &str, words: &[&str]) -> Result<String> {
    let listed = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let hint = format!("`{key}` is one of {listed}");
    let given = text(value, &hint)?.value();
    if words.contains(&given.as_str()) { Ok(given) } else { Err(Error::new_spanned(value, hint)) }
}

fn truth(value: &Expr, key: &str) -> Result<bool> {
    match literal(value) {
        Some(Lit::Bool(truth)) => Ok(truth.value),
        _ => Err(Error::new_spanned(value, format!("`{key}` is true or false"))),
    }
}

fn codes(value: &Expr) -> Result<Vec<LitStr>> {
    let hint = "codes are a list of texts, each 1 to 64 of `A-Z 0-9 _`, as in `except = [\"CARD_DECLINED\"]`";
    let Expr::Array(ExprArray { elems, .. }) = value else { return Err(Error::new_spanned(value, hint)) };
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let code = |value: &Expr| {
        let code = text(value, hint)?;
        let fits = (1..=64).contains(&code.value().len()) && code.value().bytes().all(allowed);
        if fits { Ok(code) } else { Err(Error::new_spanned(value, hint)) }
    };
    elems.iter().map(code).collect()
}

fn hosts(value: &Expr) -> Result<Vec<LitStr>> {
    let hint =
        "hosts are a list of texts, as in `hosts = [\"example.com\", \"*.example.org\", \"http://127.0.0.1:8080\"]`";
    match value {
        Expr::Array(ExprArray { elems, .. }) => elems.iter().map(|host| text(host, hint)).collect(),
        other => Err(Error::new_spanned(other, hint)),
    }
}

fn mcp(value: &Expr) -> Result<Vec<LitStr>> {
    let hint =
        "`mcp` is a list of names of MCP servers, each 1 to 32 of `A-Z a-z 0-9 _ -`, as in `mcp = [\"library\"]`";
    let Expr::Array(ExprArray { elems, .. }) = value else { return Err(Error::new_spanned(value, hint)) };
    let name = |value: &Expr| {
        let name = text(value, hint)?;
        let fits = name.value().len() <= MCP_NAME_MAX_BYTES && is_tool_name(&name.value());
        if fits { Ok(name) } else { Err(Error::new_spanned(value, hint)) }
    };
    elems.iter().map(name).collect()
}

fn models(value: &Expr) -> Result<Vec<LitStr>> {
    let hint = "models are a list of texts, as in `models = [\"openai/gpt-4o-mini\", \"anthropic/*\"]`";
    let Expr::Array(ExprArray { elems, .. }) = value else { return Err(Error::new_spanned(value, hint)) };
    let model = |value: &Expr| {
        let model = text(value, hint)?;
        let parts = model.value();
        let fits = parts.split_once('/').is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty());
        if fits { Ok(model) } else { Err(Error::new_spanned(value, hint)) }
    };
    elems.iter().map(model).collect()
}

/// `NAME=HOST` or `NAME:PLACE,..=HOST`; the host is read by who grants it.
fn secrets(value: &Expr) -> Result<Vec<LitStr>> {
    let hint = "secrets are a list of names with hosts, as in `secrets = [\"STRIPE_KEY=api.stripe.com\", \
                \"KEY:query,body=example.com\"]`";
    let Expr::Array(ExprArray { elems, .. }) = value else { return Err(Error::new_spanned(value, hint)) };
    let secret = |value: &Expr| {
        let secret = text(value, hint)?;
        let given = secret.value();
        let fits = given.split_once('=').is_some_and(|(left, host)| {
            let (name, places) = left.split_once(':').unwrap_or((left, "header"));
            let known = places.split(',').all(|place| matches!(place, "header" | "query" | "body"));
            is_tool_name(name) && known && !host.is_empty()
        });
        if fits { Ok(secret) } else { Err(Error::new_spanned(value, hint)) }
    };
    elems.iter().map(secret).collect()
}
