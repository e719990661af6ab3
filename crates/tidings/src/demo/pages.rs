//! The demo's pages, part of the binary. No inline script or style, so that the policy can forbid both: what a
//! publisher sends is shown as text and can never become anything else.

use std::fmt::Write as _;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

/// Path, type, text.
type Page = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SOURCE: &str = "text/plain; charset=utf-8";

/// The pages that a page's navigation names, in its order.
const NAVIGATION: &[(&str, &str)] = &[
    ("/", "All demos"),
    ("/hello.html", "Hello"),
    ("/prices.html", "Prices"),
    ("/scoreboard.html", "Scoreboard"),
    ("/wall.html", "Wall"),
    ("/monitor.html", "Server monitor"),
    ("/notifications.html", "Notifications"),
    ("/progress.html", "Progress"),
    ("/tokens.html", "Tokens"),
    ("/kept.html", "Kept"),
    ("/connections.html", "Connections"),
];

/// Where the navigation stands in a page.
const NAV: &str = "<nav aria-label=\"Demos\">";

const PAGES: &[Page] = &[
    ("/", HTML, include_str!("pages/index.html")),
    ("/hello.html", HTML, include_str!("pages/hello.html")),
    ("/prices.html", HTML, include_str!("pages/prices.html")),
    ("/scoreboard.html", HTML, include_str!("pages/scoreboard.html")),
    ("/wall.html", HTML, include_str!("pages/wall.html")),
    ("/monitor.html", HTML, include_str!("pages/monitor.html")),
    ("/notifications.html", HTML, include_str!("pages/notifications.html")),
    ("/progress.html", HTML, include_str!("pages/progress.html")),
    ("/tokens.html", HTML, include_str!("pages/tokens.html")),
    ("/kept.html", HTML, include_str!("pages/kept.html")),
    ("/connections.html", HTML, include_str!("pages/connections.html")),
    ("/demo/live.js", SCRIPT, include_str!("pages/live.js")),
    ("/demo/index.js", SCRIPT, include_str!("pages/index.js")),
    ("/demo/hello.js", SCRIPT, include_str!("pages/hello.js")),
    ("/demo/prices.js", SCRIPT, include_str!("pages/prices.js")),
    ("/demo/chart.js", SCRIPT, include_str!("pages/chart.js")),
    ("/demo/scoreboard.js", SCRIPT, include_str!("pages/scoreboard.js")),
    ("/demo/wall.js", SCRIPT, include_str!("pages/wall.js")),
    ("/demo/monitor.js", SCRIPT, include_str!("pages/monitor.js")),
    ("/demo/notifications.js", SCRIPT, include_str!("pages/notifications.js")),
    ("/demo/progress.js", SCRIPT, include_str!("pages/progress.js")),
    ("/demo/tokens.js", SCRIPT, include_str!("pages/tokens.js")),
    ("/demo/kept.js", SCRIPT, include_str!("pages/kept.js")),
    ("/demo/connections.js", SCRIPT, include_str!("pages/connections.js")),
    // What publishes, to read.
    ("/demo/sources.rs", SOURCE, include_str!("sources.rs")),
    ("/demo/stage.rs", SOURCE, include_str!("stage.rs")),
    ("/demo/exchange.rs", SOURCE, include_str!("exchange.rs")),
    ("/demo/scores.rs", SOURCE, include_str!("scores.rs")),
    ("/demo/matches.json", SOURCE, include_str!("matches.json")),
    ("/demo/users.rs", SOURCE, include_str!("users.rs")),
    ("/demo/jobs.rs", SOURCE, include_str!("jobs.rs")),
    ("/demo/answers.rs", SOURCE, include_str!("answers.rs")),
    // The JavaScript client as it is shipped: a demo needs no Node.
    ("/demo/client/index.js", SCRIPT, include_str!("../../../../web/client/dist/index.js")),
    ("/demo/client/topics.js", SCRIPT, include_str!("../../../../web/client/dist/topics.js")),
    ("/demo/client/shared.js", SCRIPT, include_str!("../../../../web/client/dist/shared.js")),
    ("/demo/client/indexeddb.js", SCRIPT, include_str!("../../../../web/client/dist/indexeddb.js")),
    ("/demo/demo.css", "text/css; charset=utf-8", include_str!("pages/demo.css")),
    ("/demo/icon.svg", "image/svg+xml", include_str!("pages/icon.svg")),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub(crate) fn router() -> Router {
    PAGES.iter().fold(Router::new(), |router, (path, kind, text)| {
        let headers = [
            (CONTENT_TYPE, *kind),
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        let text = text.replacen(NAV, &navigation(path), 1);
        router.route(path, get(move || async move { (headers, text) }))
    })
}

/// The same links in every page, the page itself marked.
fn navigation(of: &str) -> String {
    NAVIGATION.iter().fold(NAV.to_owned(), |mut nav, (path, name)| {
        let current = if *path == of { " aria-current=\"page\"" } else { "" };
        let _ = write!(nav, "<a href=\"{path}\"{current}>{name}</a> ");
        nav
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_keep_their_own_policy_and_name_only_what_is_there() {
        for (path, kind, text) in PAGES {
            if *kind != HTML {
                continue;
            }
            assert!(
                !text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick="),
                "{path}"
            );
            for tag in text.split('<').filter(|tag| tag.starts_with("script")) {
                assert!(tag.contains(" src="), "{path}: an inline script");
            }
            let text = format!("{text}{}", navigation(path));
            for attribute in ["src=\"", "href=\""] {
                for target in text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
                    assert!(PAGES.iter().any(|(path, ..)| *path == target), "{path} names {target}");
                }
            }
        }
    }

    #[test]
    fn each_page_is_in_the_navigation_and_shows_its_source() {
        for (path, kind, text) in PAGES {
            if *kind != HTML {
                continue;
            }
            assert!(text.contains(&format!("{NAV}</nav>")), "{path} has no place for the navigation");
            assert!(NAVIGATION.iter().any(|(named, _)| named == path), "{path} is not in the navigation");
            let script =
                text.split("module\" src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            assert!(text.contains(&format!("<a href=\"{script}\">")), "{path} does not link its source");
        }
    }

    #[test]
    fn what_is_received_is_only_ever_text() {
        for (path, kind, text) in PAGES {
            if *kind == SCRIPT {
                for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                    assert!(!text.contains(way), "{path} has {way}");
                }
            }
        }
    }
}
