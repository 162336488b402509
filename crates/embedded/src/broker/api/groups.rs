//! Consumer groups: from the members' requests to `group` and back.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use tokio::task::block_in_place;

use super::{NODE, code, text};
use crate::broker::State;
use crate::broker::group::{Answer, Caller, Join, Phase, Refused};

/// The first version in which a new member must come again with the id it is given.
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// The kind of coordinator that is a group's; the other is a transaction's.
const KEY_GROUP: i8 = 0;

pub(in crate::broker) fn find_coordinator(
    state: &State,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if request.key_type != KEY_GROUP {
        let refused = ResponseError::TransactionalIdAuthorizationFailed;
        return FindCoordinatorResponse::default().with_error_code(refused.code());
    }
    FindCoordinatorResponse::default()
        .with_node_id(NODE)
        .with_host(text("127.0.0.1"))
        .with_port(state.port.into())
}

pub(in crate::broker) async fn join_group(
    state: &Arc<State>,
    request: JoinGroupRequest,
    client: &str,
    version: i16,
) -> JoinGroupResponse {
    let ms = |ms: i32| Duration::from_millis(ms.max(0) as u64);
    let session_timeout = ms(request.session_timeout_ms);
    let protocol_type = request.protocol_type.clone();
    let join = Join {
        member: request.member_id.to_string(),
        client: client.to_owned(),
        instance: request.group_instance_id.map(|id| id.to_string()),
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|p| (p.name.to_string(), p.metadata)).collect(),
        session_timeout,
        rebalance_timeout: if version == 0 { session_timeout } else { ms(request.rebalance_timeout_ms) },
        id_required: version >= MEMBER_ID_REQUIRED_SINCE,
    };
    let now = Instant::now();
    let answer = state.groups.lock().entry(&request.group_id, now).join(join, now);
    let joined = match answer {
        Answer::Now(joined) => joined,
        // The member was replaced by itself: an older request of its own waits no longer.
        Answer::Later(told) => told.await.unwrap_or_else(|_| {
            let member = request.member_id.to_string();
            Err(Refused { error: ResponseError::RebalanceInProgress, member })
        }),
    };
    let response = JoinGroupResponse::default().with_protocol_type(Some(protocol_type));
    match joined {
        Err(refused) => response
            .with_error_code(refused.error.code())
            .with_generation_id(-1)
            .with_protocol_name(Some(text("")))
            .with_member_id(text(refused.member)),
        Ok(joined) => {
            let members = joined.members.into_iter().map(|(id, instance, subscription)| {
                JoinGroupResponseMember::default()
                    .with_member_id(text(id))
                    .with_group_instance_id(instance.map(text))
                    .with_metadata(subscription)
            });
            response
                .with_generation_id(joined.generation)
                .with_protocol_name(Some(text(joined.protocol)))
                .with_leader(text(joined.leader))
                .with_member_id(text(joined.member))
                .with_members(members.collect())
        }
    }
}

pub(in crate::broker) async fn sync_group(
    state: &Arc<State>,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let assignments =
        request.assignments.into_iter().map(|a| (a.member_id.to_string(), a.assignment)).collect();
    let (answer, protocol_type, protocol) = {
        let caller = Caller { member: &request.member_id, instance: request.group_instance_id.as_deref() };
        match state.groups.lock().of_member(&request.group_id) {
            Err(error) => (Answer::Now(Err(error)), String::new(), String::new()),
            Ok(group) => {
                let answer = group.sync(caller, request.generation_id, assignments, Instant::now());
                (answer, group.protocol_type.clone(), group.protocol.clone())
            }
        }
    };
    let synced = match answer {
        Answer::Now(synced) => synced,
        Answer::Later(told) => told.await.unwrap_or(Err(ResponseError::RebalanceInProgress)),
    };
    SyncGroupResponse::default()
        .with_error_code(code(&synced))
        .with_protocol_type(Some(text(protocol_type)))
        .with_protocol_name(Some(text(protocol)))
        .with_assignment(synced.unwrap_or_default())
}

