//! The gate, request by request: hosts, origins, preflights, keys.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, Request, Version};
use tidings_hub::{Selector, TopicName};

use super::*;

const KEY: &str = "a-key-of-the-press";

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn config() -> GateConfig {
    GateConfig {
        keys: vec![KeyConfig {
            name: "press".into(),
            hash: keys::hash(KEY).unwrap(),
            publish: texts(&["news/**"]),
            subscribe: texts(&["desk/*"]),
            manage: Vec::new(),
        }],
        anonymous: Some(AnonymousConfig { subscribe: texts(&["news/**"]), ..AnonymousConfig::default() }),
        hosts: texts(&["hub.example.com", "*.hubs.example.com"]),
        origins: texts(&["https://app.example.com", "https://*.apps.example.com:8443"]),
    }
}

/// A head out of `METHOD TARGET` and headers.
fn head(line: &str, headers: &[(&str, &str)]) -> Parts {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The status, 0 for "may go on"; and the headers that an answer gets.
fn outcome(gate: &Gate, mut parts: Parts) -> (u16, HeaderMap) {
    match gate.admit(&mut parts) {
        ControlFlow::Continue(Admitted { cors, .. }) => {
            let mut headers = HeaderMap::new();
            cors.apply(&mut headers);
            (0, headers)
        }
        ControlFlow::Break(answer) => (answer.status().as_u16(), answer.headers().clone()),
    }
}

#[test]
fn hosts() {
    let gate = Gate::new(config()).unwrap();
    let check = |host: &str, expected: u16| {
        let (status, _) = outcome(&gate, head("GET /topics/a", &[("host", host)]));
        assert_eq!(status, expected, "{host:?}");
        // HTTP/2 says it in the target.
        if let Ok(parts) = Request::get(format!("http://{host}/topics/a")).body(()) {
            let (status, _) = outcome(&gate, parts.into_parts().0);
            assert_eq!(status, expected, ":authority {host:?}");
        }
    };
    for ours in [
        "localhost",
        "LOCALHOST:4000",
        "localhost.",
        "my.localhost:80",
        "127.0.0.1:4000",
        "10.1.2.3",
        "[::1]:4000",
        "[fe80::1]",
        "hub.example.com",
        "Hub.Example.com:8080",
        "hub.example.com.",
        "a.hubs.example.com",
    ] {
        check(ours, 0);
    }
    for foreign in [
        "evil.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "notlocalhost",
        "hubs.example.com",
        "xhub.example.com",
        "1.2.3",
        "[::1%eth0]",
    ] {
        let (status, _) = outcome(&gate, head("GET /topics/a", &[("host", foreign)]));
        assert!(matches!(status, 421 | 400), "{foreign:?}: {status}");
    }
    check("evil.com", 421);
    for malformed in
        ["", "a b", "user@localhost", "localhost:99999", "localhost:x", "http://localhost", "a/b"]
    {
        let (status, _) = outcome(&gate, head("GET /topics/a", &[("host", malformed)]));
        assert_eq!(status, 400, "{malformed:?}");
    }
}

#[test]
fn a_host_must_be_there_once_and_cannot_hide_behind_another() {
    let gate = Gate::new(config()).unwrap();
    let check = |parts: Parts, expected: u16| assert_eq!(outcome(&gate, parts).0, expected);
    check(head("GET /", &[]), 400);
    check(head("GET /", &[("host", "localhost"), ("host", "localhost")]), 400);
    check(head("GET http://localhost/", &[("host", "evil.com")]), 421);
    check(head("GET http://evil.com/", &[("host", "localhost")]), 421);
    let mut old = head("GET /", &[]);
    old.version = Version::HTTP_10;
    check(old, 0);
    let any = Gate::new(GateConfig { hosts: texts(&["*"]), ..config() }).unwrap();
    assert_eq!(outcome(&any, head("GET /", &[("host", "evil.com")])).0, 0);
}

#[test]
fn writes_of_foreign_pages_are_refused() {
    let gate = Gate::new(GateConfig { keys: Vec::new(), anonymous: None, ..config() }).unwrap();
    let check = |headers: &[(&str, &str)], expected: u16| {
        let host = ("host", "hub.example.com:4000");
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let all: Vec<_> = [host].iter().chain(headers).copied().collect();
            let (status, answer) = outcome(&gate, head(&format!("{method} /topics/a"), &all));
            assert_eq!(status, expected, "{method} {headers:?}");
            assert_eq!(answer[VARY], "Origin");
        }
        let all: Vec<_> = [host].iter().chain(headers).copied().collect();
        assert_eq!(outcome(&gate, head("GET /topics/a", &all)).0, 0, "reads pass: {headers:?}");
    };
    check(&[], 0);
    check(&[("origin", "http://hub.example.com:4000")], 0);
    check(&[("origin", "https://hub.example.com:4000")], 0);
    check(&[("origin", "http://hub.example.com")], 403);
    check(&[("origin", "https://app.example.com")], 0);
    check(&[("origin", "https://x.apps.example.com:8443")], 0);
    check(&[("origin", "https://x.apps.example.com")], 403);
    check(&[("origin", "http://app.example.com")], 403);
    check(&[("origin", "https://app.example.com.evil.com")], 403);
    for loopback in [
        "http://localhost:3000",
        "http://127.0.0.1",
        "https://[::1]:5173",
        "http://my.localhost",
        "http://127.9.9.9",
    ] {
        check(&[("origin", loopback)], 0);
    }
    for foreign in ["null", "https://evil.com", "file://", "http://localhost.evil.com", "ftp://localhost", ""]
    {
        check(&[("origin", foreign)], 403);
    }
    check(&[("origin", "https://app.example.com"), ("origin", "https://app.example.com")], 403);
    check(&[("sec-fetch-site", "cross-site")], 403);
    check(&[("sec-fetch-site", "same-site")], 403);
    check(&[("sec-fetch-site", "same-origin")], 0);
    check(&[("sec-fetch-site", "none")], 0);
}

