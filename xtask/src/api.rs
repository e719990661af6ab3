//! The public interface of the published crates as text, `api.txt`, so that a change of it is seen in review and in
//! the history. `tidy` compares, `cargo xtask api` writes.
//!
//! What it is: every public item with its whole signature, bounds, derives, variants and features, read from the
//! source; `pub` means reachable here, since a lint of the workspace holds that. What it is not: a proof of
//! compatibility. It compares declarations, not meanings, and does not see traits that the compiler adds by itself.

use std::collections::BTreeSet;
use std::path::Path;

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, Visibility};

use crate::Failure;
use crate::repo::{self, File};
use crate::tidy::Finding;

/// Crates whose interface is written down.
const CRATES: [&str; 2] = ["crates/codec", "crates/client"];
/// Differences that a finding shows.
const SHOWN_MAX: usize = 6;

/// Writes all of them.
///
/// # Errors
/// If a source file is not Rust, or cannot be written.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    let files = repo::files(root)?;
    for place in CRATES {
        let path = format!("{place}/api.txt");
        std::fs::write(root.join(&path), render(&files, place)?)
            .map_err(|error| format!("{path}: {error}"))?;
        println!("{path}");
    }
    Ok(())
}

/// Compares all of them with what is written down.
///
/// # Errors
/// If a source file is not Rust.
pub(crate) fn check(files: &[File]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for place in CRATES {
        let path = format!("{place}/api.txt");
        let written = files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
        let found = render(files, place)?;
        if found == written {
            continue;
        }
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (old, new) = (lines(written), lines(&found));
        let gone = old.difference(&new).map(|line| format!("\n  - {line}"));
        let come = new.difference(&old).map(|line| format!("\n  + {line}"));
        let shown: String = gone.chain(come).take(SHOWN_MAX).collect();
        let what = format!("the public interface has changed; if that is meant: cargo xtask api{shown}");
        findings.push(Finding::of(&path, what));
    }
    Ok(findings)
}

fn render(files: &[File], place: &str) -> Result<String, Failure> {
    let source = format!("{place}/src/");
    let mut crate_ = Interface::default();
    let mut parsed = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with(&source) && file.is(&["rs"])) {
        if file.path.ends_with("/tests.rs") {
            continue;
        }
        let rust = syn::parse_file(&file.text).map_err(|error| format!("{}: {error}", file.path))?;
        crate_.names(&rust.items);
        parsed.push(rust);
    }
    for rust in &parsed {
        crate_.items(&rust.items);
    }
    Ok(crate_.lines.iter().map(|line| format!("{line}\n")).collect())
}

#[derive(Default)]
struct Interface {
    /// Types and traits that are public.
    public: BTreeSet<String>,
    /// Traits that are not: that a public type has them is nobody's business.
    private_traits: BTreeSet<String>,
    lines: BTreeSet<String>,
}

impl Interface {
    fn names(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !is_test(item)) {
            let (visibility, name) = match item {
                Item::Struct(item) => (&item.vis, &item.ident),
                Item::Enum(item) => (&item.vis, &item.ident),
                Item::Type(item) => (&item.vis, &item.ident),
                Item::Trait(item) => {
                    if !is_public(&item.vis) {
                        self.private_traits.insert(item.ident.to_string());
                    }
                    (&item.vis, &item.ident)
                }
                _ => {
                    inner(item, |items| self.names(items));
                    continue;
                }
            };
            if is_public(visibility) {
                self.public.insert(name.to_string());
            }
        }
    }

    fn items(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !is_test(item)) {
            match item {
                Item::Impl(block) => self.block(block),
                item => {
                    if let Some(line) = declaration(item) {
                        self.lines.insert(line);
                    }
                    inner(item, |items| self.items(items));
                }
            }
        }
    }

    fn block(&mut self, block: &ItemImpl) {
        let name = type_name(&block.self_ty);
        let of_public = |name: &Option<String>| name.as_ref().is_some_and(|name| self.public.contains(name));
        let mut head = block.clone();
        head.attrs = kept(&block.attrs);
        head.items.clear();
        if let Some((path, _)) = &block.trait_ {
            let of = path.segments.last().map(|segment| segment.ident.to_string());
            let is_private = of.as_ref().is_some_and(|of| self.private_traits.contains(of));
            if is_private || !(of_public(&name) || of_public(&of)) {
                return;
            }
            head.items =
                block.items.iter().filter(|item| matches!(item, ImplItem::Type(_))).cloned().collect();
            self.lines.insert(neat(&head));
            return;
        }
        let Some(name) = name.filter(|name| self.public.contains(name)) else { return };
        // What the block asks of the type's parameters belongs to each of its functions.
        let mut bounds = String::new();
        if !block.generics.params.is_empty() {
            bounds = format!("{}: ", neat(&head).trim_end_matches("{ }").trim_end());
        }
        for item in &block.items {
            let (attributes, line) = match item {
                ImplItem::Fn(item) if is_public(&item.vis) => (&item.attrs, neat(&item.sig)),
                ImplItem::Const(item) if is_public(&item.vis) => {
                    (&item.attrs, format!("const {}: {}", item.ident, neat(&item.ty)))
                }
                _ => continue,
            };
            let features: String = kept(attributes).iter().map(|attribute| neat(attribute) + " ").collect();
            self.lines.insert(format!("{name}: {features}{bounds}{line}"));
        }
    }
}

