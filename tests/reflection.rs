//! gRPC's server reflection describes each service of the HTTP address, so that tools call them
//! without `.proto` files. The descriptors are compiled from `docs/grpc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use prost::Message;
use protox::{
    Compiler,
    prost_reflect::{
        DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor, Value,
        prost_types::FileDescriptorProto,
    },
};

use crate::{
    harness::{
        Server,
        http::{call, frame, post},
        route_sources::source_services,
        spans::{span, traces},
    },
    tenants::rpc_methods,
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The schemas, and the descriptors that the program embeds.
const FOLDER: &str = "docs/grpc";
const FILE: &str = "docs/grpc/services.binpb";
/// Environment variable with which the test writes the file. The next compilation embeds it.
const WRITE: &str = "TIDINGS_WRITE_DESCRIPTORS";
/// Most bytes of a file's descriptor, with which `query/apis/src/http/reflection.rs` reckons.
const DESCRIPTOR_BYTES_MAX: usize = 8 << 10;

/// Methods that are refused by their names, and not described.
const REFUSED: [&str; 4] = [
    "/jaeger.api_v2.QueryService/ArchiveTrace",
    "/arrow.flight.protocol.FlightService/ListFlights",
    "/arrow.flight.protocol.FlightService/PollFlightInfo",
    "/arrow.flight.protocol.FlightService/DoExchange",
];

#[derive(Clone, PartialEq, Message)]
struct ReflectionRequest {
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ReflectionResponse {
    #[prost(message, optional, tag = "4")]
    files: Option<DescribedFiles>,
    #[prost(message, optional, tag = "6")]
    services: Option<ListedServices>,
}

#[derive(Clone, PartialEq, Message)]
struct DescribedFiles {
    #[prost(bytes = "vec", repeated, tag = "1")]
    descriptors: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct ListedServices {
    #[prost(message, repeated, tag = "1")]
    services: Vec<ListedService>,
}

#[derive(Clone, PartialEq, Message)]
struct ListedService {
    #[prost(string, tag = "1")]
    name: String,
}

fn of_symbol(name: &str) -> ReflectionRequest {
    ReflectionRequest {
        file_containing_symbol: Some(name.to_owned()),
        ..ReflectionRequest::default()
    }
}

fn ask(server: &Server, path: &str, request: &ReflectionRequest) -> ReflectionResponse {
    let answer = call(&server.http, path, &[], frame(false, &request.encode_to_vec()));
    assert_eq!(answer.code, Some(0), "{request:?}: {}", answer.message);
    ReflectionResponse::decode(answer.body).unwrap()
}

fn listed(server: &Server, path: &str) -> BTreeSet<String> {
    let all =
        ReflectionRequest { list_services: Some("*".to_owned()), ..ReflectionRequest::default() };
    let answer = ask(server, path, &all);
    answer.services.unwrap().services.into_iter().map(|service| service.name).collect()
}

/// Reads the files of all services, and those that they import, as `grpcurl` does.
fn described(server: &Server, path: &str) -> DescriptorPool {
    let mut asked: Vec<ReflectionRequest> =
        listed(server, path).iter().map(|name| of_symbol(name)).collect();
    let mut files: BTreeMap<String, FileDescriptorProto> = BTreeMap::new();
    while let Some(request) = asked.pop() {
        for bytes in ask(server, path, &request).files.unwrap().descriptors {
            let file = FileDescriptorProto::decode(bytes.as_slice()).unwrap();
            for import in file.dependency.iter().filter(|name| !files.contains_key(*name)) {
                let file_by_filename = Some(import.clone());
                asked.push(ReflectionRequest { file_by_filename, ..ReflectionRequest::default() });
            }
            files.insert(file.name().to_owned(), file);
        }
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files.into_values()).unwrap();
    pool
}

fn path_of(service: &ServiceDescriptor, method: &MethodDescriptor) -> String {
    format!("/{}/{}", service.full_name(), method.name())
}

/// Returns the schemas, in an order that does not change.
fn schemas(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "proto") {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn the_embedded_descriptors_are_those_of_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join(FOLDER);
    let mut compiler = Compiler::new([&folder]).unwrap();
    compiler.include_imports(true).open_files(schemas(&folder)).unwrap();
    let built = compiler.encode_file_descriptor_set();
    for file in compiler.file_descriptor_set().file {
        let bytes = file.encoded_len();
        assert!(bytes <= DESCRIPTOR_BYTES_MAX, "{}: {bytes} bytes", file.name());
    }
    let path = root.join(FILE);
    if env::var_os(WRITE).is_some() {
        fs::write(&path, &built).unwrap();
    }
    assert!(
        fs::read(&path).unwrap() == built,
        "{FOLDER} differs from {FILE}\n{WRITE}=1 cargo test --test tests embedded_descriptors \
         writes the file"
    );
}

#[test]
fn every_service_and_method_of_the_address_is_described() {
    let server = Server::start();
    let services = source_services();
    assert!(services.len() >= 9, "{services:?}");
    for path in [V1, V1_ALPHA] {
        assert_eq!(listed(&server, path), services, "{path}");
        let pool = described(&server, path);
        let mut methods = BTreeSet::new();
        for service in pool.services() {
            methods.extend(service.methods().map(|method| path_of(&service, &method)));
        }
        methods.retain(|method| !method.starts_with("/grpc."));
        let served = rpc_methods().filter(|method| !REFUSED.contains(method));
        let served: BTreeSet<String> = served.map(str::to_owned).collect();
        assert_eq!(methods, served, "{path}: described, and in tests/tenants/requests.rs");
    }
}

#[test]
fn a_service_is_called_by_its_description_alone() {
    let server = Server::start();
    let sent = traces("shop", vec![span(1, 1, 0, "GET /")]).encode_to_vec();
    let stored = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", sent);
    assert_eq!(stored.status, 200);
    let pool = described(&server, V1);
    for name in ["jaeger.api_v2.QueryService", "jaeger.api_v3.QueryService"] {
        let service = pool.get_service_by_name(name).unwrap();
        let method = service.methods().find(|method| method.name() == "GetServices").unwrap();
        let asked = DynamicMessage::new(method.input()).encode_to_vec();
        let answer = call(&server.http, &path_of(&service, &method), &[], frame(false, &asked));
        assert_eq!(answer.code, Some(0), "{name}: {}", answer.message);
        let found = DynamicMessage::decode(method.output(), answer.body).unwrap();
        let services = found.get_field_by_name("services").unwrap();
        let names = services.as_list().unwrap();
        assert!(names.contains(&Value::String("shop".to_owned())), "{name}: {names:?}");
    }
}

#[test]
fn names_that_nothing_has_and_other_protocols_are_refused() {
    let server = Server::start();
    for path in [V1, V1_ALPHA] {
        let asked = of_symbol("shop.v1.Carts").encode_to_vec();
        let answer = call(&server.http, path, &[], frame(false, &asked));
        assert_eq!((answer.http, answer.code), (200, Some(5)), "{path}: {}", answer.message);
        let other = path.replace("ServerReflectionInfo", "OfTheFuture");
        let answer = call(&server.http, &other, &[], frame(false, &asked));
        assert_eq!(answer.code, Some(12), "{other}");
        assert!(answer.message.contains("OfTheFuture"), "{}", answer.message);
        assert_eq!(post(&server.http, path, "application/json", "{}").status, 415, "{path}");
    }
}
