//! Names that providers take for tools and outputs. Pure.

/// Providers take no other names of tools and outputs.
pub(crate) const NAME_MAX_CHARS: usize = 64;

pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_MAX_CHARS).contains(&name.len()) && name.bytes().all(allowed)
}

pub(crate) fn clean_name(name: &str, otherwise: &str) -> String {
    let clean = |character: char| if is_name(character.encode_utf8(&mut [0; 4])) { character } else { '_' };
    let name: String = name.chars().take(NAME_MAX_CHARS).map(clean).collect();
    if name.is_empty() { otherwise.to_owned() } else { name }
}
