//! A few pages over local HTTP, slow on purpose, for the demo to fetch. Counts what it was asked
//! for. Only for loopback.

use anyhow::Result;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Name, how long it takes to answer, how often it says 503 first, and what it says.
const PAGES: [(&str, u64, u32, &str); 8] = [
    (
        "trackways",
        150,
        0,
        "A trackway is a row of fossil footprints. Each footprint records a step, and the row of steps records a walk. Nobody saw the animal walk, and yet every step is on record.",
    ),
    (
        "journals",
        350,
        0,
        "A ship keeps a journal. When the captain falls ill, the next one reads the journal, and the ship goes on where it was. The journal is written before the sails are set, not after.",
    ),
    (
        "tides",
        650,
        1,
        "The tide comes in and covers the footprints. The footprints that last are those that were pressed deep before the tide came in. What was not pressed before the tide is gone.",
    ),
    (
        "clocks",
        1_200,
        0,
        "Two clocks never agree. A walk that asks a clock at every step is another walk tomorrow. A walk that asks only its journal is the same walk for ever.",
    ),
    (
        "letters",
        2_000,
        0,
        "A letter that was sent and not answered may have arrived or not. Send the letter again under the same number, and the reader will know that it is the same letter.",
    ),
    (
        "stairs",
        2_600,
        1,
        "Whoever falls on the stairs does not start at the bottom of the house. They start at the step on which they stood, and the steps below stay climbed.",
    ),
    (
        "bridges",
        3_200,
        0,
        "A bridge is tested by its load, not by its paint. Lead a heavy cart over the bridge, cut a rope, and look whether the cart and the bridge still stand.",
    ),
    (
        "lanterns",
        3_900,
        0,
        "A lantern shows the steps behind as well as the steps ahead. Hold the lantern low, and every footprint has a shadow that tells how deep it is.",
    ),
];

pub struct Pages {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Pages {
    /// Serves until this program ends.
    pub fn serve() -> Result<Pages> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(BTreeMap::new()));
        let counts = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = counts.clone();
                // A client that is killed in the middle is what the demo is about.
                std::thread::spawn(move || answer(&stream, &counts).ok());
            }
        });
        Ok(Pages { address, asked })
    }

    pub fn urls(&self) -> Vec<String> {
        PAGES.iter().map(|(name, ..)| format!("http://{}/{name}", self.address)).collect()
    }

    /// How often `url` was asked for, 503 included.
    pub fn asked(&self, url: &str) -> u32 {
        let path = url.strip_prefix(&format!("http://{}", self.address)).unwrap_or(url);
        self.asked.lock().map_or(0, |asked| asked.get(path).copied().unwrap_or(0))
    }

    /// How often `url` has to be asked for until it answers.
    pub fn asks_needed(&self, url: &str) -> u32 {
        let name = url.rsplit('/').next().unwrap_or(url);
        1 + PAGES.iter().find(|(page, ..)| *page == name).map_or(0, |(_, _, refusals, _)| *refusals)
    }
}

fn answer(stream: &TcpStream, asked: &Mutex<BTreeMap<String, u32>>) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let before = {
        let Ok(mut asked) = asked.lock() else { return Ok(()) };
        let count = asked.entry(path.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let page = PAGES.iter().find(|(name, ..)| path == format!("/{name}"));
    let (status, body) = match page {
        None => ("404 Not Found", "no such page".to_owned()),
        Some((_, _, refusals, _)) if before < *refusals => ("503 Service Unavailable", "not yet".to_owned()),
        Some((name, delay_ms, _, text)) => {
            std::thread::sleep(Duration::from_millis(*delay_ms));
            ("200 OK", html(name, text))
        }
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}", body.len());
    let mut stream = stream;
    write!(stream, "{head}\r\nconnection: close\r\n\r\n{body}")?;
    Ok(())
}

fn html(name: &str, text: &str) -> String {
    let links: String = PAGES
        .iter()
        .filter(|(other, ..)| *other != name)
        .take(3)
        .map(|(other, ..)| format!("<li><a href=\"/{other}\">{other}</a></li>"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><title>{name}</title></head>\n<body><h1>{name}</h1>\n<p>{text}</p>\n\
         <ul>{links}</ul></body></html>\n"
    )
}
