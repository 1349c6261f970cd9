//! Keys that an identity provider publishes, read over HTTP. It reads what one address says and nothing else, and knows
//! not what it means.

use reqwest::{Client, redirect};
use std::time::Duration;

use crate::{Code, Error, Result};

/// For all of it: a request waits for the answer.
const READ_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct PublishedKeys {
    client: Client,
    address: url::Url,
}

impl PublishedKeys {
    /// # Errors
    /// `BadConfig` where others could change what is read: without TLS only this machine is asked.
    pub fn at(address: &str) -> Result<PublishedKeys> {
        let wrong =
            |why: &str| Error::new(Code::BadConfig, format!("`{address}` cannot be the address of keys: {why}"));
        let address = url::Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        let is_here = match address.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match address.scheme() {
            "https" => {}
            "http" if is_here => {}
            _ => return Err(wrong("it must be https")),
        }
        // Fails only where a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().timeout(READ_MAX).redirect(redirect::Policy::none());
        let builder = if is_here { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| Error::new(Code::Internal, format!("an HTTP client: {error}")))?;
        Ok(PublishedKeys { client, address })
    }

    pub async fn read(&self, max_bytes: usize) -> Result<Vec<u8>, String> {
        let response = self.client.get(self.address.clone()).send().await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("it was answered {}", response.status()));
        }
        let mut response = response;
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| error.to_string())? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > max_bytes {
                return Err("the answer is too large".to_owned());
            }
        }
        Ok(bytes)
    }
}
