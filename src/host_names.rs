//! The names that requests may use for this server (`Host`, `:authority`): those of the machine, and
//! those that the setting `allowed-hosts` adds.
//!
//! Owns where the machine's name comes from. Does not own the check: `tidings_collector::Guard`
//! does, which also knows `localhost`, addresses, and the names that containers have for their
//! host.

use std::path::Path;

/// Where Linux and most other systems keep the machine's name.
const FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// Returns the names of this machine and those that the settings allow.
pub(crate) fn host_names(allowed: &[String]) -> Vec<String> {
    let machine = FILES.iter().find_map(|path| machine_name(Path::new(path)));
    let machine = machine.map(|name| forms(&name)).unwrap_or_default();
    allowed.iter().cloned().chain(machine).collect()
}

fn machine_name(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    name.map(|name| name.trim_end_matches('.').to_ascii_lowercase())
}

/// Returns the name as it is, its first label, and that label in the zone of multicast DNS.
fn forms(name: &str) -> Vec<String> {
    let label = name.split('.').next().unwrap_or(name);
    let mut forms = vec![name.to_owned(), label.to_owned(), format!("{label}.local")];
    forms.retain(|form| !form.is_empty() && !form.starts_with('.'));
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use super::{forms, host_names, machine_name};

    #[test]
    fn a_machine_has_its_name_with_and_without_a_domain() {
        assert_eq!(forms("web1"), ["web1", "web1.local"]);
        assert_eq!(forms("web1.corp.example"), ["web1.corp.example", "web1", "web1.local"]);
        assert!(forms("").is_empty());
    }

    #[test]
    fn the_first_line_of_the_file_that_is_no_comment_is_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hostname");
        for (text, name) in
            [("Web1\n", Some("web1")), ("# set by hand\n\nweb2.\n", Some("web2")), ("", None)]
        {
            #[expect(clippy::disallowed_methods, reason = "a fixture")]
            std::fs::write(&path, text).unwrap();
            assert_eq!(machine_name(&path).as_deref(), name, "{text:?}");
        }
        assert_eq!(machine_name(&folder.path().join("none")), None);
    }

    #[test]
    fn allowed_names_are_kept() {
        assert!(host_names(&["a.b".to_owned()]).contains(&"a.b".to_owned()));
    }
}
