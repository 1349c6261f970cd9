//! What a path names: the run, by its id, the beginning of one, or `@last`; and what is asked of it. It
//! reads the run's head, or its detail where that is all that is asked for, and nothing else.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use std::collections::BTreeMap;
use trackway_replay::{BadId, Digest, Head, QuestionName};

use super::problem::{Answer, Refusal};
use super::routes::{Api, Common};
use crate::Code;
use crate::host::RunDetail;

/// What `{id}` of the path stands for. No such run, or several, end the request.
pub struct Found(pub Head);

impl FromRequestParts<Common> for Found {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<Found> {
        let id = parameter(parts, common, "id").await?;
        let api = Api::from_request_parts(parts, common).await?;
        Ok(Found(api.host.find(&id).await?))
    }
}

/// As [`Found`], for who shows the run with what it got and gave: all of it is read at once.
pub struct FoundDetail(pub RunDetail);

impl FromRequestParts<Common> for FoundDetail {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<FoundDetail> {
        let id = parameter(parts, common, "id").await?;
        let api = Api::from_request_parts(parts, common).await?;
        Ok(FoundDetail(api.host.find_detail(&id).await?))
    }
}

/// What `{name}` of the path stands for.
pub struct Name(pub String);

impl FromRequestParts<Common> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<Name> {
        parameter(parts, common, "name").await.map(Name)
    }
}

/// What `{key}` of the path stands for.
pub struct Key(pub String);

impl FromRequestParts<Common> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<Key> {
        parameter(parts, common, "key").await.map(Key)
    }
}

/// What `{token}` of the path stands for.
pub struct Token(pub String);

impl FromRequestParts<Common> for Token {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<Token> {
        parameter(parts, common, "token").await.map(Token)
    }
}

/// What `{digest}` of the path stands for.
pub struct OfDigest(pub Digest);

impl FromRequestParts<Common> for OfDigest {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<OfDigest> {
        let text = parameter(parts, common, "digest").await?;
        let digest = text.parse().map_err(|_| Refusal::new(Code::BadRequest, format!("`{text}` is no digest")))?;
        Ok(OfDigest(digest))
    }
}

/// What `{question}` of the path stands for.
pub struct Asked(pub QuestionName);

impl FromRequestParts<Common> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, common: &Common) -> Answer<Asked> {
        let text = parameter(parts, common, "question").await?;
        text.parse().map(Asked).map_err(|error: BadId| Refusal::new(Code::BadRequest, error.to_string()))
    }
}

async fn parameter(parts: &mut Parts, common: &Common, name: &str) -> Answer<String> {
    let parameters = Path::<BTreeMap<String, String>>::from_request_parts(parts, common).await;
    let Path(mut parameters) = parameters.map_err(|rejection| Refusal::new(Code::BadRequest, rejection.body_text()))?;
    parameters.remove(name).ok_or_else(|| Refusal::new(Code::Internal, format!("the path has no `{name}`")))
}
