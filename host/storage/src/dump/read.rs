//! Reads a dump, record by record. Nothing in it is trusted, and a file that is cut off anywhere is an
//! error: only what ends with its last record is a dump.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use trackway_replay::{Digest, TenantId};

use super::{CHECKSUM_BYTES, DATA_MAX_BYTES, FIELDS_MAX_BYTES, HEADER_BYTES, MAGIC, Record, VERSION, about};
use crate::{Seal, StorageError, StorageErrorKind};

/// The data keys with which records are opened.
pub type Openers = Arc<BTreeMap<TenantId, Seal>>;

pub struct Reader<R> {
    from: R,
    openers: Openers,
    tenant: TenantId,
    sha: Sha256,
    records: u64,
    place_bytes: u64,
    has_ended: bool,
}

impl<R: Read> Reader<R> {
    /// # Errors
    /// `Newer` or `Damaged`; `Io` where the file cannot be read.
    pub fn new(from: R) -> Result<Reader<R>, StorageError> {
        Reader::opening(from, Openers::default())
    }

    /// Sealed records of tenants that have no key among `openers` are given as they are.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn opening(from: R, openers: Openers) -> Result<Reader<R>, StorageError> {
        let (tenant, sha) = (TenantId::DEFAULT, Sha256::new());
        let mut reader = Reader { from, openers, tenant, sha, records: 0, place_bytes: 0, has_ended: false };
        let mut head = [0; MAGIC.len() + 4];
        reader.fill(&mut head)?;
        let (magic, version) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("it does not begin as a backup does".to_owned()));
        }
        let version = version.try_into().map(u32::from_le_bytes).unwrap_or_default();
        if version > VERSION {
            let why = format!("the backup has version {version}; this program reads up to {VERSION}");
            return Err(StorageError::new(StorageErrorKind::Newer, why));
        }
        if version == 0 {
            return Err(damaged("no program ever wrote version 0".to_owned()));
        }
        Ok(reader)
    }

    /// The next record with its data. `None`: it was the last one, and everything was checked.
    ///
    /// # Errors
    /// As [`Reader::new`]. After an error there is nothing more to be had.
    pub fn read(&mut self) -> Result<Option<(Record, Bytes)>, StorageError> {
        if self.has_ended {
            return self.nothing_follows();
        }
        let place = self.place_bytes;
        let sha256 = Digest(self.sha.clone().finalize().into());
        let unreadable = |why: &str| damaged(format!("the record at byte {place} cannot be read: {why}"));
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        let (fields, data) = sizes(&header);
        if fields > FIELDS_MAX_BYTES || data > DATA_MAX_BYTES {
            return Err(damaged(format!("the record at byte {place} claims to be larger than any is")));
        }
        let body = self.take(fields + data + CHECKSUM_BYTES)?;
        let (mut record, mut data) = decode(&header, body).map_err(|why| unreadable(&why))?;
        if let Record::Tenant(tenant) = record {
            self.tenant = tenant;
        }
        if record == Record::Sealed
            && let Some(seal) = self.openers.get(&self.tenant)
        {
            let opened = seal.open(&about(self.tenant, self.records), &data);
            let opened = opened.ok_or_else(|| unreadable("it does not open with the data key of its tenant"))?;
            let (header, body) = opened.split_first_chunk().ok_or_else(|| unreadable("it is too short"))?;
            (record, data) = decode(header, body.to_vec()).map_err(|why| unreadable(&why))?;
        }
        if let Record::End { records, sha256: expected, .. } = &record {
            if *records != self.records || *expected != sha256 {
                return Err(damaged("it is not what its last record says it is".to_owned()));
            }
            self.has_ended = true;
        }
        self.records += 1;
        Ok(Some((record, data)))
    }

    fn nothing_follows(&mut self) -> Result<Option<(Record, Bytes)>, StorageError> {
        let mut one = [0];
        match self.from.read(&mut one) {
            Ok(0) => Ok(None),
            Ok(_) => Err(damaged("something follows its last record".to_owned())),
            Err(error) => Err(cannot_read(&error)),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), StorageError> {
        let bytes = self.take(buffer.len())?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Grows with what is there: a size that is a lie costs no memory.
    fn take(&mut self, size_bytes: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(size_bytes as u64).read_to_end(&mut bytes);
        match read {
            Ok(read) if read == size_bytes => {}
            Ok(_) => {
                let why = format!("it is cut off after byte {}: this is no whole backup", self.place_bytes);
                return Err(damaged(why));
            }
            Err(error) => return Err(cannot_read(&error)),
        }
        self.sha.update(&bytes);
        self.place_bytes += size_bytes as u64;
        Ok(bytes)
    }
}

/// How many bytes fields and data have.
fn sizes(header: &[u8; HEADER_BYTES]) -> (usize, usize) {
    let [_, f0, f1, f2, f3, d0, d1, d2, d3] = *header;
    (u32::from_le_bytes([f0, f1, f2, f3]) as usize, u32::from_le_bytes([d0, d1, d2, d3]) as usize)
}

/// `body`: fields, data and checksum.
fn decode(header: &[u8; HEADER_BYTES], mut body: Vec<u8>) -> Result<(Record, Bytes), String> {
    let (fields, data) = sizes(header);
    if fields.checked_add(data).and_then(|sum| sum.checked_add(CHECKSUM_BYTES)) != Some(body.len()) {
        return Err("it has another length than it says".to_owned());
    }
    let checksum = body.split_off(fields + data);
    let computed = crc32c::crc32c_append(crc32c::crc32c(header), &body);
    if checksum != computed.to_le_bytes() {
        return Err("its checksum is wrong".to_owned());
    }
    let taken = postcard::take_from_bytes::<Record>(&body[..fields]);
    let (record, rest) = taken.map_err(|error| error.to_string())?;
    if !rest.is_empty() || record.kind() != header[0] {
        return Err("its kind and its fields do not agree".to_owned());
    }
    Ok((record, Bytes::from(body).slice(fields..)))
}

fn damaged(why: String) -> StorageError {
    StorageError::new(StorageErrorKind::Damaged, format!("the backup is damaged: {why}"))
}

fn cannot_read(error: &io::Error) -> StorageError {
    StorageError::new(StorageErrorKind::Io, format!("the backup cannot be read: {error}"))
}