#[test]
fn the_default_port_of_the_pages_scheme_counts() {
    let gate = Gate::new(GateConfig::default()).unwrap();
    let check = |host: &str, origin: &str, expected: u16| {
        let parts = head("POST /topics/a", &[("host", host), ("origin", origin)]);
        assert_eq!(outcome(&gate, parts).0, expected, "{host} {origin}");
    };
    check("10.0.0.1", "http://10.0.0.1", 0);
    check("10.0.0.1", "https://10.0.0.1", 0);
    check("10.0.0.1:443", "https://10.0.0.1", 0);
    check("10.0.0.1:80", "https://10.0.0.1", 403);
    check("10.0.0.1:4000", "http://10.0.0.1:4001", 403);
}

#[test]
fn answers_are_shared_with_allowed_origins_only() {
    let check = |gate: &Gate, origin: &str, allowed: bool, credentials: bool| {
        let (_, headers) = outcome(gate, head("GET /topics/a", &[("host", "localhost"), ("origin", origin)]));
        assert_eq!(headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some(), allowed, "{origin}");
        assert_eq!(headers.get(ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some(), credentials, "{origin}");
        assert_eq!(headers[VARY], "Origin");
        if allowed {
            assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin, "never a star");
            assert!(headers[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().contains("Tidings-Resume"));
        }
    };
    let gate = Gate::new(config()).unwrap();
    check(&gate, "https://app.example.com", true, true);
    check(&gate, "http://localhost:3000", true, false);
    check(&gate, "https://evil.com", false, false);
    check(&gate, "null", false, false);
    let open =
        Gate::new(GateConfig { origins: texts(&["*", "https://app.example.com"]), ..config() }).unwrap();
    check(&open, "https://evil.com", true, false);
    check(&open, "https://app.example.com", true, true);
    let write = head("POST /topics/a", &[("host", "localhost"), ("origin", "https://evil.com")]);
    assert_eq!(outcome(&open, write).0, 403, "a star lets read, not write");
}

#[test]
fn preflights_end_at_the_gate_and_need_no_key() {
    let gate = Gate::new(GateConfig { anonymous: None, ..config() }).unwrap();
    let preflight = |origin: &str| {
        let headers = [
            ("host", "localhost"),
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "last-event-id"),
        ];
        outcome(&gate, head("OPTIONS /topics/a", &headers))
    };
    for origin in ["https://app.example.com", "http://localhost:3000"] {
        let (status, headers) = preflight(origin);
        assert_eq!(status, 204);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, POST, PUT, DELETE");
        let allowed = headers[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        for name in ["Last-Event-ID", "Content-Type", "Authorization", "Idempotency-Key", "Cache-Control"] {
            assert!(allowed.contains(name), "{name}");
        }
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "600");
    }
    let (status, headers) = preflight("https://evil.com");
    assert_eq!(status, 403);
    assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    let plain = head("OPTIONS /topics/a", &[("host", "localhost"), ("origin", "https://app.example.com")]);
    assert_eq!(outcome(&gate, plain).0, 0, "without a requested method it is no preflight");
}