/// A public item on one line, without what it hides.
fn declaration(item: &Item) -> Option<String> {
    Some(match item {
        Item::Struct(item) if is_public(&item.vis) => {
            let mut item = item.clone();
            item.attrs = kept(&item.attrs);
            let total = item.fields.len();
            public_fields(&mut item.fields);
            let hidden = if item.fields.len() < total { " // and private fields" } else { "" };
            neat(&item) + hidden
        }
        Item::Enum(item) if is_public(&item.vis) => {
            let mut item = item.clone();
            item.attrs = kept(&item.attrs);
            for variant in &mut item.variants {
                variant.attrs = kept(&variant.attrs);
                variant.fields.iter_mut().for_each(|field| field.attrs = kept(&field.attrs));
            }
            neat(&item)
        }
        Item::Trait(item) if is_public(&item.vis) => {
            let mut item = item.clone();
            item.attrs = kept(&item.attrs);
            for part in &mut item.items {
                if let TraitItem::Fn(part) = part {
                    part.attrs = kept(&part.attrs);
                    // That there is a default matters, what it does not.
                    part.default = part.default.take().map(|_| syn::parse_quote!({}));
                }
            }
            neat(&item)
        }
        Item::Fn(item) if is_public(&item.vis) => format!("pub {}", neat(&item.sig)),
        Item::Const(item) if is_public(&item.vis) => format!("pub const {}: {}", item.ident, neat(&item.ty)),
        Item::Type(item) if is_public(&item.vis) => {
            let mut item = item.clone();
            item.attrs = kept(&item.attrs);
            neat(&item)
        }
        Item::Use(item) if is_public(&item.vis) => {
            let mut item = item.clone();
            item.attrs = kept(&item.attrs);
            neat(&item)
        }
        Item::Mod(item) if is_public(&item.vis) => format!("pub mod {}", item.ident),
        _ => return None,
    })
}

/// The items within an item: of a module in place, and of `pin_project!`, which is given items.
fn inner(item: &Item, mut look: impl FnMut(&[Item])) {
    match item {
        Item::Mod(module) => {
            if let Some((_, items)) = &module.content {
                look(items);
            }
        }
        Item::Macro(call) if call.mac.path.is_ident("pin_project") => {
            if let Ok(file) = syn::parse2::<syn::File>(call.mac.tokens.clone()) {
                look(&file.items);
            }
        }
        _ => {}
    }
}

fn public_fields(fields: &mut Fields) {
    let shown = |field: &syn::Field| is_public(&field.vis);
    match fields {
        Fields::Named(named) => {
            named.named = named.named.iter().filter(|field| shown(field)).cloned().collect();
        }
        Fields::Unnamed(unnamed) => {
            unnamed.unnamed = unnamed.unnamed.iter().filter(|field| shown(field)).cloned().collect();
        }
        Fields::Unit => {}
    }
    fields.iter_mut().for_each(|field| field.attrs = kept(&field.attrs));
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| ["#[cfg(test)]", "#[cfg(doctest)]"].contains(&neat(attribute).as_str()))
}

