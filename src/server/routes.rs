//! The other branches and where their servers are: `--route` and the file of `--config`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::model::BranchName;
use crate::model::limits::SESSION_BRANCHES;

/// The servers of each other branch, as `HOST:PORT`.
pub type Routes = BTreeMap<BranchName, Vec<String>>;

/// Longest file of routes that is read, in bytes.
const FILE_BYTES: u64 = 1024 * 1024;
/// Most servers of one branch.
const SERVERS: usize = 64;

/// Reads `NAME=HOST:PORT[,HOST:PORT...]`.
///
/// # Errors
/// In one line, what is wrong with it.
pub fn parse_route(text: &str) -> Result<(BranchName, Vec<String>), String> {
    let wrong = || format!("{text:?} is not NAME=HOST:PORT[,HOST:PORT...]");
    let (name, addresses) = text.split_once('=').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|error| format!("{text:?}: {error}"))?;
    let addresses: Vec<String> = addresses.split(',').map(|address| address.trim().to_owned()).collect();
    let is_address = |address: &String| {
        let parts = address.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    if !addresses.iter().all(is_address) {
        return Err(wrong());
    }
    if addresses.len() > SERVERS {
        return Err(format!("branch {name} has more than {SERVERS} servers"));
    }
    Ok((name, addresses))
}

/// Puts the routes of a branch together.
///
/// # Errors
/// In one line: a branch that is named twice, the branch itself, or too many.
pub fn collect_routes(
    here: &BranchName,
    routes: impl IntoIterator<Item = (BranchName, Vec<String>)>,
) -> Result<Routes, String> {
    let mut all = Routes::new();
    for (name, addresses) in routes {
        if name == *here {
            return Err(format!("branch {name} is the one served here; a route leads to another branch"));
        }
        if all.contains_key(&name) {
            return Err(format!("the route to branch {name} is given twice"));
        }
        all.insert(name, addresses);
    }
    // A session names all branches that a customer has seen.
    if all.len() >= SESSION_BRANCHES {
        return Err(format!("a bank has at most {SESSION_BRANCHES} branches"));
    }
    Ok(all)
}

/// Reads a file of routes: one on each line, as for `--route`; blank lines and what follows a `#` are not read.
///
/// # Errors
/// In one line, file, line and what is wrong.
pub fn read_routes(file: &Path) -> Result<Vec<(BranchName, Vec<String>)>, String> {
    let place = file.display();
    let size = fs::metadata(file).map_err(|error| format!("{place}: {error}"))?.len();
    if size > FILE_BYTES {
        return Err(format!("{place}: a file of routes has at most {FILE_BYTES} bytes"));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("{place}: {error}"))?;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut routes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            routes.push(parse_route(line).map_err(|what| format!("{place}, line {number}: {what}"))?);
        }
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_branch_and_its_servers() {
        let route =
            |text: &str| parse_route(text).map(|(name, servers)| (name.to_string(), servers.join(" ")));
        let expected = |name: &str, servers: &str| Ok((name.to_owned(), servers.to_owned()));
        assert_eq!(route("delhi=a:1"), expected("delhi", "a:1"));
        assert_eq!(route(" delhi = a:1 , [::1]:2"), expected("delhi", "a:1 [::1]:2"));
        for wrong in [
            "",
            "delhi",
            "delhi=",
            "delhi=a",
            "delhi=a:",
            "delhi=a:0",
            "delhi=:1",
            "Delhi=a:1",
            "=a:1",
            "delhi=a:1,",
            "delhi=a:70000",
        ] {
            assert!(route(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_branch_has_one_route_and_none_to_itself() {
        let here = "mumbai".parse().unwrap();
        let route = |text: &str| parse_route(text).unwrap();
        assert_eq!(collect_routes(&here, [route("delhi=a:1"), route("goa=b:1")]).unwrap().len(), 2);
        assert!(
            collect_routes(&here, [route("delhi=a:1"), route("delhi=b:1")]).unwrap_err().contains("twice")
        );
        assert!(collect_routes(&here, [route("mumbai=a:1")]).unwrap_err().contains("served here"));
    }

    #[test]
    fn a_file_of_routes_names_the_line_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("routes");
        fs::write(&file, "# the others\n\ndelhi = a:1,b:2 # two\ngoa=c:3\n").unwrap();
        assert_eq!(read_routes(&file).unwrap().len(), 2);
        fs::write(&file, "delhi=a:1\ngoa\n").unwrap();
        assert!(read_routes(&file).unwrap_err().contains("line 2"));
        assert!(read_routes(&folder.path().join("none")).is_err());
    }
}
