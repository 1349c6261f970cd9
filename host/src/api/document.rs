//! What the OpenAPI document says of every path beside what its handler says: the refusals that any request may get. It
//! describes, and refuses nothing itself.

use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};

/// The HTTP status, how the document calls it, and when it is answered.
struct Refused {
    status: &'static str,
    name: &'static str,
    when: &'static str,
}

/// Whatever is asked for, by whomever.
const ALWAYS: [Refused; 6] = [
    Refused {
        status: "400",
        name: "BadRequest",
        when: "Something of the request cannot be read, or is not as it has to be.",
    },
    Refused { status: "401", name: "Unauthorized", when: "Nobody is known by that key or token." },
    Refused { status: "403", name: "Forbidden", when: "The key has not the scope, or its tenant is disabled." },
    Refused { status: "404", name: "NotFound", when: "There is no such thing, or no such tenant." },
    Refused {
        status: "429",
        name: "TooMany",
        when: "Too much is asked for at once; `Retry-After` says when to come back.",
    },
    Refused { status: "503", name: "Unavailable", when: "The server is stopping, or has no room now: try again." },
];
/// Of paths that name a run, and of requests that change something.
const CONFLICT: Refused = Refused {
    status: "409",
    name: "Conflict",
    when: "Several runs begin with what was given, or things are not by now as the request would have them.",
};
/// Of requests that change something: secrets have names of their own, and bodies have parts that belong together.
const UNPROCESSABLE: Refused =
    Refused { status: "422", name: "Unprocessable", when: "It can be read, and cannot be taken as it is." };
/// Of requests that have a body.
const TOO_LARGE: Refused = Refused { status: "413", name: "TooLarge", when: "The body is over its limit." };
/// Of requests that change something.
const DISK_FULL: Refused = Refused {
    status: "507",
    name: "DiskFull",
    when: "The disk of the server is full, or the tenant stores as much as it may.",
};
const PROBLEM: &str = "application/problem+json";
const EVENTS: &str = "text/event-stream";
/// The beginnings of paths whose first part names a run.
const NAMING_RUNS: [&str; 2] = ["/v1/runs/{id}", "/v1/questions/{id}"];

/// What is said of an operation already stays.
pub fn complete(document: &mut OpenApi) {
    for (name, path) in &mut document.paths.paths {
        let changes = [&mut path.put, &mut path.post, &mut path.delete, &mut path.patch];
        for operation in changes.into_iter().flatten() {
            [CONFLICT, UNPROCESSABLE, DISK_FULL].iter().for_each(|refused| refuse(operation, refused));
        }
        for operation in operations(path) {
            operation.parameters.iter_mut().flatten().for_each(as_sent);
            operation.responses.responses.values_mut().for_each(as_events);
            if NAMING_RUNS.iter().any(|beginning| name.starts_with(beginning)) {
                refuse(operation, &CONFLICT);
            }
            if operation.request_body.is_some() {
                refuse(operation, &TOO_LARGE);
            }
            // Without a key there is one that asks for nothing.
            if operation.security.is_none() {
                ALWAYS.iter().for_each(|refused| refuse(operation, refused));
            }
        }
    }
    let components = document.components.get_or_insert_default();
    for refused in ALWAYS.iter().chain([&CONFLICT, &UNPROCESSABLE, &TOO_LARGE, &DISK_FULL]) {
        components.responses.insert(refused.name.to_owned(), RefOr::T(refused.response()));
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch].into_iter().flatten()
}

fn refuse(operation: &mut Operation, refused: &Refused) {
    let responses = &mut operation.responses.responses;
    responses.entry(refused.status.to_owned()).or_insert_with(|| RefOr::Ref(Ref::from_response_name(refused.name)));
}

impl Refused {
    fn response(&self) -> Response {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new().description(self.when).content(PROBLEM, problem).build()
    }
}

/// A header or a parameter may be left out; it is never `null`. A number without a sign has no format of its own: the one
/// of 64 bits with a sign is smaller.
fn as_sent(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(object))), .. }) = parameter else { return };
    if object.minimum.is_some() {
        object.format = None;
    }
    if let SchemaType::Array(types) = &object.schema_type
        && let [one, Type::Null] | [Type::Null, one] = types.as_slice()
    {
        object.schema_type = SchemaType::Type(one.clone());
    }
}

/// A server-sent event holds its JSON as a text, beside its name and its id.
fn as_events(response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    let Some(RefOr::T(content)) = response.content.get_mut(EVENTS) else { return };
    let Some(data) = content.schema.take() else { return };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let data = text().content_media_type("application/json").content_schema(Some(data));
    let event = ObjectBuilder::new().property("event", text()).property("id", text()).property("data", data);
    content.schema = Some(event.required("data").into());
}
