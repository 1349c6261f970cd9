use super::*;

fn check(class: AddressClass, addresses: &[&str]) {
    for text in addresses {
        let address: IpAddr = text.parse().expect("an address of the table");
        assert_eq!(AddressClass::of(address), class, "{text}");
    }
}

#[test]
fn public_addresses_are_public() {
    check(
        AddressClass::Public,
        &[
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:800::200e",
            "2001:200::1",
            "3ffe::1",
        ],
    );
}

#[test]
fn addresses_inside_a_network_are_told_apart() {
    check(AddressClass::Loopback, &["127.0.0.1", "127.0.0.0", "127.255.255.255", "::1"]);
    check(
        AddressClass::Private,
        &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1", "fc00::1", "fdff::1", "fec0::1"],
    );
    check(AddressClass::LinkLocal, &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1"]);
    check(AddressClass::Shared, &["100.64.0.0", "100.127.255.255"]);
}

#[test]
fn metadata_addresses_of_clouds_are_known() {
    check(
        AddressClass::Metadata,
        &["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"],
    );
}

#[test]
fn forms_that_stand_for_another_address_are_known() {
    check(
        AddressClass::Translated,
        &[
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:10.0.0.1",
            "::127.0.0.1",
            "::2",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        ],
    );
}

#[test]
fn addresses_without_a_host_are_known() {
    check(AddressClass::Unspecified, &["0.0.0.0", "::"]);
    check(AddressClass::Multicast, &["224.0.0.1", "239.255.255.255", "ff02::1"]);
    check(AddressClass::Broadcast, &["255.255.255.255"]);
    check(
        AddressClass::Reserved,
        &[
            "0.0.0.1",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "240.0.0.1",
            "255.255.255.254",
            "100::1",
            "2001:2::1",
            "2001:db8::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "64:ff9a::1",
        ],
    );
}
