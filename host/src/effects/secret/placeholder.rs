//! Placeholders of secrets in parts of a request: found, and filled. Pure; who may have what is not decided here.

use std::collections::BTreeMap;
use trackway_replay::{Failure, code};
use zeroize::Zeroizing;

use super::{Secret, SecretName, is_of_name};

const OPENS: &[u8] = b"{{secret:";
const CLOSES: &[u8] = b"}}";

/// How a part of a request is written, so that a value that is put into it stays one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Byte for byte.
    Plain,
    /// Inside a string of JSON.
    Json,
    /// As in a query or a form. The placeholder may be so as well.
    Percent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a [u8]),
    Secret(&'a [u8]),
}

/// Cuts a part at its placeholders.
///
/// # Errors
/// `BAD_REQUEST` for the beginning of a placeholder that has no end.
pub(super) fn pieces(part: &[u8], spelling: Spelling) -> Result<Vec<Piece<'_>>, Failure> {
    let mut pieces = Vec::new();
    let (mut begin, mut place) = (0, 0);
    while place < part.len() {
        let Some(name_begin) = after(part, place, OPENS, spelling) else {
            place += 1;
            continue;
        };
        let Some((name_end, end)) = name(part, name_begin, spelling) else {
            let why = "`{{secret:` begins a placeholder, which goes on with a name and `}}`, as `{{secret:API_KEY}}`";
            return Err(Failure::permanent(code::BAD_REQUEST, why));
        };
        pieces.push(Piece::Text(&part[begin..place]));
        pieces.push(Piece::Secret(&part[name_begin..name_end]));
        (begin, place) = (end, end);
    }
    pieces.push(Piece::Text(&part[begin..]));
    Ok(pieces)
}

/// Where a name ends, and where its placeholder does.
fn name(part: &[u8], begin: usize, spelling: Spelling) -> Option<(usize, usize)> {
    let length = part[begin..].iter().take_while(|byte| is_of_name(**byte)).count();
    let end = after(part, begin + length, CLOSES, spelling)?;
    SecretName::new(std::str::from_utf8(&part[begin..begin + length]).ok()?)?;
    Some((begin + length, end))
}

/// The place behind `token`, if it stands here.
fn after(part: &[u8], mut place: usize, token: &[u8], spelling: Spelling) -> Option<usize> {
    for wanted in token {
        let (byte, next) = match (spelling, part.get(place)?) {
            (Spelling::Percent, b'%') => (percent(part, place)?, place + 3),
            (_, byte) => (*byte, place + 1),
        };
        if byte != *wanted {
            return None;
        }
        place = next;
    }
    Some(place)
}

/// The byte that stands here as `%XX`.
pub(super) fn percent(part: &[u8], place: usize) -> Option<u8> {
    let digit = |place: usize| char::from(*part.get(place)?).to_digit(16);
    let byte = digit(place + 1)? * 16 + digit(place + 2)?;
    u8::try_from(byte).ok().filter(|_| part.get(place) == Some(&b'%'))
}

/// Names in a part, in order.
pub(super) fn names(part: &[u8], spelling: Spelling) -> Result<Vec<SecretName>, Failure> {
    let name = |piece: Piece<'_>| match piece {
        Piece::Text(_) => None,
        Piece::Secret(name) => SecretName::new(std::str::from_utf8(name).ok()?),
    };
    Ok(pieces(part, spelling)?.into_iter().filter_map(name).collect())
}

/// The part with the values in it; nothing where no secret is named. One that is not among the values stays as it is.
pub(super) fn filled(
    part: &[u8],
    spelling: Spelling,
    values: &BTreeMap<SecretName, Secret>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let pieces = pieces(part, spelling)?;
    if pieces.len() == 1 {
        return Ok(None);
    }
    let mut whole = Zeroizing::new(Vec::with_capacity(part.len()));
    for piece in pieces {
        match piece {
            Piece::Text(text) => whole.extend_from_slice(text),
            Piece::Secret(name) => {
                let value = std::str::from_utf8(name).ok().and_then(SecretName::new).and_then(|name| values.get(&name));
                match value {
                    Some(value) => whole.extend_from_slice(spelled(value, spelling).as_bytes()),
                    None => whole.extend_from_slice(&[OPENS, name, CLOSES].concat()),
                }
            }
        }
    }
    Ok(Some(whole))
}

fn spelled(value: &Secret, spelling: Spelling) -> Zeroizing<String> {
    let text = value.expose();
    Zeroizing::new(match spelling {
        Spelling::Plain => text.to_owned(),
        Spelling::Json => {
            let quoted = Zeroizing::new(serde_json::to_string(text).expect("text can always be written as JSON"));
            quoted[1..quoted.len() - 1].to_owned()
        }
        Spelling::Percent => percented(text),
    })
}

/// All but what is unreserved anywhere (RFC 3986, 2.3).
fn percented(text: &str) -> String {
    use std::fmt::Write as _;
    let mut whole = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            whole.push(char::from(byte));
        } else {
            // Into a text nothing fails.
            let _ = write!(whole, "%{byte:02X}");
        }
    }
    whole
}

#[cfg(test)]
mod tests;
