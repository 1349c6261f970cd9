//! Names to addresses, for guest traffic. What it returns is exactly what is connected to, so here is
//! where addresses are checked; it never lets out an address that only an explicit grant can open.
//!
//! IP literals do not come by here: the gate compares them with the grants. Nor is it known here whose
//! request it is, and it need not be: no grant of a name opens anything but public addresses. The one
//! name that means an address is `localhost`; the gate has seen that it was granted, and it is answered
//! without asking anybody.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::address::AddressClass;

/// Asks the system (or, in a test, a table) for the addresses of a name.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

pub(super) struct GuardedResolver {
    lookup: Lookup,
}

/// A name that has no address which its grant could open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    name: String,
    address: IpAddr,
    class: AddressClass,
}

impl GuardedResolver {
    pub(super) fn new(lookup: Lookup) -> GuardedResolver {
        GuardedResolver { lookup }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        if name == "localhost" {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return std::future::ready(Ok(addresses(loopback.to_vec()))).boxed();
        }
        let found = (self.lookup)(name.clone());
        async move { Ok(addresses(only_public(name, found.await?)?)) }.boxed()
    }
}

/// A name with public and other addresses keeps its public ones.
fn only_public(name: String, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Denied> {
    let (public, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| AddressClass::of(*address) == AddressClass::Public);
    match (public.is_empty(), others.first()) {
        (true, Some(&address)) => Err(Denied { name, address, class: AddressClass::of(address) }),
        (_, _) => Ok(public),
    }
}

fn addresses(found: Vec<IpAddr>) -> Addrs {
    // Port 0 is replaced by the one of the URL.
    Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)))
}

pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    })
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denied { name, address, class } = self;
        write!(f, "`{name}` resolves to {address}, a {class} address; only a grant of that very address opens it")
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(name: &str, found: &[&str], expected: Result<&[&str], AddressClass>) {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().expect("an address of the table")).collect()
        };
        let table = parse(found);
        let resolver = GuardedResolver::new(Arc::new(move |_| std::future::ready(Ok(table.clone())).boxed()));
        let answer = resolver.resolve(name.parse().expect("a name")).await;
        match expected {
            Ok(expected) => {
                let answer: Vec<_> = answer.expect("an answer").map(|address| address.ip()).collect();
                assert_eq!(answer, parse(expected), "{name} {found:?}");
            }
            Err(class) => {
                let denied = answer.err().expect("a refusal");
                assert_eq!(denied.downcast_ref::<Denied>().map(|denied| denied.class), Some(class), "{found:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_resolves_to_its_public_addresses() {
        check("example.com", &["1.1.1.1", "2606:4700::1"], Ok(&["1.1.1.1", "2606:4700::1"])).await;
        check("example.com", &["10.0.0.1", "1.1.1.1", "::1"], Ok(&["1.1.1.1"])).await;
    }

    #[tokio::test]
    async fn a_name_with_no_public_address_is_denied() {
        check("rebind.test", &["127.0.0.1"], Err(AddressClass::Loopback)).await;
        check("rebind.test", &["::1"], Err(AddressClass::Loopback)).await;
        check("rebind.test", &["0.0.0.0"], Err(AddressClass::Unspecified)).await;
        check("rebind.test", &["192.168.1.1", "fe80::1"], Err(AddressClass::Private)).await;
        check("rebind.test", &["::ffff:1.1.1.1"], Err(AddressClass::Translated)).await;
        check("metadata.google.internal", &["169.254.169.254"], Err(AddressClass::Metadata)).await;
        check("a.localhost", &["127.0.0.1"], Err(AddressClass::Loopback)).await;
    }

    #[tokio::test]
    async fn localhost_is_this_machine_whatever_the_system_says() {
        check("localhost", &["8.8.8.8"], Ok(&["127.0.0.1", "::1"])).await;
    }
}
