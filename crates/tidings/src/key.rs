//! `tidings key new`: a key is made here, shown once, and only its hash is kept.

use clap::{Arg, ArgMatches, Command};
use tidings_server::gate::keys;

use crate::cli;
use crate::failure::Failure;

/// What a key begins with, so that whoever finds one knows what it is.
const PREFIX: &str = "tdk_";
const DEFAULT_NAME: &str = "default";
/// Without 0, 1, 8 and 9, which look like letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The command and its arguments.
pub(crate) fn command() -> Command {
    Command::new("key")
        .about("Make API keys")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("new").about("Make a key and print what to put into the configuration").arg(
                Arg::new("name")
                    .value_name("NAME")
                    .default_value(DEFAULT_NAME)
                    .help("What to call it, in logs and messages"),
            ),
        )
}

/// Does it.
///
/// # Errors
/// The name is none, or the system has no randomness.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let matches = matches.subcommand_matches("new").unwrap_or(matches);
    let name = matches.get_one::<String>("name").map_or(DEFAULT_NAME, String::as_str);
    // `"` and `\` would need escapes in TOML, and make no better names.
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if !is_name {
        return Err(Failure::usage(format!(
            "{name:?} is no name for a key: 1 to 64 visible ASCII characters, no quotes or backslashes"
        )));
    }
    cli::print(page(name, &draw()?)?.as_bytes())
}

/// A new key.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn draw() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("no randomness: {error}")))?;
    Ok(text(&bytes))
}

/// 256 bits as 52 letters and digits, five bits each.
fn text(bytes: &[u8; 32]) -> String {
    let mut text = PREFIX.to_owned();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes.iter().copied().chain([0]) {
        held = held << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 && text.len() < PREFIX.len() + 52 {
            bits -= 5;
            let place = usize::try_from(held >> bits & 31).unwrap_or(0);
            text.extend(ALPHABET.get(place).copied().map(char::from));
        }
        held &= (1 << bits) - 1;
    }
    text
}

fn page(name: &str, key: &str) -> Result<String, Failure> {
    let hash = keys::hash(key).ok_or_else(|| Failure::new("the hub would not take this key"))?;
    Ok(format!(
        "# The key, shown this once: {key}\n\
         # Send it as `Authorization: Bearer KEY`, or keep it in TIDINGS_KEY for `tidings pub` and `tidings sub`.\n\
         # For the configuration file, with the topics it is for:\n\
         [[keys]]\n\
         name = \"{name}\"\n\
         hash = \"{hash}\"\n\
         publish = []    # for example [\"orders/**\"]\n\
         subscribe = []\n\
         manage = []\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_all_of_their_bits() {
        assert_eq!(text(&[0; 32]), format!("tdk_{}", "a".repeat(52)));
        assert_eq!(text(&[255; 32]), format!("tdk_{}q", "7".repeat(51)));
        let mut one = [0; 32];
        for place in 0..32 {
            one[place] = 1;
            let key = text(&one);
            assert_ne!(key, text(&[0; 32]), "byte {place}");
            assert_eq!(key.len(), 56);
            one[place] = 0;
        }
    }

    #[test]
    fn the_printed_table_is_one_that_the_hub_takes() {
        let key = text(&[7; 32]);
        let page = page("backend", &key).unwrap();
        let table: toml::Table = page.parse().unwrap();
        let entry = &table["keys"][0];
        assert_eq!(entry["hash"].as_str(), keys::hash(&key).as_deref());
        assert_eq!(entry["name"].as_str(), Some("backend"));
        assert!(page.contains(&key));
    }
}
