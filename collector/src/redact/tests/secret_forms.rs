//! Forms of secrets in statements, URLs and texts, and ordinary text that looks like them.

use super::{KeyRule, check, redact};

const EXPRESSIONS: &[(&str, &str)] = &[
    (
        "UPDATE u SET password = crypt('hunter2', gen_salt('bf')), name = 'bob'",
        "UPDATE u SET password = crypt('[REDACTED]', gen_salt('[REDACTED]')), name = 'bob'",
    ),
    ("SET a = 'b', password = MD5('p')", "SET a = 'b', password = MD5('[REDACTED]')"),
    (
        "UPDATE u SET password = CAST('p' AS text) || 'q', name = lower('B')",
        "UPDATE u SET password = CAST('[REDACTED]' AS text) || '[REDACTED]', name = lower('B')",
    ),
    ("password = 'a' || 'b' AND x = 'y'", "password = '[REDACTED]' || '[REDACTED]' AND x = 'y'"),
    (
        "WHERE password IN ('a', 'b') AND x IN ('y', 'z')",
        "WHERE password IN ('[REDACTED]', '[REDACTED]') AND x IN ('y', 'z')",
    ),
    ("password not in ('a')", "password not in ('[REDACTED]')"),
    ("password = ANY ('{a,b}')", "password = ANY ('[REDACTED]')"),
    ("password LIKE 'hunter%' OR x LIKE 'y'", "password LIKE '[REDACTED]' OR x LIKE 'y'"),
    ("u.password NOT ILIKE 'h%'", "u.password NOT ILIKE '[REDACTED]'"),
    ("password ~* 'h'", "password ~* '[REDACTED]'"),
    (
        "password BETWEEN 'a' AND 'b' AND x = 'y'",
        "password BETWEEN '[REDACTED]' AND '[REDACTED]' AND x = 'y'",
    ),
    ("password IS DISTINCT FROM 'p'", "password IS DISTINCT FROM '[REDACTED]'"),
    ("lower(password) = 'x' AND y = 'z'", "lower(password) = '[REDACTED]' AND y = 'z'"),
    ("trim(lower(u.\"password\")) = 'x'", "trim(lower(u.\"password\")) = '[REDACTED]'"),
    ("password::text = 'x'", "password::text = '[REDACTED]'"),
    ("password COLLATE \"C\" = 'x'", "password COLLATE \"C\" = '[REDACTED]'"),
    (
        "password = crypt('p', password) AND name = 'bob'",
        "password = crypt('[REDACTED]', password) AND name = 'bob'",
    ),
    (
        "json_extract(d, '$.password') = 'p' AND json_extract(d, '$.name') = 'bob'",
        "json_extract(d, '$.password') = '[REDACTED]' AND json_extract(d, '$.name') = 'bob'",
    ),
    ("d #>> '{a,password}' = 'p'", "d #>> '{a,password}' = '[REDACTED]'"),
    // Prefixes and quotes of literals.
    ("password = r'p'", "password = r'[REDACTED]'"),
    ("password = @\"p\"", "password = @\"[REDACTED]\""),
    ("password = E'p' AND x = 'y'", "password = E'[REDACTED]' AND x = 'y'"),
    ("password = U&'p'", "password = U&'[REDACTED]'"),
    ("password = _utf8mb4'p'", "password = _utf8mb4'[REDACTED]'"),
    ("password = q'[p]'", "password = q'[REDACTED]'"),
    ("password = $$it's$$, x = 'y'", "password = $$[REDACTED]$$, x = 'y'"),
    ("password = $a$p$$q$a$ AND x", "password = $a$[REDACTED]$a$ AND x"),
    ("ALTER ROLE r PASSWORD $$p$$", "ALTER ROLE r PASSWORD $$[REDACTED]$$"),
];

const LISTS_AND_OTHER_DATABASES: &[(&str, &str)] = &[
    // Lists of values.
    (
        "INSERT INTO u (name, password) VALUES ('a', crypt('p', 's')), ('b,c', 'q')",
        "INSERT INTO u (name, password) VALUES ('a', crypt('[REDACTED]', '[REDACTED]')), ('b,c', '[REDACTED]')",
    ),
    (
        "/* app */ insert into u (`password`, a) values ('p', 'b') returning 'c'",
        "/* app */ insert into u (`password`, a) values ('[REDACTED]', 'b') returning 'c'",
    ),
    (
        "REPLACE INTO u ([api_key], a) VALUES (N'p', 'b')",
        "REPLACE INTO u ([api_key], a) VALUES (N'[REDACTED]', 'b')",
    ),
    (
        r"INSERT INTO u (path, password) VALUES ('C:\', 'p')",
        r"INSERT INTO u (path, password) VALUES ([REDACTED]",
    ),
    (
        "INSERT INTO u (id) VALUES ('1') ON CONFLICT DO UPDATE SET password = md5('p')",
        "INSERT INTO u (id) VALUES ('1') ON CONFLICT DO UPDATE SET password = md5('[REDACTED]')",
    ),
    // Other databases.
    (
        r#"{"find": "u", "filter": {"password": {"$eq": "p"}, "name": "bob"}}"#,
        r#"{"find": "u", "filter": {"password": {"$eq": "[REDACTED]"}, "name": "bob"}}"#,
    ),
    (
        r#"{"password": {"$not": {"$in": ["p", "q"]}}, "name": {"$in": ["b"]}}"#,
        r#"{"password": {"$not": {"$in": ["[REDACTED]", "[REDACTED]"]}}, "name": {"$in": ["b"]}}"#,
    ),
    ("db.u.find({password: {$ne: 'p'}})", "db.u.find({password: {$ne: '[REDACTED]'}})"),
    ("HELLO 3 AUTH default p", "HELLO 3 AUTH [REDACTED]"),
    ("auth user p", "auth [REDACTED]"),
    ("MIGRATE h 1 k 0 9 AUTH2 u p", "MIGRATE h 1 k 0 9 AUTH2 [REDACTED]"),
    ("CONFIG SET requirepass p", "CONFIG SET requirepass [REDACTED]"),
];

