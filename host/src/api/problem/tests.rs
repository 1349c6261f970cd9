use super::*;

#[test]
fn every_code_is_an_http_error_and_comes_back_from_its_problem() {
    for &code in Code::ALL {
        let refusal = Refusal::new(code, "what happened").hint("what to do");
        let problem = refusal.problem();
        let status = StatusCode::from_u16(problem.status).expect("a status");
        assert!(status.is_client_error() || status.is_server_error(), "{code}");
        assert_eq!(problem.kind, format!("urn:trackway:error:{code}"));
        let error = problem.into_error();
        assert_eq!((error.code, error.message.as_str()), (code, "what happened"));
        assert_eq!(error.hint.as_deref(), Some("what to do"));
    }
}

#[test]
fn a_refused_key_asks_for_a_bearer_key() {
    let response = Refusal::new(Code::Unauthorized, "no").into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}
