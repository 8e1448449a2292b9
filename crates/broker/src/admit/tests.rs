//! The gate: phases, deadlines, who and where from.

use super::*;
use tonic::Code;

fn running() -> Admission {
    let admission = Admission::default();
    admission.enter(Phase::Running);
    admission
}

fn request(headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    for (key, value) in headers {
        request.metadata_mut().insert(*key, value.parse().unwrap());
    }
    request
}

#[test]
fn only_a_running_broker_admits_and_phases_only_move_on() {
    let admission = Admission::default();
    let refused = admission.admit(Api::GetTopic, &request(&[])).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("starting"));

    admission.enter(Phase::Running);
    admission.admit(Api::GetTopic, &request(&[])).unwrap();

    admission.enter(Phase::Draining);
    admission.enter(Phase::Running);
    assert_eq!(admission.phase(), Phase::Draining);
    let refused = admission.admit(Api::GetTopic, &request(&[])).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("shutting down"));
}

#[test]
fn deadline_comes_from_grpc_timeout() {
    let admission = running();
    let context = admission
        .admit(Api::Fetch, &request(&[("grpc-timeout", "250m")]))
        .unwrap();
    let left = context.at_most(Duration::from_secs(30));
    assert!(
        left <= Duration::from_millis(250) && left > Duration::ZERO,
        "{left:?}"
    );
    assert_eq!(
        context.at_most(Duration::from_millis(1)),
        Duration::from_millis(1)
    );

    let context = admission.admit(Api::Fetch, &request(&[])).unwrap();
    assert_eq!(context.deadline, None);
    assert_eq!(context.at_most(Duration::from_secs(30)), Duration::from_secs(30));

    let passed = admission
        .admit(Api::Fetch, &request(&[("grpc-timeout", "0n")]))
        .unwrap_err();
    assert_eq!(passed.code(), Code::DeadlineExceeded);
}

#[test]
fn timeouts_that_cannot_be_read_are_refused_and_huge_ones_are_bounded() {
    let admission = running();
    for bad in ["", "5", "S", "123456789S", "-1S", "1x", "1.5S", " 1S", "٣S"] {
        let mut request = Request::new(());
        let Ok(value) = tonic::metadata::MetadataValue::try_from(bad.as_bytes()) else {
            continue;
        };
        request.metadata_mut().insert("grpc-timeout", value);
        let refused = admission.admit(Api::Fetch, &request).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad:?}");
    }
    let context = admission
        .admit(Api::Fetch, &request(&[("grpc-timeout", "99999999H")]))
        .unwrap();
    assert!(context.deadline.is_some());
}

#[test]
fn client_listener_and_trace_are_known() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut request = request(&[("quipu-client-id", "billing"), ("traceparent", trace)]);
    request.extensions_mut().insert(ConnectionInfo {
        listener: Arc::from("client"),
        peer: SocketAddr::from(([127, 0, 0, 1], 9)),
    });
    let context = running().admit(Api::Produce, &request).unwrap();
    assert_eq!(&*context.client_id, "billing");
    assert_eq!(&*context.listener, "client");
    assert_eq!(context.principal, Principal::Anonymous);
    assert_eq!(context.throttle_ms(), 0);
    let trace = context.traceparent.unwrap();
    assert_eq!(trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(trace.span_id, 0xb7ad_6b71_6920_3331);
    assert!(trace.sampled);
}

#[test]
fn a_client_id_is_cut_to_a_bound() {
    let long = "x".repeat(4096);
    let context = running()
        .admit(Api::Produce, &request(&[("quipu-client-id", &long)]))
        .unwrap();
    assert_eq!(context.client_id.len(), CLIENT_ID_MAX);
}

#[test]
fn what_is_not_a_trace_is_no_trace() {
    for bad in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(TraceParent::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn streams_learn_that_the_broker_drains() {
    let admission = running();
    let context = admission.admit(Api::Consume, &request(&[])).unwrap();
    let drained = tokio::spawn(async move { context.drained().await });
    admission.enter(Phase::Draining);
    drained.await.unwrap();
}
