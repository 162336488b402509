//! Consumer groups: who is in, who leads, who got which assignment (the classic protocol, with
//! eager and cooperative rebalance, which are the clients' choice). Groups live in memory, as
//! members do: after a restart members are unknown and join again; offsets are kept elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use uuid::Uuid;

/// How long the first member of an empty group waits for others to arrive.
const INITIAL_DELAY: Duration = Duration::from_millis(50);
/// Session timeouts outside are refused. Kafka's own limits are six seconds and half an hour, by default; on one
/// machine a second is long.
const SESSION_TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(1800);

/// A member's request to join.
pub(super) struct Join {
    pub(super) member: String,
    pub(super) client: String,
    pub(super) instance: Option<String>,
    pub(super) protocol_type: String,
    /// Assignment strategies with the member's subscription in each.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Whether a new member must come again with the id it was given.
    pub(super) id_required: bool,
}

/// Who asks: the id that the group has given it, and what it calls itself across its processes (`group.instance.id`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) member: &'a str,
    pub(super) instance: Option<&'a str>,
}

/// The answer to a member that has joined.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub(super) generation: i32,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) member: String,
    /// Id, instance and subscription of all members; only the leader learns them.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

/// A refusal, with the member id to use from now on.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) error: ResponseError,
    pub(super) member: String,
}

pub(super) type JoinResult = Result<Joined, Refused>;
pub(super) type SyncResult = Result<Bytes, ResponseError>;

/// An answer now, or later.
pub(super) enum Answer<T> {
    Now(T),
    Later(oneshot::Receiver<T>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No members.
    Empty,
    /// Waiting until all members have joined again.
    Joining,
    /// Waiting for the leader's assignment.
    Assigning,
    /// Everybody knows their partitions.
    Stable,
}

impl Phase {
    /// Kafka's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Joining => "PreparingRebalance",
            Self::Assigning => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

pub(super) struct Member {
    pub(super) client: String,
    pub(super) instance: Option<String>,
    protocols: Vec<(String, Bytes)>,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    seen: Instant,
    pub(super) assignment: Bytes,
    joining: Option<oneshot::Sender<JoinResult>>,
    syncing: Option<oneshot::Sender<SyncResult>>,
}

impl Member {
    /// Its subscription under the strategy `protocol`.
    pub(super) fn subscription(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, subscription)| subscription.clone()).unwrap_or_default()
    }
}

pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    leader: String,
    pub(super) members: BTreeMap<String, Member>,
    /// When `Joining` ends whoever is missing then, and `Assigning` whoever has not asked for its partitions.
    deadline: Instant,
    /// `Joining` for the first time: wait until the deadline even when all have joined.
    first: bool,
}