/// Attributes that a user of the crate feels.
fn kept(attributes: &[Attribute]) -> Vec<Attribute> {
    let felt = ["derive", "non_exhaustive", "must_use", "cfg", "deprecated"];
    let is_felt = |attribute: &&Attribute| felt.iter().any(|name| attribute.path().is_ident(name));
    attributes.iter().filter(is_felt).cloned().collect()
}

fn type_name(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(to) => type_name(&to.elem),
        _ => None,
    }
}

/// Tokens as a person would write them, more or less, and always in the same way.
fn neat(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    for (wide, narrow) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" :", ":"),
        ("# [", "#["),
        ("[ ", "["),
        (" ]", "]"),
        (" .", "."),
        ("fn(", "fn("),
        ("- >", "->"),
        (",)", ")"),
        (", >", ">"),
        ("->(", "-> ("),
    ] {
        text = text.replace(wide, narrow);
    }
    text.replace("->", "-> ").replace("->  ", "-> ").replace(",}", " }")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let file = File { path: "crates/codec/src/lib.rs".into(), text: text.into() };
        render(&[file], "crates/codec").unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_a_user_can_name_is_there_and_nothing_else() {
        let lines = of(r#"
            /// A.
            #[derive(Clone, Debug)]
            #[non_exhaustive]
            pub enum A { /// One.
                One { limit: usize }, Two(String) }
            pub struct B<T> { pub a: u8, b: T }
            pub struct C(u8);
            pub(crate) struct D { pub x: u8 }
            impl<T: Clone> B<T> {
                #[must_use] pub fn get<'a>(&'a self, with: &mut dyn Fn(u8) -> u8) -> Option<&'a T> where T: Send { None }
                pub(crate) fn hidden(&self) {}
                #[cfg(feature = "x")] pub const MAX: usize = 3;
            }
            impl D { pub fn no(&self) {} }
            impl std::fmt::Display for C { fn fmt(&self) {} }
            impl Iterator for C { type Item = u8; fn next(&mut self) -> Option<u8> { None } }
            trait Own {} impl Own for C {}
            pub trait Shown: Send { fn must(&self); fn may(&self) { todo!() } }
            impl<S: Copy> Shown for S {}
            pin_project! { pub struct P<S> { #[pin] s: S } }
            pub use crate::a::{B, C};
            #[cfg(test)] mod tests { pub struct T; }
        "#);
        let expected = [
            "#[derive(Clone, Debug)] #[non_exhaustive] pub enum A { One { limit: usize }, Two(String) }",
            "B: #[cfg(feature = \"x\")] impl<T: Clone> B<T>: const MAX: usize",
            "B: #[must_use] impl<T: Clone> B<T>: fn get<'a>(&'a self, with: &mut dyn Fn(u8) -> u8) -> Option<&'a T> where T: Send",
            "impl Iterator for C { type Item = u8; }",
            "impl std::fmt::Display for C { }",
            "impl<S: Copy> Shown for S { }",
            "pub struct B<T> { pub a: u8 } // and private fields",
            "pub struct C(); // and private fields",
            "pub struct P<S> { } // and private fields",
            "pub trait Shown: Send { fn must(&self); fn may(&self) { } }",
            "pub use crate::a::{ B, C };",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_change_is_found_and_shown() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = |written: &str| {
            vec![
                file("crates/codec/src/lib.rs", "pub enum A { One, Two }"),
                file("crates/codec/api.txt", written),
                file("crates/client/src/lib.rs", ""),
                file("crates/client/api.txt", ""),
            ]
        };
        assert!(check(&files("pub enum A { One, Two }\n")).unwrap().is_empty());
        let found = check(&files("pub enum A { One }\n")).unwrap();
        let shown = found[0].to_string();
        assert!(
            shown.contains("- pub enum A { One }") && shown.contains("+ pub enum A { One, Two }"),
            "{shown}"
        );
        assert!(check(&[file("crates/codec/src/lib.rs", "no rust")]).is_err());
    }
}
