//! Every address that a page names leads somewhere.

use super::support::{Fake, Site, attributes};
use edge::Keys;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_link_resolves() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let mut known = BTreeSet::from(["/".to_owned()]);
    let mut next = vec!["/".to_owned()];
    while let Some(path) = next.pop() {
        let (status, headers, page) = site.get(&path).await;
        assert!(status.is_success(), "{path}: {status}");
        let is_page = headers["content-type"].to_str().unwrap().starts_with("text/html");
        let is_download = headers.contains_key("content-disposition");
        if !is_page || is_download {
            continue;
        }
        for name in ["href", "src", "data-moving"] {
            for target in attributes(&page, name) {
                assert!(target.starts_with('/') || target.starts_with('#'), "{path} leads out, to {target}");
                if let Some(id) = target.strip_prefix('#') {
                    assert!(page.contains(&format!(" id=\"{id}\"")), "{path}: nothing is called {id}");
                } else if known.insert(target.clone()) {
                    next.push(target);
                }
            }
        }
        for target in attributes(&page, "action").into_iter().chain(attributes(&page, "formaction")) {
            let known = ["/sql", "/sql/download/csv", "/sql/download/json", "/tail", "/providers", "/logout"];
            assert!(known.contains(&target.as_str()) || target.starts_with("/reports/"), "{path} sends to {target}");
        }
        for name in ["aria-labelledby", "aria-describedby", "for"] {
            for ids in attributes(&page, name) {
                for id in ids.split(' ') {
                    assert!(page.contains(&format!(" id=\"{id}\"")), "{path}: {name} names {id}, which is nowhere");
                }
            }
        }
    }
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(site.get("/assets/style-0.css").await.0, 404);
}

#[tokio::test]
async fn files_are_kept_for_as_long_as_their_content_is_the_same() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let (_, _, page) = site.get("/").await;
    let files: Vec<String> = attributes(&page, "href").into_iter().chain(attributes(&page, "src")).collect();
    let files: Vec<&String> = files.iter().filter(|path| path.starts_with("/assets/")).collect();
    assert_eq!(files.len(), 3);
    for path in files {
        let (_, headers, text) = site.get(path).await;
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable", "{path}");
        assert!(!text.contains("http://") || path.ends_with(".svg"), "{path} asks elsewhere");
        assert!(!text.contains("https://") && !text.contains("@import") && !text.contains("eval("), "{path}");
    }
}