impl Group {
    fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            deadline: now,
            first: false,
        }
    }

    pub(super) fn join(&mut self, join: Join, now: Instant) -> Answer<JoinResult> {
        let refuse = |error, member: &str| Answer::Now(Err(Refused { error, member: member.to_owned() }));
        if !SESSION_TIMEOUTS.contains(&join.session_timeout) {
            return refuse(ResponseError::InvalidSessionTimeout, &join.member);
        }
        let other_type = !self.members.is_empty() && self.protocol_type != join.protocol_type;
        if join.protocols.is_empty() || other_type || !self.shares_a_protocol(&join) {
            return refuse(ResponseError::InconsistentGroupProtocol, &join.member);
        }
        let id = match self.identify(&join) {
            Ok(id) => id,
            Err(refused) => return Answer::Now(Err(refused)),
        };
        self.protocol_type = join.protocol_type;
        let (tell, told) = oneshot::channel();
        let instance = join.instance.as_deref();
        let before = self.members.remove(&id).or_else(|| self.take_over(instance?));
        let assignment = before.map(|before| before.assignment).unwrap_or_default();
        self.members.insert(
            id,
            Member {
                client: join.client,
                instance: join.instance,
                protocols: join.protocols,
                session_timeout: join.session_timeout,
                rebalance_timeout: join.rebalance_timeout,
                seen: now,
                assignment,
                joining: Some(tell),
                syncing: None,
            },
        );
        if self.phase == Phase::Empty {
            self.first = true;
        }
        self.rebalance(now);
        if self.first {
            self.deadline = self.deadline.min(now + INITIAL_DELAY);
        }
        self.complete_if_all_joined(now);
        Answer::Later(told)
    }

    fn shares_a_protocol(&self, join: &Join) -> bool {
        let others = || self.members.iter().filter(|(id, _)| **id != join.member).map(|(_, member)| member);
        join.protocols
            .iter()
            .any(|(name, _)| others().all(|other| other.protocols.iter().any(|(n, _)| n == name)))
    }

    /// The id under which the member joins, which it may have to learn first.
    fn identify(&self, join: &Join) -> Result<String, Refused> {
        if !join.member.is_empty() {
            let member = join.member.clone();
            let caller = Caller { member: &member, instance: join.instance.as_deref() };
            return match self.is_fenced(caller) {
                true => Err(Refused { error: ResponseError::FencedInstanceId, member }),
                false => Ok(member),
            };
        }
        let id = format!("{}-{}", join.client, Uuid::new_v4());
        if join.id_required && join.instance.is_none() {
            return Err(Refused { error: ResponseError::MemberIdRequired, member: id });
        }
        Ok(id)
    }

    /// The id of the member that calls itself `instance`.
    fn member_of(&self, instance: &str) -> Option<&str> {
        let found = self.members.iter().find(|(_, member)| member.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.as_str())
    }

    /// Whether a newer process has the caller's instance by now.
    fn is_fenced(&self, caller: Caller<'_>) -> bool {
        let newest = caller.instance.and_then(|instance| self.member_of(instance));
        newest.is_some_and(|newest| newest != caller.member)
    }

    /// Takes out the member whose instance a newer process has, and tells it: the two would drive each other out
    /// for ever.
    fn take_over(&mut self, instance: &str) -> Option<Member> {
        let id = self.member_of(instance)?.to_owned();
        let mut before = self.members.remove(&id)?;
        if let Some(waiting) = before.joining.take() {
            let _ = waiting.send(Err(Refused { error: ResponseError::FencedInstanceId, member: id }));
        }
        if let Some(waiting) = before.syncing.take() {
            let _ = waiting.send(Err(ResponseError::FencedInstanceId));
        }
        Some(before)
    }

    fn rebalance(&mut self, now: Instant) {
        if self.phase == Phase::Joining {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(waiting) = member.syncing.take() {
                // A member that no longer waits has gone; its session will tell.
                let _ = waiting.send(Err(ResponseError::RebalanceInProgress));
                member.seen = now;
            }
        }
        self.phase = Phase::Joining;
        self.deadline = now + self.patience();
    }

    /// How long the members wait for each other.
    fn patience(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        let all = self.members.values().all(|member| member.joining.is_some());
        if self.phase == Phase::Joining && !self.first && all {
            self.complete(now);
        }
    }

    fn complete(&mut self, now: Instant) {
        self.first = false;
        self.members.retain(|_, member| member.joining.is_some());
        self.generation += 1;
        let Some((first, _)) = self.members.first_key_value() else {
            self.phase = Phase::Empty;
            return;
        };
        if !self.members.contains_key(&self.leader) {
            self.leader = first.clone();
        }
        self.protocol = self.common_protocol();
        let all: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| (id.clone(), member.instance.clone(), member.subscription(&self.protocol)))
            .collect();
        for (id, member) in &mut self.members {
            member.seen = now;
            let joined = Joined {
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                member: id.clone(),
                members: if *id == self.leader { all.clone() } else { Vec::new() },
            };
            if let Some(waiting) = member.joining.take() {
                let _ = waiting.send(Ok(joined));
            }
        }
        self.phase = Phase::Assigning;
        self.deadline = now + self.patience();
    }

    /// The leader's first strategy that everybody offers.
    fn common_protocol(&self) -> String {
        let offered = |name: &String| {
            self.members.values().all(|member| member.protocols.iter().any(|(other, _)| other == name))
        };
        let leader = &self.members[&self.leader];
        leader.protocols.iter().map(|(name, _)| name).find(|name| offered(name)).cloned().unwrap_or_default()
    }

    /// A sign of life; wrong when the member or its generation is not the group's.
    fn check(
        &mut self,
        caller: Caller<'_>,
        generation: i32,
        now: Instant,
    ) -> Result<&mut Member, ResponseError> {
        if self.is_fenced(caller) {
            return Err(ResponseError::FencedInstanceId);
        }
        let current = self.generation;
        let found = self.members.get_mut(caller.member).ok_or(ResponseError::UnknownMemberId)?;
        if generation != current {
            return Err(ResponseError::IllegalGeneration);
        }
        found.seen = now;
        Ok(found)
    }

    pub(super) fn sync(
        &mut self,
        caller: Caller<'_>,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Answer<SyncResult> {
        let phase = self.phase;
        let syncing = match self.check(caller, generation, now) {
            Ok(member) => member,
            Err(error) => return Answer::Now(Err(error)),
        };
        match phase {
            Phase::Empty | Phase::Joining => Answer::Now(Err(ResponseError::RebalanceInProgress)),
            Phase::Stable => Answer::Now(Ok(syncing.assignment.clone())),
            Phase::Assigning => {
                let (tell, told) = oneshot::channel();
                syncing.syncing = Some(tell);
                if caller.member == self.leader {
                    self.assign(assignments, now);
                }
                Answer::Later(told)
            }
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now: Instant) {
        let mut assignments: HashMap<_, _> = assignments.into_iter().collect();
        self.phase = Phase::Stable;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
            member.seen = now;
            if let Some(waiting) = member.syncing.take() {
                let _ = waiting.send(Ok(member.assignment.clone()));
            }
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        caller: Caller<'_>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(caller, generation, now)?;
        match self.phase {
            Phase::Joining => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn may_commit(&mut self, caller: Caller<'_>, generation: i32, now: Instant) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check(caller, generation, now).map(|_| ())
    }

    /// Without an id it is the instance that goes, whoever says so.
    pub(super) fn leave(&mut self, caller: Caller<'_>, now: Instant) -> Result<(), ResponseError> {
        let member = match caller.instance {
            Some(instance) if caller.member.is_empty() => self.member_of(instance).unwrap_or_default(),
            _ if self.is_fenced(caller) => return Err(ResponseError::FencedInstanceId),
            _ => caller.member,
        };
        let member = member.to_owned();
        self.remove(&member, now)
    }

    fn remove(&mut self, member: &str, now: Instant) -> Result<(), ResponseError> {
        self.members.remove(member).ok_or(ResponseError::UnknownMemberId)?;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.first = false;
            self.generation += 1;
        } else {
            self.rebalance(now);
            self.complete_if_all_joined(now);
        }
        Ok(())
    }

    fn tick(&mut self, now: Instant) {
        if self.phase == Phase::Joining && now >= self.deadline {
            self.complete(now);
        }
        // A leader that shows that it lives but never assigns would hold all others for ever.
        let is_late = self.phase == Phase::Assigning && now >= self.deadline;
        let is_gone = |member: &Member| {
            // Who waits cannot show that it lives: its heartbeats stand behind its request.
            let waits = member.joining.is_some() || member.syncing.is_some();
            !waits && (is_late || now > member.seen + member.session_timeout)
        };
        let gone: Vec<_> =
            self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.remove(&id, now).expect("it was a member");
        }
    }
}

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    by_name: BTreeMap<String, Group>,
}

