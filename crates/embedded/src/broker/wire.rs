//! One connection: frames in, frames out, one request after the other, each decoded in the
//! version it came in. What a request means is in `api`.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, decode_request_header_from_buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::guard::Guarded;
use super::{State, api};

/// A request larger than this is not Kafka talking to us.
const FRAME_BYTES_MAX: usize = 100 << 20;
/// A request starts with its kind, version and correlation id.
const FRAME_BYTES_MIN: usize = 8;

/// What is served, in which versions: below those with topic ids instead of names in fetch and
/// produce, and below the new group protocol. Clients negotiate down to them.
const SERVED: [(ApiKey, i16, i16); 22] = [
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 6),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 8),
    (ApiKey::OffsetFetch, 1, 7),
    (ApiKey::FindCoordinator, 0, 3),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::OffsetDelete, 0, 0),
];

/// Why a connection ends: what the client sent cannot be answered, or the disk failed.
pub(super) type Ended = Box<dyn std::error::Error + Send + Sync>;

/// Answers the requests of one client until it leaves.
pub(super) async fn serve(state: Arc<State>, stream: TcpStream) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    while let Some(frame) = read_frame(&mut reader).await? {
        if let Some(answer) = answer(&state, frame).await? {
            writer.write_all(&answer).await?;
        }
    }
    Ok(())
}

async fn read_frame(reader: &mut (impl AsyncReadExt + Unpin)) -> Result<Option<Bytes>, Ended> {
    let length = match reader.read_i32().await {
        Ok(length) => length,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let length = usize::try_from(length).ok().filter(|len| (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(len));
    let Some(length) = length else { return Err("not a Kafka request".into()) };
    let mut frame = BytesMut::zeroed(length);
    reader.read_exact(&mut frame).await?;
    Ok(Some(frame.freeze()))
}

/// The whole answer with its length in front; none where the client wants none.
async fn answer(state: &Arc<State>, frame: Bytes) -> Result<Option<Bytes>, Ended> {
    let (kind, version) =
        (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let correlation_id = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let key = ApiKey::try_from(kind).map_err(|()| format!("unknown request {kind}"))?;
    let mut out = BytesMut::new();
    out.put_i32(0);
    let served = SERVED.iter().any(|(served, min, max)| *served == key && (*min..=*max).contains(&version));
    if !served {
        if key != ApiKey::ApiVersions {
            return Err(format!("{key:?} in version {version} is not served").into());
        }
        // Kafka's rule: a version of this request that is not known is answered in version 0,
        // with the versions that are.
        out.put_i32(correlation_id);
        versions(ResponseError::UnsupportedVersion.code()).encode(&mut out, 0)?;
        return Ok(Some(framed(out)));
    }
    let mut frame = Guarded::new(frame);
    let header = decode_request_header_from_buffer(&mut frame)?;
    let response_header = ResponseHeader::default().with_correlation_id(correlation_id);
    response_header.encode(&mut out, key.response_header_version(version))?;
    let client = header.client_id.as_deref().unwrap_or("unknown");
    let answered = dispatch(state, key, version, client, frame, &mut out).await.inspect_err(|ended| {
        if let Some(error) = ended.downcast_ref() {
            state.say_disk_failed(error);
        }
    })?;
    Ok(answered.then(|| framed(out)))
}

fn framed(mut out: BytesMut) -> Bytes {
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// Decodes the request, asks `api` and encodes its answer; false where none is wanted.
async fn dispatch(
    state: &Arc<State>,
    key: ApiKey,
    version: i16,
    client: &str,
    mut frame: Guarded,
    out: &mut BytesMut,
) -> Result<bool, Ended> {
    // One line for each request: which function answers it.
    macro_rules! answer {
        (|$request:ident| $answer:expr) => {{
            let $request = Decodable::decode(&mut frame, version)?;
            $answer.encode(out, version)?
        }};
    }
    match key {
        ApiKey::ApiVersions => versions(0).encode(out, version)?,
        ApiKey::Produce => {
            let request = Decodable::decode(&mut frame, version)?;
            match api::produce(state, request)? {
                Some(response) => response.encode(out, version)?,
                None => return Ok(false),
            }
        }
        ApiKey::Fetch => answer!(|request| api::fetch(state, request).await),
        ApiKey::JoinGroup => answer!(|request| api::join_group(state, request, client, version).await),
        ApiKey::SyncGroup => answer!(|request| api::sync_group(state, request).await),
        ApiKey::ListOffsets => answer!(|request| api::list_offsets(state, request)?),
        ApiKey::OffsetCommit => answer!(|request| api::offset_commit(state, request)),
        ApiKey::CreateTopics => answer!(|request| api::create_topics(state, request)?),
        ApiKey::DeleteTopics => answer!(|request| api::delete_topics(state, request)?),
        ApiKey::DeleteGroups => answer!(|request| api::delete_groups(state, request)?),
        ApiKey::CreatePartitions => answer!(|request| api::create_partitions(state, request)?),
        ApiKey::DeleteRecords => answer!(|request| api::delete_records(state, request)?),
        ApiKey::OffsetDelete => answer!(|request| api::offset_delete(state, request)?),
        ApiKey::Metadata => answer!(|request| api::metadata(state, request, version)),
        ApiKey::FindCoordinator => answer!(|request| api::find_coordinator(state, request)),
        ApiKey::InitProducerId => answer!(|request| api::init_producer_id(state, request)),
        ApiKey::Heartbeat => answer!(|request| api::heartbeat(state, request)),
        ApiKey::LeaveGroup => answer!(|request| api::leave_group(state, request, version)),
        ApiKey::DescribeGroups => answer!(|request| api::describe_groups(state, request)),
        ApiKey::ListGroups => answer!(|request| api::list_groups(state, request)),
        ApiKey::OffsetFetch => answer!(|request| api::offset_fetch(state, request)),
        ApiKey::DescribeConfigs => answer!(|request| api::describe_configs(state, request)),
        _ => return Err(format!("{key:?} is not served").into()),
    }
    Ok(true)
}

fn versions(error_code: i16) -> ApiVersionsResponse {
    let served = SERVED.iter().map(|(key, min, max)| {
        ApiVersion::default().with_api_key(*key as i16).with_min_version(*min).with_max_version(*max)
    });
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(served.collect())
}
