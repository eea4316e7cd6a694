//! The paths of the page, in applications that change paths.

use actix_acceptor_dashboard::Dashboard;
use actix_web::http::StatusCode;
use actix_web::middleware::NormalizePath;
use actix_web::test::{call_service, init_service, read_body, TestRequest};
use actix_web::App;

use crate::client::*;

/// Where a browser arrives that follows the redirects from a path, and what it reads there.
async fn follow(dashboard: &Dashboard, from: &str, trims: bool) -> (String, String) {
    let mut path = from.to_owned();
    for _ in 0..5 {
        let request = get_request(&path).to_request();
        let response = if trims {
            let app = App::new().wrap(NormalizePath::trim()).service(dashboard.clone());
            call_service(&init_service(app).await, request).await.map_into_boxed_body()
        } else {
            call_service(&init_service(App::new().service(dashboard.clone())).await, request)
                .await
                .map_into_boxed_body()
        };
        if !response.status().is_redirection() {
            assert_eq!(response.status(), StatusCode::OK, "{from}: {path}");
            return (path, String::from_utf8(read_body(response).await.to_vec()).unwrap());
        }
        let location = response.headers().get("location").unwrap().to_str().unwrap();
        let (folder, _) = path.rsplit_once('/').unwrap();
        path = match location.strip_prefix("../") {
            Some(rest) => format!("{}/{rest}", folder.rsplit_once('/').unwrap().0),
            None => format!("{folder}/{location}"),
        };
    }
    panic!("{from}: too many redirects, the last one to {path}");
}

#[actix::test]
async fn the_page_is_found_with_and_without_a_slash() {
    let chat = chat().await;
    for (path, trims, at) in [
        ("/dashboard", false, "/dashboard/"),
        ("/dashboard/", false, "/dashboard/"),
        ("/dashboard", true, "/dashboard/page"),
        ("/dashboard/", true, "/dashboard/page"),
        ("/ops/chat", false, "/ops/chat/"),
        ("/ops/chat/", true, "/ops/chat/page"),
    ] {
        let dashboard = dashboard(&chat).path(path);
        let (found, page) = follow(&dashboard, path, trims).await;
        // The page refers to its files by relative paths.
        assert_eq!((found.as_str(), page.contains("src=\"app.js\"")), (at, true), "{path} {trims}");
        let (folder, _) = found.rsplit_once('/').unwrap();
        assert_eq!(follow(&dashboard, &format!("{folder}/app.js"), trims).await.0, format!("{folder}/app.js"));
    }
    let login = follow(&dashboard(&chat).token(TOKEN), "/dashboard/", true).await;
    assert_eq!(login.0, "/dashboard/login");
}

#[actix::test]
async fn head_is_answered_like_get() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    for path in ["/", "/app.js", "/metrics", "/login", "/api/pools", "/api/pools/0/settings"] {
        let request = TestRequest::with_uri(&format!("/dashboard{path}")).method(actix_web::http::Method::HEAD);
        let request = request.peer_addr(local()).insert_header(("host", "localhost"));
        assert_eq!(call(&dashboard, request).await.status, StatusCode::OK, "{path}");
    }
}

#[actix::test]
async fn pools_are_found_by_any_name() {
    for name in ["a/b", "50%", "%2F", "c++", "/run/chat.sock", "grüße & so", "a%252Fb"] {
        let chat = pool(name).await;
        let dashboard = dashboard(&chat);
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = call(&dashboard, get_request(&format!("/dashboard/api/pools/{encoded}/history"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        let found = call(&dashboard, get_request(&format!("/dashboard/api/pools/{encoded}"))).await.json();
        assert_eq!(found["name"], name);
    }
}