pub(in crate::broker) fn heartbeat(state: &State, request: HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller { member: &request.member_id, instance: request.group_instance_id.as_deref() };
    let mut groups = state.groups.lock();
    let group = groups.of_member(&request.group_id);
    let alive = group.and_then(|group| group.heartbeat(caller, request.generation_id, Instant::now()));
    HeartbeatResponse::default().with_error_code(code(&alive))
}

pub(in crate::broker) fn leave_group(
    state: &State,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let now = Instant::now();
    let mut groups = state.groups.lock();
    let mut leave = |member: &str, instance: Option<&str>| {
        groups.of_member(&request.group_id)?.leave(Caller { member, instance }, now)
    };
    if version < 3 {
        let left = leave(&request.member_id, None);
        return LeaveGroupResponse::default().with_error_code(code(&left));
    }
    let members = request.members.into_iter().map(|member| {
        let left = leave(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_error_code(code(&left))
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub(in crate::broker) fn list_groups(state: &State, request: ListGroupsRequest) -> ListGroupsResponse {
    // Before the groups: those must never wait for the disk.
    let committed = state.offsets().groups();
    let groups = state.groups.lock();
    let mut listed: Vec<ListedGroup> = groups
        .iter()
        .map(|(name, group)| {
            ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_protocol_type(text(&group.protocol_type))
                .with_group_state(text(group.phase.name()))
        })
        .collect();
    for name in committed.into_iter().filter(|name| groups.get(name).is_none()) {
        listed.push(
            ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_group_state(text(Phase::Empty.name())),
        );
    }
    let states = request.states_filter;
    listed.retain(|group| states.is_empty() || states.contains(&group.group_state));
    ListGroupsResponse::default().with_groups(listed)
}

pub(in crate::broker) fn describe_groups(
    state: &State,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let known = state.offsets().groups();
    let groups = state.groups.lock();
    let described = request.groups.into_iter().map(|id| {
        let answer = DescribedGroup::default();
        let answer = match groups.get(&id) {
            Some(group) => {
                let members = group.members.iter().map(|(id, member)| {
                    DescribedGroupMember::default()
                        .with_member_id(text(id))
                        .with_group_instance_id(member.instance.clone().map(text))
                        .with_client_id(text(&member.client))
                        .with_client_host(text("/127.0.0.1"))
                        .with_member_metadata(member.subscription(&group.protocol))
                        .with_member_assignment(member.assignment.clone())
                });
                answer
                    .with_group_state(text(group.phase.name()))
                    .with_protocol_type(text(&group.protocol_type))
                    .with_protocol_data(text(&group.protocol))
                    .with_members(members.collect())
            }
            None if known.iter().any(|group| group == id.as_str()) => {
                answer.with_group_state(text(Phase::Empty.name()))
            }
            None => answer.with_group_state(text("Dead")),
        };
        answer.with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(described.collect())
}

pub(in crate::broker) fn delete_groups(
    state: &State,
    request: DeleteGroupsRequest,
) -> io::Result<DeleteGroupsResponse> {
    let mut results = Vec::new();
    for name in request.groups_names {
        let has_committed = state.offsets().of_group(&name).next().is_some();
        let mut groups = state.groups.lock();
        let deleted = match groups.get(&name) {
            Some(group) if group.phase != Phase::Empty => Err(ResponseError::NonEmptyGroup),
            None if !has_committed => Err(ResponseError::GroupIdNotFound),
            _ => Ok(()),
        };
        if deleted.is_ok() {
            groups.remove(&name);
            drop(groups);
            block_in_place(|| {
                state.offsets().forget(|place| place.group == name.as_str())?;
                state.flush_what_went_back()
            })?;
        }
        results.push(DeletableGroupResult::default().with_group_id(name).with_error_code(code(&deleted)));
    }
    Ok(DeleteGroupsResponse::default().with_results(results))
}
