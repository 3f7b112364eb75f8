//! Contact uploads: multipart, counted and hashed as they stream, never held.
//!
//! `POST /v1/cc-list/{cc}/process-list/{p}/leads/{l}/contact-upload-tasks`; the
//! vendor documents the parts but not the answer, which here is 202 with a task id,
//! the file's bytes and its SHA-256. An upload takes effect when its last part is in.

use std::sync::Arc;

use axum::Json;
use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use ring::digest;
use serde_json::{Value, json};

use super::center::Center;
use super::envelope::e1;

/// More than any of the small parts needs.
const MAX_TEXT: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("the body is not well-formed multipart/form-data")]
    Multipart(#[from] MultipartError),
    #[error("{0}: is missing")]
    Missing(&'static str),
    #[error("{0}: is there twice")]
    Twice(String),
    #[error("{0}: unknown part")]
    Unknown(String),
    #[error("{0}: must be {1}")]
    Wrong(&'static str, &'static str),
}

/// Takes an upload.
pub(super) async fn take(
    State(center): State<Arc<Center>>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let Ok(form) = form else {
        return e1(
            StatusCode::BAD_REQUEST,
            "Content-Type: must be multipart/form-data with a boundary",
        );
    };
    let file = match read(form).await {
        Ok(file) => file,
        Err(why) => return e1(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let task = format!("task-{}", center.number());
    {
        let mut inner = center.lock();
        inner.counted.effects += 1;
        inner.counted.uploads += 1;
        inner.counted.uploaded_octets += file.octets;
        inner.tasks.insert(task.clone());
    }
    let body = json!({
        "taskId": task, "status": "ACCEPTED", "octets": file.octets, "sha256": file.sha256,
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// The rows of an upload that could not be taken: none here, so only a head line.
pub(super) async fn errors(
    State(center): State<Arc<Center>>,
    Path((_, _, _, task)): Path<(String, String, String, String)>,
) -> Response {
    if !center.lock().tasks.contains(&task) {
        return e1(StatusCode::NOT_FOUND, "there is no such upload task");
    }
    (
        [
            (header::CONTENT_TYPE, "text/csv"),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"errors.csv\"",
            ),
        ],
        "row,phone1,error\n",
    )
        .into_response()
}

struct File {
    octets: u64,
    sha256: String,
}

async fn read(mut form: Multipart) -> Result<File, UploadError> {
    let mut file = None;
    let mut seen: Vec<String> = Vec::new();
    while let Some(part) = form.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        if seen.contains(&name) {
            return Err(UploadError::Twice(name));
        }
        match name.as_str() {
            "file" => file = Some(measure(part).await?),
            "user_id" => {
                if text(part, "user_id").await?.is_empty() {
                    return Err(UploadError::Wrong("user_id", "the id of a user"));
                }
            }
            "header_mapping" => {
                let mapping = text(part, "header_mapping").await?;
                let mapping: Result<Value, _> = serde_json::from_str(&mapping);
                if !mapping.is_ok_and(|mapping| mapping.is_object()) {
                    return Err(UploadError::Wrong("header_mapping", "a JSON object"));
                }
            }
            "update_duplicate" => boolean(part, "update_duplicate").await?,
            "churn_updated_records" => boolean(part, "churn_updated_records").await?,
            "migrate" => boolean(part, "migrate").await?,
            _ => return Err(UploadError::Unknown(name)),
        }
        seen.push(name);
    }
    for required in ["user_id", "header_mapping"] {
        if !seen.iter().any(|name| name == required) {
            return Err(UploadError::Missing(required));
        }
    }
    file.ok_or(UploadError::Missing("file"))
}

async fn measure(mut part: Field<'_>) -> Result<File, UploadError> {
    let mut octets = 0;
    let mut hash = digest::Context::new(&digest::SHA256);
    while let Some(piece) = part.chunk().await? {
        octets += piece.len() as u64;
        hash.update(&piece);
    }
    Ok(File {
        octets,
        sha256: hex(hash.finish()),
    })
}

async fn text(mut part: Field<'_>, name: &'static str) -> Result<String, UploadError> {
    let mut text = Vec::new();
    while let Some(piece) = part.chunk().await? {
        if text.len() + piece.len() > MAX_TEXT {
            return Err(UploadError::Wrong(name, "shorter"));
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).map_err(|_| UploadError::Wrong(name, "UTF-8"))
}

async fn boolean(part: Field<'_>, name: &'static str) -> Result<(), UploadError> {
    match text(part, name).await?.as_str() {
        "true" | "false" => Ok(()),
        _ => Err(UploadError::Wrong(name, "true or false")),
    }
}

/// A digest in lower-case hexadecimal.
pub(super) fn hex(digest: digest::Digest) -> String {
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
