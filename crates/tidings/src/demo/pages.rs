//! The demo's pages, part of the binary. No inline script or style, so that the policy can forbid both: what a
//! publisher sends is shown as text and can never become anything else.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

/// Path, type, text.
type Page = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PAGES: &[Page] = &[
    ("/", HTML, include_str!("pages/index.html")),
    ("/hello.html", HTML, include_str!("pages/hello.html")),
    ("/monitor.html", HTML, include_str!("pages/monitor.html")),
    ("/connections.html", HTML, include_str!("pages/connections.html")),
    ("/kept.html", HTML, include_str!("pages/kept.html")),
    ("/demo/live.js", SCRIPT, include_str!("pages/live.js")),
    ("/demo/index.js", SCRIPT, include_str!("pages/index.js")),
    ("/demo/hello.js", SCRIPT, include_str!("pages/hello.js")),
    ("/demo/monitor.js", SCRIPT, include_str!("pages/monitor.js")),
    ("/demo/connections.js", SCRIPT, include_str!("pages/connections.js")),
    ("/demo/kept.js", SCRIPT, include_str!("pages/kept.js")),
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
        router.route(path, get(move || async move { (headers, *text) }))
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
            for attribute in ["src=\"", "href=\""] {
                for target in text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
                    assert!(PAGES.iter().any(|(path, ..)| *path == target), "{path} names {target}");
                }
            }
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
