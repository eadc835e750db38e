//! Files that a request names by URL, fetched for providers that don't.

use std::{collections::HashMap, time::Duration};

use super::{ErrorKind, ProxyError};
use crate::upstream::{Fetched, Fetcher, Held};

/// Most files that are fetched for one request: the most images that a provider takes.
const MAX_FETCHES: usize = 20;
/// Largest request with all its files in it, in bytes. Providers accept less.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// When a client for whose files there is no room may try again: other fetches have ended by then.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A file to be fetched.
pub struct Wanted {
    /// Its name in errors for the client: a field, or its number among the request's URLs.
    pub place: String,
    /// Its URL.
    pub url: String,
}

/// The files that were fetched for one request, for all its targets.
#[derive(Default)]
pub struct Files {
    found: HashMap<String, Fetched>,
    /// The share of what all requests may hold.
    held: Held,
}

impl Files {
    /// The file from `url`.
    pub fn get(&self, url: &str) -> Option<&Fetched> {
        self.found.get(url)
    }

    /// Drops the files, because a target has them. Another target, should this one fail, needs them fetched anew.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// Fetches each URL of `wanted` that was not fetched before, once, however often it is named. `size` is that of the
    /// request without the files on entry, and with them on return.
    ///
    /// # Errors
    /// When one can't be fetched, or they are too many or too large.
    pub async fn fetch(&mut self, wanted: &[Wanted], size: &mut usize, fetcher: &Fetcher) -> Result<(), ProxyError> {
        if let Some(one) = wanted.get(MAX_FETCHES) {
            return Err(bad(&one.place, "it is one too many to fetch"));
        }
        let mut missing: Vec<&Wanted> = Vec::new();
        for one in wanted {
            if self.get(&one.url).is_none() && !missing.iter().any(|other| other.url == one.url) {
                missing.push(one);
            }
        }
        if !missing.is_empty() {
            let urls: Vec<&str> = missing.iter().map(|one| one.url.as_str()).collect();
            let files = fetcher.get_all(&urls, &mut self.held).await.map_err(|failed| {
                let mut error = bad(missing.get(failed.number).map_or("", |one| &one.place), &failed.message);
                error.cause = format!("{} ({})", error.message, failed.cause);
                if failed.busy {
                    (error.kind, error.retry_after) = (ErrorKind::BodiesOverBudget, Some(RETRY_AFTER));
                }
                error
            })?;
            self.found.extend(missing.iter().map(|one| one.url.clone()).zip(files));
        }
        for one in wanted {
            *size += self.get(&one.url).map_or(0, |file| file.base64.len());
            if *size > MAX_BODY {
                return Err(bad(&one.place, "with it the request becomes too large"));
            }
        }
        Ok(())
    }
}

/// The error for a file that can't be fetched or used.
pub fn bad(place: &str, why: &str) -> ProxyError {
    let message = format!("{place}: the file at this URL can't be had: {why}");
    ProxyError::new(ErrorKind::BadBody, message)
}
