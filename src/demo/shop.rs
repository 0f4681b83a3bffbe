//! The demo shop: its transaction types and their call trees.

use fastrand::Rng;
use tidings_proto::otlp::{KeyValue, SpanKind, Value};

use super::demo_call::{Child, ChildStart, DemoCall};

const INFO: i32 = 9;
const WARN: i32 = 13;
const ERROR: i32 = 17;

/// Makes the next transaction.
pub(crate) fn transaction(rng: &mut Rng) -> DemoCall {
    match rng.u32(0..100) {
        0..22 => list_products(rng),
        22..40 => product_page(rng),
        40..50 => login(rng),
        50..62 => add_to_cart(rng),
        62..82 => checkout(rng, Payment::Fine),
        82..87 => checkout(rng, Payment::SlowFraud),
        87..91 => checkout(rng, Payment::Declined),
        91..95 => checkout(rng, Payment::Retried),
        95..98 => refund(rng),
        _ => order_history(rng),
    }
}

/// Outcome of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payment {
    Fine,
    SlowFraud,
    Declined,
    Retried,
}

/// Returns about `us` microseconds: between 70 % and 150 % of it.
fn about(rng: &mut Rng, us: u64) -> u64 {
    us * rng.u64(70..150) / 100
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// A request that enters the system.
fn entry(rng: &mut Rng, route: &str, status: i64) -> DemoCall {
    let (method, path) = route.split_once(' ').unwrap_or(("GET", route));
    let us = about(rng, 1_500);
    DemoCall::new("web-gateway", route, SpanKind::Server, us)
        .with("http.request.method", text(method))
        .with("http.route", text(path))
        .with("http.response.status_code", int(status))
        .with("url.scheme", text("https"))
        .with("user.tier", text(["free", "silver", "gold"][rng.usize(0..3)]))
}

/// A call over HTTP: the caller's span around that of the called service.
fn http(rng: &mut Rng, caller: &'static str, inner: DemoCall) -> DemoCall {
    let network = about(rng, 600);
    let failed = inner.failure.clone();
    let call = DemoCall::new(caller, inner.name.clone(), SpanKind::Client, network)
        .with("http.request.method", text(inner.name.split(' ').next().unwrap_or("GET")))
        .with("server.address", text(inner.service))
        .with("http.response.status_code", int(if failed.is_some() { 500 } else { 200 }));
    DemoCall { failure: failed, ..call }.then(inner)
}

/// A call over gRPC.
fn grpc(rng: &mut Rng, caller: &'static str, inner: DemoCall) -> DemoCall {
    let network = about(rng, 400);
    let failed = inner.failure.clone();
    let call = DemoCall::new(caller, inner.name.clone(), SpanKind::Client, network)
        .with("rpc.system", text("grpc"))
        .with("rpc.method", text(inner.name.clone()))
        .with("rpc.grpc.status_code", int(if failed.is_some() { 2 } else { 0 }))
        .with("server.address", text(inner.service));
    DemoCall { failure: failed, ..call }.then(inner)
}

fn server(service: &'static str, name: &str, us: u64) -> DemoCall {
    DemoCall::new(service, name, SpanKind::Server, us)
}

/// A query of a database.
fn sql(rng: &mut Rng, service: &'static str, statement: &str, us: u64) -> DemoCall {
    let us = about(rng, us);
    let mut words = statement.split(' ');
    let verb = words.next().unwrap_or("SELECT").to_owned();
    let table =
        statement.split(' ').skip_while(|word| !matches!(*word, "FROM" | "INTO" | "UPDATE")).nth(1);
    let name = table.map_or_else(|| verb.clone(), |table| format!("{verb} {table}"));
    DemoCall::new(service, name, SpanKind::Client, us)
        .with("db.system", text("postgresql"))
        .with("db.operation", text(verb))
        .with("db.statement", text(statement))
        .with("db.namespace", text(format!("{service}-db")))
        .with("server.address", text(format!("{service}-db")))
}

/// A query of the reviews of a product.
pub(super) fn review(rng: &mut Rng) -> DemoCall {
    sql(rng, "catalog", "SELECT * FROM reviews WHERE id = $1", 4_000)
}

/// A line of an order.
pub(super) fn order_line(rng: &mut Rng) -> DemoCall {
    sql(rng, "orders", "INSERT INTO order_lines VALUES ($1, $2, $3)", 1_800)
}

/// The query and the write that follow a miss of the cache.
fn after_miss(rng: &mut Rng) -> [DemoCall; 2] {
    let query = sql(rng, "catalog", "SELECT * FROM products WHERE id = $1", 3_000);
    [query, redis(rng, "catalog", "SETEX product:{id}")]
}

/// Makes a hit of the cache a miss.
pub(super) fn miss_cache(catalog: &mut DemoCall, rng: &mut Rng) {
    let got = catalog.children.iter_mut().find(|child| child.call.name == "GET product:{id}");
    let Some(got) = got else { return };
    for attribute in got.call.attributes.iter_mut().filter(|of| of.key == "cache.hit") {
        *attribute = KeyValue::new("cache.hit", false);
    }
    if catalog.children.iter().any(|child| child.call.name == "SELECT products") {
        return;
    }
    let missed = after_miss(rng).map(|call| Child { call, start: ChildStart::Next });
    catalog.children.splice(1..1, missed);
}

/// A command of the cache.
fn redis(rng: &mut Rng, service: &'static str, command: &str) -> DemoCall {
    let us = about(rng, 700);
    DemoCall::new(service, command, SpanKind::Client, us)
        .with("db.system", text("redis"))
        .with("db.statement", text(command))
        .with("server.address", text("redis"))
}

/// The N+1 case: one query for the list and one for each of its rows.
fn list_products(rng: &mut Rng) -> DemoCall {
    let count = rng.u64(8..24);
    let us = about(rng, 3_000);
    let mut catalog = server("catalog", "Catalog.List", us)
        .says(5, INFO, format!("listing {count} products"))
        .then(sql(rng, "catalog", "SELECT id FROM products WHERE visible", 4_000));
    for _ in 0..count {
        catalog =
            catalog.then(sql(rng, "catalog", "SELECT * FROM product_details WHERE id = $1", 2_500));
    }
    let cached = redis(rng, "web-gateway", "GET page:products");
    entry(rng, "GET /products", 200).then(cached).then(grpc(rng, "web-gateway", catalog))
}

fn product_page(rng: &mut Rng) -> DemoCall {
    let us = about(rng, 2_000);
    let is_hit = rng.u32(0..100) < 80;
    let got = redis(rng, "catalog", "GET product:{id}").with("cache.hit", Value::Bool(is_hit));
    let mut catalog = server("catalog", "Catalog.Get", us).then(got);
    if !is_hit {
        catalog = after_miss(rng).into_iter().fold(catalog, DemoCall::then);
    }
    let catalog = catalog.then(review(rng));
    let stock = stock(rng);
    let catalog = grpc(rng, "web-gateway", catalog);
    let stock = http(rng, "web-gateway", stock);
    entry(rng, "GET /products/{id}", 200).then(catalog).alongside(stock)
}

/// The stock of a product: a Zipkin service calls another one with shared spans.
fn stock(rng: &mut Rng) -> DemoCall {
    let (own, network, points) = (about(rng, 2_500), about(rng, 500), about(rng, 3_000));
    let loyalty =
        server("loyalty", "GET /points", points).with("points.balance", int(rng.i64(0..900)));
    let asked = DemoCall::new("inventory", "GET /points", SpanKind::Client, network).then(loyalty);
    server("inventory", "GET /stock/{sku}", own)
        .with("sku", text(format!("sku-{}", rng.u32(1..500))))
        .then(asked)
}

fn login(rng: &mut Rng) -> DemoCall {
    let wrong = rng.u32(0..10) == 0;
    let us = about(rng, 40_000);
    let mut auth = server("auth", "Auth.Login", us).then(sql(
        rng,
        "auth",
        "SELECT hash FROM users WHERE name = $1",
        2_000,
    ));
    auth = if wrong {
        auth.says(90, WARN, "wrong password, attempt 2 of 5")
    } else {
        auth.says(90, INFO, "session opened")
    };
    entry(rng, "POST /login", if wrong { 401 } else { 200 }).then(grpc(rng, "web-gateway", auth))
}

fn add_to_cart(rng: &mut Rng) -> DemoCall {
    let us = about(rng, 2_000);
    let stock = stock(rng);
    let cart = server("cart", "Cart.Add", us)
        .then(redis(rng, "cart", "HGETALL cart:{user}"))
        .then(http(rng, "cart", stock))
        .then(redis(rng, "cart", "HSET cart:{user}"))
        .says(95, INFO, "item added");
    entry(rng, "POST /cart", 200).then(grpc(rng, "web-gateway", cart))
}

/// Chooses a customer; some of them buy often.
fn customer(rng: &mut Rng) -> String {
    let number = if rng.u32(0..100) < 12 { 1_042 } else { rng.u32(1_000..1_400) };
    format!("c-{number}")
}

fn order_id(rng: &mut Rng) -> String {
    format!("A-{}", rng.u32(10_000..99_999))
}

fn checkout(rng: &mut Rng, payment: Payment) -> DemoCall {
    let order = order_id(rng);
    let us = about(rng, 5_000);
    let paid = pay(rng, payment, &order);
    let failure = paid.failure.clone();
    let cart = server("cart", "Cart.Get", about(rng, 1_500)).then(redis(
        rng,
        "cart",
        "HGETALL cart:{user}",
    ));
    let mut checkout = server("checkout", "Checkout.Place", us)
        .with("order.id", text(order.clone()))
        .says(2, INFO, format!("checkout started order={order}"))
        .then(grpc(rng, "checkout", cart))
        .then(grpc(rng, "checkout", paid));
    let status = match failure {
        Some(failure) => {
            checkout = checkout
                .says(97, ERROR, format!("checkout failed order={order}: {}", failure.message))
                .fails("CheckoutFailed", failure.message);
            402
        }
        None => {
            let create = create_order(rng, &order);
            checkout = checkout.then(grpc(rng, "checkout", create));
            200
        }
    };
    let failure = checkout.failure.clone();
    let entry = entry(rng, "POST /checkout", status)
        .with("order.id", text(order))
        .with("customer.id", text(customer(rng)));
    DemoCall { failure, ..entry }.then(grpc(rng, "web-gateway", checkout))
}

fn pay(rng: &mut Rng, payment: Payment, order: &str) -> DemoCall {
    let score_us = if payment == Payment::SlowFraud { 900_000 } else { 25_000 };
    let mut score = server("fraud", "Fraud.Score", about(rng, 6_000))
        .then(redis(rng, "fraud", "GET velocity:{card}"))
        .then(sql(rng, "fraud", "SELECT * FROM rules WHERE active", score_us));
    if payment == Payment::SlowFraud {
        score = score.says(92, WARN, "scoring took longer than 500 ms: sequential scan on rules");
    }
    let us = about(rng, 8_000);
    let mut authorize = server("payment", "Payment.Authorize", us)
        .with("order.id", text(order))
        .with("payment.method", text("card"))
        .with("payment.acquirer", text("northpay"))
        .says(3, INFO, format!("authorizing order={order}"))
        .then(grpc(rng, "payment", score));
    match payment {
        Payment::Fine | Payment::SlowFraud => authorize = authorize.then(charge(rng, 0, 90_000)),
        Payment::Declined => {
            let declined = charge(rng, 0, 60_000).fails("CardDeclined", "do not honor (05)");
            authorize = authorize
                .then(declined)
                .says(95, ERROR, format!("card declined order={order}"))
                .fails("CardDeclined", "card declined: do not honor (05)");
        }
        Payment::Retried => {
            for attempt in 0..2_u32 {
                let timeout = charge(rng, attempt, 400_000)
                    .fails("AcquirerTimeout", "the acquirer did not answer");
                authorize = authorize.then(timeout).says(
                    u64::from(attempt) * 40 + 40,
                    WARN,
                    format!("charge timed out, retrying ({}/2) order={order}", attempt + 1),
                );
            }
            authorize = authorize.with("retry.count", int(2)).then(charge(rng, 2, 220_000));
        }
    }
    authorize
}

/// A call of the bank, which is not instrumented: only the caller's span.
fn charge(rng: &mut Rng, attempt: u32, us: u64) -> DemoCall {
    let us = about(rng, us);
    DemoCall::new("payment", "POST /charge", SpanKind::Client, us)
        .with("http.request.method", text("POST"))
        .with("server.address", text("northpay.example"))
        .with("peer.service", text("northpay"))
        .with("http.request.resend_count", int(attempt.into()))
}

/// Writes the order, and notifies mail and ledger through the queue.
fn create_order(rng: &mut Rng, order: &str) -> DemoCall {
    let mail = message(rng, "mailer", order)
        .then(DemoCall::new("mailer", "SMTP send", SpanKind::Client, about(rng, 45_000)))
        .says(96, INFO, format!("confirmation sent order={order}"));
    let book = message(rng, "ledger", order)
        .then(sql(rng, "ledger", "INSERT INTO postings VALUES ($1, $2, $3)", 9_000))
        .says(90, INFO, format!("booked order={order}"));
    let publish =
        DemoCall::new("orders", "orders.created publish", SpanKind::Producer, about(rng, 2_000))
            .with("messaging.system", text("kafka"))
            .with("messaging.destination.name", text("orders.created"))
            .with("order.id", text(order))
            .later(rng.u64(20_000..90_000), mail)
            .later(rng.u64(15_000..60_000), book);
    let created = server("orders", "Orders.Create", about(rng, 3_000))
        .with("order.id", text(order))
        .then(sql(rng, "orders", "INSERT INTO orders VALUES ($1, $2)", 12_000));
    (0..rng.u32(1..5))
        .fold(created, |created, _| created.then(order_line(rng)))
        .then(sql(rng, "orders", "COMMIT", 20_000))
        .then(publish)
        .says(99, INFO, format!("order created order={order}"))
}

/// The processing of a message from the queue.
fn message(rng: &mut Rng, service: &'static str, order: &str) -> DemoCall {
    DemoCall::new(service, "orders.created process", SpanKind::Consumer, about(rng, 3_000))
        .with("messaging.system", text("kafka"))
        .with("messaging.destination.name", text("orders.created"))
        .with("order.id", text(order))
}

fn refund(rng: &mut Rng) -> DemoCall {
    let order = order_id(rng);
    let us = about(rng, 4_000);
    let posted = sql(rng, "ledger", "INSERT INTO postings VALUES ($1, $2, $3)", 9_000);
    let book = server("ledger", "Ledger.Post", about(rng, 2_000)).then(posted);
    let payment = server("payment", "Payment.Refund", us)
        .with("order.id", text(order.clone()))
        .says(10, INFO, format!("refunding order={order}"))
        .then(charge(rng, 0, 110_000))
        .then(grpc(rng, "payment", book));
    entry(rng, "POST /orders/{id}/refund", 200).with("order.id", text(order)).then(grpc(
        rng,
        "web-gateway",
        payment,
    ))
}

fn order_history(rng: &mut Rng) -> DemoCall {
    let orders = server("orders", "Orders.List", about(rng, 2_000))
        .then(sql(rng, "orders", "SELECT * FROM orders WHERE user_id = $1", 160_000))
        .says(80, WARN, "slow query: sequential scan on orders");
    entry(rng, "GET /orders", 200).then(grpc(rng, "web-gateway", orders))
}
