//! The steps as activities of Obelisk. They do what the functions of the guest `work` do, and no more.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

mod bindings {
    #![allow(unsafe_code, reason = "generated: crossings have no other form")]
    wit_bindgen::generate!({ path: "../wit", world: "activities" });
    export!(Steps with_types_in self);
    pub struct Steps;
}

use bindings::Steps;
use bindings::exports::bench::work::steps::Guest;

/// Of an answer at once.
const READ_MAX_BYTES: u64 = 1 << 10;

impl Guest for Steps {
    fn plus_one(number: u64) -> Result<u64, String> {
        Ok(number + 1)
    }

    fn post(url: String) -> Result<u64, String> {
        let (authority, path) =
            url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("no http URL")?;
        let headers = Fields::from_list(&[("content-length".to_owned(), b"1".to_vec())]).map_err(text)?;
        let request = OutgoingRequest::new(headers);
        request
            .set_method(&Method::Post)
            .and_then(|()| request.set_scheme(Some(&Scheme::Http)))
            .and_then(|()| request.set_authority(Some(authority)))
            .and_then(|()| request.set_path_with_query(Some(&format!("/{path}"))))
            .map_err(|()| "a part of the URL was refused")?;
        let body = request.body().map_err(|()| "no body to write")?;
        let answer = outgoing_handler::handle(request, None).map_err(text)?;
        let stream = body.write().map_err(|()| "no stream to write")?;
        stream.blocking_write_and_flush(b"1").map_err(text)?;
        drop(stream);
        OutgoingBody::finish(body, None).map_err(text)?;
        answer.subscribe().block();
        let answer = answer.get().and_then(Result::ok).ok_or("no answer")?.map_err(text)?;
        let status = answer.status();
        if !(200..300).contains(&status) {
            return Err(format!("answered with {status}"));
        }
        read(&answer.consume().map_err(|()| "no body to read")?)?.trim().parse().map_err(text)
    }
}

fn read(body: &IncomingBody) -> Result<String, String> {
    let stream = body.stream().map_err(|()| "no stream to read")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_MAX_BYTES) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return String::from_utf8(bytes).map_err(text),
            Err(error) => return Err(text(error)),
        }
    }
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
