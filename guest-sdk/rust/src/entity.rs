//! Entities: values that the runs of a tenant share. It says what is to be read or written; the host does it,
//! once, however often the run is recalled.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::panic::Location;

use crate::failure::{Failure, code};
use crate::operation::{self, EntityRequest};
use crate::{Operation, Value, json};

/// How often a change is tried that others come before.
const UPDATES_MAX: u32 = 100;

/// A value under a name and a key, which outlives the run: made by [`Ctx::entity`](crate::Ctx::entity).
#[derive(Debug, Clone)]
pub struct Entity {
    name: String,
    key: String,
}

/// What an entity holds, and at which version that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versioned<T> {
    /// No two writes of a tenant have the same one, and later ones have higher ones.
    pub version: u64,
    /// What was written.
    pub value: T,
}

#[derive(Deserialize)]
struct Stands {
    version: u64,
    value: Box<RawValue>,
}

#[derive(Deserialize)]
struct Written {
    version: u64,
}

impl Entity {
    pub(crate) fn new(name: String, key: String) -> Entity {
        Entity { name, key }
    }

    /// What it holds now, if there is one.
    ///
    /// # Errors
    ///
    /// `BAD_INPUT` if it holds no `T`; `BAD_REQUEST` if name or key cannot be one.
    #[track_caller]
    pub fn get<T: Value>(&self) -> Operation<Option<Versioned<T>>> {
        self.ask(Ok(EntityRequest::Get), None, read_stands)
    }

    /// Writes it, whatever stands there, and gives the version that it has then.
    ///
    /// # Errors
    ///
    /// `TOO_LARGE` above 32 KiB; `TOO_MANY` if the tenant has as many as it may have.
    #[track_caller]
    pub fn set<T: Value>(&self, value: T) -> Operation<u64> {
        self.ask(written(&value), None, read_version)
    }

    /// Writes it if it is at that version, 0: if there is none. Nobody else can have written it since then.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Entity::set); [`VERSION_CONFLICT`](code::VERSION_CONFLICT) if it is at another version.
    #[track_caller]
    pub fn set_if<T: Value>(&self, value: T, version: u64) -> Operation<u64> {
        self.ask(written(&value), Some(version), read_version)
    }

    /// Deletes it, if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Entity::get).
    #[track_caller]
    pub fn delete(&self) -> Operation<()> {
        self.ask(Ok(EntityRequest::Delete), None, |_| Ok(()))
    }

    /// Deletes it if it is at that version.
    ///
    /// # Errors
    ///
    /// [`VERSION_CONFLICT`](code::VERSION_CONFLICT) if it is at another version, or there is none.
    #[track_caller]
    pub fn delete_if(&self, version: u64) -> Operation<()> {
        self.ask(Ok(EntityRequest::Delete), Some(version), |_| Ok(()))
    }

    /// Makes of what it holds something else, and gives that. `change` is called again with what stands there
    /// by then as long as others come before, up to 100 times.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[workflow]
    /// async fn visit(ctx: Ctx, page: String) -> Result<u64, Failure> {
    ///     ctx.entity("visits", page).update(|count: Option<u64>| Ok(count.unwrap_or(0) + 1)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `change`, of [`get`](Entity::get) and of [`set_if`](Entity::set_if).
    pub async fn update<T: Value>(
        &self,
        mut change: impl FnMut(Option<T>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            let stands = self.get::<T>().await?;
            let version = stands.as_ref().map_or(0, |stands| stands.version);
            let value = change(stands.map(|stands| stands.value))?;
            let text = value.write();
            match self.ask(request_of(text), Some(version), read_version).await {
                Err(failure) if failure.code == code::VERSION_CONFLICT && tries < UPDATES_MAX => tries += 1,
                Err(failure) => return Err(failure),
                Ok(_) => return Ok(value),
            }
        }
    }

    #[track_caller]
    fn ask<O>(
        &self,
        request: Result<EntityRequest, Failure>,
        if_version: Option<u64>,
        decode: fn(&str) -> Result<O, Failure>,
    ) -> Operation<O> {
        operation::entity(&self.name, &self.key, request, if_version, decode, Location::caller())
    }
}

fn written<T: Value>(value: &T) -> Result<EntityRequest, Failure> {
    request_of(value.write())
}

fn request_of(text: serde_json::Result<String>) -> Result<EntityRequest, Failure> {
    text.map(|value| EntityRequest::Set { value }).map_err(|error| {
        Failure::permanent(code::BAD_INPUT, format!("the value of an entity cannot be written as JSON: {error}"))
    })
}

fn read_stands<T: Value>(text: &str) -> Result<Option<Versioned<T>>, Failure> {
    let stands: Option<Stands> = json::read(text, "entity").map_err(|why| Failure::permanent(code::BAD_INPUT, why))?;
    stands
        .map(|Stands { version, value }| json::read_payload(value.get()).map(|value| Versioned { version, value }))
        .transpose()
}

fn read_version(text: &str) -> Result<u64, Failure> {
    let written: Written = json::read(text, "entity").map_err(|why| Failure::permanent(code::BAD_INPUT, why))?;
    Ok(written.version)
}