#[test]
fn keys_are_found_wherever_they_are_and_a_bad_one_is_never_nobody() {
    let gate = Gate::new(config()).unwrap();
    let check = |target: &str, headers: &[(&str, &str)], expected: Option<&str>| {
        let all: Vec<_> = [("host", "localhost")].iter().chain(headers).copied().collect();
        let mut parts = head(&format!("GET {target}"), &all);
        match (gate.admit(&mut parts), expected) {
            (ControlFlow::Continue(Admitted { access, .. }), Some(who)) => {
                assert_eq!(&*access.scope, who, "{target} {headers:?}");
                let shown = format!("{parts:?}");
                assert!(!shown.contains(KEY), "behind the gate nothing prints a key: {shown}");
            }
            (ControlFlow::Break(answer), None) => {
                assert_eq!(answer.status(), 401, "{target} {headers:?}");
                assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
            }
            (admitted, _) => panic!("{target} {headers:?}: admitted: {}", admitted.is_continue()),
        }
    };
    let press = Some("key:press");
    let bearer = format!("Bearer {KEY}");
    check("/a", &[], Some("anonymous"));
    check("/a", &[("authorization", &bearer)], press);
    check("/a", &[("authorization", &format!("bEARER   {KEY}  "))], press);
    check(&format!("/a?access_token={KEY}&from=start"), &[], press);
    check(&format!("/a?%61ccess_token={}", KEY.replace('-', "%2D")), &[], press);
    check("/a", &[("cookie", &format!("a=b; tidings_key={KEY}; c=d"))], press);
    check("/a", &[("cookie", "a=b"), ("cookie", &format!("tidings_key=\"{KEY}\""))], press);
    check("/a", &[("cookie", "xtidings_key=1; other=2")], Some("anonymous"));
    // The header beats the query beats the cookie; what counts has to be right.
    check("/a?access_token=wrong", &[("authorization", &bearer)], press);
    check(&format!("/a?access_token={KEY}"), &[("authorization", "Bearer wrong-wrong-wrong")], None);
    check("/a?access_token=wrong", &[("cookie", &format!("tidings_key={KEY}"))], None);
    for bad in ["Bearer", "Bearer ", "Basic dTpw", KEY, "Bearer wrong-wrong-wrong", "", "Bearer short"] {
        check("/a", &[("authorization", bad)], None);
    }
    check("/a", &[("authorization", &bearer), ("authorization", &bearer)], None);
    check(&format!("/a?access_token={KEY}&access_token={KEY}"), &[], None);
    check("/a?access_token=", &[], None);
    check("/a?access_token", &[], None);
    check(&format!("/a?access_token={}", "x".repeat(60_000)), &[], None);
    check("/a", &[("cookie", "tidings_key=")], None);
    check("/a", &[("cookie", &format!("tidings_key={KEY}x"))], None);
}