#[test]
fn literals_within_expressions_of_secret_columns_are_replaced() {
    check(KeyRule::Statement, EXPRESSIONS);
    check(KeyRule::Statement, LISTS_AND_OTHER_DATABASES);
}

#[test]
fn statements_that_only_look_secret_stay() {
    for text in [
        "SELECT password FROM users WHERE lower(name) = 'x'",
        "SELECT password, 'x' FROM users",
        "SELECT * FROM t WHERE kind IN ('password', 'token') AND f(a) = 'x'",
        "SELECT * FROM t WHERE password IS NOT NULL AND name LIKE 'x%'",
        "SELECT * FROM t WHERE password = $1 AND name = $2 AND f(x, 'y') = 'z'",
        "UPDATE u SET password = $1, name = coalesce('a', 'b')",
        "SELECT CASE WHEN password = ? THEN 'yes' ELSE 'no' END FROM t",
        "SELECT concat('password', 'x'), upper('y')",
        "INSERT INTO u (name, password) VALUES ('bob', ?)",
        "INSERT INTO u (name, mail) VALUES ('bob', lower('B'))",
        "INSERT INTO u VALUES ('password', 'x')",
        "INSERT INTO u (password) SELECT 'x' FROM t",
        "SELECT $1 || $$x$$",
        "SELECT $1, $2 FROM t WHERE a = $3",
        r#"{"filter": {"name": {"$eq": "bob"}, "kind": "password"}}"#,
        "HELLO 3 SETNAME app",
        "CONFIG SET maxmemory 1",
        "HELLO 3 AUTH ?",
    ] {
        assert_eq!(redact(KeyRule::Statement, text), text);
    }
}

#[test]
fn names_of_parameters_are_decoded() {
    check(
        KeyRule::Text,
        &[
            ("http://h/?%70assword=p&x=1", "http://h/?%70assword=[REDACTED]&x=1"),
            ("http://h/?user[password]=p&x=1", "http://h/?user[password]=[REDACTED]&x=1"),
            (
                "http://h/?user%5Bpassword%5D=p&user%5bname%5d=bob",
                "http://h/?user%5Bpassword%5D=[REDACTED]&user%5bname%5d=bob",
            ),
            (
                "http://h/?u%5Btokens%5D%5Baccess_token%5D[]=p",
                "http://h/?u%5Btokens%5D%5Baccess_token%5D[]=[REDACTED]",
            ),
            (r#"{"u":"https:\/\/u:p@h\/x"}"#, r#"{"u":"https:\/\/u:[REDACTED]@h\/x"}"#),
            (
                r#"{"u":"https:\/\/h\/x?sig=a\/b&y=1","v":"http://u:p@h/"}"#,
                r#"{"u":"https:\/\/h\/x?sig=[REDACTED]&y=1","v":"http://u:[REDACTED]@h/"}"#,
            ),
        ],
    );
    check(
        KeyRule::Parameters,
        &[
            ("/login?user%5Bpassword%5D=p&x=1", "/login?user%5Bpassword%5D=[REDACTED]&x=1"),
            ("%70assword=p&x=1", "%70assword=[REDACTED]&x=1"),
        ],
    );
    for text in [
        "http://h/?password[length]=8&a%5Bname%5D=bob&100%=x&%=y&%5D=z&[]=q",
        r#"{"u":"https:\/\/h:80\/x?page=2"}"#,
    ] {
        assert_eq!(redact(KeyRule::Text, text), text);
        assert_eq!(redact(KeyRule::Parameters, text), text);
    }
}

#[test]
fn secrets_of_other_layouts_are_replaced() {
    check(
        KeyRule::Text,
        &[
            (r#"{"password": {"$eq": "p"}, "x": 1}"#, r#"{"password": "[REDACTED]", "x": 1}"#),
            ("Bearer\ta1b2c3d4e5 x", "Bearer\t[REDACTED] x"),
            ("Authorization: Bearer\ta1b2c3 x", "Authorization: [REDACTED] x"),
            ("password:\nhunter2\nnext line", "password:\n[REDACTED]\nnext line"),
            ("DB_PASSWORD: \r\n  hunter2", "DB_PASSWORD: \r\n  [REDACTED]"),
            ("github_token=p x", "github_token=[REDACTED] x"),
            ("NPM_TOKEN=p", "NPM_TOKEN=[REDACTED]"),
            ("NPM_TOKEN: npm_0123abcd", "NPM_TOKEN: [REDACTED]"),
            ("AWS_SECRET_ACCESS_KEY=p", "AWS_SECRET_ACCESS_KEY=[REDACTED]"),
            ("DB_PASSWORD: p", "DB_PASSWORD: [REDACTED]"),
        ],
    );
}

#[test]
fn lines_and_words_that_only_look_secret_stay() {
    for text in [
        "token count=5",
        "tokens=5 user token: expired",
        "password:\nusername: bob",
        "password:\nuser=bob1",
        "password:\nRetry",
        "password:\n2 attempts left",
        "password:\n\n",
        "Bearers\ta1b2c3d4e5",
        "bearer\tof news",
        "EOS_TOKEN=</s> grid_token=1",
        "password:\n[REDACTED]\nx",
    ] {
        assert_eq!(redact(KeyRule::Text, text), text);
    }
}
