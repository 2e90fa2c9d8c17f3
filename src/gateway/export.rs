//! Exports over HTTP: the journal as a file for other programs.
//!
//! An export is written while it is read, in bounded memory. One that cannot go on breaks off, so that a file
//! that is not whole never looks whole.

use axum::body::{Body, Bytes};
use futures::stream;

use crate::client::{Export, ExportFormat};
use crate::model::Failure;

use super::accounts::BRANCH;
use super::call::Call;
use super::fields::Takes::{Account, OneOf};
use super::fields::optional;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Answers, Method, Route};

const CSV: &str = "text/csv; charset=utf-8";

/// The routes of exports.
pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/v1/export",
    name: "exportJournal",
    summary: "Download the journal of a branch, or what concerns one account, as CSV, JSON Lines or for hledger",
    query: &[
        optional("format", OneOf(&["csv", "jsonl", "hledger"]), "CSV when not given."),
        optional("account", Account, "Only operations that concern this account."),
        BRANCH,
    ],
    body: None,
    answers: Answers { status: 200, media_type: CSV, shape: None },
    handler: |call| Box::pin(export(call)),
}];

async fn export(call: Call) -> Result<Reply, Problem> {
    let account = call.query.text("account");
    let client = if account.contains('/') { call.house.bank.of_account(account)? } else { call.branch()? };
    let (format, media_type, file) = match call.query.text("format") {
        "jsonl" => (ExportFormat::Jsonl, "application/jsonl", "journal.jsonl"),
        "hledger" => (ExportFormat::Hledger, "text/plain; charset=utf-8", "journal.hledger"),
        _ => (ExportFormat::Csv, CSV, "journal.csv"),
    };
    let export = client.export(account, format, &call.options()?).await?;
    let pieces = stream::try_unfold(export, |mut export: Export| async move {
        let piece = export.next().await?;
        Ok::<_, Failure>(piece.map(|piece| (Bytes::from(piece.text), export)))
    });
    let reply = Reply::bytes(media_type, Body::from_stream(pieces));
    Ok(reply.header("content-disposition", &format!("attachment; filename=\"{file}\"")))
}