impl Groups {
    /// The group of that name, made if missing.
    pub(super) fn entry(&mut self, name: &str, now: Instant) -> &mut Group {
        self.by_name.entry(name.to_owned()).or_insert_with(|| Group::new(now))
    }

    /// The group of that name, for a request of one of its members.
    pub(super) fn of_member(&mut self, name: &str) -> Result<&mut Group, ResponseError> {
        self.by_name.get_mut(name).ok_or(ResponseError::UnknownMemberId)
    }

    /// Whether a commit is the group's: from a member of this generation, or, where nobody is
    /// in the group, from anybody outside (`generation` −1).
    pub(super) fn may_commit(
        &mut self,
        name: &str,
        caller: Caller<'_>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        match self.by_name.get_mut(name) {
            Some(group) => group.may_commit(caller, generation, now),
            None if generation < 0 => Ok(()),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    /// The group of that name, if anybody has joined it.
    pub(super) fn get(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name)
    }

    /// All groups by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.by_name.iter()
    }

    /// Forgets a group.
    pub(super) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Completes rebalances whose time is up, and removes members that fell silent.
    pub(super) fn tick(&mut self, now: Instant) {
        for group in self.by_name.values_mut() {
            group.tick(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joining(member: &str) -> Join {
        Join {
            member: member.into(),
            client: "test".into(),
            instance: None,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from(format!("subscription of {member}")))],
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(30),
            id_required: false,
        }
    }

    fn joining_as(instance: &str) -> Join {
        Join { instance: Some(instance.into()), ..joining("") }
    }

    fn caller(member: &str) -> Caller<'_> {
        Caller { member, instance: None }
    }

    fn later<T>(answer: Answer<T>) -> oneshot::Receiver<T> {
        match answer {
            Answer::Later(told) => told,
            Answer::Now(_) => panic!("answered at once"),
        }
    }

    fn at_once<T>(answer: Answer<T>) -> T {
        match answer {
            Answer::Now(told) => told,
            Answer::Later(_) => panic!("is to wait"),
        }
    }

    #[test]
    fn two_members_share_and_the_one_that_stays_gets_all() {
        let now = Instant::now();
        let mut group = Group::new(now);
        let mut a = later(group.join(joining("a"), now));
        let mut b = later(group.join(joining("b"), now));
        group.tick(now + INITIAL_DELAY);
        let joined = a.try_recv().expect("told").expect("joined");
        assert_eq!((joined.leader.as_str(), joined.members.len()), ("a", 2));
        assert_eq!(b.try_recv().expect("told").expect("joined").members.len(), 0);

        let mut waiting = later(group.sync(caller("b"), 1, vec![], now));
        let parts = vec![("a".into(), Bytes::from("0")), ("b".into(), Bytes::from("1"))];
        later(group.sync(caller("a"), 1, parts, now));
        assert_eq!(waiting.try_recv().expect("told"), Ok(Bytes::from("1")));
        assert_eq!(group.heartbeat(caller("b"), 1, now), Ok(()));

        group.leave(caller("b"), now).expect("leaves");
        assert_eq!(group.heartbeat(caller("a"), 1, now), Err(ResponseError::RebalanceInProgress));
        let mut a = later(group.join(joining("a"), now));
        assert_eq!(a.try_recv().expect("told").expect("joined").generation, 2);
        assert_eq!(group.may_commit(caller("b"), 1, now), Err(ResponseError::UnknownMemberId));
        assert_eq!(group.may_commit(caller("a"), 1, now), Err(ResponseError::IllegalGeneration));
    }

    #[test]
    fn a_silent_member_is_removed_and_an_empty_group_takes_commits_from_outside() {
        let now = Instant::now();
        let mut group = Group::new(now);
        let _told = later(group.join(joining("a"), now));
        group.tick(now + INITIAL_DELAY);
        assert_eq!(group.may_commit(caller(""), -1, now), Err(ResponseError::UnknownMemberId));
        group.tick(now + Duration::from_secs(11));
        assert_eq!(group.phase, Phase::Empty);
        assert_eq!(group.may_commit(caller(""), -1, now), Ok(()));
    }

    /// A group of two that has been joined, with `a` as its leader, and `b` waiting for its partitions.
    fn assigning(now: Instant) -> (Group, oneshot::Receiver<SyncResult>) {
        let mut group = Group::new(now);
        let _told = [later(group.join(joining("a"), now)), later(group.join(joining("b"), now))];
        group.tick(now + INITIAL_DELAY);
        let waiting = later(group.sync(caller("b"), 1, vec![], now));
        (group, waiting)
    }

    #[test]
    fn who_waits_for_its_partitions_is_not_taken_for_gone() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (mut group, mut waiting) = assigning(now);
        for seconds in [6, 12] {
            assert_eq!(group.heartbeat(caller("a"), 1, at(seconds)), Ok(()));
            group.tick(at(seconds));
        }
        later(group.sync(caller("a"), 1, vec![("b".into(), Bytes::from("1"))], at(13)));
        assert_eq!(waiting.try_recv().expect("told"), Ok(Bytes::from("1")));
        assert_eq!(group.heartbeat(caller("b"), 1, at(14)), Ok(()));
    }

    #[test]
    fn a_leader_that_never_assigns_holds_nobody_for_ever() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (mut group, mut waiting) = assigning(now);
        for seconds in [6, 12, 18, 24, 30] {
            assert_eq!(group.heartbeat(caller("a"), 1, at(seconds)), Ok(()));
            group.tick(at(seconds));
        }
        assert!(waiting.try_recv().is_err(), "it waits no longer, and has 30 s");
        group.tick(at(31));
        assert_eq!(waiting.try_recv().expect("told"), Err(ResponseError::RebalanceInProgress));
        assert_eq!(group.heartbeat(caller("a"), 1, at(31)), Err(ResponseError::UnknownMemberId));
        // It has as long as its session to come again.
        group.tick(at(40));
        let mut b = later(group.join(joining("b"), at(40)));
        assert_eq!(b.try_recv().expect("told").expect("joined").leader, "b");
    }

    #[test]
    fn of_two_processes_of_one_instance_the_newer_one_stays() {
        let now = Instant::now();
        let mut groups = Groups::default();
        let group = groups.entry("g", now);
        let mut first = later(group.join(joining_as("one"), now));
        let mut second = later(group.join(joining_as("one"), now));
        let refused = first.try_recv().expect("told").expect_err("another one has come");
        assert_eq!(refused.error, ResponseError::FencedInstanceId);
        group.tick(now + INITIAL_DELAY);
        let old = second.try_recv().expect("told").expect("joined");
        let mut third = later(group.join(joining_as("one"), now));
        let new = third.try_recv().expect("told").expect("joined");
        assert_ne!(new.member, old.member);
        assert_eq!(new.members.len(), 1);

        let fenced = Err(ResponseError::FencedInstanceId);
        let older = Caller { member: &old.member, instance: Some("one") };
        assert_eq!(group.heartbeat(older, old.generation, now), fenced);
        assert_eq!(group.leave(older, now), fenced);
        assert_eq!(at_once(group.sync(older, new.generation, vec![], now)).map(|_| ()), fenced);
        let again = Join { member: old.member.clone(), ..joining_as("one") };
        let refused = at_once(group.join(again, now)).expect_err("another one has come");
        assert_eq!((Err(refused.error), refused.member), (fenced, old.member.clone()));
        let newer = Caller { member: &new.member, instance: Some("one") };
        assert_eq!(group.heartbeat(newer, new.generation, now), Ok(()));
        assert_eq!(groups.may_commit("g", older, new.generation, now), fenced);
        assert_eq!(groups.may_commit("g", newer, new.generation, now), Ok(()));

        // Who sends it away from outside knows nothing but its instance.
        let outside = Caller { member: "", instance: Some("one") };
        let group = groups.of_member("g").expect("is there");
        assert_eq!(group.leave(outside, now), Ok(()));
        assert_eq!(group.phase, Phase::Empty);
        assert_eq!(group.leave(outside, now), Err(ResponseError::UnknownMemberId));
    }

    #[test]
    fn a_group_that_nobody_has_joined_is_not_made_by_asking() {
        let now = Instant::now();
        let mut groups = Groups::default();
        assert_eq!(groups.of_member("g").err(), Some(ResponseError::UnknownMemberId));
        assert_eq!(groups.may_commit("g", caller(""), -1, now), Ok(()));
        assert_eq!(groups.may_commit("g", caller("a"), 1, now), Err(ResponseError::UnknownMemberId));
        assert_eq!(groups.iter().count(), 0);
    }
}
