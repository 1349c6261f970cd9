//! The workflow on the test host: no server, no network, no waiting.

use std::cell::RefCell;
use std::rc::Rc;

use trackway_sdk::testing::{Host, HttpResponse};

use crate::{Order, checkout};

fn order() -> Order {
    Order { shop: "https://shop.example.com".into(), id: "7".into(), item: "lantern".into(), cents: 4_200 }
}

/// A shop whose services answer with the status given for a path, else 200; and what it was asked.
fn shop(statuses: &'static [(&'static str, u16)]) -> (Host, Rc<RefCell<Vec<String>>>) {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let told = asked.clone();
    let host = Host::new().on_http(move |request| {
        let path = request.url.trim_start_matches("https://shop.example.com/").to_owned();
        told.borrow_mut().push(format!("{} {path}", request.method));
        let status = statuses.iter().find(|(known, _)| *known == path).map_or(200, |(_, status)| *status);
        HttpResponse::new(status, format!("{path}-1"))
    });
    (host, asked)
}

#[test]
fn an_order_is_reserved_paid_and_shipped() {
    let (host, asked) = shop(&[]);
    let receipt = host.run::<checkout>(order()).expect("it succeeds");
    assert_eq!((receipt.payment.as_str(), receipt.shipment.as_str()), ("payments-1", "shipments-1"));
    assert_eq!(*asked.borrow(), ["POST reservations", "POST payments", "POST shipments"]);
}

#[test]
fn a_declined_card_puts_the_item_back_and_is_not_tried_again() {
    let (host, asked) = shop(&[("payments", 402)]);
    assert_eq!(host.run::<checkout>(order()).err().map(|failure| failure.code).as_deref(), Some("DECLINED"));
    assert_eq!(*asked.borrow(), ["POST reservations", "POST payments", "DELETE reservations/reservations-1"]);
}

#[test]
fn what_cannot_be_shipped_is_refunded_and_put_back() {
    let (host, asked) = shop(&[("shipments", 400)]);
    assert_eq!(host.run::<checkout>(order()).err().map(|failure| failure.code).as_deref(), Some("HTTP_STATUS"));
    assert_eq!(asked.borrow()[3..], ["DELETE payments/payments-1", "DELETE reservations/reservations-1"]);
}

#[test]
fn a_cancelled_order_is_undone() {
    let (host, asked) = shop(&[]);
    let host = host.cancel_after(2);
    assert!(host.run::<checkout>(order()).is_err_and(|failure| failure.is_cancelled()));
    assert!(asked.borrow().contains(&"DELETE payments/payments-1".to_owned()), "{asked:?}");
}
