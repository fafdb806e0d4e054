//! The console: one page for people, served from the binary, and what it asks for.
//!
//! | file | what |
//! | --- | --- |
//! | `feed` | the cluster's state, looked at once a second while anybody watches: server-sent events |
//! | `lookup` | one key: where it lives, and what each node's copy has of it |
//! | `index.html`, `*.css`, `*.js` | the page. Scripts are modules; nothing is built, nothing is fetched from elsewhere |
//!
//! What lies below `/console/` is the page's own and may change with it: programs use `/cluster/…`, `/local/…`, `/metrics`.
//!
//! Keys, values and names come from strangers. The scripts make text of them, never markup, and the page's policy has the
//! browser refuse markup made of strings (`require-trusted-types-for`), scripts in it, and anything from elsewhere.

pub(super) mod feed;
mod lookup;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::app::App;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The files of the page: path, content type, content.
const FILES: [(&str, &str, &str); 7] = [
    ("/console/console.css", "text/css; charset=utf-8", include_str!("console.css")),
    ("/console/main.js", "text/javascript; charset=utf-8", include_str!("main.js")),
    ("/console/dom.js", "text/javascript; charset=utf-8", include_str!("dom.js")),
    ("/console/figures.js", "text/javascript; charset=utf-8", include_str!("figures.js")),
    ("/console/ring.js", "text/javascript; charset=utf-8", include_str!("ring.js")),
    ("/console/chart.js", "text/javascript; charset=utf-8", include_str!("chart.js")),
    ("/console/lookup.js", "text/javascript; charset=utf-8", include_str!("lookup.js")),
];

pub(super) fn router() -> Router<Arc<App>> {
    let router = Router::new()
        .route("/console/events", get(feed::events))
        .route("/console/key/{bucket}/{*key}", get(lookup::key))
        .route("/console/key/{bucket}/", get(lookup::key));
    FILES
        .into_iter()
        .fold(router, |router, (path, kind, text)| router.route(path, get(move || async move { file(kind, text) })))
}

/// The page itself.
pub(super) fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("index.html"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        // Of this very binary: another one, a moment later, may have others.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_its_scripts_name_only_files_that_are_there() {
        let page = ("/", "", include_str!("index.html"));
        for (path, _, text) in FILES.into_iter().chain([page]) {
            for said in text.split(['"', '\'']).filter(|said| said.ends_with(".js") || said.ends_with(".css")) {
                let name = said.rsplit('/').next().unwrap_or_default();
                assert!(FILES.iter().any(|(file, ..)| file.ends_with(&format!("/{name}"))), "{path} names {said}");
            }
            // Namespaces are names that look like addresses.
            let elsewhere = text.replace("http://www.w3.org/", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path} names another place");
        }
    }

    #[test]
    fn no_script_makes_markup_of_text() {
        for (path, kind, text) in FILES {
            assert!(kind.ends_with("charset=utf-8"));
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
    }
}
