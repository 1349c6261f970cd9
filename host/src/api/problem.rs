//! Errors as `application/problem+json`: the one place that says which code has which HTTP status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

use super::model::{Problem, QuotaUsed};
use crate::{Code, Error};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");
/// How long a client should stay away when there is too much going on.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error of the host on its way to a client.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    error: Error,
}

pub type Answer<T> = Result<T, Refusal>;

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { status: status_of(error.code), error }
    }
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal::from(Error::new(code, message))
    }

    pub fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { error: self.error.hint(hint), ..self }
    }

    pub fn status(self, status: StatusCode) -> Refusal {
        Refusal { status, ..self }
    }

    pub fn problem(&self) -> Problem {
        Problem {
            kind: format!("urn:trackway:error:{}", self.error.code),
            title: self.error.code.title().to_owned(),
            status: self.status.as_u16(),
            detail: self.error.message.clone(),
            code: self.error.code.text().to_owned(),
            hint: self.error.hint.clone(),
            quota: self.error.quota.as_ref().map(|quota| QuotaUsed {
                name: quota.name.to_owned(),
                limit: quota.limit,
                used: quota.used,
            }),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(code = %self.error.code, "{}", self.error.message);
        }
        // Whole seconds: not a moment too early.
        let seconds = |wait: Duration| u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
        let retry_after = self.error.retry_after.map(|wait| HeaderValue::from(seconds(wait)));
        let body = serde_json::to_vec(&self.problem()).expect("a problem holds only text and numbers");
        let mut response = (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        match self.error.code {
            Code::Unauthorized => response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE),
            Code::Overloaded | Code::InboxFull | Code::NoRoom | Code::TooManyTries | Code::QuotaExceeded => {
                response.headers_mut().insert(header::RETRY_AFTER, retry_after.unwrap_or(RETRY_AFTER_SECONDS))
            }
            _ => None,
        };
        response.extensions_mut().insert(self.error.code);
        response
    }
}

impl Problem {
    /// The error that a server told of; codes of later versions become [`Code::Internal`].
    pub fn into_error(self) -> Error {
        let code = Code::ALL.iter().find(|code| code.text() == self.code).copied().unwrap_or(Code::Internal);
        Error { code, message: self.detail, hint: self.hint, retry_after: None, quota: None }
    }
}

/// The HTTP status of each code.
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Internal
        | Code::Usage
        | Code::BadConfig
        | Code::NoProject
        | Code::BuildFailed
        | Code::NoToolchain
        | Code::File
        | Code::DataInUse
        | Code::DataNewer
        | Code::DataDamaged
        | Code::DataBehind
        | Code::NotDurable
        | Code::StoreIo
        | Code::NoDataKey
        | Code::JournalUnreadable
        | Code::PortInUse => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NotWasm
        | Code::BadWasm
        | Code::TooComplex
        | Code::ForeignImport
        | Code::WrongWorld
        | Code::CompileFailed
        | Code::BadManifest
        | Code::BadSignature
        | Code::InputBreaksSchema
        | Code::BadGrant
        | Code::BadSecret => StatusCode::UNPROCESSABLE_ENTITY,
        Code::InputNotJson | Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::UploadTooLarge | Code::InputTooLarge | Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NoSuchComponent
        | Code::NoSuchDeployment
        | Code::NoSuchWorkflow
        | Code::NoSuchRun
        | Code::NoSuchSignal
        | Code::NoSuchQuestion
        | Code::NoSuchPromise
        | Code::NoSuchEntity
        | Code::NoSuchSecret
        | Code::NoSuchState
        | Code::NoSuchUpdate
        | Code::NoSuchTenant
        | Code::NoSuchKey
        | Code::NoSuchPath => StatusCode::NOT_FOUND,
        Code::EntityConflict => StatusCode::PRECONDITION_FAILED,
        Code::AmbiguousRun
        | Code::AmbiguousWorkflow
        | Code::RunEnded
        | Code::QuestionSettled
        | Code::PromiseSettled
        | Code::UpdateUnanswered
        | Code::CannotRestart
        | Code::CannotMove
        | Code::RunOpen
        | Code::ComponentInUse
        | Code::NothingToRetry
        | Code::KeyConflict
        | Code::DeploymentConflict
        | Code::Diverged
        | Code::Quarantined
        | Code::RecallTrapped
        | Code::CodeMissing
        | Code::NoSecretKey
        | Code::TooManyEntities
        | Code::TenantExists
        | Code::TooManyIdentities => StatusCode::CONFLICT,
        Code::NoScope | Code::TenantDisabled => StatusCode::FORBIDDEN,
        Code::InboxFull | Code::Overloaded | Code::TooManyTries | Code::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::DiskFull | Code::StorageQuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        Code::StoreClosed | Code::Stopping | Code::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        Code::OverPolicy => StatusCode::FORBIDDEN,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Unreachable => StatusCode::BAD_GATEWAY,
        Code::GaveUpWaiting => StatusCode::GATEWAY_TIMEOUT,
    }
}

#[cfg(test)]
mod tests;
