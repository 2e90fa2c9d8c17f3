//! How the branches and their replicas are, over HTTP.

use std::time::Duration;

use futures::future::join_all;

use crate::client::Options;

use super::call::Call;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Method, Route, json};
use super::views::{Branch, Cluster};

/// How long a branch may take to say how it is, before it is shown as one that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The routes of operators.
pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/v1/cluster",
    name: "getCluster",
    summary: "See how every branch known here and its replicas are",
    query: &[],
    body: None,
    answers: json!(200, Cluster),
    handler: |call| Box::pin(cluster(call)),
}];

async fn cluster(call: Call) -> Result<Reply, Problem> {
    let options = Options { timeout: Some(PATIENCE), ..Options::default() };
    let asked = call.house.bank.branches().map(|(name, client)| async {
        match client.branch_status(&options).await {
            Ok(status) => status.into(),
            Err(failure) => Branch::silent(name.to_string(), failure),
        }
    });
    Ok(Reply::json(&Cluster { branches: join_all(asked).await }))
}
