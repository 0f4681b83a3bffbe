//! Words, phrases and wildcards in a text, found without regard to time.

fn is_token_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the text with its white space: a JSON object has escapes of it.
fn shown(text: &str) -> String {
    if !text.starts_with('{') {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('n' | 'r' | 't')) => {
                chars.next();
                shown.push(' ');
            }
            ('\\', Some(_)) => shown.extend(['\\'].into_iter().chain(chars.next())),
            _ => shown.push(c),
        }
    }
    shown
}

pub fn tokens(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for c in shown(text).to_lowercase().chars() {
        if is_token_char(c) {
            tokens.last_mut().unwrap().push(c);
        } else {
            tokens.push(String::new());
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

pub fn has_phrase(text: &str, phrase: &str) -> bool {
    let phrase = tokens(phrase);
    tokens(text).windows(phrase.len()).any(|window| window == phrase)
}

/// Edit distance, in which an exchange of neighbours is one edit.
pub fn distance(one: &[char], other: &[char]) -> usize {
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            table[i][j] = match (i, j) {
                (0, edits) | (edits, 0) => edits,
                (i, j) => {
                    let replaced = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    let exchanged =
                        i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                    if exchanged { least.min(table[i - 2][j - 2] + 1) } else { least }
                }
            };
        }
    }
    table[one.len()][other.len()]
}

/// Tries every substring of every part without white space.
pub fn has_wildcard(text: &str, pattern: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    shown(text).to_lowercase().split_whitespace().any(|part| {
        let chars: Vec<char> = part.chars().collect();
        let is_inside = |at: usize| {
            at > 0 && at < chars.len() && is_token_char(chars[at - 1]) && is_token_char(chars[at])
        };
        let starts = 0..=chars.len();
        starts.clone().any(|start| {
            let open = pattern[0] == '*' || !is_inside(start) || !is_token_char(pattern[0]);
            open && (start..=chars.len()).any(|end| {
                let last = pattern[pattern.len() - 1];
                let closed = last == '*' || !is_inside(end) || !is_token_char(last);
                closed && fits(&chars[start..end], &pattern)
            })
        })
    })
}

fn fits(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| fits(&text[at..], rest)),
        [first, rest @ ..] => text.first() == Some(first) && fits(&text[1..], rest),
    }
}
