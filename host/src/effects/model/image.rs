//! Pictures in what a user says: checked against what every protocol takes, and written as each has them. Pure; nothing
//! here looks into a picture, and nothing fetches one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use trackway_replay::{Failure, code};
use url::Url;

use crate::effects::grants::{Grant, Grants};
use crate::effects::request::check_url;

/// Of one request, as the strictest of common providers has it.
pub(super) const IMAGES_MAX: usize = 100;
/// Of one, before it is written as text. Likewise.
const IMAGE_MAX_BYTES: usize = 5 << 20;
/// What all of them read.
const MEDIA_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Here, or where the provider gets it.
#[derive(Debug, Clone)]
pub(super) enum Image {
    Data { media_type: String, data: String },
    At(Url),
}

/// As a guest writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    media_type: Option<String>,
    /// Base64.
    data: Option<String>,
    url: Option<String>,
}

/// As `anthropic` has it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
}

impl TryFrom<Written> for Image {
    type Error = String;

    fn try_from(written: Written) -> Result<Image, String> {
        match written {
            Written { media_type: Some(media_type), data: Some(data), url: None } => {
                if !MEDIA_TYPES.contains(&media_type.as_str()) {
                    return Err(format!("has a `media_type` that is none of {}", MEDIA_TYPES.join(", ")));
                }
                let bytes =
                    BASE64_STANDARD.decode(&data).map_err(|error| format!("has `data` that is no base64: {error}"))?;
                if bytes.len() > IMAGE_MAX_BYTES {
                    return Err(format!("has {} bytes; at most {IMAGE_MAX_BYTES} are sent", bytes.len()));
                }
                Ok(Image::Data { media_type, data })
            }
            Written { media_type: None, data: None, url: Some(url) } => {
                let url = url.parse().map_err(|error| format!("has a `url` that is not absolute: {error}"))?;
                Ok(Image::At(check_url(url).map_err(|why| format!("has a `url` that {why}"))?))
            }
            Written { .. } => Err("must have either `media_type` and `data`, or `url`".to_owned()),
        }
    }
}

impl Image {
    /// Whoever fetches it tells its address to the host there: that goes where the function may, and nowhere else.
    pub fn gate(&self, allow: &Grants) -> Result<(), Failure> {
        let Image::At(url) = self else { return Ok(()) };
        if allow.allows(url) {
            return Ok(());
        }
        let origin = url.origin().ascii_serialization();
        let grant = Grant::of_url(url).map_or_else(|| origin.clone(), |grant| grant.to_string());
        let why = format!(
            "an image at `{origin}` is not granted to this deployment; allow it with `trackway deploy --allow-host {grant}`"
        );
        Err(Failure::permanent(code::EGRESS_DENIED, why))
    }

    /// As one address, which holds the picture itself if it is here.
    pub fn address(&self) -> String {
        match self {
            Image::Data { media_type, data } => format!("data:{media_type};base64,{data}"),
            Image::At(url) => url.to_string(),
        }
    }

    pub fn source(&self) -> Source<'_> {
        match self {
            Image::Data { media_type, data } => Source::Base64 { media_type, data },
            Image::At(url) => Source::Url { url: url.as_str() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::providers::Dialect;
    use super::super::request::ModelRequest;
    use super::super::{anthropic, openai_chat, openai_responses};
    use super::*;
    use serde_json::{Value, json};

    fn request(images: &Value) -> Result<ModelRequest, Failure> {
        let messages = json!([{ "role": "user", "content": "What is it?", "images": images }]);
        ModelRequest::parse(&json!({ "model": "a/b", "messages": messages }).to_string(), "")
    }

    #[test]
    fn pictures_go_before_the_text_in_the_words_of_each_protocol() {
        let images = json!([{ "media_type": "image/png", "data": "aGk=" }, { "url": "https://example.com/a.jpg" }]);
        let request = request(&images).expect("both are images");
        let sent = |body: String| -> Value { serde_json::from_str(&body).expect("JSON") };
        let chat = sent(openai_chat::body(&request, Dialect::Plain));
        let expected = json!([
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } },
            { "type": "image_url", "image_url": { "url": "https://example.com/a.jpg" } },
            { "type": "text", "text": "What is it?" },
        ]);
        assert_eq!(chat["messages"][0]["content"], expected);
        let responses = sent(openai_responses::body(&request).expect("it has a place for all"));
        let expected = json!([
            { "type": "input_image", "image_url": "data:image/png;base64,aGk=" },
            { "type": "input_image", "image_url": "https://example.com/a.jpg" },
            { "type": "input_text", "text": "What is it?" },
        ]);
        assert_eq!(responses["input"][0]["content"], expected);
        let messages = sent(anthropic::body(&request));
        let expected = json!([
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "aGk=" } },
            { "type": "image", "source": { "type": "url", "url": "https://example.com/a.jpg" } },
            { "type": "text", "text": "What is it?" },
        ]);
        assert_eq!(messages["messages"][0]["content"], expected);
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let large = BASE64_STANDARD.encode(vec![0; IMAGE_MAX_BYTES + 1]);
        for (images, named) in [
            (json!([{ "media_type": "image/png" }]), "at 0 that must have either `media_type` and `data`, or `url`"),
            (json!([{ "url": "https://a", "data": "aGk=" }]), "must have either"),
            (json!([{ "media_type": "text/html", "data": "aGk=" }]), "that is none of image/png"),
            (json!([{ "media_type": "image/png", "data": "a b" }]), "that is no base64"),
            (json!([{ "media_type": "image/png", "data": large }]), "at most 5242880 are sent"),
            (json!([{ "url": "ftp://a/b" }]), "only `http` and `https`"),
            (json!([{ "url": "a.png" }]), "not absolute"),
            (json!([{ "url": "https://a", "alt": "x" }]), "unknown field `alt`"),
            (json!(vec![json!({ "url": "https://a" }); IMAGES_MAX + 1]), "has more than 100 images"),
        ] {
            let failure = request(&images).expect_err(named);
            assert_eq!(failure.code, code::BAD_REQUEST, "{failure}");
            assert!(failure.message.contains(named), "{failure}");
        }
        let messages = json!([{ "role": "assistant", "content": "a", "images": [{ "url": "https://a" }] }]);
        let failure =
            ModelRequest::parse(&json!({ "model": "a/b", "messages": messages }).to_string(), "").expect_err("");
        assert!(failure.message.contains("which only the user has"), "{failure}");
    }

    #[test]
    fn an_address_of_a_picture_is_granted_as_any_other() {
        let image = Image::At("https://example.com/secret".parse().expect("a URL"));
        let denied = image.gate(&Grants::default()).expect_err("nothing is granted");
        assert_eq!(denied.code, code::EGRESS_DENIED);
        assert!(denied.message.contains("--allow-host example.com"), "{denied}");
        image.gate(&Grants::parse(&["example.com"]).expect("a host")).expect("it is granted");
    }
}
