//! What a function says of its attempts: fields of the manifest. It never decides by them.

use serde::Serialize;

/// When a function is tried again, and what it wants to reach; the fields of the manifest.
#[doc(hidden)]
#[derive(Serialize, Clone, Copy)]
pub struct Policy {
    #[serde(skip_serializing_if = "Tries::is_default")]
    pub retry: Tries,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambiguous: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_to_start_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_to_close_ms: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub hosts: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub models: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub secrets: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub mcp: &'static [&'static str],
}

#[doc(hidden)]
#[derive(Serialize, PartialEq, Clone, Copy)]
pub struct Tries {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub except: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<&'static str>,
}

impl Tries {
    /// What the host does by itself.
    pub const DEFAULT: Tries = Tries {
        attempts: None,
        backoff: None,
        backoff_ms: None,
        factor: None,
        backoff_max_ms: None,
        jitter: None,
        except: &[],
        deadline_ms: None,
        resume: None,
        exhausted: None,
    };

    fn is_default(&self) -> bool {
        *self == Tries::DEFAULT
    }
}

impl Policy {
    /// What the host does by itself.
    pub const DEFAULT: Policy = Policy {
        retry: Tries::DEFAULT,
        ambiguous: None,
        timeout_ms: None,
        heartbeat_timeout_ms: None,
        schedule_to_start_ms: None,
        schedule_to_close_ms: None,
        hosts: &[],
        models: &[],
        secrets: &[],
        mcp: &[],
    };
}