#[test]
fn a_key_adds_to_what_everybody_may_and_alone_opens_private_events() {
    let gate = Gate::new(config()).unwrap();
    let access = |headers: &[(&str, &str)]| {
        let all: Vec<_> = [("host", "localhost")].iter().chain(headers).copied().collect();
        let mut parts = head("GET /a", &all);
        gate.admit(&mut parts).continue_value().unwrap().access
    };
    let topic = |text| TopicName::parse(text).unwrap();
    let selector = |text| Selector::parse(text).unwrap();
    let nobody = access(&[]);
    assert!(nobody.may_subscribe(&selector("news/*")).is_ok());
    assert_eq!(nobody.may_publish(&topic("news/1")).unwrap_err().status(), 401);
    assert!(nobody.grant.is_empty());
    let press = access(&[("authorization", &format!("Bearer {KEY}"))]);
    assert!(press.may_publish(&topic("news/1")).is_ok());
    assert!(
        press.may_subscribe(&selector("news/**")).is_ok() && press.may_subscribe(&selector("desk/*")).is_ok()
    );
    assert_eq!(press.may_subscribe(&selector("desk/**")).unwrap_err().status(), 403);
    assert_eq!(press.may_manage(&topic("news/1")).unwrap_err().status(), 403);
    assert!(press.grant.matches("desk/1") && !press.grant.matches("news/1"));
}

#[test]
fn the_policy_depends_on_what_is_configured() {
    let nobody_publishes = |config: GateConfig| {
        let gate = Gate::new(config).unwrap();
        gate.anonymous.may_publish(&TopicName::parse("a").unwrap()).is_err()
    };
    assert!(!nobody_publishes(GateConfig::default()));
    assert!(nobody_publishes(GateConfig { anonymous: None, ..config() }));
    assert!(nobody_publishes(config()));

    let exposed = |config: &GateConfig, listen: &str| config.check_exposure(listen.parse().unwrap()).is_err();
    for loopback in ["127.0.0.1:1", "[::1]:1", "127.8.8.8:1", "[::ffff:127.0.0.1]:1"] {
        assert!(!exposed(&GateConfig::default(), loopback), "{loopback}");
    }
    for open in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "[::ffff:10.0.0.1]:1"] {
        assert!(exposed(&GateConfig::default(), open), "{open}");
        assert!(!exposed(&config(), open), "{open}");
        let said = GateConfig { anonymous: Some(AnonymousConfig::default()), ..GateConfig::default() };
        assert!(!exposed(&said, open), "{open}");
    }
}

#[test]
fn a_bad_configuration_is_named() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut GateConfig), named: &str) {
        let mut config = config();
        change(&mut config);
        let message = Gate::new(config).unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
    }
    check(|c| c.keys[0].name = String::new(), "\"\"");
    check(|c| c.keys[0].name = "a b".into(), "\"a b\"");
    check(|c| c.keys[0].name = "n".repeat(65), "visible ASCII");
    check(|c| c.keys[0].hash = KEY.into(), "hash of key \"press\"");
    check(|c| c.keys[0].hash.truncate(70), "hash of key \"press\"");
    check(|c| c.keys[0].hash = c.keys[0].hash.replace("sha256:", "sha256:zz")[..71].into(), "hash of key");
    check(|c| c.keys[0].publish.push("a?*".into()), "publish of key \"press\": selector \"a?*\"");
    check(|c| c.keys.push(KeyConfig { name: "second".into(), ..c.keys[0].clone() }), "\"second\" repeats");
    check(
        |c| {
            let hash = keys::hash("another-key-of-the-press").unwrap();
            c.keys.push(KeyConfig { hash, ..c.keys[0].clone() });
        },
        "\"press\" repeats",
    );
    check(|c| c.anonymous.as_mut().unwrap().manage.push(String::new()), "anonymous manage");
    for bad in ["https://a", "a:80", "a/b", "", "*.", "a.*.b"] {
        check(|c| c.hosts.push(bad.into()), "hosts: ");
    }
    for bad in ["a.example.com", "https://a/", "ftp://a", "https://", "https://a:x", "null", "https://a.*"] {
        check(|c| c.origins.push(bad.into()), "origins: ");
    }
    let mut config = config();
    config.keys[0].hash = KEY.into();
    assert!(
        !Gate::new(config).unwrap_err().to_string().contains(KEY),
        "a key in the wrong place is not repeated"
    );
}

#[test]
fn upper_case_digests_are_the_same() {
    let mut config = config();
    config.keys[0].hash = format!("sha256:{}", config.keys[0].hash[7..].to_uppercase());
    let gate = Gate::new(config).unwrap();
    assert!(gate.keys.find(KEY.as_bytes()).is_some());
    assert!(gate.keys.find(&KEY.as_bytes()[1..]).is_none());
}
